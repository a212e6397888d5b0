"""A model in skops' form, for those that ONNX cannot hold."""

from __future__ import annotations

from typing import Any

from conveyor.errors import StepFailed
from conveyor.sdk.forms import skops


def dump(model: Any) -> bytes:
    """StepFailed where skops is not installed, or cannot keep it."""
    kind = type(model).__name__
    try:
        return skops.dump(model)
    except ModuleNotFoundError as error:
        raise StepFailed(
            f"{kind} is kept by skops, which is not installed", hint="Add skops to the project's requirements."
        ) from error
    except Exception as error:  # whatever the object's own methods raise
        raise StepFailed(
            f"skops cannot keep {kind}: {error}", hint="Hold plain data, numpy arrays and estimators in it."
        ) from error
