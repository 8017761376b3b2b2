"""Near duplicates: how many planted copies are found, how many pairs are false, and what the search costs.

    python benchmarks/bm_duplicates.py FOLDER

FOLDER holds photos and masks in a layout that fgbg reads. First come the pairs found in the set itself, by name, to be
looked at. Then time and memory for as many photos as Oxford-IIIT Pet has: random parts of the photos, every other one
mirrored. Parts that overlap may be a pair; a pair is false if its parts come from two photos that are not linked by pairs
in the set itself. Target: at most 2 ms for the fingerprint of a photo of 512 × 512 px, and 60 s and 500 MB for the search
on two idle cores.

Then copies of 100 photos are planted among all, one kind at a time, and finally all kinds at once. The threshold `SAME`
was chosen on photos 0, 2, 4, ... of Oxford-IIIT Pet, in the gap that the first table shows; the rates in the second are
for copies of photos 1, 3, 5, ... Target: at least 95 % of each kind found, at most 1 % of the pairs false. Cutting 10 % off
two edges is more than the search is made for.
"""

from __future__ import annotations

import argparse
import io
import resource
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fgbg.data.duplicates import (
    SAME,
    DuplicatePair,
    cluster_pairs,
    find_near_duplicates,
    fingerprint_samples,
    take_fingerprint,
)
from fgbg.data.samples import SampleSet
from fgbg.data.sources import open_samples
from timing import describe_machine

PLANTED, MANY, LOW = 100, 7390, 0.2
Pixels = NDArray[np.uint8]


def resize(pixels: Pixels) -> Pixels:
    height, width = (max(1, round(0.6 * length)) for length in pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def compress(pixels: Pixels) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=50)
    return np.asarray(Image.open(file))


def mirror(pixels: Pixels) -> Pixels:
    return np.ascontiguousarray(pixels[:, ::-1])


def crop(pixels: Pixels) -> Pixels:
    """5 % cut off each edge."""
    down, across = (round(0.05 * length) for length in pixels.shape[:2])
    return np.ascontiguousarray(pixels[down : pixels.shape[0] - down, across : pixels.shape[1] - across])


def crop_corner(pixels: Pixels) -> Pixels:
    """10 % cut off the top and the left edge."""
    down, across = (round(0.1 * length) for length in pixels.shape[:2])
    return np.ascontiguousarray(pixels[down:, across:])


KINDS: dict[str, Callable[[Pixels], Pixels]] = {
    "resized to 60 %": resize,
    "JPEG, quality 50": compress,
    "mirrored": mirror,
    "5 % cut off each edge": crop,
    "10 % cut off two edges": crop_corner,
    "all but the last": lambda pixels: compress(resize(mirror(crop(pixels)))),
}


def plant(samples: SampleSet, originals: NDArray[np.int64], kind: str) -> NDArray[np.uint8]:
    return np.stack([take_fingerprint(KINDS[kind](samples.samples[index].read_pixels())) for index in originals])


def judge(
    pairs: list[DuplicatePair], photo_of: NDArray[np.int64], cluster: NDArray[np.int64], copies: int
) -> tuple[int, int]:
    """How many of the last `copies` photos are paired with their originals, and how many pairs are false."""
    first_copy = len(photo_of) - copies
    found = {p.second for p in pairs if p.first < first_copy <= p.second and photo_of[p.first] == photo_of[p.second]}
    return len(found), sum(cluster[photo_of[pair.first]] != cluster[photo_of[pair.second]] for pair in pairs)


