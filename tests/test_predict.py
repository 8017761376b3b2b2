"""From photos to files: the right pixels in the right place, and nothing lost on the way."""

from __future__ import annotations

import importlib.util
import json
import os
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

import fgbg
from fgbg import cli, engine
from fgbg.cores import CORES_VARIABLE
from fgbg.data.images import read_photo, read_photo_size
from fgbg.data.parallel import map_in_order
from fgbg.errors import UserError
from fgbg.models import MODELS, wrap_network
from fgbg.models.checkpoint import save_model
from fgbg.ship import draw as drawing
from fgbg.ship import mask_png, predict
from fgbg.ship import photo as photo_module
from fgbg.ship import provenance as provenance_module
from fgbg.ship.draw import DIMMED, OUTLINE_COLOUR
from fgbg.ship.jobs import Job, plan_jobs
from fgbg.ship.onnx_model import OnnxModel
from fgbg.ship.photo import Photo
from fgbg.ship.predict import Outcome, predict_inputs
from fgbg.ship.provenance import RECORD, Ledger
from fgbg.ship.refine import Refined, parse_steps
from fgbg.ship.serve.answer import answer_photo
from fgbg.words import IMAGENET_DEVIATION, IMAGENET_MEAN, Kind
from trivial import RedNetwork, draw, make_header, make_network, make_noise, paint, unchecked

LEFT = draw(*["####...."] * 6)
KINDS: dict[Kind, str] = {"mask": "L", "probability": "L", "cutout": "RGBA", "overlay": "RGB"}
ORIENTATION = 0x0112


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that wait for each other on a busy machine make small work slow."""
    monkeypatch.setattr(engine, "_share_of_cores", lambda: 1)


@pytest.fixture
def red_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model file that finds red, in squares of 8 pixels."""
    monkeypatch.setitem(MODELS, "red", lambda width, encoder: RedNetwork())
    save_model(tmp_path / "red.safetensors", wrap_network(RedNetwork()), make_header(size=8))
    return tmp_path / "red.safetensors"


@pytest.fixture
def unet_model(tmp_path: Path) -> Path:
    """A model file with a small UNet in it."""
    header = make_header(network="unet", width=3, size=32, mean=IMAGENET_MEAN, deviation=IMAGENET_DEVIATION)
    save_model(tmp_path / "unet.safetensors", make_network("unet"), header)
    return tmp_path / "unet.safetensors"


def write(path: Path, pixels: NDArray[Any] = paint(LEFT), **options: Any) -> Path:  # noqa: B008 - never changed
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def read(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image)


def run(model: Path, *inputs: Path, out: Path, **options: Any) -> Outcome:
    return predict_inputs([str(model), *map(str, inputs)], out, device="cpu", **options)


