"""Log the record of a run to TensorBoard. fgbg never reads it back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from fgbg.errors import UserError
from fgbg.record import EpochRecord
from fgbg.run import Run

Track = Callable[[EpochRecord], None]


def require_tracker(tracker: str) -> None:
    """Refuse a tracker that is not installed, before anything is written.

    Raises:
        UserError: It is not.
    """
    if tracker != "none" and find_spec(tracker) is None:
        raise UserError(f"--track {tracker} needs {tracker}: pip install 'fgbg[track]', or leave --track out")


@contextmanager
def open_tracker(run: Run, tracker: str, *, after_epoch: int) -> Iterator[Track]:
    """A function to call with each epoch's record; it does nothing if `tracker` is none.

    Args:
        run: The run whose folder holds the events, in `tensorboard/`.
        tracker: none or tensorboard.
        after_epoch: The epoch after which the run resumes; what was logged of later ones is purged.
    """
    if tracker == "none":
        yield lambda record: None
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(run.folder / "tensorboard"), purge_step=after_epoch + 1) as writer:

        def track(record: EpochRecord) -> None:
            for name, value in dataclasses.asdict(record).items():
                if name not in ("epoch", "best") and value is not None:
                    writer.add_scalar(name, value, record.epoch)
            writer.flush()

        yield track
