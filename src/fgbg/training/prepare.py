"""Everything up to the first epoch: data understood, parts built, run folder written, self-check passed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fgbg
from fgbg.config import TrainConfig, require_loss_options
from fgbg.data.overlaps import Overlap, find_near_overlaps, find_overlaps
from fgbg.data.parallel import show_progress
from fgbg.data.patches import describe_patches
from fgbg.data.samples import SampleSet
from fgbg.engine import Engine
from fgbg.errors import UserError
from fgbg.judge.names import LAB_SPLIT
from fgbg.loss_names import split_loss
from fgbg.model_file import ModelHeader
from fgbg.models import count_parameters, describe_model, name_encoder, require_model
from fgbg.run import Run, create_run, open_run
from fgbg.storage import JOINT, free_name, holds_nothing, write_alone
from fgbg.training.build import build_learner, understand_data
from fgbg.training.initial_weights import InitialWeights, describe_initial_weights, require_same_network
from fgbg.training.loop import Learner
from fgbg.training.own_parts import OwnParts
from fgbg.training.resume import (
    describe_resumption,
    require_intact_run,
    require_own_network,
    require_same_parts,
    require_same_settings,
)
from fgbg.training.selfcheck import check_before_training
from fgbg.training.state import Progress, restore_state
from fgbg.training.track import require_tracker

HALVES = "note: with both weights at 0.5 the Tversky loss is the Dice loss"


@dataclass(frozen=True)
class Training:
    """A training that is ready to start or resume."""

    run: Run
    config: TrainConfig
    header: ModelHeader  # of its models; epoch and score are still to come
    validation: SampleSet  # the others, maybe millions, are dropped: the learner has the pixels it needs
    learner: Learner
    progress: Progress  # where it starts
    say: Callable[[str], None]

    @property
    def tracker(self) -> str:
        """The tracker that logs each epoch, in the main process only."""
        return self.config.track if self.learner.engine.is_main else "none"


@contextmanager
def prepare_training(
    config: TrainConfig, own: OwnParts | None = None, *, resume: bool = False, say: Callable[[str], None] = print
) -> Iterator[Training]:
    """Context with a training that is ready to start; no other process writes into its run folder.

    Raises what `train` raises. Messages go to `say`, from the main process only.
    """
    own = own or OwnParts()
    if resume and config.out:
        _require_training(Path(config.out).expanduser())
    require_tracker(config.track)
    engine = Engine(config.device, config.precision, config.threads)
    say = say if engine.is_main else say_nothing
    if own.model is not None:
        config = replace(config, model=f"own:{type(own.model).__name__}")
    else:
        if config.init and not resume:
            require_same_network(config)
        batch = config.batch_size // engine.processes // config.accumulate
        if not (resume and config.model.startswith("own:")):  # of that, `require_own_network` tells
            require_model(config.model, encoder=config.encoder, batch=batch)  # before anything is read or written
    if own.loss is None and not resume:
        require_loss_options(config)
    run = _open_folder(config, resume, engine)
    with write_alone(run.folder) if engine.is_main else nullcontext():
        if engine.is_main and not resume:
            create_run(run.folder)  # again: another training may have run here meanwhile
        try:
            training = _prepare(replace(config, out=str(run.folder)), own, run, engine, say, resume=resume)
        except UserError:
            if engine.is_main and holds_nothing(run.folder):
                shutil.rmtree(run.folder, ignore_errors=True)  # while no other process can write into it
            raise
        yield training


def _prepare(
    config: TrainConfig, own: OwnParts, run: Run, engine: Engine, say: Callable[[str], None], *, resume: bool
) -> Training:
    """Understand the data, build the parts, write the first files, pass the self-check."""
    if resume:
        require_own_network(run, run.config, own.model)
        require_same_settings(run.config, config)

    # A resumed run keeps its splits, whatever lists, groups and tables say by now.
    sample_set = understand_data(config, own.samples, locked=(run.locked_splits() or None) if resume else None)
    if resume and run.fingerprint not in ("", sample_set.fingerprint):
        raise UserError(f"{sample_set.name} has changed since {run.folder} was begun: restore it, or start a new run")
    resumed = run.best if resume and run.last.exists() and run.best.exists() else None
    learner = build_learner(config, sample_set, engine, own, resumed=resumed)
    _announce(config, sample_set, learner, say)
    progress = _restore(run, config, own, learner, say) if resume else Progress()
    progress = replace(progress, own_parts=own.of_training)
    copies: list[Overlap] | None = None
    if engine.is_main:
        is_searched = config.selfcheck and not progress.epoch
        copies = find_near_overlaps(sample_set, show_progress) if is_searched else None
        _write_beginning(run, config, own, sample_set, learner, progress, copies)
    engine.wait()  # from here on, the record holds no epoch that is about to be trained again
    if config.selfcheck and not progress.epoch:
        check_before_training(run, config, learner, sample_set, say, copies=copies, own_loss=own.loss is not None)
    header = _describe_model(config, sample_set, learner.initial)
    return Training(run, config, header, sample_set.of("validation"), learner, progress, say)


def _restore(run: Run, config: TrainConfig, own: OwnParts, learner: Learner, say: Callable[[str], None]) -> Progress:
    """Give the learner the state that the run had reached.

    Raises:
        UserError: It is damaged, or is not of this run, its record, or these parts.
    """
    progress = restore_state(run.last, learner)
    require_intact_run(run, progress)
    require_same_parts(run, progress, own.of_training)
    say(describe_resumption(run, run.config, config, learner, progress))
    return progress


def _announce(config: TrainConfig, samples: SampleSet, learner: Learner, say: Callable[[str], None]) -> None:
    """Say what was understood, before training starts."""
    say(samples.describe())
    if config.split == "lab":
        say(f"note: {LAB_SPLIT}")
    if config.fit == "crop":
        say(describe_patches(samples.of("train"), config.size))
    if samples.encoding.has_band:
        say(f"border = {config.border}")
    parameters = count_parameters(learner.predictor)
    name = describe_model(config.model, width=config.width, encoder=config.encoder)
    say(f"{name}, {parameters:,} parameters, {config.size} px · {learner.engine.describe()}")
    say(_describe_steps(config, learner.engine.processes))
    for line in describe_initial_weights(config, learner.initial):
        say(line)
    if same := find_same_dice(config):
        say(f"{HALVES}; this run is the same as {same}")
    parts = learner.engine.processes * config.accumulate
    if parts > 1 and config.dice_reduction == "batch":
        say(f"note: --dice-reduction batch takes the overlap of each of {parts} parts of a step by itself: another loss")
    if config.loss == "focal_tversky":
        say("note: focal_tversky is focal and Tversky; the focal Tversky loss is the second part of bce_focal_tversky")


def find_same_dice(config: TrainConfig) -> str:
    """The loss with Dice that the configured one with Tversky is by its weights; empty if it is none.

    >>> find_same_dice(TrainConfig(loss="bce_tversky")), find_same_dice(TrainConfig(loss="bce_focal_tversky"))
    ('bce_dice', '')
    """
    is_tversky = split_loss(config.loss)[1] == "tversky"
    is_dice = is_tversky and config.false_positive_weight == config.false_negative_weight == 0.5
    return config.loss.replace("tversky", "dice") if is_dice else ""


def _describe_steps(config: TrainConfig, processes: int) -> str:
    """The batch over all processes, how it is split, and the optimizer.

    >>> _describe_steps(TrainConfig(batch_size=32, accumulate=2), processes=4)
    'a step: 32 images (8 on each of 4 processes, in 2 parts), adam, learning rate 0.001, constant'
    """
    share = config.batch_size // processes
    parts = f"in {config.accumulate} parts" if config.accumulate > 1 else ""
    shares = f"{share} on each of {processes} processes" if processes > 1 else ""
    details = ", ".join(filter(None, (shares, parts)))
    images = f"a step: {config.batch_size} images" + (f" ({details})" if details else "")
    return f"{images}, {config.optimizer}, learning rate {config.learning_rate:g}, {config.schedule}"


def _write_beginning(
    run: Run,
    config: TrainConfig,
    own: OwnParts,
    samples: SampleSet,
    learner: Learner,
    progress: Progress,
    copies: Sequence[Overlap] | None,
) -> None:
    """Write what the run folder holds before the first epoch."""
    run.keep_epochs(progress.epoch)
    run.write_config(config)
    engine, pretrained = learner.engine, learner.initial.pretrained
    details: dict[str, Any] = {
        "device": str(engine.device),
        "processor": engine.processor,
        "precision": engine.precision,
        "threads": engine.threads,
        "processes": engine.processes,
        "seed": config.seed,
    }
    if parts := own.describe():  # in place of what the settings name
        details["own_parts"] = parts
    if pretrained:
        details["pretrained_from"] = pretrained.origin
    run.write_environment(details, after_epoch=progress.epoch)
    run.write_split(samples, config, copies)


def _require_training(folder: Path) -> None:
    """Refuse to resume a folder of scores that are no training's own.

    Raises:
        UserError: It is one.
    """
    if (folder / JOINT).exists():
        raise UserError(f"{folder} holds scores of other runs or of masks, and no training to go on with: name a run")


def _open_folder(config: TrainConfig, resume: bool, engine: Engine) -> Run:
    """The run folder, created by the main process only."""
    if not config.out and (resume or engine.processes > 1):
        raise UserError("--out is needed: which run folder?")
    folder = Path(config.out).expanduser() if config.out else free_name(Path("runs") / config.model.replace(":", "-"))
    if resume:
        return open_run(folder)
    run = create_run(folder) if engine.is_main else Run(folder)
    engine.wait()
    return run


def _describe_model(config: TrainConfig, samples: SampleSet, initial: InitialWeights) -> ModelHeader:
    """The header of this run's models; epoch and score are filled in when one is saved.

    Includes the training and validation photos of the model that this one started from: neither can be scored on them.
    """
    before, pretrained = initial.header, initial.pretrained
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
        mean=initial.mean,
        deviation=initial.deviation,
    )


def _join(first: Iterable[str], second: Iterable[str]) -> tuple[str, ...]:
    """Both in order, without duplicates."""
    return tuple(dict.fromkeys((*first, *second)))


def say_nothing(_: str) -> None:
    """`say` in all but the main process, and in a search's trials: each is reported in one line, when it has ended."""
