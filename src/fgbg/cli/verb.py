"""What all verbs share: the check for libraries, the parsing of flags, exit statuses."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
from collections.abc import Sequence
from typing import Any

import tyro

from fgbg.errors import UserError

EXIT_FOUND = 1  # a check found something definitely wrong
EXIT_MISTAKE = 2
EXIT_INTERRUPTED = 130  # what shells expect of a program that Ctrl-C ended
EXIT_UNREAD = 141  # and of one whose output nobody reads any more (SIGPIPE)

# Libraries of each extra, as they are imported.
EXTRAS = {
    "train": (
        *("torch", "accelerate", "filelock", "safetensors", "jaxtyping", "scipy", "matplotlib", "xlsxwriter", "jinja2"),
        *("onnx", "onnxscript", "timm", "segmentation_models_pytorch", "torchvision", "pooch"),
    ),
    "sweep": ("optuna",),
    "ray": ("ray", "pyarrow", "pandas"),
    "serve": ("fastapi", "uvicorn", "python_multipart"),
}


def require_extra(extra: str, argv: Sequence[str] = ()) -> None:
    """Refuse a verb whose libraries are missing, before its flags are read, so that nobody corrects flags in vain.

    Raises:
        UserError: Some are missing, and `argv` does not ask for help, which needs none of them.
    """
    if {"-h", "--help"} & set(argv):
        return
    absent = [name for name in EXTRAS[extra] if importlib.util.find_spec(name) is None]
    if absent:
        raise UserError(f"this command needs {', '.join(absent)}: pip install 'fgbg[{extra}]'")


def parse(kind: type, argv: Sequence[str], **options: Any) -> Any:
    """Parse the flags of a verb: `TrainArguments` for `fgbg train`. Invalid flags end the program with status 2.

    Raises:
        UserError: A name is empty, which would mean the current folder.
    """
    verb = kind.__name__.removesuffix("Arguments").lower()
    arguments = tyro.cli(kind, args=list(argv), prog=f"fgbg {verb}", **options)
    for field in dataclasses.fields(arguments):
        value = getattr(arguments, field.name)
        told = field.name.upper() if str(field.type).startswith("Positional") else f"--{field.name.replace('_', '-')}"
        if isinstance(value, tuple) and "" in value:
            raise UserError(f"one of {told} is empty: is a variable of the shell unset?")
        if value == "" and field.default != "":
            raise UserError(f"{told} is empty: is a variable of the shell unset?")
    return arguments


def is_main() -> bool:
    """Whether this process is the one that prints, if torchrun started several."""
    return os.environ.get("RANK", "0") == "0"
