"""Can `fgbg serve` be left alone? A thousand requests from eight clients, one in twenty of them hostile.

    python benchmarks/bm_serve.py [FOLDER_OF_PHOTOS]      # drawn figures by default; Linux

Every good one must be answered, every bad one refused with its status, and memory must not grow: the server's resident
memory after the last request is compared with that after the first two hundred, at rest and at work. At work it is a mean
over a hundred answers: a single reading depends on the photos being processed.
"""

from __future__ import annotations

import http.client
import io
import random
import re
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from fgbg.data.figures import draw_figure
from fgbg.data.images import list_images

REQUESTS, CLIENTS, WARM_UP, HOSTILE = 1000, 8, 200, 0.05
UPLOAD_SECONDS = 3
LOOKS = 100  # answers over which memory at work is averaged
REST = 3  # seconds for the server to come to rest
MEGA = 1_000_000


def collect_photos(folder: Path | None) -> list[bytes]:
    """The files to send."""
    if folder:
        return [path.read_bytes() for path in list_images(folder)[:200]]
    photos = []
    for index in range(40):
        file = io.BytesIO()
        edge = 200 + 20 * index
        Image.fromarray(draw_figure(index, size=edge).pixels).save(file, "JPEG", quality=90)
        photos.append(file.getvalue())
    return photos


def make_bomb() -> bytes:
    """A small PNG that claims to have 40,000 x 40,000 pixels."""
    file = io.BytesIO()
    Image.new("L", (1, 1)).save(file, "PNG")
    small = file.getvalue()
    header = b"IHDR" + (40_000).to_bytes(4, "big") * 2 + small[24:29]
    return small[:12] + header + zlib.crc32(header).to_bytes(4, "big") + small[33:]


def wrap(content: bytes) -> bytes:
    """A form with one file."""
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="photo.jpg"\r\n\r\n'
    return head + content + END


END = b"\r\n--x--\r\n"


def endless(count: int, pause: float) -> Iterator[bytes]:
    """A form whose photo arrives in pieces."""
    yield wrap(b"")[: -len(END)]
    for _ in range(count):
        yield bytes(100_000)
        time.sleep(pause)


def send(port: int, body: bytes | Callable[[], Iterator[bytes]]) -> int:
    """The status; 0 if the connection was closed without one."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    try:
        try:
            connection.request("POST", "/predict?kind=mask", body if isinstance(body, bytes) else body(), headers)
        except ConnectionError:  # refused during the upload; the answer can still be read
            return read_refusal(connection)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (ConnectionError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def read_refusal(connection: http.client.HTTPConnection) -> int:
    """The status of an answer that came while the request was still being sent; 0 where there is none."""
    told = re.match(rb"HTTP/1\.1 (\d+)", connection.sock.recv(1000))
    return int(told[1]) if told else 0


def measure_memory(process: int) -> float:
    """Resident megabytes."""
    told = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return int(re.findall(r"VmRSS:\s+(\d+) kB", told)[0]) / 1000


def wait_until_settled(process: int) -> None:
    """Wait until the server's memory is stable: what it imports in the background is not growth."""
    before = 0.0
    while (now := measure_memory(process)) > before:
        before = now
        time.sleep(3)


def main(folder: Path | None) -> int:
    """Run it and print a table; the exit status tells whether all is well."""
    photos = collect_photos(folder)
    whole = photos[0]
    # What is sent, and the allowed statuses. A client refused during an upload may find the connection closed.
    hostile: dict[str, tuple[bytes | Callable[[], Iterator[bytes]], set[int]]] = {
        "decompression bomb": (wrap(make_bomb()), {413}),
        "truncated": (wrap(whole[: len(whole) // 2]), {415}),
        "text as .jpg": (wrap(b"hello " * 100), {415}),
        "200 MB": (lambda: endless(2000, 0), {413, 0}),
        "slow body": (lambda: endless(200, 0.1), {408, 0}),
    }
    draw = random.Random(0)
    plan = ["good" if draw.random() >= HOSTILE else draw.choice(list(hostile)) for _ in range(REQUESTS)]
    command = [sys.executable, "-m", "fgbg", "serve", "--port", "0", "--seconds", str(UPLOAD_SECONDS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        server.stdout.readline()
        port = int(re.findall(r":(\d+)/", server.stdout.readline())[0])
        wait_until_settled(server.pid)
        seen: Counter[tuple[str, int]] = Counter()
        at_rest, at_work, seconds = [], [], 0.0

        def ask(number: int) -> tuple[str, int]:
            kind = plan[number]
            status = send(port, wrap(photos[number % len(photos)]) if kind == "good" else hostile[kind][0])
            at_work.append(measure_memory(server.pid))
            return kind, status

        with ThreadPoolExecutor(CLIENTS) as clients:
            for numbers in (range(WARM_UP), range(WARM_UP, REQUESTS)):
                start = time.perf_counter()
                seen.update(clients.map(ask, numbers))
                seconds += time.perf_counter() - start
                time.sleep(REST)
                at_rest.append(measure_memory(server.pid))
        most = max(at_work)
        server.terminate()
    allowed = {"good": {200}} | {kind: statuses for kind, (_, statuses) in hostile.items()}
    print("| sent | status (0: connection closed) | how often |\n|---|---|---|")
    for (kind, status), count in sorted(seen.items()):
        print(f"| {kind} | {status} | {count} |")
    busy = [sum(at_work[end - LOOKS : end]) / LOOKS for end in (WARM_UP, REQUESTS)]
    growth = max(after / before - 1 for before, after in (at_rest, busy))
    print(f"\n{REQUESTS} requests from {CLIENTS} clients in {seconds:.0f} s, {REQUESTS / seconds:.0f} a second")
    for what, (before, after) in {"at rest": at_rest, f"at work, mean of {LOOKS} answers": busy}.items():
        print(f"memory {what}: {before:.0f} MB after {WARM_UP}, {after:.0f} MB after {REQUESTS}, {after / before - 1:+.1%}")
    print(f"most at work: {most:.0f} MB")
    wrong = {(kind, status) for kind, status in seen if status not in allowed[kind]}
    if wrong:
        print(f"not as it should be: {sorted(wrong)}")
    return 1 if wrong or growth > 0.05 else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else None))
