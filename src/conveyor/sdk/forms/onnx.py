"""ONNX graphs by onnxruntime: the form that every model server can serve, in its own environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conveyor.domain.model import Tensor
from conveyor.errors import Refused

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_DATATYPES = {
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(float16)": "FP16",
    "tensor(bool)": "BOOL",
    "tensor(string)": "BYTES",
    **{f"tensor(int{bits})": f"INT{bits}" for bits in (8, 16, 32, 64)},
    **{f"tensor(uint{bits})": f"UINT{bits}" for bits in (8, 16, 32, 64)},
}


class OnnxScorer:
    """One FP32 input [-1, features]. onnxruntime releases the GIL while it works."""

    def __init__(self, graph: bytes) -> None:
        self._session = _session(graph)
        self.inputs = tuple(_tensor(node) for node in self._session.get_inputs())
        self.outputs = tuple(_tensor(node) for node in self._session.get_outputs())
        if len(self.inputs) != 1 or self.inputs[0].datatype != "FP32" or len(self.inputs[0].shape) != 2:
            found = ", ".join(f"{one.name} {one.datatype} {list(one.shape)}" for one in self.inputs)
            raise Refused(
                f"the ONNX graph takes {found or 'nothing'}; a model is fed one FP32 tensor [rows, features]",
                hint="Concatenate the inputs inside the graph, and cast there.",
            )
        self._input = self.inputs[0].name

    def run(self, rows: npt.NDArray[np.float32]) -> list[npt.NDArray[Any]]:
        found: list[npt.NDArray[Any]] = self._session.run(None, {self._input: rows})
        return found


def _session(graph: bytes) -> Any:
    """One thread a session: small models lose more to hand-over than they win, and requests are the parallelism."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(graph, sess_options=options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has one exception class per status code
        raise Refused(
            f"the ONNX graph cannot be loaded: {error}", hint="Convert the model anew; external data is not taken."
        ) from error


def _tensor(node: Any) -> Tensor:
    if node.type not in _DATATYPES:
        raise Refused(
            f"'{node.name}' of the ONNX graph has type {node.type}", hint="Convert with zipmap off, tensors only."
        )
    shape = [size if isinstance(size, int) else -1 for size in node.shape]
    return Tensor(node.name, _DATATYPES[node.type], tuple([-1, *shape[1:]] if shape else [-1]))
