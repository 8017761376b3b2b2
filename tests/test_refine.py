"""Steps after the network: each does what it says, and is recommended only where it provably helps."""

from __future__ import annotations

import importlib.util
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import fgbg
from discs import small_config, write_discs
from fgbg import cli, engine
from fgbg.errors import UserError
from fgbg.judge.bootstrap import Estimate, adjust_holm, check_difference
from fgbg.models import MODELS, wrap_network
from fgbg.models.checkpoint import save_model
from fgbg.run import Run, create_run
from fgbg.ship import matte as matte_module
from fgbg.ship import refine_trial
from fgbg.ship.matte import matte
from fgbg.ship.parity import JudgedPhoto
from fgbg.ship.predict import predict_inputs
from fgbg.ship.refine import STEPS, Refined, View, measure_cell, parse_steps
from fgbg.ship.refine_trial import RISK, Effect, Trial, _judge, _score, try_steps
from trivial import RedNetwork, draw, make_header, make_noise, paint

pytestmark = pytest.mark.usefixtures("no_charts")


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that wait for each other on a busy machine make small work slow."""
    monkeypatch.setattr(engine, "_share_of_cores", lambda: 1)


@pytest.fixture
def red_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run whose model finds red, on photos of red discs with red specks beside them."""
    monkeypatch.setitem(MODELS, "red", lambda width, encoder: RedNetwork())
    data = write_discs(tmp_path, count=40)
    for index, path in enumerate(sorted((data / "images").iterdir())):
        with Image.open(data / "masks" / path.name) as mask:
            inside = np.asarray(mask) > 0
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        found = inside.copy()
        if index % 4:  # a speck in the corner that is furthest
            far = (-1 if rows.mean() < len(inside) / 2 else 0, -1 if columns.mean() < len(inside[0]) / 2 else 0)
            found[far] = True
        Image.fromarray(paint(found)).save(path)
    config = replace(small_config(tmp_path / "run"), data=str(data), model="unet")
    samples, run = fgbg.open_samples(data), create_run(tmp_path / "run")
    run.write_config(config)
    run.write_split(samples, config)
    size = inside.shape[0]
    save_model(run.best, wrap_network(RedNetwork()), make_header(size=size, data="discs"))
    return run


def apply(step: str, marks: NDArray[Any], *, threshold: float = 0.5, cell: float = 1.0) -> NDArray[np.float32]:
    probability = marks.astype(np.float32)
    return STEPS[step](probability, View(paint(probability > threshold), threshold, cell))


# Steps


def test_of_several_parts_the_largest_stays_and_corners_join_as_the_judge_counts() -> None:
    found = apply("largest", draw("##..#", "##.#.", "..#.."))
    np.testing.assert_array_equal(found, draw("##..#", "##.#.", "..#.."))
    np.testing.assert_array_equal(apply("largest", draw("##..#", "##...", "...#.")), draw("##...", "##...", "....."))


def test_a_part_that_hangs_by_a_corner_is_no_speck_and_a_hole_does_not_leak_through_one() -> None:
    marks = np.zeros((100, 100), bool)  # a thousandth is 10 pixels
    marks[10:60, 10:60] = True
    marks[60, 60] = True
    marks[20:23, 20:23] = marks[23:26, 23:26] = False  # two holes of 9, which touch at a corner
    expected = marks.copy()
    expected[20:26, 20:26] = True
    np.testing.assert_array_equal(apply("specks", marks), expected)
    ring = draw(".#.", "#.#", ".#.")
    np.testing.assert_array_equal(apply("fill", ring), draw(".#.", "###", ".#."))


def test_the_first_of_equal_parts_stays_and_nothing_stays_nothing() -> None:
    np.testing.assert_array_equal(apply("largest", draw("#.#")), draw("#.."))
    np.testing.assert_array_equal(apply("largest", draw("...")), draw("..."))
    np.testing.assert_array_equal(apply("largest", draw("###")), draw("###"))


def test_what_is_below_the_threshold_keeps_its_probability() -> None:
    probability = np.array([[0.9, 0.3, 0.8, 0.7, 0.2]], np.float32)
    view = View(make_noise(1, 5), 0.5, 1.0)
    np.testing.assert_array_equal(STEPS["largest"](probability, view), np.float32([[0, 0.3, 0.8, 0.7, 0.2]]))
    higher = View(make_noise(1, 5), 0.75, 1.0)  # 0.7 is no object then, and the first of equal parts stays
    np.testing.assert_array_equal(STEPS["largest"](probability, higher), np.float32([[0.9, 0.3, 0, 0.7, 0.2]]))


