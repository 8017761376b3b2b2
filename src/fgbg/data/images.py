"""Read photos from disk: one decoder for the whole package, for masks too, with EXIF orientation applied.

Only the first frame or page of a file (GIF, TIFF, WebP, PNG) is read.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
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
PHOTO_LIKE = frozenset(
    ".heic .heif .avif .jxl .jp2 .jpx .j2k .ppm .pgm .pbm .tga .psd .exr .svg "
    ".dng .cr2 .cr3 .nef .arw .orf .rw2 .raf "  # raw: Pillow would read the preview
    ".czi .nd2 .lif .svs .ndpi .dcm".split()  # of microscopes, scanners and clinics
)
"""Suffixes of photos that are not read: their user should hear of them."""
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


def list_images(folder: Path) -> list[Path]:
    """The image files directly in a folder, by name; hidden files and macOS's `._*` are skipped."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not path.name.startswith(".")
        and (path.is_file() or (path.is_symlink() and not path.exists()))  # a link to nothing is told when it is read
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
        # For a TIFF, Pillow reports the upright size from version 11 on.
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


def refuse_photo_like(path: Path) -> None:
    """Refuse a photo whose name tells of a format that is not read.

    Raises:
        UserError: It does.
    """
    if path.suffix.lower() in PHOTO_LIKE:
        raise UserError(f"{path}: {path.suffix} is a format that is not read: convert it to JPEG or PNG first")


@contextmanager
def open_image(path: Path) -> Iterator[ImageFile]:
    """Context with an opened image file, whose pixels may be decoded in it; every failure is reported in one sentence.

    Code within it does nothing else: its own errors would be told as the file's.

    Raises:
        UserError: The file is missing, not an image that is read, truncated, implausibly large, or would be misread.
    """
    if path.is_file():
        refuse_photo_like(path)
    try:
        # Pillow warns from 89 megapixels on, which a photo may well have; from 179 on it refuses, and so do we.
        # It also warns about unreadable metadata, which do not affect the pixels.
        with without_warnings, Image.open(path, formats=FORMATS) as image:
            _refuse_misread(image, path)
            if isinstance(image, TiffImageFile):
                # Pillow would map the file into memory in its upright shape, which scrambles one that lies on its side.
                image.filename = ""
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
    if kind := next(filter(misread.get, misread), ""):
        raise UserError(f"{path} is a TIFF with {kind}, which would be misread: save it as PNG")