def files_below(folder: Path) -> list[str]:
    """But for the records of what made them."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".fgbg."))
    return sorted(path.relative_to(folder).as_posix() for path in found)


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


# Kinds


def test_a_mask_is_255_on_the_object_and_0_elsewhere(red_model: Path, tmp_path: Path) -> None:
    run(red_model, write(tmp_path / "a.png"), out=tmp_path / "out")
    np.testing.assert_array_equal(read(tmp_path / "out" / "a.png"), LEFT * 255)


def test_a_probability_is_0_to_255(unet_model: Path, tmp_path: Path) -> None:
    photo = write(tmp_path / "a.png", make_noise(37, 51))
    run(unet_model, photo, out=tmp_path / "out", kind="probability")
    picture = read(tmp_path / "out" / "a.png")
    expected = 255 * fgbg.load(unet_model)(photo)
    assert np.abs(picture - expected).max() <= 0.5 + 1e-3
    assert picture.max() > 200
    assert picture.min() < 50


def test_a_cutout_keeps_the_objects_pixels_and_makes_the_ground_transparent(red_model: Path, tmp_path: Path) -> None:
    run(red_model, write(tmp_path / "a.png"), out=tmp_path / "out", kind="cutout")
    picture = read(tmp_path / "out" / "a.png")
    np.testing.assert_array_equal(picture[..., :3], paint(LEFT))
    np.testing.assert_array_equal(picture[..., 3], LEFT * 255)


def test_an_overlay_dims_the_ground_and_outlines_the_object(red_model: Path, tmp_path: Path) -> None:
    run(red_model, write(tmp_path / "a.png"), out=tmp_path / "out", kind="overlay")
    picture, photo = read(tmp_path / "out" / "a.png"), paint(LEFT)
    np.testing.assert_array_equal(picture[:, 4:], (photo[:, 4:] * DIMMED).astype(np.uint8))
    np.testing.assert_array_equal(picture[:, :3], photo[:, :3])
    assert (picture[:, 3] == OUTLINE_COLOUR).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("edges", [(1, 1), (1, 9), (23, 1), (31, 44)])
def test_every_kind_is_a_png_of_the_photos_size(red_model: Path, tmp_path: Path, kind: Kind, edges: tuple[int, int]) -> None:
    photo = write(tmp_path / "a.webp", make_noise(*edges), lossless=True)
    run(red_model, photo, out=tmp_path / "out", kind=kind)
    with Image.open(tmp_path / "out" / "a.png") as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", KINDS[kind], edges[::-1])


@pytest.mark.parametrize("steps", ["", "largest"])
def test_another_threshold_draws_another_mask_and_another_folder(unet_model: Path, tmp_path: Path, steps: str) -> None:
    photo, out = write(tmp_path / "a.png", make_noise(37, 51)), tmp_path / "out"
    command = ["predict", str(unet_model), str(photo), "--out", str(out), "--device", "cpu", "--refine", steps]
    command = command if steps else command[:-2]
    assert cli.main([*command, "--threshold", "0.3"]) == 0
    plain = fgbg.load(unet_model)
    expected = Refined(plain, parse_steps(steps), 0.3)(photo) > 0.3
    np.testing.assert_array_equal(read(out / "a.png"), expected * 255)
    assert (expected != (Refined(plain, parse_steps(steps))(photo) > plain.threshold)).any()
    low = fgbg.load(unet_model, refine=steps, threshold=0.3)
    np.testing.assert_array_equal(low(photo) > low.threshold, expected)
    with pytest.raises(UserError, match="out holds predictions of another threshold: choose another --out"):
        run(unet_model, photo, out=out, refine=steps)
    assert run(unet_model, photo, out=out, refine=steps, threshold=0.3).already == 1


def test_a_threshold_that_decides_nothing_is_refused(unet_model: Path, tmp_path: Path) -> None:
    photo, out = write(tmp_path / "a.png"), tmp_path / "out"
    for threshold in (0.0, 1.0, np.nan):
        with pytest.raises(UserError, match=rf"--threshold {threshold:g}: must lie between 0 and 1"):
            run(unet_model, photo, out=out, threshold=threshold)
    with pytest.raises(UserError, match=r"--threshold 0\.3: .* probability"):
        run(unet_model, photo, out=out, threshold=0.3, kind="probability")
    assert not out.exists()


# Where files go


def test_folders_are_kept_and_what_is_no_photo_is_passed_over(red_model: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for name in ("a.png", "sub/b.PNG", "sub/deeper/c.d.webp", ".hidden.png", ".thumbs/x.png"):
        write(photos / name, format="PNG")
    (photos / "notes.txt").write_text("no photo")
    outcome = run(red_model, photos, out=tmp_path / "out")
    assert files_below(tmp_path / "out") == ["a.png", "sub/b.png", "sub/deeper/c.d.png"]
    assert sorted(outcome.written) == sorted((tmp_path / "out").rglob("*.png"))
    assert outcome.failed == {}
    assert outcome.describe(tmp_path / "out").endswith("3 files written")


@pytest.mark.parametrize("ending", ["jfif", "JPE", "jpeg"])
def test_a_jpeg_is_known_by_any_of_its_endings(red_model: Path, tmp_path: Path, ending: str) -> None:
    photo = write(tmp_path / "photos" / f"a.{ending}", format="JPEG", quality=95, subsampling=0)
    for source, out in ((photo, tmp_path / "one"), (photo.parent, tmp_path / "all")):
        run(red_model, source, out=out)
        np.testing.assert_array_equal(read(out / "a.png"), LEFT * 255)


def test_several_folders_keep_their_names(red_model: Path, tmp_path: Path) -> None:
    for name in ("cats/a.png", "dogs/a.png", "single.png"):
        write(tmp_path / name)
    run(red_model, tmp_path / "cats", tmp_path / "dogs", tmp_path / "single.png", out=tmp_path / "out")
    assert files_below(tmp_path / "out") == ["cats/a.png", "dogs/a.png", "single.png"]


def test_photos_that_differ_in_their_ending_only_both_keep_it(red_model: Path, tmp_path: Path) -> None:
    write(tmp_path / "photos" / "a.png", paint(LEFT))
    write(tmp_path / "photos" / "a.webp", paint(~LEFT), lossless=True)
    write(tmp_path / "photos" / "b.png")
    run(red_model, tmp_path / "photos", out=tmp_path / "out")
    assert files_below(tmp_path / "out") == ["a.png.png", "a.webp.png", "b.png"]
    np.testing.assert_array_equal(read(tmp_path / "out" / "a.png.png"), LEFT * 255)
    np.testing.assert_array_equal(read(tmp_path / "out" / "a.webp.png"), ~LEFT * 255)


def test_two_photos_never_go_to_one_file(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one" / "a.png"), write(tmp_path / "two" / "a.png")
    with pytest.raises(UserError, match=r"several photos would be written to .*a\.png\.png"):
        plan_jobs([one, two], tmp_path / "out")
    write(tmp_path / "one" / "a.png.webp")  # which, beside a.png alone, takes the name a.png.png
    jobs = plan_jobs([tmp_path / "one"], tmp_path / "out")
    assert {job.source.name: job.target.name for job in jobs} == {"a.png": "a.png", "a.png.webp": "a.png.png"}
    for name in ("a.webp", "a.png.webp.webp"):
        write(tmp_path / "one" / name)
    jobs = plan_jobs([tmp_path / "one"], tmp_path / "out")
    assert all(job.target.name == f"{job.source.name}.png" for job in jobs)


def test_results_inside_the_input_folder_are_not_taken_for_photos(red_model: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    write(photos / "a.png")
    for _ in range(2):
        outcome = run(red_model, photos, out=photos / "masks", force=True)
        assert outcome.written == [photos / "masks" / "a.png"]
    assert files_below(photos) == ["a.png", "masks/a.png"]
    np.testing.assert_array_equal(read(photos / "a.png"), paint(LEFT))


def test_results_may_go_to_the_folder_above_the_photos(tmp_path: Path) -> None:
    write(tmp_path / "photos" / "a.png")
    (job,) = plan_jobs([tmp_path / "photos"], tmp_path)
    assert (job.source, job.target) == (tmp_path / "photos" / "a.png", tmp_path / "a.png")


def test_a_single_photo_may_become_a_file_of_any_name_beside_it(red_model: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    photo, cut = write(here / "photo.png"), here / "cut.png"
    assert run(red_model, photo, out=cut).written == [cut]
    assert sorted(path.name for path in here.iterdir()) == ["cut.png", "photo.png"]  # and no record of what made it
    np.testing.assert_array_equal(read(cut), LEFT * 255)
    with pytest.raises(UserError, match=r"cut\.png exists already: choose another --out, or --force"):
        run(red_model, photo, out=cut)
    assert run(red_model, photo, out=cut, force=True).written == [cut]


def test_a_single_photos_file_is_never_taken_for_another_photos(red_model: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    run(red_model, write(tmp_path / "photos" / "a.png"), out=here)  # leaves word of what made it
    with pytest.raises(UserError, match=r"a\.png exists already"):
        run(red_model, write(tmp_path / "b.png", paint(~LEFT)), out=here / "a.png")
    np.testing.assert_array_equal(read(here / "a.png"), LEFT * 255)


def test_a_folder_that_is_called_like_a_picture_stays_a_folder(red_model: Path, tmp_path: Path) -> None:
    (tmp_path / "out.png").mkdir()
    run(red_model, write(tmp_path / "a.png"), out=tmp_path / "out.png")
    assert files_below(tmp_path / "out.png") == ["a.png"]


@pytest.mark.parametrize(
    ("inputs", "out", "sentence"),
    [
        (["a.png", "b.png"], "cut.png", r"cut\.png is the file of a single photo: choose a folder"),
        (["folder"], "cut.png", r"cut\.png is the file of a single photo: choose a folder"),
        (["a.png"], "cut.jpg", r"cut\.jpg: predictions are PNG files: let it end in \.png"),
        (["a.png"], "a.png", r"a\.png would be overwritten by its own prediction"),
        (["missing.png"], "cut.png", r"missing\.png does not exist"),
    ],
)
def test_a_file_is_refused_that_cannot_be_meant(
    red_model: Path, tmp_path: Path, inputs: list[str], out: str, sentence: str
) -> None:
    here = tmp_path / "here"
    before = [write(here / name) for name in ("a.png", "b.png", "folder/c.png")]
    contents = [path.read_bytes() for path in before]
    with pytest.raises(UserError, match=sentence):
        run(red_model, *(here / name for name in inputs), out=here / out, force=True)
    assert [path.read_bytes() for path in before] == contents
    assert files_below(here) == ["a.png", "b.png", "folder/c.png"]


def test_nothing_is_overwritten_without_force_and_nothing_else_written_then(red_model: Path, tmp_path: Path) -> None:
    write(tmp_path / "photos" / "a.png")
    write(tmp_path / "photos" / "b.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b.png").write_text("precious")
    with pytest.raises(UserError, match=r"b\.png exists already: choose another --out, or --force"):
        run(red_model, tmp_path / "photos", out=tmp_path / "out")
    assert files_below(tmp_path / "out") == ["b.png"]
    assert (tmp_path / "out" / "b.png").read_text() == "precious"

    run(red_model, tmp_path / "photos", out=tmp_path / "out", force=True)
    np.testing.assert_array_equal(read(tmp_path / "out" / "b.png"), LEFT * 255)


def test_the_same_command_goes_on_where_it_was_stopped(red_model: Path, tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    for name in "abcd":
        write(photos / f"{name}.png")
    run(red_model, photos, out=out)
    (out / "b.png").unlink()  # as if it had been stopped before
    write(photos / "c.png", paint(~LEFT))
    os.utime(photos / "c.png", (2e9, 2e9))
    was = {name: (out / name).stat().st_mtime_ns for name in ("a.png", "d.png")}
    outcome = run(red_model, photos, out=out)
    assert outcome.written == [out / "b.png", out / "c.png"]
    assert outcome.describe(out) == f"{out}: 2 files written, 2 from before"
    assert {name: (out / name).stat().st_mtime_ns for name in was} == was
    np.testing.assert_array_equal(read(out / "c.png"), ~LEFT * 255)


def test_another_making_is_not_mixed_in(red_model: Path, unet_model: Path, tmp_path: Path) -> None:
    photo, out = write(tmp_path / "a.png"), tmp_path / "out"
    run(red_model, photo, out=out)
    with pytest.raises(UserError, match=r"out holds predictions of another kind: choose another --out, or --force"):
        run(red_model, photo, out=out, kind="overlay")
    with pytest.raises(UserError, match=r"out holds predictions of another model: "):
        run(unet_model, write(tmp_path / "b.png"), out=out)  # of which no file would be overwritten
    assert files_below(out) == ["a.png"]
    assert read(out / "a.png").ndim == 2
    run(red_model, photo, out=out, kind="overlay", force=True)
    assert read(out / "a.png").ndim == 3
    (out / RECORD).write_text("{")
    with pytest.raises(UserError, match=r"out holds predictions, but \.fgbg\.json is damaged: choose another"):
        run(red_model, photo, out=out, kind="overlay")
    (out / RECORD).unlink()
    assert run(red_model, photo, out=out, kind="overlay").already == 1


def test_of_two_makings_at_once_only_one_gets_the_folder(
    red_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo, out = write(tmp_path / "a.png"), tmp_path / "out"
    make_folder = provenance_module.make_folder

    def let_another_begin(folder: Path) -> Path:
        monkeypatch.setattr(provenance_module, "make_folder", make_folder)
        run(red_model, write(tmp_path / "b.png"), out=out)
        return make_folder(folder)

    monkeypatch.setattr(provenance_module, "make_folder", let_another_begin)
    with pytest.raises(UserError, match=r"out holds predictions of another kind"):
        run(red_model, photo, out=out, kind="cutout")
    assert files_below(out) == ["b.png"]
    assert not list(out.glob(".*.partial"))


def test_another_photo_of_the_same_name_is_not_taken_for_done(red_model: Path, tmp_path: Path) -> None:
    here, out = tmp_path / "photos", tmp_path / "out"
    one, two = write(here / "one" / "a.bmp"), write(here / "two" / "a.bmp", paint(~LEFT))  # of one size
    os.utime(two, (1e9, 1e9))  # older than any mask
    run(red_model, one.parent, out=out)
    assert run(red_model, two.parent, out=out).written == [out / "a.png"]
    np.testing.assert_array_equal(read(out / "a.png"), ~LEFT * 255)
    assert run(red_model, two.parent, out=out).already == 1
    replaced = write(tmp_path / "b.bmp", np.vstack([paint(~LEFT)] * 2))
    os.utime(replaced, (1e9, 1e9))
    replaced.replace(two)  # as by cp -pf
    assert run(red_model, two.parent, out=out).written == [out / "a.png"]
    here.rename(tmp_path / "elsewhere")
    assert run(red_model, tmp_path / "elsewhere" / "two", out=out).already == 1
    write(tmp_path / "elsewhere" / "two" / "a.png").replace(tmp_path / "elsewhere" / "two" / "a.bmp")
    assert run(red_model, tmp_path / "elsewhere" / "two", out=out).already == 0


@pytest.mark.parametrize("moment", ["before the line", "half the line", "before the name", "after the name"])
def test_after_a_kill_no_mask_passes_for_another_photos(
    red_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    one, two, out = write(tmp_path / "one" / "a.png"), write(tmp_path / "two" / "a.png", paint(~LEFT)), tmp_path / "out"
    run(red_model, one, out=out)
    note = Ledger.note

    def die(ledger: Ledger, job: Job, whole: Path) -> None:
        if moment != "before the line":
            note(ledger, job, whole)
        (lines,) = out.glob(".fgbg.*.jsonl")
        if moment == "half the line":
            lines.write_bytes(lines.read_bytes()[:-20])
        if moment == "after the name":
            whole.rename(job.target)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "note", die)
        with pytest.raises(KeyboardInterrupt):
            run(red_model, two, out=out)
    stands = LEFT if moment != "after the name" else ~LEFT
    np.testing.assert_array_equal(read(out / "a.png"), stands * 255)
    for photo, mask in ((one, LEFT), (two, ~LEFT), (one, LEFT)):
        outcome = run(red_model, photo, out=out)
        assert outcome.already == int((mask == stands).all())
        np.testing.assert_array_equal(read(out / "a.png"), mask * 255)
        stands = mask


def test_a_mask_that_was_changed_by_hand_is_kept(red_model: Path, tmp_path: Path) -> None:
    photo, out = write(tmp_path / "a.png"), tmp_path / "out"
    run(red_model, photo, out=out)
    write(out / "a.png", np.zeros((6, 8), np.uint8))
    os.utime(out / "a.png", (2e9, 2e9))
    assert run(red_model, photo, out=out).already == 1
    with pytest.raises(UserError, match=r"out/a\.png exists already: choose another --out"):
        run(red_model, write(tmp_path / "other" / "a.png", paint(~LEFT)), out=out)
    assert not read(out / "a.png").any()


def test_a_mask_forced_into_a_folder_of_predictions_is_known_there(red_model: Path, tmp_path: Path) -> None:
    one, two, out = write(tmp_path / "one" / "a.png"), write(tmp_path / "two" / "a.png", paint(~LEFT)), tmp_path / "out"
    run(red_model, one, out=out)
    run(red_model, two, out=out / "a.png", force=True)
    assert run(red_model, one, out=out).already == 0
    np.testing.assert_array_equal(read(out / "a.png"), LEFT * 255)


def test_two_photos_at_one_moment_are_nobodys(red_model: Path, tmp_path: Path) -> None:
    one, two, out = write(tmp_path / "one" / "a.png"), write(tmp_path / "two" / "a.png", paint(~LEFT)), tmp_path / "out"
    run(red_model, one, out=out)
    (lines,) = out.glob(".fgbg.*.jsonl")
    first = json.loads(lines.read_text())
    run(red_model, two, out=out)
    second = json.loads(lines.read_text().splitlines()[-1])
    lines.write_text(f"{json.dumps(first | {'written_at': second['written_at']})}\n{json.dumps(second)}")
    for photo in (one, two):
        assert run(red_model, photo, out=out).already == 0


def test_a_file_of_a_photo_that_now_has_another_one_is_named(
    red_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    write(photos / "a.webp", lossless=True)
    run(red_model, photos, out=out)
    write(photos / "a.png")
    assert cli.main(["predict", str(red_model), str(photos), "--out", str(out)]) == 0
    assert capsys.readouterr().err == (
        f"{out}/a.png is from before, and its photo's file is now {out}/a.webp.png: remove the old one\n"
    )
    (out / "a.png").unlink()
    (photos / "a.webp").unlink()
    outcome = run(red_model, photos, out=out)
    assert outcome.complain() == [
        f"{out}/a.png.png is from before, and its photo's file is now {out}/a.png: remove the old one"
    ]
    assert files_below(out) == ["a.png", "a.png.png", "a.webp.png"]


def test_a_photo_that_cannot_be_read_any_more_does_not_keep_its_mask_unnoticed(red_model: Path, tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photo = write(photos / "a.png")
    run(red_model, photos, out=out)
    photo.write_bytes(b"no photo")
    told = run(red_model, photos, out=out).complain()
    assert told[0].startswith(f"left out: {photo} is not an image")
    assert told[1:] == [f"{out}/a.png is from before, and not of the photo that is there now: remove it"]


def test_links_to_nothing_are_left_out_and_named(red_model: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    write(photos / "a.png")
    (photos / "b.png").symlink_to(tmp_path / "gone.png")
    outcome = run(red_model, photos, out=tmp_path / "out")
    assert outcome.complain() == [f"left out: {photos / 'b.png'} leads to nothing: mend the link, or remove it"]
    assert len(outcome.written) == 1


def test_links_to_folders_are_followed_and_each_folder_is_predicted_once(red_model: Path, tmp_path: Path) -> None:
    photos, elsewhere = tmp_path / "photos", tmp_path / "elsewhere"
    write(photos / "own" / "a.png")
    write(elsewhere / "b.png")
    (photos / "a_link").symlink_to(elsewhere)
    (photos / "another_link").symlink_to(photos / "own")
    (elsewhere / "back").symlink_to(photos)
    outcome = run(red_model, photos, out=tmp_path / "out")
    assert outcome.complain() == []
    assert files_below(tmp_path / "out") == ["a_link/b.png", "own/a.png"]


def test_a_photo_named_twice_is_predicted_once(red_model: Path, tmp_path: Path) -> None:
    photo = write(tmp_path / "a.png")
    assert len(run(red_model, photo, photo, out=tmp_path / "out").written) == 1


def test_forcing_another_model_into_a_folder_is_told(red_model: Path, unet_model: Path, tmp_path: Path) -> None:
    one, two, out = write(tmp_path / "a.png"), write(tmp_path / "b.png"), tmp_path / "out"
    run(red_model, one, two, out=out)
    told = run(unet_model, one, out=out, force=True).complain()
    assert told == [f"{out} held predictions of another model: what was not written over is still there"]
    assert run(unet_model, one, two, out=out, force=True).complain() == []


def test_what_is_stopped_says_that_it_goes_on(
    red_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fgbg.ship.predict.predict_files", stop)
    assert cli.main(["predict", str(red_model), str(write(tmp_path / "a.png")), "--out", str(tmp_path / "out")]) == 130
    assert "stopped: the same command goes on from here" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["bmp", "webp"], ids=["joined by one before it", "joined by one behind it"])
def test_a_file_of_a_photo_is_named_wherever_the_other_one_stands(red_model: Path, tmp_path: Path, ending: str) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    write(photos / "a.png")
    run(red_model, photos, out=out)
    write(photos / f"a.{ending}")
    assert run(red_model, photos, out=out).complain() == [
        f"{out}/a.png is from before, and its photo's file is now {out}/a.png.png: remove the old one"
    ]


def test_files_that_force_passed_by_are_not_taken_for_ones_own(red_model: Path, unet_model: Path, tmp_path: Path) -> None:
    photos, out = [write(tmp_path / "a.png"), write(tmp_path / "b.png")], tmp_path / "out"
    run(unet_model, *photos, out=out)
    for path in out.iterdir():
        os.utime(path, (1e9, 1e9))
    for photo in photos:
        os.utime(photo, (1e9, 1e9))
    run(red_model, photos[0], out=out, force=True)
    with pytest.raises(UserError, match=r"out/b\.png exists already: choose another --out"):
        run(red_model, *photos, out=out)
    assert run(red_model, photos[0], out=out).already == 1


@pytest.mark.parametrize("steps", ["", "largest"])
def test_a_core_from_file_to_file_writes_what_threads_write_that_hand_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: str
) -> None:
    photos = tmp_path / "photos"
    for index in range(6):
        write(photos / f"{index}.png", make_noise(30 + index, 40, seed=index))
    for name in ("1b.jpg", "4b.jpg"):
        (photos / name).write_bytes(b"no photo")
    alone = predict_inputs(["pets", str(photos)], tmp_path / "alone", refine=steps)
    monkeypatch.setattr(OnnxModel, "one_by_one", False)
    handed_on = predict_inputs(["pets", str(photos)], tmp_path / "handed on", refine=steps)
    assert alone.failed == handed_on.failed
    assert list(alone.failed) == [photos / "1b.jpg", photos / "4b.jpg"]
    assert [path.name for path in alone.written] == [f"{index}.png" for index in range(6)]
    for path in alone.written:
        assert path.read_bytes() == (tmp_path / "handed on" / path.name).read_bytes()


@pytest.mark.parametrize("one_by_one", [True, False])
def test_while_a_picture_is_painted_nobody_holds_the_probability_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_by_one: bool
) -> None:
    """Of a photo of 100 megapixels it takes 400 MB."""
    write(tmp_path / "photos" / "a.png")
    computed: list[weakref.ref[Any]] = []
    held: list[bool] = []
    compute = OnnxModel._compute

    def compute_and_watch(model: OnnxModel, photo: Photo) -> NDArray[np.float32]:
        probability = compute(model, photo)
        computed.append(weakref.ref(probability))
        return probability

    monkeypatch.setattr(OnnxModel, "one_by_one", one_by_one)
    monkeypatch.setattr(OnnxModel, "_compute", compute_and_watch)
    monkeypatch.setattr("fgbg.ship.predict.write_picture", lambda *_: held.append(computed[0]() is not None))
    predict_inputs(["pets", str(tmp_path / "photos")], tmp_path / "out")
    assert held == [False]


def test_a_write_that_fails_leaves_nothing_behind(red_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill_the_disk(*drawn: Any) -> None:
        drawn[-1].write(b"half a file")
        raise OSError(28, "No space left on device")

    photo = write(tmp_path / "a.png")
    monkeypatch.setattr(predict, "write_picture", fill_the_disk)
    with pytest.raises(OSError, match=r"No space left on device: '.*out/a\.png'"):
        run(red_model, photo, out=tmp_path / "out")
    assert files_below(tmp_path / "out") == []


def test_a_pipe_or_a_device_is_neither_a_model_nor_a_photo(red_model: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UserError, match=r"pipe\.png is no regular file: give photos"):
        run(red_model, tmp_path / "pipe.png", out=tmp_path / "out")
    with pytest.raises(UserError, match=r"/dev/null is no regular file: MODEL is"):
        run(Path("/dev/null"), write(tmp_path / "a.png"), out=tmp_path / "out")


def test_a_model_says_which_of_its_libraries_is_missing(red_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "safetensors" else find(name))
    with pytest.raises(UserError, match=r"red\.safetensors needs safetensors: pip install 'fgbg\[train\]'"):
        fgbg.load(red_model)


def test_a_photo_is_not_its_own_result(red_model: Path, tmp_path: Path) -> None:
    photo = write(tmp_path / "a.png")
    for force in (False, True):
        with pytest.raises(UserError, match=r"a\.png would be overwritten by its own prediction"):
            run(red_model, photo, out=photo, force=force)
    np.testing.assert_array_equal(read(photo), paint(LEFT))


# What cannot be used


def test_a_broken_photo_is_named_and_the_others_are_written(red_model: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for index in range(10):
        write(photos / f"{index}.png")
    (photos / "3.png").write_bytes(b"no photo")
    (photos / "5.png").write_bytes((photos / "5.png").read_bytes()[:60])
    outcome = run(red_model, photos, out=tmp_path / "out")
    assert files_below(tmp_path / "out") == [f"{index}.png" for index in (0, 1, 2, 4, 6, 7, 8, 9)]
    assert set(outcome.failed) == {photos / "3.png", photos / "5.png"}
    assert outcome.describe(tmp_path / "out").endswith("8 files written")
    for line, name in zip(outcome.complain(), ("3.png", "5.png"), strict=True):
        assert line.startswith(f"left out: {photos / name} is ")
    for index in (2, 4, 6):
        np.testing.assert_array_equal(read(tmp_path / "out" / f"{index}.png"), LEFT * 255)


def test_a_name_as_long_as_names_may_be(red_model: Path, tmp_path: Path) -> None:
    photo = write(tmp_path / "photos" / f"{'é' * 125}a.png")
    assert len(os.fsencode(photo.name)) == 255
    assert run(red_model, photo.parent, out=tmp_path / "out").written == [tmp_path / "out" / photo.name]
    assert not list((tmp_path / "out").glob("*.partial"))


def test_a_file_of_several_pages_is_left_out(red_model: Path, tmp_path: Path) -> None:
    page = Image.fromarray(paint(LEFT))
    page.save(tmp_path / "a.tif", save_all=True, append_images=[page])
    write(tmp_path / "b.png")
    outcome = run(red_model, tmp_path / "a.tif", tmp_path / "b.png", out=tmp_path / "out")
    assert outcome.written == [tmp_path / "out" / "b.png"]
    assert outcome.failed[tmp_path / "a.tif"].startswith(f"{tmp_path / 'a.tif'} has 2 pages, of which only the first")
    with pytest.raises(UserError, match="2 pages"):
        fgbg.load(red_model)(tmp_path / "a.tif")


def test_a_photo_that_is_not_read_is_not_taken_for_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.heic").write_bytes(b"")
    assert cli.main(["predict", "a.heic", "--out", "masks"]) == 2
    assert (
        capsys.readouterr().err == "left out: a.heic: .heic is a format that is not read: convert it to JPEG or PNG first\n"
    )


def test_only_broken_photos_write_nothing(red_model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no photo")
    outcome = run(red_model, tmp_path / "a.png", out=tmp_path / "out")
    assert outcome.written == []
    assert set(outcome.failed) == {tmp_path / "a.png"}


def test_what_a_folder_holds_besides_is_said(
    red_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    write(photos / "a.png")
    for name in ("b.heic", "c.HEIF", "sub/d.avif", "notes.txt", "._b.heic"):
        (photos / name).parent.mkdir(exist_ok=True)
        (photos / name).write_bytes(b"")
    command = ["predict", str(red_model), str(photos), "--out", str(out)]
    assert cli.main(command) == 0
    told = capsys.readouterr()
    assert told.out.endswith(f"{out}: 1 file written\n")
    assert told.err.startswith(
        "passed over: 3 files that look like photos (.avif, .heic, .heif): convert to JPEG or PNG first ("
    )

    locked, scan = str(photos / "sub"), os.scandir

    def refuse(path: str) -> Any:
        if str(path) == locked:
            raise PermissionError(13, "Permission denied", locked)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert cli.main(command) == 2
    told = capsys.readouterr()
    assert told.out.endswith(f"{out}: 0 files written, 1 from before\n")
    assert told.err.startswith(f"left out: {locked} cannot be read (Permission denied): check its permissions\npassed over")
    (photos / "a.png").unlink()
    with pytest.raises(UserError, match=r"holds no photos .*, nor is it a run; .*sub cannot be read \(Permission"):
        run(red_model, photos, out=out)


def test_a_home_is_understood_in_both_places(red_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "a.png")
    assert run(red_model, Path("~/a.png"), out=Path("~/out")).written == [tmp_path / "out" / "a.png"]


@pytest.mark.parametrize("cores", ["abc", "-1", "2.5", "0"])
def test_cores_that_are_no_number_are_refused(
    cores: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(CORES_VARIABLE, cores)
    assert cli.main(["predict", str(write(tmp_path / "a.png")), "--out", str(tmp_path / "out")]) == 2
    assert (
        capsys.readouterr().err == f"fgbg: FGBG_CORES={cores} is not a number of cores: set it to 1 or more, or unset it\n"
    )


def test_what_does_not_exist_is_named(red_model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"which photos\?"):
        run(red_model, out=tmp_path / "out")
    with pytest.raises(UserError, match=r"no\.jpg does not exist"):
        run(red_model, tmp_path / "no.jpg", out=tmp_path / "out")
    with pytest.raises(UserError, match=r"empty holds no photos"):
        run(red_model, tmp_path / "empty", out=tmp_path / "out")
    with pytest.raises(UserError, match=r"none does not exist: MODEL is"):
        run(tmp_path / "none", write(tmp_path / "a.png"), out=tmp_path / "out")
    with pytest.raises(UserError, match=r"empty holds no photos .*nor is it a run"):
        run(tmp_path / "empty", tmp_path / "a.png", out=tmp_path / "out")
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.toml").touch()
    with pytest.raises(UserError, match=r"holds no best\.safetensors"):
        run(tmp_path / "begun", tmp_path / "a.png", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


# Photos of every sort


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("is_large", [False, True])
def test_what_shows_the_photo_has_its_colour_profile(
    red_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind, mode: str, is_large: bool
) -> None:
    if is_large:
        monkeypatch.setattr(photo_module, "LARGEST_PHOTO_PIXELS", 20)
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[16:20] = b"CMYK" if mode == "CMYK" else b"RGB "
    photo = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.fromarray(paint(LEFT)).convert(mode).save(photo, icc_profile=bytes(profile))
    run(red_model, photo, out=tmp_path / "out", kind=kind)
    with Image.open(tmp_path / "out" / "a.png") as picture:
        found = picture.info.get("icc_profile")
    assert found == (bytes(profile) if kind in ("cutout", "overlay") and mode != "CMYK" else None)
    assert answer_photo(fgbg.load(red_model), photo).draw(kind) == (tmp_path / "out" / "a.png").read_bytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "suffix",
    [
        ".png",
        ".webp",
        pytest.param(".tif"),
    ],
)
def test_a_photo_turned_by_exif_is_answered_upright(red_model: Path, tmp_path: Path, suffix: str, kind: Kind) -> None:
    stored = paint(LEFT)  # to be turned by a quarter, clockwise
    options = {"lossless": True} if suffix == ".webp" else {}
    photo = write(tmp_path / f"a{suffix}", stored, exif=turned(6), **options)
    upright, inside = np.rot90(stored, -1), np.rot90(LEFT, -1)
    np.testing.assert_array_equal(read_photo(photo), upright)
    assert read_photo_size(photo) == (8, 6)
    run(red_model, photo, out=tmp_path / "out", kind=kind)
    picture = read(tmp_path / "out" / "a.png")
    assert picture.shape[:2] == (8, 6)
    if kind in ("mask", "probability"):
        np.testing.assert_array_equal(picture, inside * 255)
    if kind == "cutout":
        np.testing.assert_array_equal(picture, np.dstack([upright, inside * 255]))


def test_transparent_parts_are_ground(red_model: Path, tmp_path: Path) -> None:
    red = np.ones((6, 8), bool)
    photo = write(tmp_path / "a.png", np.dstack([paint(red), LEFT * np.uint8(255)]))
    run(red_model, photo, out=tmp_path / "out")
    np.testing.assert_array_equal(read(tmp_path / "out" / "a.png"), LEFT * 255)


def test_16_bit_grey_keeps_its_tones(red_model: Path, tmp_path: Path) -> None:
    photo = write(tmp_path / "a.png", np.where(LEFT, 50_000, 15_000).astype(np.uint16))
    run(red_model, photo, out=tmp_path / "out")
    np.testing.assert_array_equal(read(tmp_path / "out" / "a.png"), LEFT * 255)


def write_deep(path: Path, peak: int) -> Path:
    return write(path, np.where(LEFT, peak, 0).astype(np.uint16))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_photos_that_use_few_bits_are_refused_as_in_training(red_model: Path, tmp_path: Path, suffix: str) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    first, second = (write_deep(photos / f"{name}{suffix}", 4095) for name in "ab")
    write(photos / "c.png")
    with pytest.raises(UserError) as refused:
        run(red_model, photos, out=out)
    assert str(refused.value) == (
        f"the 16-bit photos ({first} and 1 more) use 12 of their bits, no value above 4,095, and would be read nearly "
        "black: multiply their values by 16, or save them with 8 bits if they are that dark"
    )
    assert not out.exists()
    write_deep(second, 50_000)  # with it the other one is a dark photo among others
    assert len(run(red_model, photos, out=out).written) == 3


def test_a_photo_alone_that_uses_few_bits_is_refused_wherever_it_is_read(red_model: Path, tmp_path: Path) -> None:
    photo = write_deep(tmp_path / "a.png", 4095)
    sentence = (
        "{} uses 12 of its 16 bits, no value above 4,095, and would be read nearly black: multiply its values by 16, or "
        "save it with 8 bits if it is that dark"
    )
    model = fgbg.load(red_model)
    for ask in (
        lambda: run(red_model, photo, out=tmp_path / "out"),
        lambda: model(photo),
        lambda: answer_photo(model, photo),
    ):
        with pytest.raises(UserError) as refused:
            ask()
        assert str(refused.value) == sentence.format(photo)
    with Image.open(photo) as image, pytest.raises(UserError) as refused:
        model(image)
    assert str(refused.value) == sentence.format("the photo")
    assert not model(write_deep(tmp_path / "b.png", 0)).any()  # black is black, whatever the depth


def test_a_broken_16_bit_photo_is_named_and_keeps_no_other_from_being_written(red_model: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for name in ("a.png", "b.tif"):
        path = write_deep(photos / name, 4095)
        path.write_bytes(path.read_bytes()[:60])
    write(photos / "c.png")
    outcome = run(red_model, photos, out=tmp_path / "out")
    assert [path.name for path in outcome.written] == ["c.png"]
    assert {path.name for path in outcome.failed} == {"a.png", "b.tif"}


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Photos of more than 600 pixels count as too large for memory."""

    monkeypatch.setattr(photo_module, "LARGEST_PHOTO_PIXELS", 600)


