"""Nothing was touched since the last `conveyor run` found everything up to date: told by stats alone.

The witness names every file and folder that the run looked at, with size, times and inode, and the variables that
count. While all of them are as they were, so is the answer, and nothing needs to be read or imported: it is said in
the time of a bare interpreter. A file that was written so shortly before it was looked at that it may have been
written again within the same tick of the file system's clock gets no witness ("racy", as git has it). Standard library
only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence

_FORMAT = 1
TICK_NS = 20_000_000  # the coarsest clock of a local file system is that of the kernel's timer, 10 ms
PROJECT_FILES = ("conveyor.toml", "dvc.yaml")

Stat = tuple[int, int, int, int]
"""Size, mtime, ctime, inode; all 0 for what is not there."""


def stat_of(path: str) -> Stat:
    try:
        found = os.stat(path)  # noqa: PTH116 - pathlib costs more than the look
    except OSError:
        return (0, 0, 0, 0)
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def find_root(start: str) -> str:
    """The folder of the project that `start` is in; "" where there is none."""
    while True:
        if any(os.path.isfile(os.path.join(start, name)) for name in PROJECT_FILES):  # noqa: PTH113, PTH118
            return start
        above = os.path.dirname(start)  # noqa: PTH120
        if above == start:
            return ""
        start = above


def home_of(root: str, env: Mapping[str, str]) -> str:
    """As `config.settings.find_home`, without its imports."""
    if named := env.get("CONVEYOR_HOME"):
        return os.path.realpath(os.path.join(root, os.path.expanduser(named)))  # noqa: PTH111, PTH118
    folder = root
    while True:
        place = os.path.join(folder, ".conveyor")  # noqa: PTH118
        above = os.path.dirname(folder)  # noqa: PTH120
        if os.path.isdir(place):  # noqa: PTH112
            return place
        if above == folder:
            return os.path.join(root, ".conveyor")  # noqa: PTH118
        folder = above


def state_folder(root: str, home: str) -> str:
    """Where the state of a project's local runs is kept."""
    from _blake2 import blake2b  # hashlib would import OpenSSL

    name = f"{os.path.basename(root) or 'root'}-{blake2b(root.encode(), digest_size=6).hexdigest()}"  # noqa: PTH119
    return os.path.join(home, "local", name)  # noqa: PTH118


def write(
    folder: str, words: Sequence[str], said: str, stats: Mapping[str, Stat], env: Mapping[str, str], taken_ns: int
) -> bool:
    """Keeps the answer; False where a file is too young for its stat to be trusted."""
    path = os.path.join(folder, "witness.json")  # noqa: PTH118
    if any(max(stat[1], stat[2]) > taken_ns - TICK_NS for stat in stats.values()):
        forget(folder)
        return False
    rows = [[name, *stat] for name, stat in stats.items()]
    content = {"format": _FORMAT, "words": list(words), "said": said, "env": dict(env), "files": rows}
    temp = f"{path}.{os.getpid()}"
    with open(temp, "w") as file:  # noqa: PTH123
        json.dump(content, file)
    os.replace(temp, path)  # noqa: PTH105
    return True


def forget(folder: str) -> None:
    try:
        os.unlink(os.path.join(folder, "witness.json"))  # noqa: PTH108, PTH118
    except FileNotFoundError:
        return


def still(words: Sequence[str], env: Mapping[str, str]) -> str:
    """What was said last time, where it is known to hold still; "" where it is not."""
    root = find_root(os.getcwd())  # noqa: PTH109
    if not root:
        return ""
    path = os.path.join(state_folder(root, home_of(root, env)), "witness.json")  # noqa: PTH118
    try:
        with open(path) as file:  # noqa: PTH123
            kept = json.load(file)
        if kept["format"] != _FORMAT or kept["words"] != list(words):
            return ""
        if any(env.get(name, "") != value for name, value in kept["env"].items()):
            return ""
        return str(kept["said"]) if _untouched(kept["files"]) else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _untouched(rows: Iterable[list[object]]) -> bool:
    return all(stat_of(str(row[0])) == tuple(row[1:]) for row in rows)
