"""The page's charts: the course of a search, and Dice against each field."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from markupsafe import Markup

from fgbg.judge.page.svg import Axis, Frame, draw_grid, line, path, picture, round_ticks, tag, text, word_tick
from fgbg.search.fields import Choice, Field
from fgbg.search.results import Sweep, TrialRecord, say_value
from fgbg.words import plural

WIDTH, HEIGHT = 440, 250
WIDE = 920
_LEFT, _RIGHT, _BOTTOM, _TOP = 56, 14, 48, 34
LONGEST_LABEL = 14


def choose_floor(dices: Sequence[float]) -> float:
    """The lowest Dice that an axis should show: outliers far below the others are drawn at its edge.

    >>> round(choose_floor([0.9, 0.88, 0.86, 0.02]), 2)
    0.81
    """
    best, middle = max(dices), median(dices)
    return max(min(dices), best - 3 * (best - middle))


def draw_course(sweep: Sweep) -> Markup:
    """Every trial's Dice in order, and the best so far."""
    shown = _with_dice(sweep)
    numbers = [record.number for record in shown]
    axis = _dice_axis(sweep)
    frame = Frame(Axis(-0.5, max(numbers) + 0.5, _LEFT, WIDE - _RIGHT), axis)
    ticks = [tick for tick in round_ticks(0, max(numbers), 10) if tick == int(tick)]
    parts = [draw_grid(frame, "Trial", "Validation Dice", ticks, _dice_ticks(axis))]
    if sweep.baseline:
        parts.append(_draw_baseline(sweep.baseline.dice, frame))
    steps: list[tuple[float, float]] = []
    best = -math.inf
    for record in sweep.finished:
        steps.append((frame.x.place(record.number), axis.place(max(best, axis.low))))
        best = max(best, record.dice)
        steps.append((frame.x.place(record.number), axis.place(max(best, axis.low))))
    parts.append(path([*steps[1:], (frame.x.end, axis.place(max(best, axis.low)))], "line validation"))
    parts += [_draw_trial(sweep, record, frame.x.place(record.number), axis) for record in shown]
    label = f"Validation Dice of {plural(len(shown), 'trial')}, and the best until then."
    return picture(WIDE, HEIGHT, label, *parts)


def draw_field(sweep: Sweep, field: Field) -> Markup:
    """The trials' Dice against their values of one field."""
    shown, axis = _with_dice(sweep), _dice_axis(sweep)
    values = [record.values[field.name] for record in shown]
    place, ticks = _lay_out(field, values)
    frame = Frame(Axis(0, 1, _LEFT, WIDTH - _RIGHT), axis)
    parts = [draw_grid(frame, field.name, "Validation Dice", [], _dice_ticks(axis))]
    parts.append(line(frame.x.start, axis.start, frame.x.end, axis.start, "axis"))
    parts += [text(frame.x.place(place(value)), axis.start + 18, _shorten(label)) for value, label in ticks]
    if sweep.baseline:
        parts.append(_draw_baseline(sweep.baseline.dice, frame))
    parts += [
        _draw_trial(sweep, record, frame.x.place(place(value)) + _apart(field, record), axis)
        for record, value in zip(shown, values, strict=True)
    ]
    return picture(WIDTH, HEIGHT, f"Validation Dice of {plural(len(shown), 'trial')} by {field.name}.", *parts)


def draw_share(share: float) -> Markup:
    """A bar whose length is a share of its cell."""
    bar = tag("rect", x=0, y=4, width=round(158 * share + 2, 1), height=10, class_="bar")
    return tag("svg", bar, viewBox="0 0 160 18", class_="interval", aria_hidden="true")


def _with_dice(sweep: Sweep) -> list[TrialRecord]:
    """Ended trials with a Dice; finished ones come last, so that they are drawn over pruned ones."""
    known = [record for record in sweep.ended if not math.isnan(record.dice)]
    return sorted(known, key=lambda record: record.state == "finished")


def _dice_axis(sweep: Sweep) -> Axis:
    dices = [record.dice for record in sweep.finished]
    low, high = choose_floor(dices), max(dices)
    room = 0.12 * (high - low) or 0.02
    return Axis(max(0.0, low - room), min(1.0, high + room), HEIGHT - _BOTTOM, _TOP)


def _dice_ticks(axis: Axis) -> list[float]:
    return round_ticks(axis.low, axis.high, 4)


def _draw_baseline(dice: float, frame: Frame) -> Markup:
    if dice < frame.y.low:
        return text(frame.x.end, frame.y.start - 16, f"baseline {dice:.4f}, below", "end", "note")
    y = frame.y.place(dice)
    drawn = line(frame.x.start, y, frame.x.end, y, "reference")
    return drawn + text(frame.x.end, y - 6, f"baseline {dice:.4f}", "end", "note")


def _draw_trial(sweep: Sweep, record: TrialRecord, x: float, axis: Axis) -> Markup:
    """A dot: open for the baseline, grey for a trial that did not finish; a triangle for one below the axis."""
    told = tag("title", f"trial {record.number}, {record.state}: {record.dice:.4f}; {record.describe_values()}")
    is_best = record == sweep.best
    style = "dot" if record.state == "finished" else "speck"
    if record.dice < axis.low:
        y = axis.start - 2
        return tag("path", told, d=f"M{x - 5:g} {y - 8:g}H{x + 5:g}L{x:g} {y:g}Z", class_=style)
    if record.number == 0:
        style += " ring"
    y = axis.place(record.dice)
    drawn = tag("circle", told, cx=round(x, 2), cy=y, r=6 if is_best else 4, class_=style)
    return drawn + text(x, y - 11, f"trial {record.number}", "middle", "note") if is_best else drawn


def _lay_out(field: Field, values: Sequence[Any]) -> tuple[Callable[[Any], float], list[tuple[Any, str]]]:
    """A function from a value to its position in 0..1, and the labelled values. The baseline may lie outside the search."""
    if isinstance(field, Choice):
        names = [*field.values, *(value for value in values if value not in field.values)]
        named = list(dict.fromkeys(names))
        return (lambda value: (named.index(value) + 0.5) / len(named)), [(value, say_value(value)) for value in named]
    low, high = min(field.low, *values), max(field.high, *values)
    if field.log and low > 0:
        start, span = math.log10(low), math.log10(high / low)
        return (lambda value: 0.04 + 0.92 * (math.log10(value) - start) / span), _log_ticks(low, high)
    ticks = [
        (tick, word_tick(tick)) for tick in round_ticks(low, high, 5) if isinstance(field.low, float) or tick == int(tick)
    ]
    return (lambda value: 0.04 + 0.92 * (value - low) / (high - low)), ticks


def _log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Powers of ten, with 3 or 2 and 5 times them if fewer than two fit; the two ends if that is not enough.

    >>> [label for _, label in _log_ticks(1e-4, 3e-3)]
    ['0.0001', '0.001']
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5)):
        found = [factor * 10.0**power for power in powers for factor in factors]
        inside = [tick for tick in found if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
        if len(inside) >= 2:
            return [(tick, word_tick(tick)) for tick in inside]
    return [(low, word_tick(low)), (high, word_tick(high))]


def _apart(field: Field, record: TrialRecord) -> float:
    """Horizontal offset of trials with the same listed value, so that they do not hide each other."""
    return (record.number % 7 - 3) * 4.0 if isinstance(field, Choice) else 0.0


def _shorten(label: str) -> str:
    return label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…"
