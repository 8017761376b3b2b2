"""Parquet with a photo in each row: which columns hold what."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow
import pyarrow.compute
from pyarrow import parquet

from fgbg.errors import UserError, first_line
from fgbg.ship.scale.store import Store

ID_COLUMNS, IMAGE_COLUMNS = ("id", "path"), ("image", "bytes")


@dataclass(frozen=True)
class Table:
    """Parquet files of one store with a photo in each row, as the bytes of an image file."""

    store: Store
    files: list[str]
    id_column: str
    image_column: str


def open_table(store: Store, files: Sequence[str]) -> Table:
    """The table that these files make up.

    Raises:
        UserError: One cannot be read, or lacks a column.
    """
    schema = _read(parquet.read_schema, files[0], store)
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
    return Table(store, list(files), *columns)


def holds_bytes(held: pyarrow.DataType) -> bool:
    """Whether a column's values are bytes, or have a field `bytes`, as images in Hugging Face's `datasets` do."""
    if pyarrow.types.is_struct(held):
        return held.get_field_index("bytes") >= 0 and holds_bytes(held.field("bytes").type)
    return pyarrow.types.is_binary(held) or pyarrow.types.is_large_binary(held)


def read_ids(table: Table, file: str) -> list[str]:
    """The ids of a file's rows, as text.

    Raises:
        UserError: It cannot be read, or a row has none.
    """
    column = _read(parquet.read_table, file, table.store, columns=[table.id_column], partitioning=None).column(0)
    ids = column.to_pylist()
    if None in ids:
        raise UserError(f"{file}: row {ids.index(None)} has no {table.id_column}: every photo needs one")
    return [str(name) for name in ids]


def read_rows(table: Table, file: str, *, done: frozenset[str], at_a_time: int) -> Iterator[pyarrow.Table]:
    """A file's rows except those that are done, some at a time: columns `id`, as text, and `image`, as bytes or null.

    Ray's own reader is avoided: with several files at once it sometimes fails if aiohttp is not installed (2.60).
    """
    with parquet.ParquetFile(file, filesystem=table.store.filesystem) as opened:
        for batch in opened.iter_batches(batch_size=at_a_time, columns=[table.id_column, table.image_column]):
            images, ids = batch.column(table.image_column), [str(name) for name in batch.column(table.id_column).to_pylist()]
            if pyarrow.types.is_struct(images.type):
                images = pyarrow.compute.struct_field(images, "bytes")
            rows = pyarrow.table({"id": ids, "image": images.cast(pyarrow.large_binary())})
            yield rows.filter(pyarrow.array([name not in done for name in ids]))


def _read(read: Callable[..., Any], file: str, store: Store, **options: Any) -> Any:
    try:
        return read(file, filesystem=store.filesystem, **options)
    except (OSError, KeyError, pyarrow.ArrowException) as error:
        raise UserError(f"{file} cannot be read as Parquet ({first_line(error)}): write it again or leave it out") from None
