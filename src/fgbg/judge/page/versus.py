"""The page's drawings of two or more runs on the same photos."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from PIL import Image

from fgbg.judge.bootstrap import Estimate
from fgbg.judge.outcomes import COLOURS
from fgbg.judge.page.svg import Axis, Frame, draw_grid, embed, line, picture, round_ticks, tag, text, word_tick
from fgbg.judge.page.tables import rank_by_spread
from fgbg.judge.slices import Slice
from fgbg.rows import ScoreRow
from fgbg.run import Run
from fgbg.words import plural, shorten

CHANGED_PHOTOS = 60
LONGEST_LABEL = 30  # characters that fit in a drawing
FIRST_PHOTOS = 12  # of CHANGED_PHOTOS, shown without unfolding
ROUNDING = 1e-9
_TRUTH = ((0, 0, 0), (255, 255, 255), (0, 0, 0), (255, 255, 255), (128, 128, 128))
_PREDICTION = ((0, 0, 0), (255, 255, 255), COLOURS[2][:3], COLOURS[3][:3], (128, 128, 128))


class Side(NamedTuple):
    """One run's result on a photo."""

    label: str
    dice: float
    prediction: str  # a data: URL; empty where there is no picture


class Changed(NamedTuple):
    """A photo on which runs differ."""

    id: str
    anchor: str
    photo: str
    truth: str
    sides: list[Side]


class SliceRow(NamedTuple):
    """One slice across all runs; None where a run lacks it."""

    title: str
    value: str
    photos: int
    estimates: list[Estimate | None]


def list_changed(named: Mapping[str, Run], rows: Mapping[str, Sequence[ScoreRow]], split: str) -> list[Changed]:
    """The photos on which the runs' Dice differ most, with each run's result.

    Args:
        named: Two or more runs by label, scored on the same photos.
        rows: Their rows by the same labels.
        split: The scored set.
    """
    ranked = [line for line in rank_by_spread({label: rows[label] for label in named}) if line[2] > ROUNDING]
    first = next(iter(named.values()))
    changed = []
    for number, (sample_id, scores, _) in enumerate(ranked[:CHANGED_PHOTOS]):
        sides = [
            Side(label, dice, _paint(run, split, sample_id, _PREDICTION))
            for (label, run), dice in zip(named.items(), scores, strict=True)
        ]
        photo = first.thumbnails(split) / f"{sample_id}.webp"
        shown = embed(photo.read_bytes(), "webp") if photo.is_file() else ""
        changed.append(Changed(sample_id, f"changed-{number}", shown, _paint(first, split, sample_id, _TRUTH), sides))
    return changed


def _paint(run: Run, split: str, sample_id: str, colours: Sequence[Sequence[int]]) -> str:
    """The small outcome picture in other colours, opaque, as a data: URL."""
    path = run.outcomes(split) / f"{sample_id}.png"
    if not path.is_file():
        return ""
    with Image.open(path) as stored:
        values = np.asarray(stored)
    painted = Image.fromarray(values)
    painted.putpalette([channel for colour in colours for channel in colour])
    content = io.BytesIO()
    painted.save(content, format="PNG", optimize=True)
    return embed(content.getvalue(), "png")


def join_slices(slices: Sequence[Sequence[Slice]]) -> list[SliceRow]:
    """The slices of several runs side by side, in the first run's order."""
    found = [{(bool(each.meaning), each.trait, each.value): each for each in of_run} for of_run in slices]
    keys = dict.fromkeys(key for of_run in found for key in of_run)
    joined = []
    for key in keys:
        sides = [of_run.get(key) for of_run in found]
        known = next(side for side in sides if side is not None)
        joined.append(SliceRow(known.title, known.value, len(known.ids), [side.dice if side else None for side in sides]))
    return joined