def show_gap(samples: SampleSet, fingerprints: NDArray[np.uint8], chosen: NDArray[np.int64]) -> None:
    """Similarities around the threshold, in the half that it was chosen on."""
    values = [pair.similarity for pair in find_near_duplicates(fingerprints[chosen], threshold=LOW)]
    above, below = ([value for value in values if (value >= SAME) == side] for side in (True, False))
    print(f"  as they are: {len(above)} pairs from {min(above, default=1):.2f}, the next at {max(below, default=LOW):.2f}")
    originals = chosen[:: max(1, len(chosen) // PLANTED)][:PLANTED]
    for kind in KINDS:
        both = np.concatenate([fingerprints[originals], plant(samples, originals, kind)])
        pairs = find_near_duplicates(both, threshold=LOW)
        own = [pair.similarity for pair in pairs if pair.first + len(originals) == pair.second]
        print(f"  {kind:24} lowest {min(own, default=0):.2f}, {len(originals) - len(own)} below {LOW}")


def show_rates(
    samples: SampleSet, fingerprints: NDArray[np.uint8], cluster: NDArray[np.int64], chosen: NDArray[np.int64]
) -> None:
    """Copies of photos of the other half, planted among all."""
    originals = chosen[:: max(1, len(chosen) // PLANTED)][:PLANTED]
    planted = {kind: plant(samples, originals, kind) for kind in KINDS}
    for kind, copies in {**planted, "every kind at once": np.concatenate(list(planted.values()))}.items():
        photo_of = np.concatenate([np.arange(len(fingerprints)), np.tile(originals, len(copies) // len(originals))])
        pairs = find_near_duplicates(np.concatenate([fingerprints, copies]))
        found, false = judge(pairs, photo_of, cluster, len(copies))
        print(f"  {kind:24} {found} of {len(copies)} found, {false} of {len(pairs)} pairs false", flush=True)


def show_cost(samples: SampleSet, cluster: NDArray[np.int64]) -> None:
    photo = np.asarray(Image.fromarray(samples.samples[0].read_pixels()).resize((512, 512)))
    times = []
    for _ in range(100):
        start = time.perf_counter()
        take_fingerprint(photo)
        times.append(1000 * (time.perf_counter() - start))
    print(f"fingerprint of 512 × 512 px: {np.median(times):.2f} ms, {min(times):.2f} at best")
    many, photo_of = take_parts(samples)
    start, cpu_start, before = time.perf_counter(), time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pairs = find_near_duplicates(many)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu_start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    strangers = sum(cluster[photo_of[pair.first]] != cluster[photo_of[pair.second]] for pair in pairs)
    print(f"search over {len(many)}: {seconds:.1f} s ({cpu:.1f} s of processors), {grown:.0f} MB more at most")
    print(f"  {len(pairs)} pairs of overlapping parts, {strangers} of them false", flush=True)


def take_parts(samples: SampleSet) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Fingerprints of random parts, 30 to 60 % of each side, every other one mirrored, and the photo each is from."""
    random = np.random.default_rng(0)
    photo_of = np.arange(MANY) * len(samples.samples) // MANY
    parts = []
    for index, count in zip(*np.unique(photo_of, return_counts=True), strict=True):
        pixels = samples.samples[index].read_pixels()
        for number in range(count):
            height, width = (round(random.uniform(0.3, 0.6) * length) for length in pixels.shape[:2])
            top, left = random.integers(0, pixels.shape[0] - height), random.integers(0, pixels.shape[1] - width)
            part = pixels[top : top + height, left : left + width]
            parts.append(take_fingerprint(mirror(part) if number % 2 else np.ascontiguousarray(part)))
    return np.stack(parts), photo_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    samples = open_samples(parser.parse_args().folder)
    print(f"{describe_machine()}; {samples.describe()}")
    fingerprints = fingerprint_samples(samples)
    pairs = find_near_duplicates(fingerprints)
    cluster, everything = cluster_pairs(len(fingerprints), pairs), np.arange(len(fingerprints))
    for pair in pairs:
        names = [samples.samples[index].id for index in pair[:2]]
        print(f"as they are: {names[0]} and {names[1]}, {pair.similarity:.2f}, {pair.relation}")
    show_cost(samples, cluster)
    print("similarities in the half that the threshold was chosen on:")
    show_gap(samples, fingerprints, everything[::2])
    print(f"copies of the other half, planted among all, threshold {SAME}:")
    show_rates(samples, fingerprints, cluster, everything[1::2])


if __name__ == "__main__":
    main()
