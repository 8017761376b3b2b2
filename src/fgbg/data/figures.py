"""Drawn animals on cluttered ground: a data set that needs no download, with two dials for controlled experiments.

- `tone_gap`: how far the animal's colour is from the ground's. At 0 both share one distribution of colours and one kind
  of texture; only relief, a faint rim, the shadow and the break in the texture tell them apart.
- `irregularity`: how rough the outline is. 0 is a smooth loaf; 1 has ragged fur, thin limbs, whiskers and a tail.

Every concern (pose, palette, clutter, ...) has its own random stream, and an animal's area and centroid are fitted after
its shape is known: turning one dial leaves size, place, palette, clutter and the other dial as they were.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fgbg.data.figure_paint import cast_shadow, choose_scene, expose, paint_coat, paint_ground
from fgbg.data.figure_shapes import choose_pose, place_animal
from fgbg.storage import write_whole

SMALLEST_SIZE, LARGEST_SIZE = 16, 4096  # pixels, as for the network
CAMOUFLAGE_RATE = 0.15  # share of the drawn tone gaps that is exactly 0
STREAMS = ("dials", "pose", "fur", "scene", "ground", "clutter", "coat", "noise")  # append, never reorder
SPLIT_CYCLE = tuple("abacaabaaaacabaabacb")  # by index, so that the first n are always split about alike: 12, 5 and 3 of 20
SPLIT_FILES = {"a": "train.txt", "c": "val.txt", "b": "test.txt"}


@dataclass(frozen=True)
class Figure:
    """One picture and its truth. Both dials are in [0, 1]."""

    pixels: NDArray[np.uint8]  # UInt8 "height width 3", RGB
    mask: NDArray[np.bool_]  # Bool "height width": the animal covers at least half of the pixel
    tone_gap: float
    irregularity: float


def draw_figure(
    index: int, *, seed: int = 0, size: int = 128, tone_gap: float | None = None, irregularity: float | None = None
) -> Figure:
    """Draw one picture. It depends on the arguments alone: figure 7 is the same in a set of 10 and of 1000.

    Args:
        index: Number of the picture in its set, 0 or more.
        seed: Number of the set, 0 or more.
        size: Height and width in pixels, 16 to 4096.
        tone_gap: Distance between the colours of animal and ground in [0, 1]; None draws one.
        irregularity: Roughness of the outline in [0, 1]; None draws one.

    Raises:
        ValueError: An argument is out of its range.
    """
    _check_arguments(index, seed, size, tone_gap, irregularity)
    streams = {
        name: np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(index, number))))
        for number, name in enumerate(STREAMS)
    }
    camouflage, drawn_gap, drawn_irregularity = streams["dials"].random(3).tolist()
    if tone_gap is None:
        tone_gap = 0.0 if camouflage < CAMOUFLAGE_RATE else drawn_gap
    if irregularity is None:
        irregularity = drawn_irregularity
    tone_gap, irregularity = float(tone_gap), float(irregularity)

    scene = choose_scene(streams["scene"])
    animal = place_animal(choose_pose(streams["pose"]), irregularity, size, streams["fur"])
    ground = paint_ground(scene, size, streams["ground"], streams["clutter"])
    cast_shadow(ground, animal, scene)
    coat = paint_coat(animal, scene, tone_gap, streams["coat"])
    lab = ground + animal.coverage[..., None] * (coat - ground)
    return Figure(expose(lab, scene, streams["noise"]), animal.coverage >= 0.5, tone_gap, irregularity)


def draw_figures(
    folder: Path,
    *,
    count: int = 600,
    seed: int = 0,
    size: int = 128,
    tone_gap: float | None = None,
    irregularity: float | None = None,
    progress: Callable[[Iterable[int]], Iterable[int]] | None = None,
) -> None:
    """Write a set: images/, masks/, metadata.csv (id, tone_gap, irregularity), train.txt, val.txt, and last test.txt.

    Args:
        folder: Created if it is missing.
        count: How many pictures, 1 or more; 60/15/25 % of them go to train, val and test.
        seed, size, tone_gap, irregularity: As for `draw_figure`; a dial that is set holds for all pictures.
        progress: Wraps the indices, to show a bar.

    Raises:
        ValueError: An argument is out of its range; nothing is written.
    """
    check_figures(count=count, seed=seed, size=size, tone_gap=tone_gap, irregularity=irregularity)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    rows = [("id", "tone_gap", "irregularity")]
    indices: Iterable[int] = range(count)
    for index in progress(indices) if progress else indices:
        figure = draw_figure(index, seed=seed, size=size, tone_gap=tone_gap, irregularity=irregularity)
        name = f"figure_{index:05d}"
        Image.fromarray(figure.pixels).save(folder / "images" / f"{name}.png")
        Image.fromarray(figure.mask.astype(np.uint8) * 255).save(folder / "masks" / f"{name}.png")
        rows.append((name, f"{figure.tone_gap:.4f}", f"{figure.irregularity:.4f}"))
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)
    for letter, file in SPLIT_FILES.items():
        names = [row[0] for index, row in enumerate(rows[1:]) if SPLIT_CYCLE[index % len(SPLIT_CYCLE)] == letter]
        write_whole(folder / file, "".join(f"{name}\n" for name in names))  # the last one says that the set is whole


def check_figures(*, count: int, seed: int, size: int, tone_gap: float | None, irregularity: float | None) -> None:
    """Refuse what `draw_figures` would refuse; call it before a folder is made.

    Raises:
        ValueError: An argument is out of its range.
    """
    if count < 1:
        raise ValueError(f"count must be 1 or more, got {count}")
    _check_arguments(0, seed, size, tone_gap, irregularity)


def _check_arguments(index: int, seed: int, size: int, tone_gap: float | None, irregularity: float | None) -> None:
    if index < 0 or seed < 0:
        raise ValueError(f"index and seed must be 0 or more, got {index} and {seed}")
    if not SMALLEST_SIZE <= size <= LARGEST_SIZE:
        raise ValueError(f"size must be from {SMALLEST_SIZE} to {LARGEST_SIZE} pixels, got {size}")
    for name, dial in (("tone_gap", tone_gap), ("irregularity", irregularity)):
        if dial is not None and not 0 <= dial <= 1:
            raise ValueError(f"{name} must be in [0, 1], got {dial}")
