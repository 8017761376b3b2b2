"""The search space: read from flags or a file, applied to a configuration, checked before the first trial."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fgbg.config import TrainConfig, flatten, require_loss_options
from fgbg.config_file import read_fields
from fgbg.errors import UserError
from fgbg.loss_names import LOSS_OPTIONS, has_option, require_loss_option
from fgbg.models import require_model
from fgbg.search.fields import GRAMMAR, Choice, Field, kinds_of_fields, read_field
from fgbg.storage import write_whole

MOST_COMBINATIONS = 10_000  # of ends and values, checked before the first trial
Space = tuple[Field, ...]


def read_space(over: Mapping[str, str | Sequence[Any]]) -> Space:
    """The fields to search, in the order of `TrainConfig`, so that the order in which they are named does not matter.

    Args:
        over: By a field's name (`learning_rate`, `augment.hue`): a list of values, or a text as in `--over NAME=TEXT`.

    Raises:
        UserError: An unknown field, one that cannot be searched, or neither a range nor a list.

    >>> [str(field) for field in read_space({"learning_rate": "1e-4..1e-2:log", "loss": ["bce_dice", "focal_dice"]})]
    ['bce_dice,focal_dice', '0.0001..0.01:log']
    """
    if not over:
        raise UserError(f"what is to be searched? Add --over NAME=SPEC, once for each setting, with SPEC one of {GRAMMAR}")
    order = list(kinds_of_fields())
    fields = [read_field(name.replace("-", "_"), what) for name, what in over.items()]
    return tuple(sorted(fields, key=lambda field: order.index(field.name)))


def read_over(flags: Sequence[str], file: str = "") -> dict[str, Any]:
    """What to search, by a field's name: NAME=SPEC of each flag, which overrides a TOML file.

    Raises:
        UserError: A flag without =, a missing file, or one that is not TOML.

    >>> read_over(["learning-rate=1e-4..1e-2:log"])
    {'learning_rate': '1e-4..1e-2:log'}
    """
    over = read_space_file(Path(file)) if file else {}
    for words in flags:
        name, equals, what = words.partition("=")
        if not equals:
            raise UserError(f"--over {words}: must be NAME=SPEC, for instance learning_rate=1e-4..1e-2:log")
        over[name.replace("-", "_")] = what
    return over


def read_space_file(path: Path) -> dict[str, Any]:
    """Read a TOML file: names as in a configuration, each with a list of values or a text such as "1e-4..1e-2:log".

    Raises:
        UserError: The file is missing or not TOML.
    """
    fields, augment = read_fields(path)
    return {**fields, **{f"augment.{name}": what for name, what in augment.items()}}


def write_space_file(space: Space, path: Path) -> None:
    """Write what `read_space_file` reads."""
    write_whole(path, "".join(f"{field.name} = {field.to_toml()}\n" for field in space))


def apply_values(config: TrainConfig, values: Mapping[str, Any]) -> TrainConfig:
    """The configuration with these values, by the fields' names in a file.

    Options that a searched loss does not have are left at their defaults.

    Raises:
        UserError: They are not allowed, alone or together.
    """
    own = {name: value for name, value in values.items() if not name.startswith("augment.")}
    augment = {name.removeprefix("augment."): value for name, value in values.items() if name.startswith("augment.")}
    applied = dataclasses.replace(config, **own, augment=dataclasses.replace(config.augment, **augment))
    if "loss" not in values:
        return applied
    idle = [name for name in LOSS_OPTIONS if not has_option(applied.loss, name)]
    return dataclasses.replace(applied, **{name: getattr(TrainConfig(), name) for name in idle})


def drop_idle(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that matter to a trial: where losses are searched, those of options that its loss does not have do not.

    >>> drop_idle({"loss": "bce_dice", "width": 8, "focal_gamma": 2.0})
    {'loss': 'bce_dice', 'width': 8}
    """
    loss = values.get("loss")
    return {name: value for name, value in values.items() if not loss or name not in LOSS_OPTIONS or has_option(loss, name)}


def check_space(space: Space, base: TrainConfig) -> None:
    """Refuse a search with an end or a value that no trial could use.

    Raises:
        UserError: The error of `TrainConfig` or the model for the first one.
    """
    for field in space:
        if base.init and field.name in ("model", "width", "encoder"):
            raise UserError(f"{field.name} cannot be searched with --init, whose model brings its own")
        for value in field.ends:
            _check_value(space, base, field.name, value)
    require_loss_options(base)
    losses = find_losses(space, base)
    for field in space:
        if field.name in LOSS_OPTIONS:
            require_loss_option(field.name, losses)


def find_losses(space: Space, base: TrainConfig) -> Sequence[str]:
    """The losses of the trials after the baseline."""
    return next((field.ends for field in space if isinstance(field, Choice) and field.name == "loss"), (base.loss,))


def _check_value(space: Space, base: TrainConfig, name: str, value: Any) -> None:
    """Require that a value is allowed together with some values of the other searched fields.

    Raises:
        UserError: It is allowed with none.
    """
    first: UserError | None = None
    for others in itertools.islice(_combine_others(space, base, name), MOST_COMBINATIONS):
        try:
            config = apply_values(base, {**others, name: value})
            require_model(config.model, encoder=config.encoder, batch=max(1, config.batch_size // config.accumulate))
        except UserError as error:
            first = first or error
        else:
            return
    if first:
        raise first


def _combine_others(space: Space, base: TrainConfig, without: str) -> Iterator[dict[str, Any]]:
    """Combinations of the other fields' values: the baseline's if a trial could have them, ends, lists."""
    unchanged = flatten(base)
    others = [field for field in space if field.name != without]
    known = [[value for value in (unchanged[field.name],) if field.holds(value)] for field in others]
    for values in itertools.product(*((*own, *field.ends) for own, field in zip(known, others, strict=True))):
        yield dict(zip((field.name for field in others), values, strict=True))
