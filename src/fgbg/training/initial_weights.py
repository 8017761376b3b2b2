"""Initial weights of a training: random, from a pretrained encoder, or all from another model."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from fgbg.config import TrainConfig
from fgbg.data.samples import SampleSet
from fgbg.data.streams import Purpose, open_stream
from fgbg.errors import UserError, first_line
from fgbg.judge.evaluate import find_seen_photos
from fgbg.model_file import ModelHeader, find_model_file
from fgbg.models import StridePadding, build_network, describe_model, name_encoder, wrap_network
from fgbg.models.checkpoint import load_model, read_header
from fgbg.models.pretrained import Pretrained, load_pretrained
from fgbg.models.zoo import LIBRARY
from fgbg.words import IMAGENET_DEVIATION, IMAGENET_MEAN


@dataclass(frozen=True)
class InitialWeights:
    """A network before its first step, and where its weights came from.

    Attributes:
        network: The network, wrapped in its padding to the stride.
        mean: Per channel, of the normalisation that its weights expect.
        deviation: Per channel, the standard deviation of that normalisation.
        pretrained: The encoder's pretrained weights, if it has any.
        header: Of the model that it continues: that of `--init`, or the run's own if it is resumed.
        resumed: Whether the run continues itself.
    """

    network: StridePadding
    mean: tuple[float, ...] = IMAGENET_MEAN
    deviation: tuple[float, ...] = IMAGENET_DEVIATION
    pretrained: Pretrained | None = None
    header: ModelHeader | None = None
    resumed: bool = False


def build_initial_network(config: TrainConfig, own: nn.Module | None, *, resumed: Path | None = None) -> InitialWeights:
    """The network that the configuration asks for, or the user's own.

    Args:
        config: The settings.
        own: The user's own network.
        resumed: The best model of a resumed run. The weights are restored elsewhere, and what must be known of those it
            started from is in this model's header, so their file may be gone.

    Raises:
        UserError: Its weights are unavailable, or belong to another network; or it does not accept images of this size.
    """
    torch.manual_seed(int(open_stream(config.seed, 0, Purpose.NETWORK).integers(2**63)))
    if own is not None and config.pretrained != "none":
        raise UserError("--pretrained is for fgbg's models: load the weights of your own network yourself")
    if config.init and not resumed:
        require_same_network(config, own)
        predictor, header = load_model(find_model_file(config.init), network=own)
        network = wrap_network(predictor.network.train())
        _require_sizes(network, config)
        return InitialWeights(network, header.mean, header.deviation, header=header)
    if own is not None:
        network = wrap_network(own)
    else:
        network = build_network(config.model, width=config.width, encoder=config.encoder)
    if resumed and (config.init or config.pretrained != "none"):
        header = read_header(resumed)
        return InitialWeights(network, header.mean, header.deviation, header=header, resumed=True)
    _require_sizes(network, config)
    if config.pretrained == "none":
        return InitialWeights(network)
    found = load_pretrained(
        network.network, config.model, width=config.width, encoder=config.encoder, choice=config.pretrained
    )
    return InitialWeights(network, found.mean, found.deviation, pretrained=found)


def describe_initial_weights(config: TrainConfig, initial: InitialWeights) -> list[str]:
    """Where the weights come from, and how this run differs from that model, as lines to print."""
    if initial.pretrained:
        return [initial.pretrained.describe()]
    if not initial.header or initial.resumed:
        return []
    lines = [f"starts from {config.init}: epoch {initial.header.epoch} on {initial.header.data}"]
    for name in ("size", "fit", "border"):
        theirs, ours = getattr(initial.header, name), getattr(config, name)
        if theirs != ours:
            lines.append(f"note: that model has {name} {theirs}, this run {ours}: {_CHANGED[name]}")
    return lines


_CHANGED = {
    "size": "objects appear to it larger or smaller than it knows, which some epochs fix",
    "fit": "photos reach it in another shape or scale than it knows, which some epochs fix",
    "border": "it learns the new rule at the outlines; scores by the two rules cannot be compared",
}


def refuse_known_photos(header: ModelHeader, samples: SampleSet) -> None:
    """Refuse to start from a model that has seen photos of the validation or test split, as `evaluate` would.

    Raises:
        UserError: It has.
    """
    for split in ("validation", "test"):
        seen = find_seen_photos(header, samples.of(split), split)
        if seen.photo_count:
            raise UserError(
                f"of the {split} photos {seen.describe('the model of --init')}: their scores would be too good; start from "
                "another model, or add --allow-overlap"
            )


def _require_sizes(network: StridePadding, config: TrainConfig) -> None:
    """Run the network on two black images of each size used in training: some timm encoders accept only one size.

    Raises:
        UserError: It does not accept them.
    """
    if config.model not in LIBRARY:
        return
    trial = copy.deepcopy(network).train()
    with torch.no_grad(), torch.random.fork_rng([]):  # dropout must not advance the seeded random state
        for size in {config.start_size or config.size, config.size}:
            try:
                trial(torch.zeros(2, 3, size, size))
            except (RuntimeError, ValueError, TypeError, AssertionError, IndexError) as error:  # depends on the encoder
                raise UserError(
                    f"{config.model} on {name_encoder(config.model, config.encoder)} does not take {size} px "
                    f"({first_line(error)}): choose another size, or an encoder that takes any"
                ) from None


def require_same_network(config: TrainConfig, own: nn.Module | None = None) -> None:
    """Refuse settings that ask for another network than that of the `--init` model, or a user's own instead.

    Raises:
        UserError: They do, or there is no such model, or it holds a network of the user's own and none was given.
    """
    header = _read_init(config.init) if own is None else read_header(find_model_file(config.init))
    theirs = describe_model(header.network, width=header.width, encoder=header.encoder)
    ours = describe_model(config.model, width=config.width, encoder=config.encoder)
    if theirs != ours:
        cure = "leave --model, --width and --encoder out" if own is None else "leave model=… out, or init"
        raise UserError(f"--init {config.init} is {theirs}, and this run asks for {ours}: {cure}")


def inherit_network(init: str) -> dict[str, object]:
    """The settings that the `--init` model determines, by name.

    Raises:
        UserError: There is no such model, or it holds a network of the user's own.
    """
    header = _read_init(init)
    return {"model": header.network, "width": header.width, "encoder": header.encoder}


def _read_init(init: str) -> ModelHeader:
    """The header of the `--init` model, which fgbg must be able to build."""
    header = read_header(find_model_file(init))
    if header.network.startswith("own:"):
        raise UserError(
            f"--init {init} holds a network of your own, {header.network.removeprefix('own:')}, which only Python can "
            "build: go on there, by fgbg.train(…, model=…), with init in its config"
        )
    return header
