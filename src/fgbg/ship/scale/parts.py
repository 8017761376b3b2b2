"""Masks as rows of Parquet: parts that are written whole or not at all, and in which no photo appears twice."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import parquet

from fgbg.errors import UserError
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
    ]
)
"""`counts` is COCO's uncompressed run-length code: lengths of runs down the columns, the first one of ground."""


def write_part(out: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write a part. Its name is derived from its ids: computing the same photos again writes the same file again."""
    names = "\n".join(row["id"] for row in rows)
    name = f"{PREFIX}{hashlib.sha256(names.encode()).hexdigest()[:16]}.parquet"
    _write(out / name, pyarrow.Table.from_pylist(list(rows), SCHEMA))


def find_rows(out: Path) -> dict[str, Path]:
    """Which part holds each id that was written to a folder before.

    Raises:
        UserError: A part cannot be read.
    """
    held: dict[str, Path] = {}
    for part in sorted(out.glob(f"{PREFIX}*.parquet")):
        try:
            ids = parquet.read_table(part, columns=["id"], partitioning=None).column("id").to_pylist()
        except (OSError, pyarrow.ArrowException) as error:
            raise UserError(f"{part} is damaged ({str(error).splitlines()[0]}): remove it, then go on") from None
        held |= dict.fromkeys(ids, part)
    return held


def drop_rows(held: dict[str, Path], ids: set[str]) -> None:
    """Remove the rows of these ids from the parts that hold them, before they are computed again."""
    for part in sorted({held[name] for name in ids & held.keys()}):
        table = parquet.read_table(part, partitioning=None)
        rest = table.filter(pyarrow.array([name not in ids for name in table.column("id").to_pylist()]))
        if rest.num_rows == 0:
            part.unlink()
            continue
        about = part.stat()
        _write(part, rest)
        os.utime(part, ns=(about.st_atime_ns, about.st_mtime_ns))  # the remaining rows keep their age


def _write(path: Path, table: pyarrow.Table) -> None:
    with replace_when_whole(path) as aside:
        parquet.write_table(table, aside, compression="zstd")
