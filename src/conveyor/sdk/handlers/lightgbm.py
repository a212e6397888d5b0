"""LightGBM: its scikit-learn classes and the bare Booster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conveyor.errors import InputRejected
from conveyor.sdk.forms.native import columns
from conveyor.sdk.handlers import boosted

if TYPE_CHECKING:
    from conveyor.sdk.handlers.handler import Scores

_BINARY = ("binary", "cross_entropy", "xentropy")


class LightgbmHandler:
    framework = "LightGBM"
    form = "lightgbm"

    def accepts(self, model: Any) -> bool:
        return type(model).__module__.partition(".")[0] == "lightgbm"

    def features(self, model: Any) -> tuple[str, ...]:
        names = tuple(_booster(model).feature_name())
        return () if names == tuple(f"Column_{n}" for n in range(len(names))) else names

    def classes(self, model: Any) -> tuple[str, ...]:
        if hasattr(model, "fit"):
            return tuple(map(str, model.classes_)) if hasattr(model, "classes_") else ()
        booster = _booster(model)
        many = booster.num_model_per_iteration()
        objective = str(booster.dump_model(num_iteration=1)["objective"]).split(" ")[0]
        count = many if many > 1 else 2 if objective in _BINARY else 0
        return tuple(str(n) for n in range(count))

    def predict(self, model: Any, table: Any, features: tuple[str, ...]) -> Scores:
        rows = table.select(features).to_numpy()
        return columns(_booster(model).predict(rows), len(self.classes(model)))

    def ways(self, model: Any) -> tuple[str, ...]:
        return ("trees",)

    def convert(self, model: Any, features: tuple[str, ...], how: str) -> bytes:
        return boosted.convert(model, len(features))

    def save(self, model: Any) -> bytes:
        return bytes(_booster(model).model_to_string().encode())


def _booster(model: Any) -> Any:
    from sklearn.exceptions import NotFittedError

    try:
        return model.booster_ if hasattr(model, "fit") else model
    except NotFittedError as error:
        raise InputRejected("the returned estimator is not fitted", hint="Call fit before returning it.") from error
