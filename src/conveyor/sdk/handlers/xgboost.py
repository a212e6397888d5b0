"""XGBoost: its scikit-learn classes and the bare Booster."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from conveyor.errors import InputRejected
from conveyor.sdk.forms.native import columns
from conveyor.sdk.handlers import boosted

if TYPE_CHECKING:
    from conveyor.sdk.handlers.handler import Scores


class XgboostHandler:
    framework = "XGBoost"
    form = "xgboost"

    def accepts(self, model: Any) -> bool:
        return type(model).__module__.partition(".")[0] == "xgboost"

    def features(self, model: Any) -> tuple[str, ...]:
        return tuple(_booster(model).feature_names or ())

    def classes(self, model: Any) -> tuple[str, ...]:
        booster = _booster(model)
        if hasattr(model, "fit"):
            return tuple(map(str, model.classes_)) if hasattr(model, "classes_") else ()
        learner = json.loads(booster.save_config())["learner"]
        many = int(learner["learner_model_param"]["num_class"])
        count = many if many > 1 else 2 if learner["objective"]["name"] in ("binary:logistic", "reg:logistic") else 0
        return tuple(str(n) for n in range(count))

    def predict(self, model: Any, table: Any, features: tuple[str, ...]) -> Scores:
        rows = table.select(features).to_numpy()
        return columns(_booster(model).inplace_predict(rows, validate_features=False), len(self.classes(model)))

    def ways(self, model: Any) -> tuple[str, ...]:
        return ("trees",)

    def convert(self, model: Any, features: tuple[str, ...], how: str) -> bytes:
        return boosted.convert(model, len(features))

    def save(self, model: Any) -> bytes:
        return bytes(_booster(model).save_raw("ubj"))


def _booster(model: Any) -> Any:
    """Up to the best iteration, where training was stopped early."""
    from sklearn.exceptions import NotFittedError

    try:
        booster = model.get_booster() if hasattr(model, "fit") else model
    except NotFittedError as error:
        raise InputRejected("the returned estimator is not fitted", hint="Call fit before returning it.") from error
    best = booster.attr("best_iteration")
    return booster if best is None else booster[: int(best) + 1]
