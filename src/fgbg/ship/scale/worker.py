"""One of the processes that predict at scale: it loads the model once and takes photos in batches. Independent of Ray."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pyarrow

import fgbg
from fgbg.cores import CORES_VARIABLE
from fgbg.errors import UserError, first_line
from fgbg.ship.jobs import Job
from fgbg.ship.load import Model
from fgbg.ship.predict import open_jobs, predict_files
from fgbg.ship.provenance import Ledger, load_identified
from fgbg.ship.scale.attempts import count_attempts
from fgbg.ship.scale.parts import write_part
from fgbg.ship.scale.store import Store
from fgbg.ship.serve.answer import Answer
from fgbg.words import AnyKind

RUNS: Final = "rle"
"""The kind that is not a picture: Parquet rows with the mask's runs."""
Content = tuple[Any, str]
"""Of a row: where the photo lies, or the bytes of its file; and what tells it from others."""
FETCHED = 16  # photos of a table or an address that are in a temporary folder at a time
DEADLY = 2  # workers that died over one photo alone: a third is not tried


@dataclass(frozen=True)
class Order:
    """All that a worker must know; the photos come with each batch."""

    model: str  # the MODEL, with absolute paths
    model_hash: str
    refine: str
    device: str
    kind: AnyKind
    making: str  # what a `Provenance` says, in short
    out: Path
    photo_count: int
    threads: int
    threshold: float | None = None  # the model's own if it is None
    store: Store | None = None  # where the photos lie, if not on disks that every worker sees
    fgbg_version: str = fgbg.__version__


class Worker:
    """Predicts batches of photos.

    Args:
        order: What to compute, and how.
    """

    def __init__(self, order: Order) -> None:
        self.order = order

    @cached_property
    def model(self) -> Model:
        """Loaded with the first batch, so that failures are reported like any other error.

        Raises:
            UserError: This machine has another model file or version of fgbg.
        """
        order = self.order
        os.environ[CORES_VARIABLE] = str(order.threads)  # the machine's other cores are other workers'
        if fgbg.__version__ != order.fgbg_version:
            raise UserError(
                f"a worker has fgbg {fgbg.__version__}, not {order.fgbg_version}: install one version everywhere"
            )
        model, model_hash = load_identified(
            order.model,
            photo_count=order.photo_count,
            device=order.device,
            refine=order.refine,
            threshold=order.threshold,
        )
        if model_hash != order.model_hash:
            raise UserError(
                f"{order.model} is another file where a worker runs, or was replaced since: copy the model there, or to a "
                "shared disk"
            )
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(order.threads)
        return model

    def __call__(self, batch: pyarrow.Table) -> pyarrow.Table:
        """Predict and write a batch of photos.

        Args:
            batch: Columns `id`; `source`, where the photo lies, or `image`, the bytes of its file; `photo`, what tells it
                from others.

        Returns:
            One row per photo, of schema `RESULT`.
        """
        ids, contents, photos = (column.to_pylist() for column in batch.columns)
        try:
            problems, refusal = self._answer_all(ids, list(zip(contents, photos, strict=True))), ""
        except (UserError, OSError) as error:  # as data: Ray passes on only the text of an exception
            problems, refusal = {}, str(error)
        rows = [{"id": name, "problem": problems.get(name, ""), "refusal": refusal} for name in ids]
        return pyarrow.Table.from_pylist(rows, RESULT)

    def _answer_all(self, ids: Sequence[str], contents: Sequence[Content]) -> dict[str, str]:
        """Predict a batch; returns why photos were left out."""
        problems: dict[str, str] = {}
        answers: list[dict[str, Any]] = []
        for start in range(0, len(ids), FETCHED):
            piece = dict(zip(ids[start : start + FETCHED], contents[start : start + FETCHED], strict=True))
            with count_attempts(self.order.out, list(piece)) as deaths:
                if deaths == 0:
                    self._answer(piece, answers, problems)
                else:
                    self._answer_one_by_one(piece, answers, problems)
        if answers:
            write_part(self.order.out, answers)
        return problems

    def _answer_one_by_one(self, piece: dict[str, Content], answers: list[dict[str, Any]], problems: dict[str, str]) -> None:
        """As `_answer`, after a worker died over these: a photo that kills repeatedly must not take others with it."""
        for name, content in piece.items():
            with count_attempts(self.order.out, [name]) as deaths:
                if deaths < DEADLY:
                    self._answer({name: content}, answers, problems)
                else:
                    problems[name] = f"{name} ended {deaths} workers that were at nothing else: leave it out"

    def _answer(self, piece: dict[str, Content], answers: list[dict[str, Any]], problems: dict[str, str]) -> None:
        """Write the pictures of photos, or add to `answers`; those that cannot be read are added to `problems`."""
        with TemporaryDirectory(prefix="fgbg-") as folder:
            jobs = self._fetch(piece, Path(folder), problems)
            failed = self._predict(jobs, answers)
            for name, job in jobs.items():
                if job.source in failed:
                    problems[name] = failed[job.source].replace(str(job.source), _call(name, job, Path(folder)))

    def _fetch(self, piece: dict[str, Content], folder: Path, problems: dict[str, str]) -> dict[str, Job]:
        """A job for each photo, copied into `folder` unless it is on a disk; failures are added to `problems`."""
        jobs: dict[str, Job] = {}
        for index, (name, (content, photo)) in enumerate(piece.items()):
            target = self.order.out / f"{name}.png"
            if self.order.store is None:
                jobs[name] = Job(Path(content), target, photo)
                continue
            try:
                encoded = self.order.store.read(content) if isinstance(content, str) else content
            except OSError as error:
                problems[name] = f"{content} cannot be read ({first_line(error)}): check your access to it"
                continue
            jobs[name] = Job(folder / f"{index}", target, photo)
            jobs[name].source.write_bytes(encoded or b"")
        return jobs

    def _predict(self, jobs: dict[str, Job], answers: list[dict[str, Any]]) -> dict[Path, str]:
        """Write the pictures, or add to `answers`; returns why photos were left out."""
        ledger = Ledger(self.order.out, self.order.making)
        if self.order.kind != RUNS:
            return predict_files(self.model, list(jobs.values()), kind=self.order.kind, ledger=ledger).failed
        failed: dict[Path, str] = {}
        names = {job.source: name for name, job in jobs.items()}
        for photo, probability in self.model.answer(open_jobs(list(jobs.values()), failed)):
            answer = Answer(photo.job.source, photo.pixels, probability, self.model.threshold).describe()
            of = {"id": names[photo.job.source], "made_of": ledger.describe(photo.job)}
            answers.append(of | {"counts": answer["rle"]["counts"], **answer})
        return failed


RESULT = pyarrow.schema([(name, pyarrow.string()) for name in ("id", "problem", "refusal")])
"""`problem`: why the photo was left out, empty if its answer was written. `refusal`: why none can be answered, or empty."""


def _call(name: str, job: Job, folder: Path) -> str:
    """What a user calls a photo: its file, or its id if the file is a temporary copy."""
    return name if job.source.is_relative_to(folder) else str(job.source)
