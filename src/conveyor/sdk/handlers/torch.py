"""PyTorch: an nn.Module that takes float32 [rows, features] and gives values, or a probability or one a class."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conveyor.domain.form import ONNX
from conveyor.errors import InputRejected, StepFailed
from conveyor.sdk.forms.scorer import PROBABILITIES, VARIABLE

if TYPE_CHECKING:
    from conveyor.sdk.handlers.handler import Scores

_OPSET = 18


class TorchHandler:
    framework = "PyTorch"
    form = ONNX  # weights alone are no model, and what holds code as well is a pickle

    def accepts(self, model: Any) -> bool:
        return any(
            f"{base.__module__}.{base.__qualname__}" == "torch.nn.modules.module.Module" for base in type(model).mro()
        )

    def features(self, model: Any) -> tuple[str, ...]:
        return tuple(str(name) for name in getattr(model, "feature_names_in_", ()))

    def classes(self, model: Any) -> tuple[str, ...]:
        """As its attribute `classes_` says; a module without one gives a value."""
        return tuple(map(str, getattr(model, "classes_", ())))

    def predict(self, model: Any, table: Any, features: tuple[str, ...]) -> Scores:
        import numpy as np
        import torch

        rows = torch.from_numpy(np.ascontiguousarray(table.select(features).to_numpy(), dtype=np.float32))
        model.eval()
        with torch.no_grad():
            found = model(rows)
        if not isinstance(found, torch.Tensor) or found.ndim > 2 or len(found) != len(rows):
            raise InputRejected(
                f"{type(model).__name__} does not give one tensor with a row for each row",
                hint="Return [rows], [rows, 1] or [rows, classes] from forward.",
            )
        columns = found.reshape(len(rows), -1).double().numpy()
        many = max(1, len(self.classes(model)))
        if columns.shape[1] != many:
            raise InputRejected(
                f"{type(model).__name__} gives {columns.shape[1]} columns for {many} classes",
                hint="End in softmax with a column a class and name them in `classes_`, or give one value.",
            )
        return np.asarray(columns, dtype=np.float64)

    def ways(self, model: Any) -> tuple[str, ...]:
        return ("export", "trace")

    def convert(self, model: Any, features: tuple[str, ...], how: str) -> bytes:
        import torch

        model.eval()
        example = torch.zeros(2, len(features))
        name = PROBABILITIES if self.classes(model) else VARIABLE
        given: dict[str, Any] = {"input_names": ["input"], "output_names": [name], "opset_version": _OPSET}
        if how == "export":
            given |= {"dynamo": True, "dynamic_shapes": ({0: torch.export.Dim("rows")},), "external_data": False}
        else:
            given |= {"dynamo": False, "dynamic_axes": {"input": {0: "rows"}, name: {0: "rows"}}}
        try:
            with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), _silent():
                warnings.simplefilter("ignore")
                path = Path(folder) / "model.onnx"
                torch.onnx.export(model, (example,), str(path), **given)
                return path.read_bytes()
        except Exception as error:  # torch raises many, and onnxscript's absence is an error of its own
            cause = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
            raise StepFailed(
                f"{type(model).__name__} cannot be exported to ONNX ({how}): {cause}",
                hint="Keep to operators that torch.onnx knows; `export` needs onnx and onnxscript in the requirements.",
            ) from error

    def save(self, model: Any) -> bytes:
        raise StepFailed(f"{type(model).__name__} has no form but ONNX", hint="Look at why the export failed.")


@contextlib.contextmanager
def _silent() -> Any:
    """The exporter prints its progress, with pictures."""
    with contextlib.redirect_stdout(io.StringIO()):
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
