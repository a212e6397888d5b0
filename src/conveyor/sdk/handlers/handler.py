"""One handler per framework: it scores a fitted model natively, converts it to ONNX, and knows its own safe form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Conversion:
    """A model in the form that it is kept in, and by which of its handler's ways that was reached."""

    form: str
    how: str
    raw: bytes
    passed_over: str = ""  # why it is not ONNX


class Handler(Protocol):
    """Registered in `handlers/table.py`, the one place that knows them all."""

    framework: str
    form: str  # its own safe form, for when no ONNX graph agrees

    def accepts(self, model: Any) -> bool: ...

    def features(self, model: Any) -> tuple[str, ...]:
        """The feature names that the model itself remembers, in order; empty when it saw none.

        InputRejected where it is not fitted.
        """
        ...

    def classes(self, model: Any) -> tuple[str, ...]:
        """The names of its classes, in the order of its probabilities; empty where it gives a value."""
        ...

    def predict(self, model: Any, table: Any, features: tuple[str, ...]) -> Scores:
        """[rows, classes] probabilities, or [rows, 1] values. `table` is a pl.DataFrame of Float64."""
        ...

    def ways(self, model: Any) -> tuple[str, ...]:
        """Names of the ways to convert, best first; the first graph that agrees with the native model is kept."""
        ...

    def convert(self, model: Any, features: tuple[str, ...], how: str) -> bytes:
        """An ONNX graph with one FP32 input [-1, features]; StepFailed where this way is not open."""
        ...

    def save(self, model: Any) -> bytes:
        """The model in `form`; StepFailed where it has no such form."""
        ...
