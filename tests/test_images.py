"""Files to arrays: formats, orientation, very large photos, and files that cannot be read."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from fgbg.data.images import list_images, read_photo, read_photo_size, require_whole_photo
from fgbg.data.mask_files import INDEX, read_mask
from fgbg.errors import UserError

ORIENTATION = 0x0112
# What a viewer does for each EXIF orientation, on an array of rows (Exif 2.32, tag 0x0112).
UPRIGHT = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2),
    8: np.rot90,
}


def read_mask_values(path: Path) -> NDArray[np.uint8]:
    return read_mask(path).values


def noise(height: int, width: int, *channels: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, *channels), np.uint8)


def save(image: Image.Image | NDArray, path: Path, **options: object) -> Path:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(path, **options)
    return path


def write_png(path: Path, rows: NDArray, colour_type: int, palette: bytes = b"") -> Path:
    """A PNG of 8 or 16 bits a channel by the book, in kinds that Pillow does not write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = rows.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 8 * rows.itemsize, colour_type, 0, 0, 0)
    lines = b"".join(b"\0" + row.astype(row.dtype.newbyteorder(">")).tobytes() for row in rows)
    chunks = chunk(b"IHDR", header) + (chunk(b"PLTE", palette) if palette else b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b""))
    return path


def retag(path: Path, tag: int, old: int, new: int) -> None:
    """Change one value in a TIFF's directory."""
    before, after = (struct.pack("<HHII", tag, 3, 1, value) for value in (old, new))
    content = path.read_bytes()
    assert content.count(before) == 1
    path.write_bytes(content.replace(before, after))


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


class TestListing:
    def test_images_are_listed_by_name_and_everything_else_is_passed_over(self, tmp_path: Path) -> None:
        for name in ("b.PNG", "a.jpg", "c.TIFF", ".hidden.png", "._a.jpg", "notes.txt", "Thumbs.db", "d.heic"):
            (tmp_path / name).touch()
        (tmp_path / "folder.png").mkdir()
        assert [path.name for path in list_images(tmp_path)] == ["a.jpg", "b.PNG", "c.TIFF"]


