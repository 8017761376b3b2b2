"""Verbs for users without data: drawn figures, and the whole life of two models on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from fgbg.cli.verb import parse, require_extra
from fgbg.errors import UserError


@dataclass(frozen=True)
class DemoArguments:
    """Draw figures, train both networks of the lab report, score and compare them: minutes on a CPU."""

    out: str = "runs/demo"
    """The folder to write to; must be new or empty."""
    seed: int = 0
    """Decides weights, order and augmentation; the figures stay the same."""


def demo_verb(argv: Sequence[str]) -> int:
    """Run the demo."""
    require_extra("train", argv)
    arguments = parse(DemoArguments, argv)
    from fgbg.demo import run_demo

    print(run_demo(Path(arguments.out), seed=arguments.seed))
    return 0


@dataclass(frozen=True)
class FiguresArguments:
    """Draw animals on cluttered ground, with masks: a data set that needs no download."""

    out: Positional[str]
    """The folder to write to; must be new or empty."""
    count: int = 600
    """Number of pictures."""
    size: int = 128
    """Edge in pixels, 16 to 4096."""
    seed: int = 0
    """Seed of the set; other seeds give other figures."""
    tone_gap: float | None = None
    """How far the figure's colours are from the ground's, 0 (camouflage) to 1; random per image by default."""
    irregularity: float | None = None
    """From 0 (a smooth blob) to 1 (ragged fur, thin limbs and whiskers); random per image by default."""


def figures_verb(argv: Sequence[str]) -> int:
    """Draw a set of figures."""
    arguments = parse(FiguresArguments, argv)
    from fgbg.data.figures import check_figures, draw_figures
    from fgbg.storage import make_empty_folder

    options = {name: value for name, value in dataclasses.asdict(arguments).items() if name != "out"}
    try:
        check_figures(**options)
    except ValueError as error:
        raise UserError(str(error)) from None
    draw_figures(make_empty_folder(Path(arguments.out)), **options)
    print(f"{arguments.out}: {arguments.count} figures; train on it with fgbg train {arguments.out}")
    return 0
