"""Training: the run folder, resuming, seams, and what stops a run."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import fgbg
from discs import make_samples, small_config, write_discs
from fgbg import cli
from fgbg.data.augment_ranges import NO_CHANGE
from fgbg.data.samples import SPLITS, understand_samples
from fgbg.engine import Engine, name_cpu
from fgbg.judge.evaluate import evaluate
from fgbg.judge.report import write_record
from fgbg.judge.runs import evaluate_run
from fgbg.loss_names import LOSS_SETTINGS
from fgbg.models.checkpoint import read_header
from fgbg.run import Run
from fgbg.training import loop
from fgbg.training.loop import deal_batches
from fgbg.training.losses import bce, dice_loss, focal, make_loss
from fgbg.training.own_parts import describe_code

pytestmark = pytest.mark.usefixtures("no_charts")


def weights_of(run: Run) -> dict[str, torch.Tensor]:
    return torch.load(run.last, weights_only=True)["network"]


def assert_same_weights(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, weight in first.items():
        assert torch.equal(weight, second[name]), name


def test_run_folder_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fgbg.training.train.write_record", write_record)
    run = fgbg.train(small_config(tmp_path / "run"), samples=make_samples())
    for name in (
        "config.toml",
        "environment.json",
        "split.json",
        "epochs.jsonl",
        "best.safetensors",
        "last.pt",
        "performance.xlsx",
    ):
        assert (run.folder / name).stat().st_size > 0, name
    assert {path.name for path in run.charts.iterdir()} >= {"loss.png", "dice.png"}
    records = run.epochs()
    assert [record.epoch for record in records] == [1, 2, 3]
    assert records[0].best
    best = max(records, key=lambda record: record.val_dice_photo)
    assert fgbg.load(run.folder).header.epoch == best.epoch
    environment = json.loads((run.folder / "environment.json").read_text())
    assert environment["threads"] == 1
    assert environment["processor"] == name_cpu() != ""
    assert torch.__version__.startswith(environment["versions"]["torch"])
    split = json.loads((run.folder / "split.json").read_text())
    assert len(split["train"]) == 12
    assert len(split["validation"]) == 4
    assert not list(run.folder.glob(".*partial"))


def test_best_and_last_exist_after_the_first_epoch_whatever_the_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[str]] = []
    wait = Engine.wait

    def look(engine: Engine) -> None:
        seen.append({path.name for path in (tmp_path / "run").iterdir()})
        wait(engine)

    monkeypatch.setattr(Engine, "wait", look)
    fgbg.train(small_config(tmp_path / "run", epochs=1, learning_rate=1e-9), samples=make_samples())
    assert {"best.safetensors", "last.pt", "config.toml", "split.json", "epochs.jsonl"} <= seen[-1]


def test_same_seed_same_weights_other_seed_other_weights(tmp_path: Path) -> None:
    runs = [
        fgbg.train(small_config(tmp_path / name, seed=seed, epochs=1), samples=make_samples())
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert_same_weights(weights_of(runs[0]), weights_of(runs[1]))
    assert any(
        not torch.equal(a, b) for a, b in zip(weights_of(runs[0]).values(), weights_of(runs[2]).values(), strict=True)
    )


class WithDropout(nn.Module):
    """Its weights depend on torch's random state in every step."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Dropout2d(0.5), nn.Conv2d(8, 1, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.layers(image)


