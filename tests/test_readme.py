"""What README and docs tell a reader to type works."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import fgbg
from fgbg.cli.checking import CheckArguments
from fgbg.cli.drawing import DemoArguments, FiguresArguments
from fgbg.cli.judging import CompareArguments, EvaluateArguments, ReportArguments
from fgbg.cli.shipping import ExportArguments, PredictArguments, ServeArguments
from fgbg.cli.training import TrainArguments
from fgbg.cli.verb import parse
from fgbg.config_file import read_config
from fgbg.data.figures import draw_figures
from fgbg.judge.page.tables import tabulate_slices
from fgbg.judge.slices import slice_rows
from fgbg.judge.statement import describe_statement, summarise
from fgbg.run import open_run
from fgbg.user_cache import cache_folder

ROOT = Path(__file__).parent.parent
COMMANDS = re.findall(r"^ {4}(fgbg .*)$", (ROOT / "README.md").read_text(), re.MULTILINE)
ARGUMENTS = {
    "check": CheckArguments,
    "train": TrainArguments,
    "evaluate": EvaluateArguments,
    "predict": PredictArguments,
    "export": ExportArguments,
    "serve": ServeArguments,
    "compare": CompareArguments,
    "report": ReportArguments,
    "figures": FiguresArguments,
    "demo": DemoArguments,
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_in_the_readme_parses(command: str) -> None:
    _, verb, *flags = shlex.split(command, comments=True)
    parse(ARGUMENTS[verb], flags)


def test_every_module_is_on_the_map() -> None:
    names = set(re.findall(r"`(?:\w+/)*(\w+)(?:\.py)?`", (ROOT / "CONTRIBUTING.md").read_text()))
    package = ROOT / "src" / "fgbg"
    modules = [path for path in package.glob("**/*.py") if len(path.relative_to(package).parts) <= 2]
    missing = [path.stem for path in modules if path.stem not in names and not path.stem.startswith("__")]
    assert [name for name in missing if (package / "search" / f"{name}.py") not in modules] == []


@pytest.mark.long
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cells = json.loads((ROOT / "docs" / "first_steps.ipynb").read_text(encoding="utf-8"))["cells"]
    names: dict[str, object] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    assert open_run(tmp_path / "runs" / "mine").epochs()[-1].val_dice > 0.4, "a first model should find something"


def test_the_readme_shows_commands_and_its_pictures_exist() -> None:
    assert {shlex.split(command)[1] for command in COMMANDS} >= {"train", "evaluate", "predict", "report"}
    text = (ROOT / "README.md").read_text()
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert len(pictures) == 4
    for link in [*pictures, *re.findall(r"[^!]\[.*?\]\(([^)#]*?)\)", text)]:
        assert (ROOT / link).exists(), link


def test_the_makefile_has_the_readmes_two_commands() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^ {4}make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.long
def test_the_python_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its training example, on the built-in figures (few of them, drawn where they would be)."""
    monkeypatch.setenv("FGBG_CACHE", str(tmp_path / "cache"))
    draw_figures(cache_folder() / "figures", count=60, size=48)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL)
    example = next(block for block in blocks if "fgbg.train(" in block)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "docs/python.md", "exec"), {"__name__": "example"})
    assert (tmp_path / "runs" / "tiny" / "best.safetensors").exists()


KEPT = sorted((ROOT / "experiments" / "results" / "claims").iterdir())


@pytest.mark.long
@pytest.mark.parametrize("folder", KEPT, ids=lambda path: path.name)
def test_a_kept_run_was_made_by_its_experiment(folder: Path) -> None:
    kept, (data, _, seed) = open_run(folder), folder.name.split("-")
    recipe = read_config(ROOT / "experiments" / "claims" / f"{data}.toml")
    assert set(kept.config.differences(recipe)) <= {"out", "data", "model", "seed"}
    assert kept.config.seed == int(seed)
    mean = sum(row.dice for row in kept.scores("test")) / kept.statement("test")["pairs"]
    assert kept.statement("test")["mean_dice"] == pytest.approx(mean, abs=1e-12)


def test_the_readmes_scores_are_those_of_the_kept_run() -> None:
    run = open_run(ROOT / "experiments" / "results" / "claims" / "pets-unet-0")
    told = describe_statement(run.statement("test") | summarise(run.scores("test"), 1.0))
    readme = (ROOT / "README.md").read_text()
    for line in told.splitlines():
        assert f"    {line}\n" in readme


def test_the_readmes_table_is_built_from_the_kept_runs() -> None:
    command = [sys.executable, str(ROOT / "experiments" / "table.py")]
    table = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert table.strip() in (ROOT / "README.md").read_text()


@pytest.mark.long
def test_the_page_on_the_labs_claims_holds_the_tables_of_the_kept_runs() -> None:
    tables = runpy.run_path(str(ROOT / "experiments" / "claims" / "tables.py"))["make_tables"]()
    page = (ROOT / "docs" / "claims.md").read_text()
    lines = [line for table in tables.values() for line in table.splitlines() if line.startswith("|")]
    assert len(lines) > 20
    for line in lines:
        assert line in page, line


def test_the_shipped_models_card_holds_the_slices_of_its_kept_run() -> None:
    rows = open_run(ROOT / "experiments" / "results" / "pets" / "pets-0").scores("test")
    card = (ROOT / "src" / "fgbg" / "shipped" / "pets.md").read_text(encoding="utf-8")
    lines = tabulate_slices(slice_rows(rows)).to_markdown().splitlines()
    assert len(lines) > 20
    for line in lines:
        assert line in card


def test_the_citation_is_of_this_version() -> None:
    told = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {fgbg.__version__}\n" in told
