"""JSON files that tell when they are not as they were written: a digit that flips on the disk is else another result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fgbg.errors import UserError

SEAL = "sha256"
"""The last field of a sealed object: the hash of its JSON without this field, and of the file that it belongs to."""


def to_sealed_json(content: Mapping[str, Any], *, indent: int, beside: Path | None = None) -> str:
    """The text of a sealed file; `beside` is a file that may not change either."""
    return json.dumps({**content, SEAL: _seal(content, beside)}, indent=indent) + "\n"


def read_sealed_json(path: Path, cure: str, *, beside: Path | None = None) -> dict[str, Any]:
    """What a sealed file holds. One that was written before there were seals is taken as it is.

    Raises:
        UserError: It, or the file `beside` it, is not as it was written; the sentence ends with `cure`.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        seal = content.pop(SEAL, None)
        if seal in (None, _seal(content, beside)):
            return content
    except (FileNotFoundError, ValueError, TypeError, AttributeError):
        pass
    which = f"{beside} or {path.name} beside it" if beside else str(path)
    raise UserError(f"{which} is damaged or was edited: {cure}")


def _seal(content: Mapping[str, Any], beside: Path | None) -> str:
    digest = hashlib.sha256(json.dumps(content).encode())
    if beside:
        # Line ends do not count: tools that move files change them.
        digest.update(beside.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()
