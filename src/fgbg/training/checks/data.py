"""Are the splits disjoint, and do the masks mark the object?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from fgbg.data.overlaps import MOST_SEARCHED, Overlap, find_overlaps
from fgbg.data.samples import SampleSet
from fgbg.training.checks.finding import Finding, doubted, passed
from fgbg.training.stores import Store
from fgbg.words import GROUND, OBJECT, name_some

LOOKED_AT = 64  # masks, spread over the training set
FRAME_SHARE = 0.8  # share of the frame that must be object before labels are taken for inverted


def check_splits(samples: SampleSet) -> Finding:
    """No photo, by its content, and no group is in two splits."""
    name, overlaps = "splits", find_overlaps(samples)
    if not overlaps:
        return passed(name, "no photo is in two splits")
    told = [overlap.describe() for overlap in overlaps]
    return doubted(
        name,
        f"{name_some(told, 3)} are the same photo, byte for byte, or of one group: scores on them will flatter, so leave "
        "them out of one side",
    )


def check_copies(overlaps: Sequence[Overlap] | None) -> Finding:
    """No photo of one split shows the same picture as one of another.

    Args:
        overlaps: As `find_near_overlaps` finds them.
    """
    name = "copies"
    if overlaps is None:
        return passed(name, f"not looked for among more than {MOST_SEARCHED:,} photos: fgbg check DATA does")
    if not overlaps:
        return passed(name, "no photo of another split shows the same picture")
    told = [overlap.describe() for overlap in overlaps]
    return doubted(
        name,
        f"{name_some(told, 3)} show the same picture, on which scores flatter: leave one of them out (fgbg check DATA shows "
        "them, and with --write-clean lists all others), or keep them together (--group-by near-duplicates)",
    )


def check_labels(store: Store) -> Finding:
    """The photos' frame is mostly ground: if object covers it, but not the rest, labels are probably inverted."""
    name = "labels"
    rows = np.linspace(0, len(store) - 1, min(LOOKED_AT, len(store))).round().astype(np.int64)
    _, target = store.take(rows, 1)
    frame = torch.ones(target.shape[-2:], dtype=torch.bool, device=target.device)
    frame[1:-1, 1:-1] = False
    on_frame, inside = target[:, frame].flatten(), target[:, ~frame].flatten()
    frame_objects, frame_ground = ((on_frame == value).sum().item() for value in (OBJECT, GROUND))
    inner_objects, inner_ground = ((inside == value).sum().item() for value in (OBJECT, GROUND))
    frame_share = frame_objects / max(1, frame_objects + frame_ground)
    inner_share = inner_objects / max(1, inner_objects + inner_ground)
    told = f"object covers {frame_share:.0%} of the photos' frame and {inner_share:.0%} of the rest"
    if frame_share >= FRAME_SHARE and 1 - frame_share < (1 - inner_share) / 2:
        return doubted(
            name, f"{told}: it should be the other way round, so the labels are probably inverted (ground marked as object)"
        )
    return passed(name, told)
