"""The story that `conveyor demo` plays: only what a team would do, and a client that watches. Nothing is mended by
hand."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console

from conveyor.cli import lifecycle
from conveyor.cli.demo import report, scores
from conveyor.cli.demo.days import Day, days
from conveyor.cli.demo.repository import Repository
from conveyor.client import Client
from conveyor.config.settings import Settings
from conveyor.domain.events import Event
from conveyor.domain.narrative import sentence
from conveyor.domain.views import StatusView
from conveyor.errors import ConveyorError, Unavailable

_SEED_DAYS = 17  # labels are then known for 10: a week to train on, three days to be scored on
_DELAY_DAYS = 7
_DAY_SECONDS = 1.0
_DRIFT = 2.0
_PROJECT, _MODEL = "shop", "fraud"
_TOLD = (
    "code.pushed", "project.config_invalid", "data.refused", "data.quarantined",
    "model.version_created", "model.refused",
    "release.created", "rollout.aborted", "rollout.rolled_back", "rollout.completed", "signal.drift", "signal.decay",
    "system.started", "system.recovered", "system.error",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class DemoOptions:
    data: Path | None = None
    weeks: int = 8
    clients: int = 16
    report: Path | None = None
    html: Path | None = None
    workdir: Path | None = None
    keep: bool = False


@dataclass(slots=True)
class Told:
    """What happened, for the report."""

    started: float = field(default_factory=time.monotonic)
    commits: dict[str, str] = field(default_factory=dict)  # what it was -> commit
    served: list[pl.DataFrame] = field(default_factory=list)  # tables as they were served and landed, seed days first
    screened: list[scores.Screened] = field(default_factory=list)
    drifted: list[str] = field(default_factory=list)
    killed: dict[str, Any] = field(default_factory=dict)
    first_live: float = 0.0


def run(options: DemoOptions, console: Console) -> int:
    """Plays the story; 0 when every expectation held."""
    workdir = (options.workdir or Path(tempfile.mkdtemp(prefix="conveyor-demo-"))).resolve()
    workdir.mkdir(parents=True, exist_ok=True)
    console.print(f"Playing in {workdir}; state in {workdir / '.conveyor'}, logs in {workdir / '.conveyor' / 'logs'}.")
    story = Story(options, workdir, console)
    try:
        story.play()
        return story.end()
    except (ConveyorError, KeyboardInterrupt) as error:
        hint = error.hint if isinstance(error, ConveyorError) else ""
        console.print(f"The story stopped: {error or 'interrupted'} {hint}")
        console.print(f"Logs are in {workdir / '.conveyor' / 'logs'}.")
        return 1
    finally:
        story.close()


class Story:
    def __init__(self, options: DemoOptions, workdir: Path, console: Console) -> None:
        self.options = options
        self.workdir = workdir
        self.console = console
        self.told = Told()
        self.settings: Settings
        self.client: Client
        self._traffic: subprocess.Popen[bytes] | None = None
        self._seq = 0
        self._events: list[Event] = []
        self._kill_after: tuple[str, ...] = ()

    # --- the acts

    def play(self) -> None:
        calendar = days(self.options.data, _SEED_DAYS + 7 * self.options.weeks)
        self._say("Starting Conveyor.")
        self.settings = lifecycle.up(self.workdir / ".conveyor")
        self.client = lifecycle.client(self.settings.home)
        seed = [next(calendar) for _ in range(_SEED_DAYS)]
        self._first_push()
        self._seed(seed)
        self._start_traffic()
        waiting = [*seed]
        for number, day in enumerate(calendar):
            self._pushes(number)
            self._day(number, day, waiting)
        # A file that lacks its end may still be being written: it is given a minute, and the story goes on meanwhile.
        self._until("the truncated file to be refused", lambda: bool(self._found("data.refused")), 120)
        self._settle("the last retraining and rollout", 240)

    def end(self) -> int:
        counters = self._stop_traffic()
        self._say("Scoring the frozen first model on the same weeks, then writing the report.")
        first = self.settings.home / "models" / _PROJECT / _MODEL / "1"
        weeks = scores.by_week(self.told.served, self.told.screened, first, _SEED_DAYS)
        self._follow()
        facts = report.gather(self, counters, weeks)
        page = self.options.html or self.workdir / "report.html"
        page.write_text(report.page(facts))
        if self.options.report:
            self.options.report.write_text(json.dumps(facts, indent=2, default=str) + "\n")
        report.show(facts, self.console)
        self.console.print(f"Page with charts: {page}")
        if self.options.keep:
            self.console.print(f"Still running; dashboard: {self.settings.api_url} (token: {self.settings.token_file})")
        return 0 if all(held for _, held in facts["expectations"]) else 1

    def close(self) -> None:
        """Ends what it started, however it ended."""
        if self._traffic is not None and self._traffic.poll() is None:
            self._traffic.kill()
            self._traffic.wait()
        if not self.options.keep and (self.workdir / ".conveyor" / "settings.json").exists():
            lifecycle.down(self.workdir / ".conveyor")

    def _first_push(self) -> None:
        token = self.settings.token_file.read_text().strip()
        remote = f"http://conveyor:{token}@{self.settings.host}:{self.settings.api_port}/git/{_PROJECT}.git"
        self.repository = Repository(self.workdir / _PROJECT, remote)
        self.told.commits["first"] = self.repository.create()
        self._say("Pushing the shop: its environment is built, its tests run.")
        self.repository.push()
        self._until("the first build", lambda: bool(self._found("build.ready")), 300)

    def _seed(self, seed: list[Day]) -> None:
        self._say(f"Landing the first {len(seed)} days; labels come {_DELAY_DAYS} days late.")
        for day in seed:
            day.land(self.workdir / "incoming")
            self.told.served.append(day.table)
        self._until("the first release", lambda: bool(self._found("rollout.completed")), 240)
        self.told.first_live = time.monotonic() - self.told.started
        for place, day in enumerate(seed):
            self._post("/settlements", day.columns())
            if place < len(seed) - _DELAY_DAYS:
                self._post("/settlements", day.labels())

    def _pushes(self, number: int) -> None:
        """What the team pushes, and what goes wrong, on stated days of the scoring period."""
        repository, commits = self.repository, self.told.commits
        if number in (3, 17, 38):
            commits[f"good {number}"] = repository.change_page(f"Shop, day {number}")
        elif number == 10:
            commits["cannot start"] = repository.break_start()
        elif number == 24:
            commits["answers 500"] = repository.break_answers()
        else:
            return
        repository.push()
        commit = next(reversed(commits.values()))
        self._until(f"the outcome of push {commit[:8]}", lambda: self._rolled(commit), 120)
        if number in (10, 24):
            repository.revert()

    def _day(self, number: int, day: Day, waiting: list[Day]) -> None:
        started = time.monotonic()
        week = number // 7 + 1
        if week == self.options.weeks - 1:
            if not self.told.drifted:
                self._say(f"INJECTED: from {day.name} on, for a week, every amount is {_DRIFT:g} times as large.")
            self.told.drifted.append(day.name)
            day = day.drifted(_DRIFT)
        self._payments(day)
        answer = self._post("/screen", day.columns())
        screened = scores.Screened(week, answer["transaction_id"], answer["score"], answer["model_version"])
        self.told.screened.append(screened)
        self.told.served.append(day.table)
        self._post("/settlements", day.columns())
        waiting.append(day)
        self._post("/settlements", waiting[-1 - _DELAY_DAYS].labels())
        day.land(self.workdir / "incoming")
        if number == 13:
            self._bad_data(day)
        # The shop goes on with its next day while this one is taken in, but never more than a day ahead.
        before = waiting[-2].name
        self._until(f"day {before} to be taken in", lambda: self._taken(f"{before}.parquet"), 60)
        time.sleep(max(0.0, _DAY_SECONDS - (time.monotonic() - started)))
        self._kill_after = ("train",) if number >= 7 * self.options.weeks // 2 else ()
        if week == self.options.weeks and not self.told.killed:
            self._kill_after = ("train", "ingest")
            self._until("the control plane to be killed at work", self._struck, 60)
        self._settle(f"day {day.name}", 240)

    def _bad_data(self, day: Day) -> None:
        self._say("Landing a truncated file, and one with negative amounts in some rows.")
        incoming = self.workdir / "incoming"
        whole = incoming / f"{day.name}.parquet"
        (incoming / "truncated.parquet").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        fresh = day.table.head(50).with_columns(pl.col("TRANSACTION_ID") + 100_000_000)
        amount = pl.when(pl.int_range(pl.len()) < 5).then(-1.0).otherwise(pl.col("TX_AMOUNT"))
        Day("negative", fresh.with_columns(TX_AMOUNT=amount)).land(incoming)
        self._until("the negative amounts to be quarantined", lambda: bool(self._found("data.quarantined")), 60)

    def _struck(self) -> bool:
        """Kills the control plane once, as soon as it is seen at work of the kinds that are waited for."""
        if self._kill_after and not self.told.killed:
            status = self.client.status()
            if any(run.kind in self._kill_after for run in status.runs):
                self._kill(status)
        return bool(self.told.killed)

    def _kill(self, status: StatusView) -> None:
        pid = next(process.pid for process in status.processes if process.name == "control")
        flying = [f"{run.kind} {run.id}" for run in status.runs]
        self._say(f"kill -9 of the control plane (pid {pid}), in flight: {', '.join(flying)}.")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        started = time.monotonic()
        self._until("the control plane to be back", lambda: bool(self.client.projects()), 60)
        seconds = round(time.monotonic() - started, 2)
        self.told.killed = {"pid": pid, "in_flight": [run.id for run in status.runs], "back_after_seconds": seconds}
        self._say(f"The control plane is back after {seconds:g} s.")

    # --- traffic

    def _start_traffic(self) -> None:
        self._say(f"Live traffic from {self.options.clients} clients begins.")
        self._counters = self.workdir / "traffic.json"
        self._payments_file = self.workdir / "payments.json"
        words = (self.settings.public_port, self.options.clients, self._payments_file, self._counters)
        self._traffic = subprocess.Popen([sys.executable, "-m", "conveyor.cli.demo.traffic", *map(str, words)])

    def _payments(self, day: Day) -> None:
        temporary = self._payments_file.with_suffix(".new")
        temporary.write_text(json.dumps(day.payments(5000)))
        temporary.replace(self._payments_file)

    def _stop_traffic(self) -> dict[str, Any]:
        assert self._traffic is not None
        self._traffic.send_signal(signal.SIGTERM)
        self._traffic.wait(timeout=60)
        counters: dict[str, Any] = json.loads(self._counters.read_text())
        return counters

    def _post(self, path: str, body: dict[str, list[object]]) -> Any:
        """One of the shop's own batch jobs, through the public port; not retried."""
        request = urllib.request.Request(
            self.settings.public_url + path, json.dumps(body).encode(), {"content-type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.loads(response.read())
        except OSError as error:
            hint = "A nightly job of the shop lost its request."
            raise Unavailable(f"POST {path} failed: {error}", hint=hint) from error

    # --- watching

    def _settle(self, what: str, seconds: float) -> None:
        """The calendar waits: time is compressed, trainings and rollouts are not."""
        self._until(f"{what} to settle", self._quiet, seconds)

    def _quiet(self) -> bool:
        self._struck()
        status = self.client.status()
        busy = any(run.kind in ("train", "build") for run in status.runs)
        return not busy and not any(environment.rollout for environment in status.environments)

    def _taken(self, file: str) -> bool:
        newest = self.client.arrivals(_PROJECT, "transactions", 50)
        return any(arrival.file == file and arrival.state == "taken" for arrival in newest)

    def _rolled(self, commit: str) -> bool:
        """The push has its outcome: live and drained, or rolled back."""
        releases = [e.data["release"] for e in self._found("release.created") if e.data["commit"] == commit]
        ends = ("rollout.completed", "rollout.rolled_back")
        return any(e.type in ends and e.data["release"] in releases for e in self._events)

    def _found(self, type_: str) -> list[Event]:
        return [event for event in self._events if event.type == type_]

    def _until(self, what: str, holds: Callable[[], object], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                self._follow()
                if holds():
                    return
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
            if time.monotonic() > deadline:
                last = "; ".join(sentence(event) for event in self._events[-5:])
                raise Unavailable(f"{what} did not come within {seconds:g} s", hint=f"The last events: {last}")
            time.sleep(0.15)

    def _follow(self) -> None:
        while page := self.client.events(after=self._seq, limit=500):
            self._seq = page[-1].seq
            self._events += page
            for event in page:
                told = event.type in _TOLD or (event.type == "governor.decided" and event.data["train"])
                if told:
                    self._say(textwrap.shorten(sentence(event), 200, placeholder=" …"))

    @property
    def events(self) -> list[Event]:
        return self._events

    def _say(self, text: str) -> None:
        self.console.print(f"[dim]{time.monotonic() - self.told.started:6.1f} s[/dim]  {_plain(text)}", highlight=False)


def _plain(text: str) -> str:
    return text.replace("[", "(").replace("]", ")")
