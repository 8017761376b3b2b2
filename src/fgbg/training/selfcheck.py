"""The self-check: looks for silent errors that would make a training worthless, in the seconds before its first epoch.

It works on copies: the training that follows is the same to the bit with and without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fgbg.config import TrainConfig
from fgbg.data.overlaps import Overlap
from fgbg.data.samples import SampleSet
from fgbg.errors import UserError
from fgbg.judge.pictures import draw_batch
from fgbg.run import Run
from fgbg.training.checks import augmentation, data, draws, kinds, loss, metric, network
from fgbg.training.checks.finding import Finding, doubted, failed, passed
from fgbg.training.loop import Learner
from fgbg.words import NOT_JUDGED

PICTURED = 8  # images of the first batch


def check_before_training(
    run: Run,
    config: TrainConfig,
    learner: Learner,
    samples: SampleSet,
    say: Callable[[str], None],
    *,
    copies: Sequence[Overlap] | None,
    own_loss: bool,
) -> None:
    """Run the self-check in the main process only: it touches nothing that processes share.

    Args:
        run: Keeps the findings and the picture of the first batch.
        config, learner, samples: The training.
        say: Gets what was found.
        copies: As `find_near_overlaps` finds them, in the main process.
        own_loss: Whether the loss is the user's and not the configured one.

    Raises:
        UserError: The training would be worthless.
    """
    findings: list[Finding] = []
    if learner.engine.is_main:
        picture = run.charts / "first_batch.png"
        known = None if own_loss else config
        findings = check_learner(learner, epochs=config.epochs, config=known, picture=picture)
        findings = [data.check_splits(samples), data.check_copies(copies), *findings]
        run.write_selfcheck([finding._asdict() for finding in findings])
    findings = learner.engine.gather(findings, lambda finding: finding.name)
    _stop_or_go_on(findings)
    say(describe_findings(findings))


def check_learner(
    learner: Learner,
    *,
    epochs: int = 2,
    config: TrainConfig | None = None,
    picture: Path | None = None,
) -> list[Finding]:
    """Look for silent errors in a training that has not started.

    Args:
        learner: The training's parts, copied where possible; weights, gradients, modes and random states stay unchanged.
        epochs: Number of epochs to come: the augmentation is not called for later ones.
        config: The settings, if the loss is the configured one.
        picture: The PNG to draw the first augmented batch into.
    """
    with draws.leave_no_trace(learner):
        for module in learner.predictor.modules():
            module.training = True
        try:
            trial = kinds.expect_kinds(draws.copy_learner(learner))
        except Exception as error:  # a user's network may raise anything
            return [doubted("copy", f"the network cannot be copied ({error}), so that nothing else was checked")]
        try:
            return _check_trial(trial, learner, epochs, config, picture)
        except kinds.WrongKindError as error:
            return [error.finding]


def _check_trial(
    trial: Learner, learner: Learner, epochs: int, config: TrainConfig | None, picture: Path | None
) -> list[Finding]:
    """All findings about the learner, by its copy; arguments as for `check_learner`.

    Raises:
        WrongKindError: A part of the user's returns what a training cannot use.
    """
    rows, image, target = draws.draw_first_batch(trial)
    if picture:
        _draw_first_batch(learner, rows, image, target, picture)
    drawn = draws.draw_images(trial, rows, draws.choose_epochs(min(len(rows), draws.PROBED_ROWS), epochs))
    findings = [*_check_photos(trial, drawn, draws.draw_unjudged(trial, rows, 1)), *_check_loss(trial, drawn)]
    if trial.metric:
        unjudged = bool((target == NOT_JUDGED).any())
        findings.append(metric.check_metric(trial.metric, learner.engine.device, unjudged=unjudged))
    findings.append(_check_modes_left(learner, trial))
    if not any(finding.stops for finding in findings):
        findings += _check_network(trial, config, *draws.take_trial_images(drawn))
    return findings


def _check_photos(learner: Learner, drawn: Sequence[draws.Draw], unjudged: Tensor) -> list[Finding]:
    return [
        data.check_labels(learner.store),
        augmentation.check_range(drawn),
        augmentation.check_targets(drawn, unjudged),
        augmentation.check_pairs(drawn),
        augmentation.check_change(drawn, learner.augment),
        augmentation.check_differences(drawn, learner.augment),
    ]


def _check_loss(learner: Learner, drawn: Sequence[draws.Draw]) -> Iterator[Finding]:
    """On one image at the training size, as validation calls the loss."""
    target = loss.make_known_target(drawn[0].target.shape[-1], learner.engine.device)
    finding = loss.check_direction(learner.loss, target)
    yield finding
    if finding.stops:
        return
    yield loss.check_gradient(learner.loss, target)
    yield loss.check_logits_taken(learner.loss, target)
    yield loss.check_unjudged(learner.loss, target, occurs=any(bool((draw.target == NOT_JUDGED).any()) for draw in drawn))


def _check_network(learner: Learner, config: TrainConfig | None, image: Tensor, target: Tensor) -> Iterator[Finding]:
    """On a few small images. The last check changes the weights of the learner's network, which is a copy."""
    predictor = learner.predictor
    size = network.choose_trial_size(predictor, learner.loss, len(image))
    image, target = draws.shrink(image, target, size)
    finding = network.check_shape(predictor, image)
    yield finding
    if finding.stops:
        return
    yield network.check_logits(predictor, image)
    yield network.check_modes(predictor, image)
    photos = [learner.validation[index][0] for index in range(min(3, len(learner.validation)))]
    if predictor.fit == "crop":  # a tile of each
        photos = [photo[:size, :size] for photo in photos]
    yield network.check_independence(predictor, photos, size)
    logits = network.answer(predictor.train(), image)
    yield loss.check_start(learner.loss, config, logits, target)
    lesson = network.overfit(predictor, learner.loss, image, target)
    yield network.check_gradients(lesson, sum(parameter.requires_grad for parameter in predictor.parameters()))
    yield network.check_overfit(lesson, learner.loss(torch.zeros_like(logits), target).item(), target)


