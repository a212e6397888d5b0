"""Boosted trees of LightGBM and XGBoost, alone or at the end of a scikit-learn Pipeline, by onnxmltools."""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Callable
from typing import Any

from conveyor.errors import StepFailed

PACKAGES = ("lightgbm", "xgboost")


def accepts(model: Any) -> bool:
    return type(model).__module__.partition(".")[0] in PACKAGES


def convert(model: Any, width: int) -> bytes:
    """The ONNX graph of a booster; it has one FP32 input `input` [-1, width]."""
    name = type(model).__name__
    try:
        from onnxmltools.convert import convert_lightgbm, convert_xgboost
        from onnxmltools.convert.common.data_types import FloatTensorType
    except ModuleNotFoundError as error:
        raise StepFailed(
            f"{name} cannot be converted to ONNX: {error.name} is not installed",
            hint="Add onnxmltools to the project's requirements.",
        ) from error
    lightgbm = type(model).__module__.startswith("lightgbm")
    types = [("input", FloatTensorType([None, width]))]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if lightgbm:
                made = convert_lightgbm(model, initial_types=types, zipmap=False)
            else:
                made = convert_xgboost(_nameless(model), initial_types=types)
    except Exception as error:  # onnxmltools raises its own, RuntimeError, ValueError, KeyError and more
        cause = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
        raise StepFailed(
            f"{name} cannot be converted to ONNX: {cause}", hint="It can be kept in its framework's own form."
        ) from error
    return bytes(made.SerializeToString())


def _nameless(model: Any) -> Any:
    """A copy without feature names, of which the converter knows f0, f1 ... only."""
    moved = copy.deepcopy(model)
    (moved.get_booster() if hasattr(moved, "get_booster") else moved).feature_names = None
    return moved


def register() -> None:
    """Tell skl2onnx of the boosters that are imported, so that Pipelines which end in one are converted too."""
    loaded = [name for name in PACKAGES if name in sys.modules]
    if not loaded:
        return
    try:
        import onnxmltools  # noqa: F401
    except ModuleNotFoundError:
        return
    from skl2onnx import update_registered_converter
    from skl2onnx.common.shape_calculator import (
        calculate_linear_classifier_output_shapes,
        calculate_linear_regressor_output_shapes,
    )

    options = {"nocl": [True, False], "zipmap": [True, False, "columns"]}
    for package in loaded:
        classifier, regressor, converter = _of(package)
        update_registered_converter(
            classifier, f"Conveyor{classifier.__name__}", calculate_linear_classifier_output_shapes, converter,
            options=options, overwrite=True,
        )  # fmt: skip
        update_registered_converter(
            regressor, f"Conveyor{regressor.__name__}", calculate_linear_regressor_output_shapes, converter,
            overwrite=True,
        )  # fmt: skip


def _of(package: str) -> tuple[type, type, Callable[..., None]]:
    if package == "lightgbm":
        from lightgbm import LGBMClassifier, LGBMRegressor
        from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm

        return LGBMClassifier, LGBMRegressor, convert_lightgbm
    from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost
    from xgboost import XGBClassifier, XGBRegressor

    return XGBClassifier, XGBRegressor, convert_xgboost
