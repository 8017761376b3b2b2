"""Score masks that were made elsewhere, by another tool or a second annotator, by the rules of every other score."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import fgbg
from fgbg.config import TrainConfig
from fgbg.data.given_masks import read_given_masks
from fgbg.data.masks import check_border
from fgbg.data.parallel import map_in_order, show_progress
from fgbg.data.samples import SPLITS, Sample, SampleSet
from fgbg.data.sources import open_samples
from fgbg.engine import Engine
from fgbg.errors import UserError
from fgbg.judge.evaluate import Evaluation, judge_answers, require_photos
from fgbg.judge.joint import open_joint_folder
from fgbg.judge.panels import draw_best_and_worst
from fgbg.judge.run_data import find_label, open_own_data, open_run_data
from fgbg.judge.score import ScoredMask, score_mask
from fgbg.judge.scoring import DEFAULT, Scoring
from fgbg.rows import ScoreRow
from fgbg.run import Run, open_run
from fgbg.storage import list_folds
from fgbg.words import OBJECT, Border, ObjectValue

_NO_MODEL: Mapping[str, Any] = {
    "threshold": None,
    "threshold_reason": "",
    "size": None,
    "fit": "",
    "network": "",
    "width": None,
    "epoch": None,
}
"""In place of what `tell_model` tells."""


def evaluate_masks(
    masks: str | Path,
    data: str | Path = "",
    scoring: Scoring = DEFAULT,
    *,
    out: str | Path,
    run: str | Path | None = None,
    mask_values: Sequence[ObjectValue] = (),
    mask_threshold: float | None = None,
    object_values: Sequence[ObjectValue] = (),
    categories: Sequence[str] = (),
) -> tuple[Evaluation, Run]:
    """Score masks made elsewhere as if a model had predicted them.

    The result has a run folder of its own, which `compare` and `report` accept like any other.

    Args:
        masks: Folder with a mask for each photo, of its name (all may have one ending more) and at its size.
        data: The photos and their true masks; the run's own by default.
        scoring: By which rules. What the masks were made by, and what that has seen, is not known.
        out: The folder to write to; its name is what tables call the masks.
        run: A run whose photos and rules are taken, so that its scores can be compared with these. All photos of a
            cross-validation, which is named by its folder.
        mask_values: Which values of the given masks are object, if that is ambiguous.
        mask_threshold: Where the given masks are shades of grey: object above this share of white, from 0 to below 1.
        object_values, categories: As for `evaluate_run`, of `data`.

    Raises:
        UserError: A photo has no mask, or one of another size; the masks may mean several things; the data cannot be used;
            or `out` holds something else.
    """
    masks, out = Path(masks).expanduser(), Path(out).expanduser()
    engine = Engine("cpu", "fp32", scoring.threads)
    photos = _open_photos(run, str(data), scoring, object_values, categories)
    require_photos(photos.samples, scoring.split)
    border = photos.config.border
    check_border(border, photos.samples.encoding)
    given = _GivenMasks(
        photos.samples, read_given_masks(masks, photos.samples, mask_values, mask_threshold, show_progress), border
    )
    source = {
        "masks": _name_from(out, masks),
        "data": _name_from(out, Path(photos.config.data)),
        "mask_values": list(mask_values),
        "mask_threshold": mask_threshold,
    }
    told = {
        "folder": masks.resolve().name,
        "encoding": given.masks.encoding.name,
        "fingerprint": given.masks.fingerprint,
        "scored_by": fgbg.__version__,
    }
    with open_joint_folder(out, replace(photos.config, model=out.resolve().name), [], source, engine) as scores:
        label = find_label(scores, photos.label, photos.samples)
        evaluation = judge_answers(
            given.score,
            photos.samples,
            engine=engine,
            split=scoring.split,
            label=label,
            border=border,
            empty=scoring.empty,
            run=scores,
            about={**_NO_MODEL, "masks": told, "split_rule": photos.split_rule, "seen_count": 0, "overlap": ""},
        )
        if engine.is_main:
            draw_best_and_worst(scores, label, given.predict, photos.samples, evaluation)
    return evaluation, scores


@dataclass(frozen=True)
class _GivenMasks:
    """Photos with their true masks, and the same photos with the given ones."""

    photos: SampleSet
    masks: SampleSet
    border: Border

    def score(self, indices: Sequence[int]) -> Iterator[tuple[int, ScoredMask]]:
        """Each of these photos in order, scored; files are read ahead."""
        return map_in_order(self._score_one, indices, show_progress, "scoring masks", weigh=self.photos.weigh)

    def _score_one(self, index: int) -> tuple[int, ScoredMask]:
        pixels, target = self.photos.samples[index].read_pixels(), self.photos.read_target(index, self.border)
        return index, score_mask(*map(torch.tensor, (pixels, self._read(index), target)))

    def predict(self, sample: Sample, _row: ScoreRow) -> NDArray[np.bool_]:
        """The given mask of a photo."""
        return self._read([photo.id for photo in self.photos.samples].index(sample.id))

    def _read(self, index: int) -> NDArray[np.bool_]:
        return self.masks.read_levels(index) == OBJECT


@dataclass(frozen=True)
class _Photos:
    """What is scored on: photos with their true masks, how these are read, and what their scores are called."""

    samples: SampleSet
    config: TrainConfig  # as far as it is about data
    label: str
    split_rule: str = ""


def _open_photos(
    run: str | Path | None,
    data: str,
    scoring: Scoring,
    object_values: Sequence[ObjectValue],
    categories: Sequence[str],
) -> _Photos:
    """The photos of a run, of a cross-validation, or of other data.

    Raises:
        UserError: Neither run nor data were named, or they cannot be used.
    """
    if run is None:
        if not data:
            raise UserError("masks of which photos? Name a run, or DATA")
        named = open_samples(data, object_values=object_values, categories=categories, cuts=False, progress=show_progress)
        has_lists = any(sample.split for sample in named.samples)
        values, names = tuple(object_values), tuple(categories)
        config = TrainConfig(data=data, object_values=values, categories=names, border=scoring.border or "foreground")
        return _Photos(named.of(scoring.split if has_lists else ""), config, scoring.split)
    opened = open_run(next(iter(list_folds(Path(run))), Path(run)))
    if opened.given_masks:
        raise UserError(f"{run} holds scores of masks made elsewhere: name the run or DATA that those were compared with")
    trained = next(iter(opened.members()), opened)  # joint scores are of their members' photos
    known = trained.config
    config = TrainConfig(data=data or known.data, border=scoring.border or known.border, **known.data_options())
    if (trained != opened or trained.folder != Path(run)) and known.folds and not data:  # each photo is tested in a fold
        return _Photos(open_own_data(trained), config, scoring.split)
    samples, label = open_run_data(trained, data, scoring.split, object_values, categories)
    return _Photos(samples, config, label, known.split if label in SPLITS else "")


def _name_from(out: Path, path: Path) -> str:
    """A path from the folder on, so that both may be moved together, however it was spelt; a built-in set's name stays."""
    return os.path.relpath(path.resolve(), out.resolve()) if path.exists() else str(path)
