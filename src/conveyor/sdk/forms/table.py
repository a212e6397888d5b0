"""The one place that knows the forms: a model's bytes and its signature become something that scores."""

from __future__ import annotations

from pathlib import Path

from conveyor.domain.form import FILES, ONNX
from conveyor.domain.model import ModelManifest
from conveyor.errors import ConveyorError, Refused
from conveyor.sdk.forms.lightgbm import LightgbmScorer
from conveyor.sdk.forms.onnx import OnnxScorer
from conveyor.sdk.forms.scorer import Scorer
from conveyor.sdk.forms.skops import SkopsScorer
from conveyor.sdk.forms.xgboost import XgboostScorer


def scorer(form: str, raw: bytes, features: tuple[str, ...], classes: int, trusted: tuple[str, ...] = ()) -> Scorer:
    """Raises Refused when the bytes are not a model of this form, or hold what is not trusted."""
    if form == ONNX:
        return OnnxScorer(raw)
    if form not in FILES:
        raise Refused(f"no form {form} of models is known", hint=f"Known are {', '.join(FILES)}; update Conveyor.")
    try:
        if form == "lightgbm":
            return LightgbmScorer(raw, len(features), classes)
        if form == "xgboost":
            return XgboostScorer(raw, len(features), classes)
        return SkopsScorer(raw, features, classes, trusted)
    except ConveyorError:
        raise
    except ModuleNotFoundError as error:
        raise Refused(
            f"a model of form {form} needs {error.name}, which this environment has not",
            hint=f"Add {error.name} to the project's requirements.",
        ) from error
    except Exception as error:  # every framework has exceptions of its own
        why = f"{type(error).__name__}: {error}"  # a MemoryError says nothing but its name
        raise Refused(f"the model of form {form} cannot be loaded: {why}", hint="Train it anew.") from error


def open_model(manifest: ModelManifest, path: Path, trusted: tuple[str, ...] = ()) -> Scorer:
    signature = manifest.signature
    return scorer(manifest.form, path.read_bytes(), signature.features, len(signature.classes), trusted)
