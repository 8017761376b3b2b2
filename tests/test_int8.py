"""An exported model in int8: a quarter of the size, calibrated on training photos, and refused where it loses too much."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import fgbg
from alone import run_alone
from discs import small_config, write_discs
from fake_runs import write_fake_run
from fgbg import cli, engine
from fgbg.errors import UserError
from fgbg.models import MODELS, build_network
from fgbg.models.checkpoint import load_model, read_header
from fgbg.models.onnx_weights import LEFT_OUT_KEY, store_weights
from fgbg.models.predictor import Predictor
from fgbg.models.zoo import LIBRARY
from fgbg.run import Run
from fgbg.seal import ONNX_SEAL_KEY
from fgbg.ship import export as export_module
from fgbg.ship import quantize
from fgbg.ship.card import Card, describe_card
from fgbg.ship.export import PARITY_KEY, Export, export_model
from fgbg.ship.load import ModelEnsemble, describe_model
from fgbg.ship.onnx_graph import build_graph
from fgbg.ship.onnx_model import OnnxModel
from fgbg.ship.parity import INT8, SAME, Parity
from fgbg.ship.photo import Photo
from trivial import make_header, make_noise, unchecked

pytestmark = [pytest.mark.usefixtures("no_charts"), pytest.mark.long]


@dataclass
class Builder:
    """Stands for `build_graph`: traces once, and remembers which precision was asked for."""

    graph: onnx.ModelProto
    asked: list[bool] = field(default_factory=list)

    def __call__(self, predictor: Predictor, _: Any, *, half_weights: bool) -> onnx.ModelProto:
        self.asked.append(half_weights)
        model = onnx.ModelProto()
        model.CopyFrom(self.graph)
        if half_weights:
            (left_out,) = (entry for entry in model.metadata_props if entry.key == LEFT_OUT_KEY)
            model.metadata_props.remove(left_out)
            store_weights(model, predictor.network.state_dict(), half=True)
        return model


@dataclass(frozen=True)
class Home:
    """A run that learnt to find discs, and what was exported from it."""

    run: Run
    data: Path
    graph: onnx.ModelProto
    export: Export
    half: Path

    @property
    def file(self) -> Path:
        return self.export.path

    @property
    def model(self) -> OnnxModel:
        return OnnxModel(self.file, threads=1)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("int8")
    data = write_discs(folder)
    with unchecked(), pytest.MonkeyPatch.context() as patch:  # sizes that are only known later cannot be checked
        run = fgbg.train(small_config(folder / "run", data=str(data), epochs=8, fit="pad"))
        builder = Builder(build_graph(*load_model(run.best), half_weights=False))
        patch.setattr(export_module, "build_graph", builder)
        export = export_model(run.folder, folder / "int8.onnx", weights="int8")
        half = export_model(run.folder, folder / "half.onnx").path
    return Home(run, data, builder.graph, export, half)


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that wait for each other on a busy machine make small work slow."""
    monkeypatch.setattr(engine, "_share_of_cores", lambda: 1)


