"""Masks as rows of Parquet: parts that are written whole or not at all, and in which no photo appears twice."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow
from pyarrow import parquet

from fgbg.errors import UserError, first_line
from fgbg.storage import replace_when_whole

PREFIX = "part-"
SCHEMA = pyarrow.schema(
    [
        ("id", pyarrow.string()),
        ("height", pyarrow.int32()),
        ("width", pyarrow.int32()),
        ("threshold", pyarrow.float64()),
        ("expected_dice", pyarrow.float64()),
        ("counts", pyarrow.list_(pyarrow.int32())),
        ("made_of", pyarrow.string()),
    ]
)
"""`counts` is COCO's uncompressed run-length code: lengths of runs down the columns, the first one of ground. `made_of` is
what `Ledger` tells of files: rows are known again by it."""


class Held(NamedTuple):
    """The part that a row is in, and what it was made of."""

    part: Path
    made_of: str


def write_part(out: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write a part. Its name is derived from its ids: computing the same photos again writes the same file again."""
    names = "\n".join(row["id"] for row in rows)
    name = f"{PREFIX}{hashlib.sha256(names.encode()).hexdigest()[:16]}.parquet"
    _write(out / name, pyarrow.Table.from_pylist(list(rows), SCHEMA))


def find_rows(out: Path) -> dict[str, Held]:
    """Where each id is that was written to a folder before.

    Raises:
        UserError: A part cannot be read.
    """
    held: dict[str, Held] = {}
    for part in sorted(out.glob(f"{PREFIX}*.parquet")):
        try:
            table = parquet.read_table(part, columns=["id", "made_of"], partitioning=None)
        except (OSError, pyarrow.ArrowException) as error:
            raise UserError(f"{part} is damaged ({first_line(error)}): remove it, then go on") from None
        columns = (table.column(name).to_pylist() for name in ("id", "made_of"))
        held |= {name: Held(part, made_of) for name, made_of in zip(*columns, strict=True)}
    return held


def drop_rows(held: dict[str, Held], ids: set[str]) -> None:
    """Remove the rows of these ids from the parts that hold them, before they are computed again."""
    for part in sorted({held[name].part for name in ids & held.keys()}):
        table = parquet.read_table(part, partitioning=None)
        rest = table.filter(pyarrow.array([name not in ids for name in table.column("id").to_pylist()]))
        if rest.num_rows == 0:
            part.unlink()
            continue
        _write(part, rest)


def _write(path: Path, table: pyarrow.Table) -> None:
    with replace_when_whole(path) as aside:
        parquet.write_table(table, aside, compression="zstd")
