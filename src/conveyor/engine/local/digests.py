"""Digests of files and folders of a working folder; a file is read again only when its stat is another."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from blake3 import blake3

from conveyor.engine.local.witness import TICK_NS, Stat, stat_of

NOTHING: Stat = (0, 0, 0, 0)
_SKIPPED = frozenset((".git", ".conveyor", ".venv", "__pycache__", ".dvc"))


class Digests:
    """`seen` has the stat of all that was looked at, as it was before it was looked at."""

    def __init__(self, root: Path, memory: Path) -> None:
        self._root = root
        self._memory = memory
        self._known: dict[str, tuple[Stat, str]] = {}
        self._lock = threading.Lock()
        self.seen: dict[str, Stat] = {}
        try:
            kept = json.loads(memory.read_bytes())
            self._known = {path: ((a, b, c, d), digest) for path, a, b, c, d, digest in kept}
        except (OSError, ValueError, TypeError):
            self._known = {}
        self._changed = False

    def of(self, path: str) -> str:
        """The digest of a file or folder by its path from the root; "" where there is none."""
        place = str(self._root / path)
        files = self.files(path)
        if files is None:
            return ""
        if list(files) == [path] and not Path(place).is_dir():
            return files[path].removesuffix("+x")
        return blake3(json.dumps([[name, digest] for name, digest in files.items()]).encode()).hexdigest()

    def files(self, path: str) -> dict[str, str] | None:
        """Every file of a file or folder, by its path from the root, with its digest; "+x": it can be executed.

        A folder without files is "folder/": "". None where there is nothing.
        """
        place = str(self._root / path)
        stat = self.see(place)
        if stat == NOTHING:
            return None
        if not Path(place).is_dir():
            return {path: self._file(place, stat)}
        found: dict[str, str] = {}
        for folder, folders, names in os.walk(place, followlinks=True):
            self.see(folder)
            folders[:] = sorted(name for name in folders if name not in _SKIPPED)
            for name in sorted(names):
                inner = f"{folder}/{name}"
                if (stat := self.see(inner)) != NOTHING:
                    found[f"{path}{inner[len(place) :]}"] = self._file(inner, stat)
        return found or {f"{path}/": ""}

    def see(self, place: str) -> Stat:
        """The stat of a path, kept for the witness."""
        stat = stat_of(place)
        self.seen[place] = stat
        return stat

    def derived(self, name: str, places: list[str], make: Callable[[], str]) -> str:
        """A digest made of the content of several files and folders; made again when one of their stats is another."""
        stats = [self.see(place) for place in places]
        token = blake3(json.dumps([places, stats]).encode()).hexdigest()
        known = self._known.get(f"{name}\0{token}")
        if known is None:
            known = ((0, 0, 0, 0), make())
            if all(max(stat[1], stat[2]) < time.time_ns() - TICK_NS for stat in stats):
                self._note(f"{name}\0{token}", known)
        return known[1]

    def save(self) -> None:
        if not self._changed:
            return
        rows = [[path, *stat, digest] for path, (stat, digest) in self._known.items()]
        temp = self._memory.with_name(f"{self._memory.name}.{os.getpid()}")
        temp.write_text(json.dumps(rows))
        temp.replace(self._memory)

    def _file(self, place: str, stat: Stat) -> str:
        known = self._known.get(place)
        if known is not None and known[0] == stat:
            return known[1]
        taken = time.time_ns()
        hasher = blake3()
        hasher.update_mmap(place)
        digest = hasher.hexdigest() + ("+x" if os.access(place, os.X_OK) else "")
        if stat_of(place) == stat and max(stat[1], stat[2]) < taken - TICK_NS:
            self._note(place, (stat, digest))
        return digest

    def _note(self, name: str, known: tuple[Stat, str]) -> None:
        with self._lock:
            self._known[name] = known
            self._changed = True