def test_holes_are_filled_and_bays_are_not() -> None:
    found = apply("fill", draw("####", "#.#.", "####", "#..."))
    np.testing.assert_array_equal(found, draw("####", "###.", "####", "#..."))


def test_specks_are_parts_and_holes_of_less_than_a_thousandth() -> None:
    marks = np.zeros((100, 100), bool)  # a thousandth is 10 pixels
    marks[10:60, 10:60] = True
    marks[20:23, 20:23] = False  # a hole of 9
    marks[30:32, 30:35] = False  # of 10
    marks[80:83, 80:83] = True  # a part of 9
    marks[80:82, 10:15] = True  # of 10
    expected = marks.copy()
    expected[20:23, 20:23] = True
    expected[80:83, 80:83] = False
    np.testing.assert_array_equal(apply("specks", marks), expected)


def test_an_object_that_is_all_specks_is_left() -> None:
    marks = np.zeros((100, 100), bool)
    marks[5, 5] = marks[50, 50] = True
    np.testing.assert_array_equal(apply("specks", marks), marks)


def test_edges_move_an_outline_onto_the_photos() -> None:
    edge, guess = np.arange(64) < 30, np.arange(64) < 33
    pixels = np.repeat(np.where(edge, 200, 40).astype(np.uint8)[None, :, None], 64, 0).repeat(3, 2)
    soft = np.clip((34 - np.arange(64)) / 8, 0, 1).astype(np.float32)  # half at pixel 30: the outline is between
    probability = np.repeat(soft[None], 64, 0)
    found = STEPS["edges"](probability, View(pixels, 0.5, 4.0))
    assert found.dtype == np.float32
    assert ((found >= 0) & (found <= 1)).all()
    assert np.abs(found[:, 29] - found[:, 30]).min() > 0.3, "the step is where the photo has it"
    assert np.abs(probability[:, 29] - probability[:, 30]).max() < 0.13
    even = STEPS["edges"](guess[None].repeat(64, 0).astype(np.float32), View(np.full((64, 64, 3), 90, np.uint8), 0.5, 4.0))
    assert ((even > 0.5) == guess).mean() > 0.98, "an even photo moves nothing"


def test_edges_are_the_guided_filter_of_its_definition() -> None:
    pixels, probability = make_noise(23, 31), make_noise(23, 31, 1)[..., 0].astype(np.float32) / 255
    grey = pixels @ np.array([0.299, 0.587, 0.114]) / 255

    def mean(values: NDArray[Any]) -> NDArray[Any]:  # over 5 × 5, edges repeated
        padded = np.pad(values, 2, mode="edge")
        return np.lib.stride_tricks.sliding_window_view(padded, (5, 5)).mean((2, 3))

    slope = (mean(grey * probability) - mean(grey) * mean(probability)) / (mean(grey**2) - mean(grey) ** 2 + 0.03**2)
    expected = mean(slope) * grey + mean(mean(probability) - slope * mean(grey))
    found = STEPS["edges"](probability, View(pixels, 0.5, 1.0))
    np.testing.assert_allclose(found, expected.clip(0, 1), atol=1e-4)


def test_a_cell_is_as_large_as_the_network_sees_the_photo_small() -> None:
    header = make_header(size=100)
    assert measure_cell(header, 400, 900) == 6  # squashed: the root of the area
    assert measure_cell(replace(header, fit="pad"), 400, 900) == 9
    assert measure_cell(replace(header, fit="crop"), 400, 900) == 1
    assert measure_cell(header, 40, 90) == 1


# A model whose answers are refined


def test_loading_with_steps_refines_every_answer_in_order(red_run: Run) -> None:
    marks = draw("####....", "#..#..#.", "####....", "........") * np.ones((4, 1), bool)
    photos = [Image.fromarray(paint(np.kron(each, np.ones((16, 8), bool)))) for each in (marks, ~marks)]
    plain, refined = fgbg.load(red_run.folder), fgbg.load(red_run.folder, refine="largest, fill")
    assert isinstance(refined, Refined)
    assert refined.threshold == plain.threshold
    for photo in photos:
        before = plain(photo)
        view = View(np.asarray(photo), plain.threshold, measure_cell(plain.header, *before.shape))
        expected = STEPS["fill"](STEPS["largest"](before, view), view)
        np.testing.assert_array_equal(refined(photo), expected)
        assert (expected != before).any()


