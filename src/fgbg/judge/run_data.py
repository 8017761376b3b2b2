"""Which photos of which data a run is scored on, and under what name its scores are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from fgbg.data.parallel import show_progress
from fgbg.data.samples import SPLITS, Sample, SampleSet, understand_samples
from fgbg.data.sources import find_outlines, open_samples
from fgbg.data.split import lock_splits
from fgbg.errors import UserError
from fgbg.run import Run, open_run
from fgbg.storage import JOINT
from fgbg.words import ObjectValue


def find_label(run: Run, label: str, samples: SampleSet) -> str:
    """The label under which the run keeps scores on these samples.

    Scores on other data stand beside the run's own, and never replace those on another set of the same name.

    Args:
        run: Where the scores will be kept.
        label: As `open_run_data` returns it.
        samples: What is scored.
    """
    if label in SPLITS or not run.scores_path(label).exists():
        return label
    told_values = list(samples.encoding.told_values)
    try:
        told = run.statement(label)
    except UserError:  # what cannot be read is written anew
        return label
    if told["fingerprint"] == samples.fingerprint and (told.get("object_values") or []) == told_values:
        return label
    return "_".join([label, samples.fingerprint, *map(str, told_values)])


def open_scorable(folder: Path) -> Run:
    """A run that has a model.

    Raises:
        UserError: There is no run, or it has no model (yet).
    """
    run = open_run(folder)
    if not run.best.exists():
        joint = "; its scores are of other runs or of masks: evaluate those again" if (folder / JOINT).exists() else ""
        raise UserError(f"{folder} has no best.safetensors{joint or ' yet: let fgbg train finish an epoch'}")
    return run


def open_run_data(
    run: Run,
    data: str,
    split: str,
    object_values: Sequence[ObjectValue] = (),
    categories: Sequence[str] = (),
    samples: Sequence[Sample] | None = None,
) -> tuple[SampleSet, str]:
    """The photos of a split of the run's own data, or of other data, and their label in file names.

    A run that was trained on samples passed to the Python API is given them again. Other data without lists of their own are
    scored whole: none of them trained the run. Masks of the run's own data that shall mean something else make other data.

    Raises:
        UserError: The data are not there, have changed, or were given to the Python API.
    """
    config = run.config
    if samples is not None:
        if data:
            raise UserError(f"{data} and samples: name one of them to score")
        return open_own_data(run, samples).of(split), split
    if not data and not config.data:
        raise UserError(
            f"{run.folder} was trained on samples given to the Python API: name the DATA to score, or give them again from "
            "Python: fgbg.evaluate_run(RUN, samples=…)"
        )
    if object_values and not data:
        raise UserError("--object-values: the run knows its own masks; name other DATA to say what theirs mean")
    if categories and not data:
        raise UserError("--categories: the run knows its own object; name other DATA to say what theirs is")
    if data:
        chosen = categories or (config.categories if find_outlines(Path(data).expanduser()) else ())

        @cache  # which data these are is known only when they have been read
        def read(values: tuple[ObjectValue, ...]) -> SampleSet:
            return open_samples(data, object_values=values, categories=chosen, cuts=False, progress=show_progress)

        own = _recognise_own(run, read, tuple(object_values))
        if own is None:
            named = read(tuple(object_values))
            has_lists = any(sample.split for sample in named.samples)
            return named.of(split if has_lists else ""), f"{named.name}_{split}"
    else:
        own = open_own_data(run)
    return own.of(split), split


def _recognise_own(
    run: Run, read: Callable[[tuple[ObjectValue, ...]], SampleSet], object_values: tuple[ObjectValue, ...]
) -> SampleSet | None:
    """The data that were named, if they are the run's own and mean the same, each photo in the split that it had then.

    Args:
        run: Knows the hash of its data, and what their masks mean.
        read: Reads the data, whose masks mean these values.
        object_values: What the masks shall mean; as in training by default.
    """
    try:
        own = read(run.config.object_values)
    except UserError:  # other data, in which the values of the run mean nothing; or the caller meets the error again
        return None
    if own.fingerprint != run.fingerprint:
        return None
    if object_values and read(object_values).encoding != own.encoding:
        return None
    return own.rearrange(lock_splits(own.samples, run.locked_splits()))


def open_own_data(run: Run, samples: Sequence[Sample] | None = None) -> SampleSet:
    """All photos of the run's own data (or the samples that it was trained on), each in the split that it had in training.

    Raises:
        UserError: The data are not there, or have changed.
    """
    config, locked = run.config, run.locked_splits()
    if samples is not None:
        name = config.data or "own samples"
        own = understand_samples(name, lock_splits(samples, locked), object_values=config.object_values)
    else:
        own = open_samples(
            config.data,
            object_values=config.object_values,
            categories=config.categories,
            locked=locked,
            progress=show_progress,
        )
    if own.fingerprint != run.fingerprint:
        raise UserError(
            f"photos or masks of {own.name} have changed since {run.folder} was trained (hash {run.fingerprint}, now "
            f"{own.fingerprint}): restore them, or name the DATA to score it as other data"
        )
    return own


def tell_scored_data(runs: Sequence[Run], label: str, samples: SampleSet) -> dict[str, Any]:
    """What a statement tells of photos that were scored by one run, or by several together.

    Returns:
        `split_rule`: whose split they are of, as `--split` names it; empty for data other than the run's own.
        `copies`: photos that show the same picture as one that trained a run or chose its epoch.
        `known_groups`: groups that bear names of a run's training groups; in its own data, leaks that were allowed.
    """
    return {
        "split_rule": runs[0].config.split if label in SPLITS else "",
        "copies": sorted({name for run in runs for name in find_copies(run, label)}),
        "known_groups": sorted({name for run in runs for name in _find_known_groups(run, samples)}),
    }


def find_copies(run: Run, label: str) -> list[str]:
    """Photos of a split of the run's own data that show the same picture as one that trained it or chose its epoch."""
    split_of = run.locked_splits()
    return sorted({later for _, later in run.split().get("copies") or () if split_of[later].split == label})


def _find_known_groups(run: Run, samples: SampleSet) -> set[str]:
    trained = {photo.get("group") for photo in run.split().get("train", ())}
    return {sample.group for sample in samples.samples if sample.group} & trained
