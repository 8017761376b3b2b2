"""A model card: one page of Markdown that says what a model is, how good, on which data, where it fails, how it was made."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgbg.data.sources import TERMS
from fgbg.judge.bootstrap import read_mean_dice
from fgbg.judge.markdown import code, escape
from fgbg.judge.page.tables import tabulate_failures, tabulate_slices
from fgbg.judge.page.wording import BORDERS, FITS, Fact, describe_meaning, list_measures, list_rules
from fgbg.judge.slices import slice_rows
from fgbg.model_file import ModelHeader
from fgbg.run import Run
from fgbg.ship.parity import Parity
from fgbg.storage import hash_file, write_whole

NOT_SAID = "Not stated."
PURPOSE = "Separates the object of a photo from its background"
INT8_IS = " Its convolutions and matrix products are in int8, all but the first and the last."


@dataclass(frozen=True)
class Card:
    """What a card is written from."""

    name: str
    run: Run  # with test scores
    header: ModelHeader
    model: Path  # the exported file
    parity: Parity
    terms: str = ""  # Markdown: on what terms the training data may be used; those of the sets that have a name are known
    not_for: str = ""  # Markdown: what the model should not be used for


def write_card(card: Card, path: Path) -> Path:
    """Write the card as Markdown to `path`; the file is replaced only when it is whole.

    Raises:
        UserError: The run has no test scores.
    """
    text = describe_card(card)
    write_whole(path, text)
    return path


def is_card(path: Path) -> bool:
    """Whether a file is a model card, which may be replaced, and not something of the user's own."""
    return re.match(f"# .*\n\n{PURPOSE}", path.read_text(encoding="utf-8", errors="replace")) is not None


def describe_card(card: Card) -> str:
    """The card as Markdown.

    Raises:
        UserError: The run has no test scores.
    """
    statement, rows = card.run.statement("test"), card.run.scores("test")
    slices, failures = tabulate_slices(slice_rows(rows)), tabulate_failures(rows)
    parts = [
        f"# {escape(card.name)}",
        _say_what_it_is(card.header),
        "## Data",
        _say_data(card),
        "## How good it is",
        _say_headline(statement),
        *_say_loss(card),
        describe_meaning(statement, rows),
        _list_facts(list_measures(statement, rows)),
        "What the numbers rest on:",
        _list_facts(list_rules(statement)),
        "## By kind of photo",
        slices.to_markdown() if slices.rows else "Too few photos to tell kinds apart.",
        "## Where it fails",
        failures.to_markdown(shares=["Share"]),
        "## What it is not for",
        card.not_for or NOT_SAID,
        "## How it was made",
        _say_making(card),
    ]
    return "\n\n".join(parts) + "\n"


def _say_what_it_is(header: ModelHeader) -> str:
    encoder = f" on {header.encoder}" if header.encoder else ""
    return escape(
        f"{PURPOSE}: a photo of any size in, the probability of object for every "
        f"pixel of it out. {header.network}{encoder} (width {header.width}); it sees {header.size}×{header.size} pixels "
        f"({FITS[header.fit]}). A pixel is object where the probability exceeds {header.threshold:g} "
        f"({header.threshold_reason}).{INT8_IS if header.arithmetic == 'int8' else ''}"
    )


def _say_data(card: Card) -> str:
    header = card.header
    # By what DATA was, not by the set's name: a folder may have any name.
    terms = card.terms or TERMS.get(card.run.config.data, NOT_SAID)
    lines = [
        f"- Trained on {len(header.training_images):,} photos of {escape(header.data)} (hash {header.data_fingerprint}); "
        f"{len(header.validation_images):,} others chose its epoch and threshold.",
        f"- Border rule {header.border}: {BORDERS[header.border]}.",
        f"- Terms of the data: {terms}",
        f"- First weights: {escape(_say_first_weights(header))}",
    ]
    return "\n".join(lines)


def _say_first_weights(header: ModelHeader) -> str:
    """Whose weights the model started from, and on what terms."""
    known = []
    if header.initialised_from:
        known.append(f"all of it started from {header.initialised_from}; see the card of that model.")
    if header.pretrained_from:
        known.append(f"the encoder's are {header.pretrained_from} (licence: {header.pretrained_license or 'not known'}).")
    return " ".join(known) or "drawn at random; nobody else's are in it."


def _say_headline(statement: dict[str, Any]) -> str:
    clean = f"\n\n**Not a clean test**: {escape(statement['overlap'])}." if statement.get("overlap") else ""
    return (
        f"**Mean Dice {read_mean_dice(statement)}** over {statement['pairs']:,} test photos, each at its own size "
        f"(95 % bootstrap interval).{clean}"
    )


def _say_loss(card: Card) -> list[str]:
    """What int8 changes: the scores are those of the run's own model."""
    if card.header.arithmetic == "fp32":
        return []
    parity = card.parity
    return [
        f"**Measured before the file was made int8**, which changes mean Dice by {parity.dice_difference:+.4f} on "
        f"{parity.photo_count} {escape(parity.photos)} ({-parity.most_lost:+.4f} on the one that loses most); it was "
        f"calibrated on others, and a loss of {parity.limits.dice_lost:g} is refused."
    ]


def _list_facts(facts: Sequence[Fact]) -> str:
    lines = (f"{fact.name}: {fact.value}" + (f" ({fact.meaning})" if fact.meaning else "") for fact in facts)
    return "\n".join(f"- {escape(line)}" for line in lines)


def _say_making(card: Card) -> str:
    environment = card.run.environment() or {}
    versions = ", ".join(f"{name} {version}" for name, version in environment.get("versions", {}).items())
    commit = environment.get("commit")
    for_pixels, for_dice = card.parity.describe_limits()
    facts = [
        Fact(
            "Source", f"commit {commit}" + (", with changes" if environment.get("dirty") else "") if commit else "a release"
        ),
        Fact("Versions", versions or "not known"),
        Fact("Weights of epoch", f"{card.header.epoch}", f"validation Dice {card.header.validation_dice:.4f}"),
        Fact("File", card.model.name, f"{card.model.stat().st_size / 1e6:.1f} MB, SHA-256 {hash_file(card.model)}"),
        Fact(
            "Parity",
            f"{card.parity.disagreeing_share:.5%} of the pixels differ from the model that was scored",
            f"{for_pixels}; mean Dice by {card.parity.dice_difference:+.6f}, {for_dice}; on {card.parity.photo_count} "
            f"{card.parity.photos}",
        ),
    ]
    command = code(shlex.join(environment.get("command", ["not known"])))
    return f"- Command: {command}\n{_list_facts(facts)}"