@pytest.mark.usefixtures("small_limit")
@pytest.mark.parametrize("kind", KINDS)
def test_a_photo_reduced_on_decoding_is_answered_at_its_own_size(red_model: Path, tmp_path: Path, kind: Kind) -> None:
    inside = np.repeat(np.repeat(LEFT, 7, axis=0), 8, axis=1)  # 42 × 64
    pixels = paint(inside)
    pixels[::2, ::2, 1:] //= 2  # a texture that reducing would blur
    photo = write(tmp_path / "a.png", pixels)
    assert photo_module.open_photo(photo).pixels.shape == (14, 22, 3)
    run(red_model, photo, out=tmp_path / "out", kind=kind)
    picture = read(tmp_path / "out" / "a.png")
    assert picture.shape[:2] == (42, 64)
    if kind == "mask":
        assert np.mean(picture != inside * 255) < 0.05
    if kind == "cutout":
        np.testing.assert_array_equal(picture[..., :3], pixels)


# One answer, whoever asks


@pytest.mark.parametrize("fit", ["squash", "pad", "crop"])
def test_loading_and_calling_answers_as_predict_writes(unet_model: Path, tmp_path: Path, fit: Any) -> None:
    header = make_header(
        network="unet", width=3, size=32, mean=IMAGENET_MEAN, deviation=IMAGENET_DEVIATION, fit=fit, threshold=0.6
    )
    save_model(unet_model, make_network("unet"), header)
    photos = [write(tmp_path / "photos" / f"{index}.png", make_noise(25 + index, 40 - index, index)) for index in range(10)]
    run(unet_model, tmp_path / "photos", out=tmp_path / "mask")
    run(unet_model, tmp_path / "photos", out=tmp_path / "probability", kind="probability")
    model = fgbg.load(unet_model)
    assert model.threshold == 0.6
    for photo in photos:
        probability = model(photo)
        assert probability.dtype == np.float32
        clear = np.abs(probability - model.threshold) > 1e-6  # one photo and a chunk may differ in the last bits
        mask = read(tmp_path / "mask" / photo.name)
        np.testing.assert_array_equal(mask[clear], (probability[clear] > model.threshold) * 255)
        assert np.abs(read(tmp_path / "probability" / photo.name) - 255 * probability).max() <= 0.5 + 1e-3
        np.testing.assert_array_equal(model(str(photo)), probability)
        np.testing.assert_array_equal(model(read(photo)), probability)
        with Image.open(photo) as image:
            np.testing.assert_array_equal(model(image), probability)


