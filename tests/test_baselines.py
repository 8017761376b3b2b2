"""What needs no learning."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgbg.data.augment_table import LUMA
from fgbg.judge.baselines import predict_foreground, predict_otsu
from trivial import draw, make_noise


def grey_photo(levels: np.ndarray) -> np.ndarray:
    return np.repeat(levels.astype(np.uint8)[:, :, None], 3, axis=2)


def test_foreground_is_everywhere() -> None:
    prediction = predict_foreground(make_noise(3, 5))
    assert prediction.shape == (3, 5)
    assert prediction.dtype == bool
    assert prediction.all()


@pytest.mark.parametrize(("object_", "ground"), [(200, 30), (30, 200), (131, 130)])
def test_otsu_takes_the_side_that_touches_the_frame_less(object_: int, ground: int) -> None:
    inside = draw("......", ".###..", ".####.", "......")
    np.testing.assert_array_equal(predict_otsu(grey_photo(np.where(inside, object_, ground))), inside)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**31))
def test_otsus_threshold_has_the_smallest_variance_within_its_sides(seed: int) -> None:
    pixels = make_noise(9, 11, seed)
    grey = (pixels.astype(np.float32) @ LUMA).round()
    prediction = predict_otsu(pixels)
    assert prediction.dtype == bool

    def within(side: np.ndarray) -> float:
        return float(sum(grey[part].size * grey[part].astype(np.float64).var() for part in (side, ~side) if part.any()))

    best = min(within(grey > threshold) for threshold in range(256))
    assert within(prediction) == pytest.approx(best, rel=1e-9)
    frame = np.concatenate([prediction[0], prediction[-1], prediction[:, 0], prediction[:, -1]])
    assert frame.mean() <= 0.5


@pytest.mark.parametrize("level", [0, 1, 128, 255])
def test_a_photo_of_one_tone_has_no_object(level: int) -> None:
    assert not predict_otsu(np.full((4, 5, 3), level, np.uint8)).any()
