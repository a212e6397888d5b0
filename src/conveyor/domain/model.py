"""Model versions and what belongs to them: signature, figures, provenance."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from conveyor.domain.contract import Rule
from conveyor.domain.drift import Profile
from conveyor.domain.estimate import Calibrator
from conveyor.domain.form import ONNX
from conveyor.domain.gate import Verdict


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor in the words of the Open Inference Protocol; -1 is the number of rows."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """Where the score that metrics and monitoring read stands: an output, and its column when it has several."""

    output: str
    column: int | None = None


@dataclass(frozen=True, slots=True)
class Signature:
    """What a model takes and gives. The graph has one FP32 input [-1, len(features)]; clients may send a tensor a
    feature."""

    features: tuple[str, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    score: Score
    key: str | None = None
    time: str | None = None
    classes: tuple[str, ...] = ()  # in the order of the probabilities; empty: a value


@dataclass(frozen=True, slots=True)
class Example:
    """A row of the holdout and the score of the native estimator: readiness means that the server gives the same."""

    row: tuple[float, ...]
    score: float
    tolerance: float


@dataclass(frozen=True, slots=True)
class ModelManifest:
    """`model.json`, which lies beside the model in an artifact; the two are all that a model server needs."""

    signature: Signature
    example: Example
    profile: Profile
    framework: str
    rules: tuple[Rule, ...] = ()  # of the contract, those of columns that are features
    form: str = ONNX
    calibrator: Calibrator | None = None  # of a classification, on its holdout


@dataclass(frozen=True, slots=True)
class Parity:
    """The form that is kept against the native model, on the holdout."""

    rows: int
    max_abs_difference: float
    tolerance: float


class ModelStatus(StrEnum):
    READY = "ready"  # passed its gates; was loaded and scored
    REFUSED = "refused"  # a gate said no
    REJECTED = "rejected"  # passed its gates, failed in a rollout
    DAMAGED = "damaged"  # its bytes are gone or changed, or it does not load and score any more
    REMOVED = "removed"  # a person removed it; its number and its record stay, its artifact does not


@dataclass(frozen=True, slots=True)
class ModelVersion:
    project: str
    name: str
    version: int
    status: ModelStatus
    artifact: dict[str, str]  # file name -> BLAKE3 digest
    signature: Signature
    metrics: dict[str, float]
    verdicts: tuple[Verdict, ...]
    parity: Parity
    run: str
    commit: str
    data: dict[str, int]  # dataset -> version
    reason: str  # what triggered the training
    created: datetime
    labelled_until: datetime | None = None
    rows: int = 0
    params: dict[str, Any] = field(default_factory=dict)
    code: str = ""  # digest of the code that trained it
    sweep: str = ""  # the sweep that found its params: project/name@number
    provenance: str = ""  # digest of the signed statement of how it was made

    @property
    def id(self) -> str:
        return f"{self.project}/{self.name}@{self.version}"

    @property
    def model(self) -> str:
        return f"{self.project}/{self.name}"
