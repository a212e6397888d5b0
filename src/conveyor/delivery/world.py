"""What must run and how traffic is split, carried out: level-triggered, so that a crash is a later observation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from conveyor.delivery.mending import Mending
from conveyor.delivery.targets import Target, program
from conveyor.domain.environment import path
from conveyor.domain.proxy import ProxyStats
from conveyor.domain.routing import ANY_HOST, Cluster, ClusterHealth, ClusterStats, Route, Routing, Weighted
from conveyor.domain.state import Instance
from conveyor.effects.envoy import Envoy
from conveyor.effects.ports import free_port
from conveyor.effects.probe import ask
from conveyor.effects.processes import Processes, ProcessInfo
from conveyor.effects.sockets import socket_path
from conveyor.effects.usage import listening, resident_mb
from conveyor.engine.context import Context
from conveyor.stores.collections import INSTANCES
from conveyor.stores.records import Transaction

_TAIL = 400  # characters of a log that an error quotes
_ASK_SECONDS = 1.0  # for an answer to a question that the whole loop waits for


@dataclass(frozen=True, slots=True)
class Wanted:
    """One environment's wish: these targets run, and `percent` of the traffic of changed ones goes to `new`.

    `taken_over`: of workers of which only one version may run, it is the new one. `shadow`: these targets of `new` get
    a copy of the requests that `old` answers.
    """

    environment: str
    old: dict[str, Target]
    new: dict[str, Target]
    percent: int
    hosts: tuple[str, ...]
    taken_over: bool = False
    shadow: frozenset[str] = frozenset()
    rollout: str = ""  # its id, while one is open

    @property
    def targets(self) -> list[Target]:
        found = [target for target in self.old.values() if not (self._ends(target) and self.taken_over)]
        for target in self.new.values():
            waits = not target.overlaps and target.name in self.old and not self.taken_over
            found += [] if waits and self.old[target.name].cluster != target.cluster else [target]
        return list({target.cluster: target for target in found}.values())

    def _ends(self, old: Target) -> bool:
        """A worker's old version ends when the new release takes over: there are no requests to keep it warm for."""
        new = self.new.get(old.name)
        return not old.prefix and (new is None or new.cluster != old.cluster)

    def routes(self) -> Iterable[Route]:
        for name in sorted({*self.old, *self.new}):
            old, new = self.old.get(name), self.new.get(name)
            target = new or old
            if target is None or not target.prefix:
                continue
            weighted = tuple(
                Weighted(target.cluster, weight, target.version) for target, weight in _shares(old, new, self.percent)
            )
            mirror = new.cluster if new is not None and old is not None and name in self.shadow else None
            places = [(host, target.prefix) for host in self.hosts]
            if target.model is not None:
                places.append((ANY_HOST, path(self.environment) + target.prefix))
            for host, prefix in places if weighted else ():
                yield Route(
                    host,
                    prefix,
                    weighted,
                    mirror=mirror,
                    mirrors_all=target.model is not None,
                    pairs=self.rollout if mirror and target.model is not None else "",
                    idle=target.idle.total_seconds(),
                    sticky=target.rollout.sticky or "",
                    rewrite="" if prefix == target.prefix else target.prefix,
                )


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
    proxy: ProxyStats
    routes: str | None

    @property
    def stats(self) -> dict[str, ClusterStats]:
        return self.proxy.clusters


