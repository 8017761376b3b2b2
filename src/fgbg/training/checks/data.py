"""Are the splits disjoint, and do the masks mark the object?"""

from __future__ import annotations

import torch

from fgbg.data.samples import SampleSet
from fgbg.data.split import find_overlaps
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
    told = [f"{first.id} ({first.split}) and {second.id} ({second.split})" for first, second in overlaps]
    return doubted(
        name,
        f"{name_some(told, 3)} are the same photo, byte for byte, or of one group: scores on them will flatter, so leave "
        "them out of one side",
    )


def check_labels(store: Store) -> Finding:
    """The photos' frame is mostly ground: if object covers it, but not the rest, labels are probably inverted."""
    name = "labels"
    rows = torch.linspace(0, len(store) - 1, min(LOOKED_AT, len(store))).round().long().to(store.device)
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
