"""What must run and how traffic is split, carried out: level-triggered, so that a crash is a later observation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from conveyor.delivery.targets import Target, program
from conveyor.domain.routing import Cluster, ClusterHealth, ClusterStats, Route, Routing, Weighted
from conveyor.domain.state import Instance
from conveyor.effects.envoy import Envoy
from conveyor.effects.ports import free_port
from conveyor.effects.processes import Processes, ProcessInfo
from conveyor.engine.context import Context
from conveyor.stores.collections import INSTANCES
from conveyor.stores.records import Transaction

_TAIL = 400  # characters of a log that an error quotes


@dataclass(frozen=True, slots=True)
class Wanted:
    """One environment's wish: these targets run, and `percent` of the traffic of changed ones goes to `new`."""

    environment: str
    old: dict[str, Target]
    new: dict[str, Target]
    percent: int
    hosts: tuple[str, ...]

    @property
    def targets(self) -> list[Target]:
        return list({t.cluster: t for t in (*self.old.values(), *self.new.values())}.values())

    def routes(self) -> Iterable[Route]:
        for name in sorted({*self.old, *self.new}):
            old, new = self.old.get(name), self.new.get(name)
            weighted = tuple(
                Weighted(target.cluster, weight, target.version) for target, weight in _shares(old, new, self.percent)
            )
            prefix = (new or old or next(iter(self.new.values()))).prefix
            for host in self.hosts if weighted else ():
                yield Route(host, prefix, weighted)


def _shares(old: Target | None, new: Target | None, percent: int) -> list[tuple[Target, int]]:
    """A target that only one release has gets all its traffic there, as long as that release has any."""
    if new is not None and old is not None and new.cluster == old.cluster:
        return [(new, 100)]
    if old is None:
        return [(new, 100)] if new is not None and percent > 0 else []
    if new is None:
        return [(old, 100)] if percent < 100 else []
    return [(target, weight) for target, weight in ((old, 100 - percent), (new, percent)) if weight]


@dataclass(frozen=True, slots=True)
class Observed:
    processes: dict[str, ProcessInfo]
    clusters: dict[str, ClusterHealth]
    stats: dict[str, ClusterStats]
    routes: str | None


class World:
    """Processes under supervisord and the proxy before them."""

    def __init__(self, context: Context, processes: Processes, envoy: Envoy) -> None:
        self._context = context
        self._processes = processes
        self._envoy = envoy
        self._version = ""
        self._ensured: set[str] = set()

    def observe(self, clusters: Iterable[str]) -> Observed:
        return Observed(
            self._processes.list(), self._envoy.clusters(), self._envoy.stats(clusters), self._envoy.applied_routes()
        )

    def follows(self, observed: Observed) -> bool:
        """Whether the proxy follows what was asked of it last."""
        return bool(self._version) and observed.routes == self._version

    def converge(self, wanted: list[Wanted]) -> bool:
        """One turn towards the wish; True once nothing is left to do."""
        targets = {target.cluster: target for want in wanted for target in want.targets}
        instances = self._instances(targets)
        running = self._processes.list()
        for instance in instances:
            self._ensure(targets[instance.cluster], instance, running.get(instance.id))
        ports: dict[str, list[int]] = {}
        for instance in instances:
            ports.setdefault(instance.cluster, []).append(instance.port)
        clusters = tuple(Cluster(name, tuple(ports[name]), targets[name].health) for name in sorted(ports))
        routes = tuple(route for want in wanted for route in want.routes())
        self._version = self._envoy.apply(Routing(clusters, routes))
        return self._remove({instance.id for instance in instances}, running)

    def crashed(self, target: Target, observed: Observed) -> str:
        """What a target's process said when it could not be kept running; empty while there is hope."""
        for replica in range(target.replicas):
            name = f"{target.cluster}-{replica}"
            info = observed.processes.get(name)
            if info is not None and info.state in ("FATAL", "BACKOFF", "EXITED"):
                return f"its process ended with exit code {info.exit}: {self._tail(name)}"
        return ""

    def _instances(self, targets: dict[str, Target]) -> list[Instance]:
        """The record of every process that is wanted, with a port that it keeps."""
        with self._context.records.read() as tx:
            known = {instance.id: instance for instance in tx.find(INSTANCES, limit=10_000)}
        wanted = {
            f"{target.cluster}-{replica}": (target, replica)
            for target in targets.values()
            for replica in range(target.replicas)
        }
        fresh = [self._new(id_, target, replica) for id_, (target, replica) in wanted.items() if id_ not in known]
        if fresh:
            with self._context.transaction() as tx:
                for instance in fresh:
                    tx.put(INSTANCES, instance)
        return [*(known[id_] for id_ in wanted if id_ in known), *fresh]

    def _new(self, id_: str, target: Target, replica: int) -> Instance:
        now = self._context.clock.now()
        return Instance(id_, f"{target.environment}/{target.name}", target.cluster, replica, free_port(), now)

    def _ensure(self, target: Target, instance: Instance, info: ProcessInfo | None) -> None:
        if info is not None and instance.id in self._ensured and info.state not in ("STOPPED", "STOPPING"):
            return
        for variable, value in target.env.items():
            if value.startswith("sqlite:////") and variable == (target.service.database if target.service else None):
                Path(value.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        self._processes.ensure(program(self._context, target, instance))
        self._ensured.add(instance.id)

    def _remove(self, wanted: set[str], running: dict[str, ProcessInfo]) -> bool:
        """Ends what nothing refers to any more; without waiting for it."""
        with self._context.records.read() as tx:
            surplus = [instance.id for instance in tx.find(INSTANCES, limit=10_000) if instance.id not in wanted]
        done = [id_ for id_ in surplus if self._gone(id_, running.get(id_))]
        if done:
            with self._context.transaction() as tx:
                self._forget(tx, done)
        return len(done) == len(surplus)

    def _gone(self, id_: str, info: ProcessInfo | None) -> bool:
        self._ensured.discard(id_)
        if info is not None and info.pid is not None:
            if info.state != "STOPPING":
                self._processes.stop(id_)
            return False
        self._processes.remove(id_)
        return True

    def _forget(self, tx: Transaction, ids: list[str]) -> None:
        for id_ in ids:
            tx.delete(INSTANCES, id_)

    def _tail(self, name: str) -> str:
        path = self._context.settings.logs / "processes" / f"{name}.log"
        if not path.exists():
            return "it wrote no log"
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            return file.read().decode(errors="replace").strip()
