"""Weights that an encoder starts from, and models that continue others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file

import fgbg
from discs import make_samples, small_config
from fgbg.cli import main
from fgbg.models import build_network, pretrained
from fgbg.models.checkpoint import read_header
from fgbg.models.pretrained import load_pretrained
from test_zoo import TINY


@pytest.fixture(scope="module")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(timm.create_model(TINY).state_dict(), path)
    return path


def build_tiny(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return build_network("fpn", width=16, encoder=TINY).network


def fill_tiny(network: torch.nn.Module, choice: str | Path) -> pretrained.Pretrained:
    return load_pretrained(network, "fpn", width=16, encoder=TINY, choice=str(choice))


def test_a_classifiers_file_fills_the_encoder_and_nothing_else(tiny_weights: Path) -> None:
    plain, filled, stored = build_tiny(), build_tiny(), load_file(tiny_weights)
    found = fill_tiny(filled, tiny_weights)
    assert found.origin == str(tiny_weights)
    for name, weight in filled.state_dict().items():
        if name.startswith("encoder.model."):
            assert torch.equal(weight, stored[name.removeprefix("encoder.model.")]), name
        else:
            assert torch.equal(weight, plain.state_dict()[name]), f"{name}: drawn as without pretrained weights"


def test_loading_leaves_the_random_state(tiny_weights: Path) -> None:
    network = build_tiny()
    before = torch.random.get_rng_state()
    fill_tiny(network, tiny_weights)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("wrapped", [None, "state_dict", "model"])
def test_a_pth_may_wrap_its_tensors(tiny_weights: Path, tmp_path: Path, wrapped: str | None) -> None:
    weights = load_file(tiny_weights)
    torch.save({wrapped: weights, "epoch": 3} if wrapped else weights, tmp_path / "tiny.pth")
    network = build_tiny()
    fill_tiny(network, tmp_path / "tiny.pth")
    assert torch.equal(network.encoder.model.conv_stem.weight, weights["conv_stem.weight"])


def test_files_that_do_not_do(tiny_weights: Path, tmp_path: Path) -> None:
    class Code:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return print, ("this must not run",)

    torch.save({"x": Code()}, tmp_path / "code.pth")
    (tmp_path / "broken.safetensors").write_bytes(tiny_weights.read_bytes()[:100])
    save_file({"other": torch.zeros(3)}, tmp_path / "other.safetensors")
    for name, sentence in (
        ("none.pth", "no such file"),
        ("code.pth", "cannot be read as weights"),
        ("broken.safetensors", "cannot be read as weights"),
        ("other.safetensors", r"holds 0 of the \d+ tensors of test_efficientnet"),
    ):
        with pytest.raises(fgbg.UserError, match=sentence):
            fill_tiny(build_tiny(), tmp_path / name)


def test_torchvisions_resnet34_as_a_file(tmp_path: Path) -> None:
    torch.manual_seed(3)
    theirs = torchvision.models.resnet34(weights=None).state_dict()
    torch.save(theirs, tmp_path / "resnet34.pth")
    network = build_network("resnet34_unet", width=64).network
    load_pretrained(network, "resnet34_unet", width=64, encoder="", choice=str(tmp_path / "resnet34.pth"))
    assert torch.equal(network.encoder.layer3[2].conv1.weight, theirs["layer3.2.conv1.weight"])
    with pytest.raises(fgbg.UserError, match=r"ResNet-34 was trained at --width 64, not 32"):
        load_pretrained(network, "resnet34_unet", width=32, encoder="", choice="auto")


def test_lite0_comes_from_its_package() -> None:
    torch.manual_seed(0)
    network = build_network("timm_unet", width=16).network
    found = load_pretrained(network, "timm_unet", width=16, encoder="", choice="auto")
    assert found.license == "Apache-2.0"
    assert found.mean == found.deviation == (0.5, 0.5, 0.5)
    assert "Apache-2.0" in found.describe()
    variances = [value for name, value in network.encoder.state_dict().items() if name.endswith("running_var")]
    assert len(variances) > 40
    assert not any((value == 1).any() for value in variances), "as a fresh network has them"


def test_without_a_network_the_cure_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(pretrained.urllib.request, "urlopen", offline)
    with pytest.raises(fgbg.UserError, match=r"timm's weights of test_efficientnet cannot be downloaded here; install"):
        fill_tiny(build_tiny(), "auto")
    monkeypatch.setattr(torchvision.models.ResNet34_Weights, "get_state_dict", offline)
    with pytest.raises(fgbg.UserError, match=r"torchvision's ResNet-34 cannot be downloaded here \(no route to host\)"):
        load_pretrained(
            build_network("resnet34_unet", width=64).network, "resnet34_unet", width=64, encoder="", choice="auto"
        )


def test_a_model_without_an_encoder_says_so() -> None:
    with pytest.raises(fgbg.UserError, match=r"--pretrained auto: unet has no encoder that was trained elsewhere"):
        load_pretrained(build_network("unet", width=4).network, "unet", width=4, encoder="", choice="auto")


def test_a_run_says_and_keeps_where_its_encoder_came_from(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small_config(
        tmp_path / "run", model="fpn", encoder=TINY, width=16, size=64, epochs=1, pretrained=str(tiny_weights)
    )
    run = fgbg.train(config, samples=make_samples(size=64))
    assert f"encoder starts from {tiny_weights} (licence unknown)" in capsys.readouterr().out
    header = read_header(run.best)
    assert header.pretrained_from == str(tiny_weights)
    assert header.mean == tuple(timm.get_pretrained_cfg(TINY).mean)


# --init


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> fgbg.Run:
    out = tmp_path_factory.mktemp("first") / "run"
    return fgbg.train(small_config(out, epochs=1), samples=make_samples(8))


def fresh_samples(count: int = 12) -> list[fgbg.Sample]:
    """None of them is one of the first run's."""
    return [replace(sample, id=f"new_{sample.id}") for sample in make_samples(16 + count)[16:]]


