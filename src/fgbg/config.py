"""Every setting of a training run: its name, its default and the reason. A field is a flag of `fgbg train`."""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_type_hints

from tyro.conf import Positional

from fgbg.data.augment_ranges import AugmentRanges
from fgbg.errors import UserError, unknown_name
from fgbg.words import Border, Fit

PRESETS = Path(__file__).parent / "presets"
LARGEST_SIZE = 4096
LOSSES = tuple(
    f"{pixels}_{overlap}"
    for pixels in ("bce", "focal", "boundary")
    for overlap in ("dice", "tversky", "focal_tversky", "log_cosh", "lovasz")
)
"""What a loss can be called: its part over pixels and its part over the overlap."""
LOSS_WEIGHTS = ("bce_weight", "overlap_weight", "false_positive_weight", "false_negative_weight")
LOSS_OPTIONS = {
    "false_positive_weight": ("tversky", "focal_tversky"),
    "false_negative_weight": ("tversky", "focal_tversky"),
    "focal_gamma": ("focal",),
    "focal_tversky_gamma": ("focal_tversky",),
    "boundary_weight": ("boundary",),
}
"""Settings that only some parts of a loss have, and those parts."""
FEWEST_FOLDS = 3  # to test, to choose, to learn
EVERY_FOLD = -1
"""`fold` where each of them is to be trained."""


