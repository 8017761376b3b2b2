"""Pictures of a network's input and of its answers.

The lab's qualitative comparison: original, prediction, truth, photo × prediction and photo × truth, side by side; and a
batch with its masks overlaid.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fgbg.storage import replace_when_whole
from fgbg.words import NOT_JUDGED, OBJECT, PNG_LEVEL

CAPTIONS = ("Original", "Prediction", "Truth", "Photo × prediction", "Photo × truth")
NOTE = "not judged: left out of the score"
BATCH_TITLE = "First batch as the network is shown it · object tinted"
BATCH_NOTE = "not judged: left out of the loss"
BATCH_COLUMNS = 4
TINT = (255, 64, 129)
GREY = 128  # for pixels that are not judged
CELL, GAP, MARGIN = 300, 10, 32  # pixels; a photo of any shape is fitted into a square cell
CAPTION_HEIGHT, TITLE_HEIGHT, NOTE_HEIGHT = 44, 40, 44
PAPER, EMPTY, INK, FAINT = "#FFFFFF", "#E6E9ED", "#1F2328", "#59636E"


@dataclass(frozen=True)
class Panel:
    """One photo with what was predicted and what is true.

    Raises:
        TypeError: The prediction is not bool.
        ValueError: Pixels, prediction and target differ in size.
    """

    title: str
    pixels: NDArray[np.uint8]  # (height, width, 3)
    prediction: NDArray[np.bool_]  # (height, width)
    target: NDArray[np.uint8]  # (height, width): 0 ground, 1 object, 255 not judged

    def __post_init__(self) -> None:
        shape = self.target.shape
        if self.pixels.shape != (*shape, 3) or self.prediction.shape != shape:
            shapes = f"pixels {self.pixels.shape}, prediction {self.prediction.shape}, target {shape}"
            raise ValueError(f"{self.title}: {shapes} are not of one photo")
        if self.prediction.dtype != np.bool_:
            raise TypeError(f"{self.title}: prediction is {self.prediction.dtype}, not bool: threshold it first")


class _Row(NamedTuple):
    """A panel as it is drawn."""

    title: str
    cells: list[Image.Image]  # in the order of CAPTIONS
    has_grey: bool


def draw_panels(panels: Iterable[Panel], path: Path) -> None:
    """Draw one row of five pictures per panel into a PNG; its folder is created if missing.

    Raises:
        ValueError: There are no panels.
    """
    rows = [
        _Row(panel.title, [*map(_fit_into_cell, _draw_pictures(panel))], bool((panel.target == NOT_JUDGED).any()))
        for panel in panels
    ]
    if not rows:
        raise ValueError("no panels to draw")
    explains_grey = any(row.has_grey for row in rows)
    bottom = MARGIN + CAPTION_HEIGHT + len(rows) * (TITLE_HEIGHT + CELL + GAP)
    width = 2 * MARGIN + len(CAPTIONS) * (CELL + GAP) - GAP
    sheet = Image.new("RGB", (width, bottom + (NOTE_HEIGHT if explains_grey else 0) + MARGIN - GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, caption in enumerate(CAPTIONS):
        centre = MARGIN + column * (CELL + GAP) + CELL // 2
        draw.text((centre, MARGIN), caption, fill=INK, font=_open_font(22), anchor="ma")
    for number, row in enumerate(rows):
        top = MARGIN + CAPTION_HEIGHT + number * (TITLE_HEIGHT + CELL + GAP)
        title = _shorten(row.title, width - 2 * MARGIN, _open_font(19))
        draw.text((MARGIN, top + TITLE_HEIGHT - 12), title, fill=FAINT, font=_open_font(19), anchor="ls")
        for column, cell in enumerate(row.cells):
            sheet.paste(cell, (MARGIN + column * (CELL + GAP), top + TITLE_HEIGHT))
    if explains_grey:
        _explain_grey(draw, bottom, NOTE)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_when_whole(path) as aside:
        sheet.save(aside, format="PNG", compress_level=PNG_LEVEL)


def draw_batch(pixels: NDArray[np.uint8], targets: NDArray[np.uint8], names: Sequence[str], path: Path) -> None:
    """Draw images with their masks overlaid into a PNG; its folder is created if missing.

    Args:
        pixels: (images, height, width, 3).
        targets: (images, height, width): 0 ground, 1 object, 255 not judged.
        names: What to call each image.
        path: The file to write.
    """
    columns = min(BATCH_COLUMNS, len(pixels))
    rows = -(-len(pixels) // columns)
    top = MARGIN + CAPTION_HEIGHT
    width = max(2 * MARGIN + columns * (CELL + GAP) - GAP, 640)
    sheet = Image.new("RGB", (width, top + rows * (CELL + TITLE_HEIGHT) + NOTE_HEIGHT + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), BATCH_TITLE, fill=INK, font=_open_font(22), anchor="la")
    for place, (photo, target, name) in enumerate(zip(pixels, targets, names, strict=True)):
        row, column = divmod(place, columns)
        corner = (MARGIN + column * (CELL + GAP), top + row * (CELL + TITLE_HEIGHT))
        sheet.paste(_fit_into_cell(_lay_mask_over(photo, target)), corner)
        title = _shorten(name, CELL, _open_font(17))
        draw.text((corner[0], corner[1] + CELL + 8), title, fill=FAINT, font=_open_font(17), anchor="la")
    if (targets == NOT_JUDGED).any():
        _explain_grey(draw, top + rows * (CELL + TITLE_HEIGHT), BATCH_NOTE)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_when_whole(path) as aside:
        sheet.save(aside, format="PNG", compress_level=PNG_LEVEL)


def _lay_mask_over(pixels: NDArray[np.uint8], target: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image with its object half tinted, and grey where nothing is judged."""
    shown = pixels.copy()
    inside = target == OBJECT
    shown[inside] = shown[inside] // 2 + np.array(TINT, np.uint8) // 2
    shown[target == NOT_JUDGED] = GREY
    return shown


