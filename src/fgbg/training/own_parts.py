"""The parts of a training that a user may bring, and what a run folder keeps of them."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from fgbg.data.augment import Augment
from fgbg.data.samples import Sample
from fgbg.training.loop import Metric
from fgbg.training.losses import Loss


@dataclass(frozen=True)
class OwnParts:
    """A user's own parts, in place of those that the settings name; see `fgbg.train`."""

    samples: Sequence[Sample] | None = None
    model: nn.Module | None = None
    loss: Loss | None = None
    augment: Augment | None = None
    metric: Metric | None = None

    @property
    def of_training(self) -> tuple[str, ...]:
        """The names of those that settings do not tell of, and that a resumed run needs again."""
        return tuple(name for name in ("loss", "augment", "metric") if getattr(self, name) is not None)

    def describe(self) -> dict[str, str]:
        """What each of them is that is code: its name, and a hash by which runs tell two of one name apart."""
        names = ("model", *self.of_training) if self.model is not None else self.of_training
        return {name: describe_code(getattr(self, name)) for name in names}


def describe_code(part: Callable[..., object]) -> str:
    """Where a function or a callable object is defined, and a hash of its source and of the plain values that it holds.

    A module's layers count too, with their settings; its weights, and whether it is training, do not.

    >>> describe_code(partial(int, base=2)).startswith("builtins.int (code ")
    True
    """
    function: Any = part.func if isinstance(part, partial) else part
    named = function if hasattr(function, "__qualname__") else type(function)
    held = dict(
        inspect.getclosurevars(function).nonlocals if inspect.isfunction(function) else getattr(function, "__dict__", {})
    )
    layers: list[str] = []
    if isinstance(function, nn.Module):
        del held["training"]
        layers = [repr(function), *sorted(map(_read_source, {type(layer) for layer in function.modules()}))]
    if isinstance(part, partial):
        held |= part.keywords
    values = sorted((name, value) for name, value in held.items() if isinstance(value, (bool, int, float, str)))
    digest = hashlib.sha256(repr([_read_source(named), values, *layers]).encode()).hexdigest()[:8]
    return f"{named.__module__}.{named.__qualname__} (code {digest})"


def _read_source(named: Any) -> str:
    """The source of a function or a class; empty if it is PyTorch's, typed at a prompt, or not written in Python."""
    if named.__module__.split(".")[0] == "torch":  # its next version has the same layers
        return ""
    try:
        return inspect.getsource(named)
    except (OSError, TypeError):
        return ""
