"""The parts of a training that a user may bring, and what a run folder keeps of them."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

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

    Functions, callable objects, arrays and collections that it holds count too, and a module's layers with their settings;
    what is learnt, and whether a module is training, do not.

    >>> describe_code(partial(int, base=2)).startswith("builtins.int (code ")
    True
    """
    function: Any = part.func if isinstance(part, partial) else part
    named = function if hasattr(function, "__qualname__") else type(function)
    digest = hashlib.sha256(repr(_tell(part)).encode()).hexdigest()[:8]
    return f"{named.__module__}.{named.__qualname__} (code {digest})"


def _tell(value: Any, above: tuple[int, ...] = ()) -> object:
    """A value by plain ones of the same `repr` in every process; None for what is of another kind, or holds itself.

    Args:
        value: A value that code holds, or the code itself.
        above: The `id` of each value that it is held by.
    """
    tell = partial(_tell, above=(*above, id(value)))
    if isinstance(value, (bool, int, float, str)):
        return value
    if id(value) in above:
        return None
    if isinstance(value, (tuple, list)):
        return [tell(each) for each in value]
    if isinstance(value, dict):
        return sorted(((tell(name), tell(each)) for name, each in value.items()), key=repr)
    if isinstance(value, Tensor) and not value.requires_grad and value.layout == torch.strided and not value.is_meta:
        content = value.cpu().flatten().view(torch.uint8).numpy().tobytes()
        return [str(value.dtype), list(value.shape), hashlib.sha256(content).hexdigest()]
    if isinstance(value, (np.ndarray, np.generic)):
        content = repr(tell(value.tolist())).encode() if value.dtype.hasobject else value.tobytes()
        return [str(value.dtype), list(value.shape), hashlib.sha256(content).hexdigest()]
    if isinstance(value, partial):
        return [tell(value.func), tell(value.args), tell(value.keywords)]
    if inspect.ismethod(value):
        return [tell(value.__func__), tell(value.__self__)]
    if isinstance(value, nn.Module):
        layers = sorted(_read_source(kind) for kind in {type(layer) for layer in value.modules()})
        own = {name: held for name, held in vars(value).items() if name not in vars(nn.Module())}
        return [repr(value), layers, tell(own)]
    if inspect.isfunction(value):
        held = [inspect.getclosurevars(value).nonlocals, value.__defaults__, value.__kwdefaults__]
        return [value.__qualname__, _read_source(value), tell(held)]
    if hasattr(value, "__qualname__"):  # a class, or a function that is not written in Python
        return [value.__qualname__, _read_source(value)]
    if callable(value):
        return [type(value).__qualname__, _read_source(type(value)), tell(getattr(value, "__dict__", {}))]
    return None


def _read_source(named: Any) -> str:
    """The source of a function or a class; empty if it is PyTorch's, typed at a prompt, or not written in Python."""
    if (named.__module__ or "").split(".")[0] == "torch":  # its next version has the same layers
        return ""
    try:
        return inspect.getsource(named)
    except (OSError, TypeError):
        return ""
