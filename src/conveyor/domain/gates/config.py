"""What `[model.NAME.gates]` says, as values."""

from __future__ import annotations

from dataclasses import dataclass, field

VERSUS_LIVE = ("not_worse", "not_shown_worse", "better")
BASELINES = ("logistic", "constant", "previous")
FAIRNESS = ("tpr", "fpr", "selection_rate")


@dataclass(frozen=True, slots=True)
class MetricGate:
    """A bound on the model's metric, and how it must stand against the live version."""

    min: float | None = None
    max: float | None = None
    versus_live: str | None = None
    margin: float = 0.02
    confidence: float = 0.95


@dataclass(frozen=True, slots=True)
class Bound:
    """On a further metric."""

    min: float | None = None
    max: float | None = None


@dataclass(frozen=True, slots=True)
class CostGate:
    """What serving may cost at most: milliseconds, or megabytes."""

    max: float


@dataclass(frozen=True, slots=True)
class BaselineGate:
    beat: str = "logistic"


@dataclass(frozen=True, slots=True)
class LeakGate:
    """A feature that alone reaches this area under the ROC curve on the holdout is taken for the label in disguise."""

    max_single_feature_auc: float = 0.99


@dataclass(frozen=True, slots=True)
class SlicesGate:
    """`worst` and `margin` are on the declared slices, in units of the metric; `rise` is on slices that are found."""

    worst: float | None = None
    margin: float | None = None
    find: bool = False
    rise: float = 0.1


@dataclass(frozen=True, slots=True)
class FairnessGate:
    column: str
    metric: str
    max_gap: float
    threshold: float = 0.5


@dataclass(frozen=True, slots=True)
class CalibrationGate:
    max_ece: float | None = None
    max_brier: float | None = None


@dataclass(frozen=True, slots=True)
class ReproducibleGate:
    """Trained twice, no score on the holdout may differ by more."""

    tolerance: float = 0.0


@dataclass(frozen=True, slots=True)
class ServedParityGate:
    """The model server may differ by so much from what the model gave at training, relative where scores are large."""

    tolerance: float = 1e-4


@dataclass(frozen=True, slots=True)
class MaturityGate:
    """The share of rows in the holdout's time that may lack their label."""

    max_unlabelled: float = 0.0


@dataclass(frozen=True, slots=True)
class BacktestGate:
    """Bounds on the mean of the folds, and on the worst of them."""

    min: float | None = None
    max: float | None = None
    worst: float | None = None


@dataclass(frozen=True, slots=True)
class GatesConfig:
    metric: MetricGate = MetricGate()
    latency_p99_ms: CostGate | None = None
    memory_mb: CostGate | None = None
    size_mb: CostGate | None = None
    baseline: BaselineGate | None = None
    leak: LeakGate = LeakGate()
    parity_tolerance: float = 1e-4
    served_parity: ServedParityGate | None = None
    also: dict[str, Bound] = field(default_factory=dict)
    slices: SlicesGate | None = None
    fairness: FairnessGate | None = None
    calibration: CalibrationGate | None = None
    behaviour: str | None = None
    reproducible: ReproducibleGate | None = None
    maturity: MaturityGate | None = None
    backtest: BacktestGate | None = None

    @property
    def costs(self) -> bool:
        """Whether a gate asks for a measurement in the model server."""
        return any(gate is not None for gate in (self.latency_p99_ms, self.memory_mb, self.size_mb, self.served_parity))
