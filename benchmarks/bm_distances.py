"""Our outline scores against MONAI's and the surface_distance package's, on the same masks.

    python benchmarks/bm_distances.py

Drawn animals at 384 × 512 px, and predictions that are off by a few pixels here and there. First, on one thread: average
surface distance and 95 % Hausdorff distance, ours against MONAI's two calls; contour distances, ours against the package's;
and that the numbers agree. Then all outline scores of 611 photos, the size of the test set that the project was made on,
measured as `evaluate` does, on as many threads as there are cores. Target: at most 15 s for these on two cores.
"""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable

import monai.metrics
import numpy as np
import surface_distance
import torch
from numpy.typing import NDArray
from scipy import ndimage

from fgbg.data.figures import draw_figure
from fgbg.data.parallel import map_in_order
from fgbg.judge.distances import contour_distances, measure_outlines, surface_distances
from timing import describe_machine, images_per_second, ratio

PHOTOS, HEIGHT, WIDTH, ROUNDS = 24, 384, 512, 5
TEST_SET = 611
Pair = tuple[NDArray[np.bool_], NDArray[np.uint8]]


def make_pair(index: int) -> Pair:
    """A prediction whose outline is off by a few pixels here and there, and the truth."""
    top = (WIDTH - HEIGHT) // 2
    truth = draw_figure(index, size=WIDTH).mask[top : top + HEIGHT]
    rng = np.random.default_rng(index)
    wander = ndimage.gaussian_filter(rng.standard_normal(truth.shape), 8)
    soft = ndimage.gaussian_filter(truth.astype(float), 4)
    return soft + 0.15 * wander / wander.std() > 0.5, truth.astype(np.uint8)


def ask_monai(prediction: NDArray[np.bool_], target: NDArray[np.uint8]) -> tuple[float, float]:
    one, other = (torch.tensor(mask, dtype=torch.bool)[None, None] for mask in (prediction, target))
    average = monai.metrics.compute_average_surface_distance(one, other, include_background=True, symmetric=True)
    hausdorff = monai.metrics.compute_hausdorff_distance(one, other, include_background=True, percentile=95)
    return average.item(), hausdorff.item()


def ask_package(prediction: NDArray[np.bool_], target: NDArray[np.uint8]) -> tuple[float, float]:
    found = surface_distance.compute_surface_distances(target > 0, prediction, (1, 1))
    return surface_distance.compute_average_surface_distance(found)


def compare(
    name: str, ours: Callable[..., tuple[float, float]], theirs: Callable[..., tuple[float, float]], pairs: list[Pair]
) -> None:
    for pair in pairs:
        assert np.allclose(ours(*pair), theirs(*pair), rtol=1e-5, equal_nan=True), name

    def work(measure: Callable[..., tuple[float, float]]) -> Callable[[], int]:
        return lambda: len([measure(*pair) for pair in pairs])

    rates = images_per_second({"ours": work(ours), "theirs": work(theirs)}, rounds=ROUNDS)
    medians = {way: sorted(values)[len(values) // 2] for way, values in rates.items()}
    print(
        f"{name}: ours {medians['ours']:.0f} photos/s, theirs {medians['theirs']:.0f}, "
        f"ratio {ratio(rates, 'ours', 'theirs')}",
        flush=True,
    )


def main() -> None:
    warnings.simplefilter("ignore")  # both libraries warn about their own calls, once per photo
    torch.set_num_threads(1)
    print(f"{describe_machine()}; photos of {HEIGHT} × {WIDTH} px")
    pairs = [make_pair(index) for index in range(PHOTOS)]
    compare("surface distance and HD95, MONAI", surface_distances, ask_monai, pairs)
    compare("contour distances, surface_distance", contour_distances, ask_package, pairs)
    many = (pairs * math.ceil(TEST_SET / PHOTOS))[:TEST_SET]
    start = time.perf_counter()
    measured = list(map_in_order(lambda pair: measure_outlines(*pair), many))
    seconds = time.perf_counter() - start
    print(f"all outline scores of {len(measured)} photos: {seconds:.1f} s on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
