"""Any Python object with `predict`, kept by skops: read part by part, and only of types that are allowed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from conveyor.errors import Refused
from conveyor.sdk.forms import native

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class SkopsScorer:
    def __init__(self, raw: bytes, features: tuple[str, ...], classes: int, trusted: tuple[str, ...]) -> None:
        self._model = load(raw, trusted)
        self._feed = feed(self._model, features)
        self._predict = predictor(self._model)
        self._classes = classes
        self.inputs, self.outputs = native.tensors(len(features), classes)

    def run(self, rows: npt.NDArray[np.float32]) -> list[npt.NDArray[Any]]:
        return native.single(native.columns(self._predict(self._feed(rows)), self._classes))


def dump(model: Any) -> bytes:
    import skops.io

    found: bytes = skops.io.dumps(model)
    return found


def load(raw: bytes, trusted: tuple[str, ...]) -> Any:
    """Raises Refused, before anything of it runs, when it holds a type that neither skops nor the project trusts."""
    import skops.io

    unknown = sorted(set(skops.io.get_untrusted_types(data=raw)) - set(trusted))
    if unknown:
        raise Refused(
            f"the model holds {', '.join(unknown)}, which the project does not trust",
            hint=f"Look at what they do; to trust them: trusted = [{', '.join(map(repr, unknown))}] in conveyor.toml.",
        )
    known = set(skops.io.get_untrusted_types(data=raw))
    return skops.io.loads(raw, trusted=sorted(known))


def predictor(model: Any) -> Callable[[Any], Any]:
    """Its probabilities where it is a classifier that has them, else what it predicts."""
    chosen: Callable[[Any], Any] = getattr(model, "predict_proba", None) or model.predict
    return chosen


def feed(model: Any, features: tuple[str, ...]) -> Callable[[Any], Any]:
    """Rows in the shape that it was fitted with: a polars DataFrame where it knows names, else float64 in order."""
    if len(getattr(model, "feature_names_in_", ())) == 0:
        return lambda rows: rows.astype("float64")
    import polars as pl

    return lambda rows: pl.DataFrame(rows.astype("float64"), schema=list(features))