@pytest.mark.parametrize("own_network", [False, True])
def test_an_interrupted_run_resumes_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_network: bool
) -> None:
    def network() -> nn.Module | None:
        torch.manual_seed(7)
        return WithDropout() if own_network else None

    whole = fgbg.train(small_config(tmp_path / "whole"), samples=make_samples(), model=network())

    # Ctrl-C in the second step of epoch 2.
    steps = 0
    take_step = loop.take_step

    def interrupt(*arguments: object) -> tuple[float, float]:
        nonlocal steps
        steps += 1
        if steps == 5:
            raise KeyboardInterrupt
        return take_step(*arguments)

    monkeypatch.setattr(loop, "take_step", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fgbg.train(small_config(tmp_path / "cut"), samples=make_samples(), model=network())
    monkeypatch.undo()
    assert [record.epoch for record in fgbg.open_run(tmp_path / "cut").epochs()] == [1]
    resumed = fgbg.train(small_config(tmp_path / "cut"), samples=make_samples(), model=network(), resume=True)
    assert_same_weights(weights_of(whole), weights_of(resumed))
    assert_same_weights(load_file(whole.best), load_file(resumed.best))
    ignore = {"seconds": 0, "images_per_second": 0}
    assert [replace(record, **ignore) for record in whole.epochs()] == [
        replace(record, **ignore) for record in resumed.epochs()
    ]


KILLED = """
import os, sys, signal
sys.path.insert(0, {tests!r})
from pathlib import Path
from discs import make_samples, small_config
from fgbg.training import loop
import fgbg
steps = 0
take_step = loop.take_step
def die(*arguments):
    global steps
    steps += 1
    if steps == {step}:
        os.kill(os.getpid(), signal.SIGKILL)
    return take_step(*arguments)
loop.take_step = die
fgbg.train(small_config(Path({out!r}), epochs=3), samples=make_samples())
"""


@pytest.mark.long
def test_a_killed_run_resumes_to_the_same_bits(tmp_path: Path) -> None:
    step = int(np.random.default_rng(time.time_ns()).integers(1, 10))  # any step of the 9 must do
    out = tmp_path / "killed"
    code = textwrap.dedent(KILLED).format(tests=str(Path(__file__).parent), out=str(out), step=step)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    resumed = fgbg.train(small_config(out), samples=make_samples(), resume=True)
    whole = fgbg.train(small_config(tmp_path / "whole"), samples=make_samples())
    assert_same_weights(weights_of(whole), weights_of(resumed))
    assert [record.epoch for record in resumed.epochs()] == [1, 2, 3], f"killed in step {step}"


@pytest.mark.long
def test_more_epochs_extend_a_run(tmp_path: Path) -> None:
    config = small_config(tmp_path / "run", epochs=1)
    fgbg.train(config, samples=make_samples())
    extended = fgbg.train(replace(config, epochs=3), samples=make_samples(), resume=True)
    whole = fgbg.train(small_config(tmp_path / "whole"), samples=make_samples())
    assert_same_weights(weights_of(whole), weights_of(extended))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"learning_rate": 1.0}, "learning_rate would change"),
        ({"epochs": 1}, "can only extend"),
        ({"size": 48}, "size would"),
    ],
)
def test_resume_refuses_other_settings(tmp_path: Path, changes: dict[str, object], sentence: str) -> None:
    config = small_config(tmp_path / "run", epochs=2)
    fgbg.train(config, samples=make_samples())
    with pytest.raises(fgbg.UserError, match=sentence):
        fgbg.train(replace(config, **changes), samples=make_samples(), resume=True)


def test_a_damaged_state_is_said(tmp_path: Path) -> None:
    config = small_config(tmp_path / "run", epochs=1)
    run = fgbg.train(config, samples=make_samples())
    run.last.write_bytes(run.last.read_bytes()[:1000])
    with pytest.raises(fgbg.UserError, match=r"last\.pt is damaged"):
        fgbg.train(replace(config, epochs=2), samples=make_samples(), resume=True)


def test_resume_refuses_changed_data(tmp_path: Path) -> None:
    config, samples = small_config(tmp_path / "run", epochs=1), make_samples()
    run = fgbg.train(config, samples=samples)
    more = replace(config, epochs=2)
    with pytest.raises(fgbg.UserError, match="has changed since"):
        fgbg.train(more, samples=[replace(samples[0], image=samples[0].image + 1), *samples[1:]], resume=True)
    with pytest.raises(fgbg.UserError, match="disc_00: gone since"):
        fgbg.train(more, samples=samples[1:], resume=True)
    (run.folder / "split.json").unlink()
    with pytest.raises(fgbg.UserError, match=r"has no split\.json, .* restore it from a copy"):
        fgbg.train(more, samples=samples, resume=True)


