"""Checksums (seals) inside files: a digit that flips on the disk would otherwise pass for another result.

Two kinds of files carry one: JSON, and the ONNX files of exported models, where it is an entry of the format's own
metadata, so that other readers still read them. In Markdown a seal shows whether a user has edited the file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fgbg.errors import UserError

SEAL = "sha256"
"""The last field of a sealed object: the hash of its JSON without this field, and of the file beside it, if any."""


def to_sealed_json(content: Mapping[str, Any], *, indent: int, beside: Path | None = None) -> str:
    """The text of a sealed file; the seal also covers the file `beside`."""
    return json.dumps({**content, SEAL: _seal(content, beside)}, indent=indent) + "\n"


def read_sealed_json(path: Path, cure: str, *, beside: Path | None = None) -> dict[str, Any]:
    """The content of a sealed file. A file without a seal, from an older version, is accepted.

    Raises:
        UserError: It, or the file `beside` it, is damaged or was edited; the message ends with `cure`.
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
        # Line endings do not count: tools that move files change them.
        digest.update(beside.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()


def seal_markdown(text: str) -> str:
    """The text and a last line, which pages do not show, with its hash."""
    seal = hashlib.sha256(text.encode()).hexdigest()
    return f"{text}\n<!-- written by fgbg, which replaces it unless it is edited: {seal} -->\n"


def is_markdown_as_written(path: Path) -> bool:
    """Whether a file is as `seal_markdown` made it, but for line endings, which tools that move files change."""
    content = path.read_text(encoding="utf-8", errors="replace")
    text, _, _ = content.rpartition("\n<!-- ")
    return content == seal_markdown(text)


ONNX_SEAL_KEY = "fgbg.sha256"
BLANK = "0" * 64
"""The ONNX seal's value while the whole file is hashed."""

# In the file, an entry's key is followed by the header of its value: field 2, a string of 64 bytes.
_BEFORE_ONNX_SEAL = ONNX_SEAL_KEY.encode() + bytes((2 << 3 | 2, len(BLANK)))


def seal_onnx(content: bytes) -> bytes:
    """The serialised model with its hash in place of BLANK, the value that ONNX_SEAL_KEY must have in its metadata."""
    start = _find_onnx_seal(content)
    return _put(content, start, _hash_onnx(content, start))


def is_onnx_as_written(content: bytes) -> bool:
    """Whether a model file's bytes are those that were sealed; a file without a seal is accepted."""
    start = _find_onnx_seal(content)
    return start < 0 or content[start : start + len(BLANK)] == _hash_onnx(content, start)


def _find_onnx_seal(content: bytes) -> int:
    """Where the seal's value begins; -1 where there is none. Metadata comes after the graph."""
    found = content.rfind(_BEFORE_ONNX_SEAL)
    return found if found < 0 else found + len(_BEFORE_ONNX_SEAL)


def _hash_onnx(content: bytes, start: int) -> bytes:
    return hashlib.sha256(_put(content, start, BLANK.encode())).hexdigest().encode()


def _put(content: bytes, start: int, value: bytes) -> bytes:
    return content[:start] + value + content[start + len(value) :]
