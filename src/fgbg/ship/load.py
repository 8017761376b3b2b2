"""A trained model, ready to be called with a photo. An exported one needs no torch, and none is imported for it."""

from __future__ import annotations

import copy
import dataclasses
import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fgbg.data.images import IMAGE_SUFFIXES, PHOTO_LIKE
from fgbg.errors import UserError
from fgbg.model_file import PETS, ModelHeader, find_model_file, require_one_fit
from fgbg.ship.onnx_model import OnnxModel
from fgbg.ship.photo import AnyPhoto, Photo, open_photo
from fgbg.ship.refine import Refined, parse_steps
from fgbg.storage import is_run

Shown = TypeVar("Shown", bound=Photo)


@runtime_checkable
class Model(Protocol):
    """A model that takes a photo and returns the probability of object for each pixel, whatever computes it.

    Attributes:
        header: The model file's header.
        threshold: The probability above which a pixel is object: the header's, unless another one was asked for.
    """

    header: ModelHeader
    threshold: float

    @property
    def one_by_one(self) -> bool:
        """Whether many photos are fastest when threads call it, each with one photo at a time; otherwise `answer` is."""

    def __call__(self, photo: AnyPhoto) -> NDArray[np.float32]:
        """Probability of object (height, width), 0 to 1, at the photo's own size.

        Raises:
            UserError: The photo cannot be read, or is an array of another type or shape.
        """

    def answer(self, photos: Iterable[Shown]) -> Iterator[tuple[Shown, NDArray[np.float32]]]:
        """Each photo with its probability, in order: the fast way for many."""


def load(
    model: str | Path, *, network: Any = None, device: str = "cpu", refine: str = "", threshold: float | None = None
) -> Model:
    """Load a run's best model, a `.safetensors` or `.onnx` file, or `pets`, the model that ships with fgbg.

    Args:
        model: A run folder, a model file, or `pets` (./pets is a folder of that name); or several of them, separated by
            commas, whose probabilities are averaged.
        network: The network to load the weights into, if it was your own; an exported model needs none.
        device: Where to compute: cpu, cuda, cuda:1, mps, auto. An exported model computes on the CPU.
        refine: Steps that its answers go through, separated by commas: of largest, fill, specks, edges.
        threshold: The probability above which a pixel is object, to the steps too; by default the model's own.

    Raises:
        UserError: There is no model, it cannot be used, a step is not known, or the threshold is not between 0 and 1.
    """
    if (steps := parse_steps(refine)) or threshold is not None:
        return _adjust(load(model, network=network, device=device), steps, threshold)
    names = part_names(model)
    if len(names) > 1:
        return ModelEnsemble([load(name, network=copy.deepcopy(network), device=device) for name in names])
    file = find_model_file(names[0])
    if file.suffix == ".onnx":
        _require_cpu(names[0], device)
        return OnnxModel(file)
    require_torch(file)
    from fgbg.engine import resolve_device
    from fgbg.models.checkpoint import load_model
    from fgbg.ship.torch_model import TorchModel

    predictor, header = load_model(file, network=network)
    return TorchModel(predictor.to(resolve_device(device)), header)


def load_for_many(
    model: str, *, photo_count: int, device: str = "auto", refine: str = "", threshold: float | None = None
) -> Model:
    """The model, set up to be fastest for that many photos.

    Raises:
        UserError: As `load`.
    """
    if (steps := parse_steps(refine)) or threshold is not None:
        return _adjust(load_for_many(model, photo_count=photo_count, device=device), steps, threshold)
    names = part_names(model)
    if len(names) > 1:
        return ModelEnsemble([load_for_many(str(name), photo_count=photo_count, device=device) for name in names])
    file = find_model_file(model)
    if file.suffix == ".onnx":
        _require_cpu(model, device)
        # Cores that each work on a photo of their own never wait for each other.
        return OnnxModel(file, threads=1 if photo_count > 1 else 0)
    require_torch(file)
    from fgbg.engine import Engine

    return load(file, device=str(Engine(device, "fp32").device))


def _adjust(model: Model, steps: Sequence[str], threshold: float | None) -> Model:
    """A model that was just loaded, with steps after it and another threshold."""
    if threshold is not None:
        if not 0 < threshold < 1:
            raise UserError(f"--threshold {threshold:g}: must lie between 0 and 1; leave it out for the model's own")
        model.threshold = threshold
    return Refined(model, steps) if steps else model


