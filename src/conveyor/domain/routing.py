"""What the public port does with a request: values only, rendered for the proxy by `effects.envoy_config`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace

from conveyor.domain.outcome import Outcomes

ANY_HOST = "*"
# Cluster names are parts of the names of the proxy's counters.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]*")


@dataclass(frozen=True, slots=True)
class Cluster:
    """The processes of one version of one target; `endpoints` are ports on 127.0.0.1, or paths of Unix sockets."""

    name: str
    endpoints: tuple[int | str, ...]
    health_path: str


@dataclass(frozen=True, slots=True)
class Weighted:
    """A share of a route's requests; `version` is what the answer's `x-conveyor-version` header says."""

    cluster: str
    weight: int
    version: str


@dataclass(frozen=True, slots=True)
class Route:
    """Requests for `host` ("*" or a name) under `prefix`; `mirror` gets a copy, its answers are dropped.

    A prefix matches whole path segments: "/pay" takes "/pay" and "/pay/1" but not "/payments". Only requests that
    change nothing (GET, HEAD) are mirrored, unless `mirrors_all`. `timeout` is in seconds for the whole answer, 0 for
    none (server-sent events, long polls); `idle` is how long a request or a stream may be silent. `sticky` keeps a
    client on one side of a split: "cookie", or the name of a request header. With `pairs` a request and its copy carry
    one header, this text and an id that nobody else has: by it their answers are found together.
    """

    host: str
    prefix: str
    weighted: tuple[Weighted, ...]
    mirror: str | None = None
    mirrors_all: bool = False
    pairs: str = ""
    timeout: float = 0.0
    idle: float = 300.0
    sticky: str = ""
    rewrite: str = ""  # what the prefix becomes on its way to the process


@dataclass(frozen=True, slots=True)
class Routing:
    clusters: tuple[Cluster, ...] = ()
    routes: tuple[Route, ...] = ()

    def problems(self) -> tuple[str, ...]:
        """What would lose requests if it were applied: names that do not exist, or exist twice."""
        names = [cluster.name for cluster in self.clusters]
        found = [
            f'cluster "{name}" is declared {names.count(name)} times'
            for name in sorted(set(names))
            if names.count(name) > 1
        ]
        seen: set[tuple[str, str]] = set()
        found += [f'"{name}" cannot name a cluster' for name in sorted(set(names)) if not _NAME.fullmatch(name)]
        for route in self.routes:
            where = f"route {route.host}{route.prefix}"
            wanted = [part.cluster for part in route.weighted] + ([route.mirror] if route.mirror else [])
            found += [f'{where} names cluster "{name}", which does not exist' for name in wanted if name not in names]
            if not route.prefix.startswith("/"):
                found.append(f'{where}: a prefix starts with "/"')
            if any(part.weight < 0 for part in route.weighted):
                found.append(f"{where} has a negative weight")
            if (route.host, route.prefix) in seen:
                found.append(f"{where} is declared twice")
            seen.add((route.host, route.prefix))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class ClusterHealth:
    healthy: int
    total: int


@dataclass(frozen=True, slots=True)
class Bin:
    """`count` answers took between `low` and `low + width` milliseconds."""

    low: float
    width: float
    count: int


@dataclass(frozen=True, slots=True)
class ClusterStats:
    """Cumulative since the cluster began; health checks are not counted, mirrored requests are.

    Latencies are milliseconds from the proxy to the process and back, counted in whole ones below 100 and within 5 %
    above; nan until a first answer. They lag the counters by one reading, and leave out requests that timed out (an
    error that is counted).
    """

    requests: int
    errors_5xx: int
    p50_ms: float
    p99_ms: float
    active: int
    latencies: tuple[Bin, ...] = ()
    checks_failed: int = 0
    outcomes: Outcomes = field(default_factory=Outcomes)  # of users' requests; these go on when the cluster begins anew

    def since(self, earlier: ClusterStats) -> ClusterStats:
        """The window between two readings; a cluster that began anew in between counts from its beginning."""
        outcomes = self.outcomes.since(earlier.outcomes)
        if earlier.requests > self.requests:
            return replace(self, outcomes=outcomes)
        before = {bin_.low: bin_.count for bin_ in earlier.latencies}
        bins = tuple(Bin(b.low, b.width, max(0, b.count - before.get(b.low, 0))) for b in self.latencies)
        return ClusterStats(
            requests=self.requests - earlier.requests,
            errors_5xx=max(0, self.errors_5xx - earlier.errors_5xx),
            p50_ms=quantile(bins, 0.50),
            p99_ms=quantile(bins, 0.99),
            active=self.active,
            latencies=tuple(bin_ for bin_ in bins if bin_.count),
            outcomes=outcomes,
        )


def quantile(bins: tuple[Bin, ...], share: float) -> float:
    """Linear inside the bin in which the share is reached; nan without answers."""
    total = sum(bin_.count for bin_ in bins)
    if not total:
        return math.nan
    wanted, passed = share * total, 0
    for bin_ in sorted(bins, key=lambda b: b.low):
        if bin_.count and passed + bin_.count >= wanted:
            return bin_.low + bin_.width * (wanted - passed) / bin_.count
        passed += bin_.count
    raise AssertionError("a share is at most 1")
