"""Constants, literal types, and how things are counted and named, shared by the whole package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

GROUND, OBJECT, BAND = 0, 1, 2
"""Levels: a mask's pixel classes. A trimap's band is where even annotators disagree."""

NOT_JUDGED = 255
"""In a target: a pixel that neither loss nor score counts."""

HASH_DIGITS = 16
"""Hex digits of each photo's SHA-256 that runs and models keep: 64 bits, a millionth of the photo's size."""

Border = Literal["foreground", "background", "ignore"]
"""What the band counts as: object, ground, or not judged at all."""

Fit = Literal["squash", "pad", "crop"]
"""How a photo becomes a square.

`squash` stretches it; `pad` keeps its aspect ratio and fills the rest with black (letterbox); `crop` cuts squares out of it
at its own scale.
"""

Weights = Literal["single", "half", "int8"]
"""How an exported file stores its weights. Those stored in half precision are still computed with in single precision."""

Arithmetic = Literal["fp32", "int8"]
"""Number format in which a model's convolutions and matrix products are computed."""

ObjectValue = int | Literal["nonzero"]
"""A stored mask value that is object; or every value but 0, however many: masks that number their objects."""

SplitRule = Literal["official", "lab"]
"""How Oxford-IIIT Pet is split: by its own lists, or as in the lab report."""

Tta = Literal["none", "flip", "scale"]
"""Test-time augmentation: which views of a photo have their answers averaged.

flip: the photo and its mirror image. scale: at 3/4, 1 and 5/4 of the training size; not for models of patches
(`--fit crop`), which know objects at the photo's own scale.
"""

Kind = Literal["mask", "cutout", "soft", "overlay", "probability"]
"""What is written: object 255 and ground 0; the photo with its ground transparent; the same with soft edges for hair and
fur; the photo with its ground dimmed and the object's outline drawn; or the probability as 0..255. Always a PNG of the
photo's size.
"""

AnyKind = Kind | Literal["rle"]
"""The same, or not a picture: Parquet rows with the mask's runs."""

OptimizerName = Literal["adam", "adamw"]
"""adam is the lab's; adamw decays weights apart from the gradient (decoupled)."""

Schedule = Literal["constant", "cosine", "one_cycle"]
"""How the learning rate goes over a run: constant as in the lab, down along half a cosine, or up and then down."""

Reduction = Literal["image", "batch"]
"""Of the overlap in a loss: one ratio per image, then their mean; or, as in the lab, one over all pixels of the batch."""

Question = Literal["auto", "model", "recipe"]
"""What a comparison asks: about these very models, or about their recipes."""

PNG_LEVEL = 2
"""Of zlib, for pictures: a quarter of the time of Pillow's 6 for a cut-out, for a file a tenth larger."""

DEFAULT_ENCODER = "tf_efficientnet_lite0"
"""Of timm, for models that take an encoder."""

PUBLISHED_WIDTH = 64
"""The `width` at which networks and decoders are as published."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
"""Mean and standard deviation per channel of photos in 0..1, by which networks expect their input normalised."""


def plural(count: int, one: str) -> str:
    """A counted noun.

    >>> plural(1, "photo"), plural(1200, "photo")
    ('1 photo', '1,200 photos')
    """
    return f"{count:,} {one if count == 1 else one + 's'}"


def name_some(names: Sequence[str], most: int = 5) -> str:
    """The names, or the first few and how many more.

    >>> name_some(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def shorten(label: str, length: int) -> str:
    """The label, its middle cut if it has more characters than `length`: labels tend to differ at their ends.

    >>> shorten("Unet (a-long-name) Val Dice", 17)
    'Unet (a-…Val Dice'
    """
    tail = length - length // 2 - 1
    return label if len(label) <= length else f"{label[: length // 2]}…{label[len(label) - tail :]}"