def draw_scatter(comparison: Any, anchors: Mapping[str, str]) -> Markup:
    """A's Dice against B's, one dot per photo; a dot links to its photo if the page shows it."""
    size, ticks = 420, [0, 0.2, 0.4, 0.6, 0.8, 1]
    a, b = (shorten(label, LONGEST_LABEL) for label in (comparison.a, comparison.b))
    frame = Frame(Axis(0, 1, 48, size - 12), Axis(0, 1, size - 48, 34))
    parts = [draw_grid(frame, f"Dice of {a}", f"Dice of {b}", ticks, ticks)]
    parts.append(line(frame.x.place(0), frame.y.place(0), frame.x.place(1), frame.y.place(1), "reference"))
    parts.append(text(frame.x.place(0.03), frame.y.place(0.94), f"{b} better", "start", "note"))
    parts.append(text(frame.x.place(0.98), frame.y.place(0.04), f"{a} better", "end", "note"))
    linked: list[Markup] = []
    for pair in comparison.pairs:
        told = f"{pair.id}: {pair.a:.3f} and {pair.b:.3f}"
        dot = tag("circle", tag("title", told), cx=frame.x.place(pair.a), cy=frame.y.place(pair.b), r=3, class_="speck")
        if pair.id in anchors:
            linked.append(tag("a", dot, href=f"#{anchors[pair.id]}", aria_label=f"Show {told}"))
        else:
            parts.append(dot)
    label = f"Dice of {comparison.a} against {comparison.b} on {plural(len(comparison.pairs), 'photo')}."
    return picture(size, size, label, *parts, *linked, has_links=bool(linked))


def draw_differences(comparison: Any) -> Markup:
    """B's Dice minus A's for every photo, sorted from greatest loss to greatest gain, as one step plot."""
    gaps = sorted(pair.b - pair.a for pair in comparison.pairs if not math.isnan(pair.b - pair.a)) or [0.0]
    reach = max(0.1, math.ceil(10 * max(abs(gaps[0]), abs(gaps[-1]))) / 10)
    frame = Frame(Axis(0, len(gaps), 48, 428), Axis(-reach, reach, 372, 34))
    zero = frame.y.place(0)
    parts = [
        draw_grid(
            frame,
            "Photos, from loss to gain",
            f"Dice of {shorten(comparison.b, LONGEST_LABEL)} less {shorten(comparison.a, LONGEST_LABEL)}",
            [],
            round_ticks(-reach, reach, 5),
        )
    ]
    for kind, chosen in (("loss", [gap < 0 for gap in gaps]), ("gain", [gap > 0 for gap in gaps])):
        places = [number for number, keep in enumerate(chosen) if keep]
        if places:
            steps = [f"M{frame.x.place(places[0]):g} {zero:g}"]
            steps += [f"V{frame.y.place(gaps[number]):g}H{frame.x.place(number + 1):g}" for number in places]
            parts.append(tag("path", d="".join([*steps, f"V{zero:g}Z"]), class_=f"skyline {kind}"))
    parts.append(line(frame.x.start, zero, frame.x.end, zero, "axis"))
    return picture(440, 420, f"Difference of Dice on {plural(len(gaps), 'photo')}, sorted.", *parts)


def draw_difference(difference: Estimate) -> Markup:
    """The mean difference with its interval, on an axis centred on zero."""
    reach = max(0.01, *(1.15 * abs(value) for value in difference if math.isfinite(value)))
    axis = Axis(-reach, reach, 20, 420)
    parts = [line(20, 34, 420, 34, "grid"), line(220, 10, 220, 50, "axis")]
    for value in round_ticks(-reach, reach, 4):
        parts.append(text(axis.place(value), 66, f"{'+' if value > 0 else ''}{word_tick(value)}"))
    low, high = max(-reach, difference.low), min(reach, difference.high)  # with a single photo the interval is infinite
    parts.append(line(axis.place(low), 34, axis.place(high), 34, "whisker"))
    parts.append(tag("circle", cx=axis.place(difference.mean), cy=34, r=7, class_="dot"))
    return picture(440, 76, f"Difference with its 95 % interval: {difference.signed()}.", *parts)
