"""scikit-learn estimators and Pipelines, by skl2onnx."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from conveyor.errors import InputRejected, StepFailed
from conveyor.sdk.handlers import boosted, histograms, kept

if TYPE_CHECKING:
    from conveyor.sdk.handlers.handler import Scores

OPSETS = {"": 15, "ai.onnx.ml": 3}  # what the converters of boosted trees know as well


class SklearnHandler:
    framework = "scikit-learn"
    form = "skops"

    def accepts(self, estimator: Any) -> bool:
        return hasattr(estimator, "get_params") and hasattr(estimator, "predict") and hasattr(estimator, "fit")

    def features(self, estimator: Any) -> tuple[str, ...]:
        from sklearn.exceptions import NotFittedError
        from sklearn.utils.validation import check_is_fitted

        try:
            check_is_fitted(estimator)
        except NotFittedError as error:
            raise InputRejected("the returned estimator is not fitted", hint="Call fit before returning it.") from error
        return tuple(str(name) for name in getattr(estimator, "feature_names_in_", ()))

    def classes(self, estimator: Any) -> tuple[str, ...]:
        from sklearn.base import is_classifier

        if not is_classifier(estimator):
            return ()
        if not hasattr(estimator, "predict_proba"):
            raise InputRejected(
                f"{type(estimator).__name__} gives no probabilities",
                hint="Use a classifier with predict_proba, such as by CalibratedClassifierCV.",
            )
        return tuple(map(str, estimator.classes_))

    def predict(self, estimator: Any, table: Any, features: tuple[str, ...]) -> Scores:
        import numpy as np

        rows = table.select(features)
        given = rows if self.features(estimator) else rows.to_numpy()
        found = estimator.predict_proba(given) if self.classes(estimator) else estimator.predict(given)
        return np.asarray(found, dtype=np.float64).reshape(len(rows), -1)

    def ways(self, estimator: Any) -> tuple[str, ...]:
        """A scaler in single precision moves a value across a tree's threshold now and then.

        So for a Pipeline that ends in trees the steps before them run in double precision, as in scikit-learn; else
        that is the second try.
        """
        if not getattr(estimator, "steps", None):
            return ("float",)
        last = estimator.steps[-1][1]
        trees = any(hasattr(last, name) for name in ("tree_", "estimators_", "_predictors")) or boosted.accepts(last)
        return ("double", "float") if trees else ("float", "double")

    def convert(self, estimator: Any, features: tuple[str, ...], how: str) -> bytes:
        positional = _by_position(estimator, features)
        return _convert(_widened(positional) if how == "double" else positional, len(features))

    def save(self, estimator: Any) -> bytes:
        return kept.dump(estimator)


def _convert(estimator: Any, width: int) -> bytes:
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.base import is_classifier

    boosted.register()
    options = {"zipmap": False} if is_classifier(estimator) else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = convert_sklearn(
                estimator,
                initial_types=[("input", FloatTensorType([None, width]))],
                options=options,
                name="model",
                target_opset=OPSETS,
                **histograms.converters(),
            )
    except Exception as error:  # skl2onnx raises its own, RuntimeError, ValueError and more
        cause = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
        raise StepFailed(
            f"{type(estimator).__name__} cannot be converted to ONNX: {cause}",
            hint="Use estimators that skl2onnx supports, and keep custom transformers in a step before the model.",
        ) from error
    return bytes(_with_float_output(model).SerializeToString())


def _widened(pipeline: Any) -> Any:
    import numpy as np
    from skl2onnx.sklapi import CastTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline

    *before, last = pipeline.steps
    # an imputer copies values, which single precision does as well, and onnxruntime has none for doubles
    start = next((i for i, (_, step) in enumerate(before) if not isinstance(step, SimpleImputer)), len(before))
    wide, narrow = CastTransformer(dtype=np.float64), CastTransformer(dtype=np.float32)
    middle = [("conveyor_wide", wide), *before[start:], ("conveyor_narrow", narrow)]
    return Pipeline([*before[:start], *middle, last])


def _with_float_output(model: Any) -> Any:
    """The score output as FP32, whatever precision the graph worked in."""
    from onnx import TensorProto, helper

    for output in model.graph.output:
        if output.type.tensor_type.elem_type != TensorProto.DOUBLE:
            continue
        inner = f"{output.name}_double"
        for node in model.graph.node:
            for index, name in enumerate(node.output):
                if name == output.name:
                    node.output[index] = inner
            for index, name in enumerate(node.input):
                if name == output.name:
                    node.input[index] = inner
        model.graph.node.append(helper.make_node("Cast", [inner], [output.name], to=TensorProto.FLOAT))
        output.type.tensor_type.elem_type = TensorProto.FLOAT
    return model


def _by_position(estimator: Any, features: tuple[str, ...]) -> Any:
    """A ColumnTransformer that stands first and picks columns by name, picking by position: the graph has one input."""
    import copy

    from sklearn.compose import ColumnTransformer

    first = estimator.steps[0][1] if getattr(estimator, "steps", None) else estimator
    if not isinstance(first, ColumnTransformer):
        return estimator
    moved = copy.deepcopy(estimator)
    target = moved.steps[0][1] if getattr(moved, "steps", None) else moved
    target.transformers_ = [
        (name, part, [features.index(c) if isinstance(c, str) else c for c in _listed(columns)])
        for name, part, columns in target.transformers_
    ]
    return moved


def _listed(columns: Any) -> list[Any]:
    return [columns] if isinstance(columns, str | int) else list(columns)
