"""What a `conveyor.toml` says, as values: `config/load.py` reads it, `config/reference.toml` shows every key."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from conveyor.domain.gates.config import GatesConfig

TRIGGERS = ("data", "drift", "decay", "estimated_decay", "code")
"""What may start a training; a schedule has a key of its own."""
GROUP_SPLITS = ("past", "unseen", "apart")
"""What may stand on both sides of the cut: a group's past, or nothing of a group."""
LOG_MODES = ("batched", "sync")
"""Whether an answer waits until its observation is on disk."""
OUTCOMES = ("promote", "abort")
"""What becomes of a canary step that saw too little traffic to judge."""
SAMPLERS = ("tpe", "random", "grid")
PRUNERS = ("none", "median", "halving", "hyperband")
DIRECTIONS = ("auto", "maximize", "minimize")
DATABASES = ("copy", "empty")
"""What a preview's database begins as."""

RECEIVERS = ("webhook", "slack", "email")
TLS = ("starttls", "tls", "none")
KINDS = ("table", "files")
"""A dataset of rows, which arrive; or of files as they are, which `conveyor data add` versions."""
MODES = ("append", "replace", "upsert")
"""What arriving rows do to those that are there: come after them, in their place, or in the place of their keys."""

Rules = dict[str, dict[str, Any]]
"""Inline contract: column -> {min, max, not_null, one_of, unique, pattern, min_length, max_length, type}."""


@dataclass(frozen=True, slots=True)
class Label:
    """The column that holds the truth, and how long after the event time it becomes known."""

    column: str
    delay: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may hold, and what the process that reads it may use; a file beyond that is refused."""

    rows: int = 100_000_000
    mb: int = 4096
    memory_mb: int = 4096


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Of a dataset of files `time`, `key` and `label` name columns of the rows that steps make of them."""

    name: str
    kind: str = "table"
    watch: tuple[str, ...] = ()
    time: str | None = None
    key: str | None = None
    label: Label | None = None
    contract: str | None = None
    rules: Rules = field(default_factory=dict)
    banned: tuple[str, ...] = ()
    debounce: timedelta = timedelta(seconds=0.5)
    limits: Limits = Limits()
    source: str | None = None
    query: str | None = None
    url: str | None = None
    cursor: str | None = None
    start: Any = None
    every: timedelta | None = None
    schedule: str | None = None
    secrets: tuple[str, ...] = ()
    mode: str = "append"
    fresh: timedelta | None = None


@dataclass(frozen=True, slots=True)
class StepConfig:
    """`outs` are the files and folders that it makes, by their paths; `metrics` are those of them that hold figures."""

    name: str
    run: str | None = None
    command: str | None = None
    inputs: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    deps: tuple[str, ...] = ()
    outs: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    persist: tuple[str, ...] = ()
    uncached: tuple[str, ...] = ()
    params: dict[str, Any] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    workdir: str = "."
    cpus: int = 1
    memory_mb: int = 0
    frozen: bool = False
    always: bool = False
    timeout: timedelta = timedelta(hours=1)
    retries: int = 0

    @property
    def made(self) -> tuple[str, ...]:
        """All paths that it makes."""
        return tuple(dict.fromkeys((*self.outs, *self.metrics, *self.persist, *self.uncached)))


@dataclass(frozen=True, slots=True)
class Budget:
    runs_per_day: int = 24


@dataclass(frozen=True, slots=True)
class RetrainConfig:
    on: tuple[str, ...] = ("data", "code")
    schedule: str | None = None
    min_new_rows: int = 0
    cooldown: timedelta = timedelta(0)
    debounce: timedelta = timedelta(seconds=1)
    budget: Budget = Budget()


@dataclass(frozen=True, slots=True)
class MonitorConfig:
    """A window closes after `rows` observations; signals are raised by effect size, not by a p-value alone."""

    rows: int = 5000
    psi: float = 0.25
    false_alarms: float = 0.01
    decay: float = 0.10


KEY = "key"
"""In `redact`: the keys that requests give."""


@dataclass(frozen=True, slots=True)
class ObservationsConfig:
    """What is kept of a model's predictions, as the dataset `predictions/<model>`."""

    debounce: timedelta = timedelta(minutes=5)
    keep: timedelta | None = None
    sample: float = 1.0
    redact: tuple[str, ...] = ()  # features, and KEY: never on disk


@dataclass(frozen=True, slots=True)
class LabelsConfig:
    """Labels that are sent for predictions: a label that has not come after `horizon` never comes."""

    debounce: timedelta = timedelta(seconds=5)
    horizon: timedelta = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Shadow:
    """`tolerance`: a score that is farther from the live version's differs. `within`: the longest it may take."""

    requests: int = 0
    tolerance: float = 0.1
    within: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Abort:
    """A canary that crosses one of these is rolled back. `regression` and `slower` are against the live version."""

    error_rate: float = 0.01
    regression: float = 0.04
    latency_p99_ms: float | None = None
    slower: float = 3.0
    divergence: float | None = None
    min_requests: int = 20


