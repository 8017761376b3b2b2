"""The training store: the same batches whether the photos lie on the device or on the disk."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fgbg.data.cache import Squares, cache_squares
from fgbg.data.masks import apply_border
from fgbg.data.sources import open_samples
from fgbg.data.training_store import RESIDENT_SHARE, TrainingStore

CPU = torch.device("cpu")
PLENTY, NOTHING = 2**40, 0
memories = pytest.mark.parametrize("free_bytes", [PLENTY, NOTHING], ids=["resident", "from disk"])
borders = pytest.mark.parametrize("border", ["foreground", "background", "ignore"])


@pytest.fixture
def squares() -> Squares:
    random = np.random.default_rng(0)
    levels = random.choice(np.array([0, 1, 2, 255], np.uint8), (6, 8, 8))
    return Squares(random.integers(0, 256, (6, 3, 8, 8), np.uint8), levels, np.ones(6))


@borders
@memories
def test_a_batch_holds_the_rows_asked_for_in_that_order_with_the_border_rule_applied(
    squares: Squares, border: str, free_bytes: int
) -> None:
    store = TrainingStore(squares, border, CPU, free_bytes)
    rows = [4, 0, 4, 5]
    pixels, target = store.take(np.array(rows), 1)
    np.testing.assert_array_equal(pixels, squares.pixels[rows])
    np.testing.assert_array_equal(target, apply_border(squares.levels[rows], border))
    assert pixels.dtype == target.dtype == torch.uint8


@borders
def test_resident_and_from_disk_are_the_same_batches(squares: Squares, border: str) -> None:
    resident, from_disk = (TrainingStore(squares, border, CPU, free) for free in (PLENTY, NOTHING))
    assert (resident.is_resident, from_disk.is_resident) == (True, False)
    for rows in (np.arange(6), np.array([3]), np.array([5, 1])):
        for one, other in zip(resident.take(rows, 1), from_disk.take(rows, 2), strict=True):
            assert torch.equal(one, other)


def test_photos_move_to_the_device_only_if_they_take_less_than_their_share_of_its_memory(squares: Squares) -> None:
    size = squares.pixels.nbytes + squares.levels.nbytes
    assert TrainingStore(squares, "foreground", CPU, int(size / RESIDENT_SHARE) + 2).is_resident
    assert not TrainingStore(squares, "foreground", CPU, int(size / RESIDENT_SHARE) - 2).is_resident


@memories
def test_its_length_is_the_number_of_photos(squares: Squares, free_bytes: int) -> None:
    assert len(TrainingStore(squares, "foreground", CPU, free_bytes)) == 6


@memories
def test_changing_a_batch_does_not_change_the_store(squares: Squares, free_bytes: int) -> None:
    store = TrainingStore(squares, "foreground", CPU, free_bytes)
    rows = np.array([2, 3])
    pixels, target = store.take(rows, 1)
    before = pixels.clone(), target.clone()
    pixels.zero_()
    target.zero_()
    assert all(torch.equal(one, other) for one, other in zip(store.take(rows, 1), before, strict=True))


@memories
def test_it_reads_what_the_cache_wrote(make_folder, free_bytes: int) -> None:
    samples = open_samples(make_folder(5, "trimap"))
    squares = cache_squares(samples, size=16, fit="pad")
    pixels, target = TrainingStore(squares, "ignore", CPU, free_bytes).take(np.array([1, 4]), 1)
    np.testing.assert_array_equal(pixels, squares.pixels[[1, 4]])
    np.testing.assert_array_equal(target == 255, np.isin(squares.levels[[1, 4]], [2, 255]))
