"""The parts of a training, from its settings or from the user: data, network, optimizer, augmentation, loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from fgbg.config import TrainConfig
from fgbg.config_rules import EVERY_FOLD
from fgbg.data.augment import PairedAugmentation
from fgbg.data.masks import check_border
from fgbg.data.overlaps import refuse_overlaps
from fgbg.data.parallel import show_progress
from fgbg.data.samples import Sample, SampleSet, understand_samples
from fgbg.data.sources import open_samples
from fgbg.data.split import Locked, lock_splits, refuse_one_sided, require_splits, split_set
from fgbg.engine import Engine
from fgbg.errors import UserError
from fgbg.loss_names import LOSS_SETTINGS
from fgbg.models.predictor import Predictor
from fgbg.training.average import RunningAverage
from fgbg.training.initial_weights import build_initial_network, refuse_known_photos
from fgbg.training.loop import Learner, Trainable, add_gradients
from fgbg.training.losses import make_loss
from fgbg.training.optimizer import make_optimizer
from fgbg.training.own_parts import OwnParts
from fgbg.training.recorder import Recorder
from fgbg.training.schedule import rate_at
from fgbg.training.stores import Store, open_stores

OF_FILES = ("split", "only", "categories")
"""Settings by which files are chosen and read: samples of a user's own have passed that stage."""


def understand_data(
    config: TrainConfig, samples: Sequence[Sample] | None, *, locked: Mapping[str, Locked] | None = None
) -> SampleSet:
    """The samples that `config.data` names, or the user's own, split and checked for training.

    Args:
        config: The settings.
        samples: The user's own.
        locked: Splits that a resumed run gave its samples, by id; they override every other rule.

    Raises:
        UserError: They cannot be understood, or are too few; or a sample of the run is gone.
    """
    if config.folds and config.fold == EVERY_FOLD:
        raise UserError(f"--folds {config.folds}: one training tests one fold; name it by --fold 0, say")
    if samples is not None:
        sample_set = _split_own(config, samples, locked)
    else:
        if not config.data:
            raise UserError("which DATA? Give oxford-pet, figures, or a folder with images/ and masks/")
        sample_set = open_samples(config.data, **config.data_options(), locked=locked, progress=show_progress)
    require_splits(sample_set)
    count = len(sample_set.of("train").samples)
    if config.batch_size > count and config.fit != "crop":  # a photo may hold many patches
        raise UserError(f"--batch-size {config.batch_size} is more than the {count} training photos: choose {count} or less")
    check_border(config.border, sample_set.encoding)
    refuse_one_sided(sample_set)
    if not config.allow_overlap:
        refuse_overlaps(sample_set)
    return sample_set


def _split_own(config: TrainConfig, samples: Sequence[Sample], locked: Mapping[str, Locked] | None) -> SampleSet:
    """The user's own samples, split.

    Raises:
        UserError: They cannot be understood or split, or a setting is about files that are not read.
    """
    name = config.data or "own samples"
    if locked is not None:
        return understand_samples(name, lock_splits(samples, locked), object_values=config.object_values)
    ignored = [field for field in OF_FILES if getattr(config, field) != getattr(TrainConfig(), field)]
    if ignored:
        raise UserError(
            f"{', '.join(ignored)}: for files of DATA, and samples of your own are taken as they are; leave it out, or give "
            "data instead of samples"
        )
    return split_set(
        understand_samples(name, samples, object_values=config.object_values),
        seed=config.split_seed,
        group_by=config.group_by,
        folds=config.folds,
        fold=config.fold,
        progress=show_progress,
    )