@dataclass(frozen=True)
class TrainConfig:
    """The lab report's settings are the defaults; `--preset lab` adds the rest of what it did."""

    data: Positional[str] = ""
    """oxford-pet, figures, or a folder (images/ + masks/, or the Oxford layout)."""
    out: str = ""
    """The run folder to write; must be new or empty. Default: runs/MODEL, or the next free runs/MODEL-2, …"""

    model: str = "unet"
    """unet, attention_unet, resnet34_unet; with any --encoder: timm_unet, unetplusplus, manet, linknet, fpn, pspnet, pan,
    deeplabv3, deeplabv3plus, upernet, segformer."""
    encoder: str = ""
    """A name of timm, for models that take one, for instance resnet34 or mobilenetv3_small_100. Default:
    tf_efficientnet_lite0."""
    width: int = 64
    """Channels of the first level; 64 is the published size. Compute grows with its square. With
    --encoder: of the decoder."""
    pretrained: str = "none"
    """What the encoder starts from: none, auto (ImageNet weights), or a FILE of weights."""
    init: str = ""
    """Start from this MODEL's weights: a run, a model file, or pets. Model, width and encoder are then its own."""
    size: int = 256
    """Edge of the square the network sees, in pixels; with --fit crop, in pixels of the photo."""
    fit: Fit = "squash"
    """How a photo becomes that square: stretched (squash, the lab's), or kept in shape with black margins (pad); or it stays
    at its own scale (crop): trained on patches of that size, predicted in overlapping tiles."""

    loss: str = "bce_dice"
    """PIXELS_OVERLAP, a sum of two parts: bce, focal or boundary (BCE that looks closely at outlines), and dice, tversky,
    focal_tversky, log_cosh or lovasz."""
    bce_weight: float = 1.0
    """Weight of the first part, over pixels."""
    overlap_weight: float = 1.0
    """Weight of the second part, over the overlap."""
    false_positive_weight: float = 0.5
    """Tversky's weight of false positives; at 0.5 and 0.5 Tversky is Dice."""
    false_negative_weight: float = 0.5
    """Tversky's weight of false negatives; raise it if missing object is worse than inventing it."""
    focal_gamma: float = 2.0
    """Focusing exponent of focal: the larger, the less easy pixels count; 0 is BCE."""
    focal_tversky_gamma: float = 4 / 3
    """Above 1, focal_tversky lets images that are nearly right still pull; 1 is tversky."""
    boundary_weight: float = 4.0
    """What boundary adds to the weight of pixels within 2 % of the shorter edge from an outline; 0 is BCE."""
    dice_reduction: Literal["image", "batch"] = "image"
    """One ratio per image (as the score is measured), or one over the whole batch (the lab's)."""

    epochs: int = 200
    """Passes over the training set."""
    batch_size: int = 32
    """Images per step, over all processes together."""
    accumulate: int = 1
    """Gradient accumulation: micro-batches per step, where memory is short. Batch norm sees one micro-batch."""
    optimizer: Literal["adam", "adamw"] = "adam"
    """adam is the lab's; adamw decays weights apart from the gradient (decoupled)."""
    learning_rate: float = 1e-3
    """Learning rate at its peak."""
    schedule: Literal["constant", "cosine", "one_cycle"] = "constant"
    """How the learning rate goes over the run: constant as in the lab, down along half a cosine, or up and then down."""
    warmup_epochs: float = 0.0
    """Linear warm-up: epochs in which the learning rate rises from 0. one_cycle has its own."""
    encoder_rate: float = 1.0
    """Layer-wise learning rates: factor for the encoder's first block; it steps up evenly to 1 at the last block."""
    weight_decay: float = 0.0
    """Weight decay (L2 with adam, decoupled with adamw); norms and biases are not decayed. 0: off."""
    clip_norm: float = 0.0
    """Gradient clipping: the largest global L2 norm. 0: off."""
    ema: float = 0.0
    """Exponential moving average (EMA) of the weights: its decay per step, for instance 0.99. The average is what is
    validated and kept. 0: off."""
    start_size: int = 0
    """Progressive resizing: edge in pixels of the first epochs' images, which grow to --size over the first half of the
    run. 0: off."""
    patience: int = 0
    """Early stopping: epochs without a better one. 0: off."""
    seed: int = 0
    """Decides initial weights, order and augmentation."""

    threshold_for: str = "dice"
    """What the threshold is chosen for, on validation: dice, iou, recall:0.95 (any share), or none to keep 0.5."""
    border: Border = "foreground"
    """What a trimap's ambiguity band counts as. It moves scores by tenths: it is printed beside each."""
    split: Literal["official", "lab"] = "official"
    """Official lists (a folder without lists: 80/10/10), or the lab's own cut of Oxford-IIIT Pet."""
    split_seed: int = 0
    """Seed of the 80/10/10 split. Apart from --seed, so that seeded runs stay comparable."""
    group_by: str = ""
    """What that split keeps together: a column of metadata.csv, or near-duplicates; groups.csv where there is one."""
    folds: int = 0
    """Cross-validation: cut into this many folds, whatever lists say. One tests, the next validates, the others train."""
    fold: int = EVERY_FOLD
    """The fold that tests, from 0. -1: each of them in turn, in a run of its own: OUT/fold-0, OUT/fold-1, …"""
    only: str = ""
    """A file of ids to use, one per line, as fgbg check --write-clean writes it; other photos are left out."""
    allow_overlap: bool = False
    """Train although a photo or group stands in two splits. Every score of the model will say so."""
    object_values: tuple[int, ...] = ()
    """Which stored mask values are object; only asked for where a set leaves it open."""
    categories: tuple[str, ...] = ()
    """Which categories of COCO or labels of LabelMe are object, or all; only asked for where there are several."""

    augment: AugmentRanges = field(default_factory=AugmentRanges)
    """Paired augmentation of photo and mask; the lab's list and ranges."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Of training. auto: bf16 where the processor computes in it. Scoring is always fp32."""
    compile: bool = False
    """Let torch.compile build the training step; needs a C++ compiler, pays on GPUs and in long runs."""
    sync_norms: bool = False
    """On several GPUs: batch norm over the images of all processes together; slower, helps where each has few."""
    threads: int = 0
    """CPU threads; 0 shares the cores among the processes. Part of what makes a run repeatable to the bit."""
    track: Literal["none", "tensorboard"] = "none"
    """Also write the record for TensorBoard, into RUN/tensorboard. The run's own record is always written."""
    selfcheck: bool = True
    """Look for silent errors in data, augmentation, loss and network before the first epoch."""

    def __post_init__(self) -> None:
        _require_type(self)
        if not isinstance(self.augment, AugmentRanges):
            raise UserError(f"augment = {self.augment!r}: must be a table of settings, as [augment] in a file")
        _require_type(self.augment, "augment.")
        if not isinstance(self.object_values, tuple) or any(type(value) is not int for value in self.object_values):
            raise UserError(f"object_values = {self.object_values!r}: must be whole numbers from 0 to 255")
        if not isinstance(self.categories, tuple) or any(type(name) is not str or not name for name in self.categories):
            raise UserError(f"categories = {self.categories!r}: must be names")
        check_objective(self.threshold_for)
        for name in ("epochs", "batch_size", "width", "accumulate"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        _require(16 <= self.size <= LARGEST_SIZE, "size", self.size, f"from 16 to {LARGEST_SIZE} pixels")
        _require(0 < self.learning_rate < math.inf, "learning_rate", self.learning_rate, "a positive number such as 1e-3")
        _require(0 < self.encoder_rate <= 1, "encoder_rate", self.encoder_rate, "above 0, up to 1")
        _require(0 <= self.ema < 1, "ema", self.ema, "from 0 (off) to below 1")
        for name in ("warmup_epochs", "weight_decay", "clip_norm"):
            _require(0 <= getattr(self, name) < math.inf, name, getattr(self, name), "0 or more")
        _require(self.warmup_epochs <= self.epochs, "warmup_epochs", self.warmup_epochs, f"up to --epochs ({self.epochs})")
        _require(
            not (self.warmup_epochs and self.schedule == "one_cycle"),
            "warmup_epochs",
            self.warmup_epochs,
            "0 with --schedule one_cycle, which rises by itself",
        )
        _require(self.patience >= 0, "patience", self.patience, "0 (never) or more epochs")
        _require(
            self.start_size == 0 or 16 <= self.start_size <= self.size,
            "start_size",
            self.start_size,
            f"0 (off), or from 16 to --size ({self.size})",
        )
        _require(
            not (self.start_size and self.fit == "crop"),
            "start_size",
            self.start_size,
            "0 with --fit crop, which knows one scale",
        )
        if self.loss not in LOSSES:
            raise unknown_name("loss", self.loss, LOSSES)
        _require(0 < self.focal_tversky_gamma < math.inf, "focal_tversky_gamma", self.focal_tversky_gamma, "above 0")
        for name in (*LOSS_WEIGHTS, "focal_gamma", "boundary_weight"):
            _require(0 <= getattr(self, name) < math.inf, name, getattr(self, name), "0 or more")
        _require(self.bce_weight + self.overlap_weight > 0, "overlap_weight", 0, "more than 0 when --bce-weight is 0")
        _require(
            self.false_positive_weight + self.false_negative_weight > 0,
            "false_negative_weight",
            0,
            "more than 0 when --false-positive-weight is 0",
        )
        _require(self.folds == 0 or self.folds >= FEWEST_FOLDS, "folds", self.folds, f"0 (off) or {FEWEST_FOLDS} or more")
        allowed = f"from 0 to below --folds ({self.folds}), or -1 for all"
        _require(EVERY_FOLD <= self.fold < max(1, self.folds), "fold", self.fold, allowed)
        if self.init and self.pretrained != "none":
            raise UserError(f"--pretrained {self.pretrained}: must be none with --init, which brings all weights")
        _require(
            not (self.folds and self.split == "lab"), "folds", self.folds, "0 with --split lab, which is a cut of its own"
        )
        for name in ("seed", "split_seed"):
            _require(0 <= getattr(self, name) < 2**63, name, getattr(self, name), "0 or a positive whole number")
        _require(self.threads >= 0, "threads", self.threads, "0 (all) or more")
        _require(all(0 <= value <= 255 for value in self.object_values), "object_values", self.object_values, "0 to 255")
        _check_ranges(self.augment)

    def data_options(self) -> dict[str, Any]:
        """How `fgbg.open_samples` is to read and split the data."""
        names = ("split", "split_seed", "group_by", "folds", "fold", "only", "object_values", "categories")
        return {name: getattr(self, name) for name in names}

    def differences(self, other: TrainConfig) -> list[str]:
        """Names of the fields (as in a file: `augment.flip`) in which two configurations differ."""
        mine, theirs = flatten(self), flatten(other)
        return [name for name in mine if mine[name] != theirs[name]]


def _check_ranges(ranges: AugmentRanges) -> None:
    _require(0 <= ranges.flip <= 1, "augment.flip", ranges.flip, "a probability from 0 to 1")
    for name in ("cutmix", "mixup"):
        _require(0 <= getattr(ranges, name) <= 1, f"augment.{name}", getattr(ranges, name), "a probability from 0 to 1")
    both = ranges.cutmix + ranges.mixup
    _require(both <= 1, "augment.mixup", ranges.mixup, f"up to 1 - augment.cutmix ({1 - ranges.cutmix:g}): one or the other")
    _require(0 < ranges.crop_area <= 1, "augment.crop_area", ranges.crop_area, "a share above 0, up to 1 (off)")
    _require(1 <= ranges.crop_ratio <= 10, "augment.crop_ratio", ranges.crop_ratio, "from 1 to 10")
    _require(0 <= ranges.rotation_degrees <= 180, "augment.rotation_degrees", ranges.rotation_degrees, "0 to 180")
    _require(0 <= ranges.hue <= 0.5, "augment.hue", ranges.hue, "from 0 (off) to 0.5")
    for name in ("shift", "scale", "brightness", "contrast", "saturation"):
        _require(0 <= getattr(ranges, name) < 1, f"augment.{name}", getattr(ranges, name), "from 0 (off) to below 1")


def _require(holds: bool, name: str, value: object, allowed: str) -> None:
    if not holds:
        raise UserError(f"--{name.replace('_', '-')} {value}: must be {allowed}")


def _require_type(part: Any, prefix: str = "") -> None:
    """Files and Python callers can hand over anything; flags are typed by their parser."""
    for name, kind in get_type_hints(type(part)).items():
        value = getattr(part, name)
        choices = getattr(kind, "__args__", ()) if getattr(kind, "__origin__", None) is Literal else ()
        if choices and value not in choices:
            raise unknown_name(prefix + name, str(value), choices)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            object.__setattr__(part, name, float(value))  # 1 in a file means 1.0
        elif kind in (int, float, str, bool) and type(value) is not kind:
            raise UserError(f"{prefix}{name} = {value!r}: must be of type {kind.__name__}")


def require_loss_options(config: TrainConfig) -> None:
    """Refuse an option of the loss that would change nothing. Files of old runs may hold one: they stay readable.

    Raises:
        UserError: One is not at its default, and the loss has no part that it belongs to.
    """
    for name in LOSS_OPTIONS:
        if getattr(config, name) != getattr(TrainConfig(), name):
            require_loss_option(name, (config.loss,))


def require_loss_option(name: str, losses: Sequence[str]) -> None:
    """Require that one of these losses has a part that the option belongs to.

    Raises:
        UserError: None has; the message names the nearest one.
    """
    if not any(has_option(loss, name) for loss in losses):
        parts = _split_loss(losses[0])
        near = next(other for other in LOSSES if has_option(other, name) and set(parts) & set(_split_loss(other)))
        flag = name.replace("_", "-")
        owners = " or ".join(LOSS_OPTIONS[name])
        raise UserError(f"--{flag} belongs to the part {owners}: use --loss {near}, say, or leave it out")


def has_option(loss: str, name: str) -> bool:
    """Whether an option of LOSS_OPTIONS changes this loss.

    >>> has_option("focal_tversky", "focal_gamma"), has_option("focal_tversky", "focal_tversky_gamma")
    (True, False)
    """
    return any(part in LOSS_OPTIONS[name] for part in _split_loss(loss))


def _split_loss(loss: str) -> tuple[str, str]:
    pixels, _, overlap = loss.partition("_")
    return pixels, overlap


def flatten(config: TrainConfig) -> dict[str, Any]:
    """All fields by their name in a file; those of `augment` with that prefix."""
    flat = dataclasses.asdict(config)
    augment = flat.pop("augment")
    return {**flat, **{f"augment.{name}": value for name, value in augment.items()}}


def to_toml(config: TrainConfig) -> str:
    """The configuration as a TOML file that `read_config` reads back."""

    def quote(value: str) -> str:
        """A JSON string is a TOML string, but for one character that JSON leaves as it is."""
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")

    def line(name: str, value: Any) -> str:
        if isinstance(value, str):
            return f"{name} = {quote(value)}"
        if isinstance(value, bool):
            return f"{name} = {str(value).lower()}"
        if isinstance(value, tuple):
            return f"{name} = [{', '.join(quote(item) if isinstance(item, str) else repr(item) for item in value)}]"
        return f"{name} = {value!r}"

    fields = dataclasses.asdict(config)
    augment = fields.pop("augment")
    lines = [line(name, value) for name, value in fields.items()]
    return "\n".join([*lines, "", "[augment]", *(line(name, value) for name, value in augment.items()), ""])


def read_config(path: Path, base: TrainConfig | None = None) -> TrainConfig:
    """The configuration in a TOML file, laid over `base` (the defaults without one).

    Raises:
        UserError: The file is missing or no TOML, or names a field that does not exist, or a value is out of range.
    """
    base = base or TrainConfig()
    if not path.is_file():
        raise UserError(f"{path} does not exist: it is where settings are read from, as TOML")
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no TOML file: {error}") from None
    augment = fields.pop("augment", {})
    if not isinstance(augment, dict):
        raise UserError(f"{path}: augment = {augment!r} must be a table of settings, [augment]")
    _require_known(path, fields, TrainConfig)
    _require_known(path, augment, AugmentRanges)
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    return dataclasses.replace(base, **fields, augment=dataclasses.replace(base.augment, **augment))


def read_preset(name: str) -> TrainConfig:
    """A preset that ships with fgbg.

    Raises:
        UserError: No preset has that name.
    """
    known = sorted(path.stem for path in PRESETS.glob("*.toml"))
    if name not in known:
        raise unknown_name("preset", name, known)
    return read_config(PRESETS / f"{name}.toml")


def _require_known(path: Path, fields: dict[str, Any], owner: type) -> None:
    known = [part.name for part in dataclasses.fields(owner)]
    for name in fields:
        if name not in known:
            raise unknown_name(f"setting in {path}", name, known)


OBJECTIVES = "dice, iou, recall:R with R between 0 and 1 (recall:0.95), or none to keep 0.5"
"""What a threshold can be chosen for."""


def check_objective(objective: str) -> str:
    """The objective, if there is such a one.

    Raises:
        UserError: There is not.
    """
    kind, _, wanted = objective.partition(":")
    try:
        fits = objective in ("dice", "iou", "none") or (kind == "recall" and 0 < float(wanted) < 1)
    except ValueError:
        fits = False
    if not fits:
        raise UserError(f"--threshold-for {objective}: choose {OBJECTIVES}")
    return objective
