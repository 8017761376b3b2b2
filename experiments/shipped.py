"""What int8 costs the pet model that ships, and which steps after the network are worth it there.

    FGBG_DATA=… python experiments/shipped.py      # twenty minutes on one core

Both are decided on the validation photos and then measured once on the test photos, which chose nothing. What it finds is
kept in results/shipped.json; the tables of docs/export.md and docs/refine.md are printed from that.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fgbg.data.parallel import show_progress
from fgbg.judge.bootstrap import check_difference
from fgbg.judge.metrics import count_pixels, dice_of
from fgbg.judge.runs import open_run_data
from fgbg.model_file import PETS, find_model_file
from fgbg.models.checkpoint import load_model, save_model
from fgbg.run import Run, open_run
from fgbg.ship.export import export_model
from fgbg.ship.load import load
from fgbg.ship.parity import read_judged
from fgbg.ship.refine_trial import Trial, try_steps
from plan import RESULTS

RESULT = RESULTS / "shipped.json"
LOST_MUCH = 0.05  # Dice, by a photo


def rebuild_run(folder: Path) -> Run:
    """The pet model's run, whose light part is kept, with the weights that its file holds to the bit."""
    shutil.copytree(RESULTS / PETS / f"{PETS}-0", folder)
    predictor, header = load_model(find_model_file(PETS))
    save_model(folder / "best.safetensors", predictor.network, header)
    return open_run(folder)


def measure_int8(run: Run, folder: Path) -> dict[str, Any]:
    """What quantization changes: on validation, as `fgbg export` reports it, and photo by photo on test."""
    half, int8 = (export_model(run.folder, folder / f"{weights}.onnx", weights=weights) for weights in ("half", "int8"))
    first, second = load(half.path), load(int8.path)
    samples, _ = open_run_data(run, "", "test")

    def score() -> Iterator[tuple[float, float]]:
        for photo in read_judged(samples, run.config.border, show_progress, most=None):
            yield tuple(dice_of(count_pixels(model(photo) > model.threshold, photo.target)) for model in (first, second))

    scores = np.array(list(score()))
    changes = scores[:, 1] - scores[:, 0]
    return {
        "bytes": {"half": half.path.stat().st_size, "int8": int8.path.stat().st_size},
        "validation": int8.parity.to_json(),
        "test": {
            "dice": dict(zip(("half", "int8"), scores.mean(axis=0).tolist(), strict=True)),
            "change": check_difference(changes).difference.to_json(),
            "most_lost": -float(changes.min()),
            "lost_much": int((changes < -LOST_MUCH).sum()),
        },
    }


def measure_steps(run: Run) -> list[Trial]:
    """All steps on validation; those that help there on test."""
    chosen = try_steps(run, soft=True, progress=show_progress)
    if not chosen.recommended:
        return [chosen]
    return [chosen, try_steps(run, split="test", steps=chosen.recommended, progress=show_progress)]


def main() -> None:
    """Measure both, print and keep them."""
    with tempfile.TemporaryDirectory() as temporary:
        run = rebuild_run(Path(temporary) / PETS)
        trials = measure_steps(run)
        for trial in trials:
            print(trial.describe())
        int8 = measure_int8(run, Path(temporary))
        print(json.dumps(int8, indent=1))
    steps = {trial.split: {**trial.to_json(), "run": PETS} for trial in trials}
    RESULT.write_text(json.dumps({"steps": steps, "int8": int8}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
