"""`train`: from a configuration to a run folder."""

from __future__ import annotations

import copy
import math
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

import fgbg
from fgbg.config import TrainConfig, flatten
from fgbg.data.augment import Augment, PairedAugmentation
from fgbg.data.patches import describe_patches
from fgbg.data.samples import Sample, SampleSet
from fgbg.data.split import find_overlaps
from fgbg.engine import Engine
from fgbg.errors import UserError
from fgbg.judge.evaluate import find_seen_photos
from fgbg.judge.report import write_record
from fgbg.judge.runs import choose_on_validation
from fgbg.model_file import ModelHeader
from fgbg.models import count_parameters, describe_model, name_encoder, require_model
from fgbg.models.checkpoint import load_model, read_header, save_model
from fgbg.record import EpochRecord
from fgbg.run import Run, create_run, free_name, open_run
from fgbg.storage import holds_nothing, write_alone
from fgbg.training.loop import Learner, Metric, train_epoch, validate
from fgbg.training.losses import Loss
from fgbg.training.parts import OwnParts, prepare_learner, understand_data
from fgbg.training.resume import best_before, describe_resumption, require_intact_run, require_same_settings
from fgbg.training.selfcheck import check_before_training
from fgbg.training.start import Start, describe_start, require_same_network
from fgbg.training.state import Progress, restore_state, save_state
from fgbg.training.track import open_tracker, require_tracker

PLAIN_TVERSKY = ("bce_tversky", "focal_tversky", "boundary_tversky")


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
    training = begin_training(config, OwnParts(samples, model, loss, augment, metric), resume=resume)
    with training.claim:
        _train_and_record(training)
    return training.run


def _train_and_record(training: Training) -> None:
    """Every epoch, the threshold, and workbook and charts of as many epochs as there were, however it ends."""
    run, engine = training.run, training.learner.engine
    try:
        with open_tracker(run, training.tracker, after_epoch=training.progress.epoch) as track:
            for record in run_epochs(training):
                track(record)
        _choose_threshold(training)
    except KeyboardInterrupt:
        training.say(f"\nstopped {_describe_stop(run)}")
        raise
    except RuntimeError as error:
        if not engine.has_lost_another(error):
            raise
        sentence = f"another process of this training has died; stopped {_describe_stop(run)}"
        training.say(f"\n{sentence}")  # at once: what started the processes may end this one any moment
        raise UserError(sentence) from None
    finally:
        if engine.is_main and run.epochs():
            write_record([run], run.folder)


def _describe_stop(run: Run) -> str:
    return f"after {len(run.epochs())} whole epochs; go on with: fgbg train --resume --out {run.folder}"


@dataclass(frozen=True)
class Training:
    """A training that is ready to begin, or to go on."""

    run: Run
    config: TrainConfig
    header: ModelHeader  # what its models will say of themselves; epoch and score are still to come
    validation: SampleSet  # of the others only pixels are still needed, which the learner has: there may be millions
    learner: Learner
    progress: Progress  # where it begins
    say: Callable[[str], None]
    claim: ExitStack  # while it is open no other process writes into the run folder; who trains closes it

    @property
    def tracker(self) -> str:
        """Who else is told of each epoch; by the main process alone."""
        return self.config.track if self.learner.engine.is_main else "none"


def begin_training(
    config: TrainConfig, own: OwnParts | None = None, *, resume: bool = False, say: Callable[[str], None] = print
) -> Training:
    """Everything up to the first epoch: data understood, parts built, run folder written, self-check passed.

    Errors are those of `train`; `say` is told by the main process what there is to tell. The run folder is claimed until
    the training's `claim` is closed.
    """
    own = own or OwnParts()
    require_tracker(config.track)
    engine = Engine(config.device, config.precision, config.threads)
    say = say if engine.is_main else _say_nothing
    if own.model is not None:
        config = replace(config, model=f"own:{type(own.model).__name__}")
    else:
        if config.init and not resume:
            require_same_network(config)
        batch = config.batch_size // engine.processes // config.accumulate
        require_model(config.model, encoder=config.encoder, batch=batch)  # before anything is read or written
    run = _open_folder(config, resume, engine)
    with ExitStack() as claim:
        if engine.is_main:
            claim.enter_context(write_alone(run.folder))
            if not resume:
                create_run(run.folder)  # again: another training may have come and gone since
        try:
            ready = _prepare(replace(config, out=str(run.folder)), own, run, engine, say, resume=resume)
        except UserError:
            if engine.is_main and holds_nothing(run.folder):
                shutil.rmtree(run.folder, ignore_errors=True)  # while it is still claimed
            raise
        return replace(ready, claim=claim.pop_all())


