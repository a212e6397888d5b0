"""What a step's process is told (a spec, read from a JSON file) and what it says when it is done (a report).

The entry points `python -m conveyor.sdk.{step,train,backtest,compare,evaluate,ingest} SPEC.json OUT` read and write
these.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from conveyor.domain.erasure import ErasedKeys
from conveyor.domain.form import ONNX
from conveyor.domain.gates.config import GatesConfig
from conveyor.domain.model import Parity
from conveyor.domain.project import DataConfig, Rules

TRAIN, EVALUATE, VERIFY, MEASURE, BACKTEST, COMPARE = OF_TRAINING = (
    "train", "evaluate", "verify", "measure", "backtest", "compare",
)  # fmt: skip
"""The steps that every training, or its reproduction, has beside those of the project."""


@dataclass(frozen=True, slots=True)
class InputSpec:
    """A named input: Parquet files, and what the loader must know of their columns.

    Labels of rows with an event time later than `known_until` are null before any user code sees them.
    Rows with an event time earlier than `since` are not read.
    """

    name: str  # the argument of the user's function that gets it
    paths: tuple[str, ...]
    time: str | None = None
    key: str | None = None
    label: str | None = None
    known_until: datetime | None = None
    since: datetime | None = None
    folder: str = ""  # of a dataset of files: where they are, in the place of `paths`


@dataclass(frozen=True, slots=True)
class StepSpec:
    """`OUT/output.parquet` gets the frame that the function returns, `OUT/step.json` a StepReport."""

    function: str  # "shop.features:build"
    inputs: tuple[InputSpec, ...]
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepReport:
    rows: int
    bytes: int
    schema: dict[str, str]
    metrics: dict[str, float] = field(default_factory=dict)  # what user code logged


@dataclass(frozen=True, slots=True)
class TrainSpec:
    """Rows of the first input are sliced by event time, k being `known_until`:

    holdout (k - holdout, k], training (k - holdout - gap - window, k - holdout - gap].
    Without `window` training reaches back to the first row; without `holdout` the newest fifth of the time range is
    held out.
    """

    model: str
    function: str
    inputs: tuple[InputSpec, ...]  # the first one is sliced; the others are cut at the end of training
    label: str
    time: str
    known_until: datetime
    metric: str
    params: dict[str, Any] = field(default_factory=dict)
    features: tuple[str, ...] = ()  # empty: the estimator's feature_names_in_
    key: str | None = None
    window: timedelta | None = None
    gap: timedelta = timedelta(0)
    holdout: timedelta | None = None
    slices: tuple[str, ...] = ()
    baseline: str | None = None  # one of BASELINES
    group: str | None = None  # whose rows belong together
    group_split: str = "past"  # one of GROUP_SPLITS
    twice: bool = False  # train a second time and compare
    parity_tolerance: float = 1e-4
    seed: int = 0
    rules: Rules = field(default_factory=dict)  # of the datasets' contracts
    positive: str = ""  # the class whose probability is the score; empty: 1 of 0 and 1
    trusted: tuple[str, ...] = ()  # types that a model in skops' form may hold


@dataclass(frozen=True, slots=True)
class Slice:
    """A half-open range of event time, (after, until], and how many rows it holds: labelled ones, and others."""

    after: datetime
    until: datetime
    rows: int
    positives: int
    unlabelled: int = 0


@dataclass(frozen=True, slots=True)
class BacktestSpec:
    """`OUT/backtest.json` gets a conveyor.domain.evaluation.Backtest: the training as of `folds` earlier times."""

    train: TrainSpec
    folds: int
    step: timedelta


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """`OUT/training.json`. Beside it lie the model in its form, model.json (ModelManifest) and holdout.parquet."""

    features: tuple[str, ...]
    training: Slice
    holdout: Slice
    parity: Parity
    framework: str
    conversion: str  # how its form was reached: "float", or "double" where single precision was not enough, ...
    metric: str
    value: float | None  # of the native model on the holdout; None where it is not defined
    baseline: float | None
    train_seconds: float
    convert_seconds: float
    metrics: dict[str, float] = field(default_factory=dict)  # what user code logged
    baseline_name: str | None = None
    form: str = ONNX
    passed_over: str = ""  # why the form is not ONNX
    twice_max_abs_difference: float | None = None  # between two trainings, where that was asked for


@dataclass(frozen=True, slots=True)
class LiveModel:
    """The live version, to be scored on the same holdout by its own manifest's feature order."""

    version: int
    file: str  # the model, in the form that its manifest says
    manifest: str


@dataclass(frozen=True, slots=True)
class EvaluateSpec:
    """`OUT/evaluation.json` gets a conveyor.domain.evaluation.Evaluation."""

    metric: str
    candidate: str  # folder with the model and model.json
    holdout: str  # holdout.parquet as train wrote it
    training: str  # training.json as train wrote it: parity and the baseline come from there
    live: LiveModel | None = None
    confidence: float = 0.95
    resamples: int = 1000
    seed: int = 0
    slices: tuple[str, ...] = ()
    latency_calls: int = 300
    group: str | None = None  # whose rows belong together
    trusted: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()  # the user's own, "shop.metrics:cp100"
    gates: GatesConfig = field(default_factory=GatesConfig)


@dataclass(frozen=True, slots=True)
class LoggedScore:
    """A row of the holdout, and the score that the trained model itself gave for it before it was converted."""

    row: tuple[float, ...]
    score: float


@dataclass(frozen=True, slots=True)
class MeasureSpec:
    """`OUT/served.json` gets a conveyor.domain.evaluation.Served."""

    artifact: str  # folder of the files that a model server needs
    trusted: tuple[str, ...] = ()
    logged: tuple[LoggedScore, ...] = ()  # what the server must give too
    calls: int = 300
    seed: int = 0
    start_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class IngestFile:
    """`path` is where the bytes are (it may be an object without suffix); `name` tells the format by its suffix."""

    path: str
    name: str
    force: bool = False  # past the contract; what every dataset needs holds even so


@dataclass(frozen=True, slots=True)
class EarlierPart:
    """A part of the version before: where its bytes are, not verified yet, and the file of its own sketches."""

    path: str
    digest: str
    rows: int
    sketches: str | None = None


@dataclass(frozen=True, slots=True)
class IngestSpec:
    """`schema` is the previous version's (column -> polars dtype), or None; `OUT/report.json` gets an IngestReport.

    `sketches` is the file that the previous version's profile merges from. `earlier` names its parts: all of them in
    mode "upsert", which looks for keys in them, else those of a version without sketches, to be measured once. Rows of
    subjects that were `erased` go to quarantine.
    """

    data: DataConfig
    files: tuple[IngestFile, ...]
    schema: dict[str, str] | None = None
    erased: tuple[ErasedKeys, ...] = ()
    sketches: str | None = None
    earlier: tuple[EarlierPart, ...] = ()
    watermark: datetime | None = None  # the newest event time before
    base: str = ""  # digest of the manifest before


@dataclass(frozen=True, slots=True)
class CompareSpec:
    """Two artifacts (folders) on one holdout; `OUT/compared.json` gets a CompareReport."""

    one: str
    other: str
    holdout: str
    trusted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CompareReport:
    """None: on some row only one of the two is a finite number."""

    rows: int
    differ: int
    max_abs_difference: float | None


@dataclass(frozen=True, slots=True)
class StepError:
    """`OUT/error.json` of a step that failed: what happened, and what to do next."""

    message: str
    hint: str = ""
