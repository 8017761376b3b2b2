"""The photos of a scored set as the page's script reads them, and the few that are shown without any script."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from fgbg.judge.failures import FAILURES
from fgbg.judge.metrics import Counts, precision_of, recall_of
from fgbg.judge.outcomes import COLOURS
from fgbg.judge.page.drawings import slice_key
from fgbg.judge.page.svg import embed
from fgbg.judge.ranking import pick_extremes, rank_rows
from fgbg.judge.slices import TRAITS, Slice
from fgbg.rows import ScoreRow
from fgbg.run import Run

PICTURE_BUDGET_BYTES = 5_000_000  # photos and outcomes, before base64 adds a third: keeps the page small enough to mail
PICKED = 8  # photos of each kind that are shown without a script and on paper


class Column(NamedTuple):
    """A number that is shown for every photo."""

    key: str
    title: str
    digits: int
    unit: str = ""
    sortable: bool = True


COLUMNS = (
    Column("dice", "Dice", 4),
    Column("uncertainty", "Its own doubt", 4),
    Column("label_suspicion", "Label suspicion", 4),
    Column("iou", "IoU", 4, sortable=False),
    Column("dice_at_size", "Dice at training size", 4, sortable=False),
    Column("boundary_iou", "Boundary IoU", 4),
    Column("surface_distance", "Surface distance", 2, " px"),
    Column("hausdorff95", "HD95", 2, " px"),
    Column("precision", "Precision", 4, sortable=False),
    Column("recall", "Recall", 4, sortable=False),
    Column("TP", "Object found", 0, " px", sortable=False),
    Column("FP", "Extra", 0, " px", sortable=False),
    Column("FN", "Missed", 0, " px", sortable=False),
    Column("found_count", "Objects found", 0, sortable=False),
    Column("predicted_count", "Objects predicted", 0, sortable=False),
    Column("width", "Width", 0, " px", sortable=False),
    Column("height", "Height", 0, " px", sortable=False),
    *(Column(trait.key, trait.title, 0 if trait.key == "object_count" else 3) for trait in TRAITS),
)


class Pick(NamedTuple):
    """One photo that is shown without a script."""

    row: ScoreRow
    photo: str  # a data: URL; empty where there is no picture
    outcome: str


def pick_photos(run: Run, rows: Sequence[ScoreRow], split: str) -> dict[str, list[Pick]]:
    """The worst, the median and the best photos."""

    def pick(row: ScoreRow) -> Pick:
        pair = read_pictures(run, row.id, split)
        return Pick(row, embed(pair[0], "webp"), embed(pair[1], "png")) if pair else Pick(row, "", "")

    return {kind: [pick(row) for row in picked] for kind, picked in pick_extremes(rows, PICKED).items() if picked}


def read_pictures(run: Run, sample_id: str, split: str) -> tuple[bytes, bytes] | None:
    """A photo's thumbnail and its outcome picture, as stored in the run folder; None if either is missing."""
    paths = run.thumbnails(split) / f"{sample_id}.webp", run.outcomes(split) / f"{sample_id}.png"
    return (paths[0].read_bytes(), paths[1].read_bytes()) if all(path.is_file() for path in paths) else None


def choose_pictures(run: Run, rows: Sequence[ScoreRow], split: str, budget: int) -> dict[str, tuple[bytes, bytes]]:
    """The pictures that the page embeds: all of them, or as many as fit the budget.

    Worst and best photos alternate, starting with the worst, so that a large set shows both ends.
    """
    ranked = rank_rows(rows)
    ranked += [row for row in rows if math.isnan(row.dice)]
    order = [row for pair in zip(ranked, reversed(ranked), strict=True) for row in pair][: len(ranked)]
    chosen: dict[str, tuple[bytes, bytes]] = {}
    for row in order:
        pair = read_pictures(run, row.id, split)
        if pair is None:
            continue
        budget -= len(pair[0]) + len(pair[1])
        if budget < 0:
            break
        chosen[row.id] = pair
    return chosen


def write_photo_data(
    rows: Sequence[ScoreRow], slices: Sequence[Slice], pictures: dict[str, tuple[bytes, bytes]], *, empty: float
) -> Markup:
    """Everything that the gallery shows, as JSON that is safe inside a script element.

    Args:
        rows: The photos.
        slices: As `slice_rows` finds them.
        pictures: Thumbnail and outcome by id, as `choose_pictures` returns them.
        empty: The score of a photo where truth and prediction are both empty.
    """
    places = {row.id: number for number, row in enumerate(rows)}
    shown = {sample_id: number for number, sample_id in enumerate(pictures)}
    metadata = list(dict.fromkeys(name for row in rows for name in row.metadata))
    content = {
        "columns": [column._asdict() for column in COLUMNS],
        "metadata": metadata,
        "photos": [
            {
                "id": row.id,
                "kind": row.failure,
                "group": row.group,
                "values": [_value(row, column.key, empty) for column in COLUMNS],
                "metadata": [row.metadata.get(name, "") for name in metadata],
                "picture": shown.get(row.id, -1),
            }
            for row in rows
        ],
        "kinds": FAILURES,
        "slices": [
            {
                "key": slice_key(each),
                "title": f"{each.title}: {each.value}",
                "photos": [places[one] for one in each.ids],
            }
            for each in slices
        ],
        "pictures": [[base64.b64encode(content).decode() for content in pair] for pair in pictures.values()],
        "colours": [list(colour) for colour in COLOURS],
    }
    return escape_json(content)


def escape_json(content: Any) -> Markup:
    """JSON in which no name can close the element that contains it.

    >>> print(escape_json({"id": "</script>"}))
    {"id":"\\u003c/script\\u003e"}
    """
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def _value(row: ScoreRow, key: str, empty: float) -> float | int | None:
    """A value of a photo, rounded; None if it is not finite."""
    counts = Counts(row.TP, row.FP, row.FN, row.TN)
    own = {"precision": precision_of, "recall": recall_of}.get(key)
    value = float(own(counts, empty=empty)) if own else getattr(row, key)
    if isinstance(value, int):
        return value
    return round(value, 5) if math.isfinite(value) else None
