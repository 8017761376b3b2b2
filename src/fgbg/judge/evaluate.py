"""Score a model on a set of photos: one row per image, and a statement of what the rows mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from fgbg.cores import count_cores
from fgbg.data.masks import check_border
from fgbg.data.parallel import ShowProgress, map_in_order
from fgbg.data.samples import Sample, SampleSet
from fgbg.engine import Engine
from fgbg.errors import UserError
from fgbg.judge.bootstrap import Estimate, read_mean_dice
from fgbg.judge.calibration import Histograms, count_probabilities
from fgbg.judge.distances import measure_outlines
from fgbg.judge.doubt import expect_dice
from fgbg.judge.failures import name_failure
from fgbg.judge.metrics import dice_of, iou_of
from fgbg.judge.objects import count_parts
from fgbg.judge.photo_pictures import keep_pictures, save_pictures, write_scores
from fgbg.judge.score import PhotoAndTarget, ScoredMask, ScoredPhoto, Scorer, score_photos
from fgbg.judge.statement import describe_statement, make_statement, tell_model
from fgbg.judge.suspicion import is_label_suspected, suspect_label
from fgbg.judge.traits import measure_traits
from fgbg.model_file import ModelHeader
from fgbg.rows import ScoreRow
from fgbg.run import Run
from fgbg.words import Border, name_some

MEASURED_AHEAD = 100_000_000  # pixels of scored photos that wait to be measured: bounds memory where photos are large


@dataclass(frozen=True)
class Evaluation:
    """Rows in the order of the samples, and what they mean."""

    rows: list[ScoreRow]
    statement: dict[str, Any]

    @property
    def mean_dice(self) -> Estimate:
        """The headline: mean Dice over images, at the photos' own size, with its interval."""
        return read_mean_dice(self.statement)

    def describe(self) -> str:
        """The scores and every rule behind them, as lines to print."""
        return describe_statement(self.statement)


def evaluate(
    predictor: Scorer,
    header: ModelHeader,
    samples: SampleSet,
    *,
    engine: Engine,
    split: str,
    label: str = "",
    border: Border | None = None,
    empty: float = 1.0,
    allow_overlap: bool = False,
    run: Run | None = None,
    about: dict[str, Any] | None = None,
    progress: ShowProgress | None = None,
) -> Evaluation:
    """Score every sample at its own size, and keep rows, predictions and small pictures in the run folder.

    Args:
        predictor: In evaluation mode, on the engine's device.
        header: The model file's header.
        samples: What to score; none may have trained the model, and no test photo may have chosen its epoch or threshold.
        engine: Its processes share the samples; the rows' order does not depend on their number.
        split: Which split the samples are.
        label: What to call them in file names; the split by default.
        border: What the masks' band counts as; the model's own rule by default.
        empty: The score of an image where truth and prediction are both empty; NaN leaves it out of the means.
        allow_overlap: Score even photos that the model has seen; the statement says how many.
        run: Where to keep everything; nowhere by default.
        about: Further entries of the statement: `split_rule`, `tta`, `members`.
        progress: Shows progress.

    Raises:
        UserError: Nothing to score, a photo that the model has seen among the samples, or an unreadable file.
    """
    require_photos(samples, split)
    border, label = border or header.border, label or split
    check_border(border, samples.encoding)
    seen = find_seen_photos(header, samples, label)
    if seen.photo_count and not allow_overlap:
        raise UserError(
            f"of {len(samples.samples)} photos {seen.describe()}: "
            "score others, or go on with --allow-overlap, which the score will tell"
        )

    def answer(indices: Sequence[int]) -> Iterator[tuple[int, ScoredMask]]:
        return _score_samples(predictor, samples, indices, border, progress, f"scoring {split}")

    told = tell_model(predictor, header) | (about or {})
    told |= {"seen_count": seen.photo_count, "overlap": _tell_overlap(header, seen)}
    return judge_answers(
        answer, samples, engine=engine, split=split, label=label, border=border, empty=empty, run=run, about=told
    )


def judge_answers(
    answer: Callable[[Sequence[int]], Iterator[tuple[int, ScoredMask]]],
    samples: SampleSet,
    *,
    engine: Engine,
    split: str,
    label: str,
    border: Border,
    empty: float,
    about: Mapping[str, Any],
    run: Run | None = None,
) -> Evaluation:
    """Make rows and statement of the answers to every sample, wherever they come from, and keep them in the run folder.

    Args:
        answer: Called with the indices of some samples; yields each with its scored photo, in order.
        samples, engine, split, label, border, empty, run: As for `evaluate`.
        about: What answered, and further entries of the statement.

    Raises:
        UserError: An unreadable file.
    """
    indices = engine.share(range(len(samples.samples)))
    with keep_pictures(run, label, engine) if run is not None else nullcontext() as folders:

        def judge(item: tuple[int, ScoredMask]) -> ScoreRow:
            sample, scored = samples.samples[item[0]], item[1]
            if folders is not None:
                save_pictures(folders, sample.id, scored)
            return _make_row(sample, scored, empty)

        places = 2 * count_cores()

        def weigh(item: tuple[int, ScoredMask]) -> float:
            return max(1.0, places * item[1].target.numel() / MEASURED_AHEAD)

        judged = list(map_in_order(judge, answer(indices), in_flight=places, weigh=weigh))
        ids = [sample.id for sample in samples.samples]
        row_of = {row.id: row for row in engine.gather(judged, lambda row: row.id, expected=ids)}
        rows = [row_of[sample_id] for sample_id in ids]
        statement = {**make_statement(rows, samples, split=split, border=border, empty=empty), **about}
        if run is not None and engine.is_main:
            write_scores(run, label, rows, statement)
    return Evaluation(rows, statement)


