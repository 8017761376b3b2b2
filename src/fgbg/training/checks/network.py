"""Can the network learn from this loss, and do its answers depend on the photo alone? Everything is done to a copy."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from fgbg.models import StridePadding
from fgbg.models.predictor import Predictor
from fgbg.training.checks.finding import Finding, doubted, failed, passed
from fgbg.training.losses import Loss
from fgbg.words import OBJECT, name_some

SMALLEST_TRIAL = 32  # pixels
STRONG = 100.0  # factor on the last layer's weights: logits grow with it, probabilities cannot
STEPS = 20
STEP_SIZE = 1e-2  # of Adam; the recipe's may be meant for thousands of steps
TIME_LIMIT = 8.0  # seconds; large networks show in three or four steps that they learn
LEARNT, BARELY_LEARNT = 0.1, 0.01  # drop of the loss, as a share of it
PERFECT = 0.1  # share of the loss of knowing nothing below which nothing is left to learn


def choose_trial_size(predictor: Predictor, loss: Loss, images: int) -> int:
    """A small size that network and loss accept, otherwise the training size. Leaves the mode alone."""
    network = predictor.network
    stride = network.stride if isinstance(network, StridePadding) else 1
    small = min(predictor.size, max(SMALLEST_TRIAL, 2 * stride))
    image = torch.zeros(images, 3, small, small, device=predictor.device)
    target = torch.zeros(images, small, small, dtype=torch.uint8, device=predictor.device)
    try:
        with torch.no_grad():
            loss(predictor.logits(image), target)
    except Exception:  # a network or a loss made for one size may raise anything
        return predictor.size
    return small


def check_shape(predictor: Predictor, image: Float[Tensor, "batch 3 size size"]) -> Finding:
    """One logit per pixel."""
    name = "network's output"
    with torch.no_grad():
        logits = predictor.train().logits(image)
    wanted = (len(image), 1, *image.shape[-2:])
    if tuple(logits.shape) != wanted:
        return failed(
            name, f"the network returns {tuple(logits.shape)} for images {tuple(image.shape)}: it should be {wanted}"
        )
    if not logits.isfinite().all():
        return failed(
            name, "the fresh network returns values that are not finite: its weights or the images are out of range"
        )
    return passed(name, f"{wanted}, {logits.min():.2g} to {logits.max():.2g}")


def check_logits(predictor: Predictor, image: Float[Tensor, "batch 3 size size"]) -> Finding:
    """Logits, which are unbounded, not probabilities. Scaling the last layer by a hundred shows which."""
    name = "network returns logits"
    predictor.train()
    last = _find_last_layer(predictor, image)
    answers = [answer(predictor, image)]
    for factor in (STRONG, -1.0):
        _scale(last, factor)
        answers.append(answer(predictor, image))
    for factor in (-1.0, 1 / STRONG):
        _scale(last, factor)
    is_stuck = all((answer >= 0).all() and (answer <= 1).all() for answer in answers)
    if is_stuck and not torch.equal(answers[0], answers[1]):
        return failed(
            name,
            "the network returns values between 0 and 1 however strong its last layer is: probabilities, where it should "
            "return logits, so the sigmoid in it would be applied twice (leave it out: loss and predictor apply it)",
        )
    return passed(name, "its output is not held between 0 and 1")


def answer(predictor: Predictor, image: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch 1 size size"]:
    """Logits without their gradient, in the mode that the predictor is in."""
    with torch.no_grad():
        return predictor.logits(image)


def _scale(layer: nn.Module | None, factor: float) -> None:
    with torch.no_grad():
        for parameter in layer.parameters() if layer else ():
            parameter.mul_(factor)


def _find_last_layer(predictor: Predictor, image: Tensor) -> nn.Module | None:
    """The layer with weights that was called last."""
    called: list[nn.Module] = []
    hooks = [
        module.register_forward_hook(lambda module, *_: called.append(module))
        for module in predictor.network.modules()
        if not any(module.children()) and any(True for _ in module.parameters())
    ]
    answer(predictor, image)
    for hook in hooks:
        hook.remove()
    return called[-1] if called else None


def check_modes(predictor: Predictor, image: Float[Tensor, "batch 3 size size"]) -> Finding:
    """eval() reaches all modules, and train() brings all back."""
    name = "training and evaluation mode"
    modules = dict(predictor.network.named_modules())

    def list_training() -> set[str]:
        return {label for label, module in modules.items() if module.training}

    predictor.train()
    before = list_training()
    predictor.eval()
    answer(predictor, image)
    still_training = list_training()
    predictor.train()
    answer(predictor, image)
    stuck = sorted(before - list_training())
    if stuck:
        return failed(
            name,
            f"{len(stuck)} of the network's {len(modules)} modules stay in evaluation mode after the first evaluation: "
            "train() should bring them back, but something overrides it or calls eval(), so that batch norm and dropout "
            "would stop after epoch 1",
        )
    if still_training:
        named = name_some(sorted(label or "the network itself" for label in still_training), 3)
        return doubted(
            name, f"{named} stay in training mode when the network is evaluated: scores would depend on chance or neighbours"
        )
    return passed(name, "the network switches to evaluation and back")


def check_independence(predictor: Predictor, photos: Sequence[UInt8[Tensor, "_ _ 3"]], size: int) -> Finding:
    """A photo's logits do not depend on the photos scored with it, nor on their order."""
    name = "scores are independent"
    predictor.eval()
    together = predictor.square_logits(photos, size=size)
    reversed_order = predictor.square_logits(photos[::-1], size=size).flip(0)
    alone = torch.cat([predictor.square_logits([photo], size=size) for photo in photos])
    tolerance = 1e-3 * float(together.abs().max()) + 1e-6
    for other, what in ((reversed_order, "their order"), (alone, "the photos beside it")):
        moved = float((other - together).abs().max())
        if not moved <= tolerance:
            return failed(
                name,
                f"in evaluation mode a photo's logits change by up to {moved:.2g} with {what}: they should not, so batch "
                "norm probably uses the batch's own statistics, or dropout is on, and scores would depend on batch size",
            )
    return passed(name, f"of batch and order, on {len(photos)} validation photos")


