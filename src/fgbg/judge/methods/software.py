"""Sentences on what computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from fgbg.judge.methods.recipes import Recipe
from fgbg.judge.methods.training import is_of_library

_LIBRARIES = {"timm": "timm", "segmentation-models-pytorch": "segmentation_models_pytorch"}


def tell_software(recipes: Sequence[Recipe]) -> Iterator[str]:
    """With what and where the networks were trained; each run that differs is named."""
    told: dict[str, list[str]] = {}
    for recipe in recipes:
        for label, run in recipe.runs.items():
            sentence = _describe(run.environment() or {}, is_of_library(recipe.config))
            told.setdefault(sentence, []).append(label)
    told.pop("", None)
    for sentence, labels in told.items():
        yield f"{', '.join(labels)}: {sentence}" if len(told) > 1 else sentence


def _describe(environment: dict[str, Any], has_library: bool) -> str:
    versions = environment.get("versions")
    words = []
    if isinstance(versions, dict):
        changed = ", with changes" if environment.get("dirty") else ""
        commit = f" (commit {str(environment['commit'])[:12]}{changed})" if environment.get("commit") else ""
        named = {"torch": "PyTorch"} | (_LIBRARIES if has_library else {})
        packages = [f"fgbg {versions.get('fgbg', '')}{commit}"]
        packages += [f"{name} {versions[package]}" for package, name in named.items() if package in versions]
        words.append(f"Trained with {', '.join(packages)}.")
    if processor := environment.get("processor") or environment.get("device"):
        precision = f" in {environment['precision']}" if environment.get("precision") else ""
        processes = environment.get("processes", 1)
        several = f" by {processes} processes" if processes != 1 else ""
        words.append(f"Trained on {processor}{precision}{several}; scored in fp32.")
    return " ".join(words)
