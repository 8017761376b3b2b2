"""Score masks that were made elsewhere, by another tool or a second annotator, by the rules of every other score."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fgbg.config import TrainConfig
from fgbg.data.folders import compose
from fgbg.data.images import list_images
from fgbg.data.masks import MaskEncoding, check_border
from fgbg.data.parallel import map_in_order, show_progress
from fgbg.data.samples import SPLITS, Sample, SampleSet, understand_samples
from fgbg.data.sources import open_samples
from fgbg.engine import Engine
from fgbg.errors import UserError
from fgbg.judge.evaluate import Evaluation, judge_answers, require_photos
from fgbg.judge.joint import open_joint_folder
from fgbg.judge.panels import draw_best_and_worst
from fgbg.judge.run_data import find_label, open_run_data
from fgbg.judge.score import ScoredMask, score_mask
from fgbg.judge.scoring import DEFAULT, Scoring
from fgbg.rows import ScoreRow
from fgbg.run import Run, open_run
from fgbg.words import OBJECT, ObjectValue, name_some

_UNKNOWN_MODEL: Mapping[str, Any] = {
    "threshold": None,
    "threshold_reason": "",
    "size": None,
    "fit": "",
    "network": "",
    "width": None,
    "epoch": None,
}
"""What `tell_model` tells of a model."""


def evaluate_masks(
    masks: Path,
    data: str = "",
    scoring: Scoring = DEFAULT,
    *,
    out: Path,
    run: Path | None = None,
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
        out: The folder to write to.
        run: A run whose photos and rules are taken, so that its scores can be compared with these.
        mask_values: Which values of the given masks are object, if that is ambiguous.
        mask_threshold: Where the given masks are shades of grey: object from this share of white on, 0 to 1.
        object_values, categories: As for `evaluate_run`, of `data`.

    Raises:
        UserError: A photo has no mask, or one of another size; the masks may mean several things; the data cannot be used;
            or `out` holds something else.
    """
    if mask_threshold is not None and not 0 <= mask_threshold < 1:
        raise UserError(f"--mask-threshold {mask_threshold:g}: must be from 0 to below 1, such as 0.5")
    if mask_threshold is not None and mask_values:
        raise UserError("--mask-threshold is for shades of grey, --mask-values for classes: choose one of them")
    engine = Engine("cpu", "fp32", scoring.threads)
    config, samples, label = _open_photos(run, data, scoring, object_values, categories)
    require_photos(samples, scoring.split)
    border = config.border
    check_border(border, samples.encoding)
    given = read_given_masks(masks, samples, mask_values, mask_threshold)
    place = {sample.id: index for index, sample in enumerate(samples.samples)}

    def read(index: int) -> tuple[int, ScoredMask]:
        sample, prediction = samples.samples[index], given.read_levels(index) == OBJECT
        arrays = sample.read_pixels(), prediction, samples.read_target(index, border)
        pixels, predicted, target = map(torch.tensor, arrays)
        return index, score_mask(pixels, predicted, target)

    def answer(indices: Sequence[int]) -> Iterator[tuple[int, ScoredMask]]:
        return map_in_order(read, indices, show_progress, f"scoring {scoring.split}", weigh=samples.weigh)

    about = {
        **_UNKNOWN_MODEL,
        "masks": {"folder": masks.resolve().name, "encoding": given.encoding.name, "fingerprint": given.fingerprint},
        "split_rule": config.split if run and label in SPLITS else "",
        "seen_count": 0,
        "overlap": "",
    }
    config = replace(config, model=out.resolve().name)
    source = {"masks": os.path.relpath(masks.resolve(), out.resolve()), "data": config.data}
    with open_joint_folder(out, config, [], source, engine) as scores:
        label = find_label(scores, label, samples)
        evaluation = judge_answers(
            answer,
            samples,
            engine=engine,
            split=scoring.split,
            label=label,
            border=border,
            empty=scoring.empty,
            run=scores,
            about=about,
        )
        if engine.is_main:

            def predict(sample: Sample, _row: ScoreRow) -> NDArray[np.bool_]:
                return given.read_levels(place[sample.id]) == OBJECT

            draw_best_and_worst(scores, label, predict, samples, evaluation)
    return evaluation, scores