def test_a_photo_reduced_on_decode_is_refined_as_decoded_and_answered_at_its_size(red_run: Run) -> None:
    model = Refined(fgbg.load(red_run.folder), ("largest",))
    marks = np.kron(draw("##..#", "##...", "....."), np.ones((4, 4), bool))
    large = np.kron(marks, np.ones((3, 3), bool)).astype(np.float32)
    found = model.refine(paint(marks), large)
    assert found.shape == large.shape
    np.testing.assert_array_equal(found[:, -12:] > 0.5, False)
    assert (found[:22, :22] > 0.5).all()


def test_of_a_photo_reduced_on_decode_only_what_the_steps_change_is_changed(red_run: Run) -> None:
    """A thin line of the answer is lost where a photo is reduced, and must not be lost to a step that leaves it alone."""
    large = np.zeros((60, 90), np.float32)
    large[:, 10] = 0.9
    large[30:42, 40:52] = 0.8
    large[34:38, 44:48] = 0.1  # a hole
    model = Refined(fgbg.load(red_run.folder), ("fill",))
    found = model.refine(paint(np.zeros((20, 30), bool)), large)
    assert (found[34:38, 44:48] > 0.5).all()
    np.testing.assert_array_equal(found[:, :36], large[:, :36])
    assert ((found >= 0) & (found <= 1)).all()


def test_steps_are_words_with_commas() -> None:
    assert parse_steps("") == ()
    assert parse_steps("fill,largest") == ("fill", "largest")
    for text, sentence in (("fil", "fil is no step; there are largest, fill"), ("fill,", "nothing is no step")):
        with pytest.raises(UserError, match=sentence):
            parse_steps(text)


def test_without_scipy_the_install_line_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"--refine needs scipy: pip install 'fgbg\[refine\]'"):
        parse_steps("fill")
    with pytest.raises(UserError, match=r"scipy and pymatting: pip install 'fgbg\[refine\]'"):
        matte_module.require_matting()


def test_files_are_refined_and_those_of_other_steps_are_not_mixed(red_run: Run, tmp_path: Path) -> None:
    photo, out = tmp_path / "a.png", tmp_path / "out"
    marks = np.kron(draw("##..#", "##...", "....."), np.ones((16, 16), bool))
    Image.fromarray(paint(marks)).save(photo)
    said: list[str] = []
    predict_inputs([str(red_run.folder), str(photo)], out, refine="largest", device="cpu", say=said.append)
    with Image.open(out / "a.png") as mask:
        assert not np.asarray(mask)[:, 48:].any()
        assert np.asarray(mask)[:24, :24].all()
    assert said[0].endswith("threshold 0.5, then largest")
    with pytest.raises(UserError, match="holds predictions of another refinement"):
        predict_inputs([str(red_run.folder), str(photo)], out, device="cpu", say=said.append)


# Soft edges


@pytest.mark.slow  # the library compiles itself when it is first used: a minute
def test_soft_edges_leave_what_is_far_from_the_outline(tmp_path: Path) -> None:
    mask = np.zeros((60, 80), np.uint8)
    mask[15:45, 20:60] = 255
    photo = Image.fromarray(paint(mask > 0))
    found = np.asarray(matte(photo.copy(), mask))
    assert found.shape == (60, 80, 4)
    assert (found[20:40, 25:55, 3] == 255).all()
    assert (found[:12, :, 3] == 0).all()
    np.testing.assert_array_equal(found[20:40, 25:55, :3], np.asarray(photo)[20:40, 25:55])
    assert np.abs(found[..., 3].astype(int) - mask).mean() < 8, "where the photo's edge is sharp, so is the cut-out"


