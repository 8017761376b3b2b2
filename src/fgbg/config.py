"""Every setting of a training run: its name, its default and the reason. A field is a flag of `fgbg train`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from tyro.conf import Positional

from fgbg.config_rules import EVERY_FOLD, check_settings
from fgbg.data.augment_ranges import AugmentRanges
from fgbg.loss_names import LOSS_OPTIONS, require_loss_option
from fgbg.words import Border, Fit, ObjectValue, OptimizerName, Reduction, Schedule, SplitRule


@dataclass(frozen=True)
class TrainConfig:
    """The lab report's settings are the defaults; `--preset lab` adds the rest of what it did."""

    data: Positional[str] = ""
    """oxford-pet, figures, or a folder: images/ and masks/, train/, val/ and test/ with these inside, COCO or LabelMe."""
    out: str = ""
    """The run folder to write; must be new or empty. Default: runs/MODEL, or the next free runs/MODEL-2, …"""

    model: str = "unet"
    """unet, attention_unet, resnet34_unet; with any --encoder: timm_unet, unetplusplus, manet, linknet, fpn, pspnet, pan,
    deeplabv3, deeplabv3plus, upernet, segformer."""
    encoder: str = ""
    """A name of timm, for models that take one, for instance resnet34 or mobilenetv3_small_100. Default:
    tf_efficientnet_lite0."""
    width: int = 64
    """Channels of the first level; 64 is the published size. Compute grows with its square. With
    --encoder: of the decoder."""
    pretrained: str = "none"
    """What the encoder starts from: none, auto (ImageNet weights), or a FILE of weights."""
    init: str = ""
    """Start from this MODEL's weights: a run, a model file, or pets. Model, width and encoder are then its own."""
    size: int = 256
    """Edge of the square the network sees, in pixels; with --fit crop, in pixels of the photo."""
    fit: Fit = "squash"
    """How a photo becomes that square: stretched (squash, the lab's), or kept in shape with black margins (pad); or it stays
    at its own scale (crop): trained on patches of that size, predicted in overlapping tiles."""

    loss: str = "bce_dice"
    """PIXELS_OVERLAP, a sum of two parts: bce, focal or boundary (BCE that looks closely at outlines), and dice, tversky,
    focal_tversky, log_cosh or lovasz."""
    bce_weight: float = 1.0
    """Weight of the first part, over pixels."""
    overlap_weight: float = 1.0
    """Weight of the second part, over the overlap."""
    false_positive_weight: float = 0.5
    """Tversky's weight of false positives; at 0.5 and 0.5 Tversky is Dice."""
    false_negative_weight: float = 0.5
    """Tversky's weight of false negatives; raise it if missing object is worse than inventing it."""
    focal_gamma: float = 2.0
    """Focusing exponent of focal: the larger, the less easy pixels count; 0 is BCE."""
    focal_tversky_gamma: float = 4 / 3
    """Above 1, focal_tversky lets images that are nearly right still pull; 1 is tversky."""
    boundary_weight: float = 4.0
    """What boundary adds to the weight of pixels within 2 % of the shorter edge from an outline; 0 is BCE."""
    dice_reduction: Reduction = "image"
    """One ratio per image (as the score is measured), or one over the whole batch (the lab's)."""

    epochs: int = 200
    """Passes over the training set."""
    batch_size: int = 32
    """Images per step, over all processes together."""
    accumulate: int = 1
    """Gradient accumulation: micro-batches per step, where memory is short. Batch norm sees one micro-batch."""
    optimizer: OptimizerName = "adam"
    """adam is the lab's; adamw decays weights apart from the gradient (decoupled)."""
    learning_rate: float = 1e-3
    """Learning rate at its peak."""
    schedule: Schedule = "constant"
    """How the learning rate goes over the run: constant as in the lab, down along half a cosine, or up and then down."""
    warmup_epochs: float = 0.0
    """Linear warm-up: epochs in which the learning rate rises from 0. one_cycle has its own."""
    encoder_rate: float = 1.0
    """Layer-wise learning rates: factor for the encoder's first block; it steps up evenly to 1 at the last block."""
    weight_decay: float = 0.0
    """Weight decay (L2 with adam, decoupled with adamw); norms and biases are not decayed. 0: off."""
    clip_norm: float = 0.0
    """Gradient clipping: the largest global L2 norm. 0: off."""
    ema: float = 0.0
    """Exponential moving average (EMA) of the weights: its decay per step, for instance 0.99. The average is what is
    validated and kept. 0: off."""
    start_size: int = 0
    """Progressive resizing: edge in pixels of the first epochs' images, which grow to --size over the first half of the
    run. 0: off."""
    patience: int = 0
    """Early stopping: epochs without a better one. 0: off."""
    seed: int = 0
    """Decides initial weights, order and augmentation."""

    threshold_for: str = "dice"
    """What the threshold is chosen for, on validation: dice, iou, recall:0.95 (any share), or none to keep 0.5."""
    border: Border = "foreground"
    """What a trimap's ambiguity band counts as. It moves scores by tenths: it is printed beside each."""
    split: SplitRule = "official"
    """Official lists (a folder without lists: 80/10/10), or the lab's own cut of Oxford-IIIT Pet."""
    split_seed: int = 0
    """Seed of the 80/10/10 split. Apart from --seed, so that seeded runs stay comparable."""
    group_by: str = ""
    """What that split keeps together: a column of metadata.csv, or near-duplicates; groups.csv where there is one."""
    folds: int = 0
    """Cross-validation: cut into this many folds, whatever lists say. One tests, the next validates, the others train."""
    fold: int = EVERY_FOLD
    """The fold that tests, from 0. -1: each of them in turn, in a run of its own: OUT/fold-0, OUT/fold-1, …"""
    only: str = ""
    """A file of ids to use, one per line, as fgbg check --write-clean writes it; other photos are left out."""
    allow_overlap: bool = False
    """Train although a photo or group stands in two splits. Every score of the model will say so."""
    object_values: tuple[ObjectValue, ...] = ()
    """Which stored mask values are object, or nonzero for all but 0; only asked for where a set leaves it open."""
    categories: tuple[str, ...] = ()
    """Which categories of COCO or labels of LabelMe are object, or all; only asked for where there are several."""

    augment: AugmentRanges = field(default_factory=AugmentRanges)
    """Paired augmentation of photo and mask; the lab's list and ranges."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Of training. auto: bf16 where the processor computes in it. Scoring is always fp32."""
    compile: bool = False
    """Let torch.compile build the training step; needs a C++ compiler, pays on GPUs and in long runs."""
    cuda_graphs: bool = True
    """On a CUDA GPU: replay a step's kernels from a recording. Trains the same, and small images several times as fast."""
    sync_norms: bool = False
    """On several GPUs: batch norm over the images of all processes together; slower, helps where each has few."""
    threads: int = 0
    """CPU threads; 0 shares the cores among the processes. Part of what makes a run repeatable to the bit."""
    track: Literal["none", "tensorboard"] = "none"
    """Also write the record for TensorBoard, into RUN/tensorboard. The run's own record is always written."""
    selfcheck: bool = True
    """Look for silent errors in data, augmentation, loss and network before the first epoch."""

    def __post_init__(self) -> None:
        check_settings(self)

    def data_options(self) -> dict[str, Any]:
        """How `fgbg.open_samples` is to read and split the data."""
        names = ("split", "split_seed", "group_by", "folds", "fold", "only", "object_values", "categories")
        return {name: getattr(self, name) for name in names}

    def differences(self, other: TrainConfig) -> list[str]:
        """Names of the fields (as in a file: `augment.flip`) in which two configurations differ."""
        mine, theirs = flatten(self), flatten(other)
        return [name for name in mine if mine[name] != theirs[name]]


def flatten(config: TrainConfig) -> dict[str, Any]:
    """All fields by their name in a file; those of `augment` with that prefix."""
    flat = dataclasses.asdict(config)
    augment = flat.pop("augment")
    return {**flat, **{f"augment.{name}": value for name, value in augment.items()}}


def require_loss_options(config: TrainConfig) -> None:
    """Refuse an option of the loss that would change nothing. Files of old runs may hold one: they stay readable.

    Raises:
        UserError: One is not at its default, and the loss has no part that it belongs to.
    """
    for name in LOSS_OPTIONS:
        if getattr(config, name) != getattr(TrainConfig(), name):
            require_loss_option(name, (config.loss,))