@pytest.mark.parametrize("own", [False, True])
def test_a_resumed_run_keeps_its_split_whatever_the_lists_say_by_now(tmp_path: Path, own: bool) -> None:
    """Photos that trained would otherwise be taken for clean test photos."""
    folder, samples = write_discs(tmp_path), make_samples(18)
    config = small_config(tmp_path / "run", data="" if own else str(folder), epochs=1)
    run = fgbg.train(config, samples=samples[:16] if own else None)
    before = run.split()
    train, test = ((folder / f"{name}.txt").read_text() for name in ("train", "test"))
    (folder / "train.txt").write_text(test)
    (folder / "test.txt").write_text(train)
    (folder / "groups.csv").write_text("id,group\ndisc_01,a\ndisc_03,a\n")
    swapped = [replace(sample, split="train" if sample.split == "validation" else "validation") for sample in samples]
    again = fgbg.train(replace(config, epochs=2), samples=swapped if own else None, resume=True)
    assert [record.epoch for record in again.epochs()] == [1, 2]
    assert again.split()["remark"] == before["remark"]
    assert [{photo["id"] for photo in again.split()[part]} for part in SPLITS] == [
        {photo["id"] for photo in before[part]} for part in SPLITS
    ]


def test_a_resumed_run_keeps_the_first_command_and_adds_its_own(tmp_path: Path) -> None:
    config = small_config(tmp_path / "run", epochs=1)
    fgbg.train(config, samples=make_samples())
    run = fgbg.train(replace(config, epochs=2), samples=make_samples(), resume=True)
    environment = json.loads((run.folder / "environment.json").read_text())
    assert environment["command"]
    assert [resumed["after_epoch"] for resumed in environment["resumed"]] == [1]


def test_four_images_overfit(tmp_path: Path) -> None:
    samples = make_samples(8)
    four = [replace(sample, split="train") for sample in samples[:4]]
    seen = [replace(sample, id=f"again_{sample.id}", split="validation") for sample in four]
    config = small_config(tmp_path / "run", epochs=30, learning_rate=2e-2, width=8, augment=NO_CHANGE, allow_overlap=True)
    run = fgbg.train(config, samples=four + seen)
    assert max(record.val_dice_photo for record in run.epochs()) > 0.95


def test_a_golden_loss_curve(tmp_path: Path) -> None:
    """A change that is meant to change nothing shows the same curve; one that is meant to says so and edits this."""
    run = fgbg.train(small_config(tmp_path / "run"), samples=make_samples())
    curve = [(record.train_loss, record.train_dice, record.val_loss) for record in run.epochs()]
    golden = [(1.3471, 0.1085, 1.3597), (1.2076, 0.3622, 1.3641), (1.1411, 0.7514, 1.3719)]
    assert np.allclose(curve, golden, atol=5e-3), curve


class TinyNetwork(nn.Module):
    """A network that asks for sizes that are multiples of 4."""

    stride = 4

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 1, 3, padding=1)
        self.sizes: set[tuple[int, int]] = set()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.sizes.add((image.shape[2], image.shape[3]))
        return self.layer(image)


