"""The answer to one photo: found or not, how sure, and the mask as a run-length code or a picture."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgbg.data.rle import encode_runs
from fgbg.judge.doubt import expect_dice
from fgbg.ship.draw import grade, write_picture
from fgbg.ship.load import Model
from fgbg.ship.photo import open_photo
from fgbg.ship.refine import Refined
from fgbg.words import Kind


@dataclass(frozen=True)
class Answer:
    """A model's answer to one photo.

    Attributes:
        source: The photo's file.
        pixels: RGB (height, width, 3), reduced if the photo is very large.
        probability: (height, width) at the photo's own size.
        threshold: A pixel is object if its probability exceeds it.
    """

    source: Path
    pixels: NDArray[np.uint8]
    probability: NDArray[np.float32]
    threshold: float

    def draw(self, kind: Kind) -> bytes:
        """A PNG; of an exported model byte for byte the same as from `fgbg predict --kind KIND`."""
        file = io.BytesIO()
        grades = grade(kind, self.probability, self.threshold)
        write_picture(kind, self.source, self.pixels, grades, file)
        return file.getvalue()

    def describe(self) -> dict[str, Any]:
        """As JSON; `rle` is COCO's uncompressed code: lengths of runs down the columns, the first one of ground."""
        mask = self.probability > self.threshold
        height, width = mask.shape
        return {
            "height": height,
            "width": width,
            "threshold": self.threshold,
            "found": bool(mask.any()),
            "object_share": float(mask.mean()),
            "highest_probability": float(self.probability.max()),
            "expected_dice": expect_dice(self.probability, mask),
            "rle": {"size": [height, width], "counts": encode_runs(mask)},
        }


def answer_photo(model: Model, file: Path, threshold: float | None = None) -> Answer:
    """Read a photo and predict it, at the model's own threshold unless another one is given.

    Raises:
        UserError: The photo cannot be read.
    """
    photo = open_photo(file)
    if threshold is None:
        threshold = model.threshold
    elif isinstance(model, Refined):
        model = model.at(threshold)  # a part or a hole is one of the mask that is asked for
    return Answer(file, photo.pixels, model(photo), threshold)
