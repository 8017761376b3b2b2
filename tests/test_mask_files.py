"""One mask in every encoding and container gives one target; sets of mixed files are understood as a whole or refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fgbg.config import TrainConfig
from fgbg.data.mask_files import BLACK_AND_WHITE, GREY, INDEX
from fgbg.data.masks import NEAR_BINARY, ZERO_255, apply_border
from fgbg.data.samples import Sample, SampleSet, understand_samples
from fgbg.errors import UserError
from fgbg.words import ObjectValue

HEIGHT, WIDTH = 40, 56
Mask = NDArray[np.bool_]
BLACK, WHITE, RED, GREEN = (0, 0, 0), (255, 255, 255), (200, 0, 0), (0, 200, 0)


def disc(row: int, column: int, radius: int) -> Mask:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.hypot(y - row, x - column) < radius


DISC = disc(17, 25, 13)
EMPTY, FULL = np.zeros_like(DISC), np.ones_like(DISC)


def grey(mask: Mask, ground: int, thing: int, dtype: type = np.uint8) -> Image.Image:
    return Image.fromarray(np.where(mask, thing, ground).astype(dtype))


def palette(mask: Mask, *colours: tuple[int, int, int], ground: int = 0, thing: int = 1) -> Image.Image:
    indices = np.where(mask, thing, ground).astype(np.uint8)
    image = Image.frombytes("P", (WIDTH, HEIGHT), indices.tobytes())
    image.putpalette([channel for colour in colours for channel in colour])
    return image


def web_palette(mask: Mask) -> Image.Image:
    """Black and white among the 216 colours that Pillow takes by default: 0 and 225."""
    return rgb(mask, BLACK, WHITE).convert("P")


def rgb(mask: Mask, ground: tuple[int, ...], thing: tuple[int, ...]) -> Image.Image:
    return Image.fromarray(np.where(mask[:, :, None], thing, ground).astype(np.uint8))


def trimap(mask: Mask) -> NDArray[np.uint8]:
    """The mask with every second row of the object as its band."""
    band = mask & (np.arange(HEIGHT) % 2 == 0)[:, None]
    return np.where(band, 3, np.where(mask, 1, 2)).astype(np.uint8)


def cutout(mask: Mask) -> Image.Image:
    photo = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    return Image.fromarray(np.dstack([photo, np.where(mask, 255, 0).astype(np.uint8)]))


ENCODINGS: dict[str, Callable[[Mask], Image.Image]] = {
    "0/1": lambda mask: grey(mask, 0, 1),
    "0/255": lambda mask: grey(mask, 0, 255),
    "1-bit": Image.fromarray,
    "classes by palette": lambda mask: palette(mask, BLACK, RED, GREEN),
    "black and white palette": lambda mask: palette(mask, BLACK, WHITE),
    "white and black palette": lambda mask: palette(~mask, WHITE, BLACK),
    "red and black palette": lambda mask: palette(~mask, RED, BLACK),
    "black and white of many colours": web_palette,
    "RGB black and white": lambda mask: rgb(mask, BLACK, WHITE),
    "RGB 0/1": lambda mask: rgb(mask, BLACK, (1, 1, 1)),
    "RGB black and red": lambda mask: rgb(mask, BLACK, RED),
    "trimap": lambda mask: Image.fromarray(trimap(mask)),
    "RGB trimap": lambda mask: Image.fromarray(np.repeat(trimap(mask)[:, :, None], 3, 2)),
    "opaque RGBA": lambda mask: rgb(mask, (0, 0, 0, 255), (255, 255, 255, 255)),
    "cutout": cutout,
    "black and transparent": lambda mask: rgb(mask, (0, 0, 0, 0), (0, 0, 0, 255)),
    "grey with alpha": lambda mask: rgb(mask, (90, 0), (90, 255)),
    "16-bit 0/65535": lambda mask: grey(mask, 0, 65535, np.uint16),
    "16-bit 0/255": lambda mask: grey(mask, 0, 255, np.uint16),
    "16-bit 0/1": lambda mask: grey(mask, 0, 1, np.uint16),
    "32-bit 0/1": lambda mask: grey(mask, 0, 1, np.int32),
    "floating-point 0/1": lambda mask: grey(mask, 0, 1, np.float32),
}
GREYS = ("0/1", "0/255", "1-bit", "trimap")
PALETTES = tuple(name for name in ENCODINGS if "palette" in name or "many colours" in name)
COLOURS = tuple(name for name in ENCODINGS if name.startswith("RGB"))
CUTOUTS = ("cutout", "black and transparent", "grey with alpha")
DEEP = tuple(name for name in ENCODINGS if name.startswith("16-bit"))
SHALLOW = GREYS + PALETTES + COLOURS

CONTAINERS: dict[str, tuple[dict[str, object], Sequence[str]]] = {  # ending -> how to save, and what it can hold
    "png": ({}, (*SHALLOW, "opaque RGBA", *CUTOUTS, *DEEP)),
    "tif": ({}, tuple(ENCODINGS)),
    "TIFF": ({"compression": "tiff_lzw"}, tuple(ENCODINGS)),
    "bmp": ({}, tuple(name for name in SHALLOW if name != "black and white palette")),  # see TestRefusedFiles
    "gif": ({}, (*SHALLOW, "opaque RGBA", "cutout", "black and transparent")),
    "webp": ({"lossless": True, "exact": True}, (*SHALLOW, "opaque RGBA", *CUTOUTS)),
}
HELD = [(ending, name) for ending, (_, names) in CONTAINERS.items() for name in names]
LOSSY = [("jpg", "0/255"), ("jpg", "RGB black and white"), ("webp", "0/255"), ("jpg", "1-bit")]


def understand(
    folder: Path, *images: Image.Image, ending: str = "png", told: Sequence[ObjectValue] = (), **options: object
) -> SampleSet:
    """A sample for every mask, saved as `mask_0.png` and so on."""
    samples = []
    for index, image in enumerate(images):
        path = folder / f"mask_{index}.{ending}"
        image.save(path, **options)
        samples.append(Sample(f"mask_{index}", np.zeros((HEIGHT, WIDTH, 3), np.uint8), path))
    return understand_samples("set", samples, object_values=told)


def targets(samples: SampleSet) -> list[NDArray[np.uint8]]:
    return [apply_border(samples.read_levels(index), "foreground") for index in range(len(samples.samples))]


class TestOneMaskInEveryFile:
    @pytest.mark.parametrize(("ending", "name"), HELD)
    def test_the_targets_are_equal_to_the_bit(self, ending: str, name: str, tmp_path: Path) -> None:
        masks = [DISC, EMPTY, disc(30, 9, 6)]
        if name not in CUTOUTS:  # one that is opaque all over is no cut-out
            masks.append(FULL)
        samples = understand(tmp_path, *map(ENCODINGS[name], masks), ending=ending, **CONTAINERS[ending][0])
        for target, mask in zip(targets(samples), masks, strict=True):
            assert target.dtype == np.uint8
            np.testing.assert_array_equal(target, mask)

    @pytest.mark.parametrize(("ending", "name"), LOSSY)
    def test_compression_that_blurs_changes_no_pixel_of_a_plain_shape(self, ending: str, name: str, tmp_path: Path) -> None:
        masks = [DISC, EMPTY, disc(30, 9, 6), FULL]
        for target, mask in zip(
            targets(understand(tmp_path, *map(ENCODINGS[name], masks), ending=ending, quality=80)), masks, strict=True
        ):
            np.testing.assert_array_equal(target, mask)

    def test_fax_compression_knows_which_is_white(self, tmp_path: Path) -> None:
        samples = understand(tmp_path, Image.fromarray(DISC), ending="tif", compression="group4")
        np.testing.assert_array_equal(targets(samples)[0], DISC)

    def test_a_third_class_is_no_noise_of_compression_even_where_it_is_rare(self, tmp_path: Path) -> None:
        third = np.where(DISC, 255, 0).astype(np.uint8)
        third[4:18, 4:18] = 128
        masks = [grey(disc(30, 20, 8 + index), 0, 255) for index in range(9)]
        assert understand(tmp_path, *masks, ending="jpg", quality=75).encoding is NEAR_BINARY
        with pytest.raises(UserError, match=r"mask of mask_9 has areas of an even grey, about 12\d, between its 0 and 255"):
            understand(tmp_path, *masks, Image.fromarray(third), ending="jpg", quality=75)


class TestPalettes:
    def test_classes_are_told_by_their_indices(self, tmp_path: Path) -> None:
        cats, dogs = palette(DISC, BLACK, RED, GREEN, thing=1), palette(DISC, BLACK, RED, GREEN, thing=2)
        with pytest.raises(UserError, match=r"\{0, 1, 2\}.*--object-values 2 or, for several, --object-values 1 2"):
            understand(tmp_path, cats, dogs)
        told = targets(understand(tmp_path, cats, dogs, told=[2]))
        np.testing.assert_array_equal(told, [EMPTY, DISC])

    def test_a_palette_that_shows_all_in_one_colour_has_indices_alone(self, tmp_path: Path) -> None:
        samples = understand(tmp_path, palette(DISC, BLACK, BLACK), ending="tif")
        np.testing.assert_array_equal(targets(samples)[0], DISC)

    def test_classes_with_transparent_ground_are_refused_and_one_class_is_a_cutout(self, tmp_path: Path) -> None:
        one = palette(DISC, BLACK, RED, GREEN)
        np.testing.assert_array_equal(targets(understand(tmp_path, one, transparency=0))[0], DISC)
        two = palette(DISC, BLACK, RED, GREEN)
        two.putpixel((0, 0), 2)
        with pytest.raises(UserError, match=r"mask_0\.png has both a palette of classes and transparent parts: save it"):
            understand(tmp_path, two, transparency=0)

    def test_white_among_classes_is_not_confused_with_white_as_object(self, tmp_path: Path) -> None:
        with_white, with_red = (palette(DISC, BLACK, WHITE, RED, thing=thing) for thing in (1, 2))
        with pytest.raises(UserError, match=r"as black and white of a palette \(mask of mask_0\) and as palette indices"):
            understand(tmp_path, with_white, with_red)


class TestNumberedObjects:
    """Masks as Cellpose and StarDist write them: 0 ground, 1 to N objects."""

    NUMBERS = np.where(DISC, 7, 0) + np.where(disc(34, 50, 4), 70_000, 0)

    @pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
    def test_all_but_0_is_object_also_beyond_8_bits(self, dtype: type, tmp_path: Path) -> None:
        numbers = (self.NUMBERS % 65_535).astype(dtype)
        images = Image.fromarray(numbers), grey(DISC, 0, 3)
        with pytest.raises(UserError, match="mask of mask_0 holds values over 255: say --object-values nonzero if every"):
            understand(tmp_path, *images, ending="tif")
        with pytest.raises(UserError, match="mask of mask_0 holds values over 255"):
            understand(tmp_path, *images, ending="tif", told=[3])
        samples = understand(tmp_path, *images, ending="tif", told=["nonzero"])
        np.testing.assert_array_equal(targets(samples), [self.NUMBERS > 0, DISC])
        assert "masks with as told: object = all but 0, stored as values over 255" in samples.describe_masks()

    @pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.int32, np.int64])
    def test_masks_in_memory_may_be_of_any_whole_numbers(self, dtype: type) -> None:
        photo, numbers = np.zeros((HEIGHT, WIDTH, 3), np.uint8), self.NUMBERS.astype(dtype)
        samples = understand_samples("set", [Sample("a", photo, numbers)], object_values=["nonzero"])
        np.testing.assert_array_equal(targets(samples)[0], numbers > 0)
        with pytest.raises(UserError, match="mask of a holds -1, which is no whole number"):
            understand_samples("set", [Sample("a", photo, numbers.astype(np.int64) * -1 - 1)])

    def test_beside_a_colour_it_stops(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="may store the object in two ways"):
            understand(tmp_path, Image.fromarray(self.NUMBERS.astype(np.int32)), rgb(DISC, BLACK, RED), ending="tif")


class TestMixedSets:
    def test_1_bit_beside_0_255_is_one_encoding(self, tmp_path: Path) -> None:
        samples = understand(tmp_path, Image.fromarray(DISC), grey(~DISC, 0, 255), grey(FULL, 0, 65535, np.uint16))
        assert samples.encoding is ZERO_255
        np.testing.assert_array_equal(targets(samples), [DISC, ~DISC, FULL])

    @pytest.mark.parametrize("white", [Image.fromarray(DISC), grey(DISC, 0, 255)], ids=["1-bit", "0/255"])
    def test_beside_0_1_it_stops_and_the_printed_flag_makes_it_right(self, white: Image.Image, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"the masks hold the values \{0, 1, 255\}, files of 0/1 mixed with") as error:
            understand(tmp_path, white, grey(DISC, 0, 1))
        flags = re.findall(r"--object-values ((?:\d+ ?)+)", str(error.value))
        told = [tuple(map(int, flag.split())) for flag in flags]
        assert told == [(1, 255), (1,)]
        assert TrainConfig(object_values=told[0]).object_values == (1, 255)
        np.testing.assert_array_equal(targets(understand(tmp_path, white, grey(DISC, 0, 1), told=told[0])), [DISC, DISC])
        np.testing.assert_array_equal(targets(understand(tmp_path, white, grey(DISC, 0, 1), told=told[1])), [EMPTY, DISC])

    def test_an_empty_1_bit_mask_beside_0_1_is_empty(self, tmp_path: Path) -> None:
        np.testing.assert_array_equal(targets(understand(tmp_path, Image.fromarray(EMPTY), grey(DISC, 0, 1))), [EMPTY, DISC])

    def test_void_is_explained_and_can_be_left_out_of_judgement(self, tmp_path: Path) -> None:
        values = np.where(DISC, 1, 0).astype(np.uint8)
        values[0] = 255
        with pytest.raises(UserError, match=r"255 for 'void'.*save trimaps .* and say --border ignore"):
            understand(tmp_path, Image.fromarray(values))
        as_trimap = Image.fromarray(np.array([2, 1, 3], np.uint8)[np.where(values == 255, 2, values)])
        levels = understand(tmp_path, as_trimap).read_levels(0)
        np.testing.assert_array_equal(apply_border(levels, "ignore"), values)

    def test_0_1_beside_jpegs_is_not_lost_in_their_noise(self, tmp_path: Path) -> None:
        grey(DISC, 0, 255).save(tmp_path / "a.jpg")
        grey(disc(20, 20, 5), 0, 1).save(tmp_path / "b.png")
        photo = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        samples = [Sample("a", photo, tmp_path / "a.jpg"), Sample("b", photo, tmp_path / "b.png")]
        with pytest.raises(UserError, match=r"mask of b holds \{0, 1\} and nothing of 128 and more.*save it with 0 and 255"):
            understand_samples("set", samples)

    @pytest.mark.parametrize("other", [GREEN, WHITE])
    def test_two_colours_are_two_things_even_in_two_files(self, other: tuple[int, int, int], tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"in two ways, as RGB \(200, 0, 0\) \(mask of mask_0\) and as .*save all as"):
            understand(tmp_path, rgb(DISC, BLACK, RED), rgb(DISC, BLACK, other))

    @pytest.mark.parametrize(
        "second", [rgb(EMPTY, (0, 0, 0, 255), (*WHITE, 255)), grey(DISC, 0, 255)], ids=["black", "grey"]
    )
    def test_a_mask_without_alpha_among_cutouts_may_be_opaque_all_over(self, second: Image.Image, tmp_path: Path) -> None:
        with pytest.raises(
            UserError, match=r"as an alpha channel \(mask of mask_0\) and as .* \(mask of mask_1\): save all"
        ):
            understand(tmp_path, rgb(DISC, (0, 0, 0, 0), (0, 0, 0, 255)), second)

    def test_indices_beside_grey_of_the_same_values_are_one_encoding(self, tmp_path: Path) -> None:
        samples = understand(tmp_path, palette(DISC, BLACK, RED, GREEN), grey(~DISC, 0, 1))
        np.testing.assert_array_equal(targets(samples), [DISC, ~DISC])


class TestRefusedFiles:
    @pytest.mark.parametrize(
        ("image", "sentence"),
        [
            (rgb(DISC, WHITE, RED), "holds colours that are more than black and one other: save it as 8-bit grey"),
            (rgb(DISC, GREEN, RED), "holds colours that are more than black and one other"),
            (grey(DISC, 0, -1, np.int32), "holds -1, which is no whole number from 0 on: save it as 8-bit grey"),
            (grey(DISC, 0, 0.5, np.float32), "holds 0.5, which is no whole number"),
            (grey(DISC, 0, np.nan, np.float32), "holds nan, which is no whole number"),
            (grey(DISC, 0, np.inf, np.float32), "holds inf, which is no whole number"),
            (rgb(DISC, BLACK, WHITE).convert("CMYK"), "has pixel mode CMYK: save it as 8-bit grey"),
        ],
    )
    def test_a_mask_that_could_mean_several_things_is_refused_with_the_cure(
        self, image: Image.Image, sentence: str, tmp_path: Path
    ) -> None:
        with pytest.raises(UserError, match=rf"mask .*mask_0\.tif {re.escape(sentence)}"):
            understand(tmp_path, image, ending="tif")

    def test_a_bmp_that_would_be_misread_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"mask_0\.bmp is a BMP with a palette of two colours, .*: save it as PNG"):
            understand(tmp_path, palette(DISC, BLACK, WHITE), ending="bmp")

    def test_two_classes_beside_black_are_refused(self, tmp_path: Path) -> None:
        both = rgb(DISC, BLACK, RED)
        both.putpixel((0, 0), GREEN)
        with pytest.raises(UserError, match="holds colours that are more than black and one other"):
            understand(tmp_path, both)


class TestTheSentence:
    def test_it_says_values_share_and_empty_masks(self, tmp_path: Path) -> None:
        half = np.zeros_like(DISC)
        half[:, : WIDTH // 2] = True
        samples = understand(tmp_path, Image.fromarray(half), grey(EMPTY, 0, 255))
        assert samples.describe_masks() == "masks with values {0, 255}: object = 255, 25% of pixels, 1 mask empty"
        samples = understand(tmp_path, grey(half, 0, 1), grey(EMPTY, 0, 1), grey(EMPTY, 0, 1))
        assert samples.describe_masks() == "masks with values {0, 1}: object = 1, 17% of pixels, 2 masks empty"

    @pytest.mark.parametrize(
        ("image", "place"),
        [
            (rgb(DISC, BLACK, RED), "RGB (200, 0, 0)"),
            (cutout(DISC), "an alpha channel"),
            (palette(DISC, BLACK, RED, GREEN), INDEX),
            (web_palette(DISC), BLACK_AND_WHITE),
        ],
    )
    def test_it_says_what_the_values_are_where_they_are_not_grey(
        self, image: Image.Image, place: str, tmp_path: Path
    ) -> None:
        assert f", stored as {place}, " in understand(tmp_path, image).describe_masks()
        assert "stored as" not in understand(tmp_path, grey(DISC, 0, 1)).describe_masks()

    def test_a_mask_in_memory_is_grey(self) -> None:
        photo = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        samples = understand_samples("set", [Sample("a", photo, DISC)])
        assert samples.inspections[0].place == GREY