def _prepare(
    config: TrainConfig, own: OwnParts, run: Run, engine: Engine, say: Callable[[str], None], *, resume: bool
) -> Training:
    """Data understood, parts built, the beginning written, the self-check passed."""
    before = run.config if resume else config
    if resume:
        require_same_settings(before, config)

    sample_set = understand_data(config, own.samples)
    if resume and run.fingerprint not in ("", sample_set.fingerprint):
        raise UserError(f"{sample_set.name} has changed since {run.folder} was begun: restore it, or start a new run")
    resumed = run.best if resume and run.last.exists() and run.best.exists() else None
    learner = prepare_learner(config, sample_set, engine, own, resumed=resumed)
    _announce(config, sample_set, learner, say)
    progress = restore_state(run.last, learner) if resume else Progress()
    if resume:
        require_intact_run(run, progress)
        say(describe_resumption(run, before, config, learner, progress))
    if engine.is_main:
        _write_beginning(run, config, sample_set, engine, progress)
    engine.wait()  # who reads the record from here on finds no epoch in it that is about to be replayed
    if config.selfcheck and not progress.epoch:
        check_before_training(run, config, learner, sample_set, say, own_loss=own.loss is not None)
    header = _describe_model(config, sample_set, learner.start)
    return Training(run, config, header, sample_set.of("validation"), learner, progress, say, ExitStack())


def _announce(config: TrainConfig, samples: SampleSet, learner: Learner, say: Callable[[str], None]) -> None:
    """Say what was understood before the work begins."""
    say(samples.describe())
    if config.fit == "crop":
        say(describe_patches(samples.of("train"), config.size))
    if samples.encoding.has_band:
        say(f"border = {config.border}")
    parameters = count_parameters(learner.predictor)
    name = describe_model(config.model, width=config.width, encoder=config.encoder)
    say(f"{name}, {parameters:,} parameters, {config.size} px · {learner.engine.describe()}")
    say(_describe_steps(config, learner.engine.processes))
    for line in describe_start(config, learner.start):
        say(line)
    if config.loss in PLAIN_TVERSKY and config.false_positive_weight == config.false_negative_weight == 0.5:
        same = config.loss.replace("tversky", "dice")
        say(f"note: with both weights at 0.5 the Tversky loss is the Dice loss; this run is the same as {same}")
    if config.loss == "focal_tversky":
        say("note: focal_tversky is focal and Tversky; the focal Tversky loss is the second part of bce_focal_tversky")


def _describe_steps(config: TrainConfig, processes: int) -> str:
    """How large a step is, over all processes, and who computes what of it.

    >>> _describe_steps(TrainConfig(batch_size=32, accumulate=2), processes=4)
    'a step: 32 images (8 on each of 4 processes, in 2 parts), adam, learning rate 0.001, constant'
    """
    share = config.batch_size // processes
    parts = f"in {config.accumulate} parts" if config.accumulate > 1 else ""
    shares = f"{share} on each of {processes} processes" if processes > 1 else ""
    details = ", ".join(filter(None, (shares, parts)))
    images = f"a step: {config.batch_size} images" + (f" ({details})" if details else "")
    return f"{images}, {config.optimizer}, learning rate {config.learning_rate:g}, {config.schedule}"


def _write_beginning(run: Run, config: TrainConfig, samples: SampleSet, engine: Engine, progress: Progress) -> None:
    """What the run folder holds before the first epoch."""
    run.keep_epochs(progress.epoch)
    run.write_config(config)
    run.write_environment(
        seed=config.seed,
        device=str(engine.device),
        processor=engine.processor,
        threads=engine.threads,
        processes=engine.processes,
        after_epoch=progress.epoch,
    )
    run.write_split(samples, config)


