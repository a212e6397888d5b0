"""One handler per framework: it scores a fitted estimator natively and converts it to ONNX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Conversion:
    """An ONNX graph, and by which of its handler's ways it was reached."""

    how: str
    graph: bytes


class Handler(Protocol):
    """Registered in `handlers/table.py`, the one place that knows them all."""

    framework: str

    def accepts(self, estimator: Any) -> bool: ...

    def features(self, estimator: Any) -> tuple[str, ...]:
        """The feature names that the estimator itself remembers, in order; empty when it saw none."""
        ...

    def score(self, estimator: Any, table: Any, features: tuple[str, ...]) -> Scores:
        """One score a row: the positive class's probability, or the value. `table` is a pl.DataFrame of Float64."""
        ...

    def ways(self, estimator: Any) -> tuple[str, ...]:
        """Names of the ways to convert, best first; the first graph that agrees with the native scores is kept."""
        ...

    def convert(self, estimator: Any, features: tuple[str, ...], how: str) -> bytes:
        """An ONNX graph with one FP32 input `input` [-1, features]; StepFailed where this way is not open."""
        ...
