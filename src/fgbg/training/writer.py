"""Writes what each epoch ended with: on a GPU while the next ones are trained, which need not stand still for the disk."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from threading import Condition
from types import TracebackType
from typing import Any

import torch

from fgbg.model_file import ModelHeader
from fgbg.models.checkpoint import save_weights
from fgbg.record import EpochRecord
from fgbg.run import Run
from fgbg.training.loop import Learner
from fgbg.training.state import Progress, collect_state, copy_to_memory, save_state

MOST_TOGETHER = 4
"""Epochs that one write may take to the disk. A kill costs those of one write and at most as many that wait for it."""


@dataclass
class _Ended:
    """Epochs that have ended, and what is to be written of them."""

    records: list[EpochRecord] = field(default_factory=list)  # of all of them
    state: dict[str, Any] = field(default_factory=dict)  # after the last
    best: EpochRecord | None = None  # the last one's record, if it is the best so far …
    weights: Mapping[str, torch.Tensor] = field(default_factory=dict)  # … and its model


class EpochWriter:
    """Context whose `write` puts on the disk what an epoch ended with. It ends when all is there.

    In the background one epoch is written and the next waits. Where epochs end faster than the disk takes them, the one that
    waits makes room for the one after it, as only the last state and the best model are kept; every record is written.

    Args:
        run: Where to write.
        header: The model file's, apart from epoch and score.
        beside: Write copies in the background. Where training keeps all cores busy that gains nothing, and costs memory.
    """

    def __init__(self, run: Run, header: ModelHeader, *, beside: bool) -> None:
        self.run, self.header, self.beside = run, header, beside
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fgbg-writer")
        self._writing: list[Future[None]] = []
        self._taken = Condition()
        self._waiting: _Ended | None = None
        self._spare: list[_Ended] = []  # memory that serves again: fresh pages cost more than copying
        self._has_failed = False

    def __enter__(self) -> EpochWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.wait()
        finally:
            self._thread.shutdown()

    def write(self, learner: Learner, progress: Progress, record: EpochRecord) -> None:
        """Write, or have written, an epoch's record, the state after it and, if it is the best, its model.

        Raises:
            OSError: It could not be written, or an epoch before could not.
        """
        state = collect_state(learner, progress)
        weights = learner.judged.network.state_dict() if record.best else {}
        best = record if record.best else None
        if not self.beside:
            self._write(_Ended([record], state, best, weights))
            return
        self._collect(done_only=True)
        # Into memory of its own: should the copy be interrupted, what waits can still be written.
        ended = self._spare.pop() if self._spare else _Ended()
        ended.state = copy_to_memory(state, ended.state)
        ended.best = best
        if best is not None:
            ended.weights = copy_to_memory(weights, ended.weights)
        learner.engine.wait_for_device()
        self._let_wait(ended, record)
        self._writing.append(self._thread.submit(self._write_waiting))

    def wait(self) -> None:
        """Return once all that was given to `write` is on the disk.

        Raises:
            OSError: It could not be written.
        """
        self._collect(done_only=False)

    def _let_wait(self, ended: _Ended, record: EpochRecord) -> None:
        """Let an epoch wait for the disk, in place of those that wait already, whose records it takes over."""
        with self._taken:
            if self._waiting and not _can_join(self._waiting, record):
                self._taken.wait_for(lambda: self._waiting is None)
            ended.records = [record]
            if self._waiting:
                ended.records = [*self._waiting.records, record]
                self._spare.append(self._waiting)
            self._waiting = ended

    def _collect(self, *, done_only: bool) -> None:
        """Raise what the background raised; return once it has nothing left to do, or at once."""
        while self._writing and (self._writing[0].done() or not done_only):
            try:
                self._writing[0].result()
            finally:
                if self._writing[0].done():  # not so after Ctrl-C: the context's end then waits again
                    del self._writing[0]

    def _write_waiting(self) -> None:
        with self._taken:
            ended, self._waiting = self._waiting, None
            self._taken.notify_all()
        if ended is None or self._has_failed:  # after a gap, nothing that came later
            return
        try:
            self._write(ended)
        except BaseException:
            self._has_failed = True
            raise
        self._spare.append(ended)

    def _write(self, ended: _Ended) -> None:
        # In this order a kill cannot leave a best model that the record lacks: once the state is written the epoch has
        # ended, and if it was the best, its weights are in the state too.
        for record in ended.records:
            self.run.append_epoch(record)
        save_state(self.run.last, ended.state)
        if ended.best is not None:
            write_best(self.run, ended.weights, self.header, ended.best)


def _can_join(waiting: _Ended, record: EpochRecord) -> bool:
    """Whether the next epoch may take the place of what waits."""
    # The best model is written with the state of its own epoch: a kill between the two then loses nothing. And a record of
    # several epochs without a state is taken for a damaged run.
    is_first = waiting.records[0].epoch == 1
    return not is_first and len(waiting.records) < MOST_TOGETHER and (record.best or waiting.best is None)


def write_best(run: Run, weights: Mapping[str, torch.Tensor], header: ModelHeader, record: EpochRecord) -> None:
    """Write weights, which are those after that epoch, as the run's model.

    Args:
        run: Where to write.
        weights: The `state_dict` of the network that is judged.
        header: The model file's, apart from epoch and score.
        record: The epoch's.
    """
    save_weights(run.best, weights, replace(header, epoch=record.epoch, validation_dice=record.val_dice_photo))