def build_learner(
    config: TrainConfig,
    samples: SampleSet,
    engine: Engine,
    own: OwnParts | None = None,
    *,
    resumed: Path | None = None,
) -> Learner:
    """Build every part, or take the user's. For a resumed run, `resumed` is its best model.

    Raises:
        UserError: No such model, or a batch that the processes cannot share.
    """
    own = own or OwnParts()
    _check_shares(config, engine)
    if config.start_size and own.augment is not None:
        raise UserError("--start-size grows what fgbg's own augmentation makes: leave it at 0 with an augmentation of yours")
    initial = build_initial_network(config, own.model, resumed=resumed)
    network = initial.network
    if initial.header and not (initial.resumed or config.allow_overlap):
        refuse_known_photos(initial.header, samples)
    _require_values_for_norms(config, engine, network.stride)
    predictor = Predictor(network, size=config.size, fit=config.fit, mean=initial.mean, deviation=initial.deviation)
    optimizer = make_optimizer(
        predictor,
        network.network,
        name=config.optimizer,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        encoder_rate=config.encoder_rate,
        fused=engine.device.type != "mps",
    )
    trainable = Trainable(predictor)
    if config.compile:
        trainable.compile()
    module, prepared = engine.prepare(trainable, optimizer, sync_norms=config.sync_norms)

    training = samples.of("train")
    store, validation = open_stores(config, samples, engine, has_margin=config.augment.enabled or own.augment is not None)
    learner = Learner(
        engine=engine,
        predictor=predictor,
        module=module,
        optimizer=prepared,
        store=store,
        names=np.array([sample.id for sample in training.samples]),
        validation=validation,
        augment=own.augment or _make_augmentation(config, store, engine),
        mixing=config.augment,
        loss=own.loss or make_loss(config.loss, **{name: getattr(config, name) for name in LOSS_SETTINGS}),
        metric=own.metric,
        batch_size=config.batch_size,
        seed=config.seed,
        rate=_plan_rate(config, len(store) // config.batch_size),
        accumulate=config.accumulate,
        clip_norm=config.clip_norm,
        initial=initial,
        average=RunningAverage(predictor, config.ema) if config.ema else None,
    )
    return replace(learner, recorder=_record(learner)) if _is_recordable(config, engine, own) else learner


def _make_augmentation(config: TrainConfig, store: Store, engine: Engine) -> PairedAugmentation:
    ranges, reach = config.augment, store.reach
    return PairedAugmentation(ranges, store.aspects, size=config.size, seed=config.seed, device=engine.device, reach=reach)


def _is_recordable(config: TrainConfig, engine: Engine, own: OwnParts) -> bool:
    """Whether gradients may be replayed: what a user's own network or loss does in Python is not known."""
    is_wanted = engine.device.type == "cuda" and config.cuda_graphs
    is_plain = engine.processes == config.accumulate == 1 and not config.compile
    return is_wanted and is_plain and own.model is None and own.loss is None


def _record(learner: Learner) -> Recorder:
    weights = [parameter for parameter in learner.predictor.parameters() if parameter.requires_grad]
    return Recorder(partial(add_gradients, learner), weights)


def _check_shares(config: TrainConfig, engine: Engine) -> None:
    """Require equal numbers of images per process and per accumulated part.

    Raises:
        UserError: The batch cannot be divided evenly.
    """
    if config.batch_size % engine.processes:
        raise UserError(f"--batch-size {config.batch_size} cannot be shared by {engine.processes} processes: use a multiple")
    share = config.batch_size // engine.processes
    if share % config.accumulate:
        raise UserError(
            f"--accumulate {config.accumulate} does not divide the {share} images that a process has of --batch-size "
            f"{config.batch_size}: use a divisor"
        )


def _require_values_for_norms(config: TrainConfig, engine: Engine, stride: int) -> None:
    """Require more than one value per channel for batch norm at the network's deepest level.

    Raises:
        UserError: There would be one: a single image at a time, no larger than the network's stride.
    """
    smallest, flag = (config.start_size, "--start-size") if config.start_size else (config.size, "--size")
    if config.batch_size == engine.processes * config.accumulate and smallest <= stride:
        batch = f"--batch-size {config.batch_size}"
        batch += f" with --accumulate {config.accumulate}" if config.accumulate > 1 else ""
        raise UserError(f"{batch} at {flag} {smallest} leaves the deepest batch norm one value: raise either")


def _plan_rate(config: TrainConfig, steps_an_epoch: int) -> Callable[[int], float]:
    """The learning rate of every step of the run."""
    steps, warmup_steps = config.epochs * steps_an_epoch, round(config.warmup_epochs * steps_an_epoch)

    def rate(step: int) -> float:
        return config.learning_rate * rate_at(step, steps, schedule=config.schedule, warmup_steps=warmup_steps)

    return rate
