"""How every page is made of its template."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

HERE = Path(__file__).parent


def open_templates(folder: Path) -> Environment:
    """The Jinja environment of a folder's templates. Names are users' strings, so everything but Markup is escaped."""
    return Environment(
        loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def embed_style(*more: Path) -> Markup:
    """The style that all pages share, and that of files of one's own, to write into a page."""
    return Markup("".join(path.read_text(encoding="utf-8") for path in (HERE / "report.css", *more)))


def embed_script() -> dict[str, str]:
    """The report's script, to write into a page, and the hash by which the page's own rules allow it alone."""
    code = (HERE / "report.js").read_text(encoding="utf-8")
    return {"script": Markup(code), "script_hash": base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}
