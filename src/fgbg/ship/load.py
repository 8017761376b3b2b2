"""A trained model, ready to be called with a photo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from fgbg.data.images import read_photo, read_photo_size, to_upright_rgb
from fgbg.engine import resolve_device
from fgbg.errors import UserError
from fgbg.models.checkpoint import ModelHeader, find_model_file, load_model
from fgbg.models.predictor import Predictor


class Model:
    """A model that takes a photo and says how probable object is, pixel by pixel.

    Attributes:
        predictor: The module that computes it.
        header: What the model file says of itself.
    """

    def __init__(self, predictor: Predictor, header: ModelHeader) -> None:
        self.predictor, self.header = predictor, header

    @property
    def threshold(self) -> float:
        """The probability above which a pixel is object."""
        return self.predictor.threshold

    @torch.inference_mode()
    def __call__(self, photo: str | Path | Image.Image | NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probability of object (height, width), 0 to 1, at the photo's own size.

        Args:
            photo: A file, a Pillow image, or uint8 RGB (height, width, 3).

        Raises:
            UserError: The photo cannot be read, or is an array of another type or shape.
        """
        if isinstance(photo, str | Path):
            size = read_photo_size(Path(photo))
            return self.predictor(torch.tensor(read_photo(Path(photo))), size).cpu().numpy()
        return self.predictor(torch.tensor(_to_pixels(photo))).cpu().numpy()


def load(model: str | Path, *, network: nn.Module | None = None, device: str = "cpu") -> Model:
    """Load a run's best model, or a `.safetensors` file.

    Args:
        model: A run folder or a model file.
        network: The network to fill, where it was your own.
        device: Where to compute: cpu, cuda, cuda:1, mps, auto.

    Raises:
        UserError: There is no model, or it cannot be used.
    """
    predictor, header = load_model(find_model_file(model), network=network)
    return Model(predictor.to(resolve_device(device)), header)


def _to_pixels(photo: Image.Image | NDArray[np.uint8]) -> NDArray[np.uint8]:
    if isinstance(photo, Image.Image):
        return np.asarray(to_upright_rgb(photo))
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
        raise UserError(f"a photo as an array is uint8 (height, width, 3), not {photo.dtype} {photo.shape}")
    return photo
