"""The same prediction started twice: neither takes the other's files away."""

from __future__ import annotations

from pathlib import Path

import pytest

from drill import Place


@pytest.mark.slow
def test_two_predictions_into_one_folder(place: Place, tmp_path: Path) -> None:
    out, alone = tmp_path / "out", tmp_path / "alone"
    argv = ["predict", str(Path(place.data) / "images"), "--out"]
    for command in [place.start([*argv, str(out)]) for _ in range(2)]:
        ended = command.wait()
        assert ended.status == 0, ended.said
    assert place.run([*argv, str(alone)]).status == 0
    for path in alone.glob("*.png"):
        assert (out / path.name).read_bytes() == path.read_bytes()
    assert not list(out.glob(".*.partial"))
