"""The tables of docs/claims.md, from the run folders in experiments/results/claims/.

python experiments/claims/tables.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import ttest_ind

from fgbg.judge.bootstrap import adjust_holm, check_difference
from fgbg.judge.comparison import format_p
from fgbg.models import build_network, count_parameters
from fgbg.models.operations import count_forward
from fgbg.rows import ScoreRow
from fgbg.run import Run, open_run

RESULTS = Path(__file__).parents[1] / "results" / "claims"
UNET, RESNET = "unet", "resnet34_unet"
TITLES = {"figures": "drawn animals", "pets": "Oxford-IIIT Pet"}
DIALS = ("0.00", "0.33", "0.67", "1.00")
THIRDS = ("low", "middle", "high")

Rows = list[ScoreRow]
Measure = Callable[[Rows], float]
Chosen = Callable[[ScoreRow], bool]


class Difference(NamedTuple):
    """ResNet34_UNet less UNet: the mean over seeds, its 95 % Welch interval, and the chance of as much without a reason."""

    mean: float
    low: float
    high: float
    p: float

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def read_runs(data: str) -> dict[str, list[Run]]:
    """The kept runs of each network, by seed."""
    return {model: [open_run(path) for path in sorted(RESULTS.glob(f"{data}-{model}-*"))] for model in (UNET, RESNET)}


def compare(scores: dict[str, list[Rows]], measure: Measure) -> Difference:
    """How much a measure of a run differs between the two networks; the seeds are the sample."""
    resnet, unet = (np.array([measure(rows) for rows in scores[model]]) for model in (RESNET, UNET))
    test = ttest_ind(resnet, unet, equal_var=False)
    interval = test.confidence_interval(0.95)
    return Difference(float(resnet.mean() - unet.mean()), float(interval.low), float(interval.high), float(test.pvalue))


def mean_dice(chosen: Chosen = lambda row: True) -> Measure:
    """Mean Dice over the chosen photos."""
    return lambda rows: float(np.mean([row.dice for row in rows if chosen(row)]))


def gap(first: Measure, second: Measure) -> Measure:
    """The difference of two measures of one run."""
    return lambda rows: first(rows) - second(rows)


def with_dial(name: str, value: str) -> Chosen:
    """Figures that were drawn with this setting of a dial."""
    return lambda row: row.metadata[name] == value


def in_third(rows: Rows, trait: str, third: str) -> Chosen:
    """Photos in a third of a trait. Truth and photo alone decide it, so that it is the same for all runs."""
    cuts = np.quantile([getattr(row, trait) for row in rows], [1 / 3, 2 / 3])
    return lambda row: THIRDS[int(np.searchsorted(cuts, getattr(row, trait)))] == third


def table(header: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    """As Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def list_networks(runs: dict[str, dict[str, list[Run]]]) -> Iterator[list[str]]:
    """What each network is and costs."""
    for model in (UNET, RESNET):
        width = runs["pets"][model][0].config.width
        network = build_network(model, width=width)
        sizes = [runs[data][model][0].config.size for data in TITLES]
        cost = [f"{count_forward(network, size) / 1e9:.2f} at {size} px" for size in sizes]
        yield [model, str(width), f"{count_parameters(network):,}", ", ".join(cost)]


def list_means(scores: dict[str, dict[str, list[Rows]]]) -> Iterator[list[str]]:
    """Both networks on both data sets, and the difference."""
    for data, title in TITLES.items():
        told = []
        for model in (UNET, RESNET):
            means = [mean_dice()(rows) for rows in scores[data][model]]
            told.append(f"{np.mean(means):.4f} ± {np.std(means, ddof=1):.4f}")
        difference = compare(scores[data], mean_dice())
        seeds = len(scores[data][UNET])
        photos = len(scores[data][UNET][0])
        yield [title, str(photos), str(seeds), *told, str(difference), format_p(difference.p)]


