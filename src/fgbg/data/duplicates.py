"""Find photos that are in a set more than once: resized, recompressed, mirrored, or cropped at the edges.

A *fingerprint* is the photo as a small grey square. The search has two stages. First every photo, plain and mirrored, is
compared with a few windows of every other one on a coarse grid: matrix products, which leave a few candidates. Then each
candidate is registered to the photo that proposed it, and only if the details agree nearly everywhere do the two count as a
pair. Photos of one animal or tiles of one slide look alike but are no pair: their details differ.

Copies may have lost up to about 5 % at each edge. Rotated copies are not searched for. Pictures of nothing but one plain
shape on plain ground can be registered to each other, and may be taken for copies.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int64, UInt8
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fgbg.data.parallel import ShowProgress, map_in_order
from fgbg.data.registration import align_details, correlate_details, take_details
from fgbg.data.samples import SampleSet
from fgbg.user_cache import cache_folder

FORMAT = 2  # of fingerprints on disk: increment it when they change, so that old ones are not found
FINE, MIDDLE, COARSE = 64, 32, 16  # cells along a side: of a fingerprint, of the first alignment, of the search
FINGERPRINT_LENGTH = FINE * FINE

CUT = 0.05  # share of a side that a window of the search leaves out at an edge
UNCUT, LATE, EARLY, INNER = (0.0, 1.0), (CUT, 1.0), (0.0, 1 - CUT), (CUT, 1 - CUT)  # start and stop along a side
WINDOWS = np.array([(UNCUT, UNCUT), (INNER, INNER), *itertools.product((LATE, EARLY), repeat=2)])  # down and across

CANDIDATE_COUNT = 8  # per photo, and as many for its mirror image: bounds the time if a whole set looks alike
LIKELY, PROMISING = 0.35, 0.5  # correlations that a candidate must reach on the coarse and on the middle grid
SAME = 0.8  # correlation on the fine grid that makes a pair; benchmarks/bm_duplicates.py shows what it separates
FEWEST_DETAILS = 0.02  # share of a photo: two photos of one spot on black are not copies
UNMOVED = 0.015  # share of a side: copies whose edges lie farther apart were cropped
ROWS, PAIRS = 256, 64  # chunk sizes of the search and of the alignment: they bound memory

Relation = Literal["same", "cropped", "mirrored", "mirrored and cropped"]


class DuplicatePair(NamedTuple):
    """Two photos of a set, by index, that show the same picture. `first` is the smaller index."""

    first: int
    second: int
    similarity: float  # correlation of their details, at most 1
    relation: Relation


def take_fingerprint(pixels: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, " length"]:
    """The photo as a grey square of 64 × 64 cells, flattened. Stretching and resizing hardly change it."""
    grey = Image.fromarray(pixels).convert("L")
    return np.asarray(grey.resize((FINE, FINE), Image.Resampling.BILINEAR)).ravel()


def fingerprint_samples(samples: SampleSet, progress: ShowProgress | None = None) -> UInt8[np.ndarray, "photos length"]:
    """Fingerprints of all photos in order, taken now or read from the cache, which is keyed by content.

    Raises:
        UserError: A photo cannot be decoded.
    """
    folder = cache_folder() / "fingerprints" / str(FORMAT)
    folder.mkdir(parents=True, exist_ok=True)

    def find_or_take(index: int) -> NDArray[np.uint8]:
        path = folder / samples.inspections[index].image_hash
        kept = path.read_bytes() if path.exists() else b""
        if len(kept) == FINGERPRINT_LENGTH:  # else the writing was cut short
            return np.frombuffer(kept, np.uint8)
        fingerprint = take_fingerprint(samples.samples[index].read_pixels())
        path.write_bytes(fingerprint.tobytes())
        return fingerprint

    taken = list(
        map_in_order(find_or_take, range(len(samples.samples)), progress, "taking fingerprints", weigh=samples.weigh)
    )
    return np.array(taken, np.uint8).reshape(-1, FINGERPRINT_LENGTH)


def find_near_duplicates(
    fingerprints: UInt8[np.ndarray, "photos length"], *, threshold: float = SAME, progress: ShowProgress | None = None
) -> list[DuplicatePair]:
    """All pairs of photos that show the same picture, sorted by index.

    Exact copies are included, unless they show no details. Of many copies of one photo not every pair is listed, but the
    pairs connect them all: see `cluster_pairs`.

    Args:
        fingerprints: As `take_fingerprint` makes them.
        threshold: Lowest similarity of a pair, at most 1.
        progress: Shows how far the search is.
    """
    if len(fingerprints) < 2:
        return []
    found: dict[tuple[int, int], DuplicatePair] = {}
    candidates = _propose_candidates(fingerprints, progress)
    chunks = [candidates[start : start + PAIRS] for start in range(0, len(candidates), PAIRS)]
    for pairs in map_in_order(lambda chunk: _verify(fingerprints, chunk, threshold), chunks, progress, "comparing copies"):
        for pair in pairs:
            known = found.get(pair[:2])
            if known is None or known.similarity < pair.similarity:
                found[pair[:2]] = pair
    return sorted(found.values())


def cluster_pairs(count: int, pairs: Sequence[tuple[int, int] | DuplicatePair]) -> NDArray[np.int64]:
    """A label for each of `count` photos: the smallest index in its connected component.

    Args:
        count: Number of photos.
        pairs: Indices of photos that belong together.

    >>> cluster_pairs(5, [(1, 4), (2, 4)]).tolist()
    [0, 1, 1, 3, 1]
    """
    ends = np.array([pair[:2] for pair in pairs], np.int64).reshape(-1, 2).T
    links = coo_array((np.ones(len(pairs)), (ends[0], ends[1])), shape=(count, count))
    _, parts = connected_components(links, directed=False)
    _, smallest = np.unique(parts, return_index=True)
    return smallest[parts].astype(np.int64)


def _propose_candidates(fingerprints: NDArray[np.uint8], progress: ShowProgress | None) -> Int64[np.ndarray, "candidates 4"]:
    """For each photo the few others with the window that correlates best with it on the coarse grid.

    Returns:
        The photo, the other one, its window (index in WINDOWS), and whether the photo was mirrored (1) or not (0).
    """
    views = [_normalise(take_details(_view(fingerprints, COARSE, window))) for window in WINDOWS]
    mirrored_views = np.ascontiguousarray(views[0].reshape(-1, COARSE, COARSE)[:, :, ::-1]).reshape(-1, COARSE**2)
    most = min(CANDIDATE_COUNT, len(fingerprints) - 1)

    def propose(start: int, mirrored: bool) -> NDArray[np.int64]:
        photos = np.arange(start, min(start + ROWS, len(fingerprints)))
        rows = (mirrored_views if mirrored else views[0])[photos]
        likeness = rows @ views[0].T
        for view in views[1:]:
            np.maximum(likeness, rows @ view.T, out=likeness)
        likeness[np.arange(len(photos)), photos] = -1  # itself
        others = np.argpartition(-likeness, most - 1, axis=1)[:, :most]
        row, column = np.nonzero(np.take_along_axis(likeness, others, axis=1) > LIKELY)
        other = others[row, column]
        window = np.argmax([(rows[row] * view[other]).sum(axis=1) for view in views], axis=0)
        return np.stack([photos[row], other, window, np.full(len(row), mirrored)], axis=1)

    starts = range(0, len(fingerprints), ROWS)
    shown = progress(starts, total=len(starts), desc="searching copies") if progress else starts
    return np.concatenate([propose(start, mirrored) for start in shown for mirrored in (False, True)])


def _verify(fingerprints: NDArray[np.uint8], candidates: NDArray[np.int64], threshold: float) -> list[DuplicatePair]:
    """Register each candidate to the photo that proposed it, coarse to fine, and keep those that agree."""
    photo, other, window, mirrored = candidates.T
    photos, others = (fingerprints[index].reshape(-1, FINE, FINE) for index in (photo, other))
    photos = np.where(mirrored[:, None, None] == 1, photos[:, :, ::-1], photos)
    start, stop = WINDOWS[window].astype(np.float32).transpose(2, 0, 1)
    pose = np.stack([stop - start - 1, start + stop - 1], axis=2)
    rows = np.arange(len(candidates))
    for size, steps, least in ((MIDDLE, 5, PROMISING), (FINE, 4, threshold)):
        first, second = (take_details(_view(pictures[rows], size, WINDOWS[0])) for pictures in (others, photos))
        pose = align_details(first, second, pose, steps=steps)
        similarity, details = correlate_details(first, second, pose)
        kept = (similarity >= least) & (details >= FEWEST_DETAILS)
        rows, pose, similarity = rows[kept], pose[kept], similarity[kept]
    cut = np.abs(pose).sum(axis=2).max(axis=1) / 2 > UNMOVED
    pairs = []
    for row, value, was_cut in zip(rows.tolist(), similarity.tolist(), cut.tolist(), strict=True):
        first_index, second_index = sorted((int(photo[row]), int(other[row])))
        relation = _name_relation(bool(mirrored[row]), was_cut)
        pairs.append(DuplicatePair(first_index, second_index, round(value, 4), relation))
    return pairs


def _name_relation(mirrored: bool, cut: bool) -> Relation:
    if mirrored:
        return "mirrored and cropped" if cut else "mirrored"
    return "cropped" if cut else "same"


def _view(fingerprints: NDArray[np.uint8], size: int, window: NDArray[np.float64]) -> NDArray[np.float32]:
    """A window of each photo as `size` × `size` grey values, averages over cells."""
    down, across = (_average_cells(size, *span) for span in window)
    return down @ fingerprints.reshape(-1, FINE, FINE).astype(np.float32) @ across.T


def _average_cells(size: int, start: float, stop: float) -> Float[np.ndarray, "size fine"]:
    """Weights that average the cells of a fingerprint's side from `start` to `stop` (0..1) into `size` cells."""
    edges = np.linspace(start, stop, size + 1)[:, None] * FINE
    cells = np.arange(FINE)
    overlap = np.maximum(0, np.minimum(edges[1:], cells + 1) - np.maximum(edges[:-1], cells))
    return (overlap / overlap.sum(axis=1, keepdims=True)).astype(np.float32)


def _normalise(details: NDArray[np.float32]) -> NDArray[np.float32]:
    """One row per picture, of length 1; nearly 0 if there are hardly any details, so that it matches no other."""
    rows = details.reshape(len(details), -1)
    return rows / np.sqrt((rows * rows).sum(axis=1, keepdims=True) + 1)
