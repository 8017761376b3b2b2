"""Mask encodings: what is understood, what is refused, and what the border rule makes of it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from fgbg.data.masks import (
    NEAR_BINARY,
    NONZERO,
    TRIMAP,
    ZERO_255,
    ZERO_ONE,
    MaskEncoding,
    apply_border,
    border_lookup,
    check_border,
    find_even_grey,
    understand_masks,
)
from fgbg.errors import UserError

few = settings(deadline=None, max_examples=25, derandomize=True)
some_masks = arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def count(**pixels: int) -> NDArray[np.int64]:
    """A histogram: `count(v0=900, v255=100)`."""
    histogram = np.zeros(256, np.int64)
    for name, number in pixels.items():
        histogram[int(name[1:])] = number
    return histogram


def histogram_of(*values: int) -> NDArray[np.int64]:
    return count(**{f"v{value}": 100 for value in values})


def jpeg_mask(quality: int, edge: int = 96) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A disc after JPEG, and the disc."""
    y, x = np.mgrid[:edge, :edge]
    disc = np.hypot(y - edge * 0.45, x - edge * 0.55) < edge * 0.3
    file = io.BytesIO()
    Image.fromarray((disc * 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)), disc


class TestUnderstanding:
    @pytest.mark.parametrize(
        ("values", "encoding"),
        [
            ((0, 1), ZERO_ONE),
            ((0, 255), ZERO_255),
            ((1, 2, 3), TRIMAP),
            ((0,), ZERO_ONE),  # a set of empty masks
            ((1,), ZERO_ONE),
            ((255,), ZERO_255),
        ],
    )
    def test_the_common_encodings_are_understood(self, values: tuple[int, ...], encoding: MaskEncoding) -> None:
        assert understand_masks(histogram_of(*values)) is encoding

    @pytest.mark.parametrize(
        ("encoding", "stored", "levels"),
        [
            (ZERO_ONE, [0, 1, 1], [0, 1, 1]),
            (ZERO_255, [0, 255, 0], [0, 1, 0]),
            (TRIMAP, [1, 2, 3], [1, 0, 2]),
            (NEAR_BINARY, [0, 3, 127, 128, 251, 255], [0, 0, 0, 1, 1, 1]),
        ],
    )
    def test_stored_values_become_levels_ground_0_object_1_band_2(
        self, encoding: MaskEncoding, stored: list[int], levels: list[int]
    ) -> None:
        read = encoding.read_levels(np.array([stored], np.uint8))
        assert read.dtype == np.uint8
        assert read.tolist() == [levels]

    @few
    @given(some_masks)
    def test_one_mask_has_the_same_levels_in_every_two_valued_encoding(self, mask: NDArray[np.bool_]) -> None:
        for ground, thing in ((0, 1), (0, 255), (2, 1)):
            stored = np.where(mask, thing, ground).astype(np.uint8)
            encoding = TRIMAP if ground == 2 else understand_masks(histogram_of(ground, thing))
            np.testing.assert_array_equal(encoding.read_levels(stored), mask)

    @pytest.mark.parametrize("encoding", [ZERO_ONE, ZERO_255, TRIMAP, NEAR_BINARY])
    def test_no_stored_value_means_two_things(self, encoding: MaskEncoding) -> None:
        values = [*encoding.object_values, *encoding.ground_values, *encoding.band_values]
        assert len(values) == len(set(values))
        assert encoding.has_band == (encoding is TRIMAP)

    def test_a_value_unlike_the_rest_of_the_set_is_refused_with_the_mask_named(self) -> None:
        with pytest.raises(UserError, match=r"mask of cat holds the values \[7, 9\]") as error:
            ZERO_255.read_levels(np.array([[0, 9, 255, 7, 9]], np.uint8), name="mask of cat")
        assert ZERO_255.name in str(error.value)


