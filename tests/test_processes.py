"""One process and several: the same rows, the same gradients."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import fgbg
from discs import make_samples, small_config, write_discs
from fgbg.data.streams import Purpose, open_stream
from fgbg.engine import Engine
from fgbg.training import loop
from fgbg.training.build import build_learner, understand_data
from fgbg.training.loop import deal_batches

PREAMBLE = """
import sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, {tests!r})
import numpy as np, torch
import fgbg
from fgbg.engine import Engine
from discs import make_samples, small_config
out = Path({out!r})
"""


def start_processes(out: Path, code: str) -> str:
    """Run `code` in two processes, as torchrun starts them."""
    script = out / "script.py"
    script.write_text(PREAMBLE.format(tests=str(Path(__file__).parent), out=str(out)) + code + LEAVE)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=180, env={**os.environ})
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended.stdout


LEAVE = """
from fgbg.engine import leave_processes
leave_processes(0)
"""

GRADIENT = """
    from torch import nn
    from fgbg.training.losses import make_loss
    from fgbg.training.loop import Trainable, deal_batches
    from fgbg.models.predictor import Predictor

    class NoStatistics(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1))
        def forward(self, image):
            return self.layers(image)

    Engine("cpu", "bf16", 1)  # of an earlier run in the same process
    engine = Engine("cpu", "fp32", 1)
    torch.manual_seed(0)
    predictor = Predictor(NoStatistics(), size=32)
    module, _ = engine.prepare(Trainable(predictor), torch.optim.SGD(predictor.parameters(), 0.1))
    rng = np.random.default_rng(0)
    image = torch.tensor(rng.random((8, 3, 32, 32)), dtype=torch.float32)
    target = torch.tensor(rng.integers(0, 2, (8, 32, 32)), dtype=torch.uint8)
    target[0, :20] = 255  # judged pixels differ from image to image: a mean over pixels would not agree
    if engine.processes > 1:  # one process may decode a data set for longer than torch lets the others wait
        backend = torch.distributed.group.WORLD._get_backend(torch.device("cpu"))
        assert backend.options._timeout.days == 1, backend.options._timeout
    loss = make_loss("bce_dice", bce_weight=1.0, overlap_weight=1.0, false_positive_weight=0.5,
                     false_negative_weight=0.5, dice_reduction="image", focal_gamma=2.0,
                     focal_tversky_gamma=4 / 3, boundary_weight=4.0)
    rows = engine.share(np.arange(8))
    engine.backward(loss(module(image[rows]), target[rows]))
    if engine.is_main:
        gradients = {name: parameter.grad for name, parameter in predictor.named_parameters()}
        torch.save(gradients, out / f"gradients_{engine.processes}.pt")
"""


TRAIN = """
    fgbg.train(small_config(out / "two", epochs=2, selfcheck=True), samples=make_samples())
"""

DEAL = """
    from fgbg.training import loop
    make_batch, dealt = loop.make_batch, []

    def record(learner, rows, epoch, step):
        dealt.append(rows)
        return make_batch(learner, rows, epoch, step)

    loop.make_batch = record
    fgbg.train(small_config(out / "dealt", epochs=3), samples=make_samples())
    loop.make_batch = make_batch
    np.save(out / f"dealt_{Engine('cpu', 'fp32', 1).rank}.npy", dealt)
"""

TRAIN_BY_COMMAND = """
    from fgbg import cli
    flags = "--width 4 --size 32 --batch-size 4 --epochs 1 --device cpu --threads 1 --precision fp32 --no-selfcheck".split()
    assert cli.main(["train", str(out / "discs"), *flags, "--out", str(out / "folder")]) == 0
"""


STOP = """
    try:
        fgbg.train(small_config(out / "bad", epochs=1, selfcheck=True), samples=make_samples(),
                   loss=lambda logits, target: -logits.sum() * 0)
    except fgbg.UserError as error:
        (out / f"stopped_{Engine('cpu', 'fp32', 1).rank}").write_text(str(error))
"""

SYNC = """
    from torch import distributed

    class Waiting(torch.nn.SyncBatchNorm):  # torch's own compute on GPUs only; they wait for each other as these do
        def forward(self, image):
            if self.training:
                distributed.all_reduce(torch.zeros(1))
            return torch.nn.modules.batchnorm._BatchNorm.forward(self, image)

    def prepare(engine, module, optimizer, *, sync_norms):
        prepared = engine._accelerator.prepare(module, optimizer)
        for part in module.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.__class__ = Waiting  # once DDP, which refuses torch's own on CPUs, has looked at them
        return prepared

    Engine.prepare = prepare
    fgbg.train(small_config(out / "sync", epochs=1, sync_norms=True, selfcheck=True), samples=make_samples())
