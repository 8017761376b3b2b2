"""Read photos and masks from disk: one decoder for the whole package, with EXIF orientation applied to both.

Only the first frame or page of a file (GIF, TIFF, WebP, PNG) is read.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from fgbg.errors import UserError
from fgbg.quiet import without_warnings

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"})
PHOTO_LIKE = frozenset({".heic", ".heif", ".avif", ".jxl", ".jp2", ".dng", ".cr2", ".cr3", ".nef", ".arw"})
"""Suffixes of photos that are not read: their user should hear of them. Of a raw one, Pillow would read the preview."""
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP")  # a JPEG may hold more pictures (MPO): the first is read
"""The formats a file is read as, whatever its name. Pillow knows more, such as EPS, which it has Ghostscript execute."""
DECODING_ERRORS = (OSError, SyntaxError, ValueError, EOFError, OverflowError, struct.error)
"""What Pillow's decoders and metadata readers raise on damaged files."""
LARGEST_PHOTO_PIXELS = 24_000_000  # larger photos are reduced on decoding to save memory: networks see only 256 px
_TRANSPOSED = frozenset({5, 6, 7, 8})  # EXIF orientations that swap width and height
EXIF_ORIENTATION = 0x0112
_TIFF_BITS, _TIFF_WHITE, _TIFF_PLANES, _TIFF_FORMAT = 258, 262, 284, 339
_WHOLE_ENDINGS = {b"\xff\xd8": b"\xff\xd9", b"\x89P": b"IEND\xaeB`\x82"}  # how a JPEG and a PNG begin and end
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_METADATA = frozenset({b"eXIf", b"tEXt", b"zTXt", b"iTXt"})  # the texts may hold what older programs wrote as EXIF
_CURE = "save it as 8-bit grey with two values, such as 0 and 255"

GREY, INDEX, ALPHA = "grey values", "palette indices", "an alpha channel"
BLACK_AND_WHITE = "black and white of a palette"
"""How a file stores a mask's values; a fifth way is a colour on black, such as "RGB (200, 0, 0)"."""
EMPTY = "0 everywhere"
"""Grey values of a mask without an object: they do not tell how the set is stored."""


@dataclass(frozen=True)
class StoredMask:
    """A mask as its file stores it: uint8 values (height, width), upright but not interpreted, and their kind (above)."""

    values: NDArray[np.uint8]
    place: str


def list_images(folder: Path) -> list[Path]:
    """The image files directly in a folder, by name; hidden files and macOS's `._*` are skipped."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def read_photo(path: Path, *, largest_pixels: int | None = LARGEST_PHOTO_PIXELS) -> NDArray[np.uint8]:
    """The photo as RGB (height, width, 3), upright. Transparent parts are composited over black.

    A photo of more than `largest_pixels` is reduced by the smallest integer factor that suffices; `None` never reduces.

    Raises:
        UserError: The file cannot be read as an image.
    """
    photo = decode_photo(path)
    return np.asarray(photo if largest_pixels is None else reduce_large(photo, largest_pixels))


def reduce_large(photo: Image.Image, largest_pixels: int = LARGEST_PHOTO_PIXELS) -> Image.Image:
    """The photo, reduced by the smallest integer factor that suffices if it has more than `largest_pixels`."""
    factor = reduction_factor(photo.width * photo.height, largest_pixels)
    return photo if factor == 1 else photo.reduce(factor)


def reduction_factor(pixels: int, largest_pixels: int = LARGEST_PHOTO_PIXELS) -> int:
    """The number by which `reduce_large` divides both edges, rounding up, of a photo of so many pixels."""
    return max(1, int(np.ceil(np.sqrt(pixels / largest_pixels))))


def decode_photo(path: Path) -> Image.Image:
    """The photo as a Pillow image: RGB, upright, at full size. Transparent parts are composited over black.

    Raises:
        UserError: The file cannot be read as an image.
    """
    with open_image(path) as image:
        return to_upright_rgb(image, name=str(path))


def to_upright_rgb(image: Image.Image, *, name: str = "the photo") -> Image.Image:
    """Any Pillow image as upright RGB: EXIF orientation applied, transparent parts over black, 16-bit grey scaled.

    Raises:
        UserError: The image holds floating-point values, or 32-bit or signed integers.
    """
    image.load()  # which may change its mode
    # No copy without need: each one of a 100-megapixel photo takes 400 MB.
    upright = ImageOps.exif_transpose(image) if image.getexif().get(EXIF_ORIENTATION, 1) != 1 else image
    if upright.mode in ("F", "I"):
        kind = "floating-point values" if upright.mode == "F" else "32-bit or signed values"
        raise UserError(f"{name} holds {kind}, of which none is agreed to be white: save it with 8 or 16 bits")
    if upright.mode.startswith("I;16"):  # Pillow's own conversion would clip it to white
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    if upright.has_transparency_data:
        shown = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", shown.size, "black"), shown)
    return upright if upright.mode == "RGB" else upright.convert("RGB")


def read_photo_size(path: Path) -> tuple[int, int]:
    """(height, width) of the upright photo, read from the file's header alone.

    Raises:
        UserError: The file cannot be read as an image.
    """
    with open_image(path) as image:
        width, height = image.size
        # For a TIFF, Pillow reports the upright size.
        turned = image.format != "TIFF" and read_orientation(image, path) in _TRANSPOSED
    return (width, height) if turned else (height, width)


def read_orientation(image: ImageFile, path: Path) -> int:
    """An opened photo's EXIF orientation, 1 to 8, without decoding it: 1 is upright, as is a photo that has none."""
    if image.format == "PNG" and "exif" not in image.info and not _has_metadata_behind_pixels(path):
        return 1  # Pillow would decode all pixels to look behind them
    return image.getexif().get(EXIF_ORIENTATION, 1)


