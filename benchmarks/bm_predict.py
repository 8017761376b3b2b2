"""Photos per second of `fgbg predict`, from files to mask files, against its model alone on photos decoded in advance.

    python benchmarks/bm_predict.py FOLDER_OF_PHOTOS [MODEL]       # pets by default

Target on two cores: at least 80 photos per second on pets whose shorter side is 256 px, and 0.8 of the model alone.
"""

from __future__ import annotations

import sys
import tempfile
from itertools import count
from pathlib import Path

from fgbg.cores import count_cores
from fgbg.data.images import list_images
from fgbg.model_file import PETS
from fgbg.ship.load import load_for_many
from fgbg.ship.photo import open_photo
from fgbg.ship.predict import predict_inputs
from timing import describe_machine, images_per_second, ratio

ROUNDS, MOST = 5, 611


def main(folder: Path, name: str) -> None:
    """Time both in turn, and print a table."""
    paths = list_images(folder)[:MOST]
    model = load_for_many(name, photo_count=len(paths))
    photos = [open_photo(path) for path in paths]

    with tempfile.TemporaryDirectory() as out:
        rounds = count()

        def whole() -> int:
            outcome = predict_inputs([name, *map(str, paths)], Path(out) / str(next(rounds)), say=lambda line: None)
            return len(outcome.written)

        def alone() -> int:
            return sum(1 for _ in model.answer(iter(photos)))

        rates = images_per_second({"fgbg predict": whole, "model alone": alone}, rounds=ROUNDS)
    print(f"{len(paths)} photos, model {name}; {count_cores()} cores; {describe_machine()}\n")
    print("| what | photos a second, median | slowest and fastest round |\n|---|---|---|")
    for what, each in rates.items():
        print(f"| {what} | {sorted(each)[ROUNDS // 2]:.1f} | {min(each):.1f} to {max(each):.1f} |")
    print(f"\nfgbg predict / model alone: {ratio(rates, 'fgbg predict', 'model alone')}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(f"usage: python {sys.argv[0]} FOLDER_OF_PHOTOS [MODEL]")
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) == 3 else PETS)
