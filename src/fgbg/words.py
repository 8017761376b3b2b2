"""The few words and values that every part of the package shares."""

from __future__ import annotations

from typing import Literal

GROUND, OBJECT, BAND = 0, 1, 2
"""Levels: what a mask says of a pixel. A trimap's band is where even people disagree."""

NOT_JUDGED = 255
"""In a target: neither loss nor score looks at this pixel."""

HASH_DIGITS = 16
"""Digits of a file's SHA-256 that runs and models keep of each photo: 64 bits, and a millionth of the size of the photo."""

Border = Literal["foreground", "background", "ignore"]
"""What the band counts as: object, ground, or not judged at all."""

Fit = Literal["squash", "pad", "crop"]
"""How a photo becomes a square.

`squash` stretches it; `pad` keeps its shape and fills the rest with black (letterbox); `crop` cuts squares out of it at its
own scale.
"""

Weights = Literal["single", "half", "int8"]
"""How an exported file keeps its weights. What is kept in half precision is computed in single precision all the same."""

Arithmetic = Literal["fp32", "int8"]
"""What a model's convolutions and matrix products are computed in."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
"""Of the three channels of a photo in 0..1: what networks expect to be subtracted and divided by."""