def _has_metadata_behind_pixels(png: Path) -> bool:
    """Whether a PNG has a chunk that may hold an orientation behind its first chunk of pixels."""
    with png.open("rb") as file:
        file.seek(len(_PNG_SIGNATURE))
        pixels_began = False
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if pixels_began and kind in _PNG_METADATA:
                return True
            pixels_began |= kind == b"IDAT"
            file.seek(length + 4, os.SEEK_CUR)  # over its content and checksum
    return False


def require_whole_photo(path: Path) -> None:
    """Refuse a truncated photo; reads only a few bytes if the format has an end marker.

    Raises:
        UserError: The photo is damaged.
    """
    with path.open("rb") as file:
        expected = _WHOLE_ENDINGS.get(file.read(2))
        file.seek(-min(64, path.stat().st_size), 2)
        ending = file.read().rstrip(b"\0")
    if expected is None or not ending.endswith(expected):
        read_photo(path)  # another format, or data after the end marker: only decoding tells


def read_mask_values(path: Path) -> NDArray[np.uint8]:
    """The mask's stored values (height, width), upright and not yet interpreted.

    Raises:
        UserError: As `read_mask`.
    """
    return read_mask(path).values


def read_mask(path: Path) -> StoredMask:
    """The mask as stored: grey values (white is 255 in a 1-bit picture), palette indices, an alpha channel, or 255
    where a picture in black and one colour shows the colour.

    Raises:
        UserError: The file cannot be read, or stores its mask in an unknown way.
    """
    with open_image(path) as image:
        if any(";16" in str(tile[3]) for tile in image.tile) and not image.mode.startswith("I"):
            # Pillow keeps only the upper 8 bits, which turns 1 into 0.
            raise UserError(f"mask {path} has several channels of 16 bits: {_CURE}")
        mask = ImageOps.exif_transpose(image)
        if mask.mode in ("P", "PA"):
            return _read_palette_mask(mask, path, indexed=image.format != "GIF")
        if mask.mode in ("RGBA", "LA"):
            alpha = np.asarray(mask.getchannel("A"))
            if (alpha < 255).any():  # a cut-out: the opaque part is the object
                return StoredMask(alpha, ALPHA)
            mask = mask.convert(mask.mode[:-1])
        if mask.mode in ("I", "F") or mask.mode.startswith("I;16"):
            return StoredMask(_narrow(np.asarray(mask), path), GREY)
        if mask.mode in ("1", "L"):
            return StoredMask(np.asarray(mask.convert("L")), GREY)
        if mask.mode == "RGB":
            return _read_colour_mask(np.asarray(mask), path)
    raise UserError(f"mask {path} has pixel mode {mask.mode}: {_CURE}")


