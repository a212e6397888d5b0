"""kill -9 at random moments of add, gc and push: what was committed is whole, and the next run goes on.

CONVEYOR_KILLS says how many moments (30).
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from conveyor.stores.data.local import LocalBackend
from conveyor.stores.data.store import DataStore
from conveyor.stores.data.verify import verify

from .folders import read, stored, write

_KILLS = int(os.environ.get("CONVEYOR_KILLS", "30"))
_COMMANDS = {"add": ["add", "images"], "gc": ["gc", "--grace", "0s"], "push": ["push", "images"]}


class Site:
    """A store, a working folder and a remote, worked on by the command line; `known` is what each version must have."""

    def __init__(self, place: Path, seed: int) -> None:
        self.place = place
        self.random = random.Random(seed)
        self.files = {f"{n % 5}/{n:03d}.bin": self.random.randbytes(2000) for n in range(300)}
        self.known: dict[int, dict[str, bytes]] = {}
        self.seconds: dict[str, float] = {}
        self.change()
        self.run("add", "images", str(place / "in"))
        self.run("push", "images", "--to", str(place / "remote"))
        self.learn()

    def change(self) -> None:
        for number in self.random.sample(range(300), 40):
            self.files[f"{number % 5}/{number:03d}.bin"] = self.random.randbytes(self.random.randrange(4000))
        self.files["large.bin"] = self.random.randbytes(3_000_000)
        write(self.place / "in", self.files)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        command = [str(Path(sys.executable).with_name("conveyor")), "data", *words]
        environment = {**os.environ, "CONVEYOR_HOME": str(self.place / "home")}
        return subprocess.Popen(
            command, env=environment, cwd=self.place, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )

    def run(self, *words: str) -> None:
        begun = time.monotonic()
        process = self.start(*words)
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said.decode()
        self.seconds.setdefault(words[0], time.monotonic() - begun)

    def killed(self, *words: str) -> None:
        process = self.start(*words)
        time.sleep(self.random.uniform(0.3, 1.1) * self.seconds.get(words[0], 0.6))
        process.kill()
        process.communicate()

    def store(self, remote: bool = False) -> DataStore:
        data = self.place / "remote" if remote else self.place / "home" / "data"
        return DataStore(LocalBackend(data), self.place / "looking")

    def learn(self) -> None:
        """A version that appeared has what the folder had when it was made."""
        store = self.store()
        for number in range(max(self.known, default=0) + 1, store.versions.newest("default", "images") + 1):
            self.known[number] = dict(self.files)
        store.close()

    def check(self) -> None:
        for remote in (False, True):
            store = self.store(remote)
            report = verify(store).report
            assert report.damages == []
            newest = store.versions.newest("default", "images")
            assert newest if remote else newest == max(self.known)
            for number in {newest, self.random.randint(1, newest)}:
                version = store.versions.get("default", "images", number)
                if version.removed is None:
                    assert stored(store, version) == self.known[number]
            store.close()

    def remove_one(self) -> None:
        store = self.store()
        newest = store.versions.newest("default", "images")
        living = [n for n in range(1, newest) if store.versions.get("default", "images", n).removed is None]
        if len(living) > 3:
            store.versions.remove(store.versions.get("default", "images", living[0]), datetime.now(UTC))
        store.close()


@pytest.mark.timeout(900)
def test_nothing_committed_is_lost_by_a_kill(tmp_path: Path) -> None:
    site = Site(tmp_path, seed=int(os.environ.get("CONVEYOR_KILL_SEED", "7")))
    for kill in range(_KILLS):
        what = ("add", "gc", "push")[kill % 3]
        if what == "add":
            site.change()
        if what == "gc":
            site.remove_one()
        site.killed(*_COMMANDS[what])
        site.learn()
        site.check()
    site.change()
    for what in ("add", "gc", "push"):
        site.run(*_COMMANDS[what])
        site.learn()
    site.check()
    assert read(tmp_path / "in") == site.files
    leftovers = list((tmp_path / "home" / "data" / "tmp").iterdir())
    assert len(leftovers) <= _KILLS