def _explain_grey(draw: ImageDraw.ImageDraw, top: int, note: str) -> None:
    draw.rectangle((MARGIN, top + 12, MARGIN + 30, top + 30), fill=(GREY, GREY, GREY))
    draw.text((MARGIN + 42, top + 21), note, fill=FAINT, font=_open_font(17), anchor="lm")


def _draw_pictures(panel: Panel) -> Iterator[NDArray[np.uint8]]:
    """The five pictures of a photo, uint8 (height, width, 3) at its own size, in the order of CAPTIONS."""
    yield panel.pixels
    white = np.full_like(panel.pixels, 255)
    truth, not_judged = panel.target == OBJECT, panel.target == NOT_JUDGED
    for paint in (white, panel.pixels):
        yield paint * panel.prediction[:, :, None]
        picture = paint * truth[:, :, None]
        picture[not_judged] = GREY
        yield picture


def _fit_into_cell(picture: NDArray[np.uint8]) -> Image.Image:
    """A cell with the whole picture centred in it, as large as fits."""
    image = Image.fromarray(picture)
    scale = CELL / max(image.size)
    if scale > 1:
        # A small photo keeps its pixels visible: a blurred mask would hide what was predicted.
        times = int(np.ceil(scale))
        image = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    height, width = (max(1, round(edge * scale)) for edge in picture.shape[:2])
    cell = Image.new("RGB", (CELL, CELL), EMPTY)
    cell.paste(image.resize((width, height), Image.Resampling.LANCZOS), ((CELL - width) // 2, (CELL - height) // 2))
    return cell


@cache
def _open_font(size: int) -> ImageFont.FreeTypeFont:
    """The charts' typeface: Pillow's default one has no ×."""
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)


def _shorten(title: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    """The title, with its middle cut as much as needed to fit into `width` pixels."""
    kept = len(title)
    shortened = title
    while font.getlength(shortened) > width:
        kept -= 1
        shortened = f"{title[: kept // 2]}…{title[len(title) - (kept - kept // 2) :]}"
    return shortened
