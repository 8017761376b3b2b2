"""One row of scores per image, and their CSV file. Never imports torch."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fgbg.storage import replace_when_whole


@dataclass(frozen=True)
class ScoreRow:
    """Scores of one image, the model's doubts about it, and its traits.

    Counts are of judged pixels at the photo's own size; lengths are in its pixels. Traits of the object are NaN where the
    truth has none.
    """

    id: str
    height: int
    width: int
    TP: int
    FP: int
    FN: int
    TN: int
    dice: float
    iou: float
    dice_at_size: float
    boundary_iou: float = math.nan
    surface_distance: float = math.nan  # average, symmetric, over edge pixels
    hausdorff95: float = math.nan
    contour_distance_from_truth: float = math.nan  # average over the true contour's length, to the predicted contour
    contour_distance_from_prediction: float = math.nan  # the other way
    uncertainty: float = math.nan  # 0 sure … 1: 1 - the Dice that the model expects, without looking at the truth
    label_suspicion: float = math.nan  # 0 … 1: how confidently the model contradicts the truth
    failure: str = ""  # a key of judge.failures.FAILURES
    object_share: float = math.nan  # of the judged pixels
    tone_contrast: float = math.nan  # 0 camouflage … 1: distance between the colours of the object and of a band around it
    irregularity: float = math.nan  # outline length squared over 4π area: a disc has 1.1
    convexity: float = math.nan  # area over that of the convex hull, 0 … 1
    roughness: float = math.nan  # 0 smooth … 1: 1 - length of the hull's outline over that of the object's
    touches_frame: float = math.nan  # 1 where the object reaches the photo's edge, else 0
    brightness: float = math.nan  # mean luma, 0 … 1
    sharpness: float = math.nan  # variance of the luma's Laplacian; low is blurred
    object_count: float = math.nan  # true objects: parts that do not touch
    found_count: float = math.nan  # those that a part of the prediction agrees with, by an IoU over 0.5
    predicted_count: float = math.nan  # parts of the prediction
    group: str = ""  # images of one group are not independent of each other
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_judged(self) -> bool:
        """Whether any pixel of the photo is judged: otherwise it has no score."""
        return self.TP + self.FP + self.FN + self.TN > 0


TESTED_IN = "tested in"
"""The column of metadata that joint scores of a cross-validation add: `fold 0`, …"""

_COLUMNS: dict[str, type] = {
    field.name: {"str": str, "int": int, "float": float}[str(field.type)]
    for field in dataclasses.fields(ScoreRow)
    if field.name != "metadata"
}
_REQUIRED = {field.name for field in dataclasses.fields(ScoreRow) if field.default is dataclasses.MISSING} - {"metadata"}


def write_rows(path: Path, rows: Sequence[ScoreRow]) -> None:
    """Write the rows as CSV; the user's metadata follow the scores, one column each."""
    columns = list(dict.fromkeys(name for row in rows for name in row.metadata))
    with replace_when_whole(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*_COLUMNS, *columns])
        for row in rows:
            values = [getattr(row, name) for name in _COLUMNS]
            writer.writerow([*values, *(row.metadata.get(name, "") for name in columns)])


def has_these_columns(path: Path) -> bool:
    """Whether a file's columns are those of this version, or some of them: those that were added later are NaN then."""
    with path.open(newline="", encoding="utf-8") as file:
        own, _ = _split_header(next(csv.reader(file), []))
    return _REQUIRED <= set(own) <= set(_COLUMNS)


def read_rows(path: Path) -> list[ScoreRow]:
    """The rows that `write_rows` wrote, in its order."""
    with path.open(newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    own, users = _split_header(header)
    cells = dict(zip(own, zip(*(line[: len(own)] for line in lines), strict=True), strict=False))
    scores = {name: _read_column(_COLUMNS[name], column) for name, column in cells.items()}
    metadata = [dict(zip(users, line[len(own) :], strict=True)) for line in lines]
    return [
        ScoreRow(**dict(zip(scores, values, strict=True)), metadata=told)
        for *values, told in zip(*scores.values(), metadata, strict=True)
    ]


def _split_header(header: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """The columns of scores, of which `group` is the last, and the user's own, which may have names of scores."""
    end = header.index("group") + 1 if "group" in header else 0
    return header[:end], header[end:]


def _read_column(kind: type, texts: Sequence[str]) -> list[Any]:
    values = list(map(kind, texts))
    # One NaN object, so that rows read twice are equal.
    return [math.nan if math.isnan(value) else value for value in values] if kind is float else values