"""

EVALUATE = """
    from fgbg.data.samples import understand_samples
    from fgbg.judge.evaluate import evaluate
    # Photos that the model has not seen: darker, and negatives of that.
    samples = [replace(sample, image=sample.image // 2, split="test")
               for sample in make_samples(11) if sample.split == "validation"]
    samples += [replace(sample, id="b" + sample.id, image=255 - sample.image) for sample in samples]
    engine = Engine("cpu", "fp32", 1)
    for fit in ("squash", "crop"):
        model = fgbg.load(out / fit)
        run = fgbg.Run(out / f"{fit}_scores_{engine.processes}")
        run.folder.mkdir(exist_ok=True)
        evaluation = evaluate(model.predictor, model.header, understand_samples("discs", samples),
                              engine=engine, split="test", run=run)
        assert [row.id for row in evaluation.rows] == [sample.id for sample in samples]
    assert torch.get_num_threads() == engine.threads == 1, "nobody changes the threads behind the engine's back"
"""


@dataclass(frozen=True)
class Both:
    """What one process and two left behind, and what the two printed."""

    out: Path
    printed: str


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    """All that two processes do, in one start of them: most of its time is imports."""
    out = tmp_path_factory.mktemp("both")
    fgbg.train(small_config(out / "squash", epochs=2), samples=make_samples())
    fgbg.train(small_config(out / "crop", epochs=2, fit="crop", size=24), samples=make_samples())
    for code in (GRADIENT, EVALUATE):
        exec(PREAMBLE.format(tests=str(Path(__file__).parent), out=str(out)) + textwrap.dedent(code), {})
    write_discs(out)
    parts = (GRADIENT, EVALUATE, TRAIN, DEAL, TRAIN_BY_COMMAND, STOP, SYNC)
    printed = start_processes(out, "".join(map(textwrap.dedent, parts)))
    return Both(out, printed)


@pytest.mark.long
def test_two_processes_average_to_the_gradient_of_one(both: Both) -> None:
    one, two = (torch.load(both.out / f"gradients_{count}.pt", weights_only=True) for count in (1, 2))
    for name in one:
        distance = (one[name] - two[name]).norm() / one[name].norm()
        assert distance < 1e-5, (name, float(distance))


@pytest.mark.long
def test_two_processes_train_one_run(both: Both, tmp_path: Path) -> None:
    run = fgbg.open_run(both.out / "two")
    assert [record.epoch for record in run.epochs()] == [1, 2]
    assert both.printed.count("Epoch 2/2") == 1, "only the main process speaks"
    assert (run.folder / "performance.xlsx").exists()
    one = fgbg.train(small_config(tmp_path / "one", epochs=2), samples=make_samples())
    # The same images in the same batches; batch norm's statistics are each process's own, so the curves are only near.
    assert run.epochs()[0].train_loss == pytest.approx(one.epochs()[0].train_loss, abs=0.1)


@pytest.mark.long
def test_two_processes_validate_the_model_that_is_written(both: Both) -> None:
    """Each has seen other images, so that its own norms' statistics are other ones: the main process's count for all."""
    run, config = fgbg.open_run(both.out / "two"), small_config(both.out)
    learner = build_learner(config, understand_data(config, make_samples()), Engine("cpu", "fp32", 1))
    learner.judged.network.load_state_dict(load_file(run.best))
    written = next(record for record in reversed(run.epochs()) if record.best)
    assert loop.validate(learner).loss == pytest.approx(written.val_loss, rel=1e-6)  # with their own, 2e-5 apart


@pytest.mark.long
def test_two_processes_share_each_batch(both: Both) -> None:
    shares = [np.load(both.out / f"dealt_{rank}.npy") for rank in (0, 1)]
    together = np.sort(np.concatenate(shares, axis=1), axis=1)
    seed = small_config(both.out).seed
    whole = [np.sort(batch) for epoch in (1, 2, 3) for batch in deal_batches(12, 4, seed=seed, epoch=epoch)]
    assert together.tolist() == np.array(whole).tolist()


@pytest.mark.long
def test_two_processes_check_once_and_stop_together(both: Both) -> None:
    assert both.printed.count("self-check: 20 of 20 passed") == 2, "once for each of the two trainings that it goes through"
    assert all("wrong sign" in (both.out / f"stopped_{rank}").read_text() for rank in (0, 1))


@pytest.mark.long
def test_two_processes_give_the_rows_of_one(both: Both) -> None:
    for fit in ("squash", "crop"):
        folders = [both.out / f"{fit}_scores_{count}" for count in (1, 2)]
        first, second = ((folder / "scores_test.csv").read_bytes() for folder in folders)
        assert first == second
        assert len(first.splitlines()) == 7
        for folder in folders:
            assert len(list((folder / "predictions_test").iterdir())) == 6


def test_a_batch_that_cannot_be_shared_is_said(tmp_path: Path) -> None:
    config, engine = small_config(tmp_path, batch_size=3), Engine("cpu", "fp32", 1)
    engine.processes = 2
    with pytest.raises(fgbg.UserError, match="--batch-size 3 cannot be shared by 2 processes"):
        build_learner(config, understand_data(config, make_samples()), engine)


def test_each_process_drops_other_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, drawn = small_config(tmp_path), {}
    for rank in (0, 1):
        learner = build_learner(config, understand_data(config, make_samples()), Engine("cpu", "fp32", 1))
        learner.engine.rank = rank
        monkeypatch.setattr(loop, "compute_gradients", lambda *_: drawn.setdefault(rank, torch.rand(1, 2)))  # noqa: B023
        loop.train_epoch(learner, 3, "")
    seed = int(open_stream(config.seed, 3, Purpose.NETWORK).integers(2**63))
    assert torch.equal(drawn[0], torch.rand(1, 2, generator=torch.Generator().manual_seed(seed))), "as a single process"
    assert not torch.equal(drawn[1], drawn[0])


def test_a_numbered_gpu_is_not_for_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accelerate would give each process the GPU of its own rank, whatever the number says."""
    monkeypatch.setattr("fgbg.engine.resolve_device", torch.device)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(fgbg.UserError, match=r"--device cuda:1: 2 processes use a GPU each: give --device cuda"):
        Engine("cuda:1", "fp32", 1)


def test_a_numbered_gpu_is_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """What names no device of its own, such as pinned memory, would otherwise be on the first."""
    chosen: list[torch.device] = []
    monkeypatch.setattr("fgbg.engine.resolve_device", torch.device)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert Engine("cuda:1", "fp32", 1).device == torch.device("cuda:1")
    Engine("cpu", "fp32", 1)
    assert chosen == [torch.device("cuda:1")]


def test_rows_are_dealt_out_once() -> None:
    engines = [object.__new__(Engine) for _ in range(3)]
    shares = []
    for rank, engine in enumerate(engines):
        engine.rank, engine.processes = rank, 3
        shares.append(engine.share(np.arange(10)))
    assert sorted(np.concatenate(shares).tolist()) == list(range(10))


@pytest.mark.long
def test_torchrun_starts_the_command_line_and_ends_well(both: Both) -> None:
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "fgbg"]
    command = [*run, "evaluate", str(both.out / "folder")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert ended.stdout.count("test photos of discs: 4 pairs") == 1, "only the main process speaks"
    assert len(fgbg.open_run(both.out / "folder").scores("test")) == 4


@pytest.mark.long
def test_norms_over_all_processes_do_not_wait_in_the_self_check(both: Both) -> None:
    run = fgbg.open_run(both.out / "sync")
    assert [record.epoch for record in run.epochs()] == [1]
    assert len(run.selfcheck() or ()) == 20


def test_norms_over_all_processes_are_for_gpus(tmp_path: Path) -> None:
    with pytest.raises(fgbg.UserError, match=r"--sync-norms: torch has it for CUDA GPUs only, not for cpu"):
        fgbg.train(small_config(tmp_path / "run", sync_norms=True), samples=make_samples())


def test_norms_over_all_processes_keep_weights_and_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine("cpu", "fp32", 1)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    before = dict(network.named_parameters())
    monkeypatch.setattr(engine, "device", torch.device("cuda"))  # its norms are made anywhere, but compute on GPUs only
    prepared, _ = engine.prepare(network, torch.optim.SGD(network.parameters(), 0.1), sync_norms=True)
    assert [type(part).__name__ for part in prepared] == ["Conv2d", "SyncBatchNorm", "ReLU"]
    after = dict(prepared.named_parameters())
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)
