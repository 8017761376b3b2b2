"""Saving an epoch while the next one is trained: the same files as when training waits, and no error goes unnoticed."""

from __future__ import annotations

import errno
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import fgbg
from discs import make_samples, small_config
from fgbg.models.checkpoint import read_header
from fgbg.record import EpochRecord
from fgbg.training import loop, writer
from fgbg.training.own_parts import OwnParts
from fgbg.training.prepare import prepare_training
from fgbg.training.state import copy_to_memory, save_state
from fgbg.training.train import run_epochs
from fgbg.training.writer import EpochWriter

pytestmark = pytest.mark.usefixtures("no_charts")


@pytest.fixture(autouse=True)
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU."""
    monkeypatch.setattr("fgbg.training.train.EpochWriter", lambda run, header, beside: EpochWriter(run, header, beside=True))


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_an_epoch_is_written_as_it_ended_while_the_next_one_trains(
    ema: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each state is held back until the next epoch has taken its steps."""
    trained, written = threading.Semaphore(0), []
    train_epoch = loop.train_epoch

    def train_and_tell(*arguments: Any) -> Any:
        result = train_epoch(*arguments)
        trained.release()
        return result

    def save_late(path: Path, state: Any) -> None:
        if state["epoch"] < 3:
            trained.acquire()  # of the epoch itself
            assert trained.acquire(timeout=60), "training waits for the disk"
            trained.release()
        written.append(state["epoch"])
        save_state(path, state)
        path.with_name(f"after-{state['epoch']}.pt").write_bytes(path.read_bytes())

    with monkeypatch.context() as patched:
        patched.setattr("fgbg.training.train.train_epoch", train_and_tell)
        patched.setattr(writer, "save_state", save_late)
        late = fgbg.train(small_config(tmp_path / "late", ema=ema), samples=make_samples())
    assert written == [1, 2, 3]

    def save_and_keep(path: Path, state: Any) -> None:
        save_state(path, state)
        path.with_name(f"after-{state['epoch']}.pt").write_bytes(path.read_bytes())

    monkeypatch.setattr(writer, "save_state", save_and_keep)
    monkeypatch.setattr("fgbg.training.train.EpochWriter", EpochWriter)
    waiting = fgbg.train(small_config(tmp_path / "waiting", ema=ema), samples=make_samples())
    for epoch in (1, 2, 3):
        first, second = (torch.load(run.folder / f"after-{epoch}.pt", weights_only=True) for run in (late, waiting))
        assert first["epoch"] == second["epoch"] == epoch
        assert_same(first["network"], second["network"])
        assert_same(first["average"] or {}, second["average"] or {})
        for number, moments in first["optimizer"]["state"].items():
            assert_same(moments, second["optimizer"]["state"][number])
    assert_same(load_file(late.best), load_file(waiting.best))
    assert read_header(late.best).epoch == read_header(waiting.best).epoch


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


@pytest.mark.long
@pytest.mark.parametrize("fails_in", [1, 3])
def test_a_write_that_fails_ends_the_training_and_it_goes_on_later(
    fails_in: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, state: Any) -> None:
        if state["epoch"] == fails_in:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        save_state(path, state)

    with monkeypatch.context() as patched:
        patched.setattr(writer, "save_state", fail)
        with pytest.raises(OSError, match=r"No space left on device: .*last\.pt"):
            fgbg.train(small_config(tmp_path / "run"), samples=make_samples())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fgbg-writer")]
    resumed = fgbg.train(small_config(tmp_path / "run"), samples=make_samples(), resume=True)
    whole = fgbg.train(small_config(tmp_path / "whole"), samples=make_samples())
    assert [record.train_loss for record in resumed.epochs()] == [record.train_loss for record in whole.epochs()]
    assert_same(load_file(resumed.best), load_file(whole.best))


def test_who_stops_after_an_epoch_finds_it_on_the_disk(tmp_path: Path) -> None:
    with prepare_training(small_config(tmp_path / "run"), OwnParts(samples=make_samples())) as training:
        records = run_epochs(training)
        assert next(records).epoch == 1
        records.close()
        assert [record.epoch for record in training.run.epochs()] == [1]
        assert torch.load(training.run.last, weights_only=True)["epoch"] == read_header(training.run.best).epoch == 1