def count_by_probability(
    predictor: Scorer, samples: SampleSet, *, engine: Engine, border: Border, progress: ShowProgress | None = None
) -> Histograms:
    """The samples' pixels by probability, from which any threshold can be scored; the predictor's own plays no part.

    Args:
        predictor: In evaluation mode, on the engine's device.
        samples: The validation photos.
        engine: Its processes share the samples; the counts do not depend on their number.
        border: What the masks' band counts as.
        progress: Shows progress.

    Raises:
        UserError: There are no photos, or a file is unreadable.
    """
    require_photos(samples, "validation")
    indices = engine.share(range(len(samples.samples)))
    scored_photos = _score_samples(predictor, samples, indices, border, progress, "looking for the threshold")
    counted = []
    for index, scored in scored_photos:
        by_threshold, by_logit = count_probabilities(scored.probability, scored.target)
        counted.append((index, by_threshold.cpu().numpy(), by_logit.cpu().numpy()))
    gathered = engine.gather(counted, lambda photo: photo[0], expected=range(len(samples.samples)))
    ordered = sorted(gathered, key=lambda photo: photo[0])
    return Histograms(np.stack([photo[1] for photo in ordered]), np.sum([photo[2] for photo in ordered], axis=0))


def _require_numbers(probability: torch.Tensor) -> None:
    """Refuse answers that are no numbers: NaN is neither above a threshold nor below it.

    Raises:
        UserError: There is one.
    """
    if torch.isnan(probability).any():
        raise UserError(
            "this network's answers are no numbers (NaN): its training went out of bounds; train again, with a lower "
            "--learning-rate"
        )


def require_photos(samples: SampleSet, split: str) -> None:
    """Refuse to score nothing.

    Raises:
        UserError: There are no samples.
    """
    if not samples.samples:
        raise UserError(f"{samples.name} has no {split} photos: choose a split that it has")


def _score_samples(
    predictor: Scorer,
    samples: SampleSet,
    indices: Sequence[int],
    border: Border,
    progress: ShowProgress | None,
    title: str,
) -> Iterator[tuple[int, ScoredPhoto]]:
    """The samples' indices in order, each with its scored photo; files are read ahead."""

    def read(index: int) -> PhotoAndTarget:
        target = samples.read_target(index, border)
        return torch.tensor(samples.samples[index].read_pixels()), torch.tensor(target)

    photos = map_in_order(read, indices, progress, title, weigh=samples.weigh)
    for index, scored in zip(indices, score_photos(predictor, photos), strict=True):
        _require_numbers(scored.probability)
        yield index, scored


class SeenPhotos(NamedTuple):
    """Ids of photos that are to be scored although the model has seen them (compared by content)."""

    trained: list[str]
    chose: list[str]  # its epoch and threshold

    @property
    def photo_count(self) -> int:
        """How many in all."""
        return len(self.trained) + len(self.chose)

    def describe(self, model: str = "this model") -> str:
        """In words; empty where there are none."""
        roles = {f"trained {model}": self.trained, f"chose the epoch and threshold of {model}": self.chose}
        return " and ".join(f"{len(ids)} {what} ({name_some(ids)})" for what, ids in roles.items() if ids)


def find_seen_photos(header: ModelHeader, samples: SampleSet, label: str) -> SeenPhotos:
    """The samples that trained the model and, except in its own validation split, those that chose its epoch and threshold.

    Args:
        header: Knows the photos by their content.
        samples: What is to be scored.
        label: As `open_run_data` gives it: the split for the run's own data.
    """
    trained, chose = set(header.training_images), set(header.validation_images) if label != "validation" else set()
    known = [(sample.id, key) for sample, key in zip(samples.samples, samples.image_keys, strict=True)]
    return SeenPhotos(
        [name for name, key in known if key in trained],
        [name for name, key in known if key in chose - trained],
    )


def _tell_overlap(header: ModelHeader, seen: SeenPhotos) -> str:
    """Why a score is not from a clean test, for its readers; empty if it is."""
    if header.overlap_count and not seen.photo_count:
        return f"the model was trained on data with {header.overlap_count} photos or groups in two splits"
    return seen.describe()


def _make_row(sample: Sample, scored: ScoredMask, empty: float) -> ScoreRow:
    pixels, prediction, target = (tensor.cpu().numpy() for tensor in (scored.pixels, scored.prediction, scored.target))
    if not sum(scored.counts):  # no pixel is judged: there is nothing to score
        empty = math.nan
    dice = dice_of(scored.counts, empty=empty)
    uncertainty = suspicion = math.nan
    if isinstance(scored, ScoredPhoto):  # a mask alone does not tell how sure it was
        probability = scored.probability.cpu().numpy()
        uncertainty = 1 - expect_dice(probability, prediction)
        suspicion = suspect_label(probability, prediction, target)
    suspected = is_label_suspected(suspicion, uncertainty)
    objects = count_parts(prediction, target)
    return ScoreRow(
        id=sample.id,
        height=target.shape[0],
        width=target.shape[1],
        **scored.counts._asdict(),
        dice=dice,
        iou=iou_of(scored.counts, empty=empty),
        dice_at_size=dice_of(scored.counts_at_size, empty=empty),
        **measure_outlines(prediction, target, empty=empty)._asdict(),
        uncertainty=uncertainty,
        label_suspicion=suspicion,
        failure="label suspected" if suspected else name_failure(prediction, target, dice),
        **measure_traits(pixels, target)._asdict(),
        object_count=float(objects.object_count),
        found_count=float(objects.found_count),
        predicted_count=float(objects.predicted_count),
        group=sample.group,
        metadata=sample.metadata,
    )
