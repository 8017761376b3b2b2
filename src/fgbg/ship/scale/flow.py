"""Passing rows through workers: the only file that uses Ray Data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow

from fgbg.errors import UserError, first_line
from fgbg.ship.jobs import identify_photo
from fgbg.ship.scale.plan import Plan, Row
from fgbg.ship.scale.table import Table, read_rows
from fgbg.ship.scale.worker import Order, Worker

SMALLEST_TASK, LARGEST_TASK = 8, 256  # photos: a task has overhead, and all of it is computed again if its worker dies
TASKS_A_WORKER = 8  # at least, if there are enough photos: the last task should not take long


def compute(order: Order, plan: Plan, todo: Sequence[Row], *, workers: int) -> Iterator[tuple[str, str]]:
    """Each id to compute, with its problem, as they arrive; the problem is empty if the answer was written.

    A worker that dies is restarted, and its task with it, as often as it takes (Ray Data's own rule; `Worker` makes sure
    that no photo keeps this going for ever). Whenever a task runs, it writes the same files with the same bytes, and it
    answers once.

    Raises:
        UserError: A worker refuses the order, or the cluster fails.
    """
    import ray
    from ray.exceptions import RayError

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # there is one for photos, which says more than tasks would
    size = min(LARGEST_TASK, max(SMALLEST_TASK, math.ceil(len(todo) / (workers * TASKS_A_WORKER))))
    tasks = math.ceil(len(todo) / size)
    photos = _list_places(todo, tasks) if plan.table is None else _read_table(plan.table, plan.rows, todo, size)
    answers = photos.map_batches(
        Worker,
        fn_constructor_args=(order,),
        batch_size=size,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=min(workers, tasks)),
        num_cpus=order.threads,
        num_gpus=1 if order.device.startswith("cuda") else 0,
    )
    try:
        for answer in answers.iter_rows():
            if answer["refusal"]:
                raise UserError(answer["refusal"])
            yield answer["id"], answer["problem"]
    except RayError as error:
        raise UserError(
            f"the workers gave up ({_tell_reason(error)}): run the same command again, it goes on from here"
        ) from error


def _tell_reason(error: Exception) -> str:
    """What happened, in one line: for a failed task, the error it raised, without traceback and Ray's hints."""
    raised = getattr(error, "cause", None)
    if raised is None:
        return str(error).strip().splitlines()[-1]
    return getattr(raised, "strerror", None) or first_line(raised)


def _list_places(todo: Sequence[Row], tasks: int) -> Any:
    """The photos as a data set of ids, paths, which workers read, and what tells each photo from others."""
    import ray

    places = [{"id": row.id, "source": str(row.source), "photo": identify_photo(row)} for row in todo]
    return ray.data.from_items(places, override_num_blocks=tasks)


def _read_table(table: Table, rows: Sequence[Row], todo: Sequence[Row], size: int) -> Any:
    """The photos still to do as a data set like that, but of images, read file by file alongside the workers."""
    import ray

    done = frozenset(row.id for row in rows) - {row.id for row in todo}
    photos = {str(row.source): row.photo for row in rows}
    named = [{"file": file, "photo": photos.get(file, "")} for file in table.files]
    files = ray.data.from_items(named, override_num_blocks=len(table.files))
    read = partial(_read_files, table=table, done=done, at_a_time=size)
    images = files.map_batches(read, batch_size=1, batch_format="pyarrow")
    return images.repartition(target_num_rows_per_block=size)


def _read_files(batch: pyarrow.Table, *, table: Table, **how: Any) -> Iterator[pyarrow.Table]:
    """The rows of the files that a batch names."""
    for about in batch.to_pylist():
        for rows in read_rows(table, about["file"], **how):
            yield rows.append_column("photo", pyarrow.array([about["photo"]] * rows.num_rows, pyarrow.string()))
