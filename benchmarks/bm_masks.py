"""Masks written as PNG per second, and their size in bytes: fgbg's writer against Pillow's at two levels.

    fgbg predict FOLDER_OF_PHOTOS --out masks
    python benchmarks/bm_masks.py masks

Level 2 is the one that fgbg uses for its other pictures, level 6 is Pillow's default.
"""

from __future__ import annotations

import io
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fgbg.data.images import list_images
from fgbg.ship.mask_png import write_mask
from timing import describe_machine, images_per_second, ratio

ROUNDS, MOST = 5, 611
OURS, PILLOW, PILLOW_6 = "fgbg", "Pillow, level 2", "Pillow, level 6"


def main(folder: Path) -> None:
    """Time all in turn, and print a table."""
    masks = [np.asarray(Image.open(path)) for path in list_images(folder)[:MOST]]

    def save(level: int) -> Callable[[NDArray[np.uint8], io.BytesIO], None]:
        return lambda mask, file: Image.fromarray(mask).save(file, "PNG", compress_level=level)

    ways = {OURS: write_mask, PILLOW: save(2), PILLOW_6: save(6)}
    sizes: dict[str, float] = {}

    def encode(name: str) -> int:
        files = [io.BytesIO() for _ in masks]
        for mask, file in zip(masks, files, strict=True):
            ways[name](mask, file)
        sizes[name] = statistics.mean(file.tell() for file in files)
        return len(masks)

    rates = images_per_second({name: lambda name=name: encode(name) for name in ways}, rounds=ROUNDS)
    print(f"{len(masks)} masks of {folder.name}; {describe_machine()}\n")
    print("| what | masks a second, median | bytes a mask |\n|---|---|---|")
    for name, each in rates.items():
        print(f"| {name} | {statistics.median(each):,.0f} | {sizes[name]:,.0f} |")
    print(f"\n{OURS} / {PILLOW}: {ratio(rates, OURS, PILLOW)}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} FOLDER_OF_MASKS")
    main(Path(sys.argv[1]))
