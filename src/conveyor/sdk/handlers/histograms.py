"""scikit-learn's histogram gradient boosting.

skl2onnx converts it, but hands numpy's integers and truth values to onnx, which refuses them (skl2onnx 1.20 with onnx
1.19 and newer).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def converters() -> dict[str, dict[type, Callable[..., None]]]:
    """What `convert_sklearn` takes so that these estimators are converted with plain numbers."""
    from skl2onnx._supported_operators import sklearn_operator_name_map
    from skl2onnx.common._registration import get_converter, get_shape_calculator
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    names = {
        kind: sklearn_operator_name_map[kind]
        for kind in (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
    }
    return {
        "custom_conversion_functions": {kind: _plainly(get_converter(name)) for kind, name in names.items()},
        "custom_shape_calculators": {kind: get_shape_calculator(name) for kind, name in names.items()},
    }


def _plainly(converter: Callable[..., None]) -> Callable[..., None]:
    def convert(scope: Any, operator: Any, container: Any) -> None:
        converter(scope, operator, _Plain(container))

    return convert


class _Plain:
    """A container that hands plain numbers on."""

    def __init__(self, container: Any) -> None:
        self._container = container

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def add_node(self, *words: Any, **attributes: Any) -> Any:
        plain = {name: _numbers(value) for name, value in attributes.items()}
        return self._container.add_node(*words, **plain)


def _numbers(value: Any) -> Any:
    return [_number(each) for each in value] if isinstance(value, list) else value


def _number(value: Any) -> Any:
    import numpy as np

    plain = value.item() if isinstance(value, np.generic) else value
    return int(plain) if isinstance(plain, bool) else plain
