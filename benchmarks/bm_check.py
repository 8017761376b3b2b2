"""Time and memory of `fgbg check` on a large set, the first time and with cached results.

    python benchmarks/bm_check.py [COUNT]

COUNT drawn animals (7,390 by default, as in Oxford-IIIT Pet), enlarged to 512 × 512 px with noise and written as JPEG
into a temporary folder with a cache of its own. Target for 7,390: at most 5 minutes on two cores and 1 GB.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from fgbg.data.figures import draw_figure
from fgbg.data.parallel import map_in_order, show_progress
from fgbg.doctor.audit import check_data

SIZE, DRAWN = 512, 64


def write_pair(folder: Path, index: int) -> None:
    figure = draw_figure(index, size=DRAWN)
    photo = np.asarray(Image.fromarray(figure.pixels).resize((SIZE, SIZE), Image.Resampling.BICUBIC)).astype(np.int16)
    noise = np.random.default_rng(index).normal(0, 8, photo.shape).astype(np.int16)
    Image.fromarray((photo + noise).clip(0, 255).astype(np.uint8)).save(folder / "images" / f"{index:05}.jpg", quality=90)
    mask = Image.fromarray(figure.mask.astype(np.uint8) * 255).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    Image.fromarray((np.asarray(mask) > 127).astype(np.uint8) * 255).save(folder / "masks" / f"{index:05}.png")


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        os.environ["FGBG_CACHE"] = str(Path(place) / "cache")
        folder = Path(place) / "set"
        for kind in ("images", "masks"):
            (folder / kind).mkdir(parents=True)
        for _ in map_in_order(lambda index: write_pair(folder, index), range(count), show_progress, "drawing"):
            pass
        print(f"{count:,} photos of {SIZE} × {SIZE} px, {os.cpu_count()} cores", flush=True)
        for name in ("first check", "second check"):
            start, worked = time.perf_counter(), time.process_time()
            audit = check_data(folder, progress=show_progress)
            seconds, worked = time.perf_counter() - start, time.process_time() - worked
            print(
                f"{name}: {seconds:.1f} s, {1000 * seconds / count:.1f} ms a photo "
                f"({1000 * worked / count:.1f} ms of processor), {len(audit.problems)} problems",
                flush=True,
            )
    print(f"most memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7390)
