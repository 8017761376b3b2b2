"""A model and a set of photos: one row an image, and the statement of what the rows mean."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fgbg.data.masks import apply_border, check_border
from fgbg.data.parallel import Progress, map_in_order
from fgbg.data.samples import SampleSet, name_some
from fgbg.engine import Engine
from fgbg.errors import UserError
from fgbg.judge.bootstrap import Estimate, estimate_mean
from fgbg.judge.metrics import Counts, dice_of, iou_of
from fgbg.judge.score import PhotoAndTarget, ScoredPhoto, score_photos
from fgbg.models.checkpoint import ModelHeader
from fgbg.models.predictor import Predictor
from fgbg.run import Run, ScoreRow
from fgbg.words import HASH_DIGITS, Border

THUMBNAIL_PIXELS = 128


@dataclass(frozen=True)
class Evaluation:
    """Rows in the order of the samples, and what they mean."""

    rows: list[ScoreRow]
    statement: dict[str, Any]

    @property
    def mean_dice(self) -> Estimate:
        """The headline: mean Dice over images, at the photos' own size, with its interval."""
        return Estimate(*(self.statement[name] for name in ("mean_dice", "mean_dice_low", "mean_dice_high")))

    def describe(self) -> str:
        """The scores and every rule behind them, as lines to print."""
        told = self.statement
        at_size = math.nan if told["dice_at_size"] is None else told["dice_at_size"]
        rules = f"border = {told['border']} · threshold {told['threshold']:g} · fit {told['fit']}"
        return "\n".join(
            [
                f"{told['split']} photos of {told['data']}: {told['pairs']:,} pairs · hash {told['fingerprint']}",
                f"{rules} · {told['network']} (width {told['width']}, epoch {told['epoch']})",
                f"  Dice  mean over photos   {self.mean_dice}  95 % bootstrap over photos, at their own size",
                f"        all pixels pooled  {told['pooled_dice']:.4f}",
                f"        mean @{told['size']}px".ljust(27) + f"{at_size:.4f}  both at the training size, as the lab has it",
                f"  IoU   mean over photos   {told['mean_iou']:.4f}",
                f"  {told['both_empty_count']} photos without object and prediction count as {told['empty']}",
            ]
        )


