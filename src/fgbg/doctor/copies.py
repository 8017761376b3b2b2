"""Photos that are in a set more than once, and those that leak from one split into another."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fgbg.data.duplicates import cluster_pairs, find_near_duplicates
from fgbg.data.parallel import ShowProgress
from fgbg.data.samples import Sample
from fgbg.doctor.looks import MaskLook, PairLook
from fgbg.doctor.problems import Problem

RANKS = {"test": 0, "validation": 1, "train": 2}
"""Of copies in several splits a clean list keeps the one of lowest rank: the test set stays as it is."""


class Copies(NamedTuple):
    """Ids of photos that are alike, and how."""

    kind: str  # of problem
    names: Sequence[str]
    detail: str


def name_copies(
    samples: Mapping[str, Sample],
    looks: Mapping[str, PairLook],
    masks: Mapping[str, MaskLook],
    files: Mapping[str, tuple[str, str]],
    progress: ShowProgress | None = None,
) -> list[Problem]:
    """Exact and near duplicates, and all leaks between splits. Of photos that hang together as copies one is kept.

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
    found = [_describe_exact(names, looks, masks) for names in by_pixels.values() if len(names) > 1]
    found += _find_near([names[0] for names in by_pixels.values()], looks, progress)
    problems = []
    for names, alike in _join(list(looks), found):
        kept = min(names, key=lambda name: RANKS.get(samples[name].split, len(RANKS)))
        for copies in alike:
            images = tuple(files[name][0] for name in copies.names)
            left_out = tuple(name for name in copies.names if name != kept)
            problems.append(Problem(copies.kind, images, copies.detail, left_out))
        splits = list(dict.fromkeys(samples[name].split for name in names if samples[name].split))  # unreadable: none
        if len(splits) > 1:
            detail = alike[0].detail if len(alike) == 1 else f"{len(names)} copies of one picture"
            images = tuple(files[name][0] for name in names)
            left_out = tuple(name for name in names if name != kept)
            problems.append(Problem("leak", images, f"in {' and '.join(splits)}: {detail}", left_out))
    return problems + _name_group_leaks(samples, files)


def _describe_exact(names: Sequence[str], looks: Mapping[str, PairLook], masks: Mapping[str, MaskLook]) -> Copies:
    same_bytes = len({looks[name].photo.hash for name in names}) == 1
    same_mask = len({masks[name].hash for name in names if name in masks}) <= 1
    detail = f"the same {'bytes' if same_bytes else 'pixels'}, {'with the same mask' if same_mask else 'but other masks'}"
    return Copies("duplicate", names, detail)


def _find_near(names: Sequence[str], looks: Mapping[str, PairLook], progress: ShowProgress | None) -> list[Copies]:
    """The pairs of near duplicates."""
    if len(names) < 2:
        return []
    fingerprints = np.stack([looks[name].fingerprint for name in names])
    return [
        Copies(
            "near-duplicate",
            [names[pair.first], names[pair.second]],
            f"{pair.relation}, details correlate by {pair.similarity:.2f}",
        )
        for pair in find_near_duplicates(fingerprints, progress=progress)
    ]


def _join(names: Sequence[str], found: Sequence[Copies]) -> list[tuple[list[str], list[Copies]]]:
    """All ids that hang together as copies, in order, and what was found about them."""
    place_of = {name: place for place, name in enumerate(names)}
    links = [(place_of[copies.names[0]], place_of[name]) for copies in found for name in copies.names[1:]]
    labels = cluster_pairs(len(names), links).tolist()
    members, alike = defaultdict(list), defaultdict(list)
    for name, label in zip(names, labels, strict=True):
        members[label].append(name)
    for copies in found:
        alike[labels[place_of[copies.names[0]]]].append(copies)
    return [(members[label], together) for label, together in alike.items()]


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
