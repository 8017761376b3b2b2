"""A model file: comes back as it went in, says what is wrong with what is none, and is never half written."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from torch import nn

from fgbg.errors import UserError
from fgbg.model_file import HEADER_KEY, ModelHeader
from fgbg.models import wrap_network
from fgbg.models.checkpoint import load_model, read_header, save_model
from fgbg.models.predictor import Predictor
from fgbg.ship.load import load
from fgbg.storage import replace_when_whole
from fgbg.words import IMAGENET_MEAN
from trivial import make_header, make_network, make_noise


class Tiny(nn.Module):
    """A user's own network."""

    stride = 4

    def __init__(self, channels: int = 5) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.last = nn.Conv2d(channels, 1, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.last(self.norm(self.first(image)).relu())


class Tied(nn.Module):
    """A user's own network that uses one layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 3, 1)
        self.again = self.first
        self.last = nn.Conv2d(3, 1, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.last(self.again(self.first(image)))


UNET = make_header(network="unet", width=2, size=32, mean=IMAGENET_MEAN)


def make_unet(seed: int = 0) -> nn.Module:
    return make_network("unet", 2, seed=seed)


def save_unet(path: Path, **changes: Any) -> Path:
    save_model(path, make_unet(), replace(UNET, **changes))
    return path


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Round trip


@pytest.mark.parametrize("fit", ["squash", "pad", "crop"])
@pytest.mark.parametrize("border", ["foreground", "background", "ignore"])
def test_a_model_comes_back_bit_equal(tmp_path: Path, fit: Any, border: Any) -> None:
    network = make_unet().to(memory_format=torch.channels_last)
    header = ModelHeader(
        network="unet",
        width=2,
        size=48,
        fit=fit,
        threshold=0.37,
        border=border,
        data='a "set" of Ümläuts \\ and so on',
        data_fingerprint="abcdef012345",
        epoch=17,
        validation_dice=1 / 3,
        fgbg_version="9.8.7",
        training_images=("0123456789abcdef", "fedcba9876543210"),
        mean=(0.1, 0.2, 1 / 3),
        deviation=(0.3, 0.2, 0.1),
    )
    save_model(tmp_path / "best.safetensors", network, header)
    predictor, read = load_model(tmp_path / "best.safetensors")
    assert read == header == read_header(tmp_path / "best.safetensors")
    weights = predictor.network.state_dict()
    for name, tensor in network.state_dict().items():
        assert torch.equal(weights[name], tensor), name
        assert weights[name].dtype == tensor.dtype
    assert len(weights) == len(network.state_dict())
    assert (predictor.size, predictor.fit, predictor.threshold) == (48, fit, 0.37)
    assert not predictor.training
    assert not any(module.training for module in predictor.modules())

    saved = Predictor(network, size=48, fit=fit, threshold=0.37, mean=header.mean, deviation=header.deviation).eval()
    pixels = make_noise(30, 50)
    assert predictor.probability(pixels, 30, 50).std() > 0.05
    np.testing.assert_array_equal(
        predictor.probability(pixels, 30, 50),
        saved.to(memory_format=torch.channels_last).probability(pixels, 30, 50),
    )


def test_the_file_is_plain_safetensors_with_a_readable_header(tmp_path: Path) -> None:
    path = save_unet(tmp_path / "best.safetensors")
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()[HEADER_KEY])
    assert header["network"] == "unet"
    assert header["format"] == 1
    assert set(safetensors.torch.load_file(path)) == set(make_unet().state_dict())
    assert leftovers(tmp_path) == ["best.safetensors"]


def test_saving_again_replaces_the_file(tmp_path: Path) -> None:
    path = save_unet(tmp_path / "best.safetensors", epoch=1)
    save_model(path, make_unet(seed=5), replace(UNET, epoch=2))
    predictor, header = load_model(path)
    assert header.epoch == 2
    assert torch.equal(
        predictor.state_dict()["network.network.head.weight"], make_unet(seed=5).state_dict()["network.head.weight"]
    )


@pytest.mark.long
def test_a_model_loads_however_long_its_header_is(tmp_path: Path) -> None:
    starts = set()
    for length in range(0, 264, 8):
        path = save_unet(tmp_path / "best.safetensors", data="x" * length)
        starts.add(path.read_bytes()[0])
        assert read_header(path).data == "x" * length
    assert len(starts) == 32, "every first byte that a safetensors file can have"


def test_a_model_loads_if_the_length_of_its_header_spells_pk(tmp_path: Path) -> None:
    path = save_unet(tmp_path / "best.safetensors")
    missing = int.from_bytes(b"PK", "little") - int.from_bytes(path.read_bytes()[:8], "little")
    path = save_unet(path, data=UNET.data + "x" * missing)
    assert path.read_bytes()[:3] == b"PK\0"
    assert read_header(path).size == 32


# A network of one's own


def test_an_own_network_needs_its_owner(tmp_path: Path) -> None:
    path, network = tmp_path / "own.safetensors", Tiny()
    save_model(path, wrap_network(network), make_header(network="own:Tiny", size=6))
    with pytest.raises(UserError, match=r"network of your own.*network="):
        load_model(path)
    predictor, header = load_model(path, network=Tiny())
    assert header.network == "own:Tiny"
    for name, tensor in wrap_network(network).state_dict().items():
        assert torch.equal(predictor.network.state_dict()[name], tensor), name
    pixels = make_noise(7, 9)
    assert predictor.probability(pixels, 7, 9).shape == (7, 9), "padded to its stride"


def test_a_model_may_be_read_by_whom_other_files_may(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        assert stat.S_IMODE(save_unet(tmp_path / "a.safetensors").stat().st_mode) == 0o644
    finally:
        os.umask(before)


def test_own_networks_are_averaged(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.safetensors" for name in "ab"]
    for seed, path in enumerate(paths):
        torch.manual_seed(seed)
        save_model(path, wrap_network(Tiny()), make_header(network="own:Tiny", size=6))
    photo = make_noise(7, 9)
    alone = [load(path, network=Tiny())(photo) for path in paths]
    assert not np.allclose(*alone)
    np.testing.assert_allclose(load(",".join(map(str, paths)), network=Tiny())(photo), np.mean(alone, axis=0), atol=1e-6)


def test_another_own_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    save_model(path, wrap_network(Tiny()), make_header(network="own:Tiny"))
    for other in (Tiny(channels=6), nn.Sequential(nn.Conv2d(3, 1, 1))):
        with pytest.raises(UserError, match="weights of another network"):
            load_model(path, network=other)


def test_an_own_network_may_use_a_layer_twice(tmp_path: Path) -> None:
    path, network = tmp_path / "own.safetensors", Tied()
    save_model(path, wrap_network(network), make_header(network="own:Tied"))
    predictor, _ = load_model(path, network=Tied())
    assert torch.equal(predictor.state_dict()["network.network.again.weight"], network.first.weight)


# What is no model


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.safetensors does not exist"):
        load_model(tmp_path / "none.safetensors")


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model.safetensors", "model"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_is_refused_whatever_its_name(tmp_path: Path, name: str, zipped: bool) -> None:
    path = tmp_path / name
    torch.save(make_unet().state_dict(), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"pickle.*refused"):
        read_header(path)
    with pytest.raises(UserError, match=r"pickle.*refused"):
        load_model(path)


@pytest.mark.parametrize("left", [0, 1, 7, 8, 9, 100, -1000, -1])
def test_a_file_cut_short_is_damaged(tmp_path: Path, left: int) -> None:
    path = save_unet(tmp_path / "best.safetensors")
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(UserError, match=r"best\.safetensors is damaged"):
        load_model(path)


@pytest.mark.parametrize("share", [0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.999])
def test_a_bit_that_changed_is_damage_wherever_it_is(tmp_path: Path, share: float) -> None:
    path = save_unet(tmp_path / "best.safetensors")
    content = bytearray(path.read_bytes())
    content[int(share * len(content))] ^= 4
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"best\.safetensors (is damaged|has a header)"):
        load_model(path)


def test_a_file_of_an_earlier_version_has_no_seal(tmp_path: Path) -> None:
    path = save_unet(tmp_path / "best.safetensors")
    with safe_open(path, "pt") as file:
        header = file.metadata()[HEADER_KEY]
    safetensors.torch.save_file(safetensors.torch.load_file(path), path, metadata={HEADER_KEY: header})
    assert load_model(path)[1] == UNET


@pytest.mark.parametrize("content", [b"\x00" * 64, b"not a model at all, but text", b"\xff" * 4000])
def test_a_file_of_anything_else_is_damaged(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "best.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"best\.safetensors is damaged or no safetensors file"):
        load_model(tmp_path / "best.safetensors")


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_the_file_of_another_tool_is_refused(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    path = tmp_path / "theirs.safetensors"
    safetensors.torch.save_file({"weight": torch.zeros(3)}, path, metadata=metadata)
    with pytest.raises(UserError, match="was not written by fgbg"):
        load_model(path)


def test_a_later_format_names_the_version_that_wrote_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fgbg.model_file.FORMAT", 2)
    path = save_unet(tmp_path / "best.safetensors", fgbg_version="7.0.0")
    monkeypatch.undo()
    with pytest.raises(UserError, match=r"written by fgbg 7\.0\.0"):
        load_model(path)


@pytest.mark.parametrize("change", [{"width": 3}, {"network": "resnet34_unet"}])
def test_weights_that_do_not_fit_the_header_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    path = save_unet(tmp_path / "best.safetensors", **change)
    with pytest.raises(UserError, match=f"another network than {change.get('network', 'unet')} of width"):
        load_model(path)


@pytest.mark.parametrize(
    "text", ["{}", "not JSON", "[]", '{"format": 1}', '{"format": 1, "training_images": [], "mean": [], "deviation": []}']
)
def test_a_header_that_says_nothing_is_damaged(tmp_path: Path, text: str) -> None:
    path = tmp_path / "best.safetensors"
    safetensors.torch.save_file(make_unet().state_dict(), path, metadata={HEADER_KEY: text})
    with pytest.raises(UserError):
        read_header(path)


# Never half a file


def test_a_failed_write_leaves_the_old_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_unet(tmp_path / "best.safetensors", epoch=1)
    before = path.read_bytes()

    def write_half(weights: object, aside: Path, **_: object) -> None:
        aside.write_bytes(before[: len(before) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("fgbg.models.checkpoint.save_file", write_half)
        with pytest.raises(OSError, match="No space left"):
            save_unet(path, epoch=2)
    assert path.read_bytes() == before
    assert leftovers(tmp_path) == ["best.safetensors"]


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt(), OSError(errno.EIO, "bad disk")])
def test_an_exception_while_writing_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "note.txt"
    path.write_text("old")

    def interrupt() -> None:
        with replace_when_whole(path) as aside:
            aside.write_text("ne")
            assert path.read_text() == "old", "nothing is visible before the end"
            raise error

    with pytest.raises(type(error)):
        interrupt()
    assert path.read_text() == "old"
    assert leftovers(tmp_path) == ["note.txt"]


def test_an_exception_while_writing_a_first_file_leaves_none(tmp_path: Path) -> None:
    def interrupt() -> None:
        with replace_when_whole(tmp_path / "note.txt") as aside:
            aside.write_text("ne")
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        interrupt()
    assert leftovers(tmp_path) == []


@pytest.mark.long
@pytest.mark.parametrize("kind", ["model", "state"])
def test_a_library_that_hides_why_a_write_failed_is_asked_again(tmp_path: Path, kind: str) -> None:
    """A limit on the size of files stands for a full disk; neither library passes on the system's error."""
    script = """
import resource, sys
from pathlib import Path
import torch
from fgbg.models.checkpoint import save_file
from fgbg.storage import replace_when_whole
from fgbg.training.state import save_state
path, kind = Path(sys.argv[1]), sys.argv[2]
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
weights = {str(index): torch.ones(50_000) for index in range(4)}
try:
    if kind == "state":
        save_state(path, weights)
    else:
        with replace_when_whole(path) as aside:
            save_file(weights, aside)
except OSError as error:
    print(error.errno, error.filename, sorted(path.parent.iterdir()))
"""
    path = tmp_path / "last.pt"
    told = subprocess.run([sys.executable, "-c", script, str(path), kind], capture_output=True, text=True, check=True).stdout
    assert told.strip() == f"{errno.EFBIG} {path} []"


def test_an_error_of_the_writer_itself_is_not_put_down_to_the_disk(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="broken"), replace_when_whole(tmp_path / "last.pt"):
        raise RuntimeError("broken")
    assert leftovers(tmp_path) == []
