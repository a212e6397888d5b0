"""Any Python object with `predict`: kept by skops, and served in its project's environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conveyor.errors import StepFailed
from conveyor.sdk.forms import skops
from conveyor.sdk.forms.native import columns
from conveyor.sdk.handlers import kept

if TYPE_CHECKING:
    from conveyor.sdk.handlers.handler import Scores


class AnyHandler:
    framework = "Python"
    form = "skops"

    def accepts(self, model: Any) -> bool:
        return callable(getattr(model, "predict", None)) and not isinstance(model, type)

    def features(self, model: Any) -> tuple[str, ...]:
        return tuple(str(name) for name in getattr(model, "feature_names_in_", ()))

    def classes(self, model: Any) -> tuple[str, ...]:
        if not hasattr(model, "predict_proba"):
            return ()
        return tuple(map(str, getattr(model, "classes_", ("0", "1"))))

    def predict(self, model: Any, table: Any, features: tuple[str, ...]) -> Scores:
        rows = skops.feed(model, features)(table.select(features).to_numpy())
        return columns(skops.predictor(model)(rows), len(self.classes(model)))

    def ways(self, model: Any) -> tuple[str, ...]:
        return ()

    def convert(self, model: Any, features: tuple[str, ...], how: str) -> bytes:
        raise StepFailed("a Python object has no ONNX form", hint="It is kept by skops.")

    def save(self, model: Any) -> bytes:
        return kept.dump(model)
