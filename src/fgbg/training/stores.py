"""Where training has its photos: decoded once into the cache, and in memory or on the GPU as far as they fit."""

from __future__ import annotations

from fgbg.config import TrainConfig
from fgbg.data.cache import SQUARE_MARGIN, cache_photos, cache_squares
from fgbg.data.parallel import show_progress
from fgbg.data.patches import PatchStore
from fgbg.data.samples import SampleSet
from fgbg.data.training_store import TrainingStore
from fgbg.data.validation_store import ValidationStore
from fgbg.engine import Engine
from fgbg.errors import UserError

Store = TrainingStore | PatchStore


def open_stores(
    config: TrainConfig, samples: SampleSet, engine: Engine, *, has_margin: bool
) -> tuple[Store, ValidationStore]:
    """The training and the validation photos, from the cache.

    One process of each machine fills and verifies it; the others then find it.

    Raises:
        UserError: A batch needs more patches than there are.
    """
    is_first = engine.is_first_of_machine
    if not is_first:
        engine.wait()
    store = _open_store(config, samples.of("train"), engine, has_margin=has_margin)
    photos = cache_photos(samples.of("validation"), verify=is_first, progress=show_progress)
    if is_first:
        engine.wait()
    return store, ValidationStore(photos, config.border, engine.device, engine.free_bytes())


def _open_store(config: TrainConfig, training: SampleSet, engine: Engine, *, has_margin: bool) -> Store:
    """The training photos as the network will see them: squares of whole photos, or patches at their own scale.

    Raises:
        UserError: A batch needs more patches than there are.
    """
    verify = engine.is_first_of_machine
    if config.fit != "crop":
        stored_size = round(SQUARE_MARGIN * config.size) if has_margin else config.size
        squares = cache_squares(training, size=stored_size, fit=config.fit, verify=verify, progress=show_progress)
        return TrainingStore(squares, config.border, engine.device, engine.free_bytes())
    photos = cache_photos(training, pixel_for_pixel=True, verify=verify, progress=show_progress)
    store = PatchStore(photos, config.border, engine.device, size=config.size, seed=config.seed, has_margin=has_margin)
    if config.batch_size > len(store):
        raise UserError(
            f"--batch-size {config.batch_size} is more than the {len(store)} patches of {config.size} px that the training "
            f"photos hold: choose {len(store)} or less, or a smaller --size"
        )
    return store
