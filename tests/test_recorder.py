"""Replaying a step on a GPU trains as launching it does. Without a GPU only the choice of what is recorded can be tested."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from discs import make_samples, small_config
from fgbg import UserError
from fgbg.config import TrainConfig
from fgbg.data import training_store
from fgbg.data.augment_ranges import AugmentRanges
from fgbg.data.mix import Mixture
from fgbg.engine import Engine
from fgbg.training import build, loop, recorder
from fgbg.training.build import build_learner, understand_data
from fgbg.training.loop import Learner, train_epoch
from fgbg.training.own_parts import OwnParts
from fgbg.training.recorder import Recorder

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
Scores = list[tuple[float, float]]


def make_learner(config: TrainConfig, own: OwnParts | None = None) -> Learner:
    return build_learner(config, understand_data(config, make_samples(size=48)), Engine(config.device), own)


def gpu_config(**changes: Any) -> TrainConfig:
    on_gpu = {"device": "cuda", "precision": "auto", "model": "resnet34_unet", "width": 16}
    return small_config(Path("unused"), **on_gpu | changes)


def train_two_epochs(learner: Learner) -> tuple[Scores, list[Tensor]]:
    trained = [train_epoch(learner, epoch, "") for epoch in (1, 2)]
    return [(each.loss, each.dice) for each in trained], list(learner.predictor.network.state_dict().values())


@needs_gpu
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"precision": "fp32", "loss": "boundary_lovasz"},
        {"augment": AugmentRanges(cutmix=0.3, mixup=0.4)},
        {"clip_norm": 0.5, "ema": 0.9, "optimizer": "adamw", "loss": "focal_focal_tversky"},
    ],
)
def test_a_replayed_step_gives_the_same_weights_to_the_bit(changes: dict[str, Any]) -> None:
    recorded = make_learner(gpu_config(**changes))
    launched = make_learner(gpu_config(**changes, cuda_graphs=False))
    assert recorded.recorder and not launched.recorder
    scores, weights = train_two_epochs(recorded)
    assert recorded.recorder._recordings
    expected_scores, expected_weights = train_two_epochs(launched)
    assert scores == expected_scores
    assert all(torch.equal(weight, expected) for weight, expected in zip(weights, expected_weights, strict=True))


@needs_gpu
def test_dropout_draws_on_where_it_stopped() -> None:
    learner = make_learner(gpu_config())
    dropped = nn.Sequential(learner.predictor.network.network, nn.Dropout(0.5))
    learner.predictor.network.network = dropped
    again = dataclasses.replace(learner, recorder=None)
    mixture = loop.make_batch(learner, np.arange(4), 1, 1)
    values = []
    for each in (learner, again):
        torch.manual_seed(5)
        values.append([loop.compute_gradients(each, mixture)[0, 0].item() for _ in range(4)])
    assert values[0] == values[1]
    assert len(set(values[0])) == 4


@needs_gpu
def test_growing_images_are_recorded_at_each_size() -> None:
    learner = make_learner(gpu_config(start_size=32, size=64))
    losses: list[float] = []
    for each in (learner, dataclasses.replace(learner, recorder=None)):
        for epoch, size in enumerate((32, 64, 32), start=1):
            each.augment.set_size(size)  # type: ignore[attr-defined]
            mixtures = [loop.make_batch(each, np.arange(start, start + 4), epoch, 1) for start in (0, 4, 8)]
            losses += [loop.compute_gradients(each, mixture)[0, 0].item() for mixture in mixtures]
    assert losses[:9] == losses[9:]
    assert len(set(losses)) == 9


@needs_gpu
def test_what_waits_for_the_gpu_is_not_recorded() -> None:
    learner = make_learner(gpu_config())
    assert learner.recorder
    compute, calls = learner.recorder.compute, []

    def wait(mixture: Mixture) -> Tensor:
        values = compute(mixture)
        calls.append(values[0].item())
        return values

    patient = dataclasses.replace(learner, recorder=Recorder(wait, learner.recorder.weights))
    train_two_epochs(patient)
    assert len(calls) == 6 and not patient.recorder._recordings  # type: ignore[union-attr]


@needs_gpu
@pytest.mark.parametrize("share", [0.0, training_store.RESIDENT_SHARE], ids=["from disk", "resident"])
@pytest.mark.parametrize("fit", ["squash", "crop"])
def test_the_next_batch_is_made_while_the_gpu_still_computes(
    fit: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_store, "RESIDENT_SHARE", share)
    learner = make_learner(gpu_config(fit=fit))
    first = loop.make_batch(learner, np.arange(4), 1, 1)  # draws the epoch's table
    torch.cuda.set_sync_debug_mode("error")
    try:
        again = loop.make_batch(learner, np.arange(4), 1, 1)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(again.image, first.image)


@needs_gpu
def test_a_batch_that_needs_much_memory_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "MOST_OF_MEMORY", 0.0)
    learner = make_learner(gpu_config())
    train_two_epochs(learner)
    assert learner.recorder and not learner.recorder._recordings


@pytest.mark.parametrize(
    ("changes", "own", "recorded"),
    [
        ({}, OwnParts(), True),
        ({"cuda_graphs": False}, OwnParts(), False),
        ({"compile": True}, OwnParts(), False),
        ({"accumulate": 2}, OwnParts(), False),
        ({}, OwnParts(model=nn.Conv2d(3, 1, 1)), False),
        ({}, OwnParts(loss=lambda logits, target: logits.mean()), False),
    ],
)
def test_only_what_is_known_to_replay_is_recorded(changes: dict[str, Any], own: OwnParts, recorded: bool) -> None:
    """A user's own network or loss may do in Python what a replay would leave out."""
    engine = Engine("cpu", "fp32", 1)
    config = small_config(Path("unused"), **changes)
    assert not build._is_recordable(config, engine, own), "on a processor"
    engine.device = torch.device("cuda")
    assert build._is_recordable(config, engine, own) == recorded
    engine.processes = 2
    assert not build._is_recordable(config, engine, own)


