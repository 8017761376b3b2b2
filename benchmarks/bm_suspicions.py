"""How many planted label faults `fgbg check` suspects, and how many clean masks, by the bounds in doctor/suspicions.py.

    python benchmarks/bm_suspicions.py DATA [COUNT]

Every kind of fault is planted in a tenth of the masks at a time, ten times, so that each mask is planted once while most
of the others are sound. Printed are the shares of planted masks and of the others that are named.
Target: at least 90 % and at most 2 %.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fgbg.data.parallel import map_in_order
from fgbg.data.sources import open_samples
from fgbg.doctor.alignment import measure_alignment, move_mask
from fgbg.doctor.geometry import measure_geometry
from fgbg.doctor.looks import reduce_pair
from fgbg.doctor.suspicions import find_inverted, find_misaligned, find_suspect

Levels = NDArray[np.uint8]
TURNS = 10
FIND: dict[str, Callable[[Mapping], dict[str, str]]] = {
    "inverted": find_inverted,
    "misaligned": find_misaligned,
    "suspect": find_suspect,
}


def invert(levels: Levels, _: np.random.Generator) -> Levels:
    return np.array([1, 0, 2], np.uint8)[levels]


def mirror(levels: Levels, _: np.random.Generator) -> Levels:
    return np.ascontiguousarray(levels[:, ::-1])


def flip(levels: Levels, _: np.random.Generator) -> Levels:
    return np.ascontiguousarray(levels[::-1])


def shift(share: float) -> Callable[[Levels, np.random.Generator], Levels]:
    return lambda levels, random: move_mask(levels, "", *(share * random.choice([-1, 1], 2)))


def cut(levels: Levels, random: np.random.Generator) -> Levels:
    """Remove what lies beyond a line through the middle third of the object."""
    turned = np.rot90(levels, random.integers(4)).copy()
    columns = np.flatnonzero((turned == 1).any(0))
    turned[:, int(columns[0] + random.uniform(0.35, 0.65) * (columns[-1] - columns[0] + 1)) :] = 0
    return turned  # only shape is measured, so it need not be turned back


def box(levels: Levels, _: np.random.Generator) -> Levels:
    rows, columns = (np.flatnonzero((levels == 1).any(axis)) for axis in (1, 0))
    boxed = np.zeros_like(levels)
    boxed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = 1
    return boxed


def add_specks(levels: Levels, random: np.random.Generator) -> Levels:
    """Three specks of 2 x 2 to 4 x 4 pixels, a twelfth of the diagonal or more away from the object."""
    speckled = levels.copy()
    rows, columns = np.nonzero(ndimage.distance_transform_edt(levels == 0) > np.hypot(*levels.shape) / 12)
    for place in random.integers(0, max(1, len(rows)), 3 if len(rows) else 0):
        side = random.integers(2, 5)
        speckled[rows[place] : rows[place] + side, columns[place] : columns[place] + side] = 1
    return speckled


def shrink(levels: Levels, _: np.random.Generator) -> Levels:
    """Leave nothing but a speck."""
    row, column = (int(places.mean()) for places in np.nonzero(levels == 1))
    left = np.zeros_like(levels)
    left[row : row + 4, column : column + 4] = 1
    return left


PLANT: dict[str, tuple[str, Callable[[Levels, np.random.Generator], Levels]]] = {
    "inverted": ("inverted", invert),
    "mirrored left to right": ("misaligned", mirror),
    "mirrored top to bottom": ("misaligned", flip),
    "shifted by 6 %": ("misaligned", shift(0.06)),
    "shifted by 10 %": ("misaligned", shift(0.10)),
    "shifted by 20 %": ("misaligned", shift(0.20)),
    "cut off": ("suspect", cut),
    "boxed": ("suspect", box),
    "specks": ("suspect", add_specks),
    "shrunk to a speck": ("suspect", shrink),
}


def main(data: str, count: int) -> None:
    samples = open_samples(data)
    chosen = np.random.default_rng(0).permutation(len(samples.samples))[:count]

    def measure(index: int) -> dict[str, object]:
        random = np.random.default_rng([1, index])
        pixels, levels = samples.samples[index].read_pixels(), samples.read_levels(index)
        found = {}
        for name, (kind, plant) in {"": ("", lambda levels, _: levels), **PLANT}.items():
            planted = plant(levels, random) if (levels == 1).any() else levels
            if kind != "misaligned":
                found[name, "geometry"] = measure_geometry(planted)
            if kind in ("", "misaligned"):
                found[name, "alignment"] = measure_alignment(*reduce_pair(pixels, planted))
        return found

    measured = dict(zip(map(str, chosen), map_in_order(measure, chosen), strict=True))
    print(f"{samples.name}: {len(measured)} photos")
    for name, (kind, _) in PLANT.items():
        named = {True: 0, False: 0}
        measure_name = "alignment" if kind == "misaligned" else "geometry"
        for turn in range(TURNS):
            planted = {sample for number, sample in enumerate(measured) if number % TURNS == turn}
            mixed = {s: found[name if s in planted else "", measure_name] for s, found in measured.items()}
            for sample in FIND[kind]({s: value for s, value in mixed.items() if value is not None}):
                named[sample in planted] += 1
        clean = (TURNS - 1) * len(measured)
        print(f"{name:24} named {named[True] / len(measured):6.1%}, of the others {named[False] / clean:6.2%}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 300)
