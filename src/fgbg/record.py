"""The record of a training: a line of JSON per epoch, with a checksum that tells whether it is intact."""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fgbg.errors import UserError


@dataclass(frozen=True)
class EpochRecord:
    """One line of epochs.jsonl. Every Dice is a mean over images."""

    epoch: int
    train_loss: float
    train_dice: float  # on augmented images at the training size, while the weights change
    val_loss: float
    val_dice: float  # at the training size, which for patches is the photo's own
    val_dice_photo: float  # at each photo's own size; chooses `best`
    learning_rate: float
    images_per_second: float  # of training alone
    seconds: float  # of the whole epoch, validation included
    best: bool
    own_metric: float | None = None  # mean of the metric given to the Python API; chooses `best` if given


CHECK = "crc32"
"""The last field of a line: checksum of its JSON without this field, to detect a digit that flipped on the disk."""


def write_lines(records: Iterable[EpochRecord]) -> str:
    """The records as the text of epochs.jsonl."""
    return "".join(_write_line(record) for record in records)


def read_lines(path: Path) -> list[EpochRecord]:
    """The records in a file; empty if there is none. A last line cut short by a kill is left out.

    Raises:
        UserError: A line is damaged.
    """
    if not path.exists():
        return []
    # As bytes, which can be split even if damaged.
    whole = [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    return [_read_line(line, f"line {number} of {path}") for number, line in enumerate(whole, start=1)]


def _write_line(record: EpochRecord) -> str:
    fields = dataclasses.asdict(record)
    return json.dumps(fields | {CHECK: _check(fields)}) + "\n"


def _read_line(line: bytes, where: str) -> EpochRecord:
    try:
        fields = json.loads(line)
        check = fields.pop(CHECK, None)  # None: written before there were checksums
        if check in (None, _check(fields)):
            return EpochRecord(**fields)
    except (ValueError, TypeError, AttributeError):
        pass
    raise UserError(f"{where} is damaged: restore the file from a copy, or train again in a new --out")


def _check(fields: dict[str, object]) -> str:
    return f"{zlib.crc32(json.dumps(fields).encode()):08x}"
