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
from fgbg.judge.run_data import open_run_data
from fgbg.model_file import PETS, find_model_file
from fgbg.models.checkpoint import load_model, save_model
from fgbg.run import Run, open_run
from fgbg.ship.export import export_model
from fgbg.ship.load import load
from fgbg.ship.parity import read_judged
from fgbg.ship.refine_trial import MATTE, Trial, try_steps
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


def make_tables(kept: dict[str, Any]) -> dict[str, list[str]]:
    """The rows of the tables in docs, by page."""

    def say(estimate: dict[str, float], digits: int = 4) -> str:
        mean, low, high = (f"{estimate[name]:+.{digits}f}" for name in ("mean", "low", "high"))
        return f"{mean} [{low}, {high}]"

    steps = []
    for split, trial in kept["steps"].items():
        for each in trial["effects"]:
            name = "soft edges" if each["steps"] == [MATTE] else f"`{','.join(each['steps'])}`"
            better = f"{each['better']}, {each['worse']}"
            steps.append(
                f"| {split} | {name} | {say(each['dice'])} | {say(each['boundary_iou'])} | {better} | {each['verdict']} |"
            )
    told, test = kept["int8"]["validation"], kept["int8"]["test"]
    sizes = {name: f"{size / 1e6:.1f} MB" for name, size in kept["int8"]["bytes"].items()}
    int8 = [
        "| size of the file, half and int8 | " + ", ".join(sizes.values()) + " |",
        f"| Dice lost on {told['photo_count']} validation photos | {-told['dice_difference']:.4f} |",
        f"| pixels that differ there | {told['disagreeing_share']:.1%} |",
        f"| Dice on the test photos, int8 less half | {say(test['change'])} |",
        f"| most lost by one test photo | {test['most_lost']:.2f} |",
        f"| test photos that lost more than {LOST_MUCH:g} | {test['lost_much']} |",
    ]
    return {"refine.md": steps, "export.md": int8}


def main() -> None:
    """Measure both, keep what was found, and print the tables."""
    with tempfile.TemporaryDirectory() as temporary:
        run = rebuild_run(Path(temporary) / PETS)
        steps = {trial.split: {**trial.to_json(), "run": PETS} for trial in measure_steps(run)}
        kept = {"steps": steps, "int8": measure_int8(run, Path(temporary))}
    RESULT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    for page, rows in make_tables(json.loads(RESULT.read_text(encoding="utf-8"))).items():
        print(f"docs/{page}", *rows, sep="\n")


if __name__ == "__main__":
    main()