class World:
    """Processes under supervisord and the proxy before them."""

    def __init__(self, context: Context, processes: Processes, envoy: Envoy) -> None:
        self._context = context
        self._processes = processes
        self._envoy = envoy
        self._version = ""
        self._ensured: set[str] = set()
        self._mending = Mending(context, processes, envoy)

    def observe(self, clusters: Iterable[str]) -> Observed:
        return Observed(
            self._processes.list(), self._envoy.clusters(), self._envoy.look(clusters), self._envoy.applied_routes()
        )

    def follows(self, observed: Observed) -> bool:
        """Whether the proxy follows what was asked of it last."""
        return bool(self._version) and observed.routes == self._version

    def converge(self, wanted: list[Wanted]) -> bool:
        """One turn towards the wish; True once nothing is left to do."""
        targets = {target.cluster: target for want in wanted for target in want.targets}
        instances = self._instances(targets)
        running = self._processes.list()
        alone = True
        self._mending.proxy()
        for instance in instances:
            target = targets[instance.cluster]
            if not target.overlaps and self._others_run(target, running):
                alone = False
            else:
                self._ensure(target, instance, running.get(instance.id))
        places: dict[str, list[int | str]] = {}
        for instance in instances:
            if targets[instance.cluster].prefix:
                places.setdefault(instance.cluster, []).append(instance.socket or instance.port)
        clusters = tuple(Cluster(name, tuple(places[name]), targets[name].health) for name in sorted(places))
        routes = tuple(route for want in wanted for route in want.routes())
        self._version = self._envoy.apply(Routing(clusters, routes))
        done = self._remove({instance.id for instance in instances}, running)
        self._mending.tell()
        return done and alone

    def up(self, target: Target, observed: Observed) -> int:
        """How many of its processes have stayed up for a second."""
        names = (f"{target.cluster}-{replica}" for replica in range(target.replicas))
        return sum(name in observed.processes and observed.processes[name].state == "RUNNING" for name in names)

    def crashed(self, target: Target, observed: Observed, since: datetime | None) -> str:
        """What a target's process said when it ended by itself; empty while all is well.

        With `since`, one that was started again after that moment has ended too, however well it runs now.
        """
        for replica in range(target.replicas):
            name = f"{target.cluster}-{replica}"
            info = observed.processes.get(name)
            if info is None:
                continue
            if info.state in ("FATAL", "BACKOFF", "EXITED"):
                return f"its process ended with exit code {info.exit}: {self._tail(name)}"
            if since is not None and info.started_at is not None and info.started_at > since:
                said = self._tail(name)
                return f"its process ended and had to be started again{': ' + said if said else ''}"
        return ""

    def memory(self, target: Target, observed: Observed) -> str:
        """What the hungriest of its processes uses, where that is more than it may."""
        if target.memory_mb is None:
            return ""
        pids = [observed.processes[name].pid for name in self._names(target) if name in observed.processes]
        used = max((resident_mb(pid) for pid in pids if pid is not None), default=0)
        return f"uses {used} MB of memory, more than its {target.memory_mb} MB" if used > target.memory_mb else ""

    def deaf(self, target: Target, observed: Observed) -> str:
        """Why a process that runs does not become healthy, as far as can be seen; asked at the end of its time."""
        for instance in self._instances({target.cluster: target}):
            info = observed.processes.get(instance.id)
            ports = listening(info.pid) if info is not None and info.pid is not None else ()
            if ports and instance.port not in ports:
                heard = ", ".join(map(str, ports))
                return f"; it listens on port {heard}, not on $PORT, which is {instance.port}"
            if info is not None and info.pid is not None and not ports:
                return "; it listens on no port yet"
            if ports and (said := ask(instance.port, target.health, _ASK_SECONDS)):
                return f"; {said}"
        return ""

    def _names(self, target: Target) -> list[str]:
        return [f"{target.cluster}-{replica}" for replica in range(target.replicas)]

    def _others_run(self, target: Target, running: dict[str, ProcessInfo]) -> bool:
        """Whether a process of another version of it still runs."""
        with self._context.records.read() as tx:
            same = tx.find(INSTANCES, where={"target": f"{target.environment}/{target.name}"}, limit=1000)
        others = (running.get(instance.id) for instance in same if instance.cluster != target.cluster)
        return any(info is not None and info.pid is not None for info in others)

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
        now, port = self._context.clock.now(), free_port()
        socket = str(socket_path(self._context.settings.run, f"{port}.sock")) if target.model else ""
        return Instance(id_, f"{target.environment}/{target.name}", target.cluster, replica, port, now, socket)

    def _ensure(self, target: Target, instance: Instance, info: ProcessInfo | None) -> None:
        for variable, value in target.env.items():
            if value.startswith("sqlite:////") and target.process and variable == target.process.database:
                Path(value.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        mended = self._processes.hold(program(self._context, target, instance), info)
        if mended and instance.id in self._ensured:
            self._mending.note(f"process/{instance.id}", "it had been stopped, or its program file changed")
        self._ensured.add(instance.id)

    def _remove(self, wanted: set[str], running: dict[str, ProcessInfo]) -> bool:
        """Ends what nothing refers to any more; without waiting for it."""
        with self._context.records.read() as tx:
            known = {instance.id: instance for instance in tx.find(INSTANCES, limit=10_000)}
        surplus = [id_ for id_ in known if id_ not in wanted]
        alone = self._mending.strays(running, list(known))
        done = [id_ for id_ in surplus if self._gone(id_, running.get(id_))]
        for socket in {known[id_].socket for id_ in done} - {known[id_].socket for id_ in known.keys() & wanted}:
            if socket:
                Path(socket).unlink(missing_ok=True)  # of a process that was killed
        if done:
            with self._context.transaction() as tx:
                self._forget(tx, done)
        return alone and len(done) == len(surplus)

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
