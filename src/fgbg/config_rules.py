"""Which values a setting may have; every refusal names the flag, the value and what is allowed."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from fgbg.data.augment_ranges import AugmentRanges
from fgbg.errors import UserError, unknown_name
from fgbg.loss_names import LOSS_SETTINGS, LOSSES

if TYPE_CHECKING:
    from fgbg.config import TrainConfig

LARGEST_SIZE = 4096
FEWEST_FOLDS = 3  # to test, to choose, to learn
EVERY_FOLD = -1
"""`fold` where each of them is to be trained."""
OBJECTIVES = "dice, iou, recall:R with R between 0 and 1 (recall:0.95), or none to keep 0.5"
"""What a threshold can be chosen for."""


def check_settings(config: TrainConfig) -> None:
    """Refuse settings of the wrong type, out of range, or at odds with each other.

    Raises:
        UserError: The first of them, with what is allowed.
    """
    _require_type(config)
    if not isinstance(config.augment, AugmentRanges):
        raise UserError(f"augment = {config.augment!r}: must be a table of settings, as [augment] in a file")
    _require_type(config.augment, "augment.")
    _check_object_values(config.object_values)
    if not isinstance(config.categories, tuple) or any(type(name) is not str or not name for name in config.categories):
        raise UserError(f"categories = {config.categories!r}: must be names")
    check_objective(config.threshold_for)
    for name in ("epochs", "batch_size", "width", "accumulate"):
        _require(getattr(config, name) >= 1, name, getattr(config, name), "at least 1")
    _require(16 <= config.size <= LARGEST_SIZE, "size", config.size, f"from 16 to {LARGEST_SIZE} pixels")
    _require(0 < config.learning_rate < math.inf, "learning_rate", config.learning_rate, "a positive number such as 1e-3")
    _require(0 < config.encoder_rate <= 1, "encoder_rate", config.encoder_rate, "above 0, up to 1")
    _require(0 <= config.ema < 1, "ema", config.ema, "from 0 (off) to below 1")
    for name in ("warmup_epochs", "weight_decay", "clip_norm"):
        _require(0 <= getattr(config, name) < math.inf, name, getattr(config, name), "0 or more")
    _require(
        config.warmup_epochs <= config.epochs, "warmup_epochs", config.warmup_epochs, f"up to --epochs ({config.epochs})"
    )
    _require(
        not (config.warmup_epochs and config.schedule == "one_cycle"),
        "warmup_epochs",
        config.warmup_epochs,
        "0 with --schedule one_cycle, which rises by itself",
    )
    _require(config.patience >= 0, "patience", config.patience, "0 (never) or more epochs")
    _require(
        config.start_size == 0 or 16 <= config.start_size <= config.size,
        "start_size",
        config.start_size,
        f"0 (off), or from 16 to --size ({config.size})",
    )
    _require(
        not (config.start_size and config.fit == "crop"),
        "start_size",
        config.start_size,
        "0 with --fit crop, which knows one scale",
    )
    if config.loss not in LOSSES:
        raise unknown_name("loss", config.loss, LOSSES)
    _require(0 < config.focal_tversky_gamma < math.inf, "focal_tversky_gamma", config.focal_tversky_gamma, "above 0")
    for name in LOSS_SETTINGS:
        if name != "dice_reduction":
            _require(0 <= getattr(config, name) < math.inf, name, getattr(config, name), "0 or more")
    _require(config.bce_weight + config.overlap_weight > 0, "overlap_weight", 0, "more than 0 when --bce-weight is 0")
    _require(
        config.false_positive_weight + config.false_negative_weight > 0,
        "false_negative_weight",
        0,
        "more than 0 when --false-positive-weight is 0",
    )
    _require(config.folds == 0 or config.folds >= FEWEST_FOLDS, "folds", config.folds, f"0 (off) or {FEWEST_FOLDS} or more")
    allowed = f"from 0 to below --folds ({config.folds}), or -1 for all"
    _require(EVERY_FOLD <= config.fold < max(1, config.folds), "fold", config.fold, allowed)
    if config.init and config.pretrained != "none":
        raise UserError(f"--pretrained {config.pretrained}: must be none with --init, which brings all weights")
    _require(
        not (config.folds and config.split == "lab"), "folds", config.folds, "0 with --split lab, which is a cut of its own"
    )
    for name in ("seed", "split_seed"):
        _require(0 <= getattr(config, name) < 2**63, name, getattr(config, name), "0 or a positive whole number")
    _require(config.threads >= 0, "threads", config.threads, "0 (all) or more")
    _check_ranges(config.augment)


def _check_object_values(values: Any) -> None:
    if values == ("nonzero",):
        return
    if not isinstance(values, tuple) or any(type(value) is not int for value in values):
        raise UserError(f"object_values = {values!r}: must be whole numbers from 0 to 255, or nonzero alone")
    _require(all(0 <= value <= 255 for value in values), "object_values", values, "0 to 255")


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


@cache
def _find_types(settings: type) -> dict[str, Any]:
    """The type of each field; each time anew it would take most of reading a run's settings."""
    return get_type_hints(settings)


def _require_type(part: Any, prefix: str = "") -> None:
    """Files and Python callers can hand over anything; flags are typed by their parser."""
    for name, kind in _find_types(part.__class__).items():
        value = getattr(part, name)
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        if choices and value not in choices:
            raise unknown_name(prefix + name, str(value), choices)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            object.__setattr__(part, name, float(value))  # 1 in a file means 1.0
        elif kind in (int, float, str, bool) and type(value) is not kind:
            raise UserError(f"{prefix}{name} = {value!r}: must be of type {kind.__name__}")
