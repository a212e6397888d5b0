"""What the model server counts, and its Prometheus text form (exposition format 0.0.4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from conveyor.domain.contract import Rule

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)  # seconds


class Metrics:
    """Counters of one process; written by the event loop's thread only."""

    def __init__(self, *, model: str, version: int, rules: Sequence[Rule] = ()) -> None:
        self._labels = f'model="{model}",version="{version}"'
        self.requests: Counter[int] = Counter()  # by HTTP status, inference requests only
        self.rows = 0
        self.skew: dict[str, int] = {rule.name: 0 for rule in rules}  # rows that broke each rule
        self._buckets = [0] * (len(BUCKETS) + 1)
        self._seconds = 0.0

    def answered(self, status: int, rows: int, seconds: float) -> None:
        self.requests[status] += 1
        self.rows += rows
        self._seconds += seconds
        for at, bound in enumerate(BUCKETS):
            if seconds <= bound:
                self._buckets[at] += 1
                return
        self._buckets[-1] += 1

    def skewed(self, broken: Mapping[str, int]) -> None:
        for rule, rows in broken.items():
            self.skew[rule] += rows

    def text(self, log: Mapping[str, float]) -> str:
        """`log`: further metrics by name, those of the observation log."""
        lines = ["# TYPE conveyor_inference_requests_total counter"]
        for code, count in sorted(self.requests.items()):
            lines.append(f'conveyor_inference_requests_total{{{self._labels},code="{code}"}} {count}')
        lines.append("# TYPE conveyor_inference_rows_total counter")
        lines.append(f"conveyor_inference_rows_total{{{self._labels}}} {self.rows}")
        lines.append("# TYPE conveyor_inference_seconds histogram")
        total = 0
        for bound, count in zip([*BUCKETS, "+Inf"], self._buckets, strict=True):
            total += count
            lines.append(f'conveyor_inference_seconds_bucket{{{self._labels},le="{bound}"}} {total}')
        lines.append(f"conveyor_inference_seconds_sum{{{self._labels}}} {self._seconds:.6f}")
        lines.append(f"conveyor_inference_seconds_count{{{self._labels}}} {total}")
        if self.skew:
            lines.append("# TYPE conveyor_feature_skew_rows_total counter")
        for rule, rows in self.skew.items():
            feature, _, kind = rule.rpartition(":")
            about = f'{self._labels},feature="{_escaped(feature)}",rule="{kind}"'
            lines.append(f"conveyor_feature_skew_rows_total{{{about}}} {rows}")
        for name, value in log.items():
            lines.append(f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}")
            lines.append(f"{name}{{{self._labels}}} {value}")
        return "\n".join(lines) + "\n"


def _escaped(label: str) -> str:
    """A label's value as the exposition format has it."""
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
