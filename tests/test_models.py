"""The networks written here; the contract over all of MODELS is in test_zoo.py."""

from __future__ import annotations

from functools import cache

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fgbg.errors import UserError
from fgbg.models import OWN, build_network, count_parameters, wrap_network
from fgbg.models.resnet34_unet import ResNet34Encoder
from trivial import FirstChannel, Recorder, make_network

LAB_PARAMETERS = {"unet": 31_037_633, "resnet34_unet": 29_162_049}

every_model = pytest.mark.parametrize("name", OWN)


@pytest.mark.parametrize("name", LAB_PARAMETERS)
def test_parameters_at_width_64_are_the_labs_to_the_last_one(name: str) -> None:
    with torch.device("meta"):
        assert count_parameters(build_network(name, width=64)) == LAB_PARAMETERS[name]


def test_encoder_has_the_labs_parameters() -> None:
    with torch.device("meta"):
        assert count_parameters(ResNet34Encoder()) == 21_284_672


def test_frozen_parameters_are_not_counted() -> None:
    layer = nn.Conv2d(3, 1, 1)
    layer.bias.requires_grad_(False)
    assert count_parameters(layer) == 3


def test_torchvisions_resnet34_loads_into_the_encoder_and_computes_the_same() -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.resnet34(weights=None).eval()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.running_mean, std=0.1)
    encoder = ResNet34Encoder().eval()
    outcome = encoder.load_state_dict(theirs.state_dict(), strict=False)
    assert outcome.missing_keys == []
    assert set(outcome.unexpected_keys) == {"fc.weight", "fc.bias"}

    image = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        found = encoder(image)
        expected = [theirs.relu(theirs.bn1(theirs.conv1(image)))]
        features = theirs.maxpool(expected[0])
        for layer in (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4):
            features = layer(features)
            expected.append(features)
    assert [tuple(part.shape) for part in found] == [
        (2, 64, 32, 48),
        (2, 64, 16, 24),
        (2, 128, 8, 12),
        (2, 256, 4, 6),
        (2, 512, 2, 3),
    ]
    for mine, right in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, right)


one_network = cache(make_network)  # for tests that only ask it


@every_model
@settings(deadline=None, max_examples=15)
@given(height=st.integers(1, 70), width=st.integers(1, 70))
def test_any_size_in_the_same_size_out(name: str, height: int, width: int) -> None:
    with torch.inference_mode():
        logits = one_network(name, 2)(torch.randn(1, 3, height, width))
    assert logits.shape == (1, 1, height, width)
    assert logits.isfinite().all()


@every_model
@pytest.mark.parametrize("edges", [(1, 1), (1, 70), (70, 1), (2, 3)])
def test_slivers_go_through(name: str, edges: tuple[int, int]) -> None:
    with torch.inference_mode():
        assert one_network(name, 2)(torch.randn(1, 3, *edges)).shape == (1, 1, *edges)


@every_model
def test_evaluation_of_one_image_does_not_depend_on_its_batch(name: str) -> None:
    network, images = make_network(name, 2).double(), torch.randn(3, 3, 40, 56).double()
    with torch.inference_mode():
        together = network(images)
        for index in range(3):
            torch.testing.assert_close(network(images[index : index + 1]), together[index : index + 1])


@every_model
@pytest.mark.parametrize("training", [True, False])
def test_gradients_reach_every_parameter(name: str, training: bool) -> None:
    network = make_network(name, 4, size=64).train(training)
    network(torch.randn(2, 3, 64, 64)).square().mean().backward()
    missed = [
        key
        for key, parameter in network.named_parameters()
        if parameter.grad is None or not parameter.grad.isfinite().all() or (not training and not parameter.grad.any())
    ]
    assert missed == []


