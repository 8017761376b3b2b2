"""`fgbg serve`: the answers of `fgbg predict`, refusals in a sentence, a page that asks nobody else, a clean end."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from fgbg import cli
from fgbg.data.rle import encode_runs
from fgbg.ship.jobs import plan_jobs
from fgbg.ship.photo import AnyPhoto, Photo, open_photo
from fgbg.ship.predict import predict_files, predict_inputs
from fgbg.ship.refine import Refined
from fgbg.ship.serve import connections
from fgbg.ship.serve.app import LOCAL_HOSTS, PAGE, make_app
from fgbg.ship.serve.connections import OncePerMinute
from fgbg.ship.serve.limits import Limits, UploadLimits
from fgbg.ship.serve.server import make_server
from fgbg.words import Kind
from trivial import make_header

KINDS: tuple[Kind, ...] = ("mask", "cutout", "overlay", "probability")


class Redness:
    """How red a pixel is, is how probable object is."""

    header = make_header(threshold=0.5, data="drawn")
    threshold = 0.5
    one_by_one = False

    def __init__(self) -> None:
        self.has_begun, self.may_go_on = threading.Event(), threading.Event()
        self.may_go_on.set()

    def __call__(self, photo: AnyPhoto) -> NDArray[np.float32]:
        self.has_begun.set()
        assert self.may_go_on.wait(20)
        return open_photo(photo).pixels[:, :, 0].astype(np.float32) / 255

    def answer(self, photos: Iterable[Photo]) -> Iterator[tuple[Photo, NDArray[np.float32]]]:
        return ((photo, self(photo)) for photo in photos)


def red_square(height: int = 20, width: int = 30) -> Image.Image:
    pixels = np.full((height, width, 3), 20, np.uint8)
    pixels[5:15, 4:10, 0] = np.linspace(100, 255, 6)
    return Image.fromarray(pixels)


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def make_client(model: Any = None, limits: Limits | None = None) -> TestClient:
    return TestClient(make_app(model or Redness(), "red", limits), base_url="http://127.0.0.1:8000")


@pytest.fixture
def client() -> TestClient:
    return make_client()


def send(client: TestClient, content: bytes, name: str = "photo.png", **query: Any) -> Any:
    return client.post("/predict", files={"file": (name, content)}, params=query)


FORM = {"Content-Type": "multipart/form-data; boundary=x"}
FORM_HEAD = b'--x\r\ncontent-disposition: form-data; name="file"; filename="a.png"\r\n\r\n'


def make_form(photo: Path) -> bytes:
    return FORM_HEAD + photo.read_bytes() + b"\r\n--x--\r\n"


def comes_true(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 10
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


# Answers


def test_soft_edges_are_offered_where_their_libraries_are(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.get("/metadata").json()["soft_edges"] is True
    for place in ("fgbg.ship.matte.list_absent", "fgbg.ship.serve.app.list_absent"):
        monkeypatch.setattr(place, lambda: ["pymatting"])
    assert client.get("/metadata").json()["soft_edges"] is False
    refused = send(client, encode(red_square()), kind="soft")
    assert refused.status_code == 422
    assert refused.json()["detail"] == "soft edges need pymatting: pip install 'fgbg[refine]'"


@pytest.mark.parametrize(
    "kind",
    [*KINDS, pytest.param("soft", marks=pytest.mark.slow)],  # its library compiles itself when it is first used: a minute
)
@pytest.mark.parametrize("turned", [False, True])
def test_a_picture_is_byte_for_byte_what_predict_writes(
    client: TestClient, tmp_path: Path, kind: Kind, turned: bool
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6 if turned else 1
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(encode(red_square(), "JPEG", exif=exif, quality=95))
    answer = send(client, photo.read_bytes(), kind=kind)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    predict_files(Redness(), plan_jobs([photo], tmp_path / "out"), kind=kind)
    assert answer.content == (tmp_path / "out" / "photo.png").read_bytes()
    assert Image.open(io.BytesIO(answer.content)).size == ((20, 30) if turned else (30, 20))


def test_json_by_hand(client: TestClient) -> None:
    # Red of 100, 131, 162, 193, 224, 255 in columns 4 to 9 of 10 rows: four of the columns are above one half.
    told = send(client, encode(red_square())).json()
    assert (told["height"], told["width"], told["threshold"], told["found"]) == (20, 30, 0.5, True)
    assert told["object_share"] == pytest.approx(50 / 600)
    assert told["highest_probability"] == 1
    inside = 10 * (131 + 162 + 193 + 224 + 255) / 255
    everything = inside + (10 * 100 + (600 - 60) * 20) / 255
    assert told["expected_dice"] == pytest.approx(2 * inside / (50 + everything))
    # Down the columns: five whole ones and 5 pixels of ground, then 10 of object and 10 of ground, five times.
    assert told["rle"] == {"size": [20, 30], "counts": [105, 10, 10, 10, 10, 10, 10, 10, 10, 10, 405]}


def test_nothing_is_said_to_be_nothing(client: TestClient) -> None:
    told = send(client, encode(Image.new("RGB", (4, 4), (51, 0, 0)))).json()
    assert (told["found"], told["object_share"], told["rle"]["counts"]) == (False, 0, [16])
    assert told["expected_dice"] == pytest.approx(0.8)


def test_another_threshold(client: TestClient) -> None:
    told = send(client, encode(red_square()), threshold=0.9).json()
    assert (told["threshold"], told["object_share"]) == (0.9, pytest.approx(10 / 600))
    mask = Image.open(io.BytesIO(send(client, encode(red_square()), kind="mask", threshold=0.9).content))
    assert (np.asarray(mask) == 255).sum() == 10


def test_steps_after_the_network_see_the_mask_at_the_threshold_that_was_asked_for() -> None:
    pixels = np.full((8, 30, 3), 20, np.uint8)
    pixels[2:6, 2:8, 0] = 255
    pixels[2:6, 8:22, 0] = 100  # joins the two parts at 0.3, not at the model's 0.5
    pixels[2:6, 22:26, 0] = 255
    client = make_client(Refined(Redness(), ("largest",)))
    for threshold, share in ((0.3, 24 * 4 / 240), (0.5, 6 * 4 / 240), (None, 6 * 4 / 240)):
        query = {} if threshold is None else {"threshold": threshold}
        assert send(client, encode(Image.fromarray(pixels)), **query).json()["object_share"] == pytest.approx(share)


def test_runs_of_any_mask_give_it_back() -> None:
    random = np.random.default_rng(0)
    for share in (0.0, 0.3, 1.0):
        mask = random.random((7, 5)) < share
        runs = encode_runs(mask)
        values = np.arange(len(runs)) % 2
        assert (mask == np.repeat(values, runs).reshape(5, 7).T).all()
        assert all(run > 0 for run in runs[1:])


def test_what_it_says_of_itself(client: TestClient) -> None:
    assert client.get("/health").json() == {"status": "ok"}
    told = client.get("/metadata").json()
    assert (told["model"], told["data"], told["threshold"]) == ("red", "drawn", 0.5)
    assert told["limits"] == {"megabytes": 50, "megapixels": 50}
    described = client.get("/openapi.json").json()
    assert set(described["paths"]) == {"/health", "/metadata", "/predict"}
    assert {"413", "415", "422", "429"} < set(described["paths"]["/predict"]["post"]["responses"])


# Refusals


def make_bomb() -> bytes:
    """A PNG of a few bytes that says it has 40,000 x 40,000 pixels."""
    small = encode(Image.new("L", (1, 1)))
    header = b"IHDR" + (40_000).to_bytes(4, "big") * 2 + small[24:29]
    return small[:12] + header + zlib.crc32(header).to_bytes(4, "big") + small[33:]


@pytest.mark.parametrize(
    ("content", "status", "sentence"),
    [
        (b"not a photo at all", 415, "photo.jpg is not an image that can be read"),
        (b"", 415, "photo.jpg is not an image"),
        (encode(red_square(), "JPEG")[:-200], 415, "photo.jpg is damaged"),
        (make_bomb(), 413, "photo.jpg has more than 179 million pixels"),
        (encode(Image.new("F", (4, 4)), "TIFF"), 415, "photo.jpg holds floating-point values"),
        (encode(Image.fromarray(np.full((4, 4), 4095, np.uint16))), 415, "photo.jpg uses 12 of its 16 bits"),
        (encode(Image.new("L", (1100, 1000))), 413, "1100x1000 pixels are more than 1 megapixels: reduce the photo first"),
    ],
)
def test_what_is_no_photo_is_refused(content: bytes, status: int, sentence: str) -> None:
    answer = send(make_client(limits=Limits(megapixels=1)), content, "photo.jpg")
    assert answer.status_code == status
    assert answer.json()["detail"].startswith(sentence)
    assert "/" not in answer.json()["detail"], "no path of the server's"


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"kind": "mas"}, "kind: input should be 'json', 'mask'"),
        ({"threshold": "high"}, "threshold: input should be a valid number"),
        ({"threshold": 1.5}, "threshold: input should be less than or equal to 1"),
        ({"treshold": 0.9}, "unknown query parameter 'treshold': choose one of kind, threshold (did you mean 'threshold'?)"),
        ({"threshold": [0.1, 0.9]}, "threshold is given 2 times: once is enough"),
    ],
)
def test_values_that_cannot_be_used(client: TestClient, query: dict[str, Any], sentence: str) -> None:
    answer = send(client, encode(red_square()), **query)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(sentence)


def test_a_form_without_a_photo(client: TestClient) -> None:
    answer = client.post("/predict", data={"name": "x"})
    assert (answer.status_code, answer.json()["detail"]) == (422, "file: field required")
    answer = client.post("/predict", data={"file": "x"})
    told = "file: text, where a photo is expected: for curl, -F file=@photo.jpg"
    assert (answer.status_code, answer.json()["detail"]) == (422, told)
    answer = client.post("/predict", content=b"not a form", headers=FORM)
    assert (answer.status_code, list(answer.json())) == (400, ["detail"])
    assert client.get("/predict").status_code == 405


def test_a_form_with_more_than_a_photo(client: TestClient) -> None:
    photo = ("photo.png", encode(red_square()))
    answer = client.post("/predict", files={"file": photo}, data={"threshold": "0.9"})
    told = "unknown form field 'threshold': choose one of file; the rest stands in the address, as in /predict?kind=mask"
    assert (answer.status_code, answer.json()["detail"]) == (422, told)
    answer = client.post("/predict", files=[("file", photo), ("file", photo)])
    assert (answer.status_code, answer.json()["detail"]) == (422, "file is given 2 times: once is enough")


def test_too_many_bytes_are_refused_before_they_are_sent() -> None:
    answer = send(make_client(limits=Limits(megabytes=0.1)), bytes(200_000))
    assert answer.status_code == 413
    assert answer.json()["detail"] == "more than 0.1 megabytes: send a smaller file"


async def exchange(app: Any, messages: AsyncIterator[Message]) -> list[Message]:
    """What a POST of these messages gets, without a web server between."""
    headers = [(b"host", b"localhost"), *((name.lower().encode(), value.encode()) for name, value in FORM.items())]
    scope: Scope = {"type": "http", "method": "POST", "path": "/predict", "headers": headers, "query_string": b""}
    sent: list[Message] = []

    async def receive() -> Message:
        return await anext(messages)

    async def answer(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, answer)
    return sent


async def read_all(_scope: Scope, receive: Receive, send: Send) -> None:
    """An application that answers when the upload is whole."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def endless(pause: float) -> AsyncIterator[Message]:
    yield {"type": "http.request", "body": FORM_HEAD, "more_body": True}
    while True:
        await asyncio.sleep(pause)
        yield {"type": "http.request", "body": bytes(10_000), "more_body": True}


