"""What every verb does alike: ask for its libraries, read its flags, end with a status."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from typing import Any

import tyro

from fgbg.errors import UserError

EXIT_FOUND = 1  # a check found what is wrong beyond doubt
EXIT_MISTAKE = 2
EXIT_INTERRUPTED = 130  # what shells expect of a program that Ctrl-C ended

# What each extra brings that a verb would miss first.
EXTRAS = {
    "train": ("torch", "accelerate", "filelock", "safetensors", "jaxtyping", "scipy", "matplotlib", "xlsxwriter", "jinja2"),
    "sweep": ("optuna",),
    "ray": ("ray", "pyarrow", "pandas"),
    "serve": ("fastapi", "uvicorn", "python_multipart"),
}


def require_extra(extra: str, argv: Sequence[str] = ()) -> None:
    """Refuse a verb whose libraries are not there: before its flags are read, so that nobody first gets them right.

    Raises:
        UserError: Some are not, and `argv` does not ask for help, which needs none of them.
    """
    if {"-h", "--help"} & set(argv):
        return
    absent = [name for name in EXTRAS[extra] if importlib.util.find_spec(name) is None]
    if absent:
        raise UserError(f"this command needs {', '.join(absent)}: pip install 'fgbg[{extra}]'")


def parse(kind: type, argv: Sequence[str], **options: Any) -> Any:
    """The flags of a verb: `TrainArguments` for `fgbg train`. Flags that make no sense end the program with 2."""
    verb = kind.__name__.removesuffix("Arguments").lower()
    return tyro.cli(kind, args=list(argv), prog=f"fgbg {verb}", **options)


def is_main() -> bool:
    """Whether this process is the one that prints, where torchrun started several."""
    return os.environ.get("RANK", "0") == "0"
