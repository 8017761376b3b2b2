"""The small pictures that an evaluation keeps of each photo: probability, thumbnail, outcome."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from fgbg.engine import Engine
from fgbg.judge.outcomes import make_outcome, save_outcome
from fgbg.judge.score import ScoredMask
from fgbg.rows import ScoreRow
from fgbg.run import Run
from fgbg.storage import aside_of

THUMBNAIL_PIXELS = 128


class PictureFolders(NamedTuple):
    """Where they lie; file names are the photos' ids."""

    predictions: Path
    thumbnails: Path
    outcomes: Path


@contextmanager
def keep_pictures(run: Run, label: str, engine: Engine) -> Iterator[PictureFolders]:
    """Folders to save pictures in, which become the run's once the context ends without an error.

    Rows are written within it, by `write_scores`: after a kill at any moment they have their own pictures or none.

    Args:
        run: Where they are kept.
        label: What is scored: a split, or other data.
        engine: All its processes save into the same folders.
    """
    whole = find_pictures(run, label)
    aside = PictureFolders(*map(aside_of, whole))
    if engine.is_main:
        for folder in aside:
            shutil.rmtree(folder, ignore_errors=True)  # left by a process that was killed
            folder.mkdir()
    engine.wait()
    try:
        yield aside
        engine.wait()
        if engine.is_main:
            for new, old in zip(aside, whole, strict=True):
                new.rename(old)
    finally:
        if engine.is_main:
            for folder in aside:
                shutil.rmtree(folder, ignore_errors=True)


def write_scores(run: Run, label: str, rows: Sequence[ScoreRow], statement: Mapping[str, Any]) -> None:
    """Write rows and statement in place of those of an earlier evaluation, whose pictures go first."""
    for folder in find_pictures(run, label):
        shutil.rmtree(folder, ignore_errors=True)
    run.write_scores(label, rows, statement)


def find_pictures(run: Run, label: str) -> PictureFolders:
    """The run's folders of what was scored."""
    return PictureFolders(run.predictions(label), run.thumbnails(label), run.outcomes(label))


def save_pictures(folders: PictureFolders, sample_id: str, scored: ScoredMask) -> None:
    """Save the answer at the training size, a thumbnail of the photo, and the outcome at the thumbnail's size."""
    Image.fromarray(scored.answer_at_size.cpu().numpy()).save(folders.predictions / f"{sample_id}.png")
    picture = Image.fromarray(scored.pixels.cpu().numpy())
    picture.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    picture.save(folders.thumbnails / f"{sample_id}.webp", quality=80)
    outcome = make_outcome(scored.prediction.cpu().numpy(), scored.target.cpu().numpy(), picture.size)
    save_outcome(outcome, folders.outcomes / f"{sample_id}.png")