@pytest.mark.parametrize(
    ("pause", "status", "sentence"),
    [
        (0.0, 413, "more than 0.1 megabytes: send a smaller file"),
        (0.1, 408, "the upload took longer than 0.25 seconds: try again"),
    ],
)
def test_an_upload_without_an_end_is_ended(pause: float, status: int, sentence: str) -> None:
    limits = Limits(megabytes=0.1, seconds=0.25)
    alone = UploadLimits(read_all, limits)
    for app in (alone, make_app(Redness(), "red", limits)):
        start, *bodies = asyncio.run(exchange(app, endless(pause)))
        assert start["status"] == status
        assert json.loads(b"".join(body["body"] for body in bodies)) == {"detail": sentence}
    assert alone.arrived == 0


def test_a_crowd_is_told_to_come_again() -> None:
    model = Redness()
    model.may_go_on.clear()
    answers: list[int] = []
    with TestClient(make_app(model, "red", Limits(at_once=1)), base_url="http://127.0.0.1") as client:  # one event loop
        first = threading.Thread(target=lambda: answers.append(send(client, encode(red_square())).status_code))
        first.start()
        assert model.has_begun.wait(20)
        refused = send(client, encode(red_square()))
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["detail"] == "photos being worked on: 1, the most at once; try again in a second"
        model.may_go_on.set()
        first.join()
        assert answers == [200]
        assert send(client, encode(red_square())).status_code == 200


