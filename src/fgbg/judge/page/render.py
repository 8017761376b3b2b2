"""Render run folders as one HTML page: collects what each part of the template shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment

from fgbg.judge.bootstrap import Estimate, read_mean_dice
from fgbg.judge.comparison import Comparison, word_p
from fgbg.judge.failures import FAILURES
from fgbg.judge.methods.describe import INTRODUCTION, describe_methods
from fgbg.judge.outcomes import COLOURS, OUTCOMES
from fgbg.judge.page import drawings, gallery, tables, versus, wording
from fgbg.judge.page.templates import HERE, embed_script, embed_style, open_templates
from fgbg.judge.results import Results, Scored
from fgbg.judge.slices import Slice
from fgbg.record import EpochRecord
from fgbg.rows import ScoreRow
from fgbg.run import Run
from fgbg.words import plural

OUTCOME_MEANINGS = (
    "",
    "object that was found",
    "called object, but is not",
    "object that was not found",
    "left out of the score",
)


@dataclass(frozen=True)
class Chapter:
    """One run as the page shows it. Without scores, `statement` is None and `rows` and `slices` are empty."""

    run: Run
    label: str
    anchor: str
    epochs: list[EpochRecord]
    statement: dict[str, Any] | None
    rows: list[ScoreRow]
    slices: list[Slice]
    calibration: dict[str, Any] | None
    settings: dict[str, str]
    environment: list[tuple[str, str]]
    own: str  # which parts were the user's own

    @property
    def dice(self) -> Estimate:
        """Mean Dice, with its interval."""
        return read_mean_dice(self.statement) if self.statement else Estimate(math.nan, math.nan, math.nan)

    @property
    def best(self) -> EpochRecord | None:
        """The epoch whose weights were kept."""
        return next((record for record in reversed(self.epochs) if record.best), None)


def render_page(results: Results, split: str, methods_file: str = "methods.md") -> str:
    """Render the whole page.

    Args:
        results: Of one run or more, each with epochs or scores.
        split: Which scores: `test`, `validation`, or the label of other data that was scored.
        methods_file: The name of the file beside the page that holds the methods section.
    """
    chapters = [
        _read_chapter(run, label, f"run-{number}", results.find(label, split))
        for number, (label, run) in enumerate(results.runs.items())
    ]
    content: dict[str, Any] = {"chapters": chapters, "split": split, "several": len(chapters) > 1}
    content |= {"methods": describe_methods(results, split), "introduction": INTRODUCTION, "methods_file": methods_file}
    content["has_unjudged"] = any((chapter.statement or {}).get("border") == "ignore" for chapter in chapters)
    content["statement"] = next((chapter.statement for chapter in chapters if chapter.statement), None)
    if len(chapters) > 1:
        content |= _compare_chapters(chapters, split, *results.compare(split))
    else:
        content |= _open_gallery(chapters[0], split)
    content |= {"style": embed_style(), **embed_script()}
    return _environment().get_template("report.html.j2").render(content)


def _read_chapter(run: Run, label: str, anchor: str, scored: Scored | None) -> Chapter:
    return Chapter(
        run=run,
        label=label,
        anchor=anchor,
        epochs=run.epochs(),
        statement=scored.statement if scored else None,
        rows=scored.rows if scored else [],
        slices=scored.slices if scored else [],
        calibration=run.calibration(),
        settings={name: _say_setting(value) for name, value in run.settings().items() if value not in ("", ())},
        environment=_list_environment(run),
        own=" and ".join("network" if name == "model" else name for name in run.own_parts),
    )


def _open_gallery(chapter: Chapter, split: str) -> dict[str, Any]:
    """The gallery of a single run: all its photos."""
    pictures = gallery.choose_pictures(chapter.run, chapter.rows, split, gallery.PICTURE_BUDGET_BYTES)
    empty = float(chapter.statement["empty"]) if chapter.statement else math.nan
    return {
        "picks": gallery.pick_photos(chapter.run, chapter.rows, split),
        "picture_count": len(pictures),
        "photo_data": gallery.write_photo_data(chapter.rows, chapter.slices, pictures, empty=empty)
        if chapter.rows
        else None,
    }


def _compare_chapters(
    chapters: Sequence[Chapter], split: str, comparisons: Sequence[Comparison], refusal: str
) -> dict[str, Any]:
    """What the page shows when it compares several runs."""
    scored = [chapter for chapter in chapters if chapter.statement]
    comparable = bool(comparisons) and len(scored) > 1
    named = {chapter.label: chapter.run for chapter in scored}
    changed = versus.list_changed(named, {chapter.label: chapter.rows for chapter in scored}, split) if comparable else []
    return {
        "comparisons": comparisons,
        "refusal": refusal,
        "changed": changed,
        "anchors": {each.id: each.anchor for each in changed},
        "joint_slices": versus.join_slices([chapter.slices for chapter in scored]) if comparable else [],
        "scored": scored,
        "setting_names": list(dict.fromkeys(name for chapter in chapters for name in chapter.settings)),
    }


def _say_setting(value: Any) -> str:
    """A setting's value, worded for readers."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _list_environment(run: Run) -> list[tuple[str, str]]:
    """environment.json as (name, text) pairs: nested objects on one line, a command's words joined by spaces."""

    def say(value: Any) -> str:
        if value is None:  # the commit of an installed copy
            return "not known"
        if isinstance(value, dict):
            return ", ".join(f"{name} {say(part)}" for name, part in value.items())
        if isinstance(value, list):
            return "; ".join(map(say, value)) if value and isinstance(value[0], dict) else " ".join(map(str, value))
        return _say_setting(value)

    return [(name, say(value)) for name, value in (run.environment() or {}).items()]


def _environment() -> Environment:
    """The Jinja environment, with everything that the template calls."""
    made = open_templates(HERE)
    made.filters |= {
        "word": wording.word,
        "word_p": word_p,
        "percent": wording.percent,
        "brief": wording.brief,
    }
    made.globals |= {
        "plural": plural,
        "describe_meaning": wording.describe_meaning,
        "describe_doubt": wording.describe_doubt,
        "list_measures": wording.list_measures,
        "list_rules": wording.list_rules,
        "list_spread": wording.list_spread,
        "known_scores": wording.known_scores,
        "count_failures": tables.count_failures,
        "kind_link": drawings.kind_link,
        "slice_link": drawings.slice_link,
        "common_range": drawings.common_range,
        "draw_curve": drawings.draw_curve,
        "draw_histogram": drawings.draw_histogram,
        "draw_interval": drawings.draw_interval,
        "draw_reliability": drawings.draw_reliability,
        "draw_threshold": drawings.draw_threshold,
        "draw_scatter": versus.draw_scatter,
        "draw_differences": versus.draw_differences,
        "draw_difference": versus.draw_difference,
        "failures": FAILURES,
        "legend": [
            (name, meaning, colour) for name, meaning, colour in zip(OUTCOMES, OUTCOME_MEANINGS, COLOURS, strict=True)
        ][1:],
        "first_photos": versus.FIRST_PHOTOS,
    }
    return made
