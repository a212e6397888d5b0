"""What a kept model is once it is loaded: it scores rows, in an evaluation as in the model server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from conveyor.domain.model import Score, Tensor
from conveyor.errors import StepFailed

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Matrix = npt.NDArray[np.float32]
    Scores = npt.NDArray[np.float32]

BATCH = 65_536
PROBABILITIES, VARIABLE = "probabilities", "variable"


class Scorer(Protocol):
    """`run` may be called from several threads."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def run(self, rows: Matrix) -> list[npt.NDArray[Any]]:
        """All outputs, in the order of `outputs`, for float32 [rows, features]."""
        ...


def score_of(outputs: tuple[Tensor, ...], positive: int = 1) -> Score:
    """The probability of the positive class (`positive` is its column), or the predicted value."""
    names = {one.name for one in outputs}
    if PROBABILITIES in names:
        return Score(PROBABILITIES, positive)
    if VARIABLE in names:
        return Score(VARIABLE, 0)
    if len(outputs) == 1 and len(outputs[0].shape) in (1, 2):
        wide = len(outputs[0].shape) == 2 and outputs[0].shape[1] > 1
        return Score(outputs[0].name, positive if wide else 0)
    raise StepFailed(
        f"the model gives {', '.join(sorted(names))}, none of which is a score",
        hint="Give one output, or name the one with a column a class `probabilities`, that with a value `variable`.",
    )


def outputs_of(scorer: Scorer, rows: Matrix, output: str) -> Scores:
    """One output for all rows, float32 [rows, columns], worked in batches."""
    import numpy as np

    at = [one.name for one in scorer.outputs].index(output)
    found = [np.asarray(scorer.run(rows[start : start + BATCH])[at]) for start in range(0, len(rows), BATCH)]
    columns = [values.reshape(len(values), -1).astype(np.float32) for values in found]
    return np.concatenate(columns) if columns else np.zeros((0, 1), dtype=np.float32)


def score(scorer: Scorer, rows: Matrix, where: Score) -> Scores:
    """One score a row; `rows` is float32 [n, features]."""
    values = outputs_of(scorer, rows, where.output)
    return values[:, min(where.column or 0, values.shape[1] - 1)]


def latency_p99_ms(scorer: Scorer, rows: Matrix, calls: int) -> float:
    """The 99th percentile of `calls` single-row calls, milliseconds, after a tenth as many to warm up.

    The best of three rounds: a training gives way to whatever else the machine does, and that is not the model's time.
    """
    import numpy as np

    singles = [rows[i % len(rows)][None, :] for i in range(calls)]
    for row in singles[: max(20, calls // 10)]:
        scorer.run(row)
    rounds = []
    for _ in range(3):
        taken = []
        for row in singles:
            began = time.perf_counter()
            scorer.run(row)
            taken.append(time.perf_counter() - began)
        rounds.append(float(np.quantile(np.array(taken), 0.99) * 1000))
    return min(rounds)