def test_own_network_loss_augmentation_and_metric_plug_in(tmp_path: Path) -> None:
    network, calls = TinyNetwork(), {"loss": 0, "augment": 0, "metric": 0}

    def loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        calls["loss"] += 1
        return 2 * bce(logits, target)

    def augment(
        pixels: torch.Tensor, target: torch.Tensor, rows: torch.Tensor, epoch: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        assert len(rows) == len(pixels)
        calls["augment"] += 1
        return pixels[..., :30, :30].float() / 255, target[..., :30, :30]

    def metric(prediction: torch.Tensor, target: torch.Tensor) -> float:
        calls["metric"] += 1
        return -float((prediction != (target == 1)).float().mean())

    run = fgbg.train(
        small_config(tmp_path / "run", size=30),
        samples=make_samples(),
        model=network,
        loss=loss,
        augment=augment,
        metric=metric,
    )
    assert calls == {"loss": 3 * (3 + 4), "augment": 9, "metric": 12}
    assert network.sizes == {(32, 32)}, "the padding wrapper brings 30 px to the stride of 4"
    assert list(run.own_parts) == ["model", "loss", "augment", "metric"]
    assert run.settings()["model"].startswith("own: test_training.TinyNetwork (code ")
    assert run.settings()["loss"].startswith("own: test_training.test_own_network_loss_augmentation_and_metric_plug_in.<")
    assert not {"augment.flip", "bce_weight", "width"} & run.settings().keys()
    records = run.epochs()
    assert all(record.own_metric is not None and record.own_metric <= 0 for record in records)
    best = max(records, key=lambda record: record.own_metric or 0.0)
    model = fgbg.load(run.folder, network=TinyNetwork())
    assert model.header.epoch == best.epoch
    assert model(make_samples()[0].image).shape == (32, 32)
    with pytest.raises(fgbg.UserError, match="network of your own"):
        fgbg.load(run.folder)
    before = network.layer.weight.clone()
    told = fgbg.evaluate_run(run.folder, network=network, samples=make_samples(), split="validation", device="cpu")
    assert len(told.rows) == 4
    assert torch.equal(network.layer.weight, before), "the network that was given stays as it is"


def test_own_parts_of_one_name_are_told_apart_by_what_they_hold() -> None:
    def weigh(weight: float) -> Any:
        def loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            return weight * bce(logits, target)

        return loss

    one, same, other = describe_code(weigh(1.0)), describe_code(weigh(1.0)), describe_code(weigh(10.0))
    assert one == same != other
    assert one.startswith("test_training.test_own_parts_of_one_name") and "loss (code " in one
    assert describe_code(partial(bce, gamma=1.0)) != describe_code(partial(bce, gamma=2.0))


WEIGHTS: dict[str, Any] = {name: getattr(fgbg.TrainConfig(), name) for name in LOSS_SETTINGS}


class Scaled:
    """A loss that is an object."""

    def __init__(self, scale: object) -> None:
        self.scale, self.calls = scale, itertools.count()

    def __call__(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return logits.mean()

    def again(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return logits.mean()


@pytest.mark.parametrize(
    "values",
    [
        lambda: [1, 1.0, True, "1"],
        lambda: [bce, dice_loss, torch.relu, torch.tanh, nn.ReLU],
        lambda: [[1.0], [2.0], [1.0, 1.0], [[1.0]], [bce]],
        lambda: [{"a": 1, "b": 2}, {"a": 2, "b": 1}, {"a": 1}],
        lambda: [np.arange(2), np.arange(3), np.ones((1, 3)), np.ones(3), np.float32(1), np.array(["a", 2], object)],
        lambda: [torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0]), torch.tensor(1.0), torch.tensor(1.0).bfloat16()],
        lambda: [torch.arange(10**6), torch.arange(10**6).roll(1)],
        lambda: [partial(focal, gamma=1.0), partial(focal, gamma=2.0), partial(bce, 1), partial(bce, 2)],
        lambda: [make_loss("bce_dice", **WEIGHTS), make_loss("focal_dice", **WEIGHTS)],
        lambda: [Scaled(1), Scaled(2), Scaled(1).again, Scaled(2).again],
        lambda: [nn.HuberLoss("sum"), nn.Dropout(0.1), nn.Dropout(0.2)],
    ],
)
def test_what_own_parts_hold_may_be_deep(values: Callable[[], list[Any]]) -> None:
    """In a closure, as an attribute or as a default; the same again where a part is made anew."""

    def enclose(held: object) -> Callable[[], object]:
        return lambda: held

    def default(held: object) -> Callable[[], object]:
        return lambda held=held: held

    for hold in (enclose, default, Scaled):
        first, second = ([describe_code(hold(value)) for value in values()] for _ in range(2))
        assert first == second
        assert len(set(first)) == len(first)


def test_own_parts_that_hold_themselves_have_an_end() -> None:
    def count(left: int) -> int:
        return count(left - 1) if left else 0

    held: list[Any] = [count]
    held.append(held)
    assert describe_code(count) != describe_code(lambda: held)


def test_weights_that_a_loss_learns_are_not_its_recipe() -> None:
    one, other = (describe_code(Scaled(nn.Parameter(torch.tensor([weight])))) for weight in (1.0, 2.0))
    assert one == other


def test_own_networks_of_one_class_are_told_apart_by_their_layers() -> None:
    def build(channels: int, rate: float) -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, channels, 1), nn.Dropout(rate), nn.Conv2d(channels, 1, 1))

    one, trained = describe_code(build(4, 0.1)), describe_code(build(4, 0.1).eval())
    assert one == trained, "neither weights nor the mode are the recipe"
    assert len({one, describe_code(build(5, 0.1)), describe_code(build(4, 0.2))}) == 3


