"""Sentences on the network and its training."""

from __future__ import annotations

from collections.abc import Iterator

from fgbg.config import TrainConfig
from fgbg.data.augment_ranges import AugmentRanges
from fgbg.judge.methods.data import OXFORD
from fgbg.judge.methods.recipes import Recipe
from fgbg.judge.recipe import find_changes, settings_of_recipe
from fgbg.loss_names import LOSS_OPTIONS, split_loss
from fgbg.model_file import PETS
from fgbg.words import DEFAULT_ENCODER, PUBLISHED_WIDTH, Fit, plural

_OURS = {
    "unet": "a UNet (Ronneberger et al., 2015)",
    "attention_unet": "an Attention UNet (Oktay et al., 2018)",
    "resnet34_unet": "a UNet (Ronneberger et al., 2015) whose encoder is a ResNet-34 (He et al., 2016)",
}
_LIBRARY = {
    "timm_unet": "a UNet’s decoder (Ronneberger et al., 2015)",
    "unetplusplus": "UNet++ (Zhou et al., 2018)",
    "manet": "MA-Net (Fan et al., 2020)",
    "linknet": "LinkNet (Chaurasia and Culurciello, 2017)",
    "fpn": "a panoptic feature pyramid network (Kirillov et al., 2019)",
    "pspnet": "PSPNet (Zhao et al., 2017)",
    "pan": "a pyramid attention network (Li et al., 2018)",
    "deeplabv3": "DeepLabV3 (Chen et al., 2017)",
    "deeplabv3plus": "DeepLabV3+ (Chen et al., 2018)",
    "upernet": "UPerNet (Xiao et al., 2018)",
    "segformer": "SegFormer’s decoder (Xie et al., 2021)",
}
_ENCODERS = {"efficientnet": " (Tan and Le, 2019)", "resnet": " (He et al., 2016)"}
_FITS: dict[Fit, str] = {
    "squash": "Photos were resized to {size} × {size} px, whatever their shape.",
    "pad": "Photos were resized in their own shape to fit a square of {size} × {size} px, with black margins.",
    "crop": "It was trained on patches of {size} × {size} px at the photos’ own scale, and applied to overlapping tiles of "
    "that size, whose answers were blended.",
}

_OF_NETWORK = ("model", "width", "encoder", "pretrained", "init", "size", "fit")
_OF_DATA = ("split", "split_seed", "group_by", "folds", "only", "border", "object_values", "categories", "threshold_for")
_MOST_CHANGES = 6  # settings: where more differ, a list of them is no easier to read than the whole


def is_of_library(config: TrainConfig) -> bool:
    """Whether segmentation_models_pytorch builds the network, on an encoder of timm."""
    return config.model in _LIBRARY


def tell_network(recipe: Recipe) -> Iterator[str]:
    """Architecture, first weights, and what it sees of a photo."""
    config = recipe.config
    yield from _tell_architecture(config)
    if config.init:
        known = f", fgbg’s own, trained on {OXFORD} from ImageNet’s weights" if config.init == PETS else ""
        yield f"All weights started from those of the model {config.init}{known}."
    elif config.pretrained != "none":
        origin = recipe.environment.get("pretrained_from") or {"auto": "ImageNet"}.get(config.pretrained, config.pretrained)
        yield f"The encoder started from pretrained weights ({origin}), all other layers from random ones."
    elif not config.model.startswith("own:"):
        yield "All weights were random at first."
    yield _FITS[config.fit].format(size=config.size)


def _tell_architecture(config: TrainConfig) -> Iterator[str]:
    if config.model in _OURS:
        yield f"The network is {_OURS[config.model]}, with {config.width} channels at its first level."
    elif config.model in _LIBRARY:
        encoder = config.encoder or DEFAULT_ENCODER
        cited = next((words for part, words in _ENCODERS.items() if part in encoder), "")
        yield (
            f"The network is {_LIBRARY[config.model]} as implemented in segmentation_models_pytorch (Iakubovskii, 2019), on "
            f"the encoder {encoder}{cited} of timm (Wightman, 2019)."
        )
        if config.width != PUBLISHED_WIDTH and config.model != "linknet":
            yield f"Its decoder has {config.width / PUBLISHED_WIDTH:.3g} times the published number of channels."
    else:
        yield f"The network is our own ({config.model.removeprefix('own:')})."