def test_a_run_stands_for_its_best_model(red_model: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    red_model.rename(tmp_path / "run" / "best.safetensors")
    assert fgbg.load(tmp_path / "run").header == make_header(size=8)


def test_an_own_network_is_loaded_with_it(tmp_path: Path) -> None:
    save_model(tmp_path / "own.safetensors", wrap_network(RedNetwork()), make_header(network="own:RedNetwork", size=8))
    model = fgbg.load(tmp_path / "own.safetensors", network=RedNetwork())
    np.testing.assert_array_equal(model(paint(LEFT)) > model.threshold, LEFT)


@pytest.mark.parametrize(
    "photo",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((3, 4, 4), np.uint8),
    ],
)
def test_an_array_that_is_no_photo_is_refused(red_model: Path, photo: NDArray[Any]) -> None:
    model = fgbg.load(red_model)
    with unchecked(), pytest.raises(UserError, match=r"uint8 \(height, width, 3\)"):
        model(photo)


@pytest.mark.usefixtures("small_limit")
def test_calling_a_model_with_a_large_photo_answers_at_the_photos_own_size(red_model: Path, tmp_path: Path) -> None:
    photo = write(tmp_path / "a.png", make_noise(42, 64))
    assert fgbg.load(red_model)(photo).shape == (42, 64)


