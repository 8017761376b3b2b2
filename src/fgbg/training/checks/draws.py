"""What the checks look at: copies of a training's parts, and augmented photos."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor, nn

from fgbg.fit import fit_target, resize
from fgbg.training.loop import Learner, deal_batches, make_batch
from fgbg.words import NOT_JUDGED, OBJECT

PROBED_ROWS = 8  # images of a batch that are probed
PROBED_IMAGES = 48  # images over all probed epochs: a flip of probability 0.1 is missed in one training of 150
MOST_EPOCHS = 16
TRIAL_IMAGES = 4
# Seed 782 gives a pattern without flip, rotation or shift symmetry; 7 cells, so that their edges do not all fall on pixel
# borders of a smaller image.
PATTERN = np.random.default_rng(782).random((7, 7)) < 0.5
DARK, BRIGHT = 40, 200  # of the mask as a picture; no legitimate colour change makes them equal


@contextmanager
def leave_no_trace(learner: Learner) -> Iterator[None]:
    """Context that restores every random state and every module's mode."""
    modes = {module: module.training for module in learner.predictor.modules()}
    numpy_state, python_state = np.random.get_state(), random.getstate()  # a user's augmentation may draw from either
    device = learner.engine.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            yield
        finally:
            np.random.set_state(numpy_state)
            random.setstate(python_state)
            for module, mode in modes.items():
                module.training = mode


class LoneBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm over this process's images alone, of any number of dimensions, as `nn.SyncBatchNorm` takes them."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Any will do."""


def copy_learner(learner: Learner) -> Learner:
    """The learner with copies of what a check changes or calls; its optimizer must not be used.

    The copy waits for no other process: only the main one checks.

    A function that keeps state outside itself cannot be copied: the original is called.

    Raises:
        Exception: Whatever the network raises when it is copied.
    """
    parts = (learner.predictor, learner.augment, learner.loss, learner.metric)
    try:
        copies = copy.deepcopy(parts)  # together: a loss that holds the network then holds the copied one
    except Exception:  # a user's object may hold a lock, an open file, a generator
        copies = (copy.deepcopy(parts[0]), *parts[1:])
    predictor, augment, loss, metric = copies
    for module in predictor.modules():
        if isinstance(module, nn.SyncBatchNorm):
            # In place, so that a loss which holds this layer has it too.
            module.__class__ = LoneBatchNorm  # type: ignore[assignment]
    return replace(learner, predictor=predictor, augment=augment, loss=loss, metric=metric, recorder=None)


class Draw(NamedTuple):
    """The probed photos in one epoch, and what the same draw does to a known picture."""

    epoch: int
    pixels: UInt8[Tensor, "batch 3 stored stored"]
    stored_target: UInt8[Tensor, "batch stored stored"]
    image: Float[Tensor, "batch 3 size size"]
    target: Tensor  # batch size size; what a user's augmentation returns may be of any type
    mask_image: Float[Tensor, "batch 3 size size"]  # a mask given as the photo …
    mask_target: Tensor  # … and as the mask


def draw_first_batch(learner: Learner) -> tuple[NDArray[np.int64], Float[Tensor, "batch 3 size size"], Tensor]:
    """(rows, image, target) of the first batch of epoch 1, as training will see it."""
    batch = next(deal_batches(len(learner.store), learner.batch_size, seed=learner.seed, epoch=1))
    mine = learner.engine.share(batch)
    mixture = make_batch(learner, mine, 1, 1)
    return mine, mixture.image, mixture.target


def choose_epochs(images: int, epochs: int) -> list[int]:
    """Epochs in which to probe `images` images: the first two, the last, and some between."""
    count = min(epochs, MOST_EPOCHS, max(4, -(-PROBED_IMAGES // images)))
    spread = np.linspace(2, epochs, count - 1).round().astype(int).tolist() if count > 1 else []
    return [1, *spread]


def draw_images(learner: Learner, rows: NDArray[np.int64], epochs: Sequence[int]) -> list[Draw]:
    """The photos of `rows` in each of those epochs.

    The real photos go first: an augmentation that caches its results must not cache our picture.
    """
    rows = rows[:PROBED_ROWS]
    on_device = torch.tensor(rows, device=learner.engine.device)
    draws = []
    for epoch in epochs:
        pixels, target = learner.store.take(rows, 1)  # the same patches, so that only augmentation changes them
        image, seen = learner.augment(pixels.clone(), target.clone(), on_device, epoch)  # `augment` may change them in place
        mask = draw_pattern(target.shape[-1]).to(target.device).expand_as(target)
        picture = DARK + (BRIGHT - DARK) * mask[:, None].expand(-1, 3, -1, -1)
        mask_image, mask_target = learner.augment(picture.clone(), mask.clone(), on_device, epoch)
        draws.append(Draw(epoch, pixels, target, image, seen, mask_image, mask_target))
    return draws


def draw_unjudged(learner: Learner, rows: NDArray[np.int64], epoch: int) -> Tensor:
    """The augmented target of blocks of 0 and 255, between which interpolation would show."""
    rows = rows[:PROBED_ROWS]
    on_device = torch.tensor(rows, device=learner.engine.device)
    pixels, target = learner.store.take(rows, epoch)
    unjudged = NOT_JUDGED * draw_pattern(target.shape[-1]).to(target.device)
    return learner.augment(pixels, unjudged.expand_as(target).clone(), on_device, epoch)[1]


def draw_pattern(size: int) -> UInt8[Tensor, "size size"]:
    """A target of 7 x 7 blocks without flip, rotation or shift symmetry."""
    place = np.arange(size) * len(PATTERN) // size
    return torch.from_numpy(PATTERN[np.ix_(place, place)].astype(np.uint8))


def take_trial_images(draws: Sequence[Draw]) -> tuple[Float[Tensor, "batch 3 size size"], Tensor]:
    """A few augmented photos and their targets, preferably with both object and ground."""
    images, targets = torch.cat([draw.image for draw in draws]), torch.cat([draw.target for draw in draws])
    objects, grounds = ((targets == value).flatten(1).sum(1) for value in (OBJECT, 0))
    chosen = torch.minimum(objects, grounds).argsort(descending=True, stable=True)[:TRIAL_IMAGES]
    return images[chosen], targets[chosen]


def shrink(
    image: Float[Tensor, "batch 3 size size"], target: UInt8[Tensor, "batch size size"], size: int
) -> tuple[Float[Tensor, "batch 3 small small"], UInt8[Tensor, "batch small small"]]:
    """Images and targets resized to save time."""
    if image.shape[-1] == size:
        return image, target
    images = torch.stack([resize(one, size, size) for one in image])
    return images, torch.stack([fit_target(one, size, "squash") for one in target])
