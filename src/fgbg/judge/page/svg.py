"""The few SVG primitives that the page's drawings use, and how pictures are put into it.

Colours come from the style sheet: light, dark and print differ.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup, escape


class Axis(NamedTuple):
    """A range of values laid along a range of drawing units."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Where a value lies.

        >>> Axis(0, 10, 100, 0).place(2.5)
        75.0
        """
        span = self.high - self.low or 1.0
        return round(self.start + (value - self.low) / span * (self.end - self.start), 2)


class Frame(NamedTuple):
    """A plot's two axes."""

    x: Axis
    y: Axis


def tag(name: str, *content: str, **attributes: object) -> Markup:
    """An element. Text and attributes are escaped; `_` in an attribute's name becomes `-`, a trailing one is dropped.

    >>> str(tag("text", "a<b", x=1, text_anchor="end", class_="tick"))
    '<text x="1" text-anchor="end" class="tick">a&lt;b</text>'
    """
    words = [
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), value)
        for key, value in attributes.items()
        if value is not None
    ]
    start = Markup("<{}{}>").format(Markup(name), Markup("").join(words))
    return start + Markup("").join(escape(part) for part in content) + Markup("</{}>").format(Markup(name))


def picture(width: float, height: float, label: str, *content: str, class_: str = "plot", has_links: bool = False) -> Markup:
    """A drawing with a text alternative for screen readers."""
    # Screen readers skip what is inside an `img`; they can reach what is inside a `group`.
    role = "group" if has_links else "img"
    return tag("svg", *content, viewBox=f"0 0 {width:g} {height:g}", role=role, aria_label=label, class_=class_)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def text(x: float, y: float, content: str, anchor: str = "middle", class_: str = "tick") -> Markup:
    """A text label."""
    return tag("text", content, x=x, y=y, text_anchor=anchor, class_=class_)


def path(points: Sequence[tuple[float, float]], class_: str) -> Markup:
    """A line through points; it breaks where one is not finite."""
    steps, drawing = [], False
    for x, y in points:
        if math.isfinite(x) and math.isfinite(y):
            steps.append(f"{'L' if drawing else 'M'}{x:g} {y:g}")
            drawing = True
        else:
            drawing = False
    return tag("path", d=" ".join(steps), class_=class_)


def round_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers within a range.

    >>> round_ticks(0.13, 0.98)
    [0.2, 0.4, 0.6, 0.8]
    """
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = min((factor * power for factor in (1, 2, 2.5, 5, 10)), key=lambda size: abs(size - rough))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def word_tick(value: float) -> str:
    """A tick's label.

    >>> word_tick(0.25), word_tick(1.0), word_tick(-0.1)
    ('0.25', '1', '−0.1')
    """
    return f"{value:g}".replace("-", "−")


def draw_grid(frame: Frame, x_title: str, y_title: str, x_ticks: Sequence[float], y_ticks: Sequence[float]) -> Markup:
    """Horizontal grid lines, tick labels, and the axes' titles: y's above its end, x's below its end."""
    parts: list[Markup] = []
    for value in y_ticks:
        y = frame.y.place(value)
        parts += [line(frame.x.start, y, frame.x.end, y, "grid"), text(frame.x.start - 8, y + 4, word_tick(value), "end")]
    for value in x_ticks:
        parts.append(text(frame.x.place(value), frame.y.start + 18, word_tick(value)))
    if x_ticks:
        parts.append(line(frame.x.start, frame.y.start, frame.x.end, frame.y.start, "axis"))
    parts.append(text(0, frame.y.end - 10, y_title, "start", "title"))
    parts.append(text(frame.x.end, frame.y.start + 36, x_title, "end", "title"))
    return Markup("").join(parts)


def embed(content: bytes, kind: str) -> str:
    """A picture file as a data: URL."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