@pytest.mark.parametrize("sort", ["turned by EXIF", "transparent", "16-bit grey"])
def test_a_pillow_image_is_read_as_its_file_is(red_model: Path, tmp_path: Path, sort: str) -> None:
    photo = {
        "turned by EXIF": lambda path: write(path, exif=turned(6)),
        "transparent": lambda path: write(path, np.dstack([paint(LEFT | True), LEFT * np.uint8(255)])),
        "16-bit grey": lambda path: write(path, np.where(LEFT, 50_000, 15_000).astype(np.uint16)),
    }[sort](tmp_path / "a.png")
    model = fgbg.load(red_model)
    with Image.open(photo) as image:
        found = model(image)
    expected = model(photo)
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)


# Large photos


@pytest.mark.parametrize("edges", [(1, 1), (1, 9), (23, 1), (31, 44), (10, 7)])
@pytest.mark.parametrize("strip", [1, 5, 1024])
def test_a_mask_is_written_as_others_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edges: tuple[int, int], strip: int
) -> None:
    """Pillow as the judge; it checks every chunk's sum."""
    monkeypatch.setattr(mask_png, "STRIP", strip)
    mask = np.where(make_noise(*edges)[..., 0] > 128, 255, 0).astype(np.uint8)
    with (tmp_path / "a.png").open("wb") as file:
        mask_png.write_mask(mask, file)
    with Image.open(tmp_path / "a.png") as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "L", edges[::-1])
        np.testing.assert_array_equal(np.asarray(picture), mask)


