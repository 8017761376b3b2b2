"""An audit as lines to print."""

from __future__ import annotations

from collections.abc import Mapping

from fgbg.doctor.audit import QUANTILES, Audit
from fgbg.doctor.problems import KINDS
from fgbg.words import plural

FIRST = 5  # problems printed per kind; the page and --json have all
MEASURES: Mapping[str, tuple[str, str]] = {
    "width": ("width, pixels", "{:,.0f}"),
    "height": ("height, pixels", "{:,.0f}"),
    "object_share": ("object's share", "{:.1%}"),
    "tone_contrast": ("tone contrast", "{:.2f}"),
    "irregularity": ("irregularity", "{:.2f}"),
}
"""Title and format of each measure. Tone contrast: 0 alike, 1 nothing in common. Irregularity: 1.1 for a disc."""

SHOWN = tuple(QUANTILES.index(share) for share in (0.05, 0.5, 0.95))


def describe_audit(audit: Audit) -> str:
    """What was understood, what the photos are like, and every kind of problem with its first files."""
    lines = [audit.understood, *(f"note: {remark}" for remark in audit.remarks), "", *_list_statistics(audit), ""]
    for kind, about in KINDS.items():
        problems = audit.of(kind)
        if not problems:
            continue
        lines.append(f"{kind} ({len(problems)}{'' if about.is_fact else ', look at this'}): {about.meaning} {about.cure}")
        lines += [f"  {_name_files(problem.files)}{problem.detail}" for problem in problems[:FIRST]]
        if len(problems) > FIRST:
            lines.append(f"  … and {len(problems) - FIRST} more")
    lines.append(say_verdict(audit))
    return "\n".join(lines)


def say_verdict(audit: Audit) -> str:
    """How many problems there are, in a few words."""
    facts = sum(KINDS[problem.kind].is_fact for problem in audit.problems)
    suspicions = len(audit.problems) - facts
    if not audit.problems:
        return "No problem found"
    fix = [f"{plural(facts, 'problem')} to fix"] if facts else []
    look = [f"{plural(suspicions, 'suspicion')} to look at"] if suspicions else []
    return ", ".join(fix + look)


def _list_statistics(audit: Audit) -> list[str]:
    lines = []
    for name, (title, form) in MEASURES.items():
        if name in audit.statistics:
            low, middle, high = (form.format(audit.statistics[name][place]) for place in SHOWN)
            lines.append(f"  {title:15} median {middle:>7}   90 % within {low} to {high}")
    return lines


def _name_files(files: tuple[str, ...]) -> str:
    """The first files, to be followed by what is wrong with them; empty if there are none."""
    more = f" and {len(files) - 4} more files" if len(files) > 4 else ""
    return f"{', '.join(files[:4])}{more}: " if files else ""
