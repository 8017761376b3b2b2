"""`train`: from a configuration to a run folder."""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import replace
from functools import partial

import numpy as np
from torch import nn

from fgbg.config import TrainConfig, flatten
from fgbg.data.augment import Augment, PairedAugmentation
from fgbg.data.samples import Sample
from fgbg.errors import UserError
from fgbg.judge.evaluate import find_seen_photos
from fgbg.judge.report import write_record
from fgbg.judge.runs import choose_on_validation
from fgbg.memory import keeping_memory
from fgbg.model_file import ModelHeader
from fgbg.models.checkpoint import load_model, read_header
from fgbg.record import EpochRecord
from fgbg.rows import ScoreRow
from fgbg.run import Run
from fgbg.training.loop import Learner, Metric, train_epoch, validate
from fgbg.training.losses import Loss
from fgbg.training.own_parts import OwnParts
from fgbg.training.prepare import Training, prepare_training
from fgbg.training.resume import best_before
from fgbg.training.schedule import size_in
from fgbg.training.track import open_tracker
from fgbg.training.writer import EpochWriter, write_best
from fgbg.words import name_some, plural

LONG_SECONDS = 2 * 3600  # of a training, from which on it is told how long it will take
HARDLY = 0.02  # mean recall or specificity below which a model gives one answer everywhere


def train(
    config: TrainConfig,
    *,
    samples: Iterable[Sample] | None = None,
    model: nn.Module | None = None,
    loss: Loss | None = None,
    augment: Augment | None = None,
    metric: Metric | None = None,
    resume: bool = False,
) -> Run:
    """Train a network and write a run folder, which everything else reads.

    Every part can be your own. Signatures: `fgbg.Sample`, `fgbg.Loss`, `fgbg.Augment`, `fgbg.Metric`; a `model` is any
    module from normalised images (batch, 3, height, width) to logits (batch, 1, height, width), with an attribute
    `stride` if its input's edges must be multiples of a number.

    Args:
        config: Every setting; `config.out` names the run folder.
        samples: Photos and masks in place of `config.data`.
        model: A network in place of `config.model`.
        loss: A loss in place of `config.loss`.
        augment: An augmentation in place of `config.augment`, but for its `cutmix` and `mixup`.
        metric: A score whose mean over the validation photos chooses the best epoch, in place of Dice.
        resume: Continue the run in `config.out`.

    Returns:
        The run. `best.safetensors` and `last.pt` are in it from the first epoch on, even if training is interrupted.

    Raises:
        UserError: Something in the configuration, the data or the folder cannot be used.
    """
    samples = None if samples is None else list(samples)  # a generator can be looked at once only
    own = OwnParts(samples, model, loss, augment, metric)
    with prepare_training(config, own, resume=resume) as training:
        with keeping_memory():
            _train_and_record(training)
        return training.run


def _train_and_record(training: Training) -> None:
    """Train all epochs and choose the threshold; however it ends, write workbook and charts of the epochs so far."""
    run, engine = training.run, training.learner.engine
    try:
        with (
            open_tracker(run, training.tracker, after_epoch=training.progress.epoch) as track,
            closing(run_epochs(training)) as records,
        ):
            for record in records:
                track(record)
        _choose_threshold(training)
        for stale in run.list_stale():  # a resumed run may have been scored before
            training.say(f"note: {stale}")
    except KeyboardInterrupt:
        training.say(f"\nstopped {_describe_stop(run)}")
        raise
    except RuntimeError as error:
        if not engine.has_lost_another(error):
            raise
        sentence = f"another process of this training has died, and may have said why; stopped {_describe_stop(run)}"
        training.say(f"\n{sentence}")  # at once: the launcher may end this process at any moment
        raise UserError(sentence) from None
    finally:
        is_failing = sys.exc_info()[0] is not None  # then that error, and not one of these files, says what happened
        with suppress(OSError, UserError) if is_failing else nullcontext():
            if engine.is_main and run.epochs():
                write_record([run], run.folder)


def run_epochs(training: Training) -> Generator[EpochRecord, None, None]:
    """Train, validate and record each epoch, and yield its record; on a GPU it is written while the next epoch is trained.

    Ends after the last epoch, or after `patience` epochs without improvement, when everything is on the disk. The caller may
    close it earlier, which waits for that too: the run can be resumed.
    """
    engine = training.learner.engine
    with EpochWriter(training.run, training.header, beside=engine.device.type != "cpu") as writer:
        yield from _train_epochs(training, writer)
    engine.wait()  # other processes read the model next