def test_a_run_starts_with_another_models_weights(first: fgbg.Run, tmp_path: Path) -> None:
    config = small_config(tmp_path / "run", epochs=1, init=str(first.folder), learning_rate=1e-12)
    run = fgbg.train(config, samples=fresh_samples())
    before, after = load_file(first.best), load_file(run.best)
    for name, weight in before.items():
        if "running" not in name and "batches" not in name:
            torch.testing.assert_close(after[name], weight, rtol=0, atol=1e-9)
    assert read_header(run.best).initialised_from == str(first.folder)


def test_photos_that_trained_the_first_model_cannot_judge_the_second(first: fgbg.Run, tmp_path: Path) -> None:
    config = small_config(tmp_path / "run", epochs=1, init=str(first.folder))
    known = next(sample for sample in make_samples(8) if sample.split == "train")
    judge = replace(known, id="renamed", split="validation")
    with pytest.raises(fgbg.UserError, match=r"1 validation photos trained the model of --init \(renamed\)"):
        fgbg.train(config, samples=[*fresh_samples(), judge])
    run = fgbg.train(replace(config, out=str(tmp_path / "second")), samples=fresh_samples())
    ours, theirs = read_header(run.best), read_header(first.best)
    assert set(theirs.training_images) < set(ours.training_images)
    assert set(theirs.validation_images) < set(ours.validation_images)


def test_another_network_is_refused_and_other_settings_are_explained(
    first: fgbg.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small_config(tmp_path / "run", epochs=1, init=str(first.folder))
    with pytest.raises(fgbg.UserError, match=r"is unet \(width 4\), and this run asks for unet \(width 8\): leave"):
        fgbg.train(replace(config, width=8), samples=fresh_samples())
    fgbg.train(replace(config, out=str(tmp_path / "other"), size=48), samples=fresh_samples())
    assert "note: that model has size 32, this run 48: objects appear to it" in capsys.readouterr().out


def test_init_and_pretrained_exclude_each_other() -> None:
    with pytest.raises(fgbg.UserError, match=r"--pretrained auto: must be none with --init"):
        fgbg.TrainConfig(init="runs/a", pretrained="auto")


def test_the_command_takes_network_and_width_from_the_model(
    first: fgbg.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "figures", "--init", str(tmp_path / "none"), "--out", str(tmp_path / "run")]) == 2
    assert "does not exist: MODEL is a run folder" in capsys.readouterr().err
    command = f"train {tmp_path / 'nothing'} --init {first.folder} --out {tmp_path / 'run'}"
    assert main(command.split()) == 2
    assert "asks for" not in capsys.readouterr().err, "width 4, though no flag says so"
