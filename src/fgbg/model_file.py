"""What MODEL may name, and the header of a model file. Never imports torch, which prediction alone does not need."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fgbg.errors import UserError
from fgbg.words import IMAGENET_DEVIATION, IMAGENET_MEAN, Arithmetic, Border, Fit

PIXELS, ANSWER_SIZE, PROBABILITY = "pixels", "answer_size", "probability"
"""The inputs and the output of an exported graph."""

HEADER_KEY = "fgbg"
FORMAT = 1

PETS = "pets"
"""Name of the model that ships with fgbg; a folder of that name is ./pets."""
SHIPPED = Path(__file__).parent / "shipped"
MODEL_IS = f"MODEL is a run folder, a .safetensors or .onnx file, or {PETS}, the model that ships with fgbg"
PICKLES = frozenset({".pt", ".pth", ".pkl", ".ckpt"})


@dataclass(frozen=True)
class ModelHeader:
    """The metadata in a model file."""

    network: str
    width: int
    size: int
    fit: Fit
    threshold: float
    border: Border
    data: str
    data_fingerprint: str
    epoch: int
    validation_dice: float
    fgbg_version: str
    encoder: str = ""  # timm name, for models that take an encoder; empty for the default
    pretrained_from: str = ""  # origin of the encoder's pretrained weights
    pretrained_license: str = ""  # their licence
    initialised_from: str = ""  # the model whose weights it started from (--init)
    threshold_reason: str = "0.5 by default"
    temperature: float = 1.0  # divide logits by it to calibrate probabilities, as fitted on validation; not applied
    training_images: tuple[str, ...] = ()  # HASH_DIGITS digits of each hash, so that no score is measured on one
    validation_images: tuple[str, ...] = ()  # the same, as epoch and threshold were chosen on them
    overlap_count: int = 0  # photos or groups that were in two splits when it was trained (--allow-overlap)
    mean: tuple[float, ...] = IMAGENET_MEAN
    deviation: tuple[float, ...] = IMAGENET_DEVIATION
    arithmetic: Arithmetic = "fp32"  # int8: the file does not hold the trained weights


def require_one_fit(fits: Iterable[Fit]) -> None:
    """Refuse to average models that fit photos in different ways.

    Raises:
        UserError: They do.
    """
    if len(found := sorted(set(fits))) > 1:
        raise UserError(f"these models were trained with --fit {' and '.join(found)}: an ensemble needs one of them")


def write_header(header: ModelHeader) -> str:
    """The header as the JSON text that a model file carries under HEADER_KEY."""
    return json.dumps({"format": FORMAT, **dataclasses.asdict(header)})


def parse_header(text: str | None, path: Path) -> ModelHeader:
    """The header in the text that the model file `path` carries.

    Raises:
        UserError: There is no text (not written by fgbg), it is of a newer version, or damaged.
    """
    if text is None:
        raise UserError(f"{path} was not written by fgbg: it has weights, but nothing says what network they belong to")
    try:
        fields = json.loads(text)
        if fields.pop("format") != FORMAT:
            raise UserError(f"{path} was written by fgbg {fields.get('fgbg_version')}: use that version or a newer one")
        for name in ("training_images", "validation_images", "mean", "deviation"):
            if name in fields:
                fields[name] = tuple(fields[name])
        return ModelHeader(**fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} has a header that cannot be understood ({error}): train or copy it again") from None


def find_model_file(model: str | Path, cure: str = "") -> Path:
    """The file of a MODEL: a run's best, the shipped one, or the file itself.

    The word `pets` always means the shipped model; for a folder of that name pass ./pets or a `Path`.

    Args:
        model: As a command takes it.
        cure: How the sentence of an error ends; by default by what a MODEL is.

    Raises:
        UserError: It does not exist, or the run has no model yet.
    """
    if model == PETS:  # a Path never equals a word
        shipped = SHIPPED / f"{PETS}.onnx"
        if not shipped.exists():
            raise UserError(f"this installation of fgbg carries no model called {PETS}: name a run or a model file instead")
        return shipped
    path = Path(model).expanduser()
    if path.is_dir():
        best = path / "best.safetensors"
        if not best.exists():
            raise UserError(
                f"{path} holds no best.safetensors, which a run has that has finished an epoch: {cure or MODEL_IS}"
            )
        return best
    if not path.exists():
        raise UserError(f"{path} does not exist: {cure or MODEL_IS}")
    if not path.is_file():  # a pipe would be waited for without an end
        raise UserError(f"{path} is no regular file: {cure or MODEL_IS}")
    return path


def require_model_file(path: Path) -> None:
    """Refuse a missing file, and a pickle, which could run code when opened.

    Raises:
        UserError: The file does not exist or is a pickle.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist: {MODEL_IS}")
    with path.open("rb") as file:
        start = file.read(9)
    # A safetensors file starts with 8 bytes of length, which may be any bytes, and then the header's brace.
    looks_like_pickle = start[8:] != b"{" and (start[:2] == b"PK" or start[:1] == b"\x80")
    if looks_like_pickle or path.suffix in PICKLES:
        raise UserError(
            f"{path} is a pickle, which can run any code when it is opened, and is refused: "
            "use the best.safetensors of a run"
        )
