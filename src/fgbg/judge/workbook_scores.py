"""The workbook's sheets of scores: splits, images, slices, failures, and which run is better."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

from fgbg.judge.book import Book, write_cell
from fgbg.judge.failures import FAILURES
from fgbg.judge.names import name_doubts, name_epochs
from fgbg.judge.objects import OBJECT_SCORES
from fgbg.judge.results import Results, Scored
from fgbg.rows import ScoreRow

STATEMENT = {  # column of the sheet Scores -> key of a run's statement
    "Mean Dice": "mean_dice",
    "95 % low": "mean_dice_low",
    "95 % high": "mean_dice_high",
    "Mean Dice of photos with object": "dice_with_object",
    "Pooled Dice": "pooled_dice",
    "Mean IoU": "mean_iou",
    "Mean boundary IoU": "mean_boundary_iou",
    "Mean precision": "mean_precision",
    "Mean recall": "mean_recall",
    "Mean specificity": "mean_specificity",
    "Mean surface distance (px)": "mean_surface_distance",
    "Mean Hausdorff 95 % (px)": "mean_hausdorff95",
    "Predicted area over true": "area_ratio",
    "Share of objects found": "object_recall",
    "Share of predicted objects that are true": "object_precision",
    "F1 of objects": "object_f1",
    "Objects": "object_count",
    "Objects found": "found_count",
    "Objects predicted": "predicted_count",
    "Dice at training size": "dice_at_size",
    "Pairs": "pairs",
    "Border": "border",
    "Threshold": "threshold",
    "Threshold because": "threshold_reason",
    "Both empty": "both_empty_count",
    "Both empty counts as": "empty",
    "One empty": "one_empty_count",
    "Photos without object": "empty_truth_count",
    "False alarm rate": "false_alarm_rate",
    "Doubt against Dice (Spearman)": "uncertainty_correlation",
    "Test-time augmentation": "tta",
    "Training size": "size",
    "Fit": "fit",
    "Data": "data",
    "Data hash": "fingerprint",
    "Split rule": "split_rule",
}
MEASURES = {
    title: key
    for title, key in STATEMENT.items()
    if (title.startswith("Mean ") and key != "mean_dice") or key in (*OBJECT_SCORES, "area_ratio")
}
"""Those with an interval of their own."""
ROW_COLUMNS = [field.name for field in dataclasses.fields(ScoreRow) if field.name != "metadata"]


def write_scores(book: Book, scored: Sequence[Scored]) -> None:
    """The scores of each split, and a sheet of its images."""
    ends = [f"{title}, 95 % {end}" for title in MEASURES for end in ("low", "high")]
    sheet = book.add_sheet("Scores", ["Model", "Split", *STATEMENT, *ends, "Weights", "Note", "Images in sheet"])
    last = 1 + len(STATEMENT) + len(ends)
    sheet.set_column(len(STATEMENT) - 1, len(STATEMENT) + 1, 32)  # data, its hash and the split rule
    sheet.set_column(last + 1, last + 3, 32)  # weights, note and the sheet's name
    for row, each in enumerate(scored, start=1):
        images = _write_images(book, f"Scores {each.label} {each.split}", each.rows)
        told = each.statement
        values = [each.label, each.split, *(told.get(key) for key in STATEMENT.values())]
        intervals = told.get("intervals", {})
        values += [end for key in MEASURES.values() for end in intervals.get(key, (None, None))]
        values += [name_epochs(told) or None, "; ".join(_list_doubts(each)) or None, images]
        for column, value in enumerate(values):
            write_cell(sheet, row, column, value, book.score if isinstance(value, float) else None)


def _list_doubts(scored: Scored) -> list[str]:
    """Why the scores may flatter the model, or are of another one than it is now."""
    told = scored.statement
    overlap = f"not a clean test: {told['overlap']}" if told.get("overlap") else ""
    return list(filter(None, [overlap, *name_doubts(told), scored.run.find_stale(scored.split)]))


def write_slices(book: Book, scored: Sequence[Scored]) -> None:
    """Mean Dice of photos that are alike, one row per slice."""
    titles = [
        "Model",
        "Split",
        "Trait",
        "Slice",
        "From",
        "To",
        "Photos",
        "Mean Dice",
        "95 % low",
        "95 % high",
        "Trait measures",
    ]
    sheet = book.add_sheet("Slices", titles)
    slices = [(told, each) for told in scored for each in told.slices]
    for row, (told, each) in enumerate(slices, start=1):
        values = [told.label, told.split, each.title, each.value, each.low, each.high]
        values += [len(each.ids), *each.dice, each.meaning]
        for column, value in enumerate(values):
            write_cell(sheet, row, column, value, book.score if isinstance(value, float) else None)


def write_failures(book: Book, scored: Sequence[Scored]) -> None:
    """How many photos failed in which way."""
    sheet = book.add_sheet("Failures", ["Model", "Split", *FAILURES])
    for row, each in enumerate(scored, start=1):
        counts = Counter(image.failure for image in each.rows)
        for column, value in enumerate([each.label, each.split, *(counts[kind] for kind in FAILURES)]):
            write_cell(sheet, row, column, value)


def write_comparisons(book: Book, results: Results) -> None:
    """Whether one run is better than another, for each split that all were scored on; or why they cannot be compared."""
    counts = Counter(each.split for each in results.scored)
    splits = [split for split, count in counts.items() if count == len(results.runs) > 1]
    if not splits:
        return
    titles = [
        "A",
        "B",
        "Split",
        "Question",
        "Verdict",
        "Mean Dice of A",
        "Mean Dice of B",
        "B less A",
        "95 % low",
        "95 % high",
    ]
    titles += ["p", "p among all (Holm)", "B better on", "Equal on", "B worse on", "Interval over"]
    sheet = book.add_sheet("Comparison", titles)
    row = 0
    for split in splits:
        comparisons, refusal = results.compare(split)
        if refusal:
            row += 1
            write_cell(sheet, row, 0, f"{split}: {refusal}")
        for each in comparisons:
            row += 1
            values = [each.a, each.b, split, each.question, each.verdict, each.mean_a, each.mean_b, *each.difference]
            values += [each.p, each.p_holm, each.wins, each.ties, each.losses, each.sample]
            for column, value in enumerate(values):
                write_cell(sheet, row, column, value, book.score if isinstance(value, float) else None)


def _write_images(book: Book, name: str, rows: Sequence[ScoreRow]) -> str:
    """One row per image, with its metadata. Returns the sheet's name."""
    metadata = list(dict.fromkeys(key for row in rows for key in row.metadata))
    sheet = book.add_sheet(name, [*ROW_COLUMNS, *metadata])
    sheet.autofilter(0, 0, len(rows), len(ROW_COLUMNS) + len(metadata) - 1)
    for place, row in enumerate(rows, start=1):
        values = [*(getattr(row, column) for column in ROW_COLUMNS), *(row.metadata.get(key) for key in metadata)]
        for column, value in enumerate(values):
            write_cell(sheet, place, column, value, book.score if isinstance(value, float) else None)
    return str(sheet.get_name())
