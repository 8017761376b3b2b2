"""Draw README's pictures from the demo's run folders.

make demo pictures
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import fgbg
from fgbg.judge.pictures import Panel, draw_panels

PICTURES = Path(__file__).parent / "pictures"
TONE_GAPS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
IRREGULARITIES = (0.0, 0.35, 0.7, 1.0)
FIGURE_PIXELS = 150


def draw_dials(path: Path) -> None:
    """Figures over both dials, another animal in each place."""
    rows = [
        np.concatenate(
            [
                fgbg.draw_figure(207 + 3 * (6 * row + column), size=FIGURE_PIXELS, tone_gap=gap, irregularity=dial).pixels
                for column, gap in enumerate(TONE_GAPS)
            ],
            axis=1,
        )
        for row, dial in enumerate(IRREGULARITIES)
    ]
    Image.fromarray(np.concatenate(rows)).save(path, quality=88)


def draw_three(run: fgbg.Run, path: Path) -> None:
    """The worst, the median and the best test photo of a run."""
    model = fgbg.load(run.folder)
    samples = fgbg.open_samples(run.config.data).of("test")
    places = {sample.id: index for index, sample in enumerate(samples.samples)}
    ranked = sorted(run.scores("test"), key=lambda row: row.dice)
    panels = []
    for kind, row in (("worst", ranked[0]), ("median", ranked[len(ranked) // 2]), ("best", ranked[-1])):
        index = places[row.id]
        pixels = samples.samples[index].read_pixels()
        title = f"{kind} · {row.id} · Dice {row.dice:.4f}"
        panels.append(Panel(title, pixels, model(pixels) > model.threshold, samples.read_levels(index)))
    draw_panels(panels, path)


def photograph_page(page: Path, path: Path) -> None:
    """The top of the report as a browser shows it; left as it is where there is no Chromium."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        print(f"no Chromium: {path} is not drawn anew")
        return
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1180,1500"]
    subprocess.run([browser, *flags, f"--screenshot={path}", page.resolve().as_uri()], check=True, capture_output=True)
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(128)  # a quarter of the size, and no eye sees it
    small.save(path, optimize=True)


def main(demo: Path) -> None:
    """Write the pictures."""
    PICTURES.mkdir(exist_ok=True)
    draw_dials(PICTURES / "figures.jpg")
    draw_three(fgbg.open_run(demo / "unet"), PICTURES / "panels.png")
    shutil.copy(demo / "report" / "charts" / "dice.png", PICTURES / "dice.png")
    photograph_page(demo / "report" / "report.html", PICTURES / "report.png")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo"))
