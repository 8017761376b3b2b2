"""Peak memory and time of `fgbg predict` for photos of 100 megapixels with the model that ships, kind by kind.

    python benchmarks/bm_large.py [MEGAPIXELS]

Each kind runs in processes of its own, on one photo and then on three; the photos are enlarged drawn figures, as JPEG.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from fgbg.data.figures import draw_figure
from fgbg.ship.draw import Kind
from timing import describe_machine

KINDS: tuple[Kind, ...] = ("mask", "probability", "cutout", "soft", "overlay")


def measure(photos: list[Path], kind: Kind, out: Path) -> tuple[float, float]:
    """Peak memory in GB and seconds of one command."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "fgbg", "predict", *map(str, photos), "--kind", kind, "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed")
    return usage.ru_maxrss * 1024 / 1e9, time.perf_counter() - start


def main(megapixels: float) -> None:
    """Print a line for each kind."""
    with tempfile.TemporaryDirectory() as folder:
        edges = round((megapixels * 1e6 * 4 / 3) ** 0.5), round((megapixels * 1e6 * 3 / 4) ** 0.5)
        photos = [Path(folder) / f"{number}.jpg" for number in range(3)]
        for number, photo in enumerate(photos):
            Image.fromarray(draw_figure(number, size=512).pixels).resize(edges, Image.Resampling.BICUBIC).save(photo)
        print(f"JPEG of {megapixels:g} megapixels, {edges[0]}x{edges[1]}; {describe_machine()}")
        for kind in KINDS:
            for count in (1, 3):
                gigabytes, seconds = measure(photos[:count], kind, Path(folder) / f"{kind}{count}")
                print(f"{kind:<12} {count} photo{'s' * (count > 1):<2} {gigabytes:5.2f} GB  {seconds:5.1f} s")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 100)