@dataclass(frozen=True, slots=True)
class RolloutConfig:
    shadow: Shadow = Shadow()
    steps: tuple[int, ...] = (5, 25, 100)
    hold: timedelta = timedelta(seconds=30)
    watch: timedelta = timedelta(minutes=5)
    start_timeout: timedelta = timedelta(seconds=60)
    drain: timedelta = timedelta(seconds=10)
    deadline: timedelta | None = None
    insufficient: str = "promote"
    sticky: str | None = None
    abort: Abort = Abort()


@dataclass(frozen=True, slots=True)
class BacktestConfig:
    """The training as of earlier times, each `step` before the next. 0 folds: none."""

    folds: int = 0
    step: timedelta = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class CardConfig:
    """What a model card says that nobody but people know."""

    use: str = ""
    not_for: str = ""
    limits: str = ""
    license: str = ""
    contact: str = ""


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """How a model's server works; `observations` is one of LOG_MODES."""

    workers: int = 1
    observations: str = "batched"


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """With k the newest known label's time, rows in (k - holdout - gap - window, k - holdout - gap] are trained on.

    Those in (k - holdout, k] are scored by the gates.
    """

    name: str
    train: str
    inputs: tuple[str, ...]
    metric: str
    features: tuple[str, ...] = ()
    window: timedelta | None = None
    gap: timedelta = timedelta(0)
    holdout: timedelta | None = None
    seed: int = 0
    slices: tuple[str, ...] = ()
    group: str | None = None
    group_split: str = "past"
    metrics: tuple[str, ...] = ()
    params: dict[str, Any] = field(default_factory=dict)
    positive: str = ""
    trusted: tuple[str, ...] = ()
    timeout: timedelta = timedelta(hours=6)
    gates: GatesConfig = field(default_factory=GatesConfig)
    backtest: BacktestConfig = BacktestConfig()
    retrain: RetrainConfig = RetrainConfig()
    monitor: MonitorConfig = MonitorConfig()
    serve: ServeConfig = ServeConfig()
    observations: ObservationsConfig = ObservationsConfig()
    labels: LabelsConfig = LabelsConfig()
    rollout: RolloutConfig = RolloutConfig()
    card: CardConfig = CardConfig()


@dataclass(frozen=True, slots=True)
class SweepConfig:
    """`space`: param -> {choice = [...]}, or {min, max, log, step}: whole numbers where both bounds are."""

    name: str
    model: str
    space: dict[str, Any]
    trials: int = 20
    at_once: int = 2
    sampler: str = "tpe"
    pruner: str = "none"
    direction: str = "auto"
    seed: int = 0


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """Anything that speaks HTTP. `path` is the folder of the repository that it is made from."""

    name: str
    run: str
    path: str = "."
    health: str = "/healthz"
    route: str = "/"
    build: str | None = None
    test: tuple[str, ...] = ()
    junit: tuple[str, ...] = ()
    smoke: str | None = None
    migrate: str | None = None
    migrate_sql: str | None = None
    lock_timeout: timedelta = timedelta(seconds=5)
    database: str | None = None
    replicas: int = 1
    uses: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    memory_mb: int | None = None
    idle_timeout: timedelta = timedelta(minutes=5)
    timeout: timedelta = timedelta(minutes=15)
    rollout: RolloutConfig = RolloutConfig()


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """A process without a port: a queue's consumer, a scheduler.

    With `overlap` the new one starts before the old one is told to end; without it, never do two versions run at once.
    """

    name: str
    run: str
    path: str = "."
    replicas: int = 1
    overlap: bool = True
    drain: timedelta = timedelta(seconds=30)
    database: str | None = None
    uses: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    memory_mb: int | None = None


@dataclass(frozen=True, slots=True)
class EnvironmentConfig:
    """Takes what is pushed to `branch`, or, with `source`, only what is promoted from that environment."""

    name: str
    branch: str = "main"
    source: str | None = None
    approve: bool = False
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PreviewConfig:
    """Branches that match get an environment of their own, `preview-<branch>`, until it expires."""

    branches: tuple[str, ...] = ()
    expires: timedelta = timedelta(days=3)
    database: str = "copy"
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NotifyConfig:
    """Who is told of alerts. `url` is an address or, as `key`, the name of a secret of production."""

    name: str
    kind: str
    on: tuple[str, ...] = ()
    url: str = ""
    key: str = ""
    server: str = ""
    tls: str = "starttls"
    user: str = ""
    sender: str = ""
    to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AlertsConfig:
    """So many alerts of a model are told in a day; an alert resolves after so many windows without it."""

    budget: int = 5
    clean: int = 3


@dataclass(frozen=True, slots=True)
class ProjectConfig:
    name: str
    data: dict[str, DataConfig] = field(default_factory=dict)
    steps: dict[str, StepConfig] = field(default_factory=dict)
    models: dict[str, ModelConfig] = field(default_factory=dict)
    sweeps: dict[str, SweepConfig] = field(default_factory=dict)
    services: dict[str, ServiceConfig] = field(default_factory=dict)
    workers: dict[str, WorkerConfig] = field(default_factory=dict)
    environments: dict[str, EnvironmentConfig] = field(default_factory=dict)
    preview: PreviewConfig = PreviewConfig()
    alerts: AlertsConfig = AlertsConfig()
    notify: dict[str, NotifyConfig] = field(default_factory=dict)
