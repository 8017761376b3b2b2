"""How strong each augmentation is. Kept apart from the drawing, so that settings and `--help` need no NumPy."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal


@dataclass(frozen=True)
class AugmentRanges:
    """How strong each augmentation is. The defaults are the lab report's; the value in brackets switches one off."""

    enabled: bool = True
    """Whether to augment at all."""
    flip: float = 0.5
    """Probability of a horizontal flip (0)."""
    crop_area: float = 0.8
    """Smallest share of the photo's area that a random crop keeps (1). Photos too long for such a crop of an allowed
    ratio, from 5:3 on by default, are cropped to their own shape."""
    crop_ratio: float = 4 / 3
    """Largest aspect ratio of a crop, in either direction, in the photo's own pixels (1: square crops)."""
    rotation_degrees: float = 30.0
    """Rotation is drawn from minus to plus this angle (0)."""
    shift: float = 0.2
    """Largest shift along each axis, as a share of it (0)."""
    scale: float = 0.2
    """Scale is drawn from 1 - scale to 1 + scale (0)."""
    brightness: float = 0.2
    """Factor on brightness, 1 - this to 1 + this (0)."""
    contrast: float = 0.2
    """Factor on contrast, 1 - this to 1 + this (0)."""
    saturation: float = 0.2
    """Factor on saturation, 1 - this to 1 + this (0)."""
    hue: float = 0.2
    """Hue rotation, minus to plus this share of the colour circle (0)."""
    cutmix: float = 0.0
    """Probability that a box of image and mask is replaced by another photo's (0)."""
    mixup: float = 0.0
    """Probability that the image is blended with another photo, and the loss uses both masks in proportion (0)."""
    padding: Literal["ignore", "background"] = "ignore"
    """ignore: nothing outside the photo is judged. background (the lab's): black ground outside the crop."""

    @property
    def changes_photos(self) -> bool:
        """Whether a photo is changed by itself; `mixes` tells whether by others."""
        # A crop of the whole photo has no ratio, and only a photo that is moved has an outside.
        inert = ("enabled", "crop_ratio", "cutmix", "mixup", "padding")
        off = vars(NO_CHANGE).items()
        return self.enabled and any(getattr(self, name) != value for name, value in off if name not in inert)

    @property
    def mixes(self) -> bool:
        """Whether photos are mixed with each other."""
        return self.enabled and self.cutmix + self.mixup > 0

    def in_force(self) -> AugmentRanges:
        """These ranges, or ranges that change nothing if augmentation is switched off."""
        return self if self.enabled else NO_CHANGE


_OFF = {"enabled": False, "crop_area": 1.0, "crop_ratio": 1.0, "padding": "ignore"}  # all others: 0
NO_CHANGE = AugmentRanges(**{part.name: _OFF.get(part.name, 0.0) for part in fields(AugmentRanges)})  # type: ignore[arg-type]
