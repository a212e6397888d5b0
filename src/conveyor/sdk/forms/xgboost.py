"""XGBoost's UBJSON form: trees as data, which XGBoost itself reads and scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conveyor.sdk.forms import native

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class XgboostScorer:
    def __init__(self, raw: bytes, features: int, classes: int) -> None:
        import xgboost

        self._booster = xgboost.Booster({"nthread": 1}, model_file=bytearray(raw))
        self._classes = classes
        self.inputs, self.outputs = native.tensors(features, classes)

    def run(self, rows: npt.NDArray[np.float32]) -> list[npt.NDArray[Any]]:
        found = self._booster.inplace_predict(rows, validate_features=False)
        return native.single(native.columns(found, self._classes))