def part_names(model: str | Path) -> list[str | Path]:
    """The models in a comma-separated name; just one if it has no commas, or if a file has that very name."""
    if isinstance(model, Path) or "," not in model or Path(model).expanduser().exists():
        return [model]
    names = [name.strip() for name in model.split(",")]
    if not all(names):
        raise UserError(f"MODEL {model}: a name is missing beside a comma")
    return list(names)


class ModelEnsemble:
    """Several models as one: the mean of their probabilities, at the mean of their thresholds.

    Attributes:
        header: The first one's, with all networks' names.

    Raises:
        UserError: Their photos are fitted in different ways, so that `fgbg evaluate --ensemble` could not score them.
    """

    def __init__(self, members: Sequence[Model]) -> None:
        require_one_fit(member.header.fit for member in members)
        self.members = list(members)
        self.one_by_one = all(member.one_by_one for member in members)
        self.threshold = float(np.mean([member.threshold for member in members]))
        networks = " + ".join(_name_network(member.header) for member in members)
        header = dataclasses.replace(members[0].header, arithmetic="fp32")  # int8 is noted beside each network's name
        self.header = dataclasses.replace(header, network=networks, threshold=self.threshold)

    def __call__(self, photo: AnyPhoto) -> NDArray[np.float32]:
        """Probability of object (height, width), 0 to 1, at the photo's own size.

        Raises:
            UserError: The photo cannot be read, or is an array of another type or shape.
        """
        shown = open_photo(photo)
        return _average([member(shown) for member in self.members])

    def answer(self, photos: Iterable[Shown]) -> Iterator[tuple[Shown, NDArray[np.float32]]]:
        """Each photo with its probability, in order; members take turns on a few photos at a time."""
        photos = iter(photos)
        while chunk := list(islice(photos, AT_A_TIME)):
            answers = [[probability for _, probability in member.answer(chunk)] for member in self.members]
            for photo, theirs in zip(chunk, zip(*answers, strict=True), strict=True):
                yield photo, _average(theirs)


def _average(probabilities: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.mean(probabilities, axis=0, dtype=np.float32)


AT_A_TIME = 4  # photos whose answers wait for the last member's: bounds memory


def names_model(name: str) -> bool:
    """Whether the first of several inputs is a MODEL rather than a photo or a folder of photos.

    A name that does not exist counts as one too, unless it looks like a photo's, be it one that is not read: the error then
    says what a MODEL is.
    """
    path = Path(name).expanduser()
    if needs_ray(name):
        return False
    if name != PETS and path.is_dir():
        return is_run(path) or (path / "best.safetensors").exists()
    return path.suffix.lower() not in IMAGE_SUFFIXES | PHOTO_LIKE


def needs_ray(name: str) -> bool:
    """Whether an input is an address or Parquet rather than a file or a folder of photos: `--engine ray` reads it."""
    return "://" in name or name.rstrip("/").lower().endswith(".parquet")


def describe_model(name: str, model: Model) -> str:
    """Which model it is, in one line."""
    header = model.header
    lies = f" (shipped with fgbg; the folder here is ./{PETS})" if name == PETS and Path(PETS).is_dir() else ""
    refined = f", then {', '.join(model.steps)}" if isinstance(model, Refined) else ""
    return f"model {name}{lies}: {_name_network(header)}, {header.size} px, threshold {model.threshold:g}{refined}"


def _name_network(header: ModelHeader) -> str:
    return header.network if header.arithmetic == "fp32" else f"{header.network} in {header.arithmetic}"


def require_torch(file: Path) -> None:
    """Refuse a model that needs torch if torch, or what its file is read with, is missing.

    Raises:
        UserError: A library is not installed.
    """
    absent = [name for name in ("torch", "safetensors", "jaxtyping") if importlib.util.find_spec(name) is None]
    if absent:
        needs = f"{file} needs {', '.join(absent)}"
        raise UserError(f"{needs}: pip install 'fgbg[train]', or use a model that fgbg export wrote")


def _require_cpu(model: str | Path, device: str) -> None:
    if device not in ("auto", "cpu"):
        raise UserError(f"--device {device}: {model} is an exported model, which computes on the CPU: leave --device out")