def list_grid(scores: dict[str, list[Rows]]) -> Iterator[list[str]]:
    """The difference in every cell of the grid; * where it stays significant among all of them (Holm)."""
    cells = {
        (tone, shape): compare(
            scores,
            mean_dice(
                lambda row, tone=tone, shape=shape: (row.metadata["tone_gap"], row.metadata["irregularity"]) == (tone, shape)
            ),  # type: ignore[misc]
        )
        for tone in DIALS
        for shape in DIALS
    }
    adjusted = dict(zip(cells, adjust_holm([cell.p for cell in cells.values()]), strict=True))
    for tone in DIALS:
        yield [f"**{tone}**", *(f"{cells[tone, shape]}{'*' if adjusted[tone, shape] < 0.05 else ''}" for shape in DIALS)]


def list_thirds(scores: dict[str, list[Rows]]) -> Iterator[list[str]]:
    """The difference on real photos, by third of what was measured on each."""
    for trait, title in (("tone_contrast", "tone contrast"), ("irregularity", "irregularity")):
        for third in THIRDS:
            chosen = in_third(scores[UNET][0], trait, third)
            means = [np.mean([mean_dice(chosen)(rows) for rows in scores[model]]) for model in (UNET, RESNET)]
            yield [title, third, *(f"{mean:.4f}" for mean in means), str(compare(scores, mean_dice(chosen)))]


def list_claims(scores: dict[str, dict[str, list[Rows]]]) -> Iterator[list[str]]:
    """Each claim as a number: by how much the difference is larger where the claim says it is."""
    photos = scores["pets"][UNET][0]
    claims = {
        "similar tones favour ResNet34_UNet": {
            "figures": gap(mean_dice(with_dial("tone_gap", "0.00")), mean_dice(with_dial("tone_gap", "1.00"))),
            "pets": gap(
                mean_dice(in_third(photos, "tone_contrast", "low")), mean_dice(in_third(photos, "tone_contrast", "high"))
            ),
        },
        "irregular shapes favour UNet": {
            "figures": gap(mean_dice(with_dial("irregularity", "0.00")), mean_dice(with_dial("irregularity", "1.00"))),
            "pets": gap(
                mean_dice(in_third(photos, "irregularity", "low")), mean_dice(in_third(photos, "irregularity", "high"))
            ),
        },
    }
    for claim, measures in claims.items():
        for data, measure in measures.items():
            difference = compare(scores[data], measure)
            verdict = "yes" if difference.low > 0 else "no, the contrary" if difference.high < 0 else "cannot tell"
            yield [claim, TITLES[data], str(difference), format_p(difference.p), f"**{verdict}**"]


def list_seeds(scores: dict[str, dict[str, list[Rows]]]) -> Iterator[list[str]]:
    """How often photos alone tell two seeds of one recipe apart: every such verdict is false."""
    for data, title in TITLES.items():
        for model in (UNET, RESNET):
            dice = [np.array([row.dice for row in rows]) for rows in scores[data][model]]
            pairs = list(combinations(dice, 2))
            crowned = sum(check_difference(other - one).p < 0.05 for one, other in pairs)
            yield [model, title, str(len(pairs)), str(crowned)]


def make_tables() -> dict[str, str]:
    """Every table of the page, by name."""
    runs = {data: read_runs(data) for data in TITLES}
    scores = {
        data: {model: [run.scores("test") for run in each] for model, each in models.items()}
        for data, models in runs.items()
    }
    return {
        "networks": table(["network", "width", "parameters", "GFLOP a photo"], list_networks(runs)),
        "means": table(
            ["data", "test photos", "seeds", "UNet", "ResNet34_UNet", "difference [95 %]", "p"], list_means(scores)
        ),
        "claims": table(["claim", "data", "by how much more [95 %]", "p", "so?"], list_claims(scores)),
        "grid": table(["tone_gap \\ irregularity", *DIALS], list_grid(scores["figures"])),
        "seeds": table(["recipe", "data", "pairs of seeds", "told apart by photos alone"], list_seeds(scores)),
        "thirds": table(["photos by", "third", "UNet", "ResNet34_UNet", "difference [95 %]"], list_thirds(scores["pets"])),
    }


if __name__ == "__main__":
    for name, text in make_tables().items():
        print(f"{name}\n\n{text}\n")
