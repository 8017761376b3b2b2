"""Whatever a name is made of, Markdown shows it as it is."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from fake_runs import write_fake_run
from fgbg.judge.markdown import Table, code, escape
from fgbg.judge.methods.describe import describe_methods
from fgbg.judge.results import read_results
from fgbg.run import Run
from fgbg.ship.card import Card, describe_card
from fgbg.ship.parity import SAME, Parity
from trivial import make_header

HOSTILE = '<img src="x"> [a](b) ![c](d) *e* `f` g\\|h &lt; _i_ ~~j~~\n# k #'
SHOWN = HOSTILE.replace("\n", " ")
NAMES = st.text("\\*_`[]()<>!&#|~:/;-=.1a \n\r").filter(str.strip)


def parse(text: str) -> list[Token]:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)


def read(text: str) -> list[str]:
    """What a page shows, block by block and cell by cell; nothing but plain text and code is allowed."""
    tokens = parse(text)
    assert not [token for token in tokens if token.type == "html_block"]
    blocks = [token.children or [] for token in tokens if token.type == "inline"]
    assert {child.type for block in blocks for child in block} <= {"text", "code_inline"}
    return ["".join(child.content for child in block) for block in blocks]


@given(NAMES)
@example(HOSTILE)
def test_a_name_is_shown_as_it_is(name: str) -> None:
    line = re.sub(r"\s*[\r\n]+\s*", " ", name)
    assert read(f"# {escape(name)}")[:1] == [line.strip()]
    assert read(f"Runs. {escape(name)}") == [f"Runs. {line}".rstrip()]
    told = read(Table(("Run", name), [(name, 1), ("b", 2)]).to_markdown())
    assert told == ["Run", line.strip(), line.strip(), "1", "b", "2"]


@given(NAMES)
def test_code_is_shown_as_it_is(text: str) -> None:
    [block] = [token for token in parse(f"- {code(text)}") if token.type == "inline"]
    assert [(child.type, child.content.strip()) for child in block.children or []] == [
        ("code_inline", re.sub(r"[\r\n]+", " ", text).strip())
    ]


def test_numbers_and_names_of_settings_stay_readable() -> None:
    plain = "p < 0.001; Dice 0.9 [0.8, 1.0] & learning_rate C++ #3 (95 %)!"
    assert escape(plain) == plain


def write_hostile_run(folder: Path, count: int) -> Run:
    run = write_fake_run(folder, count=count)
    rows = [
        replace(row, metadata={**row.metadata, "clinic": f"{HOSTILE}{place % 2}"})
        for place, row in enumerate(run.scores("test"))
    ]
    run.write_scores("test", rows, run.statement("test") | {"data": HOSTILE, "members": [HOSTILE], "overlap": HOSTILE})
    run.write_environment({"command": ["fgbg", HOSTILE, "``"], "versions": {HOSTILE: "1"}})
    return run


def test_a_card_shows_hostile_names_as_they_are(tmp_path: Path) -> None:
    run = write_hostile_run(tmp_path / "run", count=30)
    model = tmp_path / f"{HOSTILE[:4]}.onnx"
    model.write_bytes(b"")
    header = make_header(data=HOSTILE, initialised_from=HOSTILE, threshold_reason=HOSTILE)
    parity = Parity(HOSTILE, 1, 1, 0, 0.0, 0.9, 0.9, SAME, 0.0, 1)
    text = describe_card(Card(HOSTILE, run, header, model, parity))
    shown = read(text.replace("**", ""))
    assert shown[0] == SHOWN
    assert f"{SHOWN}1" in shown, "as a kind of photo"
    assert sum(SHOWN in each for each in shown) > 8


def test_a_methods_section_shows_hostile_names_as_they_are(tmp_path: Path) -> None:
    run = write_hostile_run(tmp_path / "<b>[a](b)\\|*c*", count=4)
    other = write_fake_run(tmp_path / "b", count=4)
    shown = read(describe_methods(read_results([run, other], allow_overlap=True), "test").to_markdown().replace("**", ""))
    assert any(each == "Unet (<b>[a](b)\\|*c*)" for each in shown), "in the table"
    assert any(SHOWN in each for each in shown), "in a sentence"
