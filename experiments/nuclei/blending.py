"""How far should tiles overlap, and what is blended? Validation Dice of a `--fit crop` run under each answer.

    python experiments/nuclei/blending.py runs/nuclei/nuclei-crop-0 [PHOTOS]

PHOTOS (all by default) takes the first so many validation photos. Prints one row an answer: the mean Dice at the photos' own
size, the tiles that went through the network, and the step at their edges (mean jump of the probability between the two
pixels on either side of a tile's edge, over that between other neighbours; 1 is no seam).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fgbg.data.masks import apply_border
from fgbg.data.samples import SampleSet
from fgbg.data.sources import open_samples
from fgbg.judge.metrics import dice_of
from fgbg.judge.score import score_photos
from fgbg.models import predictor as predictor_module
from fgbg.models import tiles
from fgbg.models.checkpoint import load_model
from fgbg.models.predictor import Predictor
from fgbg.run import open_run

ANSWERS = (  # overlap, window, what is blended
    (0.0, "flat", "logits"),
    (0.25, "Hann", "logits"),
    (0.5, "flat", "logits"),
    (0.5, "Hann", "logits"),
    (0.5, "Hann", "probabilities"),
)
HANN = tiles.make_window


class ProbabilityBlender(Predictor):
    """A predictor whose tiles are blended as probabilities."""

    def square_logits(self, photos: Sequence[Tensor], size: int | None = None) -> Tensor:
        """Probabilities, under the name that tiles are asked for by."""
        return super().square_logits(photos, size).sigmoid()

    def logits_at_size(self, photos: Sequence[Tensor], size: int | None = None) -> list[Tensor]:
        """Logits of the blended probabilities."""
        return [probability.logit(eps=1e-7) for probability in super().logits_at_size(photos, size)]


def measure_seams(probability: Tensor, size: int) -> tuple[float, float]:
    """Mean jump between neighbouring columns at the tiles' left edges, and elsewhere."""
    jumps = probability.diff(dim=1).abs().mean(0)
    lefts = sorted({left for _, left in tiles.place_tiles(*probability.shape, size)} - {0})
    is_edge = torch.zeros(len(jumps), dtype=torch.bool)
    is_edge[[left - 1 for left in lefts]] = True
    return float(jumps[is_edge].mean()), float(jumps[~is_edge].mean())


def measure(predictor: Predictor, samples: SampleSet) -> tuple[float, int, float]:
    """Mean Dice, number of tiles, relative step at their edges."""
    scores, count, seams = [], 0, []
    photos = (
        (torch.tensor(sample.read_pixels()), torch.tensor(apply_border(samples.read_levels(index), "foreground")))
        for index, sample in enumerate(samples.samples)
    )
    for scored in score_photos(predictor, photos):
        scores.append(float(dice_of(scored.counts)))
        count += len(tiles.place_tiles(*scored.probability.shape, predictor.size))
        seams.append(measure_seams(scored.probability, predictor.size))
    at_edges, elsewhere = np.nanmean(seams, axis=0)
    return float(np.mean(scores)), count, float(at_edges / elsewhere)


def main(folder: Path, most: int | None) -> None:
    """One row an answer."""
    run = open_run(folder)
    torch.set_num_threads(1)
    samples = open_samples(run.config.data, split_seed=run.config.split_seed).of("validation")
    samples = SampleSet(samples.name, samples.samples[:most], samples.inspections[:most], samples.encoding)
    print("| overlap | window | blended | Dice | tiles | step at edges |\n|---|---|---|---|---|---|")
    for overlap, window, blended in ANSWERS:
        predictor, _ = load_model(run.best)
        predictor.__class__ = ProbabilityBlender if blended == "probabilities" else Predictor
        tiles.OVERLAP = overlap
        predictor_module.make_window = HANN if window == "Hann" else lambda size: torch.ones(size, size)
        dice, count, step = measure(predictor, samples)
        print(f"| {overlap:.0%} | {window} | {blended} | {dice:.4f} | {count:,} | {step:.2f} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(f"usage: python {sys.argv[0]} RUN [PHOTOS]")
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) == 3 else None)
