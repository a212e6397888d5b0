"""What the entry points share: read the spec, do the work, and leave a readable error behind when it fails."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from conveyor.domain import wire
from conveyor.domain.masking import mask
from conveyor.domain.step import StepError
from conveyor.errors import ConveyorError

S = TypeVar("S")


def write(path: Path, raw: bytes) -> None:
    """Whole or not at all: temp + fsync + rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)


def write_json(path: Path, value: Any) -> None:
    write(path, wire.to_json(value))


def run(argv: Sequence[str], spec_type: type[S], work: Callable[[S, Path], None]) -> int:
    """`SPEC.json OUT`: 0 when the work was done, 1 with `OUT/error.json` when not, 2 when called wrongly.

    The current folder is the project's source tree: it goes to the front of sys.path, so that `shop.features` imports.
    """
    if len(argv) != 2:
        print("usage: python -m conveyor.sdk.<step|train|evaluate|ingest> SPEC.json OUT", file=sys.stderr)
        return 2
    out = Path(argv[1])
    out.mkdir(parents=True, exist_ok=True)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        work(wire.from_json(Path(argv[0]).read_bytes(), spec_type), out)
    except (Exception, SystemExit) as error:
        return failed(error, out)
    return 0


def failed(error: BaseException, out: Path) -> int:
    """Tells what went wrong, in the log and in `OUT/error.json`; returns the exit code."""
    traceback.print_exception(error)
    said = explain(error, Path.cwd())
    values = [os.environ[name] for name in os.environ.get("CONVEYOR_SECRETS", "").split() if name in os.environ]
    write_json(out / "error.json", StepError(mask(said.message, values), mask(said.hint, values)))
    return 1


def explain(error: BaseException, project: Path) -> StepError:
    """Our own errors speak for themselves; for others the innermost line of the project's own code is named."""
    if isinstance(error, ConveyorError):
        return StepError(error.message, error.hint)
    what = f"{type(error).__name__}: {error}".rstrip(": ")
    at = own_line(error, project)
    if at is None:
        return StepError(what, "The traceback is in the run's log.")
    return StepError(f"{what} ({at})", f"Mend {at.split(' ')[0]}; the whole traceback is in the run's log.")


def own_line(error: BaseException, project: Path) -> str | None:
    """`shop/fraud.py:12 in train`: where, inside the project, the exception came through last."""
    found = None
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        if path.is_relative_to(project) and "site-packages" not in path.parts and ".venv" not in path.parts:
            found = f"{path.relative_to(project)}:{frame.lineno} in {frame.name}"
    return found
