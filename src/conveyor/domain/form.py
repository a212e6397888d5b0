"""The forms in which a model is kept, and the file of each. A pickle is none of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

ONNX = "onnx"
MANIFEST = "model.json"
FILES = {
    ONNX: "model.onnx",
    "lightgbm": "model.txt",
    "xgboost": "model.ubj",
    "skops": "model.skops",
}
"""Form -> file. All but ONNX are scored by their framework, so they are served in the project's environment."""


def form_of(names: Iterable[str]) -> str:
    """Which form the files of an artifact, or the outputs of a training, hold."""
    there = frozenset(names)
    return next((form for form, file in FILES.items() if file in there), ONNX)


def artifact_of(outputs: Mapping[str, str]) -> dict[str, str]:
    """Of a training's outputs (file -> digest) those that a model server needs."""
    wanted = (FILES[form_of(outputs)], MANIFEST)
    return {name: outputs[name] for name in wanted}