def test_a_run_with_own_parts_goes_on_only_with_them(tmp_path: Path) -> None:
    config = small_config(tmp_path / "run", epochs=1)

    def metric(prediction: torch.Tensor, target: torch.Tensor) -> float:
        return 50.0

    fgbg.train(config, samples=make_samples(), metric=metric)
    longer = replace(config, epochs=2)
    with pytest.raises(fgbg.UserError, match=r"trained with your own metric.*by fgbg.train\(…, metric=…, resume=True\)"):
        fgbg.train(longer, samples=make_samples(), resume=True)
    with pytest.raises(fgbg.UserError, match="was trained without your own loss"):
        fgbg.train(longer, samples=make_samples(), metric=metric, loss=bce, resume=True)
    assert len(fgbg.train(longer, samples=make_samples(), metric=metric, resume=True).epochs()) == 2


def test_a_metric_that_is_not_defined_for_a_photo_stops_and_names_it(tmp_path: Path) -> None:
    """By its mean no epoch could be told from another, and the first one would be kept."""
    samples = make_samples()
    validating = next(sample for sample in samples if sample.split == "validation")
    empty = replace(validating, mask=np.zeros_like(validating.mask))

    def metric(prediction: torch.Tensor, target: torch.Tensor) -> float:
        return fgbg.dice(prediction, target, empty=float("nan")) if (target == 1).any() else float("nan")

    config = small_config(tmp_path / "run", selfcheck=False)
    with pytest.raises(fgbg.UserError, match=f"no finite number for 1 validation photo \\({empty.id}\\)"):
        fgbg.train(config, samples=[empty if sample is validating else sample for sample in samples], metric=metric)


@pytest.mark.parametrize(
    ("precision", "cure"),
    [("fp32", "with a smaller --learning-rate$"), ("bf16", "with a smaller --learning-rate or with --precision fp32$")],
)
def test_a_loss_that_is_not_finite_stops_at_once_and_says_where(tmp_path: Path, precision: str, cure: str) -> None:
    calls = 0

    def loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        value = bce(logits, target)
        return value * float("nan") if calls == 3 + 4 + 2 else value  # epoch 1: 3 steps and 4 photos; then step 2

    with pytest.raises(fgbg.UserError, match=rf"loss became nan in epoch 2, step 2 \(photos disc_.*{cure}"):
        fgbg.train(small_config(tmp_path / "run", precision=precision), samples=make_samples(), loss=loss)
    run = fgbg.open_run(tmp_path / "run")
    assert [record.epoch for record in run.epochs()] == [1]
    assert all(weight.isfinite().all() for weight in weights_of(run).values())