def test_a_request_that_the_server_gives_up_is_told_so_and_takes_its_photo_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    model = Redness()
    model.may_go_on.clear()
    app = make_app(model, "red", Limits(computing=1))
    photo = tmp_path / "photo.png"
    photo.write_bytes(encode(red_square()))

    async def whole() -> AsyncIterator[Message]:
        yield {"type": "http.request", "body": make_form(photo), "more_body": False}

    async def stop() -> list[list[Message]]:
        requests = [asyncio.create_task(exchange(app, whole())) for _ in range(3)]
        await asyncio.to_thread(model.has_begun.wait, 20)
        assert len(list(tmp_path.glob("fgbg-*/photo"))) == 1
        for request in requests:
            request.cancel()
        return await asyncio.gather(*requests)

    try:
        for start, body in asyncio.run(stop()):
            assert start["status"] == 503
            assert dict(start["headers"])[b"retry-after"] == b"5"
            assert json.loads(body["body"]) == {"detail": "the server is being stopped: try again in a few seconds"}
        assert list(tmp_path.iterdir()) == [photo]
    finally:
        model.may_go_on.set()


# Connections


@contextmanager
def running(limits: Limits) -> Iterator[tuple[str, int]]:
    """A web server's address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = make_server(make_app(Redness(), "red", limits), limits)
        thread = threading.Thread(target=lambda: server.run(sockets=[listener]))
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            server.should_exit = True
            thread.join(20)


def ask_health(address: tuple[str, int]) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{address[1]}/health", timeout=20) as answer:
        return answer.status


def has_ended(connection: socket.socket) -> bool:
    connection.settimeout(0.05)
    try:
        return connection.recv(100) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


def test_whoever_has_sent_nothing_for_longest_makes_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fgbg.ship.serve.limits.SPARE_CONNECTIONS", 9)
    with running(Limits(at_once=1)) as address, ExitStack() as stack:
        idle = [stack.enter_context(socket.create_connection(address)) for _ in range(30)]
        assert ask_health(address) == 200
        assert [has_ended(each) for each in idle] == [True] * 22 + [False] * 8  # and one for its answer


@pytest.mark.parametrize("before", [b"", b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_a_request_that_never_becomes_whole_is_not_waited_for(before: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.4)
    with running(Limits()) as address, socket.create_connection(address) as connection:
        connection.sendall(before)
        if before:
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")

        def drips_in_vain() -> bool:
            connection.sendall(b"G")
            return has_ended(connection)

        assert comes_true(drips_in_vain)


def test_the_same_trouble_is_logged_once_a_minute() -> None:
    kept = OncePerMinute("socket.accept() out of system resource")

    def log(message: str, created: float) -> bool:
        record = logging.LogRecord("asyncio", logging.ERROR, "", 0, message, None, None)
        record.created = created
        return bool(kept.filter(record))

    trouble = "socket.accept() out of system resource\nsocket: 7"
    assert [log(trouble, seconds) for seconds in (100, 100.1, 159, 161, 162)] == [True, False, False, True, False]
    assert log("another", 162)
    assert log("another", 162)


# The page


def test_the_page_asks_nobody_else(client: TestClient) -> None:
    for address, (_, media_type) in PAGE.items():
        answer = client.get(address)
        assert answer.headers["content-type"] == f"{media_type}; charset=utf-8"
        assert "http://" not in answer.text
        assert "https://" not in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    page = client.get("/").text
    asked = set(re.findall(r'(?:src|href)="([^"]+)"', page)) - {"data:,"}
    assert asked <= {*PAGE, "/openapi.json"}
    assert "<style" not in page
    assert " style=" not in page
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404


def test_every_part_that_the_script_names_is_on_the_page(client: TestClient) -> None:
    script, page = client.get("/page.js").text, client.get("/").text
    named = set(re.findall(r'\$\("([\w-]+)"\)', script))
    assert len(named) > 15
    assert named <= set(re.findall(r'id="([\w-]+)"', page))


def test_another_name_of_this_machine_is_not_answered() -> None:
    app = make_app(Redness(), "red")
    assert TestClient(app, base_url="http://evil.example").get("/metadata").status_code == 400
    assert TestClient(app, base_url="http://localhost:8000").get("/metadata").status_code == 200
    proxied = make_app(Redness(), "red", hosts=("cut.example",))
    assert TestClient(proxied, base_url="http://cut.example").get("/metadata").status_code == 200


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1:8000", 200),
        ("http://[::1]:8000", "[::1]:8000", 200),
        ("https://cut.example", "cut.example", 200),
        ("https://cut.example:8443", "cut.example", 200),  # a proxy's port need not be told
        ("https://cut.example", "127.0.0.1:8000", 200),  # nor its name
        ("http://evil.example", "127.0.0.1:8000", 403),
        ("http://127.0.0.1.evil.example:8000", "127.0.0.1:8000", 403),
        ("http://localhost:3000", "localhost:8000", 403),
        ("http://localhost:3000", "127.0.0.1:8000", 403),
        ("null", "127.0.0.1:8000", 403),
    ],
)
def test_a_page_of_another_site_computes_nothing(origin: str, host: str, status: int) -> None:
    app = make_app(Redness(), "red", hosts=(*LOCAL_HOSTS, "cut.example"))
    form = {"file": ("photo.png", encode(red_square()))}
    client = TestClient(app, base_url="http://127.0.0.1:8000", headers={"Host": host, "Origin": origin})
    answer = client.post("/predict", files=form)
    assert answer.status_code == status
    assert (status == 200) or f"Origin {origin} is not this server's" in answer.json()["detail"]


def test_a_probe_need_not_know_the_name() -> None:
    probe = TestClient(make_app(Redness(), "red"), base_url="http://10.1.2.3:8000")
    assert probe.get("/health").json() == {"status": "ok"}
    assert probe.head("/health").status_code == 200
    assert probe.get("/").status_code == 400
    client = make_client()
    for address in PAGE:
        head = client.head(address)
        assert (head.status_code, head.headers["content-length"]) == (200, client.get(address).headers["content-length"])


# The command

BLOCK = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "scipy", "jinja2", "matplotlib", "safetensors", "onnx", "accelerate"}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Blocker())
from fgbg.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_the_server_needs_no_torch_answers_and_ends_when_told(tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(encode(red_square(64, 80)))
    command = [sys.executable, "-c", BLOCK, "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stderr is not None
            assert server.stdout.readline().startswith("model pets: timm_unet")
            found = re.match(r"page: (http://127\.0\.0\.1:\d+/)   stop it with Ctrl-C", server.stdout.readline())
            assert found is not None
            predict_inputs([str(photo)], tmp_path / "out", kind="mask", say=lambda line: None)
            request = urllib.request.Request(f"{found[1]}predict?kind=mask", make_form(photo), FORM)
            with urllib.request.urlopen(request, timeout=20) as answer:
                assert answer.read() == (tmp_path / "out" / "photo.png").read_bytes()
            server.send_signal(signal.SIGINT)
            assert server.wait(20) == 0
            assert server.stderr.read() == ""
        finally:
            server.kill()


SLOW = """
import sys, time
from fgbg.ship.serve import server
from test_serve import Redness
class Slow(Redness):
    def __call__(self, photo):
        time.sleep(3)
        return super().__call__(photo)