def test_an_overlay_painted_in_strips_is_the_one_painted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, mask = make_noise(37, 23), (make_noise(37, 23)[..., 0] > 100).astype(np.uint8) * np.uint8(255)
    whole = np.asarray(drawing.draw("overlay", Path(), pixels, mask))
    monkeypatch.setattr(drawing, "STRIP", 5)
    np.testing.assert_array_equal(np.asarray(drawing.draw("overlay", Path(), pixels, mask)), whole)


def test_large_photos_wait_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo_module, "LIGHT_PIXELS", 100)
    assert Photo(make_noise(5, 20), 5, 20).weight == 1
    assert Photo(make_noise(5, 20), 50, 20).weight == 10
    assert predict._weigh_job(Job(write(tmp_path / "a.png", make_noise(50, 20)), tmp_path / "out.png")) == 10
    assert predict._weigh_job(Job(tmp_path / "missing.png", tmp_path / "out.png")) == 1


def test_no_more_is_begun_than_weighs_what_may_wait() -> None:
    begun: list[int] = []

    def weigh(item: int) -> float:
        begun.append(item)
        return item

    results = map_in_order(str, [1, 1, 5, 1, 1, 1], in_flight=4, weigh=weigh)
    assert next(results) == "1"
    assert begun == [1, 1, 5]  # 1 + 1 is less than 4
    next(results)
    assert len(begun) == 3  # 5 is not
    assert len(list(results)) == 4


