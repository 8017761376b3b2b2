"""One epoch: training steps and validation."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from fgbg.data.augment import Augment
from fgbg.data.augment_ranges import AugmentRanges
from fgbg.data.mix import Mixture, draw_mixes, find_partners, mix
from fgbg.data.streams import Purpose, open_stream
from fgbg.data.training_store import upload
from fgbg.data.validation_store import ValidationStore
from fgbg.engine import Engine
from fgbg.errors import UserError
from fgbg.judge.metrics import count_pixels, dice_of
from fgbg.judge.score import score_photos
from fgbg.models.predictor import Predictor
from fgbg.training.average import RunningAverage
from fgbg.training.initial_weights import InitialWeights
from fgbg.training.losses import Loss
from fgbg.training.optimizer import set_learning_rate
from fgbg.training.recorder import Recorder
from fgbg.training.stores import Store

Metric = Callable[[Bool[Tensor, "height width"], UInt8[Tensor, "height width"]], float]
"""A user's own score of one photo: `(prediction, target) -> float`, higher is better; its mean chooses the best epoch."""


class Trainable(nn.Module):
    """A predictor as training calls it. Autocast wraps this module's forward, so that scoring the predictor stays fp32."""

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.predictor = predictor

    def forward(self, image: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch 1 size size"]:
        """Logits."""
        return self.predictor.logits(image)


@dataclass(frozen=True)
class Learner:
    """Everything that an epoch needs."""

    engine: Engine
    predictor: Predictor
    module: nn.Module  # the predictor's `Trainable`, as the engine prepared it
    optimizer: torch.optim.Optimizer
    store: Store
    names: NDArray[Any]  # of the training photos; a single array, however many
    validation: ValidationStore
    augment: Augment
    mixing: AugmentRanges  # how often photos are mixed with each other
    loss: Loss
    metric: Metric | None
    batch_size: int
    seed: int
    initial: InitialWeights  # where the weights came from
    rate: Callable[[int], float]  # learning rate of a step, counted from 0 over the whole run
    accumulate: int = 1  # parts of a step's batch that go through the network one after the other
    clip_norm: float = 0.0  # 0: no clipping
    average: RunningAverage | None = None  # of the predictor, with --ema
    recorder: Recorder | None = None  # of `add_gradients`, on a GPU

    @property
    def judged(self) -> Predictor:
        """The predictor that is validated and saved: the average if there is one."""
        return cast(Predictor, self.average.module) if self.average else self.predictor

    def name_row(self, row: int | np.integer) -> str:
        """The photo that a row of the store shows, or is cut from."""
        return str(self.names[self.store.photo_of_row[row]])

    def rate_in(self, epoch: int, step: int) -> float:
        """The learning rate of a step of an epoch, both counted from 1."""
        return self.rate((epoch - 1) * (len(self.store) // self.batch_size) + step - 1)


class Trained(NamedTuple):
    """Means over one epoch's batches."""

    loss: float
    dice: float
    images_per_second: float
    learning_rate: float  # of the last step


class _PhotoScores(NamedTuple):
    """Validation scores of one photo."""

    photo: int
    loss: float
    dice: float  # at the training size
    dice_photo: float  # at its own size
    own_metric: float


class Validated(NamedTuple):
    """Means over the validation photos."""

    loss: float
    dice: float  # at the training size
    dice_photo: float  # at each photo's own size
    own_metric: float | None
    undefined: tuple[int, ...] = ()  # photos for which one's own metric is no finite number

    @property
    def score(self) -> float:
        """The score that chooses the best epoch."""
        return self.dice_photo if self.own_metric is None else self.own_metric


PACE_STEPS, PACE_SECONDS = 4, 20
"""When the pace is known: after so many steps or seconds. The first step, in which kernels are chosen, does not count."""


def train_epoch(learner: Learner, epoch: int, title: str, tell_pace: Callable[[float], None] | None = None) -> Trained:
    """One pass over the training photos (or their patches): for each batch, augment it, take a step, sum up loss and Dice.

    Args:
        learner: Its weights are changed.
        epoch: Counted from 1.
        title: Of the progress bar.
        tell_pace: Called once, when the pace is known, with the seconds that an epoch's steps will take.

    Raises:
        UserError: The loss is not a finite number; the weights are as they were before that step.
    """
    learner.predictor.train()
    # Dropout and the like depend on the epoch, not on what ran before it; and on the process, whose images are others.
    rank = learner.engine.rank
    torch.manual_seed(int(open_stream(learner.seed, epoch, Purpose.NETWORK).integers(2**63, size=rank + 1)[rank]))
    batches = list(deal_batches(len(learner.store), learner.batch_size, seed=learner.seed, epoch=epoch))
    totals = np.zeros(2)
    start = warm = time.perf_counter()
    mine = [learner.engine.share(batch) for batch in batches]
    mixtures = (make_batch(learner, rows, epoch, step) for step, rows in enumerate(mine, start=1))
    with tqdm(mine, desc=title, leave=False, disable=None if learner.engine.is_main else True) as bar:
        mixture = next(mixtures)
        for step, rows in enumerate(bar, start=1):
            values = compute_gradients(learner, mixture)
            mixture = next(mixtures, mixture)  # launched while a GPU still computes, the next batch costs no time
            set_learning_rate(learner.optimizer, learner.rate_in(epoch, step))
            loss, mean_dice = take_step(learner, values, _name_batch(learner, epoch, step, rows))
            totals += loss, mean_dice
            if step == 1:
                warm = time.perf_counter()
            elif tell_pace and ((gone := time.perf_counter() - warm) > PACE_SECONDS or step == PACE_STEPS):
                with tqdm.external_write_mode():
                    tell_pace(gone / (step - 1) * len(batches))
                tell_pace = None
            bar.set_description(f"{title} | Loss: {loss:.4f} | Dice: {mean_dice:.4f} | Iter: {step}/{len(batches)}", False)
    totals = learner.engine.sum(totals) / learner.engine.processes
    seconds = time.perf_counter() - start
    loss, mean_dice = (totals / len(batches)).tolist()
    images_per_second = len(batches) * learner.batch_size / seconds
    return Trained(loss, mean_dice, images_per_second, learner.rate_in(epoch, len(batches)))


def make_batch(learner: Learner, rows: NDArray[np.int64], epoch: int, step: int) -> Mixture:
    """Those rows of the training set as the network sees them: taken, augmented, mixed with others."""
    image, target = _take_and_augment(learner, rows, epoch)
    if not learner.mixing.mixes:
        return Mixture(image, target)
    table = _draw_mixes_once(learner.mixing, len(learner.store), seed=learner.seed, epoch=epoch)
    partners = find_partners(rows, table)
    if not len(partners):
        return Mixture(image, target)
    other_image, other_target = _take_and_augment(learner, partners, epoch)
    return mix(image, target, other_image, other_target, rows=rows, table=table, step=step - 1)


_draw_mixes_once = lru_cache(maxsize=1)(draw_mixes)  # the steps of an epoch share one draw


def _take_and_augment(learner: Learner, rows: NDArray[np.int64], epoch: int) -> tuple[Tensor, Tensor]:
    on_device = upload(torch.tensor(rows), learner.engine.device)
    return learner.augment(*learner.store.take(rows, epoch), on_device, epoch)


def compute_gradients(learner: Learner, mixture: Mixture) -> Float[Tensor, "parts 2"]:
    """Set the weights' gradients. Returns loss and mean Dice of each part of the batch; a GPU may still be computing them.

    With `accumulate` the batch goes through in parts whose gradients are averaged. That is the whole batch's gradient if the
    loss is a mean over images and the network has no batch norm. A MixUp image is scored by the mask of larger share.
    """
    learner.optimizer.zero_grad(set_to_none=True)
    if learner.recorder:
        return learner.recorder(mixture)[None]
    parts = mixture.split(learner.accumulate)
    values = []
    for number, part in enumerate(parts, start=1):
        with learner.engine.sharing_gradients(learner.module, when=number == len(parts)):
            values.append(add_gradients(learner, part))
    return torch.stack(values)


def add_gradients(learner: Learner, part: Mixture) -> Float[Tensor, "2"]:
    """Add a part's share of the batch's gradients to those of the parts before. Returns its loss and mean Dice."""
    logits = learner.module(part.image)
    loss = learner.loss(logits, part.target)
    if part.second is not None:
        loss = part.shares[0] * loss + part.shares[1] * learner.loss(logits, part.second)
    scores = dice_of(count_pixels(logits.detach().squeeze(1) > 0, part.target))
    learner.engine.backward(loss / learner.accumulate)
    return torch.stack((loss.detach().float(), scores.mean()))


def take_step(learner: Learner, values: Float[Tensor, "parts 2"], where: str) -> tuple[float, float]:
    """Take the optimizer's step along the gradients that `compute_gradients` set. Returns the batch's loss and mean Dice.

    Raises:
        UserError: The loss is not finite; the message locates the step by `where`.
    """
    parts = np.array(values.tolist())  # waits for the GPU
    for loss in parts[:, 0]:
        if not np.isfinite(loss):
            cure = "" if learner.engine.precision == "fp32" else " or with --precision fp32"
            raise UserError(
                f"the loss became {loss} {where}, and training stopped before that step: "
                f"start a new run with a smaller --learning-rate{cure}"
            )
    if learner.clip_norm:
        learner.engine.clip_gradients(learner.module, learner.clip_norm)
    learner.optimizer.step()
    if learner.average:
        learner.average.update_parameters(learner.predictor)
    loss, mean_dice = (parts / len(parts)).sum(0).tolist()
    return loss, mean_dice


def validate(learner: Learner) -> Validated:
    """Score every validation photo as `evaluate` does, and compute the loss at the training size."""
    predictor = learner.judged.eval()
    learner.engine.align_buffers(predictor)
    indices = learner.engine.share(range(len(learner.validation)))
    photos = (learner.validation[index] for index in indices)
    mine: list[_PhotoScores] = []
    # Copies: scores are inference tensors, which a loss with weights of its own, or one that edits its target, cannot use.
    for index, scored in zip(indices, score_photos(predictor, photos), strict=True):
        with torch.no_grad():
            loss = learner.loss(scored.logits_at_size.clone()[None, None], scored.target_at_size.clone()[None]).item()
            own = float(learner.metric(scored.prediction.clone(), scored.target.clone())) if learner.metric else math.nan
        mine.append(_PhotoScores(index, loss, dice_of(scored.counts_at_size), dice_of(scored.counts), own))
    everyone = learner.engine.gather(mine, lambda scores: scores.photo, expected=range(len(learner.validation)))
    everyone.sort()  # a fixed order: the same sum to the last bit
    _, loss, dice, dice_photo, own = np.mean(everyone, axis=0).tolist()
    if not learner.metric:
        return Validated(loss, dice, dice_photo, None)
    undefined = tuple(scores.photo for scores in everyone if not math.isfinite(scores.own_metric))
    return Validated(loss, dice, dice_photo, own, undefined)


def deal_batches(images: int, batch_size: int, *, seed: int, epoch: int) -> Iterator[NDArray[np.int64]]:
    """Shuffle the rows 0..images-1 and deal whole batches; the remainder is left out of this epoch.

    >>> [sorted(batch.tolist()) for batch in deal_batches(5, 5, seed=0, epoch=1)]
    [[0, 1, 2, 3, 4]]
    """
    order = open_stream(seed, epoch, Purpose.ORDER).permutation(images)
    for start in range(0, images - batch_size + 1, batch_size):
        yield order[start : start + batch_size]


def _name_batch(learner: Learner, epoch: int, step: int, rows: NDArray[np.int64]) -> str:
    names = [learner.name_row(row) for row in rows[:4]]
    return f"in epoch {epoch}, step {step} (photos {', '.join(names)}{', …' if len(rows) > len(names) else ''})"
