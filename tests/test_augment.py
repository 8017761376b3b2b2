"""Paired augmentation: judged by hand, by torchvision, and by the statistics of what is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as judge

from fgbg.data import augment as augment_module
from fgbg.data import augment_table
from fgbg.data.augment import PairedAugmentation
from fgbg.data.augment_ranges import NO_CHANGE, AugmentRanges
from fgbg.data.augment_table import AugmentTable, draw_table

CPU = torch.device("cpu")
OFF = AugmentRanges(
    flip=0,
    crop_area=1,
    crop_ratio=1,
    rotation_degrees=0,
    shift=0,
    scale=0,
    brightness=0,
    contrast=0,
    saturation=0,
    hue=0,
)
FULL = AugmentRanges()
GEOMETRY = replace(FULL, brightness=0, contrast=0, saturation=0, hue=0)
paddings = pytest.mark.parametrize("padding", ["ignore", "background"])


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Constant:
    """A random stream that always says the same number."""

    def __init__(self, number: float) -> None:
        self.number = number

    def random(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        return np.full(shape, float(self.number))


def fix_draws(monkeypatch: pytest.MonkeyPatch, number: float) -> None:
    """Every draw is this far from the low to the high end of its range."""
    monkeypatch.setattr(augment_table, "open_stream", lambda *_: Constant(number))


def augment(
    ranges: AugmentRanges, pixels: Tensor, target: Tensor, *, size: int = 0, seed: int = 0, epoch: int = 1, aspect: float = 1
) -> tuple[Tensor, Tensor]:
    """Augment a whole set as one batch."""
    aspects = np.full(len(pixels), aspect, np.float64)
    paired = PairedAugmentation(ranges, aspects, size=size or pixels.shape[-1], seed=seed, device=CPU)
    return paired(pixels, target, torch.arange(len(pixels)), epoch)


def noise(count: int, edge: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (count, 3, edge, edge), np.uint8))


def waves(count: int, edge: int) -> Tensor:
    """Slow waves that no flip or turn maps onto themselves; three different channels, away from 0 and 255."""
    y, x = (np.mgrid[:edge, :edge] + 0.5) / edge
    parts = [np.sin(2 * x + y), np.sin(3 * y - x + 1), np.cos(2 * x * y + x)]
    return torch.from_numpy((128 + 60 * np.stack(parts)).round().astype(np.uint8)).expand(count, -1, -1, -1).clone()


def blobs(count: int, edge: int, seed: int = 0) -> Tensor:
    """Two discs a photo, as targets 0 and 1."""
    random = np.random.default_rng(seed)
    y, x = (np.mgrid[:edge, :edge] + 0.5) / edge
    targets = []
    for _ in range(count):
        discs = [np.hypot(y - random.uniform(0.1, 0.9), x - random.uniform(0.1, 0.9)) < random.uniform(0.1, 0.3)] * 2
        targets.append(discs[0] | discs[1])
    return torch.from_numpy(np.stack(targets).astype(np.uint8))


def recover(table: AugmentTable) -> dict[str, NDArray[np.float64]]:
    """What was drawn, read back from the table's matrices."""
    inverse = np.linalg.inv(table.rotation.astype(np.float64))  # scale * R(angle)
    factor = table.colour.astype(np.float64).sum(2).mean(1)  # hue and saturation leave grey alone: contrast * brightness
    brightness = table.contrast_offset + factor
    matrix = table.colour / factor[:, None, None]
    saturation = np.sqrt(np.linalg.det(matrix))
    grey = np.broadcast_to(augment_table.LUMA, (3, 3))
    hue = matrix @ (np.eye(3) / saturation[:, None, None] + (1 - 1 / saturation)[:, None, None] * grey)
    sine, cosine = (hue[:, 1, 0] - hue[:, 0, 1]) * np.sqrt(3) / 2, (np.trace(hue, axis1=1, axis2=2) - 1) / 2
    moved = -np.einsum("nij,nj->ni", inverse, table.shift)
    flip = np.sign(table.crop_half[:, 0])
    return {
        "flip": flip,
        "crop_width": np.abs(table.crop_half[:, 0]),
        "crop_height": table.crop_half[:, 1],
        "crop_x": table.crop_centre[:, 0] * flip,
        "crop_y": table.crop_centre[:, 1],
        "rotation_degrees": np.rad2deg(np.arctan2(inverse[:, 1, 0], inverse[:, 0, 0])),
        "scale": np.sqrt(np.linalg.det(inverse)),
        "shift_x": moved[:, 0] / 2,
        "shift_y": moved[:, 1] / 2,
        "brightness": brightness,
        "contrast": factor / brightness,
        "saturation": saturation,
        "hue": np.arctan2(sine, cosine) / (2 * np.pi),
    }


