"""Thread-safe suppression of other libraries' warnings."""

from __future__ import annotations

import threading
import warnings
from contextlib import ExitStack


class _Silence:
    """Context manager: no warnings are shown while any thread is inside it.

    Threads share one list of filters. With `warnings.catch_warnings` alone each restores the list that it found: the first
    thread to leave lets the others' warnings through, and the last may leave all warnings off for good.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads_within = 0
        self._filters_as_they_were = ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if not self._threads_within:
                self._filters_as_they_were.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")
            self._threads_within += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._threads_within -= 1
            if not self._threads_within:
                self._filters_as_they_were.close()


without_warnings = _Silence()
