"""An audit as one HTML page that opens offline: every problem with its pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fgbg.data.samples import Sample
from fgbg.doctor.audit import QUANTILES, Audit
from fgbg.doctor.clean_list import require_place
from fgbg.doctor.drawing import draw_mask, draw_pair, draw_photo
from fgbg.doctor.inventory import relative_name
from fgbg.doctor.problems import KINDS, Kind, Problem
from fgbg.doctor.wording import MEASURES, say_verdict
from fgbg.errors import UserError
from fgbg.judge.page.templates import embed_style, open_templates
from fgbg.storage import write_whole
from fgbg.words import plural

HERE = Path(__file__).parent
MOST_PICTURED = 60  # problems per kind: the others are only listed
MOST_COPIES = 4  # photos per problem


class Figure(NamedTuple):
    """A picture and its caption; `source` is empty if there is no picture."""

    caption: str
    source: str  # a data: URL
    description: str


class Case(NamedTuple):
    """One problem as the page shows it."""

    problem: Problem
    figures: list[Figure]


class Section(NamedTuple):
    """All problems of one kind."""

    kind: str
    about: Kind
    cases: list[Case]
    others: list[Problem]  # listed without pictures, since there are too many


def write_page(audit: Audit, path: Path) -> Path:
    """Write the page and return its path.

    Raises:
        UserError: The name does not end in .html, or its folder does not exist.
    """
    require_page_name(path)
    text = render_page(audit)
    write_whole(path, text)
    return path


def require_page_name(path: Path) -> None:
    """Refuse an unsuitable name for a page; call it before an audit that takes minutes.

    Raises:
        UserError: The name does not end in .html, or its folder does not exist.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--page {path} must end in .html")
    require_place(path, "--page")


def render_page(audit: Audit) -> str:
    """The whole page as text."""
    content: dict[str, Any] = {
        "audit": audit,
        "verdict": say_verdict(audit),
        "sections": _list_sections(audit),
        "statistics": _list_statistics(audit),
        "quantiles": ("least", "5 %", "median", "95 %", "most"),
        "plural": plural,
        "style": embed_style(HERE / "check.css"),
    }
    return open_templates(HERE).get_template("check.html.j2").render(content)


def _list_sections(audit: Audit) -> list[Section]:
    owners = _find_owners(audit)
    sections = []
    for kind, about in KINDS.items():
        problems = audit.of(kind)
        if problems:
            cases = [Case(problem, _draw_figures(problem, audit, owners)) for problem in problems[:MOST_PICTURED]]
            sections.append(Section(kind, about, cases, problems[MOST_PICTURED:]))
    return sections


def _find_owners(audit: Audit) -> dict[str, Sample]:
    """The pair that each file belongs to, by the file's name in problems."""
    return {
        relative_name(path, audit.folder): sample
        for sample in audit.samples
        for path in (sample.image, sample.mask)
        if isinstance(path, Path)
    }


def _draw_figures(problem: Problem, audit: Audit, owners: Mapping[str, Sample]) -> list[Figure]:
    """The pictures of one problem: its pairs with outlines, two versions of a misaligned pair, else the bare files."""
    pairs = list({owners[file].id: owners[file] for file in problem.files if file in owners}.values())[:MOST_COPIES]
    if problem.fit and pairs:
        return [
            Figure("as it is", draw_pair(pairs[0], audit.encoding), f"{pairs[0].id} with its mask's outline"),
            Figure("where it fits better", draw_pair(pairs[0], audit.encoding, problem.fit), "The outline moved"),
        ]
    if problem.kind in ("size-mismatch", "ambiguous-mask", "corrupt") and pairs:
        return [figure for pair in pairs for figure in _draw_apart(pair)]
    if pairs:
        return [Figure(pair.id, draw_pair(pair, audit.encoding), f"{pair.id} with its mask's outline") for pair in pairs]
    draw = draw_mask if problem.kind in ("missing-image", "ambiguous-mask") else draw_photo
    return [Figure(file, draw(audit.folder / file), file) for file in problem.files[:MOST_COPIES]]


def _draw_apart(pair: Sample) -> list[Figure]:
    """Photo and mask of a pair that cannot be laid over each other."""
    assert isinstance(pair.image, Path)
    assert isinstance(pair.mask, Path)
    photo = Figure("photo", draw_photo(pair.image), f"Photo of {pair.id}")
    return [photo, Figure("mask", draw_mask(pair.mask), f"Mask of {pair.id}")]


def _list_statistics(audit: Audit) -> list[tuple[str, list[str]]]:
    """Title and formatted quantiles of each measure: those that the page has room for."""
    places = [QUANTILES.index(share) for share in (0.0, 0.05, 0.5, 0.95, 1.0)]
    return [
        (title, [form.format(audit.statistics[name][place]) for place in places])
        for name, (title, form) in MEASURES.items()
        if name in audit.statistics
    ]
