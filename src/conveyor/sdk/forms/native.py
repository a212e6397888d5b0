"""What the scorers of frameworks share: the tensors that they take and give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conveyor.domain.model import Tensor
from conveyor.sdk.forms.scorer import PROBABILITIES, VARIABLE

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def tensors(features: int, classes: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Inputs and outputs as the ONNX forms name them; `classes` 0: a value."""
    output = Tensor(PROBABILITIES, "FP32", (-1, classes)) if classes else Tensor(VARIABLE, "FP32", (-1, 1))
    return (Tensor("input", "FP32", (-1, features)),), (output,)


def columns(values: Any, classes: int) -> npt.NDArray[Any]:
    """[rows, classes] of what a framework gives for two classes as the second's probability alone; else [rows, 1]."""
    import numpy as np

    found = np.asarray(values, dtype=np.float64)
    found = found.reshape(len(found), -1)
    return np.hstack([1.0 - found, found]) if classes == 2 and found.shape[1] == 1 else found


def single(values: npt.NDArray[Any]) -> list[npt.NDArray[np.float32]]:
    import numpy as np

    return [values.astype(np.float32)]
