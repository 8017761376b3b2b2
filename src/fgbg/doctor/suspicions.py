"""What looks wrong but may be right: decided for each mask by its own measures and by the rest of the set.

The bounds were chosen on Oxford-IIIT Pet and inspected on nuclei and drawn figures; see docs/doctor.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fgbg.doctor.alignment import Alignment
from fgbg.doctor.geometry import Geometry
from fgbg.doctor.problems import Problem

INVERTED_FRAME = 0.6  # share of the frame that is object
USUAL_FRAME = 0.5  # if half of a set's masks touch more of the frame than this, touching it is no sign
INVERTED_REST = 0.7  # in such a set: ground's share of the frame over its share of the photo must be lower

BETTER_BY = 1.0  # standard deviations of chance by which another position must be better than the mask's own
TELLING = 4.5  # standard deviations: if most of a set fits this well nowhere, edges say little about its outlines
UNLIKE_OTHERS = 4.0  # then: scaled median absolute deviations from the set's own median

BOX_FILL = 0.95
CUT, CUT_WITH_BAND = 0.42, 0.2  # of the object's largest extent; a band tells cuts from natural ends
TINY_SHARE, TINY_AGAINST_SET = 0.004, 1 / 60  # of the photo, and of the set's median share
MOSTLY = 0.5  # of a band, and of the masks that hold one: more of it apart makes a class likelier than a band
TO_SCALE = 1.4826  # a normal distribution's standard deviation over its median absolute deviation


def find_inverted(geometries: Mapping[str, Geometry]) -> dict[str, str]:
    """Ids of masks whose object and ground look exchanged, and why.

    Args:
        geometries: Of all masks that have both object and ground, by id.
    """
    if not geometries:
        return {}
    is_usual = np.median([each.frame_share for each in geometries.values()]) >= USUAL_FRAME
    found = {}
    for name, each in geometries.items():
        ground_keeps_away = each.ground_frame_share < INVERTED_REST * each.ground_share
        if each.frame_share >= INVERTED_FRAME and (ground_keeps_away or not is_usual):
            found[name] = (
                f"the object covers {each.frame_share:.0%} of the frame and {each.object_share:.0%} of the photo, "
                f"the ground {each.ground_frame_share:.0%} of the frame"
            )
    return found


def remark_on_frames(geometries: Sequence[Geometry]) -> list[str]:
    """A question, if most masks call most of the frame and of the photo object: no single one stands out then.

    Args:
        geometries: Of all masks that have both object and ground.
    """
    if not geometries:
        return []
    frame = float(np.median([each.frame_share for each in geometries]))
    whole = float(np.median([each.object_share for each in geometries]))
    if frame < INVERTED_FRAME or whole < USUAL_FRAME:
        return []
    told = f"half of the masks call {frame:.0%} of the frame or more object"
    return [f"{told}: are all of them inverted? Only those that differ from the rest are named"]


def find_misaligned(alignments: Mapping[str, Alignment]) -> dict[str, str]:
    """Ids of masks that fit the photo's edges significantly better elsewhere, and where.

    Args:
        alignments: Of all masks that have an outline, by id.
    """
    if not alignments:
        return {}
    gains = {name: each.best - each.own for name, each in alignments.items()}
    bound = _bound_gain(np.array(list(gains.values())), np.array([each.best for each in alignments.values()]))
    return {name: _say_fit(alignments[name]) for name, gain in gains.items() if gain > bound}


def _bound_gain(gains: NDArray[np.floating], bests: NDArray[np.floating]) -> float:
    """What a gain must exceed. If outlines follow no edges, all positions are as good, and only outliers are named."""
    middle = float(np.median(gains))
    if middle < 0 or float(np.median(bests)) >= TELLING:
        return BETTER_BY
    return max(BETTER_BY, middle + UNLIKE_OTHERS * TO_SCALE * float(np.median(np.abs(gains - middle))))


def _say_fit(alignment: Alignment) -> str:
    names = {"left-right": "mirrored left to right", "top-bottom": "mirrored top to bottom", "both": "turned upside down"}
    if alignment.mirror:
        where = names[alignment.mirror]
    else:
        words = [
            f"{abs(shift):.0%} of the {side} {forth if shift > 0 else back}"
            for shift, side, forth, back in (
                (alignment.across, "width", "to the right", "to the left"),
                (alignment.down, "height", "down", "up"),
            )
            if shift
        ]
        where = f"shifted by {' and '.join(words)}"
    gain = alignment.best - alignment.own
    return f"its outline fits the photo's edges better {where}: by {gain:.1f} standard deviations of chance agreement"


def find_suspect(geometries: Mapping[str, Geometry]) -> dict[str, str]:
    """Ids of masks of a suspect shape, and what is suspect.

    Args:
        geometries: Of all masks that have both object and ground, by id.
    """
    if not geometries:
        return {}
    usual_share = float(np.median([each.object_share for each in geometries.values()]))
    found = {name: _list_reasons(each, usual_share) for name, each in geometries.items()}
    return {name: "; ".join(reasons) for name, reasons in found.items() if reasons}


def _list_reasons(geometry: Geometry, usual_share: float) -> list[str]:
    reasons = []
    if geometry.object_share < min(TINY_SHARE, TINY_AGAINST_SET * usual_share):
        reasons.append(f"all of the object is a speck of {geometry.object_share:.2%} of the photo")
    if geometry.speck_count:
        specks = "1 speck lies" if geometry.speck_count == 1 else f"{geometry.speck_count} specks lie"
        reasons.append(f"{specks} far from the object")
    if geometry.box_fill >= BOX_FILL:
        reasons.append(f"a part fills {geometry.box_fill:.0%} of an upright rectangle")
    if geometry.cut >= (CUT_WITH_BAND if geometry.has_band else CUT):
        reasons.append(f"the object ends at a straight line of {geometry.cut:.0%} of its extent, inside the photo")
    return reasons


def name_classes(geometries: Mapping[str, Geometry], files: Mapping[str, tuple[str, str]]) -> list[Problem]:
    """Masks of 1, 2 and 3, read as trimaps, in which 3 is no band along the outline, as one problem of the whole set.

    In some trimaps the band is broad, or all that there is of the object. So most of the set's masks must be like that.

    Args:
        geometries: Of all masks, by id.
        files: Photo and mask of each id, as problems name them.
    """
    apart = {name: each.band_apart for name, each in geometries.items() if each.has_band}
    found = [name for name, share in apart.items() if share > MOSTLY]
    if len(found) <= MOSTLY * len(apart):
        return []
    detail = (
        f"the values 1, 2, 3 are read as a trimap, but in {len(found):,} of {len(apart):,} masks most of 3 lies apart from "
        "the outline between 1 and 2: if 3 is a class, say --object-values 1, --object-values 3, or --object-values 1 3"
    )
    return [Problem("class-as-band", tuple(files[name][1] for name in found), detail)]


def name_suspicions(
    geometries: Mapping[str, Geometry], alignments: Mapping[str, Alignment], files: Mapping[str, tuple[str, str]]
) -> list[Problem]:
    """All suspicions as problems, which a clean list leaves in. An inverted mask is not also reported as a suspect shape.

    Args:
        geometries: Of all masks that have both object and ground, by id.
        alignments: Of all masks that have an outline, by id.
        files: Photo and mask of each id, as problems name them.
    """
    inverted = find_inverted(geometries)
    suspect = {name: why for name, why in find_suspect(geometries).items() if name not in inverted}
    problems = [Problem("inverted-mask", files[name][::-1], why) for name, why in inverted.items()]
    for name, why in find_misaligned(alignments).items():
        fit = alignments[name]
        problems.append(Problem("misaligned-mask", files[name][::-1], why, fit=(fit.mirror, fit.down, fit.across)))
    return problems + [Problem("suspect-label", files[name][::-1], why) for name, why in suspect.items()]
