"""What the model server counts, and its Prometheus text form (exposition format 0.0.4)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence

from conveyor.domain.contract import Rule
from conveyor.serving.cells import FIRST, Cells, alone

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)  # seconds
STATUSES = (200, 400, 404, 405, 408, 413, 429, 431, 500, 501, 503)

WRITTEN, LOST, BUFFERED, LONGEST = range(FIRST, FIRST + 4)  # the observation log's own cells
_LOG = {
    "conveyor_observations_written_total": WRITTEN,
    "conveyor_observations_lost_total": LOST,
    "conveyor_observations_buffered_bytes": BUFFERED,
}
_ROWS, _SECONDS, _BUCKETS = range(FIRST + 4, FIRST + 7)
_STATUSES = _BUCKETS + len(BUCKETS) + 1
_SKEW = _STATUSES + len(STATUSES) + 1


class Metrics:
    """Counts of this process, told with those of the workers beside it; written by the event loop's thread only."""

    def __init__(self, *, model: str, version: int, rules: Sequence[Rule] = (), cells: Cells | None = None) -> None:
        self._labels = f'model="{model}",version="{version}"'
        self._cells = cells or alone()
        self._mine = self._cells.mine
        self._status = {status: _STATUSES + at for at, status in enumerate(STATUSES)}
        self._other = _STATUSES + len(STATUSES)
        self._rules = {rule.name: _SKEW + at for at, rule in enumerate(rules)}  # where rows that broke each are counted

    def answered(self, status: int, rows: int, seconds: float) -> None:
        mine = self._mine
        mine[self._status.get(status, self._other)] += 1
        mine[_ROWS] += rows
        mine[_SECONDS] += seconds
        mine[_BUCKETS + bisect_left(BUCKETS, seconds)] += 1

    def skewed(self, broken: Mapping[str, int]) -> None:
        for rule, rows in broken.items():
            self._mine[self._rules[rule]] += rows

    def text(self, more: Mapping[str, float]) -> str:
        """`more`: further figures by name, the same in every worker."""
        total = self._cells.total
        lines = ["# TYPE conveyor_inference_requests_total counter"]
        for code, at in (*self._status.items(), ("other", self._other)):
            if count := int(total(at)):
                lines.append(f'conveyor_inference_requests_total{{{self._labels},code="{code}"}} {count}')
        lines.append("# TYPE conveyor_inference_rows_total counter")
        lines.append(f"conveyor_inference_rows_total{{{self._labels}}} {int(total(_ROWS))}")
        lines += self._histogram()
        if self._rules:
            lines.append("# TYPE conveyor_feature_skew_rows_total counter")
        for rule, at in self._rules.items():
            feature, _, kind = rule.rpartition(":")
            about = f'{self._labels},feature="{_escaped(feature)}",rule="{kind}"'
            lines.append(f"conveyor_feature_skew_rows_total{{{about}}} {int(total(at))}")
        figures = {name: int(total(at)) for name, at in _LOG.items()}
        longest = {"conveyor_observations_longest_wait_seconds": round(self._cells.most(LONGEST), 6)}
        for name, value in (figures | longest | dict(more)).items():
            lines.append(f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}")
            lines.append(f"{name}{{{self._labels}}} {value}")
        return "\n".join(lines) + "\n"

    def _histogram(self) -> list[str]:
        lines, count = ["# TYPE conveyor_inference_seconds histogram"], 0
        for at, bound in enumerate((*BUCKETS, "+Inf")):
            count += int(self._cells.total(_BUCKETS + at))
            lines.append(f'conveyor_inference_seconds_bucket{{{self._labels},le="{bound}"}} {count}')
        lines.append(f"conveyor_inference_seconds_sum{{{self._labels}}} {self._cells.total(_SECONDS):.6f}")
        lines.append(f"conveyor_inference_seconds_count{{{self._labels}}} {count}")
        return lines


def _escaped(label: str) -> str:
    """A label's value as the exposition format has it."""
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
