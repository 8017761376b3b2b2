"""Make the model that ships with fgbg out of the run that experiments/pets.toml trained.

    FGBG_DATA=… python experiments/run.py pets
    FGBG_DATA=… python experiments/ship_pets.py

Its weights are rounded to half precision first, and the rounded model is scored: what ships is what the card tells of.
"""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file

from fgbg.judge.runs import evaluate_run
from fgbg.model_file import PETS, SHIPPED
from fgbg.models import build_network
from fgbg.models.checkpoint import read_header, save_model
from fgbg.models.onnx_weights import round_weights
from fgbg.ship.export import export_model
from keep import keep
from plan import RESULTS

RUN = Path("runs/pets/pets-0")
NOT_FOR = (
    "anything but one or a few cats or dogs of which much is seen: no other animals, no people, no medical or safety use. "
    "It was trained on photos of pedigree pets, mostly of six breeds, by people who like them. Their masks leave a band "
    "along the outline open, so that it was never told where fur ends, nor is it scored there; of a thin tail, which is all "
    "band, the end may be missing. It always looks for a pet, and may find one where none is."
)


def main() -> None:
    """Round, score, keep, export."""
    header = read_header(RUN / "best.safetensors")
    network = build_network(header.network, width=header.width, encoder=header.encoder)
    network.load_state_dict(round_weights(load_file(RUN / "best.safetensors")))
    save_model(RUN / "best.safetensors", network, header)
    evaluate_run(RUN, split="validation")
    print(evaluate_run(RUN).describe())
    keep(RUN, RESULTS / "pets")
    print(export_model(RUN, SHIPPED / f"{PETS}.onnx", not_for=NOT_FOR, force=True).describe())


if __name__ == "__main__":
    main()
