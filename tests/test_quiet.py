"""Warnings of other libraries, in several threads."""

from __future__ import annotations

import threading
import warnings

import pytest

from fgbg.quiet import without_warnings


def test_nothing_is_shown_within_and_all_afterwards() -> None:
    with without_warnings:
        warnings.warn("not shown", stacklevel=1)
    with pytest.warns(UserWarning, match="shown"):
        warnings.warn("shown", stacklevel=1)


def test_who_leaves_first_leaves_the_others_in_silence_and_who_leaves_last_restores_the_filters() -> None:
    before = list(warnings.filters)
    entered, may_leave = threading.Event(), threading.Event()

    def stay_longer() -> None:
        with without_warnings:
            entered.set()
            may_leave.wait()

    other = threading.Thread(target=stay_longer)
    with without_warnings:
        other.start()
        entered.wait()
    try:
        warnings.warn("not shown", stacklevel=1)
    finally:
        may_leave.set()
        other.join()
    assert warnings.filters == before
