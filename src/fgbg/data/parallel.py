"""Decode ahead: work on files in threads while the caller uses what is ready."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from tqdm import tqdm

from fgbg.cores import count_cores

Item = TypeVar("Item")
Result = TypeVar("Result")

ShowProgress = Callable[..., Iterable[Any]]
"""Wraps an iterable to show its progress, like `tqdm.tqdm`: called with the iterable, `total=` and `desc=`."""

IN_FLIGHT = 32  # results that may wait for the caller: bounds memory, whatever the length of the list


def show_progress(items: Iterable[Item], **about: Any) -> Iterable[Item]:
    """A `ShowProgress`: a bar on a terminal, nothing elsewhere."""
    return tqdm(items, leave=False, disable=None, **about)


def map_in_order(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    progress: ShowProgress | None = None,
    what: str = "",
    in_flight: int = IN_FLIGHT,
    weigh: Callable[[Item], float] = lambda _: 1.0,
) -> Iterator[Result]:
    """`work(item)` for each item, in order, computed ahead in threads (Pillow releases the GIL while it decodes).

    Items are started as long as those waiting for the caller weigh less than `in_flight`. An exception in `work` is raised
    in the item's turn, and no further item is started.

    >>> list(map_in_order(lambda number: number * number, range(5)))
    [0, 1, 4, 9, 16]
    """
    ahead = iter(items)
    pool = ThreadPoolExecutor(max_workers=count_cores())

    def results() -> Iterator[Result]:
        waiting: deque[Future[Result]] = deque()
        weights: deque[float] = deque()
        while True:
            while sum(weights) < in_flight and (item := next(ahead, _END)) is not _END:
                waiting.append(pool.submit(work, item))  # type: ignore[arg-type]
                weights.append(weigh(item))  # type: ignore[arg-type]
                del item  # it may be large, and the next one may take long to arrive
            if not waiting:
                return
            weights.popleft()
            yield waiting.popleft().result()

    total = len(items) if isinstance(items, Sized) else None
    try:
        yield from progress(results(), total=total, desc=what) if progress else results()
    finally:
        pool.shutdown(cancel_futures=True)


_END = object()
