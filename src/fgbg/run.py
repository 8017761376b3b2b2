"""The run folder: what a run writes, and the only interface for reading it. Never imports torch."""

from __future__ import annotations

import difflib
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgbg.config import TrainConfig, flatten
from fgbg.config_file import read_config, to_toml
from fgbg.data.overlaps import Overlap
from fgbg.data.samples import SPLITS, SampleSet
from fgbg.data.split import Locked
from fgbg.environment import describe_environment
from fgbg.errors import UserError
from fgbg.loss_names import LOSS_SETTINGS
from fgbg.record import EpochRecord, read_lines, write_lines
from fgbg.rows import ScoreRow, has_these_columns, read_rows, write_rows
from fgbg.seal import read_sealed_json, to_sealed_json
from fgbg.storage import JOINT, RUN_MARK, is_run, make_empty_folder, write_whole
from fgbg.words import HASH_DIGITS

_OF_NETWORK = {"width", "encoder", "pretrained", "init"}
_SCORE_AGAIN = "score it again, into a new --out"
_MIXING = {"augment.enabled", "augment.cutmix", "augment.mixup"}  # photos are mixed after any augmentation


@dataclass(frozen=True)
class Run:
    """A run folder, and the names of what is in it."""

    folder: Path

    @property
    def name(self) -> str:
        """Its name in charts and tables."""
        return self.folder.resolve().name

    @property
    def best(self) -> Path:
        """The model with the highest validation score so far."""
        return self.folder / "best.safetensors"

    @property
    def last(self) -> Path:
        """The state that `--resume` continues from."""
        return self.folder / "last.pt"

    @property
    def workbook(self) -> Path:
        """The record as an Excel file."""
        return self.folder / "performance.xlsx"

    @property
    def charts(self) -> Path:
        """The folder of charts and pictures."""
        return self.folder / "charts"

    def scores_path(self, split: str) -> Path:
        """Scores of a split, one row per image."""
        return self.folder / f"scores_{split}.csv"

    def predictions(self, split: str) -> Path:
        """Probabilities as uint8 at the training size, which for patches is the photo's own."""
        return self.folder / f"predictions_{split}"

    def thumbnails(self, split: str) -> Path:
        """Photos of at most 128 px, ID.webp."""
        return self.folder / f"thumbnails_{split}"

    def outcomes(self, split: str) -> Path:
        """Maps of where prediction and truth agree and differ, at thumbnail size, ID.png (see judge.outcomes)."""
        return self.folder / f"outcomes_{split}"

    @property
    def config(self) -> TrainConfig:
        """The settings of the run."""
        return read_config(self.folder / RUN_MARK)

    def members(self) -> list[Run]:
        """The trainings whose joint scores the folder holds, even if they are gone by now; none for a training.

        Raises:
            UserError: The list of them is damaged.
        """
        names = self._read_joint().get("members", [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UserError(f"{self.folder / JOINT} is damaged: {_SCORE_AGAIN}")
        return [Run((self.folder / name).resolve()) for name in names]

    @property
    def given_masks(self) -> str:
        """The folder of masks made elsewhere whose scores it holds, seen from the run; empty for anything else.

        Raises:
            UserError: What says so is damaged.
        """
        return str(self._read_joint().get("masks", ""))

    def _read_joint(self) -> dict[str, Any]:
        told = self._read(JOINT, _SCORE_AGAIN)
        if told is not None and (not isinstance(told, dict) or "members" not in told):
            raise UserError(f"{self.folder / JOINT} is damaged: {_SCORE_AGAIN}")
        return told or {}

    @property
    def own_parts(self) -> dict[str, str]:
        """Which of `model`, `loss`, `augment` and `metric` were a user's own in training, and what each of them was.

        Of a folder of joint scores: those of its first member.
        """
        trained = next(iter(self.members()), self)
        told = (trained.environment() or {}).get("own_parts", {})
        return {str(name): str(part) for name, part in told.items()} if isinstance(told, dict) else {}

    def settings(self) -> dict[str, Any]:
        """The settings by name as in a file, for readers: what a user's own part is, and not what it was in place of.

        Of masks made elsewhere no more is known than what they were compared with.
        """
        own, config = self.own_parts, self.config
        if masks := self.given_masks:
            options, usual = config.data_options(), TrainConfig().data_options()
            chosen = {name: value for name, value in options.items() if value != usual[name]}
            return {"model": config.model, "masks": masks, "data": config.data, **chosen, "border": config.border}
        settings = flatten(config)
        idle = set(LOSS_SETTINGS) if "loss" in own else set()
        if config.model.startswith("own:"):
            idle |= _OF_NETWORK
        if "augment" in own:
            idle |= {name for name in settings if name.startswith("augment.")} - _MIXING
        kept = {name: value for name, value in settings.items() if name not in idle}
        return kept | {name: f"own: {part}" for name, part in own.items()}

    def epochs(self) -> list[EpochRecord]:
        """The record, epoch by epoch; empty before the first has ended. A line cut short by a kill is left out.

        Raises:
            UserError: A line is damaged.
        """
        return read_lines(self.folder / "epochs.jsonl")

    def append_epoch(self, record: EpochRecord) -> None:
        """Add one line and wait until it is on the disk."""
        with (self.folder / "epochs.jsonl").open("a", encoding="utf-8") as file:
            file.write(write_lines([record]))
            file.flush()
            os.fsync(file.fileno())

    def keep_epochs(self, last: int) -> None:
        """Drop the record of epochs after `last`, which are about to be trained again."""
        kept = [record for record in self.epochs() if record.epoch <= last]
        self._write("epochs.jsonl", write_lines(kept))

    def write_config(self, config: TrainConfig) -> None:
        """Write config.toml."""
        self._write(RUN_MARK, to_toml(config))

    def write_environment(self, details: Mapping[str, Any], *, after_epoch: int = 0) -> None:
        """Write what else determines the result: command, versions, machine, `details`. A resumed run appends its own."""
        environment = {**describe_environment(), **details}
        if after_epoch and (first := self.environment()):
            first.setdefault("resumed", []).append({"after_epoch": after_epoch, **environment})
            environment = first
        self._write("environment.json", json.dumps(environment, indent=2) + "\n")

    def environment(self) -> dict[str, Any] | None:
        """What `write_environment` wrote; None before that.

        Raises:
            UserError: It is damaged.
        """
        told = self._read("environment.json")
        if not isinstance(told, dict | None):
            raise UserError(f"{self.folder / 'environment.json'} is damaged: restore it from a copy, or remove it")
        return told

    def write_split(self, samples: SampleSet, config: TrainConfig, copies: Sequence[Overlap] | None = None) -> None:
        """Write which photo is in which split, with hashes of its content, and which show the same picture.

        Args:
            samples: All splits.
            config: Says by which rules they were split.
            copies: As `find_near_overlaps` finds them; None if they were not looked for, and what was written before stays.
        """
        before = self.split()
        known = before.get("copies") if copies is None else [[first.id, second.id] for first, second in copies]
        splits: dict[str, list[dict[str, str]]] = {split: [] for split in SPLITS}
        for sample, look in zip(samples.samples, samples.inspections, strict=True):
            image, mask = look.image_hash[:HASH_DIGITS], look.mask_hash[:HASH_DIGITS]
            group = {"group": sample.group} if sample.group else {}
            splits[sample.split].append({"id": sample.id, "image": image, "mask": mask, **group})
        rules = {name: value for name, value in config.data_options().items() if name not in ("object_values", "categories")}
        content = {
            "rules": rules,
            "data": samples.name,
            "fingerprint": samples.fingerprint,
            "remark": before.get("remark", samples.remark),  # a resumed run does not split anew
            "masks": samples.describe_masks(),
            "has_band": samples.encoding.has_band,
            **splits,
            "copies": known,
        }
        self._write("split.json", to_sealed_json(content, indent=1))

    @property
    def fingerprint(self) -> str:
        """Hash of the run's data; empty before the split is written."""
        return self.split().get("fingerprint", "")

    def locked_splits(self) -> dict[str, Locked]:
        """Split and group of each of the run's photos, by id; empty before the split is written."""
        content = self.split()
        return {photo["id"]: Locked(split, photo.get("group", "")) for split in SPLITS for photo in content.get(split, ())}

    def split(self) -> dict[str, Any]:
        """What `write_split` wrote: the photos of each split, with the rules; empty before that.

        Raises:
            UserError: It is damaged or was edited.
        """
        path = self.folder / "split.json"
        return read_sealed_json(path, "restore it from a copy, or train in a new --out") if path.exists() else {}

    def write_scores(self, split: str, rows: Sequence[ScoreRow], statement: Mapping[str, Any]) -> None:
        """Write the rows and, beside them, the statement: how they were measured, and their mean."""
        write_rows(self.scores_path(split), rows)
        self._write(f"scores_{split}.json", to_sealed_json(statement, indent=2, beside=self.scores_path(split)))

    def scores(self, split: str) -> list[ScoreRow]:
        """The rows that `evaluate` wrote, in its order.

        Raises:
            UserError: That split has not been scored, or rows or statement are damaged or were edited.
        """
        self.statement(split)  # raises unless these rows are intact
        return read_rows(self.scores_path(split))

    def statement(self, split: str) -> dict[str, Any]:
        """What the rows of a split rest on: data, hash, border rule, threshold; and their mean, interval, pooled value.

        Raises:
            UserError: That split has not been scored, or rows or statement are damaged or were edited.
        """
        rows = self.scores_path(split)
        if not rows.exists():
            if split not in SPLITS and (near := difflib.get_close_matches(split, [*SPLITS, *self.scored()], n=1)):
                raise UserError(f"{self.folder} has no {rows.name}: did you mean '{near[0]}'?")
            raise UserError(f"{self.folder} has no {rows.name}: run {self.evaluation_command(split)} first")
        if not has_these_columns(rows):
            cure = f"run {self.evaluation_command(split)} again"
            raise UserError(f"{rows} is damaged, or was written by another version of fgbg: {cure}")
        cure = "score the photos again with fgbg evaluate"
        told = read_sealed_json(self.folder / f"scores_{split}.json", cure, beside=rows)
        if "pairs" not in told:
            raise UserError(f"{self.folder / f'scores_{split}.json'} is damaged: {cure}")
        return told

    def evaluation_command(self, split: str) -> str:
        """The command that scores a split of the run's own data, or other data."""
        if masks := self.given_masks:
            folder, out = (shlex.quote(os.path.normpath(path)) for path in (self.folder / masks, self.folder))
            return f"fgbg evaluate DATA --masks {folder} --out {out}"
        return f"fgbg evaluate {shlex.quote(str(self.folder))} {f'--split {split}' if split in SPLITS else 'DATA'}"

    def scored(self) -> list[str]:
        """What has been scored: splits of the run's own data in their order, then other data by name."""
        labels = [path.stem.removeprefix("scores_") for path in sorted(self.folder.glob("scores_*.csv"))]
        return sorted(labels, key=lambda label: SPLITS.index(label) if label in SPLITS else len(SPLITS))

    def find_stale(self, split: str) -> str:
        """How the run's model has changed since that split was scored, and what to do; empty if it has not.

        A resumed run may find a better epoch, or another threshold may be chosen: earlier scores are then of a model that
        no longer exists. Joint scores are as old as those of any member.
        """
        told = self.statement(split)
        changes, lost = self._changes_since(told), []
        members = told.get("member_models", ())
        for member in members:
            run = Run((self.folder / member["run"]).resolve())
            if is_run(run.folder):
                changes += [f"{change} ({run.name})" for change in run._changes_since(member)]
            else:
                lost.append(f"of {run.folder}, which is no longer there")
        if lost:
            cure = "restore it, or score the runs that are left together, into another --out"
        else:
            cure = "run fgbg evaluate on all its runs again" if members else f"run {self.evaluation_command(split)} again"
        return f"the {split} scores are {'; '.join([*changes, *lost])}: {cure}" if changes or lost else ""

    def _changes_since(self, then: Mapping[str, Any]) -> list[str]:
        """In which of epoch and threshold the model is another than `then`, in words; a folder without a model has none."""
        calibration = self.calibration()
        best = max((record.epoch for record in self.epochs() if record.best), default=0)
        threshold = calibration["threshold"]["value"] if calibration else then.get("threshold")
        changes = []
        if best and then.get("epoch", best) != best:
            changes.append(f"of epoch {then['epoch']}, and the model is of epoch {best} now")
        if threshold != then.get("threshold", threshold):
            changes.append(f"of threshold {then['threshold']:g}, and the model's is {threshold:g} now")
        return changes

    def list_stale(self) -> list[str]:
        """A sentence for each set of scores that is no longer the current model's, or cannot be read."""
        told = []
        for split in self.scored():
            try:
                told.append(self.find_stale(split))
            except UserError as error:
                told.append(str(error))
        return list(filter(None, told))

    def write_calibration(self, calibration: Mapping[str, Any]) -> None:
        """Write the calibration and the threshold found on the validation photos (see judge.calibration)."""
        self._write("calibration.json", to_sealed_json(calibration, indent=1))

    def calibration(self) -> dict[str, Any] | None:
        """What `write_calibration` wrote; None before that."""
        path, cure = self.folder / "calibration.json", "remove it, and run fgbg evaluate with --split validation"
        return read_sealed_json(path, cure) if path.exists() else None

    def write_selfcheck(self, findings: Sequence[Mapping[str, Any]]) -> None:
        """Write what the self-check before the first epoch found: name, passed, sentence and stops of each check."""
        self._write("selfcheck.json", json.dumps(list(findings), indent=1) + "\n")

    def selfcheck(self) -> list[dict[str, Any]] | None:
        """What `write_selfcheck` wrote; None if there was no self-check.

        Raises:
            UserError: It is damaged.
        """
        return self._read("selfcheck.json")

    def _read(self, name: str, cure: str = "restore it from a copy, or remove it; the run can do without") -> Any:
        """The content of a JSON file without a seal; None if there is none.

        Raises:
            UserError: It is damaged; the message ends with the cure.
        """
        path = self.folder / name
        try:
            return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
        except ValueError:
            raise UserError(f"{path} is damaged: {cure}") from None

    def _write(self, name: str, text: str) -> None:
        write_whole(self.folder / name, text)


def create_run(folder: Path) -> Run:
    """A new, empty run folder.

    Raises:
        UserError: The folder is not empty, or cannot be created.
    """
    if is_run(folder):
        raise UserError(f"{folder} is not empty: choose another folder, or go on with the run in it by --resume")
    return Run(make_empty_folder(folder))


def open_run(folder: str | Path) -> Run:
    """A run folder that a training wrote.

    Raises:
        UserError: It is not one.
    """
    folder = Path(folder)
    if not folder.exists():
        raise UserError(f"{folder} does not exist: RUN is a folder that fgbg train wrote")
    if not is_run(folder):
        raise UserError(f"{folder} is no run: it has no {RUN_MARK}, which fgbg train writes first")
    return Run(folder)
