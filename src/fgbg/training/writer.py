"""Writes what each epoch ended with: on a GPU while the next one is trained, which need not stand still for the disk."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import Any

import torch

from fgbg.model_file import ModelHeader
from fgbg.models.checkpoint import save_weights
from fgbg.record import EpochRecord
from fgbg.run import Run
from fgbg.training.loop import Learner
from fgbg.training.state import Progress, collect_state, copy_to_memory, save_state


class EpochWriter:
    """Context whose `write` puts on the disk what an epoch ended with.

    At most one epoch is being written; `write` waits for the one before. The context ends when all is on the disk.

    Args:
        run: Where to write.
        header: The model file's, apart from epoch and score.
        beside: Write a copy in the background. Where training keeps all cores busy that gains nothing, and costs memory.
    """

    def __init__(self, run: Run, header: ModelHeader, *, beside: bool) -> None:
        self.run, self.header, self.beside = run, header, beside
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fgbg-writer")
        self._writing: Future[None] | None = None
        self._state: dict[str, Any] | None = None  # one copy's memory serves all epochs: fresh pages cost more than copying
        self._judged: Mapping[str, torch.Tensor] | None = None

    def __enter__(self) -> EpochWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.wait()
        finally:
            self._thread.shutdown()

    def write(self, learner: Learner, progress: Progress, record: EpochRecord) -> None:
        """Write, or begin to write, an epoch's record, the state after it and, if it is the best, its model.

        Raises:
            OSError: It could not be written, or the epoch before could not.
        """
        self.wait()
        state = collect_state(learner, progress)
        weights = learner.judged.network.state_dict() if record.best else None
        if not self.beside:
            self._write(record, state, weights)
            return
        state = self._state = copy_to_memory(state, self._state)
        if weights is not None:
            weights = self._judged = copy_to_memory(weights, self._judged)
        self._writing = self._thread.submit(self._write, record, state, weights)

    def wait(self) -> None:
        """Return once all that was given to `write` is on the disk.

        Raises:
            OSError: It could not be written.
        """
        if self._writing is None:
            return
        try:
            self._writing.result()
        finally:
            if self._writing.done():  # not so after Ctrl-C: the context's end then waits again
                self._writing = None

    def _write(self, record: EpochRecord, state: Mapping[str, Any], weights: Mapping[str, torch.Tensor] | None) -> None:
        # In this order a kill cannot leave a best model that the record lacks: once the state is written the epoch has
        # ended, and if it was the best, its weights are in the state too.
        self.run.append_epoch(record)
        save_state(self.run.last, state)
        if weights is not None:
            write_best(self.run, weights, self.header, record)


def write_best(run: Run, weights: Mapping[str, torch.Tensor], header: ModelHeader, record: EpochRecord) -> None:
    """Write weights, which are those after that epoch, as the run's model.

    Args:
        run: Where to write.
        weights: The `state_dict` of the network that is judged.
        header: The model file's, apart from epoch and score.
        record: The epoch's.
    """
    save_weights(run.best, weights, replace(header, epoch=record.epoch, validation_dice=record.val_dice_photo))
