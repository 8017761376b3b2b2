"""TensorBoard's events, read by TensorBoard's own reader."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import fgbg
from discs import make_samples, small_config
from fgbg.training import track


def read_events(run: fgbg.Run) -> dict[str, list[tuple[int, float]]]:
    reader = EventAccumulator(str(run.folder / "tensorboard")).Reload()
    return {name: [(event.step, event.value) for event in reader.Scalars(name)] for name in reader.Tags()["scalars"]}


@pytest.mark.long
def test_a_resumed_run_is_tracked_whole_and_once(tmp_path: Path) -> None:
    config = small_config(tmp_path / "run", epochs=2, track="tensorboard")
    fgbg.train(config, samples=make_samples())
    run = fgbg.train(replace(config, epochs=3), samples=make_samples(), resume=True)
    events = read_events(run)
    for name in ("train_loss", "val_dice_photo", "learning_rate"):
        steps, values = zip(*events[name], strict=True)
        assert steps == (1, 2, 3)
        assert values == pytest.approx([getattr(record, name) for record in run.epochs()], rel=1e-6)
    assert "epoch" not in events
    assert "own_metric" not in events


def test_nothing_is_tracked_by_default(tmp_path: Path) -> None:
    run = fgbg.train(small_config(tmp_path / "run", epochs=1), samples=make_samples())
    assert not (run.folder / "tensorboard").exists()


def test_without_tensorboard_the_cure_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(track, "find_spec", lambda name: None)
    with pytest.raises(fgbg.UserError, match=r"pip install 'fgbg\[track\]'"):
        fgbg.train(small_config(tmp_path / "run", epochs=1, track="tensorboard"), samples=make_samples())
    assert not (tmp_path / "run").exists()
