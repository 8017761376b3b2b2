"""The page's drawings of one run: curves, histogram, intervals, reliability, threshold."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
from markupsafe import Markup

from fgbg.judge.bootstrap import Estimate
from fgbg.judge.page.svg import Axis, Frame, draw_grid, line, path, picture, round_ticks, tag, text
from fgbg.judge.page.wording import known_scores, word
from fgbg.judge.slices import Slice
from fgbg.record import EpochRecord
from fgbg.rows import ScoreRow
from fgbg.words import plural

BARS = 20  # in the histogram
RUN_HUES = 8  # in the style sheet
WIDTH, HEIGHT = 440, 280
_PLOT = (48, WIDTH - 12, HEIGHT - 48, 34)  # left, right, bottom, top


def _frame(x: tuple[float, float], y: tuple[float, float]) -> Frame:
    left, right, bottom, top = _PLOT
    return Frame(Axis(*x, left, right), Axis(*y, bottom, top))


def draw_curve(epochs: Sequence[EpochRecord], quantity: str) -> Markup:
    """Training and validation over epochs, the best epoch marked.

    Args:
        epochs: One or more.
        quantity: `loss` or `dice`.
    """
    names = {"loss": ("train_loss", "val_loss"), "dice": ("train_dice", "val_dice")}[quantity]
    numbers, left = [record.epoch for record in epochs], _PLOT[0]
    series = {name: [float(getattr(record, name)) for record in epochs] for name in names}
    finite = [value for values in series.values() for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    room = 0.06 * (high - low) or 0.5
    floor = max(0.0, low - room) if low >= 0 else low - room
    ceiling = min(1.0, high + room) if quantity == "dice" and high <= 1 else high + room
    frame = _frame((numbers[0] - 0.5, numbers[-1] + 0.5), (floor, ceiling))
    ticks = [tick for tick in round_ticks(numbers[0], numbers[-1], 6) if tick == int(tick)] or [numbers[0]]
    title = {"loss": "Loss", "dice": "Dice"}[quantity]
    parts = [draw_grid(frame, "Epoch", title, ticks, round_ticks(floor, ceiling, 4))]
    best = [record.epoch for record in epochs if record.best]
    if best:
        x = frame.x.place(best[-1])
        side = "end" if x > WIDTH / 2 else "start"
        parts.append(line(x, frame.y.start, x, frame.y.end, "best"))
        parts.append(text(x + (-6 if side == "end" else 6), frame.y.end - 8, f"best: epoch {best[-1]}", side, "note"))
    for name, kind in zip(names, ("train", "validation"), strict=True):
        points = [(frame.x.place(n), frame.y.place(v)) for n, v in zip(numbers, series[name], strict=True)]
        parts.append(path(points, f"line {kind}"))
        if len(points) <= 12:
            parts += [tag("circle", cx=x, cy=y, r=3, class_=f"point {kind}") for x, y in points if math.isfinite(y)]
    parts.append(line(left, frame.y.start, left, frame.y.end, "cursor"))
    last = epochs[-1]
    label = f"{title} over {plural(len(epochs), 'epoch')}; at the end {word(getattr(last, names[0]))} in training and "
    drawing = picture(WIDTH, HEIGHT, f"{label}{word(getattr(last, names[1]))} in validation.", *parts)
    values = [[value if math.isfinite(value) else None for value in series[name]] for name in names]
    readout = json.dumps({"epochs": numbers, "values": values, "x": list(frame.x)})
    return tag("div", drawing, class_="curve-box", data_curve=readout)


def dice_bins(scores: Sequence[float]) -> list[int]:
    """Number of photos in each of BARS equal bins from 0 to 1; a Dice of 1 falls into the last.

    >>> dice_bins([0.05, 0.15, 1.0])[:4], dice_bins([0.05, 0.15, 1.0])[-1]
    ([0, 1, 0, 1], 1)
    """
    # Rounded as in the gallery, since the bars link to its filters.
    places = [min(BARS - 1, math.floor(round(score, 5) * BARS + 1e-9)) for score in scores]
    return [places.count(number) for number in range(BARS)]


def draw_histogram(rows: Sequence[ScoreRow], linked: bool) -> Markup:
    """Histogram of the photos' Dice; if `linked`, each bar links to its photos in the gallery."""
    scores = known_scores(rows)
    counts = dice_bins(scores)
    frame = _frame((0, 1), (0, max([*counts, 1]) * 1.04))
    ticks = [tick for tick in round_ticks(0, max([*counts, 1]), 4) if tick == int(tick)]
    parts = [draw_grid(frame, "Dice of a photo", "Photos", [0, 0.2, 0.4, 0.6, 0.8, 1], ticks)]
    for number, count in enumerate(counts):
        if count:
            low, high = number / BARS, (number + 1) / BARS
            left, right, top = frame.x.place(low), frame.x.place(high), frame.y.place(count)
            told = f"{plural(count, 'photo')} with a Dice of {low:.2f} to {high:.2f}"
            bar = tag(
                "rect",
                tag("title", told),
                x=left + 1,
                y=top,
                width=right - left - 2,
                height=frame.y.start - top,
                class_="bar",
            )
            if linked:
                bar = tag("a", bar, href=f"#gallery&dice={low:.2f}-{high:.2f}", aria_label=f"Show the {told}")
            parts.append(bar)
    if scores:
        x = frame.x.place(float(np.mean(scores)))
        parts += [
            *(line(x, frame.y.start, x, frame.y.end - 2, style) for style in ("halo", "best")),
            text(x, frame.y.end - 8, f"mean {np.mean(scores):.3f}", "middle", "note"),
        ]
    label = f"Histogram of the Dice of {plural(len(scores), 'photo')}."
    return picture(WIDTH, HEIGHT, label, *parts, class_="plot histogram", has_links=linked)