@pytest.fixture
def built(home: Home, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """The graph is there at once; for which precisions it was asked (half or not)."""
    builder = Builder(home.graph)
    monkeypatch.setattr(export_module, "build_graph", builder)
    return builder.asked


def read_metadata(path: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


# The file


def test_it_is_much_smaller_and_loses_little(home: Home) -> None:
    assert home.file.stat().st_size < 0.75 * home.half.stat().st_size
    parity = home.export.parity
    assert parity.photos == "validation photos of discs"
    assert parity.dice > 0.8, "it has learnt something that can be lost"
    assert parity.holds
    assert parity.largest_difference > 1e-3, "it does compute in int8"
    photos = [home.data / "images" / f"disc_{index:02}.png" for index in range(8)]
    differences = [np.abs(home.model(photo) - OnnxModel(home.half, threads=1)(photo)).mean() for photo in photos]
    assert max(differences) < 0.02


def test_all_products_but_the_first_and_the_last_have_weights_of_seven_bits(home: Home) -> None:
    graph = onnx.load(home.file).graph
    made_by = {output: node for node in graph.node for output in node.output}
    products = [node for node in graph.node if node.op_type in quantize.PRODUCTS]
    sources = [made_by.get(node.input[1]) for node in products]
    assert [source.op_type if source else None for source in sources] == [
        None,
        *["DequantizeLinear"] * (len(products) - 2),
        None,
    ]
    assert len(products) == 23
    values = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    kernels = [source for source in sources if source]
    for source in kernels:
        kernel, scales = values[source.input[0]], values[source.input[1]]
        assert kernel.dtype == np.int8
        assert np.abs(kernel.astype(int)).max() == 64, "more saturates on processors without VNNI"
        assert scales.shape in {kernel.shape[:1], kernel.shape[1:2]}, "each channel has its own"


def test_what_is_no_network_stays_in_single_precision(home: Home) -> None:
    graph = onnx.load(home.file).graph
    kinds = [node.op_type for node in graph.node]
    first = kinds.index("QuantizeLinear")
    assert {"Resize", "Pad", "Sub", "Div"} <= set(kinds[:first])
    assert kinds.count("Sigmoid") == 1
    assert kinds.count("BatchNormalization") == 0, "folded, or it would come behind int8"
    tail = kinds[kinds.index("Sigmoid") :]
    assert {"Resize", "Clip"} <= set(tail)
    assert not {"QuantizeLinear", "DequantizeLinear"} & set(tail)


def test_the_file_is_valid_says_what_it_is_and_tells_nothing_of_this_machine(home: Home) -> None:
    model = onnx.load(home.file)
    onnx.checker.check_model(model, full_check=True)
    assert {opset.domain for opset in model.opset_import} == {""}
    assert read_metadata(home.file).keys() == {"fgbg", PARITY_KEY, ONNX_SEAL_KEY}
    assert json.loads(read_metadata(home.file)["fgbg"])["arithmetic"] == "int8"
    assert read_header(home.file) == home.model.header == replace(read_header(home.run.best), arithmetic="int8")
    assert read_header(home.half).arithmetic == "fp32"
    content = home.file.read_bytes()
    for telltale in (str(Path(__file__).parent.parent), tempfile.gettempdir(), "site-packages", ".py"):
        assert telltale.encode() not in content, telltale


@pytest.mark.parametrize("edges", [(1, 1), (40, 3), (33, 31), (130, 50)])
def test_a_photo_of_any_size_is_answered(home: Home, edges: tuple[int, int]) -> None:
    pixels = make_noise(*edges)
    with torch.inference_mode():
        expected = load_model(home.run.best)[0](torch.tensor(pixels)).numpy()
    assert home.model(pixels).shape == edges
    assert np.abs(home.model(pixels) - expected).mean() < 0.05


def test_a_photo_reduced_on_decoding_is_answered_at_its_own_size(home: Home) -> None:
    ((_, answer),) = home.model.answer([Photo(make_noise(13, 20), 40, 61)])
    assert answer.shape == (40, 61)


# What it loses


@pytest.mark.parametrize(
    ("dice", "holds"), [(0.9, True), (0.8951, True), (0.8949, False), (0.95, True)], ids=["same", "within", "beyond", "gain"]
)
def test_int8_is_held_to_what_it_loses(dice: float, holds: bool) -> None:
    parity = Parity("photos", 4, 1000, 300, 0.9, 0.9, dice, INT8, 0.0, 500)
    assert parity.holds == holds
    assert not replace(parity, limits=SAME).holds


def test_the_limits_that_applied_are_said(home: Home) -> None:
    told = home.export.describe()
    assert "% (no limit in int8)\n" in told
    assert ", must lose < 0.005)\n" in told
    kept = json.loads(read_metadata(home.file)[PARITY_KEY])
    assert kept == home.export.parity.to_json()
    assert kept["limits"] == {"disagreeing_share": None, "dice_lost": 0.005, "dice_gained": None}
    halved = json.loads(read_metadata(home.half)[PARITY_KEY])
    assert halved["limits"] == {"disagreeing_share": 0.001, "dice_lost": 0.001, "dice_gained": 0.001}


@pytest.mark.usefixtures("built")
def test_ranges_that_ruin_it_are_caught_and_nothing_left_behind(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def quantize_badly(graph: onnx.ModelProto, photos: Iterator[NDArray[np.uint8]]) -> onnx.ModelProto:
        model = quantize.quantize_graph(graph, photos)
        for each in model.graph.initializer:
            if each.name.endswith("_scale") and not each.dims:  # of activations; those of weights are for each channel
                each.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(each) / 50, each.name))
        return model

    monkeypatch.setattr(export_module, "quantize_graph", quantize_badly)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    sentence = r"not the one that was scored.*by -0\.\d+ \(must lose < 0\.005\); nothing was written, try --weights half"
    with pytest.raises(UserError, match=sentence):
        export_model(home.run.folder, tmp_path / "out" / "ruined.onnx", weights="int8")
    assert list((tmp_path / "out").iterdir()) == list((tmp_path / "temporary").iterdir()) == []


# What it is calibrated on


def test_training_photos_calibrate_it(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = fgbg.open_samples(home.data)
    training = [sample.read_pixels() for sample in samples.of("train").samples]
    np.testing.assert_array_equal(list(quantize.find_calibration_photos(home.run)), training)
    monkeypatch.setattr(quantize, "CALIBRATION_PHOTOS", 3)
    chosen = list(quantize.find_calibration_photos(home.run))
    np.testing.assert_array_equal(chosen, [training[0], training[6], training[-1]])  # 5.5 is rounded to even


def test_without_training_photos_int8_is_refused_before_any_work(
    home: Home, built: list[bool], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes(home.run.best.read_bytes())
    homeless = tmp_path / "homeless"
    homeless.mkdir()
    for name in ("config.toml", "split.json", "best.safetensors"):
        (homeless / name).write_bytes((home.run.folder / name).read_bytes().replace(str(home.data).encode(), b"/none"))
    for model, reason in ((alone, "the model is a file without its run"), (homeless, "/none does not exist")):
        assert cli.main(["export", str(model), "--out", str(tmp_path / "a.onnx"), "--weights", "int8"]) == 2
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err.startswith("fgbg: --weights int8 is calibrated on the run's training photos, ")
        assert reason in told.err
        assert told.err.endswith("or keep --weights half\n")
        assert told.err.count("\n") == 1
    assert built == []
    assert not (tmp_path / "a.onnx").exists()


def test_a_word_that_is_no_precision_is_refused(home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with unchecked(), pytest.raises(UserError, match=r"unknown weights 'int4': choose one of single, half, int8"):
        export_model(home.run.folder, tmp_path / "a.onnx", weights="int4")
    with pytest.raises(SystemExit) as ended:
        cli.main(["export", str(home.run.folder), "--out", str(tmp_path / "a.onnx"), "--weights", "int4"])
    assert ended.value.code == 2
    assert "int4" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


# How it is used


def test_the_verb_prints_the_result_alone(
    home: Home, built: list[bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    out = tmp_path / "model.onnx"
    assert cli.main(["export", str(home.run.folder), "--out", str(out), "--weights", "int8", "--json"]) == 0
    told = capfd.readouterr()
    assert json.loads(told.out) == json.loads(read_metadata(out)[PARITY_KEY])
    assert told.err == ""
    assert built == [False]
    assert list((tmp_path / "temporary").iterdir()) == []
    assert out.read_bytes() == home.file.read_bytes(), "the same photos, the same file"


def test_it_needs_no_torch(home: Home, tmp_path: Path) -> None:
    code = """
import fgbg
print(round(float(fgbg.load(sys.argv[1])(sys.argv[2]).mean()), 4))
from fgbg.cli import main
status = main(["predict", *sys.argv[1:3], "--out", sys.argv[3]])
assert "torch" not in sys.modules
sys.exit(status)
"""
    photo = home.data / "images" / "disc_01.png"
    printed = run_alone(code, home.file, photo, tmp_path / "out").splitlines()
    assert printed[0] == str(round(float(home.model(photo).mean()), 4))
    assert printed[1] == f"model {home.file}: unet in int8, 32 px, threshold {home.model.threshold:g}"
    assert (tmp_path / "out" / "disc_01.png").exists()


def test_of_several_models_each_says_what_it_is(home: Home) -> None:
    both = ModelEnsemble([fgbg.load(home.file), fgbg.load(home.half)])
    assert describe_model("both", both).startswith("model both: unet in int8 + unet, 32 px")
    assert describe_model("half", fgbg.load(home.half)).startswith("model half: unet, 32 px")


def test_the_card_says_that_its_scores_are_of_the_model_before(home: Home, tmp_path: Path) -> None:
    run = write_fake_run(tmp_path / "run", count=30, size=32)
    parity = replace(home.export.parity, dice=0.9, dice_exported=0.8975)
    card = describe_card(Card("small", run, home.model.header, home.file, parity))
    assert "Its convolutions and matrix products are in int8, all but the first and the last." in card
    assert "**Measured before the file was made int8**, which changes mean Dice by -0.0025 on 4 validation photos" in card
    assert "(no limit in int8; mean Dice by -0.002500, must lose < 0.005; on 4 validation photos of discs)" in card
    full = describe_card(Card("half", run, read_header(home.half), home.half, replace(parity, limits=SAME)))
    assert "in int8" not in full
    assert "Measured before" not in full
    assert "(must be < 0.1%; mean Dice by -0.002500, must differ by < 0.001; on 4 " in full


def test_the_weights_that_were_trained_cannot_be_had_from_it(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sentence = r"int8\.onnx is in int8, which does not hold the weights that were trained: use the run .*--weights half"
    with pytest.raises(UserError, match=sentence):
        load_model(home.file)
    flags = [
        "--out",
        str(tmp_path / "run"),
        "--size",
        "32",
        "--width",
        "4",
        "--batch-size",
        "4",
        "--device",
        "cpu",
        "--threads",
        "1",
    ]
    assert cli.main(["train", str(home.data), "--init", str(home.file), *flags]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"fgbg: {home.file} is in int8, which does not hold")
    assert list(tmp_path.glob("run/*.safetensors")) == []


# What is quantized


def make_chain(*kinds: str) -> onnx.ModelProto:
    """Nodes one behind the other, named after their place; products with weights of their own."""
    nodes, weights = [], []
    for place, kind in enumerate(kinds):
        inputs = [f"x{place}"]
        if kind in quantize.PRODUCTS:
            weights.append(numpy_helper.from_array(np.ones((1, 1, 1, 1), np.float32), f"w{place}"))
            inputs.append(f"w{place}")
        nodes.append(helper.make_node(kind, inputs, [f"x{place + 1}"], name=f"{kind} {place}"))
    ends = [helper.make_tensor_value_info(f"x{place}", TensorProto.FLOAT, None) for place in (0, len(kinds))]
    return helper.make_model(helper.make_graph(nodes, "chain", ends[:1], ends[1:], weights))


def test_inner_products_and_what_cuts_them_are_quantized() -> None:
    chain = make_chain("Conv", "Relu", "Conv", "Relu", "Sigmoid", "ConvTranspose", "Clip", "Clip", "Conv", "Clip")
    assert quantize._choose_nodes(chain) == ["Conv 2", "ConvTranspose 5", "Relu 3", "Clip 6"]


def test_a_network_of_two_products_is_refused() -> None:
    with pytest.raises(UserError, match=r"leaves the first and the last convolution .* no other: keep --weights half"):
        quantize._choose_nodes(make_chain("Conv", "Relu", "Conv"))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_architecture_can_be_quantized(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build_network(name, width=8, encoder="test_efficientnet" if name in LIBRARY else "")
    predictor = Predictor(network, size=64).eval()
    with unchecked():
        graph = build_graph(predictor, make_header(network=name, size=64), half_weights=False)
    onnx.save(graph, tmp_path / "single.onnx")
    small = quantize.quantize_graph(graph, [make_noise(70, 80, seed) for seed in range(4)])
    onnx.checker.check_model(small, full_check=True)
    small.metadata_props.extend(graph.metadata_props)
    onnx.save(small, tmp_path / "int8.onnx")
    full, rounded = (OnnxModel(tmp_path / f"{kind}.onnx", threads=1)(make_noise(70, 80, 9)) for kind in ("single", "int8"))
    assert 0 < np.abs(full - rounded).mean() < 0.05