def run_epochs(training: Training) -> Iterator[EpochRecord]:
    """Train, validate, keep, record; each epoch's record is yielded when all of it is on the disk.

    Until the last epoch, or until `patience` epochs brought nothing better. Whoever has seen enough may stop asking for
    more: the run can be resumed.
    """
    run, config, learner, progress = training.run, training.config, training.learner, training.progress
    header = training.header
    best_epoch = best_before(run.epochs(), progress.epoch)
    if learner.engine.is_main and best_epoch == progress.epoch > 0:
        _restore_best(run, learner, header)
    for epoch in range(progress.epoch + 1, config.epochs + 1):
        if learner.engine.has_lost_its_launcher:
            raise UserError(f"what started the processes of this training has died; stopped {_describe_stop(run)}")
        if config.patience and epoch - 1 - best_epoch >= config.patience:
            training.say(f"stopping: {config.patience} epochs brought nothing better than epoch {best_epoch}")
            return
        if config.start_size and isinstance(learner.augment, PairedAugmentation):
            learner.augment.show(size_in(epoch, config))
        start = time.perf_counter()
        trained = train_epoch(learner, epoch, f"Epoch {epoch}/{config.epochs}")
        validated = validate(learner)
        score = -math.inf if math.isnan(validated.score) else validated.score
        is_best = score > progress.best_score or progress.epoch == 0  # whatever the first score, that model is kept
        best_epoch = epoch if is_best else best_epoch
        progress = Progress(epoch, max(score, progress.best_score), flatten(config))
        record = EpochRecord(
            epoch=epoch,
            train_loss=trained.loss,
            train_dice=trained.dice,
            val_loss=validated.loss,
            val_dice=validated.dice,
            val_dice_photo=validated.dice_photo,
            learning_rate=trained.learning_rate,
            images_per_second=trained.images_per_second,
            seconds=time.perf_counter() - start,
            best=is_best,
            own_metric=validated.own_metric,
        )
        if learner.engine.is_main:
            # In this order no kill leaves a best model that the record does not know: with the state the epoch has ended,
            # and if it was the best one its weights are in the state too.
            run.append_epoch(record)
            save_state(run.last, learner, progress)
            if is_best:
                _save_best(run, learner, header, record)
            training.say(_describe_epoch(record, config.epochs))
        learner.engine.wait()
        yield record


def _save_best(run: Run, learner: Learner, header: ModelHeader, record: EpochRecord) -> None:
    """Keep the learner's weights as the run's model, which are those of that epoch."""
    header = replace(header, epoch=record.epoch, validation_dice=record.val_dice_photo)
    save_model(run.best, learner.judged.network, header)


def _restore_best(run: Run, learner: Learner, header: ModelHeader) -> None:
    """Write the model that a kill prevented, right after the state of the same epoch."""
    record = run.epochs()[-1]
    if not run.best.exists() or read_header(run.best).epoch != record.epoch:
        _save_best(run, learner, header, record)


def size_in(epoch: int, config: TrainConfig) -> int:
    """The edge that an epoch is trained at: from `start_size` to `size` over the first half of the run, by steps of 32 px.

    >>> [size_in(epoch, TrainConfig(start_size=64, size=128, epochs=8)) for epoch in (1, 2, 3, 4, 5, 8)]
    [64, 64, 96, 96, 128, 128]
    """
    if not config.start_size:
        return config.size
    progress = min(1.0, (epoch - 1) / (config.epochs / 2))
    grown = (config.size - config.start_size) * progress
    return config.size if progress == 1 else config.start_size + int(grown / 32) * 32


def _choose_threshold(training: Training) -> None:
    """The best model's threshold, and what validation says of its probabilities."""
    run, config, learner, say = training.run, training.config, training.learner, training.say
    validation = training.validation
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


def _describe_model(config: TrainConfig, samples: SampleSet, start: Start) -> ModelHeader:
    """The header of this run's models; epoch and score are filled in when one is saved.

    What trained and chose the model that this one started from is taken over: its photos can judge neither.
    """
    before, pretrained = start.header, start.pretrained
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
        encoder=name_encoder(config.model, config.encoder),
        pretrained_from=pretrained.origin if pretrained else before.pretrained_from if before else "",
        pretrained_license=pretrained.license if pretrained else before.pretrained_license if before else "",
        initialised_from=config.init,
        training_images=_join(samples.of("train").image_keys, before.training_images if before else ()),
        validation_images=_join(samples.of("validation").image_keys, before.validation_images if before else ()),
        overlap_count=len(find_overlaps(samples)),
        mean=start.mean,
        deviation=start.deviation,
    )


def _join(first: Iterable[str], second: Iterable[str]) -> tuple[str, ...]:
    """All of both, each once, in their order."""
    return tuple(dict.fromkeys((*first, *second)))


def _say_nothing(_: str) -> None:
    """Only the main process speaks."""
