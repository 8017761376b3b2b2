"""What earlier checks measured, by the content of the files: a second check reads bytes and decodes nothing."""

from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from fgbg.storage import cache_folder

SAVE_EVERY = 500  # results: what a check that is cut short has measured so far is kept


def results_path() -> Path:
    """The file that holds them, in the user's cache folder."""
    return cache_folder() / "checks.sqlite"


class Results:
    """A keeper of JSON and bytes by key, safe to use from threads. Where the disk does not let it, nothing is kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._unsaved: list[tuple[str, str, bytes]] = []
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> Results:
        try:
            results_path().parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(results_path(), check_same_thread=False, timeout=30)
            self._connection.execute("create table if not exists result (key text primary key, told text, bytes blob)")
        except (OSError, sqlite3.Error):  # a read-only or full disk, or a file of another making: measure anew
            self._connection = None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._connection:
            self._save()
            self._connection.close()

    def recall(self, key: str) -> tuple[dict[str, Any], bytes] | None:
        """What was kept under the key."""
        with self._lock:
            if self._connection is None:
                return None
            try:
                row = self._connection.execute("select told, bytes from result where key = ?", (key,)).fetchone()
            except sqlite3.Error:  # measure anew
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
        """Write what is not yet written, all at once: another check that runs beside this one hardly waits.

        A failure loses these results, and nothing else.
        """
        assert self._connection is not None
        try:
            with self._connection:  # one transaction, rolled back where it fails
                self._connection.executemany("insert or replace into result values (?, ?, ?)", self._unsaved)
        except sqlite3.Error:
            pass
        self._unsaved.clear()
