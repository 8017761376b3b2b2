"""The one resize of the package: where a photo lies in the square, what becomes of its pixels, and the way back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from fgbg.fit import Placement, fit_pixels, fit_target, place_photo, resize, unfit_probability

few = settings(deadline=None, max_examples=40, derandomize=True)
edges, sizes, fits = st.integers(1, 90), st.integers(8, 70), st.sampled_from(["squash", "pad"])


def photo(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def smooth(height: int, width: int) -> np.ndarray:
    """A slow wave over the photo, 0..1: the same picture at every size."""
    y, x = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    return 0.5 + 0.25 * np.sin(2 * np.pi * x)[None] + 0.25 * np.cos(np.pi * y)[:, None]


class TestPlacement:
    @pytest.mark.parametrize(
        ("height", "width", "size", "fit", "place"),
        [
            (100, 200, 64, "squash", Placement(0, 0, 64, 64)),
            (100, 200, 64, "pad", Placement(16, 0, 32, 64)),
            (200, 100, 64, "pad", Placement(0, 16, 64, 32)),
            (50, 50, 64, "pad", Placement(0, 0, 64, 64)),
            (375, 500, 256, "pad", Placement(32, 0, 192, 256)),
            (3, 1000, 64, "pad", Placement(31, 0, 1, 64)),  # never less than one row
        ],
    )
    def test_known_photos_lie_where_they_should(
        self, height: int, width: int, size: int, fit: str, place: Placement
    ) -> None:
        assert place_photo(height, width, size, fit) == place

    @few
    @given(edges, edges, sizes)
    def test_padding_keeps_the_shape_fills_the_longer_side_and_centres(self, height: int, width: int, size: int) -> None:
        place = place_photo(height, width, size, "pad")
        assert max(place.height, place.width) == size
        scale = size / max(height, width)
        assert abs(place.height - max(1, height * scale)) <= 0.5
        assert abs(place.width - max(1, width * scale)) <= 0.5
        assert 0 <= size - place.height - 2 * place.top <= 1
        assert 0 <= size - place.width - 2 * place.left <= 1


class TestPixels:
    @few
    @given(edges, edges, sizes, fits)
    def test_the_square_is_0_to_1_at_its_size_and_black_where_no_photo_is(
        self, height: int, width: int, size: int, fit: str
    ) -> None:
        square = fit_pixels(torch.full((height, width, 3), 255, dtype=torch.uint8), size, fit)
        assert square.shape == (3, size, size)
        assert square.dtype == torch.float32
        place = place_photo(height, width, size, fit)
        inside = torch.zeros(size, size, dtype=torch.bool)
        inside[place.top : place.top + place.height, place.left : place.left + place.width] = True
        torch.testing.assert_close(square, inside.float().expand(3, -1, -1))

    @pytest.mark.parametrize(("height", "width", "size"), [(120, 90, 32), (33, 47, 16), (20, 30, 64), (64, 64, 64)])
    def test_it_is_the_antialiased_bilinear_resize_that_pillow_does(self, height: int, width: int, size: int) -> None:
        pixels = photo(height, width)
        judge = Image.fromarray(pixels.numpy()).resize((size, size), Image.Resampling.BILINEAR)
        ours = fit_pixels(pixels, size, "squash").permute(1, 2, 0).numpy() * 255
        np.testing.assert_allclose(ours, np.asarray(judge, np.float32), atol=1.01)  # Pillow rounds twice

    def test_fine_stripes_become_grey_and_no_slow_waves(self) -> None:
        stripes = torch.zeros(200, 200, 3, dtype=torch.uint8)
        stripes[:, ::2] = 255
        assert (fit_pixels(stripes, 32, "squash") - 0.5).abs().max() < 0.03

    def test_a_photo_of_the_square_s_size_is_left_as_it_is(self) -> None:
        pixels = photo(40, 40)
        for fit in ("squash", "pad"):
            torch.testing.assert_close(fit_pixels(pixels, 40, fit), pixels.permute(2, 0, 1) / 255)

    def test_channels_stay_red_green_blue(self) -> None:
        pixels = torch.tensor([10, 20, 30], dtype=torch.uint8).expand(9, 7, 3)
        assert (fit_pixels(pixels, 8, "squash") * 255).mean((1, 2)).round().tolist() == [10, 20, 30]


@pytest.mark.parametrize(("height", "width"), [(40, 5), (7, 1), (3, 20)])
def test_a_width_of_one_is_like_a_height_of_one(height: int, width: int) -> None:
    image = torch.arange(3.0 * height * width).reshape(3, height, width)
    for rows in (1, 2, 30):
        turned = resize(image.transpose(1, 2), 1, rows).transpose(1, 2)
        torch.testing.assert_close(resize(image, rows, 1), turned)
        assert rows == 1 or len(resize(image, rows, 1)[0].unique()) > 1


class TestTarget:
    def test_the_nearest_pixel_by_centres_is_taken(self) -> None:
        # Halving 4 to 2: the centres 0.5 and 1.5 lie over 1 and 3 of the larger one.
        levels = torch.arange(16, dtype=torch.uint8).reshape(4, 4)
        assert fit_target(levels, 2, "squash").tolist() == [[5, 7], [13, 15]]
        assert fit_target(levels, 4, "squash").tolist() == levels.tolist()
        assert fit_target(levels[:2, :2], 4, "squash")[0].tolist() == [0, 0, 1, 1]

    @few
    @given(edges, edges, sizes, fits)
    def test_no_value_is_invented_and_the_surroundings_are_not_judged(
        self, height: int, width: int, size: int, fit: str
    ) -> None:
        levels = photo(height, width)[:, :, 0] % 3
        square = fit_target(levels, size, fit)
        assert square.shape == (size, size)
        assert square.dtype == torch.uint8
        place = place_photo(height, width, size, fit)
        inner = square[place.top : place.top + place.height, place.left : place.left + place.width]
        assert set(inner.unique().tolist()) <= set(levels.unique().tolist())
        assert (square == 255).sum() == size * size - inner.numel()

    @few
    @given(st.integers(24, 90), st.integers(24, 90), st.integers(16, 70), fits)
    def test_photo_and_target_stay_in_register(self, height: int, width: int, size: int, fit: str) -> None:
        y, x = np.mgrid[:height, :width]
        disc = np.hypot((y + 0.5) / height - 0.45, (x + 0.5) / width - 0.55) < 0.3
        pixels = torch.from_numpy(np.repeat(disc[:, :, None] * np.uint8(255), 3, 2))
        image, target = fit_pixels(pixels, size, fit)[0], fit_target(torch.from_numpy(disc.astype(np.uint8)), size, fit)
        rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
        for places in (rows, columns):  # half a pixel of shift would show
            weight = (target == 1).float()
            assert abs((image * places).sum() / image.sum() - (weight * places).sum() / weight.sum()) < 0.3
        assert ((image > 0.5) == (target == 1)).float().mean() > 0.9


class TestWayBack:
    @few
    @given(edges, edges, sizes, fits)
    def test_the_answer_has_the_photo_s_size_and_stays_a_probability(
        self, height: int, width: int, size: int, fit: str
    ) -> None:
        probability = torch.from_numpy(np.random.default_rng(0).random((size, size), np.float32))
        enlarged = unfit_probability(probability, height, width, fit)
        assert enlarged.shape == (height, width)
        assert enlarged.min() >= 0
        assert enlarged.max() <= 1 + 1e-6

    @pytest.mark.parametrize("fit", ["squash", "pad"])
    @pytest.mark.parametrize(("height", "width"), [(48, 48), (90, 45), (45, 90), (37, 101)])
    def test_there_and_back_is_the_same_picture(self, height: int, width: int, fit: str) -> None:
        picture = smooth(height, width)
        pixels = torch.from_numpy((np.repeat(picture[:, :, None], 3, 2) * 255).round().astype(np.uint8))
        back = unfit_probability(fit_pixels(pixels, 64, fit)[0], height, width, fit)
        np.testing.assert_allclose(back.numpy()[2:-2, 2:-2], picture[2:-2, 2:-2], atol=0.02)

    @few
    @given(edges, edges, sizes)
    def test_nothing_of_the_surroundings_reaches_the_answer(self, height: int, width: int, size: int) -> None:
        place = place_photo(height, width, size, "pad")
        square = torch.ones(size, size)
        square[place.top : place.top + place.height, place.left : place.left + place.width] = 0
        assert unfit_probability(square, height, width, "pad").max() == 0