def _read_palette_mask(mask: Image.Image, path: Path, *, indexed: bool) -> StoredMask:
    """A palette either numbers classes or merely saves space; in a GIF (not `indexed`) it always does the latter."""
    indices = np.asarray(mask.getchannel(0))
    palette = np.array(mask.getpalette("RGB"), np.uint8).reshape(-1, 3)
    if mask.has_transparency_data:
        alpha = np.asarray(mask.convert("RGBA").getchannel("A"))
        if (alpha < 255).any():
            if indexed and len(np.unique(indices[alpha > 0])) > 1:
                raise UserError(f"mask {path} has both a palette of classes and transparent parts: {_CURE}")
            return StoredMask(alpha, ALPHA)
    used = np.unique(indices)
    if used.max(initial=0) >= len(palette) or len(np.unique(palette[used], axis=0)) < len(used):
        return StoredMask(indices, INDEX)  # the palette shows several values alike, so its colours mean nothing
    shown = palette[indices]
    if (palette == palette[:, :1]).all():
        return StoredMask(np.ascontiguousarray(shown[:, :, 0]), GREY)
    if not indexed or len(np.unique(palette, axis=0)) <= 2:
        return _read_colour_mask(shown, path)
    if (shown == shown[:, :, :1]).all() and np.isin(shown, (0, 255)).all():
        place = GREY if (shown[:, :, 0] == indices).all() else BLACK_AND_WHITE
        return StoredMask(np.ascontiguousarray(shown[:, :, 0]), place)
    return StoredMask(indices, INDEX)


def _read_colour_mask(shown: NDArray[np.uint8], path: Path) -> StoredMask:
    """A mask stored as RGB (height, width, 3): grey in all three channels, or black and one colour."""
    spread = shown.max(axis=2) - shown.min(axis=2)
    if not spread.any() or (spread.max() <= 2 and shown.max() > 127):  # lossy WebP tints black and white a little
        return StoredMask(shown.max(axis=2), GREY)
    painted = shown.any(axis=2)
    colours = shown[painted]
    if (colours != colours[0]).any():
        raise UserError(f"mask {path} holds colours that are more than black and one other: {_CURE}")
    return StoredMask(np.where(painted, 255, 0).astype(np.uint8), "RGB ({}, {}, {})".format(*colours[0]))


def _narrow(values: NDArray[np.generic], path: Path) -> NDArray[np.uint8]:
    """Values of more than 8 bits as uint8: 0 and 65535 as 0 and 255, integers up to 255 unchanged."""
    if np.isin(values, (0, 65535)).all():
        return np.where(values != 0, 255, 0).astype(np.uint8)
    odd = values[~np.isin(values, np.arange(256))]
    if odd.size:
        raise UserError(f"mask {path} holds {odd[0]}, neither 0 to 255 nor 0 and 65535: {_CURE}")
    return values.astype(np.uint8)


@contextmanager
def open_image(path: Path) -> Iterator[ImageFile]:
    """Open and decode an image file; every failure is reported in one sentence.

    Raises:
        UserError: The file is missing, not an image that is read, truncated, implausibly large, or would be misread.
    """
    if path.suffix.lower() in PHOTO_LIKE and path.is_file():
        raise UserError(f"{path}: {path.suffix} is a format that is not read: convert it to JPEG or PNG first")
    try:
        # Pillow warns from 89 megapixels on, which a photo may well have; from 179 on it refuses, and so do we.
        # It also warns about unreadable metadata, which do not affect the pixels.
        with without_warnings, Image.open(path, formats=FORMATS) as image:
            _refuse_misread(image, path)
            yield image
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: check the path") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder, not an image") from None
    except PermissionError:
        raise UserError(f"{path} may not be read: check its permissions") from None
    except UnidentifiedImageError:
        raise UserError(f"{path} is not an image that can be read: replace it or leave it out") from None
    except Image.DecompressionBombError:
        raise UserError(f"{path} has more than 179 million pixels: reduce it first") from None
    except DECODING_ERRORS as error:
        raise UserError(f"{path} is damaged ({error}): replace it or leave it out") from None


def _refuse_misread(image: ImageFile, path: Path) -> None:
    """Refuse files that Pillow would silently decode to wrong pixels.

    Raises:
        UserError: It is such a file.
    """
    if isinstance(image, BmpImageFile) and image.mode == "1":
        header = path.read_bytes()[:30]
        if header[24 if header[14] == 12 else 28] != 1:  # bits per pixel, in a header of 12 bytes or more
            raise UserError(f"{path} is a BMP with a palette of two colours, which would be misread: save it as PNG")
    if not isinstance(image, TiffImageFile):
        return
    bits = image.tag_v2.get(_TIFF_BITS, (1,))
    misread = {
        "12 bits": 12 in bits,
        "signed 8-bit values": 2 in image.tag_v2.get(_TIFF_FORMAT, ()) and image.mode == "L",
        "16 bits of which 0 is white": 16 in bits and image.tag_v2.get(_TIFF_WHITE) == 0,
        "16 bits in separate planes": 16 in bits and len(bits) > 1 and image.tag_v2.get(_TIFF_PLANES) == 2,
    }
    for kind in filter(misread.get, misread):
        raise UserError(f"{path} is a TIFF with {kind}, which would be misread: save it as PNG")