class TestCompression:
    @pytest.mark.parametrize("quality", [30, 75, 95])
    def test_jpeg_masks_are_read_as_the_shape_that_was_saved(self, quality: int) -> None:
        values, disc = jpeg_mask(quality)
        encoding = understand_masks(np.bincount(values.ravel(), minlength=256))
        assert encoding is NEAR_BINARY
        assert (encoding.read_levels(values) == disc).mean() > 0.995

    def test_near_binary_needs_98_percent_of_pixels_near_the_two_ends(self) -> None:
        noise = {f"v{value}": 10 for value in (1, 2, 3, 4, 251, 252, 253, 254)}
        ends = {"v0": 4000, "v255": 4000}
        assert understand_masks(count(**noise, **ends, v128=160)) is NEAR_BINARY
        with pytest.raises(UserError, match="--object-values"):
            understand_masks(count(**noise, **ends, v128=170))

    def test_a_few_odd_values_are_classes_and_not_noise(self) -> None:
        with pytest.raises(UserError, match="--object-values"):
            understand_masks(count(v0=10_000, v128=1, v255=10_000))


class TestEvenGrey:
    """A third class in masks that compression has blurred."""

    @staticmethod
    def save(mask: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
        file = io.BytesIO()
        Image.fromarray(mask).convert("RGB").save(file, "JPEG", quality=quality, subsampling="4:2:0")
        return np.asarray(Image.open(file))[:, :, 0]

    @staticmethod
    def draw(edge: int = 192) -> NDArray[np.uint8]:
        """An object with thin stripes, teeth and dots: edges of every kind."""
        y, x = np.mgrid[:edge, :edge]
        disc = np.hypot(y - 90, x - 80) < 55 + 8 * np.sin(np.arctan2(y - 90, x - 80) * 24)
        stripes = (x > 150) & (y % 7 < 3)
        dots = (y > 150) & (x % 5 == 0) & (y % 5 == 0)
        return np.where(disc | stripes | dots, 255, 0).astype(np.uint8)

    @pytest.mark.parametrize("quality", [30, 50, 75, 95])
    @pytest.mark.parametrize("smaller", [1, 2, 4])
    def test_edges_are_never_even_however_blurred(self, quality: int, smaller: int) -> None:
        mask = Image.fromarray(self.draw())
        small = mask.resize((192 // smaller, 192 // smaller), Image.Resampling.NEAREST)
        blurred = small.resize((192, 192), Image.Resampling.BILINEAR)
        assert find_even_grey(self.save(np.asarray(blurred), quality)) == 0

    @pytest.mark.parametrize("quality", [30, 50, 75, 95])
    @pytest.mark.parametrize("grey", [64, 85, 128, 170, 191])
    @pytest.mark.parametrize("corner", [(90, 80), (0, 80), (176, 100), (30, 20)])
    def test_a_third_class_of_half_a_percent_is_found(self, quality: int, grey: int, corner: tuple[int, int]) -> None:
        mask = self.draw()
        mask[corner[0] : corner[0] + 16, corner[1] : corner[1] + 16] = grey  # 0.7 % of the pixels
        assert find_even_grey(self.save(mask, quality)) == pytest.approx(grey, abs=6)

    @pytest.mark.parametrize("shape", [(0, 0), (1, 1), (6, 300), (300, 6), (7, 7)])
    def test_a_mask_may_be_smaller_than_an_area(self, shape: tuple[int, int]) -> None:
        assert find_even_grey(np.full(shape, 128, np.uint8)) == (128 if shape == (7, 7) else 0)

    def test_only_in_masks_that_compression_blurred_it_is_refused(self) -> None:
        values = self.save(np.where(np.arange(192) < 90, self.draw(), 0).astype(np.uint8), 75)
        histogram = np.bincount(values.ravel(), minlength=256)
        NEAR_BINARY.check_values(histogram, name="mask")
        with pytest.raises(UserError, match=r"mask has areas of an even grey, about 128, .*: save it as PNG with 0 and 255"):
            NEAR_BINARY.check_values(histogram, even_grey=128, name="mask")
        told = understand_masks(histogram_of(0, 128, 255), [128])
        told.check_values(histogram_of(0, 128, 255), even_grey=128, name="mask")


class TestRefusal:
    @pytest.mark.parametrize(
        ("values", "advice"),
        [
            ((0, 2), "for example --object-values 2"),
            ((1, 2), "trimaps without a band or two classes: say --object-values 1 or --object-values 2"),
            ((0, 1, 2), "for example --object-values 2 or, for several, --object-values 1 2"),
            ((0, 1, 2, 3), "; if each number is one object of several, say --object-values nonzero"),
            ((0, 3, 4, 9), "; if each number is one object of several, say --object-values nonzero"),
            ((0, 128, 255), "for example --object-values 255 or, for several, --object-values 128 255"),
            ((0, 1, 2, 255), "--object-values 1 2; 255, often 'void', counts as ground unless it is named"),
            ((0, 15, 255), "for example --object-values 15; 255, often 'void', counts as ground unless it is named"),
            ((0, 1, 255), "--object-values 1 255 where both are object or --object-values 1 where 255 is ground"),
        ],
    )
    def test_the_advice_names_values_of_the_set(self, values: tuple[int, ...], advice: str) -> None:
        with pytest.raises(UserError) as error:
            understand_masks(histogram_of(*values))
        assert advice in str(error.value)

    @pytest.mark.parametrize(
        "values", [(0, 1, 2), (0, 1, 255), (0, 128, 255), (1, 2), (0, 2), (2, 3), (0, 1, 2, 3), (1, 2, 3, 4)]
    )
    def test_values_that_fit_no_encoding_stop_with_the_values_and_the_flag(self, values: tuple[int, ...]) -> None:
        with pytest.raises(UserError, match="--object-values") as error:
            understand_masks(histogram_of(*values))
        assert f"{{{', '.join(map(str, values))}}}" in str(error.value)

    def test_many_values_are_shortened_and_counted(self) -> None:
        with pytest.raises(UserError, match=r"\{0, 10, 20, 30, 40, 50, … 12 in all\}"):
            understand_masks(histogram_of(*range(0, 120, 10)))

    def test_class_numbers_are_not_taken_for_compression_noise(self) -> None:
        with pytest.raises(UserError, match="--object-values"):
            understand_masks(histogram_of(*range(21)))

    def test_class_numbers_beside_a_void_value_of_255_are_not_taken_for_compression_noise(self) -> None:
        classes = {f"v{value}": 1000 for value in range(1, 21)}
        with pytest.raises(UserError, match="--object-values"):
            understand_masks(count(v0=70_000, **classes, v255=5000))

    def test_numbered_instances_are_not_taken_for_compression_noise(self) -> None:
        cells = {f"v{value}": 300 for value in range(1, 41)}
        with pytest.raises(UserError, match="--object-values"):
            understand_masks(count(v0=50_000, **cells))

    def test_the_advice_never_names_noise_next_to_0_as_the_object(self) -> None:
        # What the mildest compression leaves: fewer than nine values, all within one or two of 0 and 255.
        noisy = count(v0=9000, v1=40, v2=5, v253=5, v254=40, v255=5000)
        try:
            encoding = understand_masks(noisy)
        except UserError as error:
            assert not str(error).endswith("--object-values 1")
        else:
            assert encoding is NEAR_BINARY

    def test_the_advice_names_a_value_also_when_the_set_holds_only_one(self) -> None:
        with pytest.raises(UserError, match=r"--object-values 7$"):
            understand_masks(histogram_of(7))


class TestToldByTheUser:
    def test_named_values_are_object_and_all_others_ground(self) -> None:
        encoding = understand_masks(histogram_of(0, 1, 2, 5), (5, 1))
        assert encoding.object_values == (1, 5)
        assert encoding.read_levels(np.array([[0, 1, 2, 5, 77]], np.uint8)).tolist() == [[0, 1, 0, 1, 0]]
        assert not encoding.has_band

    def test_dark_objects_on_white_can_be_told(self) -> None:
        encoding = understand_masks(histogram_of(0, 255), [0])
        assert encoding.read_levels(np.array([[0, 255]], np.uint8)).tolist() == [[1, 0]]

    def test_a_value_that_no_mask_holds_is_refused(self) -> None:
        with pytest.raises(UserError, match=r"--object-values 4: no mask holds it, the set holds \{0, 1, 2\}"):
            understand_masks(histogram_of(0, 1, 2), [1, 4])

    def test_what_was_told_is_part_of_what_is_printed(self) -> None:
        assert understand_masks(histogram_of(0, 1, 2), [2, 1]).name == "as told: object = 1, 2"

    def test_all_but_0_can_be_told_where_values_number_objects(self) -> None:
        assert understand_masks(histogram_of(*range(41)), ["nonzero"]) is NONZERO
        assert understand_masks(histogram_of(0, 255), ["nonzero"], large="mask of a") is NONZERO
        assert NONZERO.read_levels(np.array([[0, 1, 41, 255]], np.uint8)).tolist() == [[0, 1, 1, 1]]
        assert understand_masks(histogram_of(0, 1), ["nonzero"]) is ZERO_ONE, "that is what they mean by themselves"

    def test_noise_of_compression_is_not_told_to_be_object(self) -> None:
        values, _ = jpeg_mask(75)
        with pytest.raises(UserError, match="values next to 0 are noise: leave it out"):
            understand_masks(np.bincount(values.ravel(), minlength=256), ["nonzero"])

    def test_what_becomes_ground_untold_is_named(self) -> None:
        assert understand_masks(histogram_of(0, 1, 2, 3, 4), [1, 2]).name == "as told: object = 1, 2; ground = {0, 3, 4}"
        assert understand_masks(histogram_of(*range(9)), [1]).name == (
            "as told: object = 1; ground = {0, 2, 3, 4, 5, 6, … 8 in all}"
        )


class TestBorder:
    @pytest.mark.parametrize(
        ("border", "target"),
        [("foreground", [0, 1, 1, 255]), ("background", [0, 1, 0, 255]), ("ignore", [0, 1, 255, 255])],
    )
    def test_the_rule_decides_the_band_and_nothing_else(self, border: str, target: list[int]) -> None:
        assert apply_border(np.array([[0, 1, 2, 255]], np.uint8), border).tolist() == [target]

    @few
    @given(arrays(np.uint8, st.tuples(st.integers(0, 6), st.integers(1, 6)), elements=st.sampled_from([0, 1, 2, 255])))
    def test_a_target_holds_only_0_1_and_255_at_the_same_places(self, levels: NDArray[np.uint8]) -> None:
        targets = [apply_border(levels, border) for border in ("foreground", "background", "ignore")]
        for target in targets:
            assert target.shape == levels.shape
            assert target.dtype == np.uint8
            assert set(np.unique(target)) <= {0, 1, 255}
            np.testing.assert_array_equal(target[levels != 2], levels[levels != 2])

    def test_a_level_that_does_not_exist_is_not_judged(self) -> None:
        assert (border_lookup("foreground")[3:] == 255).all()

    @pytest.mark.parametrize("border", ["background", "ignore"])
    def test_a_rule_without_a_band_is_refused(self, border: str) -> None:
        with pytest.raises(UserError, match=f"--border {border} needs masks with an ambiguity band"):
            check_border(border, ZERO_255)

    @pytest.mark.parametrize("border", ["foreground", "background", "ignore"])
    def test_every_rule_is_allowed_with_a_band(self, border: str) -> None:
        assert check_border(border, TRIMAP) is None, "not refused"

    def test_the_default_rule_is_allowed_without_a_band(self) -> None:
        assert check_border("foreground", ZERO_ONE) is None, "not refused"
