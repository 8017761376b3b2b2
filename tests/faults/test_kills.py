"""`kill -9` at every kind of moment: the next start goes on to the same bits."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest

from drill import (
    SECONDS,
    Fault,
    Place,
    assert_said,
    assert_same_result,
    count_epochs,
    ended_by_all_means,
    wait_for,
)

pytestmark = pytest.mark.long

MOMENTS = {
    "before the first step": ("fgbg.training.loop:take_step", 1),
    "between the first epoch's line and its state": ("fgbg.training.writer:save_state", 1),
    "between the last epoch's line and its state": ("fgbg.training.writer:save_state", 4),
    "between the first state and its model": ("fgbg.training.writer:save_weights", 1),
    "between a later state and its model": ("fgbg.training.writer:save_weights", 2),
    # Synced before the first epoch: record, settings, environment, split; in an epoch: line, state and, if best, model.
    "before the first state has its name": ("fgbg.storage:os.fsync", 6),
    "before the first model has its name": ("fgbg.storage:os.fsync", 7),
    "while the threshold is chosen": ("fgbg.judge.runs:replace_header", 1),
}


def test_a_run_killed_in_an_epoch_goes_on_to_the_same_bits(place: Place, interrupted: Path, undisturbed: Path) -> None:
    ended = place.run(place.train(interrupted, "--resume"))
    assert ended.status == 0, ended.said
    assert "after epoch 2 of 4" in ended.said
    assert_same_result(interrupted, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
def test_a_run_killed_at_any_moment_goes_on_to_the_same_bits(
    place: Place, undisturbed: Path, tmp_path: Path, moment: tuple[str, int]
) -> None:
    out = tmp_path / "run"
    ended = place.run(place.train(out), Fault(kill_at=moment))
    assert ended.status == -signal.SIGKILL, ended.said
    ended = place.run(place.train(out, "--resume"))
    assert ended.status == 0, ended.said
    assert_same_result(out, undisturbed)
    assert not list(out.glob(".*.partial")), "what the kill left half written has gone"


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_with_the_same_bits(place: Place, undisturbed: Path, tmp_path: Path) -> None:
    out, dice = tmp_path / "run", random.Random()
    kills = 0
    for _ in range(50):
        resume = ["--resume"] if (out / "config.toml").exists() else []
        with ended_by_all_means(place.start(place.train(out, *resume))) as command:
            command.process.join(dice.uniform(0.2, 4.0) if kills < 5 else SECONDS)
            if command.process.exitcode == 0:
                break
            command.kill()
            kills += 1
            ended = command.wait()
            assert ended.status == -signal.SIGKILL, ended.said
    assert_same_result(out, undisturbed)


def test_a_run_in_progress_is_left_alone_by_a_second_start(place: Place, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with ended_by_all_means(place.start([*place.train(out), "--epochs", "2000"])) as first:
        wait_for((out / "best.safetensors").exists, "a model")  # what evaluate asks for first
        second = place.run(place.train(out, "--resume", "--epochs", "2000"))
        assert_said(second, f"{out} is being written to by another fgbg (process {first.pid})", "wait for it")
        evaluation = place.run(["evaluate", str(out), "--device", "cpu"])
        assert_said(evaluation, f"process {first.pid}")
        assert first.process.is_alive()


@pytest.mark.slow
def test_of_two_starts_at_once_one_trains(place: Place, undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    both = [place.start(place.train(out)) for _ in range(2)]
    first, second = sorted((command.wait() for command in both), key=lambda ended: ended.status)
    assert first.status == 0, first.said
    assert_said(second, str(out))
    assert_same_result(out, undisturbed)


@pytest.mark.slow
def test_ctrl_c_and_a_scheduler_s_term_leave_a_run_that_goes_on(place: Place, undisturbed: Path, tmp_path: Path) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        out = tmp_path / number.name
        with ended_by_all_means(place.start([*place.train(out)])) as command:
            wait_for(lambda out=out: count_epochs(out) > 0, "an epoch")  # type: ignore[misc]
            os.kill(command.pid, number)
            ended = command.wait()
        assert ended.status == 130, ended.said
        assert f"go on with: fgbg train --resume --out {out}" in ended.said
        assert place.run(place.train(out, "--resume")).status == 0
        assert_same_result(out, undisturbed)
