"""The demo, made small."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fgbg import cli, demo


@pytest.mark.long
def test_the_demo_draws_trains_scores_and_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"FIGURES": 40, "FIGURE_PIXELS": 32, "EPOCHS": 1, "WIDTH": 4}.items():
        monkeypatch.setattr(demo, name, value)
    monkeypatch.setattr(demo, "MODELS", {"unet": 32, "resnet34_unet": 32})
    out = tmp_path / "demo"
    assert cli.main(["demo", "--out", str(out)]) == 0
    table = capsys.readouterr().out.split("tone_gap 0")[1]
    for name in ("unet", "resnet34_unet", "Otsu's threshold", "all foreground"):
        assert re.search(rf"^{name} +0\.\d{{4}} \[0\.\d{{4}}, 0\.\d{{4}}\] +0\.\d{{4}} +0\.\d{{4}}$", table, re.MULTILINE), (
            table
        )
    paths = [Path(line) for line in table.splitlines() if line.startswith(str(out))]
    assert len(paths) == 5
    assert all(path.stat().st_size > 1000 for path in paths)
    assert cli.main(["demo", "--out", str(out)]) == 2, "what is there is not overwritten"
