"""The frameworks that Conveyor can train with."""

from __future__ import annotations

from typing import Any

from conveyor.errors import InputRejected
from conveyor.sdk.handlers.handler import Handler
from conveyor.sdk.handlers.sklearn import SklearnHandler

HANDLERS: tuple[Handler, ...] = (SklearnHandler(),)


def handler_for(estimator: Any, function: str) -> Handler:
    for handler in HANDLERS:
        if handler.accepts(estimator):
            return handler
    kind = f"{type(estimator).__module__}.{type(estimator).__qualname__}"
    what = "nothing" if estimator is None else f"a {kind}"
    raise InputRejected(
        f"{function} returned {what}, which is not a fitted estimator that can be converted to ONNX",
        hint="Return a fitted scikit-learn estimator or Pipeline.",
    )
