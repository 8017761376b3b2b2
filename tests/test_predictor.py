"""The one inference path: sizes, precision, normalisation, and that a photo's answer is its own."""

from __future__ import annotations

import copy
import itertools
import subprocess
import sys
from functools import cache
from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from fgbg.fit import unfit_probability
from fgbg.models.predictor import CHUNK, Predictor
from fgbg.words import IMAGENET_DEVIATION, IMAGENET_MEAN, Fit
from trivial import FirstChannel, draw, make_network, make_noise, paint, red_predictor

FITS: tuple[Fit, ...] = ("squash", "pad", "crop")
all_fits = pytest.mark.parametrize("fit", FITS)
both_networks = pytest.mark.parametrize("name", ["unet", "resnet34_unet"])


def make_predictor(name: str = "unet", *, size: int = 32, fit: Fit = "squash") -> Predictor:
    """A small network in a predictor."""
    return Predictor(copy.deepcopy(_make_once(name)), size=size, fit=fit).eval().to(memory_format=torch.channels_last)


_make_once = cache(make_network)


def as_tensor(pixels: NDArray[np.uint8]) -> torch.Tensor:
    return torch.tensor(pixels)


# Sizes


@pytest.mark.long
@settings(deadline=None, max_examples=25)
@given(height=st.integers(1, 70), width=st.integers(1, 70), fit=st.sampled_from(FITS), size=st.sampled_from([16, 17, 31]))
def test_the_probability_has_the_photos_size(height: int, width: int, fit: Fit, size: int) -> None:
    predictor, pixels = make_predictor(size=size, fit=fit), make_noise(height, width)
    with torch.inference_mode():
        answers = predictor(as_tensor(pixels)).numpy(), predictor.probability(pixels, height, width)
    for probability in answers:
        assert probability.shape == (height, width)
        assert probability.dtype == np.float32
        assert np.isfinite(probability).all()
        assert probability.min() >= 0
        assert probability.max() <= 1 + 1e-6


@all_fits
@pytest.mark.parametrize("edges", [(1, 1), (1, 200), (200, 1), (3, 1), (1, 17)])
def test_photos_of_one_pixel_edges_have_an_answer(edges: tuple[int, int], fit: Fit) -> None:
    probability = make_predictor(size=17, fit=fit).probability(make_noise(*edges), *edges)
    assert probability.shape == edges
    assert np.isfinite(probability).all()


def test_a_reduced_photo_is_answered_at_the_size_asked_for() -> None:
    inside = draw(*["####...."] * 6)
    found = red_predictor(8).probability(paint(inside), 60, 80) > 0.5
    assert found.shape == (60, 80)
    assert found[:, :40].all()
    assert not found[:, 40:].any()


@all_fits
@pytest.mark.parametrize("edges", [(8, 16), (16, 8), (5, 40)])
def test_object_up_to_the_frame_is_object_up_to_the_frame(fit: Fit, edges: tuple[int, int]) -> None:
    everywhere = np.ones(edges, bool)
    assert red_predictor(16, fit=fit).probability(paint(everywhere), *edges).min() > 0.99, "no margin bleeds in"
    assert red_predictor(16, fit=fit).probability(paint(~everywhere), *edges).max() < 0.01


