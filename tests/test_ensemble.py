"""Averaging probabilities of several models, and of several views of a photo."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fgbg.errors import UserError
from fgbg.models.ensemble import SCALES, Ensemble
from fgbg.models.predictor import Predictor
from fgbg.ship.load import Model, ModelEnsemble
from fgbg.words import IMAGENET_DEVIATION, Tta
from trivial import make_network, make_noise, unchecked


class Constant(nn.Module):
    """One probability everywhere."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.logit = float(torch.tensor(probability).logit())

    def forward(self, image: Tensor) -> Tensor:
        return torch.full_like(image[:, :1], self.logit)


class LeftSeesMore(nn.Module):
    """Red, and on the left half a little more: an answer that a mirror image does not share."""

    def forward(self, image: Tensor) -> Tensor:
        columns = torch.arange(image.shape[-1])
        return image[:, :1] + 2.0 * (columns < image.shape[-1] // 2)


def constant(probability: float, size: int = 8, **options: object) -> Predictor:
    return Predictor(Constant(probability), size=size, **options).eval()  # type: ignore[arg-type]


def trained(seed: int, size: int = 32) -> Predictor:
    return Predictor(make_network("unet", seed=seed), size=size).eval().to(memory_format=torch.channels_last)


def photos(count: int = 3) -> list[Tensor]:
    return [torch.tensor(make_noise(20 + 7 * index, 31, index)) for index in range(count)]


def at_size(together: Ensemble, photo: Tensor) -> Tensor:
    """The ensemble's probability at its training size."""
    (answer,) = together.answer([photo], [(photo.shape[0], photo.shape[1])])
    return answer.logits_at_size.sigmoid()


def test_the_mean_of_the_probabilities_by_hand() -> None:
    together = Ensemble([constant(0.9), constant(0.6), constant(0.3)])
    assert [at_size(together, photo).numpy() for photo in photos()] == [pytest.approx(0.6)] * 3
    assert together.probability(make_noise(12, 9), 12, 9) == pytest.approx(np.full((12, 9), 0.6, np.float32))


@pytest.mark.parametrize("sizes", [(32, 32), (32, 48)])
def test_the_answer_is_the_mean_of_the_members_answers_at_the_photos_size(sizes: tuple[int, int]) -> None:
    """As `fgbg predict A,B` has it: what is scored is what is predicted."""
    members = [trained(seed, size) for seed, size in enumerate(sizes)]
    pixels = make_noise(50, 37)
    alone = np.mean([member.probability(pixels, 50, 37) for member in members], axis=0)
    np.testing.assert_allclose(Ensemble(members).probability(pixels, 50, 37), alone, atol=1e-6)


def test_members_of_several_sizes_meet_at_the_largest() -> None:
    together = Ensemble([trained(0, 32), trained(1, 48)])
    assert together.size == 48
    assert [at_size(together, photo).shape for photo in photos()] == [(48, 48)] * 3


def test_one_member_is_itself() -> None:
    member = trained(0)
    for alone, photo in zip(member.square_logits(photos()), photos(), strict=True):
        assert torch.allclose(at_size(Ensemble([member]), photo), alone.sigmoid(), atol=1e-6)


def test_flip_averages_with_the_mirrored_answer_to_the_mirrored_photo() -> None:
    member = Predictor(LeftSeesMore(), size=8, mean=(0.5,) * 3, deviation=IMAGENET_DEVIATION).eval()
    photo = photos(1)[0]
    straight = member.square_logits([photo])[0].sigmoid()
    mirrored = member.square_logits([photo.flip(1)])[0].sigmoid().flip(1)
    assert not torch.allclose(straight, mirrored, atol=0.05)
    flip = at_size(Ensemble([member], "flip"), photo)
    assert torch.allclose(flip, (straight + mirrored) / 2, atol=1e-6)
    of_the_mirror = at_size(Ensemble([member], "flip"), photo.flip(1)).flip(1)
    assert torch.allclose(flip, of_the_mirror, atol=1e-6)


def test_scale_looks_three_times() -> None:
    seen = []

    class Sizes(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            seen.append(image.shape[-1])
            return image[:, :1]

    together = Ensemble([Predictor(Sizes(), size=64).eval()], "scale")
    answers = list(together.answer(photos(), [(20, 31)] * 3))
    assert seen == [48, 64, 80] == [round(64 * scale) for scale in SCALES]
    assert [answer.logits_at_size.shape for answer in answers] == [(64, 64)] * 3
    assert [answer.probability.shape for answer in answers] == [(20, 31)] * 3


@pytest.mark.parametrize("tta", ["none", "flip", "scale"])
def test_a_photo_is_answered_alike_in_any_company(tta: Tta) -> None:
    together = Ensemble([trained(0), trained(1)], tta)
    three = list(together.answer(photos(3), [(40, 30)] * 3))
    for photo, in_company in zip(photos(3), three, strict=True):
        (alone,) = together.answer([photo], [(40, 30)])
        assert torch.equal(alone.logits_at_size, in_company.logits_at_size)
        assert torch.equal(alone.probability, in_company.probability)


def test_certainty_has_no_infinite_logit() -> None:
    sure = Predictor(Constant(1.0), size=4).eval()
    answers = Ensemble([sure, sure]).answer(photos(), [(8, 8)] * 3)
    assert all(answer.logits_at_size.isfinite().all() for answer in answers)


def test_the_threshold_is_the_mean_of_the_members() -> None:
    assert Ensemble([constant(0.9, threshold=0.4), constant(0.3, threshold=0.5)]).threshold == pytest.approx(0.45)


def test_members_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(UserError, match="--fit pad and squash: an ensemble needs one of them"):
        Ensemble([constant(0.5, fit="pad"), constant(0.5)])
    with pytest.raises(UserError, match="needs members"):
        Ensemble([])
    members = [cast("Model", SimpleNamespace(header=SimpleNamespace(fit=fit))) for fit in ("pad", "squash")]
    with unchecked(), pytest.raises(UserError, match="--fit pad and squash: an ensemble needs one of them"):
        ModelEnsemble(members)


@pytest.mark.parametrize("edges", [(6, 3), (3, 6), (8, 5), (7, 4), (6, 6)])
def test_flip_of_a_padded_photo_lies_where_the_photo_does(edges: tuple[int, int]) -> None:
    """Of an odd margin the mirror image has its larger half on the other side."""
    member = Predictor(Red(), size=8, fit="pad", mean=(0.5,) * 3, deviation=IMAGENET_DEVIATION).eval()
    pixels = make_noise(*edges)
    plain, flipped = (Ensemble([member], tta).probability(pixels, *edges) for tta in TTAS)
    np.testing.assert_allclose(flipped, plain, atol=1e-6)


class Red(nn.Module):
    """How red each pixel is: the same answer for a photo and its mirror image."""

    def forward(self, image: Tensor) -> Tensor:
        return image[:, :1]


TTAS: tuple[Tta, Tta] = ("none", "flip")