def test_ctrl_c_while_the_end_waits_for_the_disk_loses_no_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    may_write, wait = threading.Event(), EpochWriter.wait

    def save_late(path: Path, state: Any) -> None:
        assert may_write.wait(60)
        save_state(path, state)

    def interrupt(self: EpochWriter) -> None:
        monkeypatch.setattr(EpochWriter, "wait", wait)
        may_write.set()
        raise KeyboardInterrupt

    monkeypatch.setattr(EpochWriter, "wait", interrupt)
    monkeypatch.setattr(writer, "save_state", save_late)
    with pytest.raises(KeyboardInterrupt):
        fgbg.train(small_config(tmp_path / "run", epochs=2), samples=make_samples())
    run = fgbg.open_run(tmp_path / "run")
    assert [record.epoch for record in run.epochs()] == [1, 2]
    assert torch.load(run.last, weights_only=True)["epoch"] == 2


class SlowDisk:
    """Saves no state before so many epochs were trained; keeps the epochs of the states."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, trained: int) -> None:
        self.written: list[int] = []
        self.fails_in = 0
        self.enough = threading.Event()
        count, train_epoch = 0, loop.train_epoch

        def train_and_count(*arguments: Any) -> Any:
            nonlocal count
            count += 1
            if count > trained:
                self.enough.set()
            return train_epoch(*arguments)

        def save_late(path: Path, state: Any) -> None:
            assert self.enough.wait(60), "training waits for the disk"
            self.written.append(state["epoch"])
            if state["epoch"] == self.fails_in:
                raise OSError(errno.EIO, "Input/output error", str(path))
            save_state(path, state)

        monkeypatch.setattr("fgbg.training.train.train_epoch", train_and_count)
        monkeypatch.setattr(writer, "save_state", save_late)


def score_by_epoch(*scores: float) -> fgbg.Metric:
    """The mean over the four validation photos of an epoch is that epoch's score."""
    photos = iter([score for score in scores for _ in range(4)])
    return lambda prediction, target: next(photos)


def train_with(scores: tuple[float, ...], folder: Path, **changes: Any) -> fgbg.Run:
    config = small_config(folder, epochs=len(scores), selfcheck=False)
    return fgbg.train(config, samples=make_samples(), metric=score_by_epoch(*scores), **changes)


SCORES = (0.5, 0.4, 0.4, 0.4, 0.4, 0.3)  # epoch 1 is the best


@pytest.mark.long
def test_epochs_that_end_faster_than_the_disk_are_written_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train_with(SCORES, tmp_path / "whole")
    disk = SlowDisk(monkeypatch, trained=5)
    run = train_with(SCORES, tmp_path / "run")
    assert disk.written == [1, 5, 6], "four epochs at most; the first one alone"
    assert [record.train_loss for record in run.epochs()] == [record.train_loss for record in whole.epochs()]
    assert_same(load_file(run.best), load_file(whole.best))
    states = [torch.load(each.last, weights_only=True) for each in (run, whole)]
    assert_same(*(state["network"] for state in states))
    assert states[0]["epoch"] == states[1]["epoch"] == 6


