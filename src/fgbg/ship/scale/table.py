"""Parquet with a photo in each row: which columns tell what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow
from pyarrow import fs, parquet

from fgbg.errors import UserError

ID_COLUMNS, IMAGE_COLUMNS = ("id", "path"), ("image", "bytes")


@dataclass(frozen=True)
class Table:
    """Parquet files with a photo in each row, as the bytes of an image file."""

    files: list[str]
    id_column: str
    image_column: str


def open_table(files: Sequence[str], filesystem: fs.FileSystem) -> Table:
    """The table that these files are parts of.

    Raises:
        UserError: One cannot be read, or lacks a column.
    """
    schema = _read(parquet.read_schema, files[0], filesystem)
    columns = []
    for what, names in (("id", ID_COLUMNS), ("image", IMAGE_COLUMNS)):
        name = next((name for name in names if name in schema.names), None)
        if name is None:
            raise UserError(
                f"{files[0]} has no column {' or '.join(names)} for the {what}: it has {', '.join(schema.names) or 'none'}"
            )
        columns.append(name)
    held = schema.field(columns[1]).type
    if not holds_bytes(held):
        raise UserError(f"{files[0]}: column {columns[1]} is {held}, not the bytes of an image file in each row")
    return Table(list(files), *columns)


def holds_bytes(held: pyarrow.DataType) -> bool:
    """Whether a column's values are bytes, or have a field of bytes, as images of Hugging Face's `datasets`."""
    if pyarrow.types.is_struct(held):
        return held.get_field_index("bytes") >= 0 and holds_bytes(held.field("bytes").type)
    return pyarrow.types.is_binary(held) or pyarrow.types.is_large_binary(held)


def read_ids(table: Table, file: str, filesystem: fs.FileSystem) -> list[str]:
    """The ids of a file's rows, as text.

    Raises:
        UserError: It cannot be read, or a row has none.
    """
    ids = _read(parquet.read_table, file, filesystem, columns=[table.id_column], partitioning=None).column(0).to_pylist()
    if None in ids:
        raise UserError(f"{file}: row {ids.index(None)} has no {table.id_column}: every photo needs one")
    return [str(name) for name in ids]


def take_bytes(column: pyarrow.ChunkedArray) -> list[bytes | None]:
    """The values of a column of images."""
    values = column.to_pylist()
    return [value["bytes"] if isinstance(value, dict) else value for value in values]


def _read(read: Callable[..., Any], file: str, filesystem: fs.FileSystem, **options: Any) -> Any:
    try:
        return read(file, filesystem=filesystem, **options)
    except (OSError, KeyError, pyarrow.ArrowException) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{file} cannot be read as Parquet ({reason}): write it again or leave it out") from None