@pytest.mark.slow  # the library compiles itself when it is first used: a minute
def test_soft_edges_print_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """pymatting prints how its preconditioner failed before it found one, as it does for stripes."""
    rows, columns = np.mgrid[:120, :160]
    mask = ((rows // 20 + columns // 20) % 2 == 0).astype(np.uint8) * np.uint8(255)
    stripes = (columns // 3 % 2 * 255).astype(np.uint8)
    matte(Image.fromarray(stripes).convert("RGB"), mask)
    assert capsys.readouterr().out == ""


@pytest.mark.slow  # the library compiles itself when it is first used: a minute
def test_soft_edges_follow_hair_that_the_mask_cut_off() -> None:
    mask = np.zeros((100, 100), np.uint8)
    mask[40:60, 20:80] = 255
    there = mask > 0
    there[36:40, 30:70:4] = True  # strands of two pixels' reach, within 2 % of 100 above the mask
    found = np.asarray(matte(Image.fromarray(paint(there)), mask))[..., 3]
    strands, between = found[39, 30:70:4].mean(), found[39, 32:70:4].mean()
    assert strands > 140
    assert between < 60


@pytest.mark.slow  # the library compiles itself when it is first used: a minute
@pytest.mark.parametrize("marks", [np.zeros((9, 7), bool), np.ones((9, 7), bool), np.eye(9, 7, dtype=bool)])
def test_soft_edges_of_nothing_everything_and_thin_things(marks: NDArray[np.bool_]) -> None:
    mask = marks.astype(np.uint8) * np.uint8(255)
    found = matte(Image.fromarray(paint(marks)), mask)
    assert (found.mode, found.size) == ("RGBA", (7, 9))
    if marks.all() or not marks.any():
        np.testing.assert_array_equal(np.asarray(found.getchannel("A")), mask)


@pytest.mark.slow  # the library compiles itself when it is first used: a minute
def test_large_photos_are_matted_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.zeros((120, 160), np.uint8)
    mask[30:90, 40:120] = 255
    photo = Image.fromarray(paint(mask > 0))
    whole = np.asarray(matte(photo.copy(), mask)).astype(int)
    monkeypatch.setattr(matte_module, "LARGEST_PIXELS", 3000)
    small = np.asarray(matte(photo.copy(), mask)).astype(int)
    monkeypatch.setattr(matte_module, "STRIP", 7)
    np.testing.assert_allclose(np.asarray(matte(photo.copy(), mask)).astype(int), small, atol=1)
    assert small.shape == whole.shape
    assert np.abs(small - whole).mean() < 6
    np.testing.assert_array_equal(small[40:80, 50:110], whole[40:80, 50:110])


# Whether it helps


def test_the_verb_recommends_what_helps_and_tells_what_it_is_worth(red_run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["refine", str(red_run.folder), "--split", "test", "--steps", "largest"]) == 0
    line = capsys.readouterr().out.splitlines()[3]
    assert line.startswith("largest")
    assert cli.main(["refine", str(red_run.folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["split"] == "validation"
    assert [each["steps"] for each in told["effects"]][:4] == [[step] for step in STEPS]
    assert told["effects"][0]["dice"]["mean"] > 0
    assert told["effects"][0]["worse"] == 0


def test_a_gain_that_many_photos_share_is_recommended_and_noise_is_not() -> None:
    stream = np.random.default_rng(0)
    gain, noise = stream.uniform(0, 0.02, (60, 1)), stream.normal(0, 0.01, (60, 2))
    differences = np.concatenate([gain, noise, -gain], axis=1)
    changes = np.stack([differences, differences / 2], axis=2)
    effects = _judge([("largest",), ("fill",), ("specks",), ("edges",)], changes, None)
    assert [each.verdict for each in effects] == ["helps", "cannot be told", "cannot be told", "hurts"]
    assert (effects[0].better, effects[0].worse) == (60, 0)
    assert effects[1].p_holm >= effects[1].dice.p
    np.testing.assert_allclose([each.boundary_iou.mean for each in effects], differences.mean(0) / 2)


def test_steps_are_not_chosen_on_test_photos(red_run: Run) -> None:
    with pytest.raises(UserError, match="choose them on validation"):
        try_steps(red_run, split="test")


def try_gains(run: Run, monkeypatch: pytest.MonkeyPatch, gains: dict[str, float], **options: Any) -> Trial:
    """Try steps that raise the Dice of every photo by so much; a way that is not named changes nothing."""

    def score(model: Any, photo: Any, probability: Any, ways: Any) -> list[tuple[float, float]]:
        return [(0.5 + gains.get(",".join(way), 0.0), 0.5) for way in [(), *ways]]

    monkeypatch.setattr("fgbg.ship.refine_trial._score", score)
    monkeypatch.setattr("fgbg.ship.refine_trial.FEWEST_UNITS", 2)
    return try_steps(run, **options)


def test_several_steps_that_help_are_measured_together(red_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not try_steps(red_run).recommended, "eight photos tell nothing"
    trial = try_gains(red_run, monkeypatch, {"largest": 0.01, "specks": 0.01, "largest,specks": 0.02, "edges": -0.1})
    assert [each.steps for each in trial.effects] == [*((step,) for step in STEPS), ("largest", "specks")]
    assert trial.recommended == ("largest", "specks")
    assert "--refine largest,specks" in trial.describe()


@pytest.mark.parametrize("together", [-0.02, 0.0, 0.015])
def test_steps_that_help_less_together_than_one_of_them_are_not_recommended_together(
    red_run: Run, monkeypatch: pytest.MonkeyPatch, together: float
) -> None:
    trial = try_gains(red_run, monkeypatch, {"largest": 0.01, "specks": 0.02, "largest,specks": together})
    assert len(trial.effects) == len(STEPS) + 1
    assert trial.recommended == ("specks",)


def test_steps_together_are_one_more_trial_for_which_all_are_adjusted(red_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once: list[int] = []
    monkeypatch.setattr(refine_trial, "adjust_holm", lambda p: at_once.append(len(p)) or adjust_holm(p))
    trial = try_gains(red_run, monkeypatch, {"largest": 0.01, "specks": 0.01, "largest,specks": 0.01})
    assert at_once == [4, 5]
    assert [each.p_holm for each in trial.effects] == adjust_holm([each.dice.p for each in trial.effects])


def test_a_chance_that_one_trial_would_take_is_not_taken_from_several() -> None:
    lucky = np.r_[np.full(14, 0.01), np.full(5, -0.01)]
    differences = np.stack([lucky, np.zeros(19), np.zeros(19)], axis=1)
    [effect, *_] = _judge([("largest",), ("fill",), ("specks",)], np.stack([differences, differences], axis=2), None)
    assert effect.dice.p < RISK < 3 * effect.dice.p == effect.p_holm
    assert effect.verdict == "cannot be told"


def test_photos_of_few_groups_are_no_evidence_and_it_is_said_why(red_run: Run) -> None:
    samples = fgbg.open_samples(red_run.config.data)
    grouped = [replace(sample, group=f"litter {index % 3}") for index, sample in enumerate(samples.samples)]
    red_run.write_split(replace(samples, samples=tuple(grouped)), red_run.config)
    trial = try_steps(red_run)
    assert [each.dice.units for each in trial.effects] == [3] * len(STEPS)
    told = trial.describe().splitlines()
    assert told[0].startswith("8 validation photos of discs in 3 groups, each")
    assert "fewer than 10 groups are too few for a verdict" in told
    assert trial.to_json()["units"] == 3


def test_few_photos_are_said_to_be_few(red_run: Run) -> None:
    told = try_steps(red_run).describe().splitlines()
    assert told[0].startswith("8 validation photos of discs, each")
    assert "fewer than 10 photos are too few for a verdict" in told


def test_named_steps_that_help_together_are_recommended_together(red_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = try_gains(red_run, monkeypatch, {"specks,largest": 0.01}, steps=("specks", "largest"))
    assert [each.verdict for each in trial.effects] == ["helps"]
    assert trial.recommended == ("specks", "largest")
    assert "recommended: --refine specks,largest" in trial.describe()


def test_steps_are_tried_on_a_photo_whose_only_object_is_not_judged(red_run: Run) -> None:
    target = np.zeros((40, 40), np.uint8)
    target[5:10, 5:10] = 255
    pixels = np.zeros((40, 40, 3), np.uint8)

    photo = JudgedPhoto(pixels, 40, 40, target)
    plain, refined = _score(fgbg.load(red_run.folder), photo, np.zeros((40, 40), np.float32), [("largest",)])
    assert plain == refined == (1, 1)


@pytest.mark.parametrize(("rows", "columns", "level"), [((157, 1210), (116, 1947), 255), ((0, 1499), (1, 1998), 0)])
def test_soft_edges_of_specks_that_are_lost_in_a_reduced_photo_stay_hard(
    rows: tuple[int, ...], columns: tuple[int, ...], level: int
) -> None:
    mask = np.full((1500, 2000), 255 - level, np.uint8)
    for row, column in itertools.product(rows, columns):
        mask[row, column] = level
    found = matte(Image.new("RGB", (2000, 1500), (40, 90, 60)), mask.copy())
    np.testing.assert_array_equal(np.asarray(found.getchannel("A")), mask)


def test_the_json_of_a_single_photo_is_json() -> None:
    test = check_difference(np.array([0.1]))
    effect = Effect(("largest",), test, 1.0, test.difference, 1, 0)
    tried = Trial("run", "test", "photos", 1, 0.5, Estimate(0.5, 0.5, 0.5), Estimate(0.5, 0.5, 0.5), [effect])
    told = json.loads(json.dumps(tried.to_json(), allow_nan=False))
    assert told["effects"][0]["dice"] == {"mean": 0.1, "low": None, "high": None}
