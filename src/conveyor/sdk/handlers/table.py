"""The frameworks that Conveyor can train with."""

from __future__ import annotations

from typing import Any

from conveyor.errors import InputRejected
from conveyor.sdk.handlers.anything import AnyHandler
from conveyor.sdk.handlers.given import OnnxHandler
from conveyor.sdk.handlers.handler import Handler
from conveyor.sdk.handlers.lightgbm import LightgbmHandler
from conveyor.sdk.handlers.sklearn import SklearnHandler
from conveyor.sdk.handlers.torch import TorchHandler
from conveyor.sdk.handlers.xgboost import XgboostHandler

# The first that accepts a model has it; what any object can do comes last.
HANDLERS: tuple[Handler, ...] = (
    LightgbmHandler(),
    XgboostHandler(),
    TorchHandler(),
    OnnxHandler(),
    SklearnHandler(),
    AnyHandler(),
)


def handler_for(model: Any, function: str) -> Handler:
    for handler in HANDLERS:
        if handler.accepts(model):
            return handler
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    what = "nothing" if model is None else f"a {kind}"
    raise InputRejected(
        f"{function} returned {what}, which is no model: it has no `predict`",
        hint="Return a fitted estimator, booster, Pipeline or nn.Module, an ONNX graph, or any object with `predict`.",
    )