class TestPhotos:
    def test_rgb_is_read_as_it_was_saved(self, tmp_path: Path) -> None:
        pixels = noise(7, 11, 3)
        for suffix in (".png", ".bmp", ".tif"):
            np.testing.assert_array_equal(read_photo(save(pixels, tmp_path / f"a{suffix}")), pixels)

    @pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "LA", "RGBA", "PA", "LAB"])
    def test_every_pixel_mode_becomes_rgb(self, mode: str, tmp_path: Path) -> None:
        photo = Image.new("RGB", (11, 7), (204, 204, 204))  # a colour of the web palette
        read = read_photo(save(photo.convert(mode) if mode != "LAB" else Image.new("LAB", (11, 7)), tmp_path / "a.tif"))
        assert read.shape == (7, 11, 3)
        assert read.dtype == np.uint8
        if mode not in ("1", "LAB"):
            np.testing.assert_allclose(read.astype(int), 204, atol=3)

    def test_grey_becomes_three_equal_channels(self, tmp_path: Path) -> None:
        grey = noise(5, 6)
        np.testing.assert_array_equal(read_photo(save(grey, tmp_path / "a.png")), np.repeat(grey[:, :, None], 3, 2))

    def test_transparent_parts_are_black_whatever_colour_hides_there(self, tmp_path: Path) -> None:
        pixels = np.full((4, 4, 4), 200, np.uint8)
        pixels[:, :, 3] = [[255, 255, 0, 0]] * 4
        read = read_photo(save(pixels, tmp_path / "a.png"))
        assert (read[:, :2] == 200).all()
        assert (read[:, 2:] == 0).all()

    def test_16_bits_keep_their_upper_8_and_are_not_clipped_to_white(self, tmp_path: Path) -> None:
        deep = np.array([[0, 255, 256, 0x8000, 0xFFFF]], np.uint16)
        for suffix in (".png", ".tif"):
            assert read_photo(save(deep, tmp_path / f"a{suffix}"))[0, :, 0].tolist() == [0, 0, 1, 128, 255]

    def test_16_bits_a_channel_keep_their_upper_8_and_are_no_mask(self, tmp_path: Path) -> None:
        deep = np.random.default_rng(0).integers(0, 65536, (5, 7, 3), np.uint16)
        path = write_png(tmp_path / "a.png", deep, colour_type=2)
        np.testing.assert_array_equal(read_photo(path), deep >> 8)
        path = write_png(path, np.uint16([[[0, 0, 0], [1, 1, 1]]]), colour_type=2)  # whose upper 8 bits are all 0
        with pytest.raises(UserError, match="several channels of 16 bits: save it as 8-bit grey"):
            read_mask_values(path)

    def test_16_bits_with_a_transparent_value_are_not_clipped_to_white(self, tmp_path: Path) -> None:
        deep = np.array([[0x0100, 0x8000]], np.uint16)
        path = save(deep, tmp_path / "a.png", transparency=7)
        with Image.open(path) as image:
            assert image.info["transparency"] == 7
        assert read_photo(path)[0, :, 0].tolist() == [1, 128]

    @pytest.mark.parametrize(
        ("value", "kind"), [(np.float32(0.9), "floating-point values"), (np.int32(200), "32-bit or signed values")]
    )
    def test_a_photo_without_an_agreed_white_is_refused(self, value: np.generic, kind: str, tmp_path: Path) -> None:
        path = save(np.full((4, 4), value), tmp_path / "a.tif")
        with pytest.raises(UserError, match=rf"a\.tif holds {kind}, .*: save it with 8 or 16 bits"):
            read_photo(path)

    @pytest.mark.parametrize(
        ("tag", "old", "new", "kind"),
        [(262, 1, 0, "16 bits of which 0 is white"), (258, 16, 12, "12 bits")],
    )
    def test_a_deep_tiff_that_would_be_misread_is_refused(
        self, tag: int, old: int, new: int, kind: str, tmp_path: Path
    ) -> None:
        path = save(noise(6, 8).astype(np.uint16) * 257, tmp_path / "a.tif")
        retag(path, tag, old, new)
        for read in (read_photo, read_mask_values, read_photo_size):
            with pytest.raises(UserError, match=rf"a\.tif is a TIFF with {kind}, which would be misread: save it as PNG"):
                read(path)

    def test_a_tiff_with_16_bits_in_separate_planes_is_refused(self, tmp_path: Path) -> None:
        path = save(noise(6, 8, 3), tmp_path / "a.tif")
        retag(path, 284, 1, 2)
        path.write_bytes(path.read_bytes().replace(struct.pack("<HHH", 8, 8, 8), struct.pack("<HHH", 16, 16, 16)))
        with pytest.raises(UserError, match="16 bits in separate planes"):
            read_photo(path)

    def test_a_tiff_of_signed_bytes_is_refused(self, tmp_path: Path) -> None:
        path = save(noise(6, 8), tmp_path / "a.tif", tiffinfo={339: 2})
        with pytest.raises(UserError, match="signed 8-bit values"):
            read_photo(path)

    def test_print_colours_are_the_colours_that_were_saved(self, tmp_path: Path) -> None:
        colours = np.kron(np.uint8([[[200, 40, 40], [40, 200, 40]], [[40, 40, 200], [230, 230, 230]]]), np.ones((16, 16, 1)))
        cmyk = Image.fromarray(colours.astype(np.uint8)).convert("CMYK")
        for name in ("a.jpg", "a.tif"):
            np.testing.assert_allclose(read_photo(save(cmyk, tmp_path / name)).astype(float), colours, atol=8)

    @pytest.mark.parametrize("transparency", [1, b"\xff\x00\xff"], ids=["one colour", "a table"])
    @pytest.mark.parametrize("suffix", [".png", ".gif"])
    def test_a_palette_may_have_a_transparent_colour(self, suffix: str, transparency: int | bytes, tmp_path: Path) -> None:
        image = Image.frombytes("P", (3, 1), bytes([0, 1, 2]))
        image.putpalette([10, 20, 30, 200, 200, 200, 70, 80, 90])
        if suffix == ".gif" and isinstance(transparency, bytes):
            pytest.skip("a GIF has one transparent colour")
        path = save(image, tmp_path / f"a{suffix}", transparency=transparency)
        assert read_photo(path).tolist() == [[[10, 20, 30], [0, 0, 0], [70, 80, 90]]]

    @pytest.mark.parametrize("form", ["GIF", "TIFF", "PNG", "WEBP"])
    def test_of_several_frames_the_first_is_read(self, form: str, tmp_path: Path) -> None:
        first, second = (np.full((6, 9), value, np.uint8) for value in (40, 200))
        path = save(first, tmp_path / "a.gif", format=form, save_all=True, append_images=[Image.fromarray(second)])
        assert abs(int(read_photo(path).max()) - 40) <= 1
        assert abs(int(read_mask_values(path).max()) - 40) <= 1

    @pytest.mark.parametrize("form", ["PNG", "GIF", "WEBP", "TIFF", "BMP"])
    def test_the_content_counts_and_not_the_ending(self, form: str, tmp_path: Path) -> None:
        pixels = np.zeros((6, 9, 3), np.uint8)
        pixels[:3] = 255
        path = save(pixels, tmp_path / "a.jpg", format=form, **({"lossless": True} if form == "WEBP" else {}))
        np.testing.assert_array_equal(read_photo(path), pixels)
        np.testing.assert_array_equal(read_mask_values(path), pixels[:, :, 0])
        require_whole_photo(path)

    def test_metadata_that_cannot_be_read_are_passed_over(self, tmp_path: Path) -> None:
        path = save(noise(6, 9), tmp_path / "a.png", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01")
        np.testing.assert_array_equal(read_photo(path)[:, :, 0], noise(6, 9))
        assert read_photo_size(path) == (6, 9)


class TestOrientation:
    @pytest.mark.parametrize("orientation", UPRIGHT)
    def test_photo_and_mask_stand_upright_alike(self, orientation: int, tmp_path: Path) -> None:
        grey = noise(6, 9)
        path = save(grey, tmp_path / "a.png", exif=turned(orientation))
        np.testing.assert_array_equal(read_photo(path)[:, :, 0], UPRIGHT[orientation](grey))
        np.testing.assert_array_equal(read_mask_values(path), UPRIGHT[orientation](grey))

    @pytest.mark.parametrize("orientation", UPRIGHT)
    @pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
    def test_the_size_in_the_header_is_the_size_of_the_upright_photo(
        self, orientation: int, suffix: str, tmp_path: Path
    ) -> None:
        path = save(noise(6, 9, 3), tmp_path / f"a{suffix}", exif=turned(orientation))
        assert read_photo_size(path) == read_photo(path).shape[:2] == UPRIGHT[orientation](noise(6, 9)).shape

    @pytest.mark.parametrize("orientation", UPRIGHT)
    def test_the_size_of_a_tiff_is_the_size_of_the_upright_photo(self, orientation: int, tmp_path: Path) -> None:
        path = save(noise(6, 9, 3), tmp_path / "a.tif", exif=turned(orientation))
        upright = UPRIGHT[orientation](noise(6, 9, 3)[:, :, 0])
        np.testing.assert_array_equal(read_photo(path)[:, :, 0], upright)
        assert read_photo_size(path) == upright.shape

    @pytest.mark.parametrize("orientation", UPRIGHT)
    def test_a_tiff_without_compression_is_not_scrambled(self, orientation: int, tmp_path: Path) -> None:
        """Pillow maps such files into memory."""
        grey = noise(6, 9)
        opaque = np.full_like(grey, 255)
        upright = UPRIGHT[orientation](grey)
        for name, stored in {
            "grey": grey,
            "deep": grey.astype(np.uint16) * 257,
            "alpha": np.dstack([grey, grey, grey, opaque]),
        }.items():
            path = save(stored, tmp_path / f"{name}.tif", exif=turned(orientation))
            np.testing.assert_array_equal(read_photo(path)[:, :, 0], upright, err_msg=name)
        np.testing.assert_array_equal(read_mask_values(tmp_path / "grey.tif"), upright)

    @pytest.mark.parametrize("late", [b"eXIf", b"zTXt"])
    def test_an_orientation_behind_the_pixels_of_a_png_counts(self, late: bytes, tmp_path: Path) -> None:
        """Some programs append it."""
        exif, content = turned(6).tobytes(), save(noise(6, 9), tmp_path / "a.png").read_bytes()
        if late == b"zTXt":  # as ImageMagick writes it: "exif", the length, and the bytes as hex digits
            text = f"\nexif\n{len(exif):>8}\n{exif.hex()}\n".encode()
            exif = b"Raw profile type exif\0\0" + zlib.compress(text)
        else:
            exif = exif.removeprefix(b"Exif\0\0")
        chunk = struct.pack(">I", len(exif)) + late + exif + struct.pack(">I", zlib.crc32(late + exif))
        (tmp_path / "a.png").write_bytes(content[:-12] + chunk + content[-12:])  # before the end's chunk
        assert read_photo(tmp_path / "a.png").shape[:2] == read_photo_size(tmp_path / "a.png") == (9, 6)

    @pytest.mark.parametrize("exif", [b"", turned(1), turned(6)])
    def test_the_size_of_a_png_is_read_without_decoding_it(
        self, exif: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = save(noise(6, 9), tmp_path / "a.png", **({"exif": exif} if exif else {}))

        def refuse(image: Image.Image) -> None:
            raise AssertionError("decoded")

        monkeypatch.setattr(PngImageFile, "load", refuse)
        assert read_photo_size(path) == ((9, 6) if exif == turned(6) else (6, 9))


class TestVeryLargePhotos:
    @settings(deadline=None, max_examples=25, derandomize=True)
    @given(height=st.integers(1, 40), width=st.integers(1, 40), most=st.integers(20, 400))
    def test_a_photo_over_the_limit_is_reduced_by_the_smallest_whole_factor(
        self, tmp_path_factory: pytest.TempPathFactory, height: int, width: int, most: int
    ) -> None:
        path = save(noise(height, width, 3), tmp_path_factory.mktemp("large") / "a.png")
        factor = next(f for f in range(1, 41) if height * width <= most * f * f)
        read = read_photo(path, largest_pixels=most)
        assert read.shape == (-(-height // factor), -(-width // factor), 3)
        assert read_photo_size(path) == (height, width)

    def test_reducing_averages_whole_boxes(self, tmp_path: Path) -> None:
        blocks = np.kron(np.array([[10, 200], [90, 30]], np.uint8), np.ones((4, 4), np.uint8))
        blocks[0, 0] = 26  # one of 16 pixels is 16 brighter: the box is 1 brighter
        read = read_photo(save(blocks, tmp_path / "a.png"), largest_pixels=4)
        assert read[:, :, 0].tolist() == [[11, 200], [90, 30]]

    def test_a_photo_at_the_limit_and_any_photo_without_a_limit_stay_whole(self, tmp_path: Path) -> None:
        pixels = noise(8, 8, 3)
        path = save(pixels, tmp_path / "a.png")
        for most in (64, None):
            np.testing.assert_array_equal(read_photo(path, largest_pixels=most), pixels)

    def test_orientation_is_applied_before_reducing(self, tmp_path: Path) -> None:
        path = save(noise(8, 16, 3), tmp_path / "a.png", exif=turned(6))
        assert read_photo(path, largest_pixels=32).shape == (8, 4, 3)


class TestMasks:
    def test_the_white_of_1_bit_masks_is_255(self, tmp_path: Path) -> None:
        mask = noise(5, 7) > 128
        for suffix in (".png", ".bmp", ".tif"):
            np.testing.assert_array_equal(read_mask_values(save(mask, tmp_path / f"a{suffix}")), mask * 255)

    def test_grey_masks_hold_what_is_stored(self, tmp_path: Path) -> None:
        np.testing.assert_array_equal(read_mask_values(save(noise(5, 7), tmp_path / "a.png")), noise(5, 7))

    def test_coloured_palettes_hold_their_index_and_not_their_colour(self, tmp_path: Path) -> None:
        indices = np.array([[0, 1, 2, 1]], np.uint8)
        image = Image.fromarray(indices).convert("P")
        image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
        assert read_mask_values(save(image, tmp_path / "a.png")).tolist() == [[0, 1, 2, 1]]

    @pytest.mark.parametrize("suffix", [".png", ".gif", ".bmp"])
    def test_white_is_object_in_a_black_and_white_palette_whichever_comes_first(self, suffix: str, tmp_path: Path) -> None:
        white_first = Image.frombytes("P", (4, 1), bytes([1, 0, 0, 1]))
        white_first.putpalette([255, 255, 255, 0, 0, 0])
        values = read_mask_values(save(white_first, tmp_path / f"a{suffix}"))
        assert values[0, 1] > values[0, 0]  # the second pixel looks white

    def test_black_and_white_in_three_equal_channels_is_read_as_one(self, tmp_path: Path) -> None:
        mask = (noise(5, 7) > 128).astype(np.uint8) * 255
        for name, options in (("a.png", {}), ("a.jpg", {"quality": 100})):
            read = read_mask_values(save(np.repeat(mask[:, :, None], 3, 2), tmp_path / name, **options))
            np.testing.assert_array_equal(read > 127, mask > 127)

    def test_a_palette_shorter_than_its_pixels_need_is_a_table_of_indices(self, tmp_path: Path) -> None:
        black_and_white = bytes([0, 0, 0, 255, 255, 255])
        stored = read_mask(write_png(tmp_path / "a.png", np.uint8([[0, 1, 2]]), colour_type=3, palette=black_and_white))
        assert stored.values.tolist() == [[0, 1, 2]], "index 2 has no colour at all"
        assert stored.place == INDEX

    def test_an_opaque_black_and_white_mask_with_an_alpha_channel_is_read(self, tmp_path: Path) -> None:
        mask = (noise(5, 7) > 128).astype(np.uint8) * 255
        opaque = np.stack([mask, mask, mask, np.full_like(mask, 255)], -1)
        np.testing.assert_array_equal(read_mask_values(save(opaque, tmp_path / "a.png")), mask)

    def test_a_cutout_is_a_mask_by_its_alpha_channel(self, tmp_path: Path) -> None:
        alpha = (noise(5, 7) > 128).astype(np.uint8) * 255
        cutout = np.concatenate([noise(5, 7, 3), alpha[:, :, None]], -1)
        np.testing.assert_array_equal(read_mask_values(save(cutout, tmp_path / "a.png")), alpha)


class TestWholePhotos:
    @pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
    def test_a_photo_that_was_cut_short_is_found_and_a_whole_one_passes(self, form: str, tmp_path: Path) -> None:
        path = save(noise(40, 40, 3), tmp_path / "a.png", format=form)
        require_whole_photo(path)
        content = path.read_bytes()
        for kept in (0.3, 0.6, 0.9):
            path.write_bytes(content[: int(kept * len(content))])
            with pytest.raises(UserError, match=r"a\.png is (damaged|not an image)"):
                require_whole_photo(path)

    @pytest.mark.parametrize("form", ["PNG", "JPEG"])
    def test_what_follows_the_end_does_no_harm(self, form: str, tmp_path: Path) -> None:
        path = save(noise(40, 40, 3), tmp_path / "a.png", format=form)
        with Image.open(path) as bare:
            pixels = np.asarray(bare)
        path.write_bytes(path.read_bytes() + b"a note of the camera" * 20)
        assert require_whole_photo(path) is None, "not refused"
        np.testing.assert_array_equal(read_photo(path), pixels)

    def test_a_photo_of_no_bytes_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "a.png").touch()
        with pytest.raises(UserError, match="not an image that can be read"):
            require_whole_photo(tmp_path / "a.png")


READERS = pytest.mark.parametrize("read", [read_photo, read_mask_values, read_photo_size])
DECODERS = pytest.mark.parametrize("read", [read_photo, read_mask_values])


class TestUnreadable:
    @READERS
    def test_a_file_that_does_not_exist(self, read, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"gone\.png does not exist"):
            read(tmp_path / "gone.png")

    @READERS
    def test_a_folder(self, read, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="is a folder, not an image"):
            read(tmp_path)

    @READERS
    @pytest.mark.parametrize("content", [b"", b"no picture", b"<html>404</html>" * 40])
    def test_a_file_that_is_no_image(self, read, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").write_bytes(content)
        with pytest.raises(UserError, match=r"a\.jpg is not an image that can be read"):
            read(tmp_path / "a.jpg")

    @DECODERS
    @pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
    @pytest.mark.parametrize("kept", [0.02, 0.4, 0.7, 0.95])
    def test_a_file_that_was_cut_short(self, read, form: str, kept: float, tmp_path: Path) -> None:
        file = io.BytesIO()
        Image.fromarray(noise(40, 40)).save(file, form)
        path = tmp_path / "a.png"
        path.write_bytes(file.getvalue()[: int(kept * file.tell())])
        with pytest.raises(UserError, match=r"a\.png is (damaged|not an image)"):
            read(path)

    @DECODERS
    def test_a_file_with_a_flipped_byte(self, read, tmp_path: Path) -> None:
        path = save(noise(40, 40), tmp_path / "a.png")
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"a\.png is damaged \(.+\): replace it"):
            read(path)

    @READERS
    def test_a_file_that_may_not_be_read(self, read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Image, "open", refuse)
        with pytest.raises(UserError, match="may not be read: check its permissions"):
            read(tmp_path / "a.png")

    @READERS
    def test_a_picture_too_large_to_be_meant(self, read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = save(noise(10, 10), tmp_path / "a.png")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 49)
        with pytest.raises(UserError, match="more than 179 million pixels"):
            read(path)

    @READERS
    def test_a_large_photo_below_that_limit_is_read_without_a_warning(
        self, read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        grey = noise(10, 10)
        path = save(grey, tmp_path / "a.png")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = read(path)
        expected = {read_photo: np.stack([grey] * 3, -1), read_mask_values: grey, read_photo_size: (10, 10)}
        np.testing.assert_array_equal(found, expected[read])


def test_a_cut_off_exif_block_is_said_or_passed_over(tmp_path: Path) -> None:
    path = save(noise(6, 9, 3), tmp_path / "a.png", exif=b"Exif\0\0II*\0")
    try:
        assert read_photo(path).shape == (6, 9, 3)
    except UserError as error:
        assert "a.png is damaged" in str(error)


@pytest.mark.parametrize("suffix", [".heic", ".DNG"])
def test_a_format_that_is_not_read_is_said_with_the_cure(suffix: str, tmp_path: Path) -> None:
    """A raw photo begins like a TIFF, whose first page is its preview."""
    path = tmp_path / f"a{suffix}"
    save(noise(6, 9), tmp_path / "a.tif").rename(path)
    with pytest.raises(UserError, match=rf"a{suffix}: {suffix} is a format that is not read: convert it to JPEG or PNG"):
        read_photo_size(path)


def test_a_program_is_no_photo(tmp_path: Path) -> None:
    """Pillow would hand PostScript to Ghostscript, which runs it."""
    path = tmp_path / "a.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n{} loop\n")
    with pytest.raises(UserError, match="not an image that can be read"):
        read_photo_size(path)