def tell_changed_network(recipe: Recipe, first: Recipe) -> Iterator[str]:
    """What is another network than that of the first recipe; nothing if it is the same."""
    told = list(tell_network(recipe))
    if told != list(tell_network(first)):
        yield from told


def tell_changed_training(recipe: Recipe, first: Recipe) -> Iterator[str]:
    """How training differs from that of the first recipe."""
    changes = find_changes(settings_of_recipe(first.first), settings_of_recipe(recipe.first))
    changed = {name: values for name, values in changes.items() if name not in (*_OF_NETWORK, *_OF_DATA)}
    if len(changed) > _MOST_CHANGES or (recipe.first.own_parts.keys() ^ first.first.own_parts.keys()) - set(_OF_NETWORK):
        yield from tell_training(recipe)
        return
    others = ", ".join(f"{name} {_say_setting(now)} (before: {_say_setting(then)})" for name, (then, now) in changed.items())
    yield f"As the first one, {_say_seeds(recipe)}" + (f", but with {others}." if others else ".")
    yield from _tell_epochs(recipe)


def _say_setting(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def tell_training(recipe: Recipe) -> Iterator[str]:
    """Optimizer, loss, augmentation, and how the epoch was chosen."""
    config, own = recipe.config, recipe.first.own_parts
    parts = f", each in {config.accumulate} parts (gradient accumulation)" if config.accumulate > 1 else ""
    yield (
        f"It was trained {_say_seeds(recipe)} for {plural(config.epochs, 'epoch')}, in batches of "
        f"{config.batch_size}{parts}, with {_say_optimizer(config)}."
    )
    yield from _tell_epochs(recipe)
    if config.patience:
        yield f"It was to end early once {plural(config.patience, 'epoch')} had brought no better one."
    if config.start_size:
        yield f"Images grew from {config.start_size} px to that size over the first half of the epochs."
    yield "The loss is our own." if "loss" in own else _say_loss(recipe)
    ranges = config.augment.in_force()
    yield "The augmentation is our own." if "augment" in own else _say_augmentation(ranges)
    if ranges.cutmix:
        yield f"With probability {ranges.cutmix:g}, a box was replaced by another photo’s (CutMix; Yun et al., 2019)."
    if ranges.mixup:
        yield f"With probability {ranges.mixup:g}, a photo was blended with another one (mixup; Zhang et al., 2018)."
    if config.ema:
        yield (
            "Scored and kept was an exponential moving average of the weights (Polyak and Juditsky, 1992) with a decay of "
            f"{config.ema:g} a step."
        )
    score = "score of our own" if "metric" in own else "mean Dice"
    yield (
        f"Kept were the weights of the epoch with the highest {score} over the validation photos, each at its own size and "
        "at threshold 0.5."
    )


def _tell_epochs(recipe: Recipe) -> Iterator[str]:
    """How many epochs there were, where these are not those that were asked for, and what interrupted them."""
    counts = {run: len(run.epochs()) for run in recipe.runs.values()}
    short = sorted({count for run, count in counts.items() if 0 < count < run.config.epochs})
    if short:
        yield f"It ended after {', '.join(map(str, short))} of these epochs{' in some runs' if len(counts) > 1 else ''}."
    resumed = {run.name: (run.environment() or {}).get("resumed", ()) for run in recipe.runs.values()}
    for name, entries in resumed.items():
        after = ", ".join(str(each["after_epoch"]) for each in entries)
        if after:
            rate = "" if recipe.config.schedule == "constant" else "; the learning rate then followed the plan of all epochs"
            yield f"{name} was resumed after epoch {after}{rate}."


def _say_seeds(recipe: Recipe) -> str:
    *others, last = map(str, recipe.seeds)
    folds = f"once for each of {len(recipe.folds)} folds " if len(recipe.folds) > 1 else ""
    return (
        f"{folds}{len(recipe.seeds)} times (seeds {', '.join(others)} and {last})" if others else f"{folds}with seed {last}"
    )


def _say_optimizer(config: TrainConfig) -> str:
    """The optimizer, its learning rate, and all that acts on a step."""
    cited = {"adam": "Adam (Kingma and Ba, 2015)", "adamw": "AdamW (Loshchilov and Hutter, 2019)"}[config.optimizer]
    course = {
        "constant": "constant over the run",
        "cosine": "falling along half a cosine (Loshchilov and Hutter, 2017)",
        "one_cycle": "rising and falling in one cycle (Smith and Topin, 2019)",
    }[config.schedule]
    words = [f"{cited} at a learning rate of {config.learning_rate:g}", course]
    if config.warmup_epochs:
        epochs = "first epoch" if config.warmup_epochs == 1 else f"first {config.warmup_epochs:g} epochs"
        words.append(f"after a linear warm-up over the {epochs}")
    if config.encoder_rate < 1:
        words.append(f"at {config.encoder_rate:g} of that rate in the encoder’s first block, rising evenly to its last")
    if config.weight_decay:
        words.append(f"with a weight decay of {config.weight_decay:g} on all but norms and biases")
    if config.clip_norm:
        words.append(f"with the gradient’s norm clipped to {config.clip_norm:g}")
    return ", ".join(words)


_LOSS_PARTS = {
    "bce": "binary cross-entropy",
    "focal": "focal loss (Lin et al., 2017)",
    "boundary": "binary cross-entropy with more weight along outlines",
    "dice": "Dice loss (Milletari et al., 2016)",
    "tversky": "Tversky loss (Salehi et al., 2017)",
    "focal_tversky": "focal Tversky loss (Abraham and Khan, 2019)",
    "log_cosh": "log-cosh Dice loss (Jadon, 2020)",
    "lovasz": "Lovász hinge (Berman et al., 2018)",
}
_OPTIONS = {
    "false_positive_weight": "false positives weigh {:.3g}",
    "false_negative_weight": "false negatives weigh {:.3g}",
    "focal_gamma": "focusing exponent {:.3g}",
    "focal_tversky_gamma": "exponent 1 / {:.3g}",
    "boundary_weight": "pixels near an outline weigh {:.3g} more",
}


def _say_loss(recipe: Recipe) -> str:
    config = recipe.config
    parts = []
    for part, weight in zip(split_loss(config.loss), (config.bce_weight, config.overlap_weight), strict=True):
        options = [_OPTIONS[name].format(getattr(config, name)) for name, owners in LOSS_OPTIONS.items() if part in owners]
        told = f"{_LOSS_PARTS[part]}" + (f" ({', '.join(options)})" if options else "")
        if weight:
            parts.append(told if weight == 1 else f"{weight:g} × {told}")
    is_split = config.accumulate > 1 or recipe.environment.get("processes", 1) != 1
    over = "for each image" if config.dice_reduction == "image" else f"over the whole {'part of a ' * is_split}batch"
    last = f", the latter computed {over}" if len(parts) > 1 else f", computed {over}" if config.overlap_weight else ""
    return f"The loss is {'the sum of ' * (len(parts) > 1)}{' and '.join(parts)}{last}."


_STRENGTHS = {
    "rotation_degrees": "rotation by up to {:g}°",
    "shift": "shift by up to {:.0%} of each edge",
    "scale": "scaling by up to {:.0%}",
    "brightness": "brightness by up to {:.0%}",
    "contrast": "contrast by up to {:.0%}",
    "saturation": "saturation by up to {:.0%}",
    "hue": "hue by up to {:.0%} of the colour circle",
}


def _say_augmentation(ranges: AugmentRanges) -> str:
    """What is in force; the rest is not named."""
    words = [f"horizontal flip with probability {ranges.flip:g}"] if ranges.flip else []
    if ranges.crop_area < 1:
        words.append(
            f"random crop to {ranges.crop_area:.0%} or more of the area and an aspect ratio of up to {ranges.crop_ratio:.3g}"
        )
    words += [form.format(getattr(ranges, name)) for name, form in _STRENGTHS.items() if getattr(ranges, name)]
    if not words:
        return "Photos were not augmented."
    outside = {"ignore": "was not judged", "background": "was black and counted as background"}[ranges.padding]
    listed = ", ".join(words).replace("%", " %")
    return f"Photo and mask were augmented together, anew in every epoch: {listed}; what lay outside the photo {outside}."
