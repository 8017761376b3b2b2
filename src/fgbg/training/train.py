"""`train`: from a configuration to a run folder."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

import fgbg
from fgbg.config import TrainConfig
from fgbg.data.augment import Augment, PairedAugmentation
from fgbg.data.cache import SQUARE_MARGIN, cache_photos, cache_squares
from fgbg.data.masks import check_border
from fgbg.data.parallel import show_progress
from fgbg.data.patches import PatchStore, describe_patches
from fgbg.data.samples import Sample, SampleSet, understand_samples
from fgbg.data.sources import open_samples
from fgbg.data.split import find_overlaps, refuse_overlaps, split_set
from fgbg.data.store import TrainingStore
from fgbg.data.streams import Purpose, open_stream
from fgbg.engine import Engine
from fgbg.errors import UserError
from fgbg.judge.evaluate import find_seen_photos
from fgbg.judge.report import write_record
from fgbg.judge.runs import choose_on_validation
from fgbg.models import build_network, count_parameters, require_model, wrap_network
from fgbg.models.checkpoint import ModelHeader, load_model, save_model
from fgbg.models.predictor import Predictor
from fgbg.run import EpochRecord, Run, create_run, free_name, open_run
from fgbg.training.loop import Learner, Metric, Trainable, train_epoch, validate
from fgbg.training.losses import Loss, make_loss
from fgbg.training.selfcheck import check_before_training
from fgbg.training.state import Progress, restore_state, save_state

RESUMABLE = frozenset({"epochs", "device", "threads", "out", "threshold_for", "selfcheck"})
"""Settings that a resumed run may change."""


def train(
    config: TrainConfig,
    *,
    samples: Sequence[Sample] | None = None,
    model: nn.Module | None = None,
    loss: Loss | None = None,
    augment: Augment | None = None,
    metric: Metric | None = None,
    resume: bool = False,
) -> Run:
    """Train a network and leave a run folder that everything else reads.

    Every part can be your own. Signatures: `fgbg.Sample`, `fgbg.Loss`, `fgbg.Augment`, `fgbg.Metric`; a `model` is any
    module from normalised images (batch, 3, height, width) to logits (batch, 1, height, width), and says by an
    attribute `stride` if its input must be a multiple of something.

    Args:
        config: Every setting; `config.out` names the run folder.
        samples: Photos and masks in place of `config.data`.
        model: A network in place of `config.model`.
        loss: A loss in place of `config.loss`.
        augment: An augmentation in place of `config.augment`.
        metric: A score whose mean over the validation photos chooses the best epoch, in place of Dice.
        resume: Go on with the run in `config.out`.

    Returns:
        The run. `best.safetensors` and `last.pt` are in it from the first epoch on, also when training is interrupted.

    Raises:
        UserError: Anything in the configuration, the data or the folder that cannot be used.
    """
    engine = Engine(config.device, config.precision, config.threads)
    say: Callable[[str], None] = print if engine.is_main else _say_nothing
    if model is not None:
        config = replace(config, model=f"own:{type(model).__name__}")
    else:
        require_model(config.model)  # before anything is read or written
    run = _open_folder(config, resume, engine)
    config = replace(config, out=str(run.folder))
    if resume:
        _check_resumable(run.config, config)

    sample_set = understand_data(config, samples)
    if resume and run.fingerprint not in ("", sample_set.fingerprint):
        raise UserError(f"{sample_set.name} has changed since {run.folder} was begun: restore it, or start a new run")
    learner = prepare_learner(config, sample_set, engine, model=model, loss=loss, augment=augment, metric=metric)
    _announce(config, sample_set, learner, say)
    progress = restore_state(run.last, learner.predictor.network, learner.optimizer) if resume else Progress()
    if resume:
        say(f"resuming {run.folder} after epoch {progress.epoch} of {config.epochs}; the learning rate is constant")
    if engine.is_main:
        _write_beginning(run, config, sample_set, engine, progress)
    if config.selfcheck and not progress.epoch:
        check_before_training(run, config, learner, sample_set, say, own_loss=loss is not None)
    try:
        _run_epochs(run, config, learner, progress, _describe_model(config, sample_set), say)
        _choose_threshold(run, config, learner, sample_set.of("validation"), say)
    except KeyboardInterrupt:
        say(f"\nstopped after {len(run.epochs())} whole epochs; go on with: fgbg train --resume --out {run.folder}")
        raise
    finally:
        if engine.is_main and run.epochs():
            write_record([run], run.folder)
    return run


def _announce(config: TrainConfig, samples: SampleSet, learner: Learner, say: Callable[[str], None]) -> None:
    """Say what was understood before the work begins."""
    say(samples.describe())
    if config.fit == "crop":
        say(describe_patches(samples.of("train"), config.size))
    if samples.encoding.has_band:
        say(f"border = {config.border}")
    parameters = count_parameters(learner.predictor)
    say(f"{config.model}, {parameters:,} parameters, {config.size} px · {learner.engine.describe()}")
    if config.loss == "bce_tversky" and config.false_positive_weight == config.false_negative_weight == 0.5:
        say("note: with both weights at 0.5 the Tversky loss is the Dice loss; this run is the same as bce_dice")


def _write_beginning(run: Run, config: TrainConfig, samples: SampleSet, engine: Engine, progress: Progress) -> None:
    """What the run folder holds before the first epoch."""
    run.keep_epochs(progress.epoch)
    run.write_config(config)
    run.write_environment(
        seed=config.seed,
        device=str(engine.device),
        threads=engine.threads,
        processes=engine.processes,
        after_epoch=progress.epoch,
    )
    run.write_split(samples, config)


def _run_epochs(
    run: Run, config: TrainConfig, learner: Learner, progress: Progress, header: ModelHeader, say: Callable[[str], None]
) -> None:
    """Train, validate, record, keep: until the last epoch."""
    for epoch in range(progress.epoch + 1, config.epochs + 1):
        start = time.perf_counter()
        trained = train_epoch(learner, epoch, f"Epoch {epoch}/{config.epochs}")
        validated = validate(learner)
        score = -math.inf if math.isnan(validated.score) else validated.score
        is_best = score > progress.best_score or progress.epoch == 0  # whatever the first score, that model is kept
        progress = Progress(epoch, max(score, progress.best_score))
        record = EpochRecord(
            epoch=epoch,
            train_loss=trained.loss,
            train_dice=trained.dice,
            val_loss=validated.loss,
            val_dice=validated.dice,
            val_dice_photo=validated.dice_photo,
            learning_rate=config.learning_rate,
            images_per_second=trained.images_per_second,
            seconds=time.perf_counter() - start,
            best=is_best,
            own_metric=validated.own_metric,
        )
        if learner.engine.is_main:
            network = learner.predictor.network
            # In this order a kill at any point leaves a state whose replayed epoch writes the same again.
            run.append_epoch(record)
            if is_best:
                save_model(run.best, network, replace(header, epoch=epoch, validation_dice=validated.dice_photo))
            save_state(run.last, network, learner.optimizer, progress)
            say(_describe_epoch(record, config.epochs))
        learner.engine.wait()


def _choose_threshold(
    run: Run, config: TrainConfig, learner: Learner, validation: SampleSet, say: Callable[[str], None]
) -> None:
    """The best model's threshold, and what validation says of its probabilities."""
    # A copy: the network in memory is the last epoch's, and a user's own stays as training left it.
    predictor, header = load_model(run.best, network=copy.deepcopy(learner.predictor.network))
    predictor.to(learner.engine.device)
    leaked = find_seen_photos(header, validation, "validation").trained
    if leaked:
        count = f"{len(leaked)} of {len(validation.samples)}"
        say(f"threshold 0.5: {count} validation photos also trained the model, so that none is chosen on them")
        return
    evaluation = choose_on_validation(
        run, predictor, header, validation, engine=learner.engine, threshold_for=config.threshold_for
    )
    say(f"threshold {evaluation.statement['threshold_reason']}")


