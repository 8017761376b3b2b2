"""One contract over every network in MODELS, and what is said of encoders that do not fit."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from discs import make_samples, small_config
from fgbg import UserError, train
from fgbg.models import MODELS, OWN, StridePadding, build_network, count_parameters, describe_model, require_model
from fgbg.models.checkpoint import load_model, read_header, save_model
from fgbg.models.zoo import LIBRARY, UNET_CHANNELS
from fgbg.training.initial_weights import build_initial_network
from fgbg.words import DEFAULT_ENCODER
from trivial import make_header

pytestmark = pytest.mark.usefixtures("no_charts")

LEARNT = 0.25  # of a cross-entropy that is 0.69 for who knows nothing
TINY = "test_efficientnet"  # timm's own for tests: 0.4 million parameters

every_model = pytest.mark.parametrize("name", MODELS)
every_library_model = pytest.mark.parametrize("name", LIBRARY)


def build_small(name: str) -> StridePadding:
    torch.manual_seed(0)
    return build_network(name, width=8, encoder=TINY) if name in LIBRARY else build_network(name, width=4)


@every_model
def test_odd_sizes_and_single_images(name: str) -> None:
    network = build_small(name).eval()
    with torch.inference_mode():
        for height, width in ((64, 64), (50, 70), (33, 97)):
            logits = network(torch.randn(1, 3, height, width))
            assert logits.shape == (1, 1, height, width)
            assert logits.isfinite().all()
        images = torch.randn(2, 3, 64, 64)
        torch.testing.assert_close(network(images[:1]), network(images)[:1], rtol=1e-3, atol=1e-4)


@pytest.mark.long
@every_model
def test_four_images_are_learnt_and_every_weight_helps(name: str) -> None:
    network = build_small(name).train()
    for parent in list(network.modules()):
        for key, module in list(parent.named_children()):
            if isinstance(module, nn.Dropout | nn.Dropout2d):
                module.p = 0.0
            elif type(module) is nn.ReLU:  # it may silence a squeeze to one channel for good, by bad luck
                setattr(parent, key, nn.LeakyReLU(0.1))
    torch.manual_seed(1)
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    places = torch.tensor([[20, 20], [40, 24], [24, 44], [44, 40]])
    target = ((y - places[:, 0, None, None]) ** 2 + (x - places[:, 1, None, None]) ** 2 < 12**2).float()[:, None]
    image = target.expand(-1, 3, -1, -1) * 2 - 1 + 0.1 * torch.randn(4, 3, 64, 64)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    idle = {key for key, parameter in network.named_parameters()}
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(network(image), target)
        loss.backward()
        idle = {
            key
            for key, parameter in network.named_parameters()
            if key in idle and (parameter.grad is None or not parameter.grad.any())
        }
        optimizer.step()
        if loss < LEARNT and not idle:
            break
    assert loss < LEARNT, f"{loss:.3f}"
    assert not idle, "no gradient ever reached them"


@every_model
def test_a_model_file_brings_it_back(name: str, tmp_path: Path) -> None:
    network = build_small(name).eval()
    encoder = TINY if name in LIBRARY else ""
    header = replace(make_header(), network=name, width=8 if encoder else 4, encoder=encoder, size=64)
    save_model(tmp_path / "model.safetensors", network, header)
    predictor, read = load_model(tmp_path / "model.safetensors")
    assert read == header
    stored = predictor.network.state_dict()
    assert stored.keys() == network.state_dict().keys()
    for key, weight in network.state_dict().items():
        assert torch.equal(stored[key], weight), key


@every_library_model
def test_width_64_is_the_published_decoder(name: str) -> None:
    with torch.device("meta"):
        ours = build_network(name, width=64, encoder="resnet18").network.state_dict()
        # The library's own PSPNet cuts the encoder off after three stages; the paper dilates the later ones to 1/8.
        options = {"encoder_depth": 5, "output_stride": 8} if name == "pspnet" else {}
        theirs = getattr(smp, LIBRARY[name].build)("tu-resnet18", encoder_weights=None, **options).state_dict()
    assert {key: tensor.shape for key, tensor in ours.items()} == {key: tensor.shape for key, tensor in theirs.items()}


def test_a_unet_on_lite0_has_the_parameters_counted_by_hand() -> None:
    # Published: 4,652,008, of which 320·1280 and a batch norm stand before the classifier, 1280·1000 + 1000 in it.
    encoder = 4_652_008 - (320 * 1280 + 2 * 1280) - 1_281_000
    # Five blocks of two convolutions of 3×3, each with a batch norm; a head of 16·9 + 1.
    channels, skips = (320, *UNET_CHANNELS), (112, 40, 24, 16, 0)
    decoder = sum(
        9 * out * (below + skip + out) + 4 * out for below, out, skip in zip(channels, UNET_CHANNELS, skips, strict=False)
    )
    with torch.device("meta"):
        assert count_parameters(build_network("timm_unet", width=64)) == encoder + decoder + 16 * 9 + 1 == 5_198_161


@every_library_model
def test_one_small_image_goes_through_the_narrowest(name: str) -> None:
    network = build_network(name, width=1, encoder=TINY).eval()
    with torch.inference_mode():
        for height, width in ((1, 1), (16, 16), (3, 70), (130, 30)):
            assert network(torch.randn(1, 3, height, width)).isfinite().all()


@every_library_model
def test_width_scales_the_decoder_and_the_encoder_stays(name: str) -> None:
    with torch.device("meta"):
        published, half = (build_network(name, width=width, encoder=TINY) for width in (64, 32))
    encoders = {count_parameters(network.network.encoder) for network in (published, half)}
    assert len(encoders) == 1
    if name != "linknet":  # its decoder is as wide as its encoder
        assert count_parameters(half) < count_parameters(published)


def test_attention_unet_has_the_parameters_counted_by_hand() -> None:
    # A gate on c channels: two convolutions c -> c/2 and their norms, and one convolution c/2 -> 1.
    gates = sum(2 * (c * c // 2) + 2 * 2 * (c // 2) + c // 2 + 1 for c in (512, 256, 128, 64))
    with torch.device("meta"):
        assert count_parameters(build_network("attention_unet", width=64)) == 31_037_633 + gates == 31_388_197


def test_the_default_encoder_has_no_idle_block() -> None:
    for name in ("pspnet", "timm_unet"):
        network = build_network(name, width=16)
        network(torch.randn(2, 3, 64, 64)).mean().backward()
        assert [key for key, parameter in network.named_parameters() if parameter.grad is None] == []


def test_an_attention_gate_by_hand() -> None:
    gate = build_small("attention_unet").network.up[0].attention.eval()
    captured: list[torch.Tensor] = []
    gate.weight.register_forward_hook(lambda module, inputs, output: captured.append(output))
    channels = gate.skip[0].in_channels
    skip = torch.randn(1, channels, 4, 4)
    answer = gate(torch.randn(1, gate.gate[0].in_channels, 4, 4), skip)
    (weight,) = captured
    assert weight.shape == (1, 1, 4, 4)
    assert 0 < weight.min() < weight.max() < 1
    torch.testing.assert_close(answer, skip * weight)


@pytest.mark.parametrize("encoder", ["resnet18", "mobilenetv3_small_050", "convnext_atto"])
def test_encoders_of_other_families(encoder: str) -> None:
    network = build_network("fpn", width=16, encoder=encoder).eval()
    with torch.inference_mode():
        assert network(torch.randn(1, 3, 50, 70)).shape == (1, 1, 50, 70)


@pytest.mark.parametrize(
    ("name", "encoder", "batch", "sentence"),
    [
        ("unet", "resnet18", 2, r"--encoder resnet18: unet has its own; encoders go with timm_unet,"),
        ("deeplabv3plus", "", 1, r"deeplabv3plus needs two images at a time to train: raise --batch-size"),
        ("fnp", "", 2, r"unknown model 'fnp'.*did you mean 'fpn'"),
    ],
)
def test_what_does_not_go_together(name: str, encoder: str, batch: int, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        require_model(name, encoder=encoder, batch=batch)


def test_an_unknown_encoder_is_named_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown encoder 'resnet43': it must be a name of timm \(did you mean .*resnet34"):
        build_network("fpn", width=64, encoder="resnet43")


def test_an_encoder_with_weights_that_timm_does_not_know_is_named() -> None:
    with pytest.raises(UserError, match=r"unknown encoder 'resnet34.nosuch': timm has no such weights .*resnet34\.a1_in1k"):
        build_network("fpn", width=64, encoder="resnet34.nosuch")


@pytest.mark.parametrize("encoder", ["resnet81", "§", "../resnet18", "tu-resnet18"])
def test_an_unknown_encoder_is_refused_before_anything_is_written(tmp_path: Path, encoder: str) -> None:
    config = small_config(tmp_path / "run", model="fpn", encoder=encoder)
    with pytest.raises(UserError, match="unknown encoder"):
        train(config, samples=make_samples())
    assert not (tmp_path / "run").exists()


@pytest.mark.long
@pytest.mark.parametrize("sizes", [{"size": 64}, {"size": 224, "start_size": 64}])
def test_an_encoder_of_one_size_is_refused_at_another(tmp_path: Path, sizes: dict[str, int]) -> None:
    encoder = "swin_tiny_patch4_window7_224"
    with pytest.raises(UserError, match=rf"fpn on {encoder} does not take 64 px \(.*224.*choose another size"):
        build_initial_network(small_config(tmp_path, model="fpn", encoder=encoder, **sizes), None)


def test_trying_the_sizes_moves_neither_weights_nor_random_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_config(tmp_path, model="deeplabv3", encoder=TINY)
    tried, drawn = build_initial_network(config, None).network.state_dict(), torch.rand(3)
    monkeypatch.setattr("fgbg.training.initial_weights._require_sizes", lambda *_: None)
    untried = build_initial_network(config, None).network.state_dict()
    assert torch.equal(torch.rand(3), drawn)
    assert all(torch.equal(tensor, untried[key]) for key, tensor in tried.items())


def test_an_encoder_that_cannot_do_it_is_a_sentence() -> None:
    with pytest.raises(UserError, match=r"--encoder vit_tiny_patch16_224 does not go with timm_unet"):
        build_network("timm_unet", width=64, encoder="vit_tiny_patch16_224")


@every_library_model
def test_batches_of_one_train_unless_it_is_said_that_they_do_not(name: str) -> None:
    network, image = build_small(name).train(), torch.randn(1, 3, 64, 64)
    if LIBRARY[name].pools:
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            network(image)
    else:
        network(image)


def test_a_library_model_trains_and_says_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = small_config(tmp_path / "run", model="fpn", encoder=TINY, width=16, epochs=1, size=64)
    run = train(config, samples=make_samples(size=64))
    assert f"fpn on {TINY} (width 16)" in capsys.readouterr().out
    header = read_header(run.best)
    assert (header.network, header.encoder, header.pretrained_from) == ("fpn", TINY, "")


def test_a_model_file_names_the_default_encoder_too(tmp_path: Path) -> None:
    run = train(small_config(tmp_path / "run", model="linknet", epochs=1), samples=make_samples())
    assert read_header(run.best).encoder == DEFAULT_ENCODER  # another version of fgbg may have another default


@pytest.mark.slow
def test_the_docs_table_is_true() -> None:
    text = (Path(__file__).parents[1] / "docs" / "zoo.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `(\w+)` \| ([\d,]+) \| ([\d.]+) \|", text, re.MULTILINE)
    assert {name for name, _, _ in told} == set(MODELS)
    for name, parameters, operations in told:
        with torch.device("meta"), torch.no_grad():
            network = build_network(name, width=64).eval()
            with FlopCounterMode(display=False) as counter:
                network(torch.empty(1, 3, 256, 256))
        assert count_parameters(network) == int(parameters.replace(",", "")), name
        assert counter.get_total_flops() / 1e9 == pytest.approx(float(operations), abs=0.051), name


def test_models_are_described() -> None:
    assert describe_model("fpn", width=64) == f"fpn on {DEFAULT_ENCODER} (width 64)"
    assert describe_model("unet", width=8) == "unet (width 8)"
    assert set(OWN) | set(LIBRARY) == set(MODELS)
