"""ONNX as given: a graph that the project made itself, as bytes, as an onnx.ModelProto or as a path."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from conveyor.domain.form import ONNX
from conveyor.errors import InputRejected, StepFailed
from conveyor.sdk.forms.onnx import OnnxScorer
from conveyor.sdk.forms.scorer import outputs_of, score_of

if TYPE_CHECKING:
    from conveyor.sdk.handlers.handler import Scores


class OnnxHandler:
    framework = "ONNX"
    form = ONNX

    def accepts(self, model: Any) -> bool:
        path = isinstance(model, str | Path) and str(model).endswith(".onnx")
        return path or isinstance(model, bytes) or type(model).__name__ == "ModelProto"

    def features(self, model: Any) -> tuple[str, ...]:
        """A graph has one input for all features and no names for them."""
        return ()

    def classes(self, model: Any) -> tuple[str, ...]:
        scorer = OnnxScorer(_graph(model))
        output = score_of(scorer.outputs).output
        shape = next(one.shape for one in scorer.outputs if one.name == output)
        many = shape[1] if len(shape) == 2 else 1
        return tuple(str(n) for n in range(many)) if many > 1 else ()

    def predict(self, model: Any, table: Any, features: tuple[str, ...]) -> Scores:
        import numpy as np

        scorer = OnnxScorer(_graph(model))
        width = scorer.inputs[0].shape[-1]
        if width not in (-1, len(features)):
            raise InputRejected(
                f"the ONNX graph takes {width} features, conveyor.toml names {len(features)}",
                hint="List under `features` exactly the columns that the graph takes, in order.",
            )
        rows = np.ascontiguousarray(table.select(features).to_numpy(), dtype=np.float32)
        return outputs_of(scorer, rows, score_of(scorer.outputs).output).astype(np.float64)

    def ways(self, model: Any) -> tuple[str, ...]:
        return ("given",)

    def convert(self, model: Any, features: tuple[str, ...], how: str) -> bytes:
        return _graph(model)

    def save(self, model: Any) -> bytes:
        raise StepFailed("an ONNX graph has no other form", hint="Look at what the run's log says of it.")


def _graph(model: Any) -> bytes:
    if isinstance(model, bytes):
        return model
    if isinstance(model, str | Path):
        try:
            return Path(model).read_bytes()
        except OSError as error:
            raise InputRejected(f"{model}: {error.strerror}", hint="Return the graph's bytes or its path.") from error
    return bytes(model.SerializeToString())