def _train_epochs(training: Training, writer: EpochWriter) -> Generator[EpochRecord, None, None]:
    run, config, learner, progress = training.run, training.config, training.learner, training.progress
    best_epoch = best_before(run.epochs(), progress.epoch)
    if learner.engine.is_main and best_epoch == progress.epoch > 0:
        _restore_best(run, learner, training.header)
    for epoch in range(progress.epoch + 1, config.epochs + 1):
        if learner.engine.has_lost_its_launcher:
            writer.wait()
            raise UserError(f"what started the processes of this training has died; stopped {_describe_stop(run)}")
        if config.patience and epoch - 1 - best_epoch >= config.patience:
            training.say(f"stopping: {config.patience} epochs brought nothing better than epoch {best_epoch}")
            return
        if config.start_size and isinstance(learner.augment, PairedAugmentation):
            learner.augment.set_size(size_in(epoch, config))
        start = time.perf_counter()
        tell_pace = partial(_tell_pace, training, epoch) if epoch == training.progress.epoch + 1 else None
        trained = train_epoch(learner, epoch, f"Epoch {epoch}/{config.epochs}", tell_pace)
        validated = validate(learner)
        if validated.undefined:
            raise UserError(_describe_undefined(training, validated.undefined))
        is_best = validated.score > progress.best_score
        best_epoch = epoch if is_best else best_epoch
        best_score = max(validated.score, progress.best_score)
        progress = replace(progress, epoch=epoch, best_score=best_score, settings=flatten(config))
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
            writer.write(learner, progress, record)
            training.say(_describe_epoch(record, config.epochs))
        learner.engine.wait()
        yield record


def _tell_pace(training: Training, epoch: int, epoch_seconds: float) -> None:
    """Tell how long the epochs from this one on will take, if that is long."""
    seconds = epoch_seconds * (training.config.epochs + 1 - epoch)
    if seconds > LONG_SECONDS:
        hours = seconds / 3600
        took = f"{hours:.0f} hours" if hours < 48 else f"{hours / 24:.0f} days"
        least = "at least" if training.config.start_size else "about"  # photos grow, and so does the time they take
        training.say(
            f"note: at this pace the training takes {least} {took}; Ctrl-C keeps whole epochs, and --preset fast or a "
            "smaller --size and --width make it shorter"
        )


def _restore_best(run: Run, learner: Learner, header: ModelHeader) -> None:
    """Write the best model, if a kill right after saving the state of its epoch prevented it."""
    record = run.epochs()[-1]
    if not run.best.exists() or read_header(run.best).epoch != record.epoch:
        write_best(run, learner.judged.network.state_dict(), header, record)


def _describe_undefined(training: Training, undefined: Sequence[int]) -> str:
    names = name_some([training.validation.samples[photo].id for photo in undefined], 3)
    return (
        f"your metric is no finite number for {plural(len(undefined), 'validation photo')} ({names}), so that no epoch can "
        "be chosen by its mean: let it return what such a photo counts as"
    )


def _describe_stop(run: Run) -> str:
    return f"after {plural(len(run.epochs()), 'whole epoch')}; go on with: fgbg train --resume --out {run.folder}"


def _choose_threshold(training: Training) -> None:
    """Choose the best model's threshold and measure its calibration, on validation."""
    run, config, learner, say = training.run, training.config, training.learner, training.say
    validation = training.validation
    # A copy: the network in memory is the last epoch's, and a user's own must stay as training left it.
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
    if answer := _find_one_answer(evaluation.rows):
        cure = "it has learnt nothing yet; train longer, or with another --learning-rate"
        say(f"note: at this threshold the model {answer}: {cure}")


def _find_one_answer(rows: Sequence[ScoreRow]) -> str:
    """What a model does that gives one answer everywhere, in words; empty for any other."""
    found = [row.TP / (row.TP + row.FN) for row in rows if row.TP + row.FN]  # a photo without object tells nothing of it
    left = [row.TN / (row.TN + row.FP) for row in rows if row.TN + row.FP]
    if found and np.mean(found) < HARDLY:
        return "finds nearly nothing"
    return "calls nearly everything object" if left and np.mean(left) < HARDLY else ""


def _describe_epoch(record: EpochRecord, epochs: int) -> str:
    parts = [
        f"Epoch {record.epoch:{len(str(epochs))}}/{epochs}",
        f"Train Loss: {record.train_loss:.4f}, Train Dice: {record.train_dice:.4f}",
        f"Valid Loss: {record.val_loss:.4f}, Valid Dice: {record.val_dice:.4f}, at photo size: {record.val_dice_photo:.4f}",
        f"{record.images_per_second:.0f} img/s, {record.seconds:.1f} s",
    ]
    return " | ".join([*parts, "best"] if record.best else parts)
