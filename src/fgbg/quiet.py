"""Other libraries' warnings, kept from the user in several threads at once."""

from __future__ import annotations

import threading
import warnings
from contextlib import ExitStack


class _Silence:
    """While any thread is within it no warning is shown.

    Threads share one list of filters. With `warnings.catch_warnings` alone each puts back the list that it found: whoever
    leaves first lets the others' warnings through, and whoever leaves last may leave all of them off for ever.
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
