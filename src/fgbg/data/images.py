"""Photos and masks from disk: one decoding for the whole package, with EXIF orientation applied to both."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from fgbg.errors import UserError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"})
LARGEST_PHOTO_PIXELS = 24_000_000  # beyond it a photo is reduced on decode: networks see 256 px, memory sees all of it
_TRANSPOSED = frozenset({5, 6, 7, 8})  # EXIF orientations that exchange width and height
_EXIF_ORIENTATION = 0x0112


def list_images(folder: Path) -> list[Path]:
    """The image files directly in a folder, by name; hidden files and macOS's `._*` are passed over."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def read_photo(path: Path, *, largest_pixels: int | None = LARGEST_PHOTO_PIXELS) -> NDArray[np.uint8]:
    """The photo as RGB (height, width, 3), upright. Transparent parts are shown over black.

    A photo of more than `largest_pixels` is reduced by the smallest whole factor that fits; `None` never reduces.

    Raises:
        UserError: The file cannot be read as an image.
    """
    with open_image(path) as image:
        rgb = to_upright_rgb(image, name=str(path))
        if largest_pixels is not None and rgb.width * rgb.height > largest_pixels:
            rgb = rgb.reduce(int(np.ceil(np.sqrt(rgb.width * rgb.height / largest_pixels))))
        return np.asarray(rgb)


def to_upright_rgb(image: Image.Image, *, name: str = "the photo") -> Image.Image:
    """Any Pillow image as upright RGB: EXIF orientation applied, transparent parts over black, 16-bit grey scaled.

    Raises:
        UserError: The image holds floating-point values.
    """
    upright = ImageOps.exif_transpose(image)
    if upright.has_transparency_data:
        shown = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", shown.size, "black"), shown)
    if upright.mode == "F":
        raise UserError(
            f"{name} holds floating-point values, of which none is agreed to be white: save it with 8 or 16 bits"
        )
    if upright.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion would clip it to white
        upright = Image.fromarray((np.asarray(upright).clip(0, 65535) >> 8).astype(np.uint8))
    return upright.convert("RGB")


def read_photo_size(path: Path) -> tuple[int, int]:
    """(height, width) of the upright photo, read from the file's header alone.

    Raises:
        UserError: The file cannot be read as an image.
    """
    with open_image(path) as image:
        width, height = image.size
        # Of a TIFF Pillow tells the upright size.
        turned = image.format != "TIFF" and image.getexif().get(_EXIF_ORIENTATION) in _TRANSPOSED
    return (width, height) if turned else (height, width)


def require_whole_photo(path: Path) -> None:
    """Refuse a photo that is cut short, at the price of a few bytes: a whole JPEG ends with a marker.

    Raises:
        UserError: The photo is damaged.
    """
    with path.open("rb") as file:
        is_jpeg = file.read(2) == b"\xff\xd8"
        file.seek(-min(64, path.stat().st_size), 2)
        ending = file.read().rstrip(b"\0")
    if is_jpeg and not ending.endswith(b"\xff\xd9"):
        read_photo(path)  # something else may follow the marker: only decoding tells


def read_mask_values(path: Path) -> NDArray[np.uint8]:
    """The mask's stored values (height, width), upright and not yet interpreted: 1-bit as 0/1, palettes as indices.

    Of a picture with transparent parts the alpha channel is the mask.

    Raises:
        UserError: The file cannot be read, or holds colours or more than 8 bits.
    """
    with open_image(path) as image:
        mask = ImageOps.exif_transpose(image)
        if mask.mode in ("RGBA", "LA"):
            alpha = mask.getchannel("A")
            if alpha.getextrema() != (255, 255):  # a cut-out: what is opaque is the object
                return np.asarray(alpha)
            mask = mask.convert(mask.mode[:-1])
        if mask.mode == "1":
            return np.asarray(mask).astype(np.uint8)
        if mask.mode == "L" or (mask.mode == "P" and not _is_black_and_white(mask)):
            return np.asarray(mask)
        if mask.mode == "P":  # a picture in two colours, in whatever order its palette has them
            return np.asarray(mask.convert("L"))
        if mask.mode == "RGB":
            channels = np.asarray(mask)
            if (channels == channels[:, :, :1]).all():
                return np.ascontiguousarray(channels[:, :, 0])
            raise UserError(f"mask {path} holds colours: save it as one channel with two values, such as 0 and 255")
    raise UserError(f"mask {path} has pixel mode {mask.mode}: save it as 8-bit grey with two values, such as 0 and 255")


def _is_black_and_white(mask: Image.Image) -> bool:
    """Whether a palette picture uses no colours but pure black and white."""
    palette = np.array(mask.getpalette("RGB"), np.uint8).reshape(-1, 3)
    indices = np.unique(np.asarray(mask))
    if indices.max(initial=0) >= len(palette):  # a palette may be shorter than what the pixels count on
        return False
    used = palette[indices]
    return bool(((used == 0).all(axis=1) | (used == 255).all(axis=1)).all())


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """Open and decode an image file, with every way that this fails said in one sentence.

    Raises:
        UserError: The file is missing, is no image, is cut short, or is too large to be meant.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns from 89 megapixels on; a photo of that size is a photo. From 179 on it refuses, and so do we.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
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
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow's decoders raise on damaged files
        raise UserError(f"{path} is damaged ({error}): replace it or leave it out") from None
