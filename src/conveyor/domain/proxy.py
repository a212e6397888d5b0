"""One reading of the proxy's counters."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from conveyor.domain.outcome import Outcomes
from conveyor.domain.routing import ClusterStats


@dataclass(frozen=True, slots=True)
class ProxyStats:
    """`clusters` holds the asked ones that the proxy has counted for, also those that it has no more."""

    clusters: dict[str, ClusterStats] = field(default_factory=dict)
    uptime: int = 0  # seconds since the proxy started
    requests: int = 0  # all that came in, to any version or none
    active: int = 0  # of them, those in flight
    unrouted: Outcomes = field(default_factory=Outcomes)  # answered by the proxy, because no version had the address
    routes_loaded: datetime | None = None  # when it took over the routes that are in force
