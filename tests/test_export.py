"""One file for everybody: it answers as the model that was scored, gives its weights back, and needs no torch."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

import fgbg
from alone import run_alone
from discs import small_config, write_discs
from fgbg import cli, engine, fit, model_file
from fgbg.cores import count_cores
from fgbg.errors import UserError
from fgbg.fit import place_photo
from fgbg.judge.runs import evaluate_run
from fgbg.model_file import find_model_file
from fgbg.models import MODELS, build_network, wrap_network
from fgbg.models.checkpoint import load_model, read_header, save_model
from fgbg.models.onnx_weights import HALF_SUFFIX, LEFT_OUT_KEY, round_weights, store_weights
from fgbg.models.predictor import Predictor
from fgbg.models.zoo import LIBRARY
from fgbg.run import Run, create_run
from fgbg.seal import BLANK, ONNX_SEAL_KEY, seal_onnx
from fgbg.ship import export as export_module
from fgbg.ship import photo as photo_module
from fgbg.ship.card import PURPOSE
from fgbg.ship.export import PARITY_KEY, Export, export_model
from fgbg.ship.onnx_graph import WholePhoto
from fgbg.ship.onnx_model import OnnxModel
from fgbg.ship.parity import SAME, JudgedPhoto, Parity, compare_answers, require_parity
from fgbg.ship.photo import Photo, open_photo
from fgbg.ship.predict import predict_inputs
from fgbg.training.initial_weights import inherit_network
from fgbg.words import IMAGENET_DEVIATION, IMAGENET_MEAN, Fit
from trivial import RedNetwork, make_header, make_network, make_noise, red_predictor, unchecked

pytestmark = pytest.mark.usefixtures("no_charts")

CLOSE = 2e-5  # of two libraries that sum in another order
EDGES = [(1, 1), (1, 40), (40, 3), (32, 32), (33, 31), (45, 70), (130, 50), (16, 300)]


class Sharp(nn.Module):
    """A user's own network, whose weights half precision would change, and which normalises."""

    stride = 4

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first = nn.Conv2d(3, 5, 3, padding=1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(5)
        self.up = nn.ConvTranspose2d(5, 1, 2, stride=2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return 40 * (self.up(self.norm(self.first(image)).relu()) + 0.42)  # 0 on average


class Wide(nn.Module):
    """Few layers, whose every answer depends on the whole tile: a tile in another place answers otherwise."""

    stride = 4

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.down = nn.Conv2d(3, 6, 4, stride=4)
        self.up = nn.ConvTranspose2d(6, 1, 4, stride=4)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        found = self.down(image).relu()
        return 4 * self.up(found * found.mean((2, 3), keepdim=True))


@dataclass(frozen=True)
class Home:
    """A scored run, and what was exported from it."""

    run: Run
    data: Path
    export: Export

    @property
    def model(self) -> OnnxModel:
        return OnnxModel(self.export.path, threads=1)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("export")
    data = write_discs(folder)
    config, samples = replace(small_config(folder / "run", width=2), data=str(data)), fgbg.open_samples(data)
    run = create_run(folder / "run")
    run.write_config(config)
    run.write_environment({"seed": 0, "device": "cpu"})
    run.write_split(samples, config)
    header = make_header(network="unet", width=2, size=32, mean=IMAGENET_MEAN, deviation=IMAGENET_DEVIATION, data="discs")
    keys = {split: samples.of(split).image_keys for split in ("train", "validation")}
    header = replace(header, training_images=keys["train"], validation_images=keys["validation"])
    network = make_network("unet", 2)
    network.load_state_dict(round_weights(network.state_dict()))
    save_model(run.best, network, header)
    evaluate_run(run.folder, device="cpu", threads=1)
    with unchecked():  # sizes that are only known later cannot be checked by comparing them
        written = export_model(run.folder, folder / "out" / "discs.onnx", terms="drawn here", not_for="anything | else")
    return Home(run, data, written)


def export_own(folder: Path, fit: Fit) -> Path:
    """A network of one's own, exported in single precision."""
    save_model(folder / "own.safetensors", wrap_network(Sharp()), make_header(network="own:Sharp", size=24, fit=fit))
    with unchecked():
        export_model(folder / "own.safetensors", folder / "own.onnx", weights="single", network=Sharp())
    return folder / "own.onnx"


@pytest.fixture(scope="module")
def own_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A letterbox model."""
    return export_own(tmp_path_factory.mktemp("padded"), "pad")


@pytest.fixture
def padded(own_file: Path) -> tuple[Predictor, OnnxModel]:
    """By torch as it was saved, and as it was exported."""
    saved = load_model(own_file.with_suffix(".safetensors"), network=Sharp())[0]
    return saved, OnnxModel(own_file, threads=1)


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that wait for each other on a busy machine make small work slow."""
    monkeypatch.setattr(engine, "_share_of_cores", lambda: 1)


def answer(predictor: Predictor, pixels: NDArray[np.uint8], size: tuple[int, int] | None = None) -> NDArray[np.float32]:
    with torch.inference_mode():
        return predictor(torch.tensor(pixels), size).numpy()


# The answer


def test_more_threads_than_cores_answer_too() -> None:
    model = OnnxModel(find_model_file("pets"), threads=count_cores() + 1)
    assert len(list(model.answer([open_photo(make_noise(30, 30))] * 3))) == 3


@pytest.mark.long
def test_several_models_are_averaged(home: Home, tmp_path: Path) -> None:
    photo, own_file = make_noise(40, 60), export_own(tmp_path, "squash")
    named = fgbg.load(f"{home.export.path}, {own_file}")
    mean = (fgbg.load(home.export.path)(photo) + fgbg.load(own_file)(photo)) / 2
    np.testing.assert_allclose(named(photo), mean, atol=1e-6)
    assert named.threshold == pytest.approx((home.model.threshold + OnnxModel(own_file).threshold) / 2)
    assert named.header.network == "unet + own:Sharp"
    many = [Photo(make_noise(20 + index, 30), 20 + index, 30) for index in range(6)]
    answered = list(named.answer(many))
    assert all(shown is photo for (shown, _), photo in zip(answered, many, strict=True))
    np.testing.assert_allclose(answered[5][1], named(many[5].pixels), atol=1e-6)
    with pytest.raises(UserError, match="a name is missing beside a comma"):
        fgbg.load(f"{home.export.path},")


@pytest.mark.parametrize("edges", EDGES)
def test_a_photo_of_any_size_is_answered_as_by_torch(home: Home, edges: tuple[int, int]) -> None:
    predictor, _ = load_model(home.run.best)
    pixels = make_noise(*edges)
    found = home.model(pixels)
    assert found.dtype == np.float32
    assert found.shape == edges
    np.testing.assert_allclose(found, answer(predictor, pixels), atol=CLOSE)


@pytest.mark.long
@pytest.mark.parametrize("edges", [(7, 7), (40, 30), (24, 24), (61, 47), (25, 200)])
def test_a_letterbox_lies_where_torch_has_it(padded: tuple[Predictor, OnnxModel], edges: tuple[int, int]) -> None:
    predictor, model = padded
    pixels = make_noise(*edges)
    expected = answer(predictor, pixels)
    assert expected.std() > 0.01
    np.testing.assert_allclose(model(pixels), expected, atol=CLOSE)


@pytest.mark.parametrize("size", [24, 33, 160])
def test_the_graphs_letterbox_is_that_of_fit(size: int) -> None:
    graph = WholePhoto(red_predictor(size, fit="pad"))
    lengths = [*range(1, 40), 99, 100, 240, 1001, 6000]
    for height in lengths:
        for width in (1, 2, 3, 33, 100, 4000):
            assert graph._place(torch.tensor([height, width])) == place_photo(height, width, size, "pad"), (height, width)


@pytest.fixture(scope="module")
def tiled_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of patches, which goes over photos in tiles of 32 pixels."""
    folder = tmp_path_factory.mktemp("tiled")
    header = make_header(network="own:Wide", size=32, mean=IMAGENET_MEAN, deviation=IMAGENET_DEVIATION, fit="crop")
    network = wrap_network(Wide())
    network.load_state_dict(round_weights(network.state_dict()))
    save_model(folder / "tiled.safetensors", network, header)
    with unchecked():
        export_model(folder / "tiled.safetensors", folder / "tiled.onnx", network=Wide())
    return folder / "tiled.onnx"


@pytest.mark.long
@pytest.mark.parametrize("edges", [*EDGES, (200, 170)])
def test_tiles_are_placed_and_blended_as_by_torch(tiled_file: Path, edges: tuple[int, int]) -> None:
    predictor, _ = load_model(tiled_file.with_suffix(".safetensors"), network=Wide())
    model = OnnxModel(tiled_file, threads=1)
    pixels = make_noise(*edges)
    expected = answer(predictor, pixels)
    np.testing.assert_allclose(model(pixels), expected, atol=CLOSE)
    if min(edges) > 32:  # tiles matter: without them the answer is another one
        assert (
            np.abs(answer(Predictor(predictor.network, size=256, fit="crop").eval(), pixels) - expected).max() > 100 * CLOSE
        )


@pytest.mark.long
def test_a_model_of_tiles_is_valid_small_and_gives_its_weights_back(tiled_file: Path) -> None:
    model = onnx.load(tiled_file)
    onnx.checker.check_model(model, full_check=True)
    assert tiled_file.stat().st_size < 150_000, "the exporter's notes are gone from the loops, too"
    assert b"site-packages" not in tiled_file.read_bytes()
    before = load_model(tiled_file.with_suffix(".safetensors"), network=Wide())[0].network.state_dict()
    after = load_model(tiled_file, network=Wide())[0].network.state_dict()
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor), name


@pytest.mark.long
def test_a_photo_reduced_on_decoding_is_answered_at_its_own_size(
    home: Home,
    padded: tuple[Predictor, OnnxModel],
    tiled_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(photo_module, "reduce_large", lambda photo, largest: Image.fromarray(make_noise(13, 20)))
    Image.fromarray(make_noise(40, 61)).save(tmp_path / "large.png")
    tiled = load_model(tiled_file, network=Wide())[0], OnnxModel(tiled_file, threads=1)
    for predictor, model in ((load_model(home.export.path)[0], home.model), padded, tiled):
        found = model(tmp_path / "large.png")
        assert found.shape == (40, 61)
        np.testing.assert_allclose(found, answer(predictor, make_noise(13, 20), (40, 61)), atol=CLOSE)


def test_many_photos_are_answered_in_order(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = [Photo(make_noise(20 + index, 30, index), 20 + index, 30) for index in range(20)]
    for cores in (1, 4):
        monkeypatch.setattr("fgbg.ship.onnx_model.count_cores", lambda cores=cores: cores)
        answered = list(home.model.answer(iter(photos)))
        assert [photo for photo, _ in answered] == photos
        for photo, probability in answered:
            np.testing.assert_array_equal(probability, home.model(photo.pixels))


def test_a_view_of_an_array_is_a_photo_too(home: Home) -> None:
    pixels = make_noise(30, 40)
    np.testing.assert_array_equal(home.model(pixels[:, ::-1]), home.model(np.ascontiguousarray(pixels[:, ::-1])))


# The file


def test_the_weights_come_back_to_the_bit(home: Home) -> None:
    scored, header = load_model(home.run.best)
    shipped, same = load_model(home.export.path)
    assert same == header == home.model.header == read_header(home.export.path)
    before, after = scored.network.state_dict(), shipped.network.state_dict()
    assert list(after) == list(before)
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor), name
        assert after[name].dtype == tensor.dtype
    assert int(before["network.down.0.1.num_batches_tracked"]) > 0, "also what the graph has no use for"


def test_single_precision_loses_nothing(padded: tuple[Predictor, OnnxModel], own_file: Path) -> None:
    before = padded[0].network.state_dict()
    after = load_model(own_file, network=Sharp())[0].network.state_dict()
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor), name
    assert not torch.equal(round_weights(before)["network.first.weight"], before["network.first.weight"])


def test_the_graph_is_valid_small_and_tells_nothing_of_this_machine(home: Home) -> None:
    model = onnx.load(home.export.path)
    onnx.checker.check_model(model, full_check=True)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("BatchNormalization") == 18, "not folded away"
    assert kinds.count("Cast") >= len([each for each in model.graph.initializer if each.name.endswith(HALF_SUFFIX)]) == 23
    kernels = sum(
        tensor.numel() for tensor in load_model(home.run.best)[0].network.state_dict().values() if tensor.dim() > 1
    )
    assert home.export.path.stat().st_size < 2 * kernels + 60_000
    content = home.export.path.read_bytes()
    for telltale in (str(Path(__file__).parent.parent), "site-packages", ".py"):
        assert telltale.encode() not in content, telltale
    edges = [dimension.dim_param or dimension.dim_value for dimension in model.graph.input[0].type.tensor_type.shape.dim]
    assert edges == ["height", "width", 3]
    assert [each.name for each in model.graph.output] == ["probability"]


def test_weights_that_were_not_rounded_are_when_they_are_stored_in_half_precision(own_file: Path, tmp_path: Path) -> None:
    before = load_model(own_file, network=Sharp())[0].network.state_dict()
    model = onnx.load(own_file)
    for entry in [entry for entry in model.metadata_props if entry.key in (LEFT_OUT_KEY, ONNX_SEAL_KEY)]:
        model.metadata_props.remove(entry)  # the seal too: it is of another file
    store_weights(model, before, half=True)
    onnx.save(model, tmp_path / "half.onnx")
    after = load_model(tmp_path / "half.onnx", network=Sharp())[0].network.state_dict()
    for name, tensor in round_weights(before).items():
        assert torch.equal(after[name], tensor), name
    assert not torch.equal(after["network.first.weight"], before["network.first.weight"])
    full, half = (OnnxModel(path, threads=1)(make_noise(30, 30)) for path in (own_file, tmp_path / "half.onnx"))
    assert 0 < np.abs(full - half).max() < 0.01, "the graph computes with them"


@pytest.mark.slow
@pytest.mark.parametrize("fit", ["pad", "crop"])
@pytest.mark.parametrize("name", MODELS)
def test_every_architecture_can_be_exported_and_had_back(name: str, fit: Fit, tmp_path: Path) -> None:
    encoder = "test_efficientnet" if name in LIBRARY else ""
    torch.manual_seed(0)
    network = build_network(name, width=8, encoder=encoder)
    network.load_state_dict(round_weights(network.state_dict()))
    header = make_header(network=name, width=8, encoder=encoder, size=64, fit=fit)
    save_model(tmp_path / "best.safetensors", network, header)
    with unchecked():
        assert export_model(tmp_path / "best.safetensors", tmp_path / "model.onnx").parity.disagreeing_share < 1e-4
    after = load_model(tmp_path / "model.onnx")[0].network.state_dict()
    for key, tensor in network.state_dict().items():
        assert torch.equal(after[key], tensor), key


def test_rounding_is_that_of_half_precision_and_spares_vectors() -> None:
    third, tiny = 1 / 3, 1e-9
    weights = {
        "kernel": torch.tensor([[third, tiny, -1.0]]),
        "variance": torch.tensor([third, tiny]),
        "count": torch.tensor(7),
    }
    rounded = round_weights(weights)
    # 1/3 = 1.0101…b · 2^-2: ten digits behind the point are 341/1024, so that (1 + 341/1024) / 4 = 1365/4096.
    assert rounded["kernel"].tolist() == [[1365 / 4096, 0.0, -1.0]]
    assert torch.equal(rounded["variance"], weights["variance"])
    assert rounded["count"].dtype == torch.int64
    assert weights["kernel"][0, 0] == torch.tensor(third), "a copy"
    with pytest.raises(UserError, match=r"kernel holds weights beyond 65504.*single precision"):
        round_weights({"kernel": torch.tensor([[7e4]])})


# Parity


@dataclass(frozen=True)
class Fixed:
    """A model that has its answers ready."""

    answers: list[NDArray[np.float32]]
    threshold: float = 0.5
    one_by_one: bool = False
    header: Any = None

    def __call__(self, photo: Any) -> NDArray[np.float32]:
        raise NotImplementedError

    def answer(self, photos: Iterable[Any]) -> Iterator[tuple[Any, NDArray[np.float32]]]:
        yield from ((photo, self.answers[int(photo.pixels[0, 0, 0])]) for photo in photos)


def make_judged(index: int, target: list[list[int]]) -> JudgedPhoto:
    truth = np.array(target, np.uint8)
    return JudgedPhoto(np.full((*truth.shape, 3), index, np.uint8), *truth.shape, truth)


def test_parity_is_counted_as_by_hand() -> None:
    photos = [make_judged(0, [[1, 1, 0, 0]]), make_judged(1, [[1, 255], [0, 0]])]
    scored = Fixed([np.array([[0.9, 0.6, 0.1, 0.2]], np.float32), np.array([[0.7, 0.1], [0.1, 0.1]], np.float32)])
    other = Fixed([np.array([[0.9, 0.4, 0.1, 0.2]], np.float32), np.array([[0.7, 0.6], [0.1, 0.1]], np.float32)])
    parity = compare_answers(scored, other, photos, "photos")
    assert (parity.photo_count, parity.pixel_count, parity.disagreeing_count) == (2, 8, 2)
    assert parity.disagreeing_share == 0.25
    assert parity.largest_difference == pytest.approx(0.5)
    assert (parity.dice, parity.dice_exported) == (1.0, pytest.approx((2 / 3 + 1) / 2))  # 255 is not judged
    assert parity.to_json()["dice_difference"] == pytest.approx(-1 / 6)
    assert parity.most_lost == pytest.approx(1 / 3)
    assert parity.object_count == 3
    assert "proves little" not in parity.describe()
    assert "proves little" in replace(parity, object_count=0).describe()
    assert compare_answers(scored, scored, photos, "photos").holds
    with pytest.raises(UserError, match=r"25\.000% of the pixels differ .* by -0\.16667 .*nothing was written"):
        require_parity(parity)


@pytest.mark.parametrize(
    ("disagreeing", "dice", "holds"),
    [(0, 0.9, True), (99, 0.9, True), (100, 0.9, False), (0, 0.9011, False), (0, 0.8989, False), (99, 0.9009, True)],
)
def test_parity_holds_up_to_a_thousandth(disagreeing: int, dice: float, holds: bool) -> None:
    assert Parity("photos", 4, 100_000, disagreeing, 0.1, 0.9, dice, SAME, 0.0, 50_000).holds == holds


def test_the_runs_own_validation_photos_prove_it(home: Home) -> None:
    parity = home.export.parity
    assert parity.photos == "validation photos of discs"
    assert (parity.photo_count, parity.pixel_count) == (4, 4 * 32 * 32)
    assert parity.holds
    kept = {entry.key: entry.value for entry in onnx.load(home.export.path).metadata_props}
    assert json.loads(kept[PARITY_KEY]) == parity.to_json()
    assert "pixels on the other side of the threshold  0.00000%" in home.export.describe()


@pytest.mark.long
def test_a_wrong_resize_is_caught_and_nothing_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without antialiasing, as most exports have it."""
    build = export_module.build_graph

    def build_wrongly(*arguments: Any, **options: Any) -> Any:
        def resize(image: torch.Tensor, height: int, width: int) -> torch.Tensor:
            return nn.functional.interpolate(image[None], (height, width), mode="bilinear")[0]

        with monkeypatch.context() as patch:
            patch.setattr(fit, "resize", resize)
            return build(*arguments, **options)

    monkeypatch.setattr(export_module, "build_graph", build_wrongly)
    header = make_header(network="own:RedNetwork", size=32)
    save_model(tmp_path / "red.safetensors", wrap_network(RedNetwork()), header)
    with unchecked(), pytest.raises(UserError, match=r"not the one that was scored.*drawn figures only"):
        export_model(tmp_path / "red.safetensors", tmp_path / "out" / "red.onnx", network=RedNetwork())
    assert list((tmp_path / "out").iterdir()) == []


def test_without_the_data_figures_prove_it_and_the_reason_is_said(home: Home, tmp_path: Path) -> None:
    photos, name = export_module.find_photos(replace(home.run, folder=make_homeless(home, tmp_path)), "foreground")
    assert re.search(r"drawn figures only, since .*none does not exist", name)
    assert len({photo.target.shape for photo in photos}) == 6


def make_homeless(home: Home, folder: Path) -> Path:
    """A copy of the run whose data are gone."""
    for name in ("config.toml", "split.json"):
        text = (home.run.folder / name).read_text()
        (folder / name).write_text(text.replace(json.dumps(str(home.data)), json.dumps(str(folder / "none"))))
    return folder


# The card


def test_the_card_says_how_good_on_what_and_what_not_for(home: Home) -> None:
    assert home.export.card == home.export.path.with_suffix(".md")
    card = home.export.card.read_text()
    statement = home.run.statement("test")
    mean, low, high = (f"{statement[name]:.4f}" for name in ("mean_dice", "mean_dice_low", "mean_dice_high"))
    assert f"**Mean Dice {mean} [{low}, {high}]** over 4 test photos" in card
    assert "Trained on 12 photos of discs" in card
    assert "Terms of the data: drawn here" in card
    assert "## What it is not for\n\nanything | else\n" in card
    assert "drawn at random; nobody else's are in it" in card
    digest = subprocess.run(["sha256sum", home.export.path], capture_output=True, text=True, check=True).stdout.split()[0]
    assert digest in card
    failures = re.findall(r"^\| (.+?) \| (\d+) \| ", card, re.MULTILINE)
    assert sum(int(count) for _, count in failures) == 4
    assert card.count("\n## ") == 6
    assert not re.search(r"\bnan\b|None|inf\b", card)


@pytest.mark.parametrize(
    ("about", "sentence"),
    [
        ({"pretrained_from": "a package", "pretrained_license": "Apache-2.0"}, "are a package (licence: Apache-2.0)"),
        ({"pretrained_from": "a file"}, "a file (licence: not known)"),
        ({"initialised_from": "pets", "pretrained_from": "a package"}, "started from pets"),
    ],
)
def test_the_card_names_whose_weights_it_goes_on_from(home: Home, about: dict[str, str], sentence: str) -> None:
    from fgbg.ship.card import Card, describe_card

    header = replace(home.model.header, **about)
    card = describe_card(Card("discs", home.run, header, home.export.path, home.export.parity))
    assert sentence in card
    assert "nobody else's" not in card
    assert card.count("Not stated.") == 2


def test_the_terms_of_known_data_need_not_be_told(home: Home, tmp_path: Path) -> None:
    from fgbg.ship.card import Card, describe_card

    known = "- Terms of the data: Oxford-IIIT Pet (Parkhi et al. 2012), CC BY-SA 4.0"
    run = Run(Path(shutil.copytree(home.run.folder, tmp_path / "run")))
    header = replace(home.model.header, data="oxford-pet")
    card = Card("pets", run, header, home.export.path, home.export.parity)
    run.write_config(replace(run.config, data="oxford-pet"))
    assert known in describe_card(card)
    assert "- Terms of the data: mine" in describe_card(replace(card, terms="mine"))
    run.write_config(replace(run.config, data="/photos/oxford-pet"))
    assert "- Terms of the data: Not stated." in describe_card(card), "a folder of that name may hold anything"


def test_a_card_of_many_photos_has_slices(tmp_path: Path, home: Home) -> None:
    from fake_runs import write_fake_run
    from fgbg.ship.card import Card, describe_card

    run = write_fake_run(tmp_path / "run", count=30, size=32)
    card = describe_card(Card("fake", run, home.model.header, home.export.path, home.export.parity))
    rows = re.findall(r"^\| Object size \| (\w+) \| (\d+) \| 0\.\d+ ", card, re.MULTILINE)
    assert rows == [("low", "10"), ("middle", "10"), ("high", "10")]
    assert run.name in card or "# fake" in card


# Without torch


def test_an_exported_model_needs_no_torch(home: Home, tmp_path: Path) -> None:
    code = """
import fgbg
model = fgbg.load(sys.argv[1])
print(model.threshold, round(float(model(sys.argv[2]).mean()), 4))
from fgbg.cli import main
status = main(["predict", sys.argv[1], sys.argv[2], "--out", sys.argv[3]])
assert "torch" not in sys.modules
sys.exit(status)
"""
    photo = home.data / "images" / "disc_01.png"
    printed = run_alone(code, home.export.path, photo, tmp_path / "out")
    model = fgbg.load(home.export.path)
    assert printed.splitlines()[0] == f"{model.threshold} {round(float(model(photo).mean()), 4)}"
    assert f"model {home.export.path}: unet, 32 px, threshold {model.threshold:g}\n" in printed
    with Image.open(tmp_path / "out" / "disc_01.png") as mask:
        np.testing.assert_array_equal(np.asarray(mask) > 0, model(photo) > model.threshold)


def test_what_needs_an_extra_says_its_install_line_in_python_too() -> None:
    code = """
import fgbg
for name in ("train", "evaluate", "export"):
    try:
        getattr(fgbg, name)
    except ModuleNotFoundError as error:
        print(error)
print(fgbg.TrainConfig.__name__)
"""
    *told, last = run_alone(code).splitlines()
    assert [line.split()[0] for line in told] == ["fgbg.train", "fgbg.evaluate", "fgbg.export"]
    assert all(line.endswith(": pip install 'fgbg[train]'") for line in told)
    assert last == "TrainConfig"


def test_a_run_without_torch_says_what_it_needs(home: Home) -> None:
    code = """
import importlib.util
importlib.util.find_spec = lambda name: None
sys.stderr = sys.stdout
from fgbg.cli import main
print(main(["predict", sys.argv[1], sys.argv[2], "--out", "out"]))
"""
    photo = home.data / "images" / "disc_01.png"
    assert run_alone(code, home.run.folder, photo).splitlines() == [
        f"fgbg: {home.run.best} needs torch, safetensors, jaxtyping: pip install 'fgbg[train]', or use a model that fgbg "
        "export wrote",
        "2",
    ]


def test_masks_are_those_of_the_run(home: Home, tmp_path: Path) -> None:
    for name, model in (("run", home.run.folder), ("exported", home.export.path)):
        outcome = predict_inputs([str(model), str(home.data / "images")], tmp_path / name, device="cpu")
        assert len(outcome.written) == 20
    different = [
        np.mean(np.asarray(Image.open(path)) != np.asarray(Image.open(tmp_path / "exported" / path.name)))
        for path in (tmp_path / "run").glob("*.png")
    ]
    assert np.mean(different) < 0.001


@pytest.mark.parametrize("sort", ["RGB", "turned", "16-bit grey", "half transparent", "palette", "large"])
def test_the_file_is_used_without_fgbg_as_the_page_says(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sort: str
) -> None:
    page = (Path(__file__).parent.parent / "docs" / "export.md").read_text()
    (example,) = (block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "onnxruntime" in block)
    noise, photo, exif = make_noise(30, 50), tmp_path / "photo.png", Image.Exif()
    exif[0x0112] = 6 if sort == "turned" else 1
    pixels = noise[..., 0].astype(np.uint16) * 257 if sort == "16-bit grey" else noise
    if sort == "half transparent":
        pixels = np.dstack([noise, make_noise(30, 50, 1)[..., 0]])
    image = Image.fromarray(pixels)
    (image.quantize(16) if sort == "palette" else image).save(photo, exif=exif)
    if sort == "large":
        example = example.replace("24_000_000", "400")
        monkeypatch.setattr("fgbg.ship.photo.LARGEST_PHOTO_PIXELS", 400)
    found: dict[str, Any] = {}
    exec(example.replace("model.onnx", str(home.export.path)).replace("photo.jpg", str(photo)), found)
    np.testing.assert_array_equal(found["probability"], home.model(photo))
    assert (found["factor"] > 1) == (sort == "large")
    assert found["mask"].dtype == bool


# pets


@pytest.fixture
def with_pets(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation that carries a model called pets, and an empty folder to work in."""
    (tmp_path / "shipped").mkdir()
    (tmp_path / "shipped" / "pets.onnx").write_bytes(home.export.path.read_bytes())
    (tmp_path / "work").mkdir()
    monkeypatch.setattr(model_file, "SHIPPED", tmp_path / "shipped")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def test_the_shipped_model_is_used_where_none_is_named(
    home: Home, with_pets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = home.data / "images" / "disc_03.png"
    for number, inputs in enumerate(([photo], ["pets", photo], [home.data / "images"])):
        assert cli.main(["predict", *map(str, inputs), "--out", str(number)]) == 0
        assert capsys.readouterr().out.startswith("model pets: unet, 32 px, threshold ")
        assert (with_pets / str(number) / "disc_03.png").exists()
    assert len(list((with_pets / "2").glob("*.png"))) == 20


def test_the_word_pets_is_never_a_folder(home: Home, with_pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (with_pets / "pets").symlink_to(home.run.folder)
    photo = str(home.data / "images" / "disc_03.png")
    assert isinstance(fgbg.load("pets"), OnnxModel)
    assert not isinstance(fgbg.load("./pets"), OnnxModel)
    assert not isinstance(fgbg.load(Path("pets")), OnnxModel)
    assert cli.main(["predict", "pets", photo, "--out", "out"]) == 0
    assert capsys.readouterr().out.startswith("model pets (shipped with fgbg; the folder here is ./pets): ")
    assert cli.main(["predict", "pets", "--out", "out"]) == 2
    assert re.search(r"which photos\?.*a folder called pets is meant by \./pets", capsys.readouterr().err)


@pytest.mark.usefixtures("with_pets")
def test_pets_can_be_trained_on_and_scored(home: Home) -> None:
    assert inherit_network("pets") == {"model": "unet", "width": 2, "encoder": ""}
    predictor, header = load_model(find_model_file("pets"))
    assert header.training_images == home.model.header.training_images
    test = fgbg.open_samples(home.data).of("test")
    evaluation = fgbg.evaluate(predictor, header, test, engine=fgbg.judge.evaluate.Engine("cpu", "fp32", 1), split="test")
    assert evaluation.mean_dice.mean == home.run.statement("test")["mean_dice"], "what was scored is what ships"


def test_an_installation_without_pets_says_so(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(model_file, "SHIPPED", tmp_path)
    assert cli.main(["predict", str(home.data / "images"), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == (
        "fgbg: this installation of fgbg carries no model called pets: name a run or a model file instead\n"
    )
    assert not (tmp_path / "out").exists()


# What cannot be used


def test_what_is_no_exported_model_is_refused(home: Home, tmp_path: Path) -> None:
    whole = home.export.path.read_bytes()
    contents = {"empty": b"", "text": b"not a model at all", "half": whole[: len(whole) // 2], "start": whole[:20]}
    for name, content in contents.items():
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(content)
        for use in (fgbg.load, load_model):
            with pytest.raises(UserError, match=rf"{name}\.onnx (is damaged|was not written by fgbg)"):
                use(path)
    foreign = onnx.load(home.export.path)
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    for use in (fgbg.load, load_model):
        with pytest.raises(UserError, match=r"foreign\.onnx was not written by fgbg"):
            use(tmp_path / "foreign.onnx")
        with pytest.raises(UserError, match=r"none\.onnx does not exist"):
            use(tmp_path / "none.onnx")
    with pytest.raises(UserError, match=r"--device cuda: .*computes on the CPU"):
        fgbg.load(home.export.path, device="cuda")


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9, 1.0])
def test_an_exported_file_with_another_bit_is_refused(home: Home, tmp_path: Path, place: float) -> None:
    content = bytearray(home.export.path.read_bytes())
    content[round(place * (len(content) - 1))] ^= 1
    path = tmp_path / "flipped.onnx"
    path.write_bytes(content)
    for use in (fgbg.load, load_model):
        with pytest.raises(UserError, match=r"flipped\.onnx is damaged"):
            use(path)


@pytest.mark.parametrize("part", ["ir_version", "opset"])
def test_a_file_for_a_newer_onnx_runtime_is_not_called_damaged(home: Home, tmp_path: Path, part: str) -> None:
    model = onnx.load(home.export.path)
    seal = next(entry for entry in model.metadata_props if entry.key == ONNX_SEAL_KEY)
    seal.value = BLANK
    if part == "ir_version":
        model.ir_version = 99
    else:
        model.opset_import[0].version = 99
    path = tmp_path / "newer.onnx"
    path.write_bytes(seal_onnx(model.SerializeToString()))
    with pytest.raises(UserError, match=r"newer\.onnx was written for a newer ONNX Runtime than .* pip install"):
        fgbg.load(path)


def test_what_cannot_be_exported_is_said_before_any_work(home: Home, tmp_path: Path) -> None:
    (tmp_path / "taken.md").write_text("a card")
    for model, out, sentence in (
        (home.export.path, "a.onnx", r"is exported already"),
        (home.run.folder, "a.pt", r"must end in \.onnx"),
        (home.run.folder, "taken.onnx", r"taken\.md exists already: .*--force"),
        (tmp_path / "none", "a.onnx", r"none does not exist: name a run or its best\.safetensors$"),
        (tmp_path, "a.onnx", r"holds no best\.safetensors, .*: name a run or its best\.safetensors$"),
    ):
        with pytest.raises(UserError, match=sentence):
            export_model(model, tmp_path / out)
    with pytest.raises(UserError, match=r"taken\.md is where the model card would go, and is none: choose another --out"):
        export_model(home.run.folder, tmp_path / "taken.onnx", force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["taken.md"]


def test_the_verb_prints_what_was_proved(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[bool] = []

    def build_at_once(_: Predictor, __: Any, *, half_weights: bool) -> onnx.ModelProto:
        asked.append(half_weights)
        return onnx.load(home.export.path)

    monkeypatch.setattr(export_module, "build_graph", build_at_once)
    out = tmp_path / "model.onnx"
    (tmp_path / "model.md").write_text(f"# old\n\n{PURPOSE}: a photo of any size in")
    assert cli.main(["export", str(home.run.best), "--out", str(out), "--force", "--json", "--weights", "single"]) == 0
    assert asked == [False]
    told = json.loads(capsys.readouterr().out)
    assert told["photos"] == "validation photos of discs", "a file in a run's folder is the run's"
    assert told["disagreeing_share"] == 0
    assert (tmp_path / "model.md").read_text().startswith("# model\n")


def test_onnx_runtime_tells_its_makers_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Since version 1.29 it sends what models it computes, unless it is told not to before it is imported."""
    for name in ("CI", "XDG_CACHE_HOME", "ORT_DISABLE_TELEMETRY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    run_alone("import fgbg\nfgbg.load('pets')")
    assert not [path for path in tmp_path.rglob("*") if "onnxruntime" in path.name], "where it keeps what is to be sent"


@pytest.mark.long
def test_a_card_of_the_file_that_was_replaced_goes(home: Home, tmp_path: Path) -> None:
    out = tmp_path / "model.onnx"
    with unchecked():
        assert export_model(home.run.folder, out).card
        export_model(own_run(tmp_path, home), out, force=True)
    assert not out.with_suffix(".md").exists()


def own_run(tmp_path: Path, home: Home) -> Path:
    """The run before it was scored."""
    folder = shutil.copytree(home.run.folder, tmp_path / "unscored")
    for path in folder.glob("scores_test.*"):
        path.unlink()
    return folder


def test_damaged_scores_are_said_before_anything_is_written(home: Home, tmp_path: Path) -> None:
    folder = shutil.copytree(home.run.folder, tmp_path / "damaged")
    rows = folder / "scores_test.csv"
    rows.write_text(rows.read_text().replace("disc_01", "disc_00"))
    with pytest.raises(UserError, match="score the photos again"):
        export_model(folder, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_the_card_of_a_model_of_patches_says_how_it_sees(home: Home) -> None:
    from fgbg.ship.card import Card, describe_card

    header = replace(home.model.header, fit="crop")
    card = describe_card(Card("discs", home.run, header, home.export.path, home.export.parity))
    assert "at its own scale, in overlapping tiles" in card
