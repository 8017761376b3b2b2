"""The output of a search: one HTML page that opens offline, a table, the best settings."""

from __future__ import annotations

import csv
from pathlib import Path

from fgbg.config import flatten
from fgbg.config_file import to_toml
from fgbg.judge.page.templates import embed_script, embed_style, open_templates
from fgbg.judge.page.wording import word
from fgbg.search.drawings import draw_course, draw_field, draw_share
from fgbg.search.results import BEST, PAGE, STATES, TABLE, Sweep, say_seconds, say_value
from fgbg.storage import replace_when_whole, write_whole
from fgbg.words import plural

HERE = Path(__file__).parent


def write_results(sweep: Sweep) -> None:
    """Write the page, the table and the best settings, once there is something to compare."""
    if not sweep.best or sweep.count < 2:
        return
    told = (
        f"# Trial {sweep.best.number}, the best of {sweep.count}: validation Dice {sweep.best.dice:.4f}, which flatters.\n"
    )
    for name, content in {BEST: told + to_toml(sweep.best_config), PAGE: render_page(sweep)}.items():
        write_whole(sweep.folder / name, content)
    with replace_when_whole(sweep.folder / TABLE) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        columns = ("number", "state", "dice", "best_epoch", "epochs", "seconds")
        writer.writerow([*columns, *(field.name for field in sweep.space), "sentence"])
        for record in sweep.trials:
            values = [getattr(record, name) for name in columns]
            writer.writerow([*values, *record.values.values(), record.sentence])


def render_page(sweep: Sweep) -> str:
    """The whole page. At least the baseline must have finished."""
    templates = open_templates(HERE)
    templates.filters |= {"word": word, "say": say_value, "seconds": say_seconds}
    return templates.get_template("sweep.html.j2").render(
        sweep=sweep,
        unchanged=flatten(sweep.base),
        states={state: meaning for state, meaning in STATES.items() if any(each.state == state for each in sweep.trials)},
        course=draw_course(sweep),
        drawings=[draw_field(sweep, field) for field in sweep.space],
        shares=[(name, share, draw_share(share)) for name, share in sweep.importances.items()],
        plural=plural,
        best_file=BEST,
        table_file=TABLE,
        style=embed_style(HERE / "sweep.css"),
        **embed_script(),
    )