def parts_of(name: str) -> set[str]:
    """The recovered draws that a range of this name decides."""
    return {
        "crop_area": {"crop_width", "crop_height", "crop_x", "crop_y"},
        "crop_ratio": {"crop_width", "crop_height", "crop_x", "crop_y"},
        "shift": {"shift_x", "shift_y"},
    }.get(name, {name})


MIXING = ("cutmix", "mixup")  # of two photos: see test_mix.py
SWITCHES = [field.name for field in fields(AugmentRanges) if field.name not in ("enabled", "padding", *MIXING)]


class TestIdentity:
    @paddings
    def test_with_all_ranges_off_nothing_changes(self, padding: str) -> None:
        pixels, target = noise(9, 20), blobs(9, 20)
        image, kept = augment(replace(OFF, padding=padding), pixels, target)
        torch.testing.assert_close(image, pixels / 255, atol=1e-5, rtol=0)
        assert torch.equal(kept, target)

    @paddings
    def test_disabled_nothing_changes_whatever_the_ranges(self, padding: str) -> None:
        pixels, target = noise(5, 20), blobs(5, 20)
        image, kept = augment(AugmentRanges(enabled=False, padding=padding, rotation_degrees=180), pixels, target)
        torch.testing.assert_close(image, pixels / 255, atol=1e-5, rtol=0)
        assert torch.equal(kept, target)

    @paddings
    def test_from_a_larger_store_it_is_the_plain_resize(self, padding: str) -> None:
        pixels, target = noise(3, 40), blobs(3, 40)
        image, kept = augment(replace(OFF, padding=padding), pixels, target, size=32)
        torch.testing.assert_close(image * 255, F.interpolate(pixels.float(), (32, 32), mode="bilinear"), atol=1e-2, rtol=0)
        assert torch.equal(kept, F.interpolate(target[:, None], (32, 32), mode="nearest-exact")[:, 0])

    @paddings
    def test_not_judged_stays_not_judged(self, padding: str) -> None:
        target = torch.full((2, 16, 16), 255, dtype=torch.uint8)
        _, kept = augment(replace(OFF, padding=padding), noise(2, 16), target)
        assert (kept == 255).all()

    def test_the_answer_is_an_image_of_0_to_1_and_a_target_of_bytes(self) -> None:
        image, target = augment(FULL, noise(6, 20), blobs(6, 20), size=16)
        assert (image.shape, image.dtype) == ((6, 3, 16, 16), torch.float32)
        assert (target.shape, target.dtype) == ((6, 16, 16), torch.uint8)


