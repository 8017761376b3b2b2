"""Averages the probabilities of several models, or of one model over several views of a photo."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from fgbg.errors import UserError
from fgbg.fit import place_photo, resize
from fgbg.model_file import require_one_fit
from fgbg.models.predictor import Answer, Predictor
from fgbg.words import Tta

SCALES = (0.75, 1.0, 1.25)


class Ensemble:
    """Predictors whose probabilities are averaged; scored like a single one.

    They are averaged at the photo's own size, as in `fgbg predict A,B`. Scores at the training size are of squares of the
    largest member's size.

    Args:
        members: In evaluation mode, on one device.
        tta: Test-time augmentation of each member.

    Raises:
        UserError: No members, or members that differ in `fit`, or `scale` for patches.
    """

    def __init__(self, members: Sequence[Predictor], tta: Tta = "none") -> None:
        if not members:
            raise UserError("an ensemble needs members")
        require_one_fit(member.fit for member in members)
        if tta == "scale" and members[0].fit == "crop":
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
    def answer(self, photos: Sequence[UInt8[Tensor, "_ _ 3"]], sizes: Sequence[tuple[int, int]]) -> Iterator[Answer]:
        """Up to `CHUNK` photos, one after the other; see `Predictor.answer`."""
        by_view = [view for member in self.members for view in self._look(member, photos)]
        for views, (height, width) in zip(zip(*by_view, strict=True), sizes, strict=True):
            enlarged = [self.members[0].enlarge(view, height, width) for view in views]
            at_size = torch.stack([self._resize(view) for view in views]).mean(0)
            # A mean of exactly 0 or 1 has no finite logit.
            yield Answer(at_size.logit(eps=1e-7), torch.stack(enlarged).mean(0))

    def probability(self, pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float32]:
        """One photo's probability (height, width), computed as all scores are; `pixels` may be a reduced photo."""
        (answer,) = self.answer([torch.tensor(pixels)], [(height, width)])
        return answer.probability.cpu().numpy()

    def _look(self, member: Predictor, photos: Sequence[Tensor]) -> list[list[Tensor]]:
        """The member's probabilities by view and photo, each at the size that the view is computed at."""
        sizes = [round(scale * member.size) for scale in SCALES] if self.tta == "scale" else [member.size]
        views = [member.logits_at_size(photos, size) for size in sizes]
        if self.tta == "flip":
            mirrored = member.logits_at_size([pixels.flip(1) for pixels in photos])
            views.append([_mirror_back(logits, pixels, member) for logits, pixels in zip(mirrored, photos, strict=True)])
        return [[logits.sigmoid() for logits in view] for view in views]

    def _resize(self, probability: Float[Tensor, "_ _"]) -> Tensor:
        """A view's probability at the ensemble's training size."""
        return probability if self.fit == "crop" else resize(probability[None], self.size, self.size)[0]


def _mirror_back(logits: Float[Tensor, "_ _"], pixels: UInt8[Tensor, "_ _ 3"], member: Predictor) -> Tensor:
    """Logits of the mirrored photo, mirrored back to align with the photo's own."""
    if member.fit != "pad":
        return logits.flip(1)
    # With an odd margin one side has a pixel more, the same side for the photo and its mirror image.
    place = place_photo(pixels.shape[0], pixels.shape[1], member.size, member.fit)
    return logits.flip(1).roll(-((member.size - place.width) % 2), 1)
