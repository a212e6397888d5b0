"""ONNX sessions as the model server runs them, and scoring with them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from conveyor.domain.model import Score, Tensor
from conveyor.errors import StepFailed

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Matrix = npt.NDArray[np.float32]
    Scores = npt.NDArray[np.float32]

BATCH = 65_536
OUTPUTS = ("label", "probabilities", "variable")
_TYPES = {"tensor(float)": "FP32", "tensor(int64)": "INT64", "tensor(double)": "FP64", "tensor(bool)": "BOOL"}


def session(graph: bytes | str) -> Any:
    """One thread, as in the model server: replicas scale it out, and latency is the single row's."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has one exception class per status code
        raise StepFailed(f"the ONNX graph cannot be loaded: {error}", hint="Report the estimator's type.") from error


def tensors(loaded: Any) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Inputs and outputs in the words of the Open Inference Protocol."""
    return tuple(_tensor(one) for one in loaded.get_inputs()), tuple(_tensor(one) for one in loaded.get_outputs())


def _tensor(node: Any) -> Tensor:
    shape = [size if isinstance(size, int) else -1 for size in node.shape]
    return Tensor(node.name, _TYPES.get(node.type, node.type), tuple([-1, *shape[1:]] if shape else [-1]))


def score_of(outputs: tuple[Tensor, ...]) -> Score:
    """The positive class's probability, or the predicted value."""
    names = {one.name for one in outputs}
    if "probabilities" in names:
        return Score("probabilities", 1)
    if "variable" in names:
        return Score("variable", 0)
    raise StepFailed(
        f"the ONNX graph gives {', '.join(sorted(names))}, none of which is a score",
        hint="A classifier must give probabilities (predict_proba), a regressor values.",
    )


def score(loaded: Any, rows: Matrix, where: Score) -> Scores:
    """One score a row; `rows` is float32 [n, features]."""
    import numpy as np

    name = loaded.get_inputs()[0].name
    found = [np.zeros(0, dtype=np.float32)]
    for start in range(0, len(rows), BATCH):
        (values,) = loaded.run([where.output], {name: rows[start : start + BATCH]})
        column = values if where.column is None or values.ndim == 1 else values[:, where.column]
        found.append(np.asarray(column, dtype=np.float32).reshape(-1))
    return np.concatenate(found)


def latency_p99_ms(loaded: Any, rows: Matrix, where: Score, calls: int) -> float:
    """The 99th percentile of `calls` single-row calls, milliseconds, after a tenth as many to warm up.

    The best of three rounds: a training gives way to whatever else the machine does, and that is not the model's time.
    """
    import numpy as np

    name = loaded.get_inputs()[0].name
    singles = [rows[i % len(rows)][None, :] for i in range(calls)]
    for row in singles[: max(20, calls // 10)]:
        loaded.run([where.output], {name: row})
    rounds = []
    for _ in range(3):
        taken = []
        for row in singles:
            began = time.perf_counter()
            loaded.run([where.output], {name: row})
            taken.append(time.perf_counter() - began)
        rounds.append(float(np.quantile(np.array(taken), 0.99) * 1000))
    return min(rounds)
