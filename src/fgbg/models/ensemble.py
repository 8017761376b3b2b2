"""Several models, or one model that sees a photo several ways, whose probabilities are averaged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from fgbg.errors import UserError
from fgbg.fit import resize
from fgbg.models.predictor import Predictor

Tta = Literal["none", "flip", "scale"]
"""Test-time augmentation. flip: the photo and its mirror image. scale: at 3/4, 1 and 5/4 of the training size, which is a
square's: a model of patches (`crop`) knows objects at the photo's own scale."""

SCALES = (0.75, 1.0, 1.25)


class Ensemble:
    """Predictors whose probabilities are averaged; scored like a single one.

    Probabilities are averaged as squares of the largest member's size. Enlarging is linear: for members of one size this is
    the average of their answers at the photo's own size. Models of patches answer at that size, and are averaged there.

    Args:
        members: In evaluation mode, on one device.
        tta: How each member looks at a photo.

    Raises:
        UserError: No members, or members that fit a photo into their square in different ways, or a scale for patches.
    """

    def __init__(self, members: Sequence[Predictor], tta: Tta = "none") -> None:
        if not members:
            raise UserError("an ensemble needs members")
        fits = sorted({member.fit for member in members})
        if len(fits) > 1:
            raise UserError(f"these models were trained with --fit {' and '.join(fits)}: an ensemble needs one of them")
        if tta == "scale" and fits == ["crop"]:
            raise UserError("--tta scale: this model was trained at the photos' own scale (--fit crop); use --tta flip")
        self.members, self.tta = list(members), tta
        self.fit = members[0].fit
        self.size = max(member.size for member in members)
        self.threshold = sum(member.threshold for member in members) / len(members)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.members[0].device

    @torch.inference_mode()
    def logits_at_size(self, photos: Sequence[UInt8[Tensor, "_ _ 3"]]) -> list[Tensor]:
        """Logits of the mean probability of up to `CHUNK` photos, in fp32, each at the training size, see `Predictor`."""
        looks = [view for member in self.members for view in self._look(member, photos)]
        # A mean of exactly 0 or 1 has no logit.
        return [torch.stack(views).mean(0).logit(eps=1e-7) for views in zip(*looks, strict=True)]

    def enlarge(self, probability: Float[Tensor, "_ _"], height: int, width: int) -> Tensor:
        """The probability at the photo's own size, (height, width)."""
        return self.members[0].enlarge(probability, height, width)

    @torch.inference_mode()
    def probability(self, pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float32]:
        """One photo's probability (height, width), computed as all scores are; `pixels` may be a reduced photo."""
        answer = self.logits_at_size([torch.tensor(pixels)])[0].sigmoid()
        return self.enlarge(answer, height, width).cpu().numpy()

    def _look(self, member: Predictor, photos: Sequence[Tensor]) -> list[list[Tensor]]:
        """The member's probabilities by view and photo, at the ensemble's training size."""
        sizes = [round(scale * member.size) for scale in SCALES] if self.tta == "scale" else [member.size]
        views = [member.logits_at_size(photos, size) for size in sizes]
        if self.tta == "flip":
            mirrored = member.logits_at_size([pixels.flip(1) for pixels in photos])
            views.append([logits.flip(1) for logits in mirrored])
        return [[self._meet(logits.sigmoid()) for logits in view] for view in views]

    def _meet(self, probability: Float[Tensor, "_ _"]) -> Tensor:
        """A probability where those of all members are averaged."""
        return probability if self.fit == "crop" else resize(probability[None], self.size, self.size)[0]
