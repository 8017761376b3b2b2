"""Rows through workers: the only file that knows Ray Data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from fgbg.errors import UserError
from fgbg.ship.scale.plan import Row
from fgbg.ship.scale.worker import Order, Worker

SMALLEST_TASK, LARGEST_TASK = 8, 256  # photos: a task has a price, and all of it is computed again if its worker dies
TASKS_A_WORKER = 8  # at least so many, where there are enough photos: the last task should not be long


def compute(order: Order, rows: Sequence[Row], *, workers: int) -> Iterator[tuple[str, str]]:
    """Each row's id and problem as they come; the problem is empty where the answer was written.

    A worker that dies is started again, and its task with it, as often as it takes (Ray Data's own rule; `Worker` sees to it
    that a photo cannot go on for ever with this). A task writes the same files with the same bytes whenever it runs, and
    answers once.

    Raises:
        UserError: A worker refuses the order, or the cluster fails.
    """
    import ray
    from ray.exceptions import RayError

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # there is one for photos, which says more than one for tasks
    size = min(LARGEST_TASK, max(SMALLEST_TASK, math.ceil(len(rows) / (workers * TASKS_A_WORKER))))
    answers = _read(order, rows, size).map_batches(
        Worker,
        fn_constructor_args=(order,),
        batch_size=size,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=order.threads,
        num_gpus=1 if order.device.startswith("cuda") else 0,
    )
    try:
        for answer in answers.iter_rows():
            yield answer["id"], answer["problem"]
    except RayError as error:
        raise _explain(error) from None


def _read(order: Order, rows: Sequence[Row], size: int) -> Any:
    """The photos as a data set: where they lie, or with their bytes."""
    import ray

    blocks = math.ceil(len(rows) / size)
    if order.table is None:
        places = [{"id": row.id, "source": str(row.source)} for row in rows]
        return ray.data.from_items(places, override_num_blocks=blocks)
    columns = [order.table.id_column, order.table.image_column]
    return ray.data.read_parquet(
        order.table.files, filesystem=order.filesystem, columns=columns, partitioning=None, override_num_blocks=blocks
    )


def _explain(error: BaseException) -> Exception:
    """What went wrong in a worker, as it would have been raised here."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UserError) and type(cause) is UserError:
            return cause
        if type(cause) is OSError:
            return cause
        error, cause = cause, getattr(cause, "cause", None) or cause.__cause__
    reason = str(error).strip().splitlines()[0]
    return UserError(f"the workers gave up ({reason}): run the same command again, it goes on where this one stopped")
