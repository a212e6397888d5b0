"""Puts datasets of files into folders, then becomes a command that reads them there.

`python -I -m conveyor.stores.data.unfold HOME URL OUT [FOLDER ROOT]... -- COMMAND ...`, in the process of a step: what
takes long takes the step's time, and ends when the step is ended. `OUT/error.json` says why it could not be done.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from conveyor.errors import ConveyorError
from conveyor.stores.data.checkout import unfold
from conveyor.stores.data.opening import open_store

_FAILED = 1


def unfolding(home: Path, url: str, trees: Mapping[str, str], out: Path, command: Sequence[str]) -> tuple[str, ...]:
    """The argv that puts each tree (folder -> root) in its place, and then runs `command`."""
    pairs = (word for pair in trees.items() for word in pair)
    here = (sys.executable, "-I", "-m", "conveyor.stores.data.unfold", str(home), url, str(out))
    return (*here, *pairs, "--", *command)


def main(words: Sequence[str]) -> int:
    split = words.index("--")
    home, url, out = words[:3]
    store = open_store(Path(home), url)
    try:
        for folder, root in zip(words[3:split:2], words[4:split:2], strict=True):
            unfold(store, bytes.fromhex(root), Path(folder))
    except ConveyorError as error:
        from conveyor.domain import wire
        from conveyor.domain.step import StepError

        sys.stderr.write(f"{error.message} {error.hint}\n")
        (Path(out) / "error.json").write_bytes(wire.to_json(StepError(error.message, error.hint)))
        return _FAILED
    finally:
        store.close()
    command = list(words[split + 1 :])
    os.execvp(command[0], command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
