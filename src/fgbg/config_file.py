"""Settings as TOML: written, read, and the presets that ship with fgbg."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from pathlib import Path
from typing import Any

from fgbg.config import TrainConfig
from fgbg.data.augment_ranges import AugmentRanges
from fgbg.errors import UserError, unknown_name

PRESETS = Path(__file__).parent / "presets"


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


def read_fields(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a TOML file says, and what its table [augment] says, by name.

    Raises:
        UserError: The file is missing or no TOML, or `augment` is no table.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist: it is where settings are read from, as TOML")
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no TOML file: {error}") from None
    augment = fields.pop("augment", {})
    if not isinstance(augment, dict):
        raise UserError(f"{path}: augment = {augment!r} must be a table of settings, [augment]")
    return fields, augment


def read_config(path: Path, base: TrainConfig | None = None) -> TrainConfig:
    """The configuration in a TOML file, laid over `base` (the defaults without one).

    Raises:
        UserError: The file is missing or no TOML, or names a field that does not exist, or a value is out of range.
    """
    base, (fields, augment) = base or TrainConfig(), read_fields(path)
    _require_known(path, fields, TrainConfig)
    _require_known(path, augment, AugmentRanges)
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    try:
        return dataclasses.replace(base, **fields, augment=dataclasses.replace(base.augment, **augment))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


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
