"""What determines a result besides the settings: command, commit, versions, machine. Never imports torch."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

RECORDED_PACKAGES = (
    "fgbg",
    "torch",
    "torchvision",
    "accelerate",
    "segmentation-models-pytorch",
    "timm",
    "numpy",
    "scipy",
    "pillow",
    "safetensors",
)


def describe_environment() -> dict[str, Any]:
    """The command line, the commit of fgbg's source, the versions of Python and libraries, the operating system."""
    return {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        **_find_commit(),
        "versions": {"python": platform.python_version(), **_installed_versions()},
        "platform": platform.platform(),
    }


def _installed_versions() -> dict[str, str]:
    versions = {}
    for package in RECORDED_PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _find_commit() -> dict[str, Any]:
    """The commit of fgbg's own source and whether it was changed since; None for both outside a checkout."""

    def ask(*words: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        ask("ls-files", "--error-unmatch", __file__)  # a copy installed inside another checkout is not part of it
        return {"commit": ask("rev-parse", "HEAD"), "dirty": bool(ask("status", "--porcelain", "--", "."))}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}