server.LAST_ANSWERS = 1
server.load_for_many = lambda *_, **__: Slow()
server.describe_model = lambda *_: "slow"
server.serve("slow", port=0, say=lambda line: print(line, flush=True))
"""


@pytest.mark.long
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_busy_server_ends_when_told_and_leaves_nothing_behind(how: signal.Signals, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(encode(red_square()))
    folder = tmp_path / "temporary"
    folder.mkdir()
    environment = {**os.environ, "TMPDIR": str(folder), "FGBG_CORES": "1"}
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    statuses: list[int] = []

    def ask(page: str) -> None:
        try:
            with urllib.request.urlopen(
                urllib.request.Request(f"{page}predict", make_form(photo), FORM), timeout=20
            ) as answer:
                statuses.append(answer.status)
        except urllib.error.HTTPError as error:
            statuses.append(error.code)
            error.close()

    with subprocess.Popen([sys.executable, "-c", SLOW], cwd=Path(__file__).parent, env=environment, **pipes) as server:
        try:
            assert server.stdout is not None
            assert server.stderr is not None
            server.stdout.readline()
            page = server.stdout.readline().split()[1]
            clients = [threading.Thread(target=ask, args=(page,)) for _ in range(4)]
            for client in clients:
                client.start()
            assert comes_true(lambda: len(list(folder.glob("*"))) == 4 and len(list(folder.glob("*/photo"))) == 1)
            server.send_signal(how)
            assert server.wait(20) == 0
            for client in clients:
                client.join()
            assert statuses == [503] * 4
            assert list(folder.iterdir()) == []
            assert server.stderr.read().splitlines() == [
                "ERROR:    Cancel 4 running task(s), timeout graceful shutdown exceeded"
            ]
        finally:
            server.kill()


def test_what_cannot_be_served(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert cli.main(["serve", "--port", str(port)]) == 2
    assert f"--port {port} is taken by another program" in capsys.readouterr().err
    assert cli.main(["serve", "--port", "99999"]) == 2
    assert "--port 99999: must be from 0 to 65535" in capsys.readouterr().err
    for flag, value in (("--at-once", "0"), ("--seconds", "-1"), ("--megabytes", "nan"), ("--megapixels", "inf")):
        assert cli.main(["serve", "--port", "0", flag, value]) == 2
        assert f"{flag} {value}: must be a number above 0" in capsys.readouterr().err
    for name in ("*", "http://cut.example", "cut.example:8000", "cut.example/", "*cut.example"):
        assert cli.main(["serve", "--port", "99999", "--names", "good.example", name]) == 2
        assert f"--names '{name}': must be a host name alone" in capsys.readouterr().err
    assert cli.main(["serve", "--port", "99999", "--names", "cut.example", "*.cut.example", "[fd00::1]", "Box_1"]) == 2
    assert "--port 99999" in capsys.readouterr().err
    assert cli.main(["serve", "no/such/model.onnx"]) == 2
    assert "no/such/model.onnx does not exist" in capsys.readouterr().err