def _describe_epoch(record: EpochRecord, epochs: int) -> str:
    parts = [
        f"Epoch {record.epoch:{len(str(epochs))}}/{epochs}",
        f"Train Loss: {record.train_loss:.4f}, Train Dice: {record.train_dice:.4f}",
        f"Valid Loss: {record.val_loss:.4f}, Valid Dice: {record.val_dice:.4f}, at photo size: {record.val_dice_photo:.4f}",
        f"{record.images_per_second:.0f} img/s, {record.seconds:.1f} s",
    ]
    return " | ".join([*parts, "best"] if record.best else parts)


def _open_folder(config: TrainConfig, resume: bool, engine: Engine) -> Run:
    """The run folder, made by the main process alone."""
    if not config.out and (resume or engine.processes > 1):
        raise UserError("--out is needed: which run folder?")
    folder = Path(config.out).expanduser() if config.out else free_name(Path("runs") / config.model.replace(":", "-"))
    if resume:
        return open_run(folder)
    run = create_run(folder) if engine.is_main else Run(folder)
    engine.wait()
    return run


def _check_resumable(before: TrainConfig, now: TrainConfig) -> None:
    changed = [name for name in before.differences(now) if name not in RESUMABLE]
    if changed:
        raise UserError(
            f"--resume goes on with the run's own settings, and {', '.join(changed)} would change: "
            "leave that out, or start a new run in another --out"
        )
    if now.epochs < before.epochs:
        raise UserError(f"--epochs {now.epochs}: the run was meant for {before.epochs}; resuming can only extend it")