def test_training_goes_on_in_training_mode_after_validation(tmp_path: Path) -> None:
    modes: list[bool] = []

    class Watched(TinyNetwork):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            modes.append(self.training)
            return super().forward(image)

    fgbg.train(small_config(tmp_path / "run", epochs=2), samples=make_samples(), model=Watched())
    choosing = [False, False]  # the threshold at the end: once to choose it, once to score with it
    assert modes == [True, True, True, False] * 2 + choosing


def test_validation_scores_as_evaluate_does(tmp_path: Path) -> None:
    samples = make_samples()
    run = fgbg.train(small_config(tmp_path / "run"), samples=samples)
    model = fgbg.load(run.folder)
    sample_set = understand_samples("discs", [sample for sample in samples if sample.split == "validation"])
    evaluation = evaluate(model.predictor, model.header, sample_set, engine=Engine("cpu", "fp32", 1), split="validation")
    record = run.epochs()[model.header.epoch - 1]
    assert evaluation.mean_dice.mean == pytest.approx(record.val_dice_photo, abs=1e-12)
    assert evaluation.statement["dice_at_size"] == pytest.approx(record.val_dice, abs=1e-12)


def test_every_epoch_deals_each_image_at_most_once_in_another_order() -> None:
    first, second = (np.concatenate(list(deal_batches(10, 4, seed=0, epoch=epoch))) for epoch in (1, 2))
    assert len(first) == len(set(first.tolist())) == 8
    assert first.tolist() != second.tolist()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"batch_size": 13}, "--batch-size 13 is more than the 12 training photos"),
        ({"model": "unte"}, "did you mean 'unet'"),
        ({"device": "tpu"}, "--device tpu: choose one of"),
        *[({"device": name}, f"--device {name}: choose one of") for name in ("cpu:", "cuda:", "mps:", "cpu:0")],
        ({"only": "ids.txt", "split": "lab"}, "split, only: for files of DATA"),
        ({"categories": ("cat",)}, "categories: .* leave it out, or give data instead of samples"),
        ({"border": "ignore"}, "ambiguity band"),
        (
            {"false_negative_weight": 0.9},
            "belongs to the part tversky or focal_tversky: use --loss bce_tversky",
        ),
        (
            {"loss": "boundary_lovasz", "focal_gamma": 9.0},
            "--focal-gamma belongs to the part focal: use --loss focal_lovasz, say",
        ),
        ({"batch_size": 1, "size": 16}, "--batch-size 1 at --size 16 leaves the deepest batch norm one value"),
        (
            {"batch_size": 4, "accumulate": 4, "size": 64, "start_size": 16},
            "--batch-size 4 with --accumulate 4 at --start-size 16 leaves the deepest batch norm one value",
        ),
    ],
)
def test_what_cannot_be_trained_is_said(tmp_path: Path, changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(fgbg.UserError, match=sentence):
        fgbg.train(small_config(tmp_path / "run", **changes), samples=make_samples())


def test_single_images_train_where_the_deepest_level_has_several_pixels(tmp_path: Path) -> None:
    run = fgbg.train(small_config(tmp_path / "run", batch_size=1, epochs=1), samples=make_samples(8))
    assert np.isfinite(run.epochs()[0].train_loss)


def test_samples_may_come_one_by_one(tmp_path: Path) -> None:
    run = fgbg.train(small_config(tmp_path / "run", epochs=1), samples=(sample for sample in make_samples()))
    assert run.fingerprint == fgbg.train(small_config(tmp_path / "list", epochs=1), samples=make_samples()).fingerprint


def test_a_run_on_own_samples_asks_for_data_to_score(tmp_path: Path) -> None:
    run = fgbg.train(small_config(tmp_path / "run", epochs=1), samples=make_samples(8))
    with pytest.raises(fgbg.UserError, match="name the DATA to score"):
        evaluate_run(run.folder)
    with pytest.raises(fgbg.UserError, match="have changed since"):
        evaluate_run(run.folder, samples=[replace(sample, image=255 - sample.image) for sample in make_samples(8)])
    told = evaluate_run(run.folder, samples=iter(make_samples(8)), split="validation")
    assert [row.id for row in told.rows] == [photo["id"] for photo in run.split()["validation"]]


def test_tversky_at_one_half_tells_that_it_is_dice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [
        fgbg.train(small_config(tmp_path / loss, epochs=1, loss=loss), samples=make_samples())
        for loss in ("bce_dice", "bce_tversky")
    ]
    assert "is the Dice loss" in capsys.readouterr().out
    assert_same_weights(weights_of(runs[0]), weights_of(runs[1]))


def test_an_old_run_with_a_setting_that_its_loss_lacks_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_config(tmp_path / "run", epochs=1, boundary_weight=7.0)
    with monkeypatch.context() as before:
        before.setattr("fgbg.training.prepare.require_loss_options", lambda config: None)
        fgbg.train(config, samples=make_samples())
    run = fgbg.train(replace(config, epochs=2), samples=make_samples(), resume=True)
    assert len(run.epochs()) == 2


@pytest.fixture(scope="module")
def own_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("own") / "run"
    return fgbg.train(small_config(out, epochs=1), samples=make_samples(), model=TinyNetwork())


def test_a_run_of_an_own_network_goes_on_from_python_alone(
    own_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_discs(tmp_path)
    for command, sentence in (
        (["--resume", "--out", str(own_run.folder)], f"{own_run.folder} was trained with a network of your own, Tiny"),
        ([str(data), "--init", str(own_run.folder)], f"--init {own_run.folder} holds a network of your own, TinyNetwork"),
    ):
        assert cli.main(["train", "--out", str(tmp_path / "new"), *command]) == 2
        told = capsys.readouterr().err
        assert sentence in told
        assert "fgbg.train(…, model=…" in told
    with pytest.raises(fgbg.UserError, match=r"network of your own, TinyNetwork.*resume=True"):
        fgbg.train(small_config(own_run.folder, epochs=2), samples=make_samples(), resume=True)
    with pytest.raises(fgbg.UserError, match=r"--init pets is timm_unet.* asks for own:TinyNetwork: leave model="):
        fgbg.train(small_config(tmp_path / "new", init="pets"), samples=make_samples(), model=TinyNetwork())


def test_an_own_network_starts_with_the_weights_of_another_run(own_run: Run, tmp_path: Path) -> None:
    config = small_config(tmp_path / "run", epochs=1, init=str(own_run.folder), learning_rate=1e-12)
    with pytest.raises(fgbg.UserError, match=r"of the validation photos .* trained the model of --init"):
        judged = [replace(sample, split="validation") for sample in make_samples()[1:2]]
        fgbg.train(config, samples=[*make_samples(40)[20:], *judged], model=TinyNetwork())
    run = fgbg.train(config, samples=make_samples(40)[20:], model=TinyNetwork())
    before, after = load_file(own_run.best), load_file(run.best)
    for name, weight in before.items():
        torch.testing.assert_close(after[name], weight, rtol=0, atol=1e-9)
    longer = replace(config, epochs=2)
    assert len(fgbg.train(longer, samples=make_samples(40)[20:], model=TinyNetwork(), resume=True).epochs()) == 2
    assert set(read_header(own_run.best).training_images) < set(read_header(run.best).training_images)


@pytest.mark.parametrize(("offset", "told"), [(30.0, "calls nearly everything object"), (-30.0, "finds nearly nothing")])
def test_a_model_that_has_learnt_nothing_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], offset: float, told: str
) -> None:
    class OneAnswer(TinyNetwork):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return 1e-3 * super().forward(image) + offset

    fgbg.train(small_config(tmp_path / "run", epochs=1), samples=make_samples(), model=OneAnswer())
    assert f"note: at this threshold the model {told}: it has learnt nothing yet; train longer" in capsys.readouterr().out
    blank = [
        replace(sample, mask=np.zeros_like(sample.mask)) for sample in make_samples()
    ]  # rightly empty photos hide nothing
    mixed = [drawn if place % 3 else empty for place, (drawn, empty) in enumerate(zip(make_samples(), blank, strict=True))]
    fgbg.train(small_config(tmp_path / "blank", epochs=1), samples=mixed, model=OneAnswer())
    assert f"note: at this threshold the model {told}" in capsys.readouterr().out
    fgbg.train(small_config(tmp_path / "learns", learning_rate=0.1), samples=make_samples(), model=TinyNetwork())
    assert "has learnt nothing" not in capsys.readouterr().out