def _open_photos(
    run: Path | None,
    data: str,
    scoring: Scoring,
    object_values: Sequence[ObjectValue],
    categories: Sequence[str],
) -> tuple[TrainConfig, SampleSet, str]:
    """How the photos and their true masks are read, as settings; the photos; and the label of their scores.

    Raises:
        UserError: Neither run nor data were named, or they cannot be used.
    """
    if run is None:
        if not data:
            raise UserError("masks of which photos? Name a run, or DATA")
        named = open_samples(data, object_values=object_values, categories=categories, cuts=False, progress=show_progress)
        has_lists = any(sample.split for sample in named.samples)
        config = TrainConfig(
            data=data,
            object_values=tuple(object_values),
            categories=tuple(categories),
            border=scoring.border or "foreground",
        )
        return config, named.of(scoring.split if has_lists else ""), scoring.split
    opened = open_run(run)
    opened = next(iter(opened.members()), opened)  # joint scores are of their members' photos
    samples, label = open_run_data(opened, data, scoring.split, object_values, categories)
    known = opened.config
    config = TrainConfig(data=data or known.data, border=scoring.border or known.border, **known.data_options())
    return config, samples, label


def read_given_masks(
    folder: Path, samples: SampleSet, mask_values: Sequence[ObjectValue] = (), mask_threshold: float | None = None
) -> SampleSet:
    """The samples with the masks of a folder in place of their own, understood as masks of any data are.

    Raises:
        UserError: As `evaluate_masks`.
    """
    paths = _pair(folder, samples.samples)
    encoding = None if mask_threshold is None else _cut_grey(mask_threshold)
    try:
        given = understand_samples(
            f"masks in {folder}",
            [replace(sample, mask=path) for sample, path in zip(samples.samples, paths, strict=True)],
            encoding=encoding,
            object_values=mask_values,
            progress=show_progress,
        )
    except UserError as error:  # the same rules as for DATA, under flags of their own
        told = str(error).replace("--object-values", "--mask-values")
        grey = "; shades of grey are cut by --mask-threshold 0.5" if told != str(error) and not mask_values else ""
        raise UserError(f"--masks {folder}: {told}{grey}") from None
    if given.encoding.has_band:
        raise UserError(
            f"--masks {folder}: these are trimaps ({given.encoding.name}), and what is judged leaves nothing open: say "
            "which values are object, --mask-values 1 or --mask-values 1 3"
        )
    return given


def _cut_grey(threshold: float) -> MaskEncoding:
    """The encoding of shades of grey that are object above a share of white."""
    first = int(255 * threshold) + 1
    name = f"shades of grey: object = over {threshold:g} of white"
    return MaskEncoding(name, tuple(range(first, 256)), tuple(range(first)))


def _pair(folder: Path, samples: Sequence[Sample]) -> list[Path]:
    """The given mask of each sample: named after its id or its photo, all with the same ending if any.

    Raises:
        UserError: There is no such folder, or a photo has no mask in it, or several.
    """
    if not folder.is_dir():
        raise UserError(f"--masks {folder}: there is no such folder; name one that holds a mask for each photo")
    files: dict[str, list[Path]] = {}
    for path in list_images(folder):
        files.setdefault(compose(path.stem), []).append(path)
    names = [_list_names(sample) for sample in samples]

    def pair(ending: str) -> list[list[Path]]:
        return [next((files[name + ending] for name in known if name + ending in files), []) for known in names]

    endings = {stem.removeprefix(name) for name in names[0] for stem in files if stem.startswith(name)} | {""}
    complete = [ending for ending in sorted(endings) if all(pair(ending))]
    if not complete:
        missing = [sample.id for sample, found in zip(samples, pair(""), strict=True) if not found]
        raise UserError(
            f"--masks {folder}: {len(missing)} of {len(samples)} photos have no mask there ({name_some(missing)}): each "
            "needs one of its name, and an empty one where nothing was found"
        )
    if len(complete) > 1 and complete[0]:
        raise UserError(
            f"--masks {folder}: each photo has several files there, with the endings {name_some(complete)}: put those to "
            "score into a folder of their own"
        )
    paired = pair(complete[0])
    if twice := next((found for found in paired if len(found) > 1), None):
        raise UserError(f"--masks {folder}: {name_some([path.name for path in twice])} are of one photo: keep one of them")
    return [path for (path,) in paired]


def _list_names(sample: Sample) -> list[str]:
    """What its mask may be called: its id, or the name of its photo, which differ where folders part the data."""
    names = [sample.id, *([sample.image.stem] if isinstance(sample.image, Path) else [])]
    return list(dict.fromkeys(map(compose, names)))
