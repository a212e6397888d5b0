"""A model version held in memory: its manifest, its scorer, and the proof that it scores as it was trained to."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from conveyor.domain import wire
from conveyor.domain.form import FILES, MANIFEST
from conveyor.domain.model import ModelManifest, Tensor
from conveyor.errors import CorruptObject, NotFound, Refused
from conveyor.sdk.forms.scorer import Scorer
from conveyor.sdk.forms.table import open_model


class LoadedModel:
    """Scores rows. `run` may be called from several threads."""

    def __init__(self, manifest: ModelManifest, scorer: Scorer, *, name: str, version: int) -> None:
        self.manifest = manifest
        self.name = name
        self.version = version
        width = len(manifest.signature.features)
        takes = scorer.inputs[0].shape[-1]
        if takes not in (width, -1):
            raise Refused(
                f"the model takes {takes} features, the signature names {width}",
                hint="the model's file and model.json are not of one training; build the artifact anew",
            )
        self.input_name: str = scorer.inputs[0].name
        self.inputs = (Tensor(self.input_name, "FP32", (-1, width)),)
        self.outputs = scorer.outputs
        self.output_names = tuple(tensor.name for tensor in self.outputs)
        score = manifest.signature.score
        if score.output not in self.output_names:
            raise Refused(
                f"the score is output '{score.output}', the model gives {', '.join(self.output_names)}",
                hint="the model's file and model.json are not of one training; build the artifact anew",
            )
        self._score_at = self.output_names.index(score.output)
        self._score_column = score.column
        # All outputs, in the order of `outputs`, for float32 [rows, features]; the scorer's own, as it is a hot path.
        self.run: Callable[[NDArray[np.float32]], list[NDArray[Any]]] = scorer.run

    def scores(self, outputs: list[NDArray[Any]]) -> NDArray[np.float32]:
        """The score that metrics and monitoring read, [rows]."""
        output = outputs[self._score_at]
        column = output if self._score_column is None or output.ndim == 1 else output[:, self._score_column]
        return column.astype(np.float32).ravel()

    def verify(self) -> float:
        """Scores the manifest's example; returns the difference. Raises Refused when it is over the tolerance."""
        example = self.manifest.example
        if len(example.row) != len(self.manifest.signature.features):
            raise Refused(
                f"the example has {len(example.row)} values for {len(self.manifest.signature.features)} features",
                hint="model.json is damaged or hand-made; build the artifact anew",
            )
        try:
            score = float(self.scores(self.run(np.array([example.row], dtype=np.float32)))[0])
        except Exception as error:  # every framework raises classes of its own, and a wrong column an IndexError
            raise Refused(f"the example could not be scored: {error}", hint="build the artifact anew") from error
        difference = abs(score - example.score)
        if not math.isfinite(score) or difference > example.tolerance:
            raise Refused(
                f"the example scores {score:.9g} here and scored {example.score:.9g} at training:"
                f" the difference {difference:.3g} is over the tolerance {example.tolerance:.3g}",
                hint="this artifact is not the model that was trained; build it anew, or check its libraries' versions",
            )
        return difference


def load(directory: Path, *, name: str, version: int, trusted: tuple[str, ...] = ()) -> LoadedModel:
    """Loads `model.json` and the model beside it from an artifact directory and verifies them.

    Raises NotFound (no such file), CorruptObject (it cannot be read), Refused (it is not the model that was trained).
    """
    manifest = _manifest(_there(directory, MANIFEST))
    path = _there(directory, FILES.get(manifest.form, manifest.form))
    try:
        scorer = open_model(manifest, path, trusted)
    except Refused as error:
        raise CorruptObject(f"{path} cannot be loaded: {error.message}", hint=error.hint) from error
    model = LoadedModel(manifest, scorer, name=name, version=version)
    model.verify()
    return model


def _there(directory: Path, name: str) -> Path:
    path = directory / name
    if not path.is_file():
        raise NotFound(f"no {name} in {directory}", hint="--artifact names a model artifact directory")
    return path


def _manifest(path: Path) -> ModelManifest:
    try:
        return wire.from_json(path.read_bytes(), ModelManifest)
    except msgspec.DecodeError as error:
        raise CorruptObject(f"{path} is not a model manifest: {error}", hint="build the artifact anew") from error
