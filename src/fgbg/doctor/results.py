"""Results of earlier checks, keyed by the content of the files: a second check hashes them and decodes nothing."""

from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from fgbg.user_cache import cache_folder

SAVE_EVERY = 500  # results: an interrupted check keeps what it has measured so far


def results_path() -> Path:
    """The file that holds the results, in the user's cache folder."""
    return cache_folder() / "checks.sqlite"


class Results:
    """A thread-safe store of JSON and bytes by key. If the disk does not allow it, nothing is kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._unsaved: list[tuple[str, str, bytes]] = []
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> Results:
        try:
            results_path().parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(results_path(), check_same_thread=False, timeout=30)
            self._connection.execute("create table if not exists result (key text primary key, told text, bytes blob)")
        except (OSError, sqlite3.Error):  # a read-only or full disk, or a file that is not ours: measure again
            self._connection = None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._connection:
            self._save()
            self._connection.close()

    def recall(self, key: str) -> tuple[dict[str, Any], bytes] | None:
        """The result kept under the key, if any."""
        with self._lock:
            if self._connection is None:
                return None
            try:
                row = self._connection.execute("select told, bytes from result where key = ?", (key,)).fetchone()
            except sqlite3.Error:  # measure again
                return None
        return (json.loads(row[0]), row[1]) if row else None

    def keep(self, key: str, told: dict[str, Any], content: bytes) -> None:
        """Keep a result."""
        with self._lock:
            if self._connection is None:
                return
            self._unsaved.append((key, json.dumps(told), content))
            if len(self._unsaved) >= SAVE_EVERY:
                self._save()

    def _save(self) -> None:
        """Write all unsaved results at once, so that a check running at the same time hardly waits.

        A failure loses these results, and nothing else.
        """
        assert self._connection is not None
        try:
            with self._connection:  # one transaction, rolled back where it fails
                self._connection.executemany("insert or replace into result values (?, ?, ?)", self._unsaved)
        except sqlite3.Error:
            pass
        self._unsaved.clear()