@pytest.mark.parametrize(
    ("scores", "trained", "written"),
    [((0.5, 0.4, 0.6, 0.3, 0.2), 3, [1, 3, 5]), ((0.1, 0.2, 0.3, 0.4, 0.3), 4, [1, 4, 5])],
)
def test_the_best_model_is_written_with_the_state_of_its_epoch(
    scores: tuple[float, ...], trained: int, written: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SlowDisk(monkeypatch, trained)
    run = train_with(scores, tmp_path / "run")
    assert disk.written[:2] == written[:2] and disk.written[-1] == written[-1]
    assert read_header(run.best).epoch == max(record.epoch for record in run.epochs() if record.best)


@pytest.mark.parametrize(
    ("waiting", "best", "is_best", "may"),
    [
        ([2], 0, False, True),
        ([2, 3, 4], 0, False, True),
        ([2, 3, 4, 5], 0, False, False),  # a kill may cost four epochs, not more
        ([1], 0, False, False),  # a record of several epochs has a state
        ([1], 1, True, False),
        ([2, 3], 3, False, False),  # the best model is written with the state of its epoch …
        ([2, 3], 3, True, True),  # … which need not be, once there is a better one
    ],
)
def test_an_epoch_takes_the_place_of_what_waits_where_a_kill_then_loses_no_more(
    waiting: list[int], best: int, is_best: bool, may: bool
) -> None:
    records = {epoch: EpochRecord(epoch, 1, 0.5, 1, 0.5, 0.5, 1e-3, 1, 1, epoch == best) for epoch in waiting}
    following = EpochRecord(waiting[-1] + 1, 1, 0.5, 1, 0.5, 0.6, 1e-3, 1, 1, is_best)
    assert writer._can_join(writer._Ended(list(records.values()), best=records.get(best)), following) == may


def test_ctrl_c_while_an_epoch_is_copied_loses_none_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Epoch 1 is being written, and epoch 2 waits, when the copy of epoch 3 is interrupted."""
    disk = SlowDisk(monkeypatch, trained=9)

    def copy_or_stop(values: Any, earlier: Any = None) -> Any:
        if isinstance(values, dict) and values.get("epoch") == 3:
            disk.enough.set()
            raise KeyboardInterrupt
        return copy_to_memory(values, earlier)

    monkeypatch.setattr(writer, "copy_to_memory", copy_or_stop)
    with pytest.raises(KeyboardInterrupt):
        train_with(SCORES, tmp_path / "run")
    run = fgbg.open_run(tmp_path / "run")
    assert [record.epoch for record in run.epochs()] == [1, 2]
    assert torch.load(run.last, weights_only=True)["epoch"] == 2


def test_after_a_write_that_failed_nothing_later_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Epoch 2 waits when epoch 1, the best, fails: a state after epoch 2 would lack the model that its record calls best."""
    disk = SlowDisk(monkeypatch, trained=2)
    disk.fails_in = 1
    with pytest.raises(OSError, match=r"Input/output error: .*last\.pt"):
        train_with(SCORES[:3], tmp_path / "run")
    run = fgbg.Run(tmp_path / "run")
    assert disk.written == [1] and not run.last.exists()
    assert [record.epoch for record in run.epochs()] == [1]


@pytest.mark.long
def test_of_epochs_that_did_not_reach_the_disk_together_none_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their records are there, and the state after them is not."""
    whole = train_with(SCORES, tmp_path / "whole")
    with monkeypatch.context() as patched:
        SlowDisk(patched, trained=5).fails_in = 5
        with pytest.raises(OSError, match=r"Input/output error: .*last\.pt"):
            train_with(SCORES, tmp_path / "run")
    run = fgbg.open_run(tmp_path / "run")
    assert len(run.epochs()) == 5 and torch.load(run.last, weights_only=True)["epoch"] == 1
    config = small_config(tmp_path / "run", epochs=6, selfcheck=False)
    fgbg.train(config, samples=make_samples(), metric=score_by_epoch(*SCORES[1:]), resume=True)
    assert [record.train_loss for record in run.epochs()] == [record.train_loss for record in whole.epochs()]
    assert_same(load_file(run.best), load_file(whole.best))


def test_copies_keep_their_memory_and_share_none_with_what_was_copied() -> None:
    weights = OrderedDict(a=torch.ones(2, 3), b=torch.tensor(4))
    weights._metadata = {"": {"version": 2}}  # type: ignore[attr-defined]
    values = {"network": weights, "groups": [{"lr": 0.1, "params": [0, 1]}], "epoch": 1, "average": None}
    first = copy_to_memory(values)
    weights["a"] += 1
    assert first["network"]["a"].tolist() == [[1.0] * 3] * 2
    assert first["network"]._metadata == {"": {"version": 2}}
    assert {name: first[name] for name in ("groups", "epoch", "average")} == {
        "groups": [{"lr": 0.1, "params": [0, 1]}],
        "epoch": 1,
        "average": None,
    }
    second = copy_to_memory(values, first)
    assert second["network"]["a"].data_ptr() == first["network"]["a"].data_ptr()
    assert second["network"]["a"].tolist() == [[2.0] * 3] * 2
    weights["a"] = torch.ones(5)
    assert copy_to_memory(values, second)["network"]["a"].tolist() == [1.0] * 5, "memory that does not fit is not used"
