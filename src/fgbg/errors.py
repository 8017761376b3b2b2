"""User errors: what is wrong and how to fix it, in one sentence."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake that the user can fix: the command line prints only the message and exits with status 2.

    The message names the value, what is allowed, and the fix.
    """


def first_line(error: BaseException) -> str:
    """What happened, in one line: an error's message without what follows its first line, or its type if it has none.

    >>> first_line(ValueError("no such layer\\nsee the manual")), first_line(EOFError())
    ('no such layer', 'EOFError')
    """
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def unknown_name(what: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not in `known`; it suggests the nearest one.

    >>> print(unknown_name("model", "unte", ["unet", "resnet34_unet"]))
    unknown model 'unte': choose one of unet, resnet34_unet (did you mean 'unet'?)
    """
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" (did you mean '{near[0]}'?)" if near else ""
    return UserError(f"unknown {what} '{name}': choose one of {', '.join(known)}{hint}")