def understand_data(config: TrainConfig, samples: Sequence[Sample] | None) -> SampleSet:
    """The samples that `config.data` names, or the user's own, split and fit to train on.

    Raises:
        UserError: They cannot be understood, or are too few.
    """
    if samples is not None:
        own = understand_samples(config.data or "own samples", samples, object_values=config.object_values)
        sample_set = split_set(
            own,
            seed=config.split_seed,
            group_by=config.group_by,
            folds=config.folds,
            fold=config.fold,
            progress=show_progress,
        )
    else:
        if not config.data:
            raise UserError("which DATA? Give oxford-pet, figures, or a folder with images/ and masks/")
        sample_set = open_samples(config.data, **config.data_options(), progress=show_progress)
    for split in ("train", "validation"):
        if not sample_set.of(split).samples:
            raise UserError(
                f"{sample_set.name} has no {split} photos: training needs some to learn from and some to choose by"
            )
    count = len(sample_set.of("train").samples)
    if config.batch_size > count and config.fit != "crop":  # a photo may hold many patches
        raise UserError(f"--batch-size {config.batch_size} is more than the {count} training photos: choose {count} or less")
    check_border(config.border, sample_set.encoding)
    if not config.allow_overlap:
        refuse_overlaps(sample_set)
    return sample_set


def prepare_learner(
    config: TrainConfig,
    samples: SampleSet,
    engine: Engine,
    *,
    model: nn.Module | None = None,
    loss: Loss | None = None,
    augment: Augment | None = None,
    metric: Metric | None = None,
) -> Learner:
    """Build every part, or take the user's.

    Raises:
        UserError: No such model, or a batch that the processes cannot share.
    """
    if config.batch_size % engine.processes:
        raise UserError(f"--batch-size {config.batch_size} cannot be shared by {engine.processes} processes: use a multiple")
    torch.manual_seed(int(open_stream(config.seed, 0, Purpose.NETWORK).integers(2**63)))
    network = wrap_network(model) if model is not None else build_network(config.model, width=config.width)
    if config.batch_size == engine.processes and config.size <= network.stride:
        raise UserError(
            f"--batch-size {config.batch_size} at --size {config.size} leaves the deepest batch norm one value: raise either"
        )
    predictor = Predictor(network, size=config.size, fit=config.fit).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(predictor.parameters(), lr=config.learning_rate, fused=engine.device.type != "mps")
    module, prepared = engine.prepare(Trainable(predictor), optimizer)

    training, validation = samples.of("train"), samples.of("validation")
    if not engine.is_main:
        engine.wait()  # the main process fills the cache, the others then find it
    store = _open_store(config, training, engine, has_margin=config.augment.enabled or augment is not None)
    photos = cache_photos(validation, progress=show_progress)
    if engine.is_main:
        engine.wait()
    return Learner(
        engine=engine,
        predictor=predictor,
        module=module,
        optimizer=prepared,
        store=store,
        names=[training.samples[photo].id for photo in store.photo_of_row],
        validation=photos,
        border=config.border,
        augment=augment
        or PairedAugmentation(
            config.augment,
            store.aspects,
            size=config.size,
            seed=config.seed,
            device=engine.device,
            reach=store.reach,
        ),
        loss=loss
        or make_loss(
            config.loss,
            bce_weight=config.bce_weight,
            overlap_weight=config.overlap_weight,
            false_positive_weight=config.false_positive_weight,
            false_negative_weight=config.false_negative_weight,
            dice_reduction=config.dice_reduction,
        ),
        metric=metric,
        batch_size=config.batch_size,
        seed=config.seed,
    )


def _open_store(config: TrainConfig, training: SampleSet, engine: Engine, *, has_margin: bool) -> TrainingStore | PatchStore:
    """The training photos as the network will see them: squares of whole photos, or patches at their own scale.

    Raises:
        UserError: A batch needs more patches than there are.
    """
    if config.fit != "crop":
        stored_size = round(SQUARE_MARGIN * config.size) if has_margin else config.size
        squares = cache_squares(training, size=stored_size, fit=config.fit, progress=show_progress)
        return TrainingStore(squares, config.border, engine.device, engine.free_bytes())
    photos = cache_photos(training, pixel_for_pixel=True, progress=show_progress)
    store = PatchStore(photos, config.border, engine.device, size=config.size, seed=config.seed, has_margin=has_margin)
    if config.batch_size > len(store):
        raise UserError(
            f"--batch-size {config.batch_size} is more than the {len(store)} patches of {config.size} px that the training "
            f"photos hold: choose {len(store)} or less, or a smaller --size"
        )
    return store


def _describe_model(config: TrainConfig, samples: SampleSet) -> ModelHeader:
    """The header of this run's models; epoch and score are filled in when one is saved."""
    return ModelHeader(
        network=config.model,
        width=config.width,
        size=config.size,
        fit=config.fit,
        threshold=0.5,
        border=config.border,
        data=samples.name,
        data_fingerprint=samples.fingerprint,
        epoch=0,
        validation_dice=0.0,
        fgbg_version=fgbg.__version__,
        training_images=samples.of("train").image_keys,
        validation_images=samples.of("validation").image_keys,
        overlap_count=len(find_overlaps(samples)),
    )


def _say_nothing(_: str) -> None:
    """Only the main process speaks."""
