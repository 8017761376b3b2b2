"""Pages, bits and grey levels that reading would pass over, as problems."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fgbg.data.overlooked import count_pages, find_depth, list_16_bit, say_depth, say_lost_grey, say_pages
from fgbg.data.samples import Sample
from fgbg.doctor.looks import MaskLook, PairLook
from fgbg.doctor.problems import Problem


def name_overlooked(
    samples: Mapping[str, Sample],
    masks: Mapping[str, MaskLook],
    looks: Mapping[str, PairLook],
    files: Mapping[str, tuple[str, str]],
) -> list[Problem]:
    """Files of several pages, and 16-bit photos of which all use few bits, or some keep few of their grey levels.

    Args:
        samples: The samples of the set, by id.
        masks: Looks at the masks of the set, by id.
        looks: Looks at the photos that can be decoded, by id.
        files: Photo and mask of each id, as problems name them.
    """
    photos = {image: name for name in looks if isinstance(image := samples[name].image, Path)}
    stored = {mask: name for name in masks if masks[name].stored and isinstance(mask := samples[name].mask, Path)}
    problems = []
    for owners, place in ((photos, 0), (stored, 1)):
        for path, name in owners.items():
            pages = count_pages(path)
            if pages > 1:
                problems.append(Problem("several-pages", (files[name][place],), say_pages(pages), (name,)))
    deep = list_16_bit(photos)
    depth = find_depth(deep)
    if depth < 16:
        names = tuple(files[photos[path]][0] for path in deep)
        problems.append(Problem("few-bits", names, say_depth(names, depth), tuple(photos[path] for path in deep)))
    elif lost := {name: grey for name, look in looks.items() if (grey := look.photo.grey) and grey.is_lost}:
        names = tuple(files[name][0] for name in lost)
        problems.append(Problem("few-grey-levels", names, say_lost_grey(list(lost.values()))))
    return problems
