"""Prediction at scale: what one process writes, byte for byte, whatever happens to the workers."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from numpy.typing import NDArray
from PIL import Image
from pyarrow import fs, parquet
from ray.exceptions import RayError

from fgbg import cli
from fgbg.cores import CORES_VARIABLE, count_cores
from fgbg.data.rle import decode_runs
from fgbg.errors import UserError
from fgbg.ship.jobs import Job, identify_photo
from fgbg.ship.predict import predict_inputs
from fgbg.ship.provenance import Provenance, begin_folder, hash_model, load_identified
from fgbg.ship.scale import flow
from fgbg.ship.scale import plan as plan_module
from fgbg.ship.scale import worker as worker_module
from fgbg.ship.scale.attempts import FOLDER
from fgbg.ship.scale.cluster import open_cluster
from fgbg.ship.scale.parts import drop_rows, find_rows, write_part
from fgbg.ship.scale.plan import Plan, Row, plan_rows
from fgbg.ship.scale.predict import predict_at_scale
from fgbg.ship.scale.store import Store, open_store
from fgbg.ship.scale.worker import Order, Worker

# Ray Data warns of settings of its own, to which it gives values itself.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context"),
    pytest.mark.usefixtures("no_charts"),
]


@pytest.fixture(autouse=True)
def all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker in this process must not leave it with fewer cores."""
    monkeypatch.setenv(CORES_VARIABLE, "")


def draw_photos(folder: Path, count: int = 6, size: int = 48) -> Path:
    """Discs on noise below `folder`, every third in a folder of its own."""
    y, x = np.mgrid[:size, : size + 8]
    for index in range(count):
        random = np.random.default_rng(index)
        disc = np.hypot(x - random.uniform(18, 30), y - random.uniform(18, 30)) < random.uniform(8, 16)
        pixels = random.integers(0, 90, (*disc.shape, 3)) + disc[:, :, None] * np.array([120, 90, 40])
        path = folder / ("more" if index % 3 == 0 else "") / f"{index:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return folder


def write_table(file: Path, photos: Path, *, id_column: str = "id", image_column: str = "image", **options: Any) -> Path:
    """The photos below a folder as a table; ids are places without endings."""
    paths = sorted(photos.rglob("*.png"))
    columns = {
        id_column: [path.relative_to(photos).with_suffix("").as_posix() for path in paths],
        image_column: [path.read_bytes() for path in paths],
    }
    parquet.write_table(pyarrow.table(columns), file, **options)
    return file


PETS = Provenance(hash_model("pets"), "mask", 0.5, "", "")


def read_all(folder: Path) -> dict[str, bytes]:
    """All files below a folder but its records."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".fgbg."))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def read_runs(folder: Path) -> dict[str, NDArray[np.bool_]]:
    """The masks of a folder of parts, of which none may stand in two."""
    rows = parquet.read_table(folder).to_pylist()
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: decode_runs(row["counts"], row["height"], row["width"]) for row in rows}


def predict_here(photos: Path, out: Path, **options: Any) -> dict[str, bytes]:
    predict_inputs([str(photos)], out, say=lambda _: None, **options)
    return read_all(out)


def make_worker(plan: Plan, out: Path, **changes: Any) -> Worker:
    order = {"kind": "mask", "out": out, "photo_count": len(plan.rows), "threads": 1, "refine": "", "device": "cpu"}
    about = {"model": "pets", "model_hash": hash_model("pets"), "making": PETS.making, "store": plan.store}
    out.mkdir(parents=True, exist_ok=True)
    return Worker(Order(**(order | about | changes)))


def make_batch(plan: Plan, done: frozenset[str] = frozenset()) -> Any:
    if plan.table is not None:
        (file,) = plan.table.files
        named = pyarrow.table({"file": [file], "photo": [plan.rows[0].photo]})
        return pyarrow.concat_tables(flow._read_files(named, table=plan.table, done=done, at_a_time=4))
    columns = {"id": [row.id for row in plan.rows], "source": [str(row.source) for row in plan.rows]}
    return pyarrow.table(columns | {"photo": [identify_photo(row) for row in plan.rows]})


def work(inputs: Path | str, out: Path, **changes: Any) -> dict[str, str]:
    """All photos through one worker, without a cluster: each id's problem."""
    plan = plan_rows([str(inputs)], out)
    answers = make_worker(plan, out, **changes)(make_batch(plan)).to_pylist()
    return {answer["id"]: answer["problem"] for answer in answers}


