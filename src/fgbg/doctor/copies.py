"""Photos that are in a set more than once, and those that leak from one split into another."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from fgbg.data.duplicates import find_near_duplicates
from fgbg.data.parallel import Progress
from fgbg.data.samples import Sample
from fgbg.doctor.looks import MaskLook, PairLook
from fgbg.doctor.problems import Problem

RANKS = {"test": 0, "validation": 1, "train": 2}
"""Of copies in several splits a clean list keeps the one of lowest rank: the test set stays as it is."""


def name_copies(
    samples: Mapping[str, Sample],
    looks: Mapping[str, PairLook],
    masks: Mapping[str, MaskLook],
    files: Mapping[str, tuple[str, str]],
    progress: Progress | None = None,
) -> list[Problem]:
    """Exact and near duplicates, and all leaks between splits.

    Args:
        samples: The samples of the set, by id.
        looks: Looks at the photos that can be decoded, by id.
        masks: Looks at the masks of the set, by id.
        files: Photo and mask of each id, as problems name them.
        progress: Shows how far the search is.
    """
    by_pixels: dict[str, list[str]] = defaultdict(list)
    for name, look in looks.items():
        by_pixels[look.photo.pixel_hash].append(name)
    problems = []
    for names in by_pixels.values():
        if len(names) > 1:
            same_bytes = len({looks[name].photo.hash for name in names}) == 1
            same_mask = len({masks[name].hash for name in names if name in masks}) <= 1
            detail = (
                f"the same {'bytes' if same_bytes else 'pixels'}, {'with the same mask' if same_mask else 'but other masks'}"
            )
            problems += _name_group("duplicate", names, detail, samples, files)
    firsts = [names[0] for names in by_pixels.values()]
    for first, second, detail in _find_near(firsts, looks, progress):
        problems += _name_group("near-duplicate", [first, second], detail, samples, files)
    return problems + _name_group_leaks(samples, files)


def _find_near(names: Sequence[str], looks: Mapping[str, PairLook], progress: Progress | None) -> list[tuple[str, str, str]]:
    """The two ids of each pair of near duplicates, and a description."""
    if len(names) < 2:
        return []
    fingerprints = np.stack([looks[name].fingerprint for name in names])
    return [
        (names[pair.first], names[pair.second], f"{pair.relation}, details correlate by {pair.similarity:.2f}")
        for pair in find_near_duplicates(fingerprints, progress=progress)
    ]


def _name_group(
    kind: str, names: Sequence[str], detail: str, samples: Mapping[str, Sample], files: Mapping[str, tuple[str, str]]
) -> list[Problem]:
    """The copies as a problem, and as a leak if they are in several splits."""
    ordered = sorted(names, key=lambda name: RANKS.get(samples[name].split, len(RANKS)))
    images = tuple(files[name][0] for name in names)
    problems = [Problem(kind, images, detail, tuple(ordered[1:]))]
    splits = [samples[name].split for name in names if samples[name].split]  # unreadable samples have none
    if len(set(splits)) > 1:
        problems.append(Problem("leak", images, f"in {' and '.join(splits)}: {detail}", tuple(ordered[1:])))
    return problems


def _name_group_leaks(samples: Mapping[str, Sample], files: Mapping[str, tuple[str, str]]) -> list[Problem]:
    """Groups of groups.csv that span several splits."""
    members: dict[str, list[str]] = defaultdict(list)
    for name, sample in samples.items():
        if sample.group and sample.split:  # unreadable samples have no split
            members[sample.group].append(name)
    problems = []
    for group, names in members.items():
        counts = Counter(samples[name].split for name in names)
        if len(counts) > 1:
            spread = ", ".join(f"{count} in {split}" for split, count in counts.items())
            judging = min(counts, key=lambda split: RANKS.get(split, len(RANKS)))
            left_out = tuple(name for name in names if samples[name].split != judging)
            problems.append(Problem("leak", tuple(files[name][0] for name in names), f"group '{group}': {spread}", left_out))
    return problems