@pytest.mark.parametrize(
    ("fit", "edges"), [("squash", (32, 64)), ("pad", (32, 64)), ("pad", (33, 64)), ("pad", (64, 39)), ("pad", (1, 64))]
)
def test_the_answer_lies_where_the_object_is(fit: Fit, edges: tuple[int, int]) -> None:
    inside = np.zeros(edges, bool)
    inside[edges[0] // 2 :, 8:24] = True
    found = red_predictor(64, fit=fit).probability(paint(inside), *edges) > 0.5
    np.testing.assert_array_equal(found, inside)


# Training mode


def test_a_predictor_in_training_mode_refuses_to_score() -> None:
    predictor, pixels = make_predictor().train(), make_noise(20, 20)
    with pytest.raises(RuntimeError, match="training mode"):
        predictor.square_logits([as_tensor(pixels)])
    with pytest.raises(RuntimeError, match="training mode"):
        predictor.probability(pixels, 20, 20)


def test_a_predictor_in_training_mode_refuses_to_be_called() -> None:
    predictor = make_predictor().train()
    with pytest.raises(RuntimeError, match="training mode"):
        predictor(as_tensor(make_noise(20, 20)))


def test_scoring_leaves_the_network_as_it_was() -> None:
    predictor = make_predictor()
    before = {name: value.clone() for name, value in predictor.state_dict().items()}
    predictor.square_logits([as_tensor(make_noise(20, 20))])
    for name, value in predictor.state_dict().items():
        assert torch.equal(value, before[name]), name


# A photo's answer is its own


@both_networks
@all_fits
def test_a_photos_answer_depends_on_no_other_photo(name: str, fit: Fit) -> None:
    predictor = make_predictor(name, fit=fit)
    photos = [as_tensor(make_noise(20 + 5 * index, 60 - 3 * index, index)) for index in range(CHUNK)]
    alone = [predictor.logits_at_size([photo])[0] for photo in photos]
    for count in range(1, CHUNK + 1):
        for index, logits in enumerate(predictor.logits_at_size(photos[:count])):
            assert torch.equal(logits, alone[index]), (count, index)
    for index, logits in enumerate(predictor.logits_at_size(photos[::-1])):
        assert torch.equal(logits, alone[-1 - index])
    assert len({float(logits.sum()) for logits in alone}) == CHUNK, "and they do differ"


def test_more_photos_than_a_chunk_are_refused() -> None:
    photos = [as_tensor(make_noise(4, 4))] * (CHUNK + 1)
    with pytest.raises(IndexError):
        red_predictor().square_logits(photos)


def test_no_photos_have_no_answer() -> None:
    assert red_predictor(4).square_logits([]).shape == (0, 4, 4)


# One path


@both_networks
@all_fits
def test_calling_it_is_scoring_and_enlarging(name: str, fit: Fit) -> None:
    predictor, pixels = make_predictor(name, fit=fit), make_noise(45, 70)
    with torch.inference_mode():
        called = predictor(as_tensor(pixels))
    scored = predictor.enlarge(predictor.logits_at_size([as_tensor(pixels)])[0].sigmoid(), 45, 70)
    torch.testing.assert_close(called, scored, atol=1e-5, rtol=0)  # one photo and eight take other kernels
    np.testing.assert_array_equal(predictor.probability(pixels, 45, 70), scored.numpy())
    assert scored.std() > 0.1


def test_the_threshold_is_kept_and_changes_no_probability() -> None:
    low, high = red_predictor(threshold=0.1), red_predictor(threshold=0.9)
    pixels = make_noise(9, 9)
    assert (low.threshold, high.threshold) == (0.1, 0.9)
    np.testing.assert_array_equal(low.probability(pixels, 9, 9), high.probability(pixels, 9, 9))


def test_probabilities_are_enlarged_not_predictions() -> None:
    square = torch.tensor([[0.0, 0.4], [0.0, 0.4]])
    enlarged = red_predictor(2).enlarge(square, 2, 4)
    torch.testing.assert_close(enlarged[0], torch.tensor([0.0, 0.1, 0.3, 0.4]))


def test_a_certain_answer_is_certain_at_every_size_and_never_more() -> None:
    """Where it is more than 1, log(1 - p) is not a number."""
    certain, predictor = torch.ones(31, 31), red_predictor(31)
    sizes = list(itertools.product(range(8, 120, 7), repeat=2))
    assert max(unfit_probability(certain, *size, "squash").max() for size in sizes) > 1, "interpolation rounds up"
    assert max(predictor.enlarge(certain, *size).max() for size in sizes) == 1


# Precision


@both_networks
def test_scores_are_fp32_inside_somebodys_autocast(name: str) -> None:
    predictor, pixels = make_predictor(name), make_noise(40, 30)
    expected = predictor.probability(pixels, 40, 30)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert predictor.square_logits([as_tensor(pixels)]).dtype == torch.float32
        np.testing.assert_array_equal(predictor.probability(pixels, 40, 30), expected)


def test_calling_it_is_fp32_inside_somebodys_autocast() -> None:
    predictor, pixels = make_predictor(), make_noise(40, 30)
    with torch.inference_mode():
        expected = predictor(as_tensor(pixels))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = predictor(as_tensor(pixels))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)


