"""Does label suspicion find wrong labels? Plant 100 in the photos that judge a model which was trained on clean ones.

    python experiments/label_errors.py RUN [RUN ...]  # several: their probabilities are averaged

Five kinds, twenty of each: another photo's mask; the mask shifted by 15 % of the photo; half of the object erased; inverted;
drawn 8 pixels too wide. Prints how well the suspicion ranks the planted ones above the rest (area under the ROC curve: 1 all
above, 0.5 no better than chance), over all kinds and kind by kind, for five draws of what is planted where.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, shift
from sklearn.metrics import roc_auc_score

from fgbg.data.masks import apply_border
from fgbg.data.sources import open_samples
from fgbg.judge.doubt import expect_dice
from fgbg.judge.suspicion import is_label_suspected, suspect_label
from fgbg.models.checkpoint import load_model
from fgbg.models.ensemble import Ensemble
from fgbg.run import open_run
from fgbg.words import OBJECT

RESULT = Path(__file__).parent / "results" / "label_errors.json"
PLANTED, DRAWS = 100, 5
Target = NDArray[np.uint8]


def swap(target: Target, other: Target, random: np.random.Generator) -> Target:
    """The mask of another photo, stretched to this one's size."""
    rows, columns = (np.arange(edge) * have // edge for edge, have in zip(target.shape, other.shape, strict=True))
    return other[np.ix_(rows, columns)]


def shift_mask(target: Target, other: Target, random: np.random.Generator) -> Target:
    """The mask moved by 15 % of the photo, up, down, left or right."""
    axis, sign = random.integers(2), random.choice([-1, 1])
    offset = [0, 0]
    offset[axis] = sign * round(0.15 * target.shape[axis])
    return shift(target, offset, order=0, cval=0)


def erase_half(target: Target, other: Target, random: np.random.Generator) -> Target:
    """One half of the object is ground."""
    erased = target.copy()
    axis = int(random.integers(2))
    middle = int(np.median(np.argwhere(target == OBJECT)[:, axis]))
    np.moveaxis(erased, axis, 0)[:middle] = 0
    return erased


def invert(target: Target, other: Target, random: np.random.Generator) -> Target:
    """Object and ground exchanged."""
    return (target != OBJECT).astype(np.uint8)


def widen(target: Target, other: Target, random: np.random.Generator) -> Target:
    """The object drawn 8 pixels too wide all around."""
    return (distance_transform_edt(target != OBJECT) <= 8).astype(np.uint8)


ERRORS: dict[str, Callable[[Target, Target, np.random.Generator], Target]] = {
    "swapped": swap,
    "shifted": shift_mask,
    "half erased": erase_half,
    "inverted": invert,
    "8 px wider": widen,
}


def main(folders: list[str]) -> None:
    """Predict once, plant five times, print and keep the figures."""
    runs = [open_run(Path(folder)) for folder in folders]
    model = Ensemble([load_model(run.best)[0] for run in runs])
    config = runs[0].config
    samples = open_samples(config.data, **config.data_options())
    photos = []
    for split in ("validation", "test"):
        chosen = samples.of(split)
        for index, sample in enumerate(chosen.samples):
            target = apply_border(chosen.read_levels(index), config.border)
            photos.append((model.probability(sample.read_pixels(), *target.shape), target))

    def suspect(probability: NDArray[np.float32], target: Target) -> float:
        return suspect_label(probability, probability > model.threshold, target)

    uncertainty = [1 - expect_dice(probability, probability > model.threshold) for probability, _ in photos]
    clean = np.array([suspect(probability, target) for probability, target in photos])
    figures: dict[str, list[float]] = {name: [] for name in ("all", *ERRORS, "named", "falsely named")}
    for draw in range(DRAWS):
        random = np.random.default_rng(draw)
        suspicion, kinds = clean.copy(), np.array([""] * len(photos), dtype=object)
        with_object = [index for index, (_, target) in enumerate(photos) if (target == OBJECT).any()]
        for number, index in enumerate(random.choice(with_object, PLANTED, replace=False)):
            kind = list(ERRORS)[number % len(ERRORS)]
            other = photos[int(random.choice(with_object))][1]
            probability, target = photos[index]
            kinds[index] = kind
            suspicion[index] = suspect(probability, ERRORS[kind](target, other, random))
        planted = kinds != ""
        figures["all"].append(roc_auc_score(planted, suspicion))
        for kind in ERRORS:
            shown = ~planted | (kinds == kind)
            figures[kind].append(roc_auc_score(planted[shown], suspicion[shown]))
        named = np.array([is_label_suspected(*pair) for pair in zip(suspicion, uncertainty, strict=True)])
        figures["named"].append(float(named[planted].mean()))
        figures["falsely named"].append(float(named[~planted].mean()))
    for name, values in figures.items():
        print(f"{name:14} {np.mean(values):.3f}  ({min(values):.3f} to {max(values):.3f} over {DRAWS} draws)")
    told = {"runs": [run.name for run in runs], "photos": len(photos), "planted": PLANTED, "data": samples.fingerprint}
    RESULT.write_text(json.dumps(told | figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(f"usage: python {sys.argv[0]} RUN [RUN ...]")
    main(sys.argv[1:])
