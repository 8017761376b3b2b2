"""Connections that send no request, or never the whole of one: they end in time, and make room for others before."""

from __future__ import annotations

import asyncio
import logging

from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_SECONDS = 10.0  # that the line and the headers of a request may take


class Connection(H11Protocol):
    """Uvicorn's, which alone would wait for a first request for ever.

    From uvicorn's `limit_concurrency` on, each new one has the one that has waited longest closed.
    """

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called by the event loop."""
        super().connection_made(transport)
        self._expect_request()
        kept = [each for each in self.connections if isinstance(each, Connection) and not each.transport.is_closing()]
        # An answer that is still being sent is not cut off.
        waiting = [each for each in kept if each.is_waiting() and not each.transport.get_write_buffer_size()]
        if self.limit_concurrency and len(kept) >= self.limit_concurrency and waiting:
            min(waiting, key=Connection.waits_until).transport.abort()

    def on_response_complete(self) -> None:
        """Called by uvicorn."""
        super().on_response_complete()
        self._expect_request()

    def is_waiting(self) -> bool:
        """Whether no request is being received or answered."""
        return self.cycle is None or self.cycle.response_complete

    def waits_until(self) -> float:
        """When it is closed unless a request has come, on the event loop's clock."""
        return self._deadline.when() if self._deadline else 0.0

    def _expect_request(self) -> None:
        if self._deadline:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(REQUEST_SECONDS, self._close_if_waiting)

    def _close_if_waiting(self) -> None:
        if self.is_waiting():
            self.transport.close()


class OncePerMinute(logging.Filter):
    """Lets records that begin with some words through once a minute, and all others always."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self._words, self._next = words, 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log it."""
        if not record.getMessage().startswith(self._words):
            return True
        if record.created < self._next:
            return False
        self._next = record.created + 60
        return True