# Normalisation


def test_levels_are_divided_by_255_and_normalised_exactly_once() -> None:
    predictor = Predictor(FirstChannel(), size=2).eval()
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[..., 0] = [[0, 51], [102, 255]]
    # (0, 0.2, 0.4, 1) minus 0.485, over 0.229
    expected = [[-2.1179039, -1.2445415], [-0.3711790, 2.2489083]]
    np.testing.assert_allclose(predictor.square_logits([as_tensor(pixels)])[0], expected, atol=1e-5)
    with torch.inference_mode():
        called = cast("torch.Tensor", predictor(as_tensor(pixels)))
    np.testing.assert_allclose(called, 1 / (1 + np.exp(-np.array(expected))), atol=1e-6)


def test_every_channel_has_its_own_mean_and_deviation() -> None:
    class Keeper(nn.Module):
        seen = torch.empty(0)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            self.seen = image
            return image[:, :1]

    keeper = Keeper()
    predictor = Predictor(keeper, size=1).eval()
    predictor.square_logits([torch.tensor([[[255, 0, 51]]], dtype=torch.uint8)])
    expected = [(value - m) / d for value, m, d in zip((1, 0, 0.2), IMAGENET_MEAN, IMAGENET_DEVIATION, strict=True)]
    np.testing.assert_allclose(keeper.seen[0, :, 0, 0], expected, rtol=1e-5)
    assert keeper.seen.shape == (CHUNK, 3, 1, 1)

    own = Predictor(keeper, size=1, mean=(0.1, 0.2, 0.3), deviation=(0.5, 0.25, 1.0)).eval()
    own.square_logits([torch.tensor([[[255, 0, 51]]], dtype=torch.uint8)])
    np.testing.assert_allclose(keeper.seen[0, :, 0, 0], [1.8, -0.8, -0.1], rtol=1e-5)


def test_training_and_scoring_normalise_alike() -> None:
    predictor = Predictor(FirstChannel(), size=4).eval()
    pixels = as_tensor(make_noise(4, 4))
    image = (pixels.permute(2, 0, 1).float() / 255)[None]
    torch.testing.assert_close(predictor.logits(image)[0, 0], predictor.square_logits([pixels])[0])


def test_the_weights_alone_are_its_state() -> None:
    predictor = make_predictor()
    assert all(name.startswith("network.") for name in predictor.state_dict())
    assert predictor.device == torch.device("cpu")


TRAIN_NARROW = """
import torch
from fgbg.models import build_network
from fgbg.models.predictor import Predictor

torch.set_num_threads(1)
gradients = []
for layout in (None, torch.contiguous_format):
    torch.manual_seed(0)
    predictor = Predictor(build_network("resnet34_unet", width=4), size=32)
    if layout is not None:
        predictor.layout = layout
        predictor.to(memory_format=layout)
    for _ in range(10):
        predictor.zero_grad()
        predictor.logits(torch.rand(8, 3, 32, 32)).mean().backward()
    gradients.append(predictor.network.network.encoder.layer2[0].downsample[0].weight.grad)
torch.testing.assert_close(*gradients)
"""


@pytest.mark.long
def test_narrow_networks_train_without_breaking_the_processors_library() -> None:
    # In a process of its own: what it guards against ends the process, or hangs it.
    ended = subprocess.run([sys.executable, "-c", TRAIN_NARROW], capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stderr[-2000:]
