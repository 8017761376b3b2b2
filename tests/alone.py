"""A program that has fgbg's core alone."""

from __future__ import annotations

import subprocess
import sys

ALONE = """
import sys
class Refuse:
    extra = "torch torchvision jaxtyping scipy matplotlib accelerate safetensors onnx onnxscript timm jinja2".split()
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.extra:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Refuse())
"""


def run_alone(code: str, *arguments: object) -> str:
    """What a program prints that has fgbg's core alone: whatever the extra [train] brings cannot be imported."""
    command = [sys.executable, "-W", "error", "-c", ALONE + code, *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout
