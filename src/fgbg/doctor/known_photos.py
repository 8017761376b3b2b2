"""Photos of a set that a run has seen: copies of those that trained its model or chose its epoch, under whatever name."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fgbg.data.duplicates import find_near_duplicates, fingerprint_samples
from fgbg.data.parallel import ShowProgress
from fgbg.doctor.looks import PairLook
from fgbg.doctor.problems import Problem
from fgbg.errors import UserError
from fgbg.judge.run_data import open_own_data
from fgbg.run import Run

SEEN = {"train": "trained", "validation": "chose the epoch of"}
"""What the photos of a split did, by which a score on them is too good."""


def name_known_photos(
    looks: Mapping[str, PairLook], files: Mapping[str, tuple[str, str]], run: Run, progress: ShowProgress | None = None
) -> list[Problem]:
    """Photos that show the same picture as one that the run has seen: resized, saved again, mirrored or slightly cropped.

    Args:
        looks: Looks at the photos that can be decoded, by id.
        files: Photo and mask of each id, as problems name them.
        run: A run whose data are at hand.
        progress: Shows how far the search is.

    Raises:
        UserError: The run's data are not at hand or have changed, or a photo of them cannot be decoded.
    """
    if not run.config.data:
        raise UserError(f"--against {run.folder}: its photos were given to the Python API, and are not known here")
    own = open_own_data(run)
    seen = own.rearrange(sample for sample in own.samples if sample.split in SEEN)
    names = list(looks)
    if not names:
        return []
    fingerprints = np.concatenate(
        [fingerprint_samples(seen, progress), np.stack([looks[name].fingerprint for name in names])]
    )
    known: dict[str, str] = {}
    for pair in find_near_duplicates(fingerprints, progress=progress):
        if pair.first < len(seen.samples) <= pair.second:
            theirs, name = seen.samples[pair.first], names[pair.second - len(seen.samples)]
            known[name] = (
                f"{SEEN[theirs.split]} {run.folder}, as {theirs.id}: {pair.relation}, details correlate by "
                f"{pair.similarity:.2f}"
            )
    return [Problem("seen", (files[name][0],), detail, (name,)) for name, detail in known.items()]