def test_earlier_predictions_are_not_taken_for_photos(red_model: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    write(photos / "a.webp", lossless=True)
    run(red_model, photos, out=photos / "masks")
    run(red_model, photos, out=photos / "cutouts", kind="cutout")
    assert files_below(photos) == ["a.webp", "cutouts/a.png", "masks/a.png"]


def test_photos_beside_earlier_predictions_are_predicted_and_the_predictions_told(red_model: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    write(photos / "a.webp", lossless=True)
    run(red_model, photos, out=photos / "masks")
    write(photos / "masks" / "new" / "b.png")
    outcome = run(red_model, photos, out=tmp_path / "out")
    assert files_below(tmp_path / "out") == ["a.png", "masks/new/b.png"]
    assert outcome.complain() == [f"passed over: 1 file that fgbg predict wrote before ({photos / 'masks' / 'a.png'})"]


def test_predictions_do_not_go_among_the_photos(red_model: Path, tmp_path: Path) -> None:
    write(tmp_path / "photos" / "a.webp", lossless=True)
    with pytest.raises(UserError, match="is the folder of the photos: choose another"):
        run(red_model, tmp_path / "photos", out=tmp_path / "photos")
    with pytest.raises(UserError, match=r"is the folder of the photo: choose another, or a \.png file"):
        run(red_model, tmp_path / "photos" / "a.webp", out=tmp_path / "photos")


def test_what_a_killed_prediction_left_unfinished_is_removed(red_model: Path, tmp_path: Path) -> None:
    photo, out = write(tmp_path / "a.webp", lossless=True), tmp_path / "out"
    out.mkdir()
    for name, age in ((".a.png.1.partial", 7200), (".b.png.2.partial", 60)):
        (out / name).touch()
        os.utime(out / name, (time.time() - age,) * 2)
    run(red_model, photo, out=out)
    assert files_below(out) == [".b.png.2.partial", "a.png"]


def test_masks_are_noted_as_made_by_the_model_that_was_loaded(
    red_model: Path, unet_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training may replace its model between the moments in which it is hashed and loaded."""
    load, replaced = provenance_module.load_for_many, []

    def load_and_replace(name: str, **options: Any) -> Any:
        model = load(name, **options)
        if not replaced:
            replaced.append(unet_model.replace(red_model))
        return model

    monkeypatch.setattr(provenance_module, "load_for_many", load_and_replace)
    model, digest = provenance_module.load_identified(str(red_model), photo_count=2, device="cpu", refine="")
    assert model.header.network == "unet"
    assert digest == provenance_module.hash_model(str(red_model))
