"""From a fitted estimator to ONNX, refused unless the two agree on every row of the holdout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conveyor.domain.model import Parity
from conveyor.errors import StepFailed
from conveyor.sdk import onnx
from conveyor.sdk.handlers.handler import Conversion, Handler

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Scores = npt.NDArray[np.float64]
    Matrix = npt.NDArray[np.float32]


def convert(
    handler: Handler, estimator: Any, features: tuple[str, ...], rows: Matrix, native: Scores, tolerance: float
) -> tuple[Conversion, Parity, Matrix]:
    """The first conversion that agrees within `tolerance`, how well it agrees, and its scores of `rows`."""
    seen: list[str] = []
    failed: StepFailed | None = None
    for how in handler.ways(estimator):
        try:
            conversion = Conversion(how, handler.convert(estimator, features, how))
            session = onnx.session(conversion.graph)
        except StepFailed as error:
            failed = error
            continue
        scores = onnx.score(session, rows, onnx.score_of(onnx.tensors(session)[1]))
        apart = differences(native, scores)
        largest = float(apart.max()) if len(apart) else 0.0
        if largest <= tolerance:
            return conversion, Parity(len(rows), largest, tolerance), scores
        seen.append(f"{conversion.how}: {largest:.3g}, {int((apart > tolerance).sum())} rows over")
    if failed is not None and not seen:
        raise failed
    raise StepFailed(
        f"the ONNX form of {type(estimator).__name__} differs from the native estimator by more than {tolerance:g} "
        f"on {len(rows)} holdout rows ({'; '.join(seen)})",
        hint="Move preprocessing into a step before the model, or raise gates.parity_tolerance if you accept that.",
    )


def differences(native: Scores, scores: Matrix) -> Scores:
    """|ONNX - native| / max(1, |native|) for each row: absolute for probabilities, relative for large predictions.

    Infinite where one side is finite and the other is not.
    """
    import numpy as np

    both = np.isfinite(native) & np.isfinite(scores)
    neither = ~np.isfinite(native) & ~np.isfinite(scores)
    with np.errstate(invalid="ignore"):
        apart = np.abs(scores.astype(np.float64) - native) / np.maximum(1.0, np.abs(native))
    return np.where(both, apart, np.where(neither, 0.0, np.inf))
