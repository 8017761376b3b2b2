"""What all tests share: a cache of their own, and small data sets drawn on the spot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

MakeFolder = Callable[..., Path]


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No test reads or fills the user's cache, and none depends on a copy of Oxford-IIIT Pet that happens to be there."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FGBG_CACHE", str(folder))
        patch.delenv("FGBG_DATA", raising=False)
        yield folder


@pytest.fixture(scope="module")
def no_charts() -> Iterator[None]:
    """Workbook and charts take longer than small trainings: for modules that look at neither."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("fgbg.training.train", "fgbg.judge.runs"):
            patch.setattr(f"{module}.write_record", lambda *_: None)
        yield


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """A function that writes `images/` and `masks/` with discs on noise, and returns the folder.

    `make_folder(count, encoding, name=, seed=)`: `encoding` is "0/1", "0/255", "1-bit" or "trimap"; the photos are
    `photo_00.png` and so on, each of another size.
    """

    def make(count: int = 6, encoding: str = "0/255", *, name: str = "set", seed: int = 0) -> Path:
        folder = tmp_path / name
        for kind in ("images", "masks"):
            (folder / kind).mkdir(parents=True)
        for index in range(count):
            pixels, distance = _draw_disc(np.random.default_rng([seed, index]))
            Image.fromarray(pixels).save(folder / "images" / f"photo_{index:02}.png")
            _encode_mask(distance, encoding).save(folder / "masks" / f"photo_{index:02}.png")
        return folder

    return make


def _draw_disc(random: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """A bright disc on dark noise, and how far each pixel is outside its edge (negative: inside)."""
    height, width = random.integers(20, 49, 2)
    radius = min(height, width) * random.uniform(0.2, 0.4)
    row, column = random.uniform(0.4, 0.6, 2) * (height, width)
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(y - row, x - column) - radius
    noise = random.integers(0, 60, (height, width, 3))
    return (noise + np.where(distance < 0, 180, 20)[:, :, None]).astype(np.uint8), distance


def _encode_mask(distance: NDArray[np.float64], encoding: str) -> Image.Image:
    inside = distance < 0
    if encoding == "1-bit":
        return Image.fromarray(inside)
    if encoding == "trimap":
        return Image.fromarray(np.where(np.abs(distance) < 1, 3, np.where(inside, 1, 2)).astype(np.uint8))
    return Image.fromarray((inside * {"0/1": 1, "0/255": 255}[encoding]).astype(np.uint8))
