"""A model version held in memory: its manifest, its ONNX session, and the proof that it scores as it was trained to."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from conveyor.domain import wire
from conveyor.domain.model import ModelManifest, Tensor
from conveyor.errors import CorruptObject, NotFound, Refused

_DATATYPES = {
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(float16)": "FP16",
    "tensor(bool)": "BOOL",
    "tensor(string)": "BYTES",
    **{f"tensor(int{bits})": f"INT{bits}" for bits in (8, 16, 32, 64)},
    **{f"tensor(uint{bits})": f"UINT{bits}" for bits in (8, 16, 32, 64)},
}


class LoadedModel:
    """Scores rows. `run` may be called from several threads; onnxruntime releases the GIL while it works."""

    def __init__(self, manifest: ModelManifest, session: ort.InferenceSession, *, name: str, version: int) -> None:
        self.manifest = manifest
        self.name = name
        self.version = version
        self._session = session
        graph_inputs, graph_outputs = session.get_inputs(), session.get_outputs()
        width = len(manifest.signature.features)
        if len(graph_inputs) != 1 or graph_inputs[0].type != "tensor(float)":
            found = ", ".join(f"{node.name} {node.type}" for node in graph_inputs)
            raise Refused(
                f"the ONNX graph takes {found}; a model server feeds one FP32 tensor", hint="convert the model anew"
            )
        if graph_inputs[0].shape[-1] not in (width, None) and isinstance(graph_inputs[0].shape[-1], int):
            raise Refused(
                f"the ONNX graph takes {graph_inputs[0].shape[-1]} features, the signature names {width}",
                hint="model.onnx and model.json are not of one training; build the artifact anew",
            )
        self.input_name: str = graph_inputs[0].name
        self.inputs = (Tensor(self.input_name, "FP32", (-1, width)),)
        self.outputs = tuple(_tensor(node) for node in graph_outputs)
        self.output_names = tuple(tensor.name for tensor in self.outputs)
        score = manifest.signature.score
        if score.output not in self.output_names:
            raise Refused(
                f"the score is output '{score.output}', the ONNX graph gives {', '.join(self.output_names)}",
                hint="model.onnx and model.json are not of one training; build the artifact anew",
            )
        self._score_at = self.output_names.index(score.output)
        self._score_column = score.column

    def run(self, features: NDArray[np.float32]) -> list[NDArray[np.generic]]:
        """All outputs of the graph, in the order of `outputs`, for float32 [rows, features]."""
        found: list[NDArray[np.generic]] = self._session.run(None, {self.input_name: features})
        return found

    def scores(self, outputs: list[NDArray[np.generic]]) -> NDArray[np.float32]:
        """The score that metrics and monitoring read, [rows]."""
        output = outputs[self._score_at]
        column = output if self._score_column is None else output[:, self._score_column]
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
        except Exception as error:  # onnxruntime raises classes of its own, and a wrong column an IndexError
            raise Refused(f"the example could not be scored: {error}", hint="build the artifact anew") from error
        difference = abs(score - example.score)
        if not math.isfinite(score) or difference > example.tolerance:
            raise Refused(
                f"the example scores {score:.9g} here and scored {example.score:.9g} at training:"
                f" the difference {difference:.3g} is over the tolerance {example.tolerance:.3g}",
                hint="this artifact is not the model that was trained; build it anew, or check the onnxruntime version",
            )
        return difference


def load(directory: Path, *, name: str, version: int) -> LoadedModel:
    """Loads `model.json` and `model.onnx` from an artifact directory and verifies them.

    Raises NotFound (no such file), CorruptObject (it cannot be read), Refused (it is not the model that was trained).
    """
    paths = directory / "model.json", directory / "model.onnx"
    for path in paths:
        if not path.is_file():
            raise NotFound(f"no {path.name} in {directory}", hint="--artifact names a model artifact directory")
    try:
        manifest = wire.from_json(paths[0].read_bytes(), ModelManifest)
    except msgspec.DecodeError as error:
        raise CorruptObject(f"{paths[0]} is not a model manifest: {error}", hint="build the artifact anew") from error
    try:
        session = ort.InferenceSession(
            paths[1].read_bytes(), sess_options=_options(), providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's errors share no base but Exception
        raise CorruptObject(f"{paths[1]} cannot be loaded: {error}", hint="build the artifact anew") from error
    model = LoadedModel(manifest, session, name=name, version=version)
    model.verify()
    return model


def _options() -> ort.SessionOptions:
    """One thread a session: small models lose more to hand-over than they win, and requests are the parallelism."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    return options


def _tensor(node: ort.NodeArg) -> Tensor:
    if node.type not in _DATATYPES:
        raise Refused(
            f"output '{node.name}' of the ONNX graph has type {node.type}", hint="convert with zipmap off, tensors only"
        )
    return Tensor(node.name, _DATATYPES[node.type], tuple(dim if isinstance(dim, int) else -1 for dim in node.shape))