class Lesson(NamedTuple):
    """How a few steps on a few images went."""

    losses: list[float]
    unreached: list[str]  # parameters that no gradient reached


def overfit(
    predictor: Predictor, loss: Loss, image: Float[Tensor, "batch 3 size size"], target: UInt8[Tensor, "batch size size"]
) -> Lesson:
    """Overfit the images until it clearly works. Changes the predictor's weights."""
    predictor.train()
    named = {name: parameter for name, parameter in predictor.network.named_parameters() if parameter.requires_grad}
    optimizer = torch.optim.Adam(named.values(), lr=STEP_SIZE)
    unreached = set(named)
    losses: list[float] = []
    start = time.perf_counter()
    for _ in range(STEPS):
        value = loss(predictor.logits(image), target)
        losses.append(value.item())
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        unreached -= {name for name in unreached if _is_reached(named[name])}
        gone = losses[0] - min(losses)
        if (gone > LEARNT * abs(losses[0]) and not unreached) or time.perf_counter() - start > TIME_LIMIT:
            break
    return Lesson(losses, [name for name in named if name in unreached])


def _is_reached(parameter: Tensor) -> bool:
    """A vector's gradient may be 0: a bias before batch norm has no effect."""
    return parameter.grad is not None and (parameter.ndim <= 1 or bool(parameter.grad.any()))


def check_gradients(lesson: Lesson, count: int) -> Finding:
    """A gradient reaches every weight."""
    name = "gradients"
    if lesson.unreached:
        named = name_some(lesson.unreached, 3)
        return doubted(
            name,
            f"no gradient reaches {len(lesson.unreached)} of the network's {count} parameters ({named}): they should all "
            "learn, so a layer is probably unused, or cut off by detach() or no_grad()",
        )
    return passed(name, f"reach all {count} parameters")


def check_overfit(lesson: Lesson, unknown: float, target: UInt8[Tensor, "batch size size"]) -> Finding:
    """The network can overfit a few images.

    Args:
        lesson: How it went.
        unknown: The loss of knowing nothing.
        target: The targets of those images.
    """
    name = "overfits"
    if not (target == OBJECT).any():
        return passed(name, "not probed: the first images have no object")
    first, best = lesson.losses[0], min(lesson.losses)
    told = f"the loss of {len(target)} images went from {first:.3g} to {best:.3g} in {len(lesson.losses)} steps"
    if first - best >= BARELY_LEARNT * abs(first) or 0 <= first < PERFECT * unknown:
        return passed(name, told)
    return doubted(name, f"{told}: it should fall, so network, loss and targets probably do not fit each other")
