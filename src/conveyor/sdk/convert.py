"""From a fitted model to the form that it is kept in: ONNX, or else its framework's own; it agrees on every row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from conveyor.domain.form import ONNX
from conveyor.domain.model import Parity, Score
from conveyor.errors import InputRejected, Refused, StepFailed
from conveyor.sdk.forms.scorer import Scorer, outputs_of, score_of
from conveyor.sdk.forms.table import scorer
from conveyor.sdk.handlers.handler import Conversion, Handler

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Scores = npt.NDArray[np.float64]
    Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Converted:
    """What is kept, how well it agrees with the native model, and what it gives for the rows it was compared on."""

    conversion: Conversion
    parity: Parity
    scorer: Scorer
    score: Score
    scores: Matrix


def positive_of(classes: tuple[str, ...], positive: str) -> int:
    """The column of the class whose probability is the score: the second of two, or the one that is named."""
    if len(classes) == 1:
        raise InputRejected(
            f"the classifier knows one class, {classes[0]}", hint="Look whether the training window holds both."
        )
    if positive:
        if classes and positive not in classes:
            raise InputRejected(
                f"the classifier knows the classes {', '.join(classes)}, not {positive}",
                hint="Name one of them as `positive` in conveyor.toml.",
            )
        return classes.index(positive) if classes else 0
    if len(classes) > 2:
        raise InputRejected(
            f"the classifier knows {len(classes)} classes: {', '.join(classes)}",
            hint=f'Say whose probability is the score: positive = "{classes[-1]}" in conveyor.toml.',
        )
    return 1 if classes else 0


def convert(
    handler: Handler,
    model: Any,
    features: tuple[str, ...],
    rows: Matrix,
    native: Scores,
    tolerance: float,
    classes: tuple[str, ...] = (),
    positive: int = 1,
    trusted: tuple[str, ...] = (),
) -> Converted:
    """The first form that agrees within `tolerance`: by the handler's ways to ONNX, then its framework's own.

    `native` is what the model itself gives, [rows, classes] or [rows, 1].
    """
    passed_over: list[str] = []
    failed: StepFailed | Refused | None = None
    for conversion in _attempts(handler, model, features):
        if isinstance(conversion, StepFailed):
            failed = failed or conversion
            passed_over.append(conversion.message)
            continue
        try:
            loaded = scorer(conversion.form, conversion.raw, features, len(classes), trusted)
            where = score_of(loaded.outputs, positive)
            given = outputs_of(loaded, rows, where.output)
        except (StepFailed, Refused) as error:
            failed = error
            passed_over.append(error.message)
            continue
        apart = differences(native, given)
        largest = float(apart.max()) if len(apart) else 0.0
        if largest <= tolerance:
            done = Conversion(conversion.form, conversion.how, conversion.raw, "; ".join(passed_over))
            scores = given[:, min(where.column or 0, given.shape[1] - 1)]
            return Converted(done, Parity(len(rows), largest, tolerance), loaded, where, scores)
        passed_over.append(f"{conversion.how}: {largest:.3g}, {int((apart > tolerance).sum())} rows over")
    if failed is not None:
        before = "; ".join(reason for reason in passed_over if reason != failed.message)
        raise type(failed)(f"{failed.message} (before that: {before})" if before else failed.message, hint=failed.hint)
    raise StepFailed(
        f"every form of {type(model).__name__} differs from the native model by more than {tolerance:g} "
        f"on {len(rows)} holdout rows ({'; '.join(passed_over)})",
        hint="Move preprocessing into a step before the model, or raise gates.parity_tolerance if you accept that.",
    )


def _attempts(handler: Handler, model: Any, features: tuple[str, ...]) -> Iterator[Conversion | StepFailed]:
    for how in handler.ways(model):
        try:
            yield Conversion(ONNX, how, handler.convert(model, features, how))
        except StepFailed as error:
            yield error
    if handler.form != ONNX:
        try:
            yield Conversion(handler.form, handler.form, handler.save(model))
        except StepFailed as error:
            yield error


def differences(native: Scores, given: Matrix) -> Scores:
    """|given - native| / max(1, |native|), the largest of a row: absolute for probabilities, relative for large values.

    Infinite where one side is finite and the other is not, and where the shapes differ.
    """
    import numpy as np

    if native.shape != given.shape:
        return np.full(len(native), np.inf)
    both = np.isfinite(native) & np.isfinite(given)
    neither = ~np.isfinite(native) & ~np.isfinite(given)
    with np.errstate(invalid="ignore"):
        apart = np.abs(given.astype(np.float64) - native) / np.maximum(1.0, np.abs(native))
    found: Scores = np.where(both, apart, np.where(neither, 0.0, np.inf)).max(axis=1)
    return found