def evaluate(
    predictor: Predictor,
    header: ModelHeader,
    samples: SampleSet,
    *,
    engine: Engine,
    split: str,
    label: str = "",
    border: Border | None = None,
    empty: float = 1.0,
    run: Run | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Score every sample at its own size, and keep rows, predictions and thumbnails in the run folder.

    Args:
        predictor: In evaluation mode, on the engine's device.
        header: What the model file says of itself.
        samples: What to score; none of them may have trained the model.
        engine: Processes share the samples; rows come back in one order whatever their number.
        split: Which split the samples are.
        label: What to call them in file names; the split by default.
        border: What the band counts as; the model's own rule by default.
        empty: The score of an image where truth and prediction are both empty; NaN leaves it out of the means.
        run: Where to keep everything; nowhere by default.
        progress: Shows how far it is.

    Raises:
        UserError: Nothing to score, a training photo among the samples, or an unreadable file.
    """
    if not samples.samples:
        raise UserError(f"{samples.name} has no {split} photos: choose a split that it has")
    border, label = border or header.border, label or split
    check_border(border, samples.encoding)
    refuse_training_photos(header, samples)
    indices = engine.share(range(len(samples.samples)))

    def read(index: int) -> PhotoAndTarget:
        return samples.samples[index].read_pixels(), apply_border(samples.read_levels(index), border)

    if run is not None:
        run.thumbnails.mkdir(exist_ok=True)
        run.predictions(label).mkdir(exist_ok=True)
    photos = _keep_thumbnails(map_in_order(read, indices, progress, f"scoring {split}"), run, samples, indices)
    rows = []
    for index, scored in zip(indices, score_photos(predictor, photos), strict=True):
        sample = samples.samples[index]
        rows.append(_make_row(sample.id, sample.metadata, scored, empty))
        if run is not None:
            probability = (scored.square_logits.sigmoid() * 255).round().byte().cpu().numpy()
            Image.fromarray(probability).save(run.predictions(label) / f"{sample.id}.png")
    gathered = {row.id: row for row in engine.gather(rows, lambda row: row.id)}
    ordered = [gathered[sample.id] for sample in samples.samples]
    statement = _state(ordered, predictor, header, samples, split, border, empty)
    if run is not None and engine.is_main:
        run.write_scores(label, ordered, statement)
    return Evaluation(ordered, statement)


def refuse_training_photos(header: ModelHeader, samples: SampleSet) -> None:
    """A score on photos that a model has learnt by heart is no score.

    Raises:
        UserError: A sample's photo, by its content, trained the model.
    """
    trained = set(header.training_images)
    pairs = zip(samples.samples, samples.inspections, strict=True)
    leaked = [sample.id for sample, look in pairs if look.image_hash[:HASH_DIGITS] in trained]
    if leaked:
        raise UserError(f"{len(leaked)} of {len(samples.samples)} photos trained this model: {name_some(leaked)}")


def _make_row(sample_id: str, metadata: Mapping[str, str], scored: ScoredPhoto, empty: float) -> ScoreRow:
    return ScoreRow(
        id=sample_id,
        height=scored.target.shape[0],
        width=scored.target.shape[1],
        **scored.counts._asdict(),
        dice=dice_of(scored.counts, empty=empty),
        iou=iou_of(scored.counts, empty=empty),
        dice_at_size=dice_of(scored.counts_at_size, empty=empty),
        metadata=metadata,
    )


def _keep_thumbnails(
    photos: Iterable[PhotoAndTarget], run: Run | None, samples: SampleSet, indices: Sequence[int]
) -> Iterator[PhotoAndTarget]:
    """Pass the photos on, leaving a small copy of each in the run folder."""
    for index, (pixels, target) in zip(indices, photos, strict=True):
        if run is not None:
            _save_thumbnail(pixels, run.thumbnails / f"{samples.samples[index].id}.webp")
        yield pixels, target


def _save_thumbnail(pixels: NDArray[np.uint8], path: Path) -> None:
    picture = Image.fromarray(pixels)
    picture.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    picture.save(path, quality=80)


def _state(
    rows: list[ScoreRow],
    predictor: Predictor,
    header: ModelHeader,
    samples: SampleSet,
    split: str,
    border: Border,
    empty: float,
) -> dict[str, Any]:
    """Everything without which the numbers mean nothing, and the numbers."""
    scores = np.array([row.dice for row in rows])
    both_empty = sum(row.TP + row.FP + row.FN == 0 for row in rows)
    judged = ~np.isnan(scores)
    if not judged.any():
        raise UserError("every truth and every prediction is empty: with --empty nan there is nothing to average")
    estimate = estimate_mean(scores[judged])
    pooled = Counts(*(sum(getattr(row, name) for row in rows) for name in Counts._fields))
    return {
        "data": samples.name,
        "fingerprint": samples.fingerprint,
        "split": split,
        "pairs": len(rows),
        "border": border,
        "threshold": predictor.threshold,
        "empty": f"{empty:g}",
        "both_empty_count": both_empty,
        "size": predictor.size,
        "fit": predictor.fit,
        "network": header.network,
        "width": header.width,
        "epoch": header.epoch,
        "mean_dice": estimate.mean,
        "mean_dice_low": estimate.low,
        "mean_dice_high": estimate.high,
        "mean_iou": float(np.nanmean([row.iou for row in rows])),
        "pooled_dice": dice_of(pooled, empty=empty),
        "dice_at_size": _mean_or_none([row.dice_at_size for row in rows]),
    }


def _mean_or_none(scores: list[float]) -> float | None:
    """The mean of the scores that are numbers; nothing where there is none (JSON has no NaN)."""
    known = [score for score in scores if not math.isnan(score)]
    return sum(known) / len(known) if known else None
