"""LightGBM's text form: trees as words and numbers, which LightGBM itself reads and scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conveyor.sdk.forms import native

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class LightgbmScorer:
    def __init__(self, raw: bytes, features: int, classes: int) -> None:
        import lightgbm

        self._booster = lightgbm.Booster(model_str=raw.decode())
        self._classes = classes
        self.inputs, self.outputs = native.tensors(features, classes)

    def run(self, rows: npt.NDArray[np.float32]) -> list[npt.NDArray[Any]]:
        return native.single(native.columns(self._booster.predict(rows, num_threads=1), self._classes))