def _check_modes_left(learner: Learner, trial: Learner) -> Finding:
    """Augmentation, loss and metric were called, and should have left the network and its copy in training mode."""
    name = "modes are left alone"
    modules = (*learner.predictor.modules(), *trial.predictor.modules())
    if all(module.training for module in modules):
        return passed(name, "by augmentation, loss and metric")
    return failed(
        name,
        "the augmentation, the loss or the metric switched the network to evaluation mode: it should leave the mode alone, "
        "or batch norm and dropout stop in the middle of an epoch",
    )


def _draw_first_batch(learner: Learner, rows: NDArray[np.int64], image: Tensor, target: Tensor, path: Path) -> None:
    pixels = (image[:PICTURED].float().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    names = [learner.name_row(row) for row in rows[:PICTURED].tolist()]
    draw_batch(pixels, target[:PICTURED].to(torch.uint8).cpu().numpy(), names, path)


def describe_findings(findings: Sequence[Finding]) -> str:
    """How many checks passed, and a line for each that did not.

    >>> print(describe_findings([passed("splits", "all apart"), doubted("labels", "the labels are probably inverted")]))
    self-check: 1 of 2 passed
      note: the labels are probably inverted
    """
    wrong = [finding for finding in findings if not finding.passed]
    lines = [f"  {'wrong' if finding.stops else 'note'}: {finding.sentence}" for finding in wrong]
    return "\n".join([f"self-check: {len(findings) - len(wrong)} of {len(findings)} passed", *lines])


def findings_to_json(findings: Sequence[Finding], folder: Path) -> dict[str, Any]:
    """All findings about a run folder, and the failed ones as problems in the format of a data audit."""
    wrong = [finding for finding in findings if not finding.passed]
    problems = [{"kind": finding.name, "files": [str(folder)], "detail": finding.sentence} for finding in wrong]
    return {"problems": problems, "findings": [finding._asdict() for finding in findings]}


def _stop_or_go_on(findings: Sequence[Finding]) -> None:
    """Stop if the training would be worthless.

    Raises:
        UserError: It would; the message says why.
    """
    wrong = [finding.sentence for finding in findings if finding.stops]
    if wrong:
        raise UserError(f"self-check: {'; and '.join(wrong)}; fix it, or train anyway with --no-selfcheck (selfcheck=False)")