def test_a_worker_draws_at_the_threshold_that_is_asked_for(tmp_path: Path) -> None:
    photos = draw_photos(tmp_path / "photos")
    work(photos, tmp_path / "out", threshold=0.05, making="another")
    expected = predict_here(photos, tmp_path / "here", threshold=0.05)
    assert read_all(tmp_path / "out") == expected != predict_here(photos, tmp_path / "plain")


# What is refused, and how it is said


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--kind rle", "--kind rle goes with --engine ray: add that"),
        ("--workers 4", "--workers goes with --engine ray: add that"),
        ("--address auto", "--address goes with --engine ray: add that"),
        ("--engine ray --workers 0", "--workers 0: at least one is needed"),
        ("--engine ray --device mps", "--device mps: with --engine ray it is cpu or cuda; auto is cpu"),
        (
            "--engine ray --out cut.png",
            "--out cut.png is the file of a single photo, and --engine ray writes to a folder: choose one",
        ),
    ],
)
def test_flags_that_do_not_go_together_are_named(
    flags: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = draw_photos(tmp_path / "photos", 1)
    assert cli.main(["predict", str(photos), "--out", str(tmp_path / "out"), *flags.split()]) == 2
    assert capsys.readouterr().err == f"fgbg: {sentence}\n"
    assert not (tmp_path / "out").exists()


def test_without_the_extra_its_install_line_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(cli.EXTRAS, "ray", ("a_package_that_is_not_there",))
    assert cli.main("predict photos --out out --engine ray".split()) == 2
    assert "this command needs a_package_that_is_not_there: pip install 'fgbg[ray]'" in capsys.readouterr().err


def test_16_bit_photos_that_use_few_bits_are_refused_as_in_the_local_run(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.fromarray(np.full((8, 8), 4095, np.uint16)).save(photos / "a.png")
    for predict in (predict_inputs, predict_at_scale):
        with pytest.raises(UserError, match=r"a\.png uses 12 of its 16 bits"):
            predict([str(photos)], tmp_path / "out")


def test_one_process_reads_no_table(tmp_path: Path) -> None:
    for name in ("photos.parquet", "s3://bucket/photos"):
        with pytest.raises(UserError, match=r"is no file or folder of photos: --engine ray reads Parquet and addresses"):
            predict_inputs([name], tmp_path / "out")


def test_inputs_that_hold_nothing_are_named(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (tmp_path / "empty").mkdir()
    photos = draw_photos(tmp_path / "photos", 1)
    with pytest.raises(UserError, match=r"empty holds neither Parquet nor photos"):
        plan_rows([(tmp_path / "empty").as_uri()], out)
    with pytest.raises(UserError, match=r"none does not exist"):
        plan_rows([(tmp_path / "none").as_uri()], out)
    with pytest.raises(UserError, match=r"strange://x cannot be reached \(Unrecognized filesystem"):
        plan_rows(["strange://x"], out)
    with pytest.raises(UserError, match=r"are predicted alone: name one input a run"):
        plan_rows([photos.as_uri(), str(photos)], out)
    write_table(photos / "a.parquet", photos)
    with pytest.raises(UserError, match=r"holds both Parquet and photos"):
        plan_rows([str(photos)], out)


@pytest.mark.parametrize("earlier", ["png", "parquet"])
@pytest.mark.parametrize("is_address", [True, False])
def test_an_earlier_run_among_the_photos_is_not_predicted(earlier: str, is_address: bool, tmp_path: Path) -> None:
    photos = draw_photos(tmp_path / "photos", 3)
    out = photos / "masks"
    name = photos.as_uri() if is_address else str(photos)
    before = [row.id for row in plan_rows([name], out).rows]
    out.mkdir()
    if earlier == "png":
        shutil.copy(next(photos.glob("*.*")), out / "other.png")
    else:
        parquet.write_table(pyarrow.table({"id": ["a"]}), out / "part-0.parquet")
    assert [row.id for row in plan_rows([name], out).rows] == before
    if is_address:
        with pytest.raises(UserError, match="is the folder of the photos: choose another"):
            plan_rows([name], photos)


def test_tables_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    photos, file = draw_photos(tmp_path / "photos", 2), tmp_path / "a.parquet"
    write_table(file, photos, image_column="picture")
    with pytest.raises(UserError, match=r"has no column image or bytes for the image: it has id, picture"):
        plan_rows([str(file)], tmp_path)
    parquet.write_table(pyarrow.table({"id": ["a", None], "image": [b"", b""]}), file)
    with pytest.raises(UserError, match=r"row 1 has no id"):
        plan_rows([str(file)], tmp_path)
    parquet.write_table(pyarrow.table({"id": ["a"], "image": ["a.jpg"]}), file)
    with pytest.raises(UserError, match=r"column image is string, not the bytes of an image file"):
        plan_rows([str(file)], tmp_path)
    file.write_bytes(b"no table")
    with pytest.raises(UserError, match=r"cannot be read as Parquet"):
        plan_rows([str(file)], tmp_path)


@pytest.mark.parametrize(
    ("ids", "sentence"),
    [
        (["a", "a"], "several photos have the id a: "),
        (["../a", "b"], r"id \.\./a cannot name a file below --out"),
        (["/a", "b"], "id /a cannot name a file below --out"),
        (["", "b"], "cannot name a file below --out"),
    ],
)
def test_ids_that_name_no_file_of_their_own_are_refused(ids: list[str], sentence: str, tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"id": ids, "image": [b"", b""]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=sentence):
        predict_at_scale([str(tmp_path / "a.parquet")], tmp_path / "out")
    assert not (tmp_path / "out").exists()


# One worker, without a cluster


@pytest.mark.parametrize("kind", ["mask", "cutout", "probability"])
@pytest.mark.parametrize("of", ["folder", "address", "table", "table at an address"])
def test_a_worker_writes_what_one_process_writes(of: str, kind: Any, tmp_path: Path) -> None:
    photos = draw_photos(tmp_path / "photos")
    inputs: Path | str = write_table(tmp_path / "a.parquet", photos) if "table" in of else photos
    inputs = Path(inputs).as_uri() if "address" in of else inputs
    problems = work(inputs, tmp_path / "out", kind=kind)
    assert set(problems.values()) == {""}
    (tmp_path / "out" / FOLDER).rmdir()
    assert read_all(tmp_path / "out") == predict_here(photos, tmp_path / "here", kind=kind)


@pytest.mark.parametrize("columns", [("id", "image"), ("path", "bytes"), ("id", "struct")])
def test_runs_are_those_of_the_masks(columns: tuple[str, str], tmp_path: Path) -> None:
    photos, (id_column, image_column) = draw_photos(tmp_path / "photos"), columns
    file = write_table(tmp_path / "a.parquet", photos, id_column=id_column, image_column=image_column)
    if image_column == "struct":  # as Hugging Face's datasets store an image
        table = parquet.read_table(file)
        images = [{"bytes": content, "path": None} for content in table.column("struct").to_pylist()]
        parquet.write_table(pyarrow.table({"id": table.column("id"), "image": images}), file)
    assert set(work(file, tmp_path / "out", kind="rle").values()) == {""}
    masks = predict_here(photos, tmp_path / "here")
    runs = read_runs(tmp_path / "out")
    assert {f"{name}.png" for name in runs} == masks.keys()
    for name, mask in runs.items():
        np.testing.assert_array_equal(mask * 255, np.asarray(Image.open(tmp_path / "here" / f"{name}.png")))
    assert any(mask.any() for mask in runs.values())


@pytest.mark.parametrize("of", ["folder", "address", "table"])
@pytest.mark.parametrize("kind", ["mask", "rle"])
def test_a_broken_photo_is_named_as_a_user_calls_it(of: str, kind: str, tmp_path: Path) -> None:
    photos = draw_photos(tmp_path / "photos")
    (photos / "001.png").write_bytes(b"no photo")
    inputs: Path | str = write_table(tmp_path / "a.parquet", photos) if of == "table" else photos
    problems = work(photos.as_uri() if of == "address" else inputs, tmp_path / "out", kind=kind)
    called = str(photos / "001.png") if of == "folder" else "001"
    assert problems.pop("001") == f"{called} is not an image that can be read: replace it or leave it out"
    assert set(problems.values()) == {""}
    assert len(read_runs(tmp_path / "out") if kind == "rle" else list((tmp_path / "out").rglob("*.png"))) == 5


def test_a_row_without_bytes_and_a_file_that_went_are_named(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"id": ["a"], "image": pyarrow.array([None], "binary")}), tmp_path / "a.parquet")
    assert "a is not an image" in work(tmp_path / "a.parquet", tmp_path / "out")["a"]
    photos = draw_photos(tmp_path / "photos", 2)
    plan = plan_rows([photos.as_uri()], tmp_path / "out")
    batch = make_batch(plan)
    (photos / "001.png").unlink()
    answers = make_worker(plan, tmp_path / "out")(batch).to_pylist()
    assert [bool(answer["problem"]) for answer in answers] == [True, False]
    assert "001.png cannot be read" in answers[0]["problem"]


def test_a_worker_leaves_the_other_cores_alone(tmp_path: Path) -> None:
    _ = make_worker(Plan([]), tmp_path, threads=1).model
    assert count_cores() == 1


def test_a_worker_with_another_model_or_version_refuses(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"pets is another file where a worker runs"):
        _ = make_worker(Plan([]), tmp_path, model_hash="0123456789ab").model
    with pytest.raises(UserError, match=r"a worker has fgbg .*, not 0\.0\.0"):
        _ = make_worker(Plan([]), tmp_path, fgbg_version="0.0.0").model


def test_a_photo_that_ends_its_workers_is_left_out_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos, out = draw_photos(tmp_path / "photos"), tmp_path / "out"
    open_jobs = worker_module.predict_files

    def die(model: Any, jobs: Any, **options: Any) -> Any:
        if any(job.source.name == "004.png" for job in jobs):
            raise KeyboardInterrupt  # nothing after it is done, as after a kill
        return open_jobs(model, jobs, **options)

    monkeypatch.setattr(worker_module, "predict_files", die)
    for _ in range(3):  # all of them, then twice this one
        with pytest.raises(KeyboardInterrupt):
            work(photos, out)
    problems = work(photos, out)
    assert problems.pop("004") == "004 ended 2 workers that were at nothing else: leave it out"
    assert set(problems.values()) == {""}
    assert len(list(out.rglob("*.png"))) == 5


def test_rows_that_are_done_are_not_read_again(tmp_path: Path) -> None:
    file = write_table(tmp_path / "a.parquet", draw_photos(tmp_path / "photos"))
    batch = make_batch(plan_rows([str(file)], tmp_path), frozenset({"001", "002"}))
    assert batch.column("id").to_pylist() == ["004", "005", "more/000", "more/003"]


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill_the_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    plan = plan_rows([str(draw_photos(tmp_path / "photos", 1))], tmp_path / "out")
    monkeypatch.setattr("fgbg.ship.predict.write_picture", fill_the_disk)
    (answer,) = make_worker(plan, tmp_path / "out")(make_batch(plan)).to_pylist()
    assert "No space left on device" in answer["refusal"]


# A store that no path of this machine leads to


@pytest.fixture
def far_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose content `far://photos` names, as an object store would: its paths mean nothing to this machine."""
    folder = tmp_path / "far"
    folder.mkdir()
    filesystem = fs.SubTreeFileSystem(str(folder), fs.LocalFileSystem())
    monkeypatch.setattr(plan_module, "open_store", lambda name: Store(name, filesystem, "photos"))
    return folder


def test_a_run_over_a_store_goes_on(far_away: Path, tmp_path: Path) -> None:
    photos, out = draw_photos(far_away / "photos"), tmp_path / "out"
    assert set(work("far://photos", out).values()) == {""}
    (out / FOLDER).rmdir()
    assert read_all(out) == predict_here(photos, tmp_path / "here")
    os.utime(photos / "002.png", (1e9, 1e9))  # another photo, though older than the mask
    todo, _ = begin_folder(plan_rows(["far://photos"], out).rows, out, PETS, force=False)
    assert [job.source.name for job in todo] == ["002.png"]


def test_a_store_that_is_gone_ends_the_run(far_away: Path, tmp_path: Path) -> None:
    photos = draw_photos(far_away / "photos")
    plan = plan_rows(["far://photos"], tmp_path / "out")
    batch, worker = make_batch(plan), make_worker(plan, tmp_path / "out")
    photos.rename(far_away / "elsewhere")
    refusals = {answer["refusal"] for answer in worker(batch).to_pylist()}
    assert len(refusals) == 1
    (refusal,) = refusals
    assert refusal.startswith("far://photos cannot be reached any more (")
    assert refusal.endswith("): run the same command again, it goes on from here")
    (far_away / "elsewhere").rename(photos)
    assert {(answer["problem"], answer["refusal"]) for answer in worker(batch).to_pylist()} == {("", "")}


def test_a_password_in_an_address_is_not_shown() -> None:
    with pytest.raises(UserError) as caught:
        open_store("strange://user:secret@host/photos")
    assert str(caught.value).startswith("strange://host/photos cannot be reached (")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (OSError("AWS Error NETWORK_CONNECTION\nTo change retry attempts, …"), "AWS Error NETWORK_CONNECTION"),
        (FileNotFoundError(2, "No such file", "To change retry attempts, …"), "No such file"),
        (None, "the actor died"),
    ],
)
def test_what_failed_is_told_in_a_line(raised: Exception | None, told: str) -> None:
    error = RayError("a traceback\nthe actor died")
    error.cause = raised  # type: ignore[attr-defined]
    assert flow._tell_reason(error) == told


# Parts


def test_the_same_photos_make_the_same_part_and_rows_can_be_dropped(tmp_path: Path) -> None:
    row = {"height": 1, "width": 2, "threshold": 0.5, "expected_dice": 1.0, "counts": [2], "made_of": "a photo"}
    rows = [{"id": name, **row} for name in "abc"]
    write_part(tmp_path, rows)
    before = read_all(tmp_path)
    write_part(tmp_path, rows)
    assert read_all(tmp_path) == before
    ((part, made_of),) = set(find_rows(tmp_path).values())
    assert made_of == "a photo"
    drop_rows(find_rows(tmp_path), {"b", "z"})
    assert find_rows(tmp_path) == {"a": (part, made_of), "c": (part, made_of)}
    drop_rows(find_rows(tmp_path), {"a", "c"})
    assert read_all(tmp_path) == {}
    part.write_bytes(b"half a file")
    with pytest.raises(UserError, match=r"is damaged .*: remove it, then go on"):
        find_rows(tmp_path)


@pytest.fixture
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """One worker in this process instead of several on a cluster."""

    def compute(order: Order, plan: Plan, todo: Sequence[Row], **_: Any) -> dict[str, str]:
        answers = Worker(order)(make_batch(replace(plan, rows=list(todo)))).to_pylist()
        return {answer["id"]: answer["problem"] for answer in answers}

    monkeypatch.setattr("fgbg.ship.scale.predict._compute_all", compute)


@pytest.mark.usefixtures("no_cluster")
@pytest.mark.parametrize("kind", ["mask", "rle"])
@pytest.mark.parametrize("of", ["folder", "address", "table"])
def test_another_photo_of_the_same_name_is_not_taken_for_done(kind: Any, of: str, tmp_path: Path) -> None:
    one, two, out = draw_photos(tmp_path / "one", 2), draw_photos(tmp_path / "two", 3), tmp_path / "out"
    (two / "001.png").write_bytes((two / "002.png").read_bytes())
    os.utime(two / "001.png", (1e9, 1e9))
    inputs = []
    for folder in (one, two):
        file = write_table(tmp_path / f"{folder.name}.parquet", folder) if of == "table" else folder
        inputs.append(file.as_uri() if of == "address" else str(file))
    for index, count in ((0, 2), (0, 0), (1, 3), (1, 0)):
        assert len(predict_at_scale([inputs[index]], out, kind=kind).written) == count
    masks = predict_here(two, tmp_path / "here")
    if kind == "mask":
        assert read_all(out) == masks
    else:
        runs = read_runs(out)
        np.testing.assert_array_equal(runs["001"], runs["002"])
        assert {f"{name}.png" for name in runs} == masks.keys()


@pytest.mark.usefixtures("no_cluster")
def test_each_engine_goes_on_where_the_other_stopped(tmp_path: Path) -> None:
    photos, out = draw_photos(tmp_path / "photos", 2), tmp_path / "out"
    predict_here(photos, out)
    draw_photos(tmp_path / "photos", 4)
    assert predict_at_scale([str(photos)], out).already == 0  # drawn anew
    (out / "001.png").unlink()
    assert predict_at_scale([photos.as_uri()], out).already == 3
    assert predict_inputs([str(photos)], out).already == 4
    with pytest.raises(UserError, match=r"out holds predictions of another kind: choose another --out, or --force"):
        predict_at_scale([str(photos)], out, kind="rle")


@pytest.mark.usefixtures("no_cluster")
def test_a_row_of_a_photo_that_now_has_another_one_goes(tmp_path: Path) -> None:
    photos, out = draw_photos(tmp_path / "photos", 2), tmp_path / "out"
    predict_at_scale([str(photos)], out, kind="rle")
    Image.open(photos / "001.png").save(photos / "001.bmp")
    assert len(predict_at_scale([str(photos)], out, kind="rle").written) == 2
    assert read_runs(out).keys() == {"001.png", "001.bmp", "more/000"}


# Two workers on a cluster of this machine


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with open_cluster("", workers=2, threads=1):
        yield


def kill_a_worker(out: Path, enough: int, killed: list[int]) -> None:
    """Once there are enough files, end one of this process's workers as the system would."""
    # Counted by name: a file that is still being written may be gone, or have another name, before it is opened.
    while sum(not path.name.startswith(".") for path in out.rglob("*")) < enough:
        if killed:  # told to stop
            return
        threading.Event().wait(0.01)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _is_our_worker(int(entry.name)):
            os.kill(int(entry.name), signal.SIGKILL)
            killed.append(int(entry.name))
            return


def _is_our_worker(pid: int) -> bool:
    try:
        if b"MapWorker" not in Path(f"/proc/{pid}/cmdline").read_bytes():
            return False
        while pid > 1 and pid != os.getpid():
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return False
    return pid == os.getpid()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mask", "rle"])
def test_a_worker_that_is_killed_changes_nothing(cluster: None, kind: Any, tmp_path: Path) -> None:
    photos, out = draw_photos(tmp_path / "photos", 120), tmp_path / "out"
    killed: list[int] = []
    killer = threading.Thread(target=kill_a_worker, args=(out, 20 if kind == "mask" else 3, killed))
    killer.start()
    try:
        outcome = predict_at_scale([str(photos)], out, kind=kind)
    finally:
        was_killed = bool(killed)
        killed.append(0)
        killer.join()
    assert was_killed, "all was done before a worker could be killed"
    assert outcome.failed == {}
    assert len(outcome.written) == 120
    masks = predict_here(photos, tmp_path / "here")
    if kind == "mask":
        assert read_all(out) == masks
    else:
        runs = read_runs(out)
        assert {f"{name}.png" for name in runs} == masks.keys()


@pytest.mark.slow
def test_undisturbed_broken_continued(cluster: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, out = draw_photos(tmp_path / "photos", 30), tmp_path / "out"
    (photos / "001.png").write_bytes(b"no photo")
    command = ["predict", str(photos), "--out", str(out), "--engine", "ray", "--workers", "2"]
    assert cli.main(command) == 2
    printed = capsys.readouterr()
    assert f"{out}: 29 files written" in printed.out
    assert f"left out: {photos / '001.png'} is not an image that can be read" in printed.err
    assert read_all(out) == predict_here(photos, tmp_path / "here")
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"

    (photos / "001.png").write_bytes((photos / "002.png").read_bytes())
    (out / "004.png").unlink()
    assert cli.main(command) == 0
    assert f"{out}: 2 files written, 28 from before" in capsys.readouterr().out
    assert cli.main(command) == 0
    assert f"{out}: 0 files written, 30 from before" in capsys.readouterr().out


@pytest.mark.slow
def test_a_table_in_and_runs_out_and_on_from_there(cluster: None, tmp_path: Path) -> None:
    photos, tables, out = draw_photos(tmp_path / "photos", 30), tmp_path / "tables", tmp_path / "out"
    tables.mkdir()
    table = parquet.read_table(write_table(tmp_path / "a.parquet", photos))
    for number, start in enumerate((0, 11)):  # one file of several groups of rows, and one of one
        parquet.write_table(table.slice(start, 11 if start == 0 else None), tables / f"{number}.parquet", row_group_size=19)
    first = predict_at_scale([tables.as_uri()], out, kind="rle")
    assert first.describe(out) == f"{out}: 30 rows written"
    masks = predict_here(photos, tmp_path / "here")
    for name, mask in read_runs(out).items():
        np.testing.assert_array_equal(mask * 255, np.asarray(Image.open(tmp_path / "here" / f"{name}.png")))

    part = next(out.glob("part-*"))
    lost = parquet.read_table(part).num_rows
    part.unlink()
    second = predict_at_scale([tables.as_uri()], out, kind="rle")
    assert (len(second.written), second.already) == (lost, 30 - lost)
    assert {f"{name}.png" for name in read_runs(out)} == masks.keys()
    os.utime(tables / "0.parquet", (1e9, 1e9))  # its photos may be others
    third = predict_at_scale([tables.as_uri()], out, kind="rle")
    assert len(third.written) == 11
    assert len(read_runs(out)) == 30

    assert predict_at_scale([str(tables)], tmp_path / "masks").failed == {}
    assert read_all(tmp_path / "masks") == masks


@pytest.mark.slow
def test_a_cluster_too_small_and_what_a_worker_refuses_are_said(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = draw_photos(tmp_path / "photos", 2)
    with pytest.raises(UserError, match=r"--workers 9 needs 10 cores, and the cluster has 3: take fewer"):
        predict_at_scale([str(photos)], tmp_path / "out", workers=9)
    monkeypatch.setattr(
        "fgbg.ship.scale.predict.load_identified",
        lambda name, **options: (load_identified(name, **options)[0], "0123456789ab"),
    )
    with pytest.raises(UserError, match=r"^pets is another file where a worker runs"):
        predict_at_scale([str(photos)], tmp_path / "out", force=True)


def test_file_systems_are_told_apart(tmp_path: Path) -> None:
    photos = draw_photos(tmp_path / "photos", 3)
    assert plan_rows([str(photos)], tmp_path / "out").store is None
    plan = plan_rows([photos.as_uri()], tmp_path / "out")
    assert plan.store is not None
    assert isinstance(plan.store.filesystem, fs.LocalFileSystem)
    assert [row.id for row in plan.rows] == ["001", "002", "more/000"]
    assert all(row.photo == identify_photo(Job(row.source, row.target)) for row in plan.rows)