class FakeRecording:
    """Counts replays; stands in for a CUDA graph."""

    made: list[FakeRecording]

    def __init__(self, compute: Any, weights: Any, mixture: Mixture) -> None:
        self.shape, self.replays = tuple(mixture.image.shape), 0
        self.made.append(self)

    def replay(self, mixture: Mixture) -> Tensor:
        assert tuple(mixture.image.shape) == self.shape
        self.replays += 1
        return torch.zeros(2)


def test_the_first_batch_of_a_shape_is_computed_the_second_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeRecording.made = []
    monkeypatch.setattr(recorder, "_Recording", FakeRecording)
    computed: list[tuple[int, bool]] = []

    def compute(mixture: Mixture) -> Tensor:
        computed.append((mixture.image.shape[-1], mixture.second is None))
        return torch.ones(2)

    subject = Recorder(compute, [])
    monkeypatch.setattr(subject, "_compute_first", lambda mixture: (compute(mixture), mixture.image.shape[-1] != 16))

    def call(size: int, *, blended: bool = False) -> float:
        target = torch.zeros(2, size, size, dtype=torch.uint8)
        mixture = Mixture(torch.zeros(2, 3, size, size), target, target if blended else None)
        return subject(mixture)[0].item()

    assert [call(8), call(8), call(8)] == [1, 0, 0]
    assert [call(8, blended=True), call(8), call(8, blended=True)] == [1, 0, 0], "one with two targets is another shape"
    assert [call(16) for _ in range(3)] == [1, 1, 1], "not recordable"
    assert [call(8), call(8)] == [1, 0], "after other shapes, anew: a recording keeps its memory"
    assert computed == [(8, True), (8, False), *[(16, True)] * 3, (8, True)]
    assert [(made.shape[-1], made.replays) for made in FakeRecording.made] == [(8, 3), (8, 1), (8, 1)]


def test_a_batch_is_recorded_on_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Left to itself, torch records all graphs on a stream of the GPU that was current at the first."""
    streams: list[Any] = []
    monkeypatch.setattr(torch.cuda, "CUDAGraph", object)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: f"a stream of {device}")
    monkeypatch.setattr(torch.cuda, "graph", lambda _, *, stream, **__: streams.append(stream) or nullcontext())
    mixture = Mixture(torch.zeros(2, 3, 8, 8, device="meta"), torch.zeros(2, 8, 8, dtype=torch.uint8, device="meta"))
    recorder._Recording(lambda _: torch.zeros(2), [], mixture)
    assert streams == ["a stream of meta"]


def test_a_recording_that_fails_names_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        def __init__(self, *_: Any, **__: Any) -> None: ...

        def __enter__(self) -> None:
            raise RuntimeError("operation not permitted\nwhen stream is capturing")

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(torch.cuda, "graph", Refusing)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", object)
    monkeypatch.setattr(torch.cuda, "Stream", lambda _: None)
    mixture = Mixture(torch.zeros(2, 3, 8, 8), torch.zeros(2, 8, 8, dtype=torch.uint8))
    sentence = r"could not record a training step \(operation not permitted\): train with --no-cuda-graphs"
    with pytest.raises(UserError, match=sentence):
        recorder._Recording(lambda _: torch.zeros(2), [], mixture)