def test_two_losses_of_nearly_one_name_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for loss in ("focal_tversky", "bce_focal_tversky"):
        fgbg.train(small_config(tmp_path / loss, epochs=1, loss=loss), samples=make_samples())
        assert ("the focal Tversky loss is the second part of" in capsys.readouterr().out) == (loss == "focal_tversky")


def test_training_does_not_touch_a_folder_with_something_in_it(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(fgbg.UserError, match="not empty"):
        fgbg.train(small_config(tmp_path), samples=make_samples())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(fgbg.UserError, match="choose a"):
        fgbg.train(small_config(tmp_path / "run"), samples=make_samples())


def test_bf16_scores_in_fp32(tmp_path: Path) -> None:
    if Engine("cpu").precision != "bf16":
        pytest.skip("this processor has no bf16")
    types: set[tuple[bool, torch.dtype]] = set()

    class Watched(TinyNetwork):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            logits = super().forward(image)
            types.add((self.training, logits.dtype))
            return logits

    fgbg.train(small_config(tmp_path / "run", epochs=1, precision="bf16"), samples=make_samples(), model=Watched())
    assert types == {(True, torch.bfloat16), (False, torch.float32)}


def test_records_hold_every_field(tmp_path: Path) -> None:
    run = fgbg.train(small_config(tmp_path / "run", epochs=1), samples=make_samples())
    line = json.loads((run.folder / "epochs.jsonl").read_text())
    assert set(line) == {field.name for field in dataclasses.fields(run.epochs()[0])} | {"crc32"}


def test_a_loss_with_weights_of_its_own_and_one_that_marks_targets_validate(tmp_path: Path) -> None:
    weight = torch.ones((), requires_grad=True)

    def loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        target[target == 255] = 0
        return weight * nn.functional.binary_cross_entropy_with_logits(logits[:, 0], target.float())

    run = fgbg.train(small_config(tmp_path / "run", epochs=1), samples=make_samples(8), loss=loss)
    assert run.epochs()[0].val_loss > 0


def test_a_long_training_says_so_after_a_few_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fgbg.train(small_config(tmp_path / "short", epochs=1, batch_size=2), samples=make_samples())
    assert "at this pace" not in capsys.readouterr().out
    monkeypatch.setattr("fgbg.training.loop.time.perf_counter", iter(range(0, 10**9, 60)).__next__)  # a minute each look
    fgbg.train(small_config(tmp_path / "long", epochs=2, batch_size=2), samples=make_samples())
    # The clock is read at the start of an epoch, after its first step and after its second: a minute a step, of 6 an epoch.
    assert capsys.readouterr().out.count("note: at this pace") == 0
    config = small_config(tmp_path / "longer", epochs=30, batch_size=2, patience=1)
    fgbg.train(config, samples=make_samples(), metric=lambda probability, target: 0.0)
    assert capsys.readouterr().out.count("note: at this pace the training takes about 3 hours; Ctrl-C keeps") == 1
