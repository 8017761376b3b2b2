"""A server's limits: how much, how long, how many at once. Whatever exceeds them is refused in one sentence."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fgbg.cores import count_cores
from fgbg.errors import UserError
from fgbg.memory import give_back_memory

Result = TypeVar("Result")

MEGA = 1_000_000
ENVELOPE = 10_000  # bytes that a form may add around its photo
SPARE_CONNECTIONS = 100  # besides those of the photos; together far fewer than the files that a process may open
RETRY_AFTER = {429: "1", 503: "5"}  # seconds
TIDY_AFTER = 1.0  # seconds


@dataclass(frozen=True)
class Limits:
    """What a server accepts.

    Raises:
        UserError: A limit is not a finite number above 0.
    """

    megabytes: float = 50.0  # of a photo's file
    megapixels: float = 50.0  # of a photo
    seconds: float = 30.0  # that an upload may take
    at_once: int = 32  # photos that are being uploaded, waiting or computed
    computing: int = field(default_factory=count_cores)  # of those, how many are computed

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 < value < math.inf:
                raise UserError(f"--{name.replace('_', '-')} {value:g}: must be a number above 0")

    @property
    def connections(self) -> int:
        """As soon as so many are open, one that waits for a request is closed."""
        return self.at_once + SPARE_CONNECTIONS


class RefusedError(Exception):
    """A request that is answered with an error.

    Attributes:
        status: The HTTP status code.
        sentence: What is wrong, and the cure.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence

    def respond(self) -> JSONResponse:
        """The response, in the form of FastAPI's own errors."""
        # The rest of the upload is not read: the connection ends with the answer.
        headers = {"Connection": "close"}
        if self.status in RETRY_AFTER:
            headers["Retry-After"] = RETRY_AFTER[self.status]
        return JSONResponse({"detail": self.sentence}, self.status, headers)


class UploadLimits:
    """Middleware that refuses uploads that are too large, too slow or too many, while they arrive, and those given up."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self.app, self.limits = app, limits
        self.arrived = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        refusals: list[RefusedError] = []
        has_begun = False

        async def watch(message: Message) -> None:
            nonlocal has_begun
            if not refusals:  # FastAPI mistakes a refusal while it reads a form for a form that it cannot parse
                has_begun = True
                await send(message)

        try:
            async with self._admit(scope):
                await self.app(scope, self._limit(receive, refusals), watch)
        except RefusedError as refusal:
            refusals.append(refusal)
        except asyncio.CancelledError:  # by the web server, when it is stopped; it would log a traceback of it
            refusals.append(RefusedError(503, "the server is being stopped: try again in a few seconds"))
        if refusals and not has_begun:  # otherwise an answer is already on its way, and no other can be sent
            await refusals[0].respond()(scope, receive, send)

    @asynccontextmanager
    async def _admit(self, scope: Scope) -> AsyncIterator[None]:
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit():
            self._require_bytes(int(announced))
        if self.arrived >= self.limits.at_once:
            raise RefusedError(429, f"photos being worked on: {self.arrived}, the most at once; try again in a second")
        self.arrived += 1
        try:
            yield
        finally:
            self.arrived -= 1

    def _limit(self, receive: Receive, refusals: list[RefusedError]) -> Receive:
        loop = asyncio.get_running_loop()
        end, count, is_whole = loop.time() + self.limits.seconds, 0, False

        async def limited() -> Message:
            nonlocal count, is_whole
            if is_whole:  # only the client's disconnect message follows, at any time
                return await receive()
            try:
                message = await self._receive_in_time(receive, end - loop.time())
                if message["type"] == "http.request":
                    count += len(message.get("body", b""))
                    self._require_bytes(count)
                    is_whole = not message.get("more_body", False)
                return message
            except RefusedError as refusal:
                refusals.append(refusal)
                raise

        return limited

    async def _receive_in_time(self, receive: Receive, seconds: float) -> Message:
        try:
            return await asyncio.wait_for(receive(), max(0.0, seconds))
        except TimeoutError:
            raise RefusedError(408, f"the upload took longer than {self.limits.seconds:g} seconds: try again") from None

    def _require_bytes(self, count: int) -> None:
        if count > self.limits.megabytes * MEGA + ENVELOPE:
            raise RefusedError(413, f"more than {self.limits.megabytes:g} megabytes: send a smaller file")


class Workshop:
    """Runs work in threads of its own, as many as there are places; the rest waits its turn.

    Memory that the work freed is given back to the system a second later; under load, once a second.
    """

    def __init__(self, places: int) -> None:
        self._threads = ThreadPoolExecutor(places)
        self._will_tidy = False

    async def run(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Run the work when its turn comes, and return its result."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, partial(work, *arguments))
        finally:
            if not self._will_tidy:
                self._will_tidy = True
                loop.call_later(TIDY_AFTER, self._tidy)

    def _tidy(self) -> None:
        self._will_tidy = False
        self._threads.submit(give_back_memory)
