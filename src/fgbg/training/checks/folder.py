"""Checks of a finished run folder: which photos trained, chose and judged the model. Needs no data and no network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fgbg.data.samples import SPLITS
from fgbg.judge.metrics import Counts, dice_of
from fgbg.model_file import ModelHeader
from fgbg.models.checkpoint import read_header
from fgbg.rows import ScoreRow
from fgbg.run import Run, open_run
from fgbg.storage import JOINT
from fgbg.training.checks.finding import Finding, doubted, failed, passed
from fgbg.words import name_some

Split = dict[str, list[dict[str, str]]]
"""The splits in split.json, by name: id, image hash, mask hash of every photo."""


def check_run(folder: Path) -> list[Finding]:
    """Look for silent errors in what a run has written.

    Args:
        folder: The run.

    Raises:
        UserError: It is not a run.
    """
    run = open_run(folder)
    if run.given_masks:
        return [passed("masks", "the scores are of masks made elsewhere: nothing was trained here")]
    if (folder / JOINT).exists():
        return [passed("members", "the scores are of several runs together: check each of those")]
    header = read_header(run.best) if run.best.exists() else None
    content = run.split()
    split: Split = {name: content.get(name, []) for name in SPLITS}
    findings = [_check_selfcheck(run), _check_disjoint(split)]
    if header:
        findings += [_check_training_photos(header, split), _check_epoch(run, header)]
    findings.append(_check_threshold(run, header, split))
    return [*findings, *_check_scores(run, split)]


def _check_selfcheck(run: Run) -> Finding:
    """The training began with the self-check, and all of it passed."""
    name, found = "self-check", run.selfcheck()
    if found is None and run.config.selfcheck:
        return passed(name, "not recorded: the training was begun by an earlier version")
    if found is None:
        return doubted(name, "the training was begun with --no-selfcheck: nobody looked for silent errors")
    wrong = [finding["sentence"] for finding in found if not finding["passed"]]
    if wrong:
        return doubted(name, f"before training it was found that {'; and that '.join(wrong)}")
    return passed(name, f"{len(found)} of {len(found)} passed before training")


def _check_disjoint(split: Split) -> Finding:
    """No photo, by id or content, and no group is in two splits."""
    name = "splits"
    twice = []
    for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
        known = {key: {photo[key] for photo in split[first] if key in photo} for key in ("id", "image", "group")}
        shared = [photo["id"] for photo in split[second] if any(photo.get(key) in known[key] for key in known)]
        if shared:
            twice.append(f"{len(shared)} {second} photos are also {first} photos, or of one group ({name_some(shared, 3)})")
    if twice:
        return failed(name, f"{'; '.join(twice)}: scores on them flatter, so leave them out of one side and train again")
    return passed(
        name, f"{' / '.join(str(len(split[part])) for part in SPLITS)} photos, none twice by id or content, no group in two"
    )


def _check_training_photos(header: ModelHeader, split: Split) -> Finding:
    """The model was trained on what split.json says, and on the photos of the model that it started from."""
    name = "training photos"
    own, told = {photo["image"] for photo in split["train"]}, set(header.training_images)
    if header.initialised_from and own < told:
        return passed(name, f"{len(own)} of split.json, {len(told - own)} more of the model that it started from")
    if own != told:
        return failed(
            name, "the model says that it was trained on other photos than split.json lists: it is probably of another run"
        )
    return passed(name, f"the model's {len(header.training_images)} are those of split.json")


def _check_epoch(run: Run, header: ModelHeader) -> Finding:
    """The saved model is from the epoch that validation chose."""
    name = "best epoch"
    best = [record.epoch for record in run.epochs() if record.best]
    if not best or header.epoch != best[-1]:
        chosen = f"epoch {best[-1]}" if best else "none"
        return failed(
            name, f"the model is of epoch {header.epoch}, and validation chose {chosen}: it was not chosen on validation"
        )
    return passed(name, f"{header.epoch}, chosen on validation")


def _check_threshold(run: Run, header: ModelHeader | None, split: Split) -> Finding:
    """The threshold is 0.5, or chosen on the validation photos alone."""
    name, calibration = "threshold", run.calibration()
    if header is None and calibration is None:
        return passed(name, "no model and no calibration are here to look at")
    if calibration is None:
        assert header is not None
        if header.threshold == 0.5:
            return passed(name, "0.5, which nobody chose")
        return failed(
            name,
            f"the model's threshold is {header.threshold:g} and nothing says that validation chose it: "
            f"choose it with fgbg evaluate {run.folder} --split validation",
        )
    return _check_choice(run, header, split, calibration)


def _check_choice(run: Run, header: ModelHeader | None, split: Split, calibration: dict[str, Any]) -> Finding:
    name, cure = "threshold", f"choose it again with fgbg evaluate {run.folder} --split validation"
    chosen, value = calibration["split"], calibration["threshold"]["value"]
    if chosen != "validation":
        return failed(name, f"the threshold {value:g} was searched on the {chosen} photos, and their score flatters: {cure}")
    if header and header.threshold != value:
        return failed(
            name,
            f"the model's threshold is {header.threshold:g} and validation chose {value:g}: it was set by hand, "
            f"or searched on other photos such as the test set; {cure}",
        )
    allowed = {photo["id"] for photo in split["validation"]}
    scored = {row.id for row in run.scores("validation")} if run.scores_path("validation").exists() else allowed
    strangers = sorted(scored - allowed)
    if strangers or calibration["pairs"] != len(allowed):
        test = {photo["id"] for photo in split["test"]} & scored
        what = f"among them {len(test)} test photos" if test else f"{calibration['pairs']} instead of {len(allowed)}"
        return failed(
            name, f"the threshold {value:g} was searched on other photos than the run's validation photos ({what}): {cure}"
        )
    return passed(name, f"{value:g}, by the validation photos alone")


def _check_scores(run: Run, split: Split) -> Iterator[Finding]:
    """Rows are of the right photos, and the mean is theirs."""
    for part in ("validation", "test"):
        if not run.scores_path(part).exists():
            continue
        name, rows, statement = f"{part} scores", run.scores(part), run.statement(part)
        strangers = sorted({row.id for row in rows} - {photo["id"] for photo in split[part]})
        wrong = [row.id for row in rows if not _has_its_dice(row)]
        dices = [row.dice for row in rows if not math.isnan(row.dice)]
        mean = sum(dices) / max(1, len(dices))
        if strangers:
            yield failed(name, f"{len(strangers)} are of photos that are not in that split ({name_some(strangers, 3)})")
        elif wrong:
            yield failed(
                name, f"the Dice of {name_some(wrong, 3)} is not 2TP / (2TP + FP + FN) of its row: it was changed afterwards"
            )
        elif dices and not math.isclose(mean, statement["mean_dice"], abs_tol=1e-9):
            yield failed(
                name, f"the mean Dice is said to be {statement['mean_dice']:.4f}, and that of the rows is {mean:.4f}"
            )
        elif stale := run.find_stale(part):
            yield doubted(name, stale)
        else:
            yield passed(name, f"of {len(rows)} photos, mean Dice {statement['mean_dice']:.4f}")


def _has_its_dice(row: ScoreRow) -> bool:
    """Whether Dice matches the counts; true where truth and prediction are empty."""
    counts = Counts(row.TP, row.FP, row.FN, row.TN)
    empty = row.TP + row.FP + row.FN == 0
    return empty or math.isclose(row.dice, dice_of(counts), abs_tol=1e-9)
