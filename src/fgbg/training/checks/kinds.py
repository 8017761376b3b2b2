"""What a user's own parts return: another kind of thing would stop the training with an error that names none of them."""

from __future__ import annotations

from dataclasses import replace
from numbers import Real
from typing import Any

from jaxtyping import Int64, UInt8
from torch import Tensor, nn

from fgbg.data.augment import PairedAugmentation
from fgbg.training.checks.finding import Finding, failed
from fgbg.training.loop import Learner


class WrongKindError(Exception):
    """One of the learner's parts returned what a training cannot use."""

    def __init__(self, name: str, sentence: str) -> None:
        super().__init__(sentence)
        self.finding: Finding = failed(name, sentence)


def expect_kinds(learner: Learner) -> Learner:
    """The learner, with parts that raise `WrongKindError` where they return another kind of thing than they should."""

    def augment(
        pixels: UInt8[Tensor, "batch 3 stored stored"],
        target: UInt8[Tensor, "batch stored stored"],
        rows: Int64[Tensor, " batch"],
        epoch: int,
    ) -> Any:
        returned = learner.augment(pixels, target, rows, epoch)
        name = "augmentation's output"
        wanted = "(image, target), tensors of the shapes (batch, 3, size, size) and (batch, size, size)"
        if not (isinstance(returned, tuple) and len(returned) == 2 and all(isinstance(each, Tensor) for each in returned)):
            raise WrongKindError(name, f"the augmentation returns {describe_kind(returned)}: it should return {wanted}")
        image, seen = returned
        batch, size = len(rows), image.shape[-1] if image.ndim else 0
        if image.shape != (batch, 3, size, size) or seen.shape != (batch, size, size) or not image.is_floating_point():
            raise WrongKindError(
                name,
                f"of {batch} photos the augmentation makes {describe_kind(image)} and {describe_kind(seen)}: it should "
                f"return {wanted}, the image in 0 to 1",
            )
        return returned

    def loss(logits: Any, target: Any) -> Any:
        value = learner.loss(logits, target)
        if not (isinstance(value, Tensor) and value.numel() == 1 and value.is_floating_point()):
            raise WrongKindError(
                "loss's value", f"the loss returns {describe_kind(value)}: it should return one number, as a tensor"
            )
        return value

    def metric(prediction: Any, target: Any) -> Any:
        value = learner.metric(prediction, target) if learner.metric else 0.0
        if not (isinstance(value, Real) or (isinstance(value, Tensor) and value.numel() == 1)):
            raise WrongKindError("metric's value", f"the metric returns {describe_kind(value)}: it should return one number")
        return value

    def look(module: nn.Module, given: Any, returned: Any) -> None:
        if not isinstance(returned, Tensor):
            raise WrongKindError(
                "network's output",
                f"the network returns {describe_kind(returned)}: it should return logits, a tensor of the shape (batch, 1, "
                "height, width); wrap it in a module that picks them out",
            )

    learner.predictor.network.get_submodule("network").register_forward_hook(look)
    is_own = not isinstance(learner.augment, PairedAugmentation)
    return replace(learner, augment=augment if is_own else learner.augment, loss=loss, metric=learner.metric and metric)


def describe_kind(value: object) -> str:
    """A value's type, and a tensor's shape.

    >>> describe_kind(None), describe_kind({"out": 1})
    ('None', 'a dict')
    """
    if value is None:
        return "None"
    if isinstance(value, Tensor):
        return f"a {str(value.dtype).removeprefix('torch.')} tensor of the shape {tuple(value.shape)}"
    return f"a {type(value).__name__}"