def draw_interval(estimates: Sequence[Estimate], low: float, high: float, reference: float | None = None) -> Markup:
    """Means with whiskers, one below the other, on a common unlabelled axis: fits a table cell."""
    step, height = 12, 12 * len(estimates) + 8
    axis = Axis(low, high, 6, 154)
    parts = [line(axis.start, height / 2, axis.end, height / 2, "grid")] if len(estimates) == 1 else []
    if reference is not None and low <= reference <= high:
        parts.append(line(axis.place(reference), 0, axis.place(reference), height, "reference"))
    for number, (mean, start, end) in enumerate(estimates):
        y = 10 + step * number
        hue = f" run-{number % RUN_HUES}" if len(estimates) > 1 else ""
        parts.append(line(axis.place(max(start, low)), y, axis.place(min(end, high)), y, f"whisker{hue}"))
        parts.append(tag("circle", cx=axis.place(mean), cy=y, r=4, class_=f"dot{hue}"))
    return tag("svg", *parts, viewBox=f"0 0 160 {height}", class_="interval", aria_hidden="true")


def common_range(estimates: Sequence[Estimate]) -> tuple[float, float]:
    """The range that covers all intervals, rounded outwards to tenths."""
    known = [value for each in estimates for value in each if math.isfinite(value)]
    if not known:
        return 0.0, 1.0
    low, high = math.floor(min(known) * 10) / 10, math.ceil(max(known) * 10) / 10
    return low, max(high, low + 0.1)


def draw_reliability(bins: Sequence[dict[str, Any]]) -> Markup:
    """Reliability diagram: share of object pixels by predicted probability; calibrated on the diagonal."""
    frame = _frame((0, 1), (0, 1))
    ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
    known = [each for each in bins if each["pixels"]]
    most = max((each["pixels"] for each in known), default=1)
    parts = [draw_grid(frame, "Probability that the model gave", "Share of pixels that are object", ticks, ticks)]
    parts.append(line(frame.x.place(0), frame.y.place(0), frame.x.place(1), frame.y.place(1), "reference"))
    points = [(frame.x.place(each["mean_probability"]), frame.y.place(each["object_share"])) for each in known]
    parts.append(path(points, "line validation"))
    for each, (x, y) in zip(known, points, strict=True):
        told = f"{each['pixels']:,} pixels at {each['mean_probability']:.2f}: {each['object_share']:.0%} are object"
        radius = 2.5 + 4 * math.sqrt(each["pixels"] / most)
        parts.append(tag("circle", tag("title", told), cx=x, cy=y, r=f"{radius:.1f}", class_="dot"))
    return picture(
        WIDTH, HEIGHT, "Reliability diagram: share of object among pixels, by the probability that the model gave.", *parts
    )


def draw_threshold(threshold: dict[str, Any]) -> Markup:
    """The mean score on validation photos for each candidate threshold, the chosen one marked."""
    candidates, scores = threshold["candidates"], threshold["scores"]
    low, high = min(scores), max(scores)
    room = 0.08 * (high - low) or 0.05
    frame = _frame((0, 1), (low - room, high + room))
    name = {"iou": "Mean IoU", "recall": "Mean recall"}.get(str(threshold.get("objective")).partition(":")[0], "Mean Dice")
    parts = [draw_grid(frame, "Threshold", f"{name}, validation photos", [0, 0.25, 0.5, 0.75, 1], round_ticks(low, high, 4))]
    half, chosen = frame.x.place(0.5), frame.x.place(threshold["value"])
    parts.append(line(half, frame.y.start, half, frame.y.end, "reference"))
    parts.append(
        path([(frame.x.place(x), frame.y.place(y)) for x, y in zip(candidates, scores, strict=True)], "line validation")
    )
    y = frame.y.place(float(np.interp(threshold["value"], candidates, scores)))
    parts.append(line(chosen, frame.y.start, chosen, y, "chosen-line"))
    parts.append(tag("circle", cx=chosen, cy=y, r=5, class_="dot"))
    side, away = ("start", 8) if chosen < WIDTH / 2 - 20 else ("end", -8)
    parts.append(text(chosen + away, frame.y.start - 10, f"chosen: {threshold['value']:g}", side, "note"))
    return picture(WIDTH, HEIGHT, f"{name} by threshold; {threshold['value']:g} is chosen.", *parts)


def slice_key(each: Slice) -> str:
    """A slice's key in links; its prefix tells a trait from a user's column of the same name."""
    return f"{'trait' if each.meaning else 'own'}:{each.trait}:{each.value}"


def slice_link(each: Slice) -> str:
    """The address of a slice's photos in the gallery."""
    return f"#gallery&slice={quote(slice_key(each), safe='')}"


def kind_link(kind: str) -> str:
    """The address of the photos of one kind of failure."""
    return f"#gallery&kind={quote(kind, safe='')}"
