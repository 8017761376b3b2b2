"""What is wrong with data, or with a run."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from fgbg.cli.verb import EXIT_FOUND, parse, require_extra
from fgbg.config import TrainConfig
from fgbg.errors import UserError
from fgbg.storage import is_run
from fgbg.words import ObjectValue, SplitRule


@dataclass(frozen=True)
class CheckArguments:
    """Audit a data set before training on it, or a run after training. Changes nothing.

    Exits with 0 if nothing is wrong or some things should be looked at, 1 if something is definitely wrong.
    """

    target: Positional[str] = ""
    """DATA (oxford-pet, figures, a folder), or a run folder."""
    json: bool = False
    """Print everything as JSON."""
    page: str = ""
    """Write a page with a picture of every problem to this .html file."""
    write_clean: str = ""
    """Write the ids of all pairs but those that are wrong to this file, one a line; of copies one. Suspicions stay in."""
    object_values: tuple[ObjectValue, ...] = ()
    """Which stored mask values are object, if the set leaves it open, for example 1 3; nonzero for all but 0."""
    categories: tuple[str, ...] = ()
    """Which COCO categories or LabelMe labels are object, or all; only needed if there are several."""
    split: SplitRule = "official"
    """How Oxford-IIIT Pet is split, as in training: leaks depend on it."""
    split_seed: int = 0
    """Seed of a split that fgbg makes, as in training."""
    group_by: str = ""
    """What such a split keeps together, as in training: near-duplicates, or a column of metadata.csv."""
    folds: int = 0
    """Split into that many parts, as in training."""
    fold: int = 0
    """Index of the part that is the test set."""
    against: str = ""
    """A run: also find photos that trained its model or chose its epoch, under whatever name, resized or saved again."""
    clear_cache: bool = False
    """Remove what fgbg keeps on the disk, and say what it was."""


def check_verb(argv: Sequence[str]) -> int:
    """Audit data, or a run."""
    arguments = parse(CheckArguments, argv)
    if arguments.clear_cache:
        from fgbg.doctor.clearing import clear_cache

        print(clear_cache(), file=sys.stderr if arguments.json else sys.stdout)
        if not arguments.target:
            return 0
    if not arguments.target:
        raise UserError("check what? Name DATA (oxford-pet, figures, a folder) or a run folder")
    require_extra("train")
    if is_run(Path(arguments.target)):
        of_data = dataclasses.replace(arguments, target="", json=False, clear_cache=False)
        given = [name for name, value in vars(of_data).items() if value != getattr(CheckArguments(), name)]
        if given:
            raise UserError(f"--{given[0].replace('_', '-')} goes with DATA, and {arguments.target} is a run: leave it out")
        return _check_run(Path(arguments.target), as_json=arguments.json)
    from fgbg.data.parallel import show_progress
    from fgbg.doctor.audit import check_data
    from fgbg.doctor.clean_list import require_place, write_clean_list
    from fgbg.doctor.page import require_page_name, write_page
    from fgbg.doctor.wording import describe_audit
    from fgbg.judge.run_data import open_scorable

    if arguments.page:
        require_page_name(Path(arguments.page))
    if arguments.write_clean:
        require_place(Path(arguments.write_clean), "--write-clean")
    known = vars(arguments).keys() & TrainConfig().data_options().keys()
    config = TrainConfig(**{name: getattr(arguments, name) for name in known})  # refuses what training would refuse
    options = config.data_options()
    del options["only"]  # a list of photos: all are checked
    against = open_scorable(Path(arguments.against)) if arguments.against else None
    audit = check_data(arguments.target, against=against, progress=show_progress, **options)
    print(json.dumps(audit.to_json(), indent=2) if arguments.json else describe_audit(audit))
    said = []
    if arguments.page:
        said.append(f"page: {write_page(audit, Path(arguments.page))}")
    if arguments.write_clean:
        said.append(write_clean_list(audit, Path(arguments.write_clean)))
    print(*said, sep="\n", end="\n" if said else "", file=sys.stderr if arguments.json else sys.stdout)
    return EXIT_FOUND if audit.has_facts else 0


def _check_run(folder: Path, *, as_json: bool) -> int:
    from fgbg.training.checks.folder import check_run
    from fgbg.training.selfcheck import describe_findings, findings_to_json

    findings = check_run(folder)
    print(json.dumps(findings_to_json(findings, folder), indent=2) if as_json else describe_findings(findings))
    return EXIT_FOUND if any(finding.stops for finding in findings) else 0