class TestByHand:
    """One thing at a time, at one end of its range, on squares small enough to check by eye."""

    pixels = noise(1, 8)
    target = torch.arange(64, dtype=torch.uint8).reshape(1, 8, 8)  # a target of 64 names shows where each pixel went

    def test_a_flip_exchanges_left_and_right(self) -> None:
        image, target = augment(replace(OFF, flip=1), self.pixels, self.target)
        torch.testing.assert_close(image, self.pixels.flip(-1) / 255, atol=1e-4, rtol=0)
        assert torch.equal(target, self.target.flip(-1))

    @paddings
    def test_the_upper_end_of_rotation_turns_clockwise(self, monkeypatch: pytest.MonkeyPatch, padding: str) -> None:
        fix_draws(monkeypatch, 1)
        ranges = replace(OFF, rotation_degrees=90, padding=padding)
        image, target = augment(ranges, self.pixels, self.target)
        torch.testing.assert_close(image, torch.rot90(self.pixels, -1, (2, 3)) / 255, atol=1e-4, rtol=0)
        assert torch.equal(target, torch.rot90(self.target, -1, (1, 2)))

    @pytest.mark.parametrize(("padding", "outside"), [("ignore", 255), ("background", 0)])
    def test_the_upper_end_of_shift_moves_right_and_down_by_that_share(
        self, monkeypatch: pytest.MonkeyPatch, padding: str, outside: int
    ) -> None:
        fix_draws(monkeypatch, 1)
        image, target = augment(replace(OFF, shift=0.25, padding=padding), self.pixels, self.target)
        expected = torch.full((1, 8, 8), outside, dtype=torch.uint8)
        expected[:, 2:, 2:] = self.target[:, :6, :6]
        assert torch.equal(target, expected)
        torch.testing.assert_close(image[:, :, 2:, 2:] * 255, self.pixels[:, :, :6, :6].float(), atol=0.01, rtol=0)
        assert (image[:, :, :2] < 1e-4).all()
        assert (image[:, :, :, :2] < 1e-4).all()

    def test_the_lower_end_of_shift_moves_left_and_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fix_draws(monkeypatch, 0)
        _, target = augment(replace(OFF, shift=0.25), self.pixels, self.target)
        assert torch.equal(target[:, :6, :6], self.target[:, 2:, 2:])
        assert (target[:, 6:] == 255).all()

    @pytest.mark.parametrize(("padding", "outside"), [("ignore", 255), ("background", 0)])
    def test_the_lower_end_of_scale_makes_the_photo_smaller_about_its_centre(
        self, monkeypatch: pytest.MonkeyPatch, padding: str, outside: int
    ) -> None:
        fix_draws(monkeypatch, 0)
        image, target = augment(replace(OFF, scale=0.5, padding=padding), self.pixels, torch.ones_like(self.target))
        expected = torch.full((1, 8, 8), outside, dtype=torch.uint8)
        expected[:, 2:6, 2:6] = 1
        assert torch.equal(target, expected)
        means = F.avg_pool2d(self.pixels.float(), 2)  # halving samples in the middle of four pixels
        torch.testing.assert_close(image[:, :, 2:6, 2:6] * 255, means, atol=0.01, rtol=0)

    def test_the_upper_end_of_scale_makes_it_larger_about_its_centre(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fix_draws(monkeypatch, 1 - 1e-9)
        _, target = augment(replace(OFF, scale=0.999_999), self.pixels, self.target)  # twice
        assert torch.equal(target, self.target[:, 2:6, 2:6].repeat_interleave(2, 1).repeat_interleave(2, 2))

    @paddings
    def test_a_crop_fills_the_frame(self, monkeypatch: pytest.MonkeyPatch, padding: str) -> None:
        fix_draws(monkeypatch, 0)  # the smallest area, at the upper left
        _, target = augment(replace(OFF, crop_area=0.25, padding=padding), self.pixels, self.target)
        assert torch.equal(target, self.target[:, :4, :4].repeat_interleave(2, 1).repeat_interleave(2, 2))

    def test_the_flip_comes_before_the_crop(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fix_draws(monkeypatch, 0)
        _, target = augment(replace(OFF, crop_area=0.25, flip=1), self.pixels, self.target)
        assert torch.equal(target, self.target.flip(-1)[:, :4, :4].repeat_interleave(2, 1).repeat_interleave(2, 2))

    def test_the_ratio_decides_wide_and_high_crops(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fix_draws(monkeypatch, 0)
        table = draw_table(replace(OFF, crop_area=0.25, crop_ratio=4), np.ones(1), seed=0, epoch=1)
        np.testing.assert_allclose(table.crop_half, [[0.25, 1.0]], rtol=1e-6)  # 4 times as high as wide
        np.testing.assert_allclose(table.crop_centre, [[-0.75, 0.0]], atol=1e-6)


class TestPairs:
    @paddings
    @pytest.mark.parametrize("seed", range(4))
    def test_a_target_fed_as_the_image_goes_where_the_target_goes(self, padding: str, seed: int) -> None:
        target = blobs(24, 40, seed)
        fed = (target * 255)[:, None].expand(-1, 3, -1, -1)
        image, moved = augment(replace(GEOMETRY, padding=padding), fed, target, size=32, seed=seed)
        judged = moved != 255
        # Between two pixels the image is a blend; wherever it is not, both must say the same.
        assert (moved[(image[:, 0] > 0.9999)] == 1).all()
        assert (moved[(image[:, 0] < 0.0001) & judged] == 0).all()
        clear = ((image[:, 0] > 0.9999) | (image[:, 0] < 0.0001)) & judged
        assert clear.sum() > 0.6 * judged.sum()
        assert ((image[:, 0] > 0.5) == (moved == 1))[judged].float().mean() > 0.98

    @paddings
    def test_colours_never_reach_the_target(self, padding: str) -> None:
        pixels, target = noise(8, 24), blobs(8, 24)
        _, moved = augment(replace(FULL, padding=padding), pixels, target)
        _, plain = augment(replace(GEOMETRY, padding=padding), pixels, target)
        assert torch.equal(moved, plain)

    @settings(deadline=None, max_examples=25, derandomize=True)
    @given(
        st.builds(
            AugmentRanges,
            flip=st.floats(0, 1),
            crop_area=st.floats(0.1, 1),
            crop_ratio=st.floats(1, 4),
            rotation_degrees=st.floats(0, 180),
            shift=st.floats(0, 0.9),
            scale=st.floats(0, 0.9),
            brightness=st.floats(0, 0.9),
            contrast=st.floats(0, 0.9),
            saturation=st.floats(0, 0.9),
            hue=st.floats(0, 0.5),
            padding=st.sampled_from(["ignore", "background"]),
        )
    )
    def test_whatever_the_ranges_images_stay_0_to_1_and_targets_invent_nothing(self, ranges: AugmentRanges) -> None:
        image, target = augment(ranges, noise(5, 20), blobs(5, 20), size=16, aspect=1.3)
        assert image.isfinite().all()
        assert image.min() >= 0
        assert image.max() <= 1
        assert set(target.unique().tolist()) <= {0, 1, 255}


class TestOutside:
    def test_with_ignore_exactly_the_outside_of_the_photo_is_not_judged(self) -> None:
        white = torch.full((32, 3, 40, 40), 255, dtype=torch.uint8)
        image, target = augment(GEOMETRY, white, torch.ones(32, 40, 40, dtype=torch.uint8))
        outside = target == 255
        assert 0.02 < outside.float().mean() < 0.5
        assert (target[~outside] == 1).all()
        assert (image[:, 0][outside] <= 0.51).all()  # half of it at most, where the photo's last pixel fades
        assert (image[:, 0][~outside] >= 0.24).all()
        assert (image[:, 0][outside] == 0).float().mean() > 0.8
        assert (image[:, 0][~outside] > 0.999).float().mean() > 0.9

    def test_with_background_all_outside_the_crop_is_black_ground_and_nothing_is_left_unjudged(self) -> None:
        ranges = replace(GEOMETRY, crop_area=0.5, padding="background")
        white = torch.full((32, 3, 40, 40), 255, dtype=torch.uint8)
        image, target = augment(ranges, white, torch.ones(32, 40, 40, dtype=torch.uint8))
        assert set(target.unique().tolist()) == {0, 1}
        torch.testing.assert_close(image, target[:, None].expand_as(image).float(), atol=1e-5, rtol=0)
        table = draw_table(ranges, np.ones(32), seed=0, epoch=1)
        ticks = (np.arange(40) * 2 + 1) / 40 - 1
        place = np.stack(np.meshgrid(ticks, ticks), -1)  # x, y
        crop = np.einsum("nij,hwj->nhwi", table.rotation, place) + table.shift[:, None, None]
        inside = (np.abs(crop) <= 1).all(-1)
        assert (inside == (target == 1).numpy()).mean() > 0.999

    def test_with_ignore_the_photo_goes_on_outside_the_crop(self) -> None:
        ranges = replace(GEOMETRY, crop_area=0.5)
        pixels, ones = noise(32, 40), torch.ones(32, 40, 40, dtype=torch.uint8)
        image, target = augment(ranges, pixels, ones)
        lab_image, lab_target = augment(replace(ranges, padding="background"), pixels, ones)
        assert (target[lab_target == 1] == 1).all()  # inside the crop both judge ...
        edge = F.pad((lab_target == 0).float(), (2, 2, 2, 2), value=1)  # there the photo may end, and fades to black
        interior = (F.max_pool2d(edge, 5, 1) == 0)[:, None].expand_as(image)
        torch.testing.assert_close(image[interior], lab_image[interior], atol=1e-4, rtol=0)  # ... and show the same
        assert ((target == 1) & (lab_target == 0)).float().mean() > 0.05

    @paddings
    def test_a_letterbox_stays_not_judged_and_moves_with_the_photo(self, padding: str) -> None:
        target = torch.ones(16, 32, 32, dtype=torch.uint8)
        target[:, :8] = target[:, 24:] = 255
        bars = (target == 255)[:, None].expand(-1, 3, -1, -1) * torch.tensor(255, dtype=torch.uint8)
        image, moved = augment(replace(GEOMETRY, padding=padding), bars, target)
        assert (moved[image[:, 0] > 0.9999] == 255).all()


class TestAgainstTorchvision:
    @paddings
    @pytest.mark.parametrize(
        "ranges",
        [
            replace(OFF, rotation_degrees=30),
            replace(OFF, shift=0.2),
            replace(OFF, scale=0.2),
            replace(OFF, crop_area=0.5, crop_ratio=4 / 3),
            GEOMETRY,
        ],
        ids=["rotation", "shift", "scale", "crop", "all"],
    )
    def test_flip_crop_and_affine_are_torchvision_s_in_the_lab_s_order(self, ranges: AugmentRanges, padding: str) -> None:
        count, stored, size = 12, 200, 100
        pixels, target = waves(count, stored), blobs(count, stored)
        image, moved = augment(replace(ranges, padding=padding), pixels, target, size=size)
        drawn = recover(draw_table(ranges, np.ones(count), seed=0, epoch=1))
        compared = 0
        for index in range(count):
            draw = {name: float(values[index]) for name, values in drawn.items()}
            stack = torch.cat([pixels[index].float(), target[index][None] * 255.0, torch.full((1, stored, stored), 255.0)])
            if draw["flip"] < 0:
                stack = judge.horizontal_flip(stack)
            top, left = (
                round((1 + draw[f"crop_{axis}"] - draw[f"crop_{extent}"]) / 2 * stored)
                for axis, extent in (("y", "height"), ("x", "width"))
            )
            height, width = round(draw["crop_height"] * stored), round(draw["crop_width"] * stored)
            stack = judge.resized_crop(stack, top, left, height, width, [size, size], antialias=False)
            stack = judge.affine(
                stack,
                draw["rotation_degrees"],
                [draw["shift_x"] * size, draw["shift_y"] * size],
                draw["scale"],
                [0.0, 0.0],
                interpolation=v2.InterpolationMode.BILINEAR,
            )
            inside = (F.avg_pool2d((stack[4] > 254.9).float()[None, None], 5, 1, 2) > 0.999)[0, 0]
            difference = (image[index] * 255 - stack[:3]).abs()[:, inside]
            assert difference.mean() < 1
            assert difference.max() < 4
            assert ((moved[index] == 1) == (stack[3] > 127.5))[inside].float().mean() > 0.97
            compared += int(inside.sum())
        assert compared > 0.4 * count * size * size

    @pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
    def test_brightness_contrast_and_saturation_are_torchvision_s(self, name: str) -> None:
        ranges = replace(OFF, **{name: 0.2})
        pixels = waves(12, 24)
        image, _ = augment(ranges, pixels, blobs(12, 24))
        factors = recover(draw_table(ranges, np.ones(12), seed=0, epoch=1))[name]
        assert factors.std() > 0.05
        adjust = getattr(judge, f"adjust_{name}")
        expected = torch.stack([adjust(photo / 255, float(f)) for photo, f in zip(pixels, factors, strict=True)])
        torch.testing.assert_close(image, expected, atol=1e-3, rtol=0)  # torchvision's grey is rounded to four digits

    def test_together_they_are_torchvision_s_one_after_the_other(self) -> None:
        ranges = replace(OFF, brightness=0.2, contrast=0.2, saturation=0.2)
        pixels = waves(12, 24)
        image, _ = augment(ranges, pixels, blobs(12, 24))
        drawn = recover(draw_table(ranges, np.ones(12), seed=0, epoch=1))
        for index in range(12):
            photo = pixels[index] / 255
            for name in ("brightness", "contrast", "saturation"):
                photo = getattr(judge, f"adjust_{name}")(photo, float(drawn[name][index]))
            torch.testing.assert_close(image[index], photo, atol=2e-3, rtol=0)

    def test_too_bright_is_white_and_never_wraps_around(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fix_draws(monkeypatch, 1)
        image, _ = augment(replace(OFF, brightness=0.5), torch.full((1, 3, 8, 8), 200, dtype=torch.uint8), blobs(1, 8))
        assert (image == 1).all()


class TestHue:
    @pytest.mark.parametrize("hue", [0.2, 0.5])
    def test_grey_stays_grey(self, hue: float) -> None:
        grey = noise(16, 12)[:, :1].expand(-1, 3, -1, -1)
        image, _ = augment(replace(OFF, hue=hue), grey, blobs(16, 12))
        torch.testing.assert_close(image, grey / 255, atol=1e-4, rtol=0)

    @pytest.mark.parametrize(("number", "colour"), [(5 / 6, [0, 1, 0]), (1 / 6, [0, 0, 1]), (1 / 2, [1, 0, 0])])
    def test_a_third_of_the_circle_turns_red_to_green_and_back_to_blue_as_torchvision_does(
        self, monkeypatch: pytest.MonkeyPatch, number: float, colour: list[int]
    ) -> None:
        fix_draws(monkeypatch, number)
        red = torch.tensor([255, 0, 0], dtype=torch.uint8).reshape(1, 3, 1, 1).expand(1, 3, 4, 4)
        image, _ = augment(replace(OFF, hue=0.5), red, blobs(1, 4))
        torch.testing.assert_close(image[0, :, 1, 1], torch.tensor(colour).float(), atol=1e-4, rtol=0)
        torch.testing.assert_close(image[0], judge.adjust_hue(red[0] / 255, number - 0.5), atol=1e-3, rtol=0)

    def test_a_turn_keeps_the_mean_of_the_channels_and_the_distance_from_grey(self) -> None:
        pixels = waves(16, 12)
        image, _ = augment(replace(OFF, hue=0.1), pixels, blobs(16, 12))
        for measure in (lambda a: a.mean(1), lambda a: a.std(1)):
            torch.testing.assert_close(measure(image), measure(pixels / 255), atol=1e-4, rtol=0)
        assert (image - pixels / 255).abs().max() > 0.02


class TestSwitches:
    aspects = np.linspace(0.7, 1.4, 64)

    def draws(self, ranges: AugmentRanges) -> dict[str, NDArray[np.float64]]:
        return recover(draw_table(ranges, self.aspects, seed=0, epoch=1))

    @pytest.mark.parametrize("name", SWITCHES)
    def test_switching_one_off_leaves_the_other_draws_as_they_were(self, name: str) -> None:
        full, without = self.draws(FULL), self.draws(replace(FULL, **{name: getattr(OFF, name)}))
        for part, values in full.items():
            if part not in parts_of(name):
                np.testing.assert_allclose(without[part], values, atol=2e-5, err_msg=part)
        assert any(not np.allclose(without[part], full[part], atol=1e-3) for part in parts_of(name))

    @pytest.mark.parametrize("name", [name for name in SWITCHES if name != "crop_ratio"])
    def test_one_alone_changes_its_own_thing_only(self, name: str) -> None:
        off = self.draws(OFF)
        ranges = {name: getattr(FULL, name)} | ({"crop_ratio": FULL.crop_ratio} if name == "crop_area" else {})
        alone = self.draws(replace(OFF, **ranges))
        for part, values in off.items():
            if part in parts_of(name):
                assert alone[part].std() > 0.01
            else:
                np.testing.assert_allclose(alone[part], values, atol=2e-5, err_msg=part)

    @pytest.mark.parametrize("name", [field.name for field in fields(AugmentRanges)])
    def test_the_ranges_know_which_of_them_change_a_photo(self, name: str) -> None:
        value = {"cutmix": 1.0, "mixup": 1.0, "padding": "background"}.get(name, getattr(FULL, name))
        nothing = replace(NO_CHANGE, enabled=True)
        ranges = replace(nothing, **{name: value})
        assert ranges != nothing or name == "enabled", "name a value that switches it on"
        pixels = waves(4, 16)
        image, _ = augment(ranges, pixels, blobs(4, 16))
        assert ranges.changes_photos == (not torch.allclose(image, pixels / 255, atol=1e-3))
        assert not replace(ranges, enabled=False).changes_photos

    def test_off_is_neutral(self) -> None:
        neutral = {"flip", "crop_width", "crop_height", "scale", "brightness", "contrast", "saturation"}
        for part, values in self.draws(OFF).items():
            np.testing.assert_allclose(values, 1.0 if part in neutral else 0.0, atol=2e-5, err_msg=part)


class TestDraws:
    count = 4000
    uniform = ("rotation_degrees", "scale", "shift_x", "shift_y", "brightness", "contrast", "saturation", "hue")

    @pytest.fixture
    def drawn(self) -> dict[str, NDArray[np.float64]]:
        return recover(draw_table(FULL, np.ones(self.count), seed=0, epoch=1))

    @pytest.mark.parametrize(
        ("name", "low", "high"),
        [
            ("rotation_degrees", -30, 30),
            ("shift_x", -0.2, 0.2),
            ("shift_y", -0.2, 0.2),
            ("scale", 0.8, 1.2),
            ("brightness", 0.8, 1.2),
            ("contrast", 0.8, 1.2),
            ("saturation", 0.8, 1.2),
            ("hue", -0.2, 0.2),
        ],
    )
    def test_each_range_is_drawn_from_evenly_and_to_its_ends(self, drawn, name: str, low: float, high: float) -> None:
        share = (drawn[name] - low) / (high - low)
        assert share.min() > -1e-4
        assert share.max() < 1 + 1e-4
        assert stats.kstest(share, "uniform").pvalue > 1e-3

    def test_half_of_the_photos_are_flipped(self, drawn) -> None:
        assert abs((drawn["flip"] < 0).mean() - 0.5) < 4 * 0.5 / np.sqrt(self.count)

    @pytest.mark.parametrize("flip", [0.0, 0.1, 1.0])
    def test_flips_are_as_frequent_as_told(self, flip: float) -> None:
        table = draw_table(replace(OFF, flip=flip), np.ones(self.count), seed=1, epoch=1)
        assert abs((table.crop_half[:, 0] < 0).mean() - flip) <= 4 * np.sqrt(flip * (1 - flip) / self.count)

    def test_no_draw_tells_anything_of_another(self, drawn) -> None:
        values = np.stack([drawn[name] for name in (*self.uniform, "flip", "crop_x", "crop_y")])
        related = np.corrcoef(values) - np.eye(len(values))
        assert np.abs(related).max() < 4 / np.sqrt(self.count)

    @pytest.mark.parametrize("aspect", [0.5, 1.0, 1.5, 2.0])
    def test_crops_have_the_area_and_the_ratio_in_the_photo_s_own_pixels_and_lie_inside(self, aspect: float) -> None:
        ranges = replace(FULL, crop_area=0.4)
        drawn = recover(draw_table(ranges, np.full(self.count, aspect), seed=0, epoch=1))
        width, height = drawn["crop_width"], drawn["crop_height"]
        cropped = (width < 1) | (height < 1)
        assert cropped.mean() > 0.5
        area, ratio = (width * height)[cropped], (width * aspect / height)[cropped]
        assert area.min() > 0.4 - 1e-5
        assert area.max() <= 1
        drawn_ratio = ratio[np.abs(ratio - aspect) > 1e-5]  # of the others none of ten fitted: the shape of the photo
        assert drawn_ratio.min() > 3 / 4 - 1e-5
        assert drawn_ratio.max() < 4 / 3 + 1e-5
        assert len(drawn_ratio) > 0.8 * len(ratio)
        assert (np.abs(drawn["crop_x"]) + width).max() < 1 + 1e-5
        assert (np.abs(drawn["crop_y"]) + height).max() < 1 + 1e-5
        assert np.abs(drawn["crop_x"][width < 0.9]).max() > 0.2  # and they do not stay in the middle

    def test_wide_and_high_crops_are_drawn_alike(self) -> None:
        drawn = recover(draw_table(replace(FULL, crop_area=0.01, crop_ratio=4), np.ones(self.count), seed=0, epoch=1))
        width, height = drawn["crop_width"], drawn["crop_height"]
        small = width * height < 0.24  # of such crops every ratio fits, so none was passed over
        share = (np.log(width / height)[small] / np.log(4) + 1) / 2
        assert small.sum() > 500
        assert stats.kstest(share, "uniform").pvalue > 1e-3

    @pytest.mark.parametrize(("height", "width"), [(100, 100), (100, 120), (130, 100)])
    def test_crops_are_distributed_as_torchvision_s(self, height: int, width: int) -> None:
        torch.manual_seed(0)
        crop = v2.RandomResizedCrop(8, scale=(0.8, 1.0), ratio=(3 / 4, 4 / 3))
        # Ten times as large as the photo: torchvision rounds to whole pixels.
        photo = [torch.empty(1, 10 * height, 10 * width)]
        drawn = [crop.make_params(photo) for _ in range(1500)]
        theirs = np.array([[draw["width"] / width, draw["height"] / height] for draw in drawn]) / 10
        table = draw_table(FULL, np.full(self.count, width / height), seed=0, epoch=1)
        ours = np.abs(table.crop_half)
        for measure in (lambda size: size[:, 0], lambda size: size[:, 1], lambda size: size.prod(1)):
            found = measure(ours)[ours.min(1) < 1], measure(theirs)[theirs.min(1) < 1]
            assert stats.ks_2samp(*found).pvalue > 1e-3

    def test_where_no_crop_of_the_ratio_fits_it_has_the_shape_of_the_photo(self) -> None:
        """Of photos three times as wide as high, by the area that is drawn, anywhere in the photo."""
        drawn = recover(draw_table(FULL, np.full(self.count, 3.0), seed=0, epoch=1))
        np.testing.assert_allclose(drawn["crop_width"], drawn["crop_height"])
        area = drawn["crop_width"] * drawn["crop_height"]
        assert stats.kstest(area, stats.uniform(0.8, 0.2).cdf).pvalue > 1e-3
        for centre, size in (("crop_x", "crop_width"), ("crop_y", "crop_height")):
            assert stats.kstest(drawn[centre] / (1 - drawn[size]), stats.uniform(-1, 2).cdf).pvalue > 1e-3


class TestRepeatability:
    count = 24

    @pytest.fixture
    def paired(self) -> PairedAugmentation:
        return PairedAugmentation(FULL, np.linspace(0.8, 1.3, self.count), size=20, seed=3, device=CPU)

    def run(self, paired: PairedAugmentation, rows: list[int], epoch: int = 1) -> tuple[Tensor, Tensor]:
        picked = torch.tensor(rows)
        return paired(noise(self.count, 24)[picked], blobs(self.count, 24)[picked], picked, epoch)

    @pytest.mark.parametrize("rows", [[5], [5, 0, 23], [23, 22, 5, 21, 1, 2, 3], [5, 5]])
    def test_a_photo_goes_through_the_same_whatever_its_batch_and_its_place_in_it(
        self, paired: PairedAugmentation, rows: list[int]
    ) -> None:
        image, target = self.run(paired, list(range(self.count)))
        some_image, some_target = self.run(paired, rows)
        torch.testing.assert_close(some_image, image[rows], atol=1e-5, rtol=0)
        assert (some_target != target[rows]).float().mean() < 1e-3  # a sum's last bit may move a pixel on an edge

    @pytest.mark.parametrize("images_per_thread", [1, 5, 24])
    def test_a_batch_is_the_same_however_many_images_are_computed_at_a_time(
        self, paired: PairedAugmentation, images_per_thread: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows = list(range(self.count))
        whole_image, whole_target = self.run(paired, rows)
        monkeypatch.setattr(augment_module, "CPU_PIECE_PIXELS", images_per_thread * 20**2)
        image, target = self.run(paired, rows)
        torch.testing.assert_close(image, whole_image, atol=1e-5, rtol=0)
        assert (target != whole_target).float().mean() < 1e-3

    def test_the_same_seed_and_epoch_are_the_same_to_the_bit_whatever_ran_before(self, paired: PairedAugmentation) -> None:
        rows = [3, 1, 4]
        first = self.run(paired, rows, epoch=2)
        self.run(paired, rows, epoch=3)
        again = self.run(paired, rows, epoch=2)
        anew = PairedAugmentation(FULL, paired.aspects, size=20, seed=3, device=CPU)
        resumed = self.run(anew, rows, epoch=2)
        for other in (again, resumed):
            assert torch.equal(first[0], other[0])
            assert torch.equal(first[1], other[1])

    def test_every_photo_goes_through_something_else_in_another_epoch_or_with_another_seed(
        self, paired: PairedAugmentation
    ) -> None:
        rows = list(range(self.count))
        image, _ = self.run(paired, rows, epoch=1)
        other_seed = PairedAugmentation(FULL, paired.aspects, size=20, seed=4, device=CPU)
        for changed, _ in (self.run(paired, rows, epoch=2), self.run(other_seed, rows, epoch=1)):
            assert ((changed - image).abs().amax((1, 2, 3)) > 0.05).all()

    def test_no_two_photos_share_a_draw(self) -> None:
        drawn = recover(draw_table(FULL, np.ones(500), seed=0, epoch=1))
        assert len(np.unique(drawn["rotation_degrees"])) == 500

    def test_it_depends_on_no_global_random_state(self, paired: PairedAugmentation) -> None:
        torch.manual_seed(0)
        np.random.seed(0)
        first = self.run(paired, [0, 1])[0]
        torch.manual_seed(1)
        np.random.seed(1)
        assert torch.equal(self.run(paired, [0, 1])[0], first)

    def test_what_goes_in_is_left_as_it_was(self, paired: PairedAugmentation) -> None:
        pixels, target = noise(2, 24), blobs(2, 24)
        before = pixels.clone(), target.clone()
        paired(pixels, target, torch.arange(2), 1)
        assert torch.equal(pixels, before[0])
        assert torch.equal(target, before[1])