@every_model
def test_no_part_of_the_network_is_idle(name: str) -> None:
    network = make_network(name, 4, size=64)
    network(torch.randn(2, 3, 64, 64)).square().mean().backward()
    for key, parameter in network.named_parameters():
        if parameter.ndim == 4:
            assert parameter.grad is not None
            used = parameter.grad.abs().sum((2, 3))
            # A ReLU may silence a channel or two; a skip connection that is not joined silences half of them.
            assert used.any(0).float().mean() > 0.7, f"{key}: inputs that change nothing"
            assert used.any(1).float().mean() > 0.7, f"{key}: outputs that change nothing"


@every_model
def test_every_part_of_the_photo_reaches_the_answer(name: str) -> None:
    network, image = make_network(name, 4), torch.randn(1, 3, 64, 64, requires_grad=True)
    network(image)[0, 0, 32, 32].backward()
    assert image.grad is not None
    reached = image.grad.abs().sum(1)[0] > 0
    assert reached[28:37, 28:37].all()
    assert reached.float().mean() > 0.9, "the deepest features see the whole square"


@every_model
@pytest.mark.parametrize("width", [1, 2, 3, 5])
def test_narrow_networks_work(name: str, width: int) -> None:
    network = make_network(name, width)
    with torch.inference_mode():
        assert network(torch.randn(2, 3, 32, 32)).shape == (2, 1, 32, 32)
    assert count_parameters(network) < count_parameters(make_network(name, width + 1))


@every_model
def test_the_answer_is_logits_not_probabilities(name: str) -> None:
    network = make_network(name, 2)
    last = [module for module in network.modules() if isinstance(module, nn.Conv2d)][-1]
    image = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        before = network(image)
        last.weight *= 1e4
        assert last.bias is not None
        last.bias *= 1e4
        after = network(image)
    assert (after.min() < -1) or (after.max() > 2), "a sigmoid would keep it in 0..1"
    torch.testing.assert_close(after, 1e4 * before, rtol=1e-3, atol=1e-2)


@every_model
def test_the_seed_decides_the_weights(name: str) -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.cat([parameter.flatten() for parameter in build_network(name, width=2).parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


@every_model
def test_channels_last_changes_nothing(name: str) -> None:
    network, image = make_network(name, 4).double(), torch.randn(2, 3, 32, 48).double()
    with torch.inference_mode():
        plain = network(image)
        last = network.to(memory_format=torch.channels_last)(image.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(last, plain)


@pytest.mark.parametrize("edges", [(16, 16), (16, 48), (64, 32)])
def test_stride_padding_does_nothing_to_multiples(edges: tuple[int, int]) -> None:
    recorder, image = Recorder(16), torch.randn(2, 3, *edges)
    assert torch.equal(wrap_network(recorder)(image), image[:, :1])
    assert recorder.seen is image


def test_stride_padding_repeats_the_edge_and_crops_the_answer() -> None:
    recorder, image = Recorder(4), torch.arange(3 * 3 * 5, dtype=torch.float32).reshape(1, 3, 3, 5)
    answer = wrap_network(recorder)(image)
    assert recorder.seen.shape == (1, 3, 4, 8)
    assert torch.equal(recorder.seen[..., :3, :5], image)
    assert torch.equal(recorder.seen[..., 3, :5], image[..., 2, :]), "the last row again"
    assert torch.equal(recorder.seen[..., :3, 5:], image[..., 4:].expand(1, 3, 3, 3)), "the last column again"
    assert torch.equal(answer, image[:, :1])


def test_a_network_without_a_stride_is_never_padded() -> None:
    wrapped = wrap_network(FirstChannel())
    assert wrapped.stride == 1
    image = torch.randn(1, 3, 7, 13)
    assert torch.equal(wrapped(image), image[:, :1])


def test_a_single_layer_is_a_network_too() -> None:
    image = torch.randn(1, 3, 5, 7)
    assert wrap_network(nn.Conv2d(3, 1, 1))(image).shape == (1, 1, 5, 7)


def test_wrapping_twice_wraps_once() -> None:
    wrapped = wrap_network(Recorder(8))
    assert wrap_network(wrapped) is wrapped


def test_an_unknown_model_is_named_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown model 'unte'.*did you mean 'unet'"):
        build_network("unte", width=4)
