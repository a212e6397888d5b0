"""`python -m conveyor.sdk.pickled --files JSON --report FILE --trusted DIGEST`: unpickles a model that an MLflow client
logged, scores its input example, and says in which form Conveyor would serve it. Nothing else of Conveyor unpickles.

It runs in the project's environment, in a process that ends with its work. Bytes that are not trusted are not loaded.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import pickle
import resource
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from blake3 import blake3

from conveyor.domain import wire
from conveyor.domain.pickle_trial import Loaded
from conveyor.errors import ConveyorError, InputRejected

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Rows = npt.NDArray[np.float64]

Files = Mapping[str, str]
_SHOWN, _TOLD = 5, 400
_MOST_WRITTEN = 1 << 28  # bytes of any file
_PR_SET_PDEATHSIG = 1
_AGAIN = "Log it again with mlflow.sklearn."


def tried(files: Files, trusted: frozenset[str]) -> Loaded:
    """Runs whatever code is in the pickle. `files`: where each of the model's lies. MemoryError is the caller's."""
    try:
        about = _about(files)
        raw = _bytes(files, _pickled(about))
        if (digest := blake3(raw).hexdigest()) not in trusted:
            return Loaded(f"its pickle ({digest[:12]}) is not among those that an admin trusts")
    except (ConveyorError, OSError) as error:
        return Loaded(_clause(error))
    try:
        model = pickle.loads(raw)
    except MemoryError:
        raise
    except Exception as error:
        return Loaded(f"it cannot be loaded in the project's environment: {_clause(error)}")
    found = Loaded(kind=f"{type(model).__module__}.{type(model).__qualname__}"[:_TOLD])
    if not callable(getattr(model, "predict", None)):
        return replace(found, problem=f"it holds a {found.kind}, which has no `predict`")
    try:
        return _scored(found, model, *_example(files, about))
    except MemoryError:
        raise
    except Exception as error:
        return replace(found, problem=f"it loads, but does not score its input example: {_clause(error)}")


def _scored(found: Loaded, model: Any, names: tuple[str, ...], rows: Rows | None) -> Loaded:
    import numpy as np

    if rows is None:
        return replace(found, unserved="no input example was logged")
    given: Any = rows
    if hasattr(model, "feature_names_in_"):
        given = _frame(names, rows)
    answered = np.asarray(model.predict(given))
    found = replace(found, rows=len(rows))
    if len(answered) != len(rows):
        return replace(found, problem=f"it gives {len(answered)} scores for the {len(rows)} rows of its example")
    if np.issubdtype(answered.dtype, np.number):
        scores = np.asarray(answered, dtype=np.float64).reshape(len(rows), -1)[:, 0]
        if not np.isfinite(scores).all():
            return replace(found, problem="a score of its input example is not a finite number")
        found = replace(found, scores=tuple(float(value) for value in scores[:_SHOWN]))
    return _served(found, model, names, rows)


def _frame(names: tuple[str, ...], rows: Rows) -> Any:
    """As MLflow gives it to the model, where pandas is installed."""
    try:
        import pandas
    except ImportError:
        import polars as pl

        return pl.DataFrame(dict(zip(names, rows.T, strict=True)))
    return pandas.DataFrame(rows, columns=list(names))


def _served(found: Loaded, model: Any, names: tuple[str, ...], rows: Rows) -> Loaded:
    """The form that passes parity on the example; that there is none is no problem of the pickle."""
    try:
        import polars as pl

        from conveyor.sdk.served import as_served

        served = as_served(model, pl.DataFrame(dict(zip(names, rows.T, strict=True))), names)
    except MemoryError:
        raise
    except Exception as error:  # what converts is a third party's, and so is what it converts
        return replace(found, unserved=_clause(error))
    return replace(found, form=served.form, parity=served.parity)


def _about(files: Files) -> Mapping[str, Any]:
    try:
        about = yaml.safe_load(_bytes(files, "MLmodel"))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InputRejected(f"its MLmodel cannot be read: {_clause(error)}", hint=_AGAIN) from error
    if not isinstance(about, dict):
        raise InputRejected("its MLmodel says nothing", hint=_AGAIN)
    return about


def _pickled(about: Mapping[str, Any]) -> str:
    flavors = about.get("flavors")
    flavor = flavors.get("sklearn") if isinstance(flavors, dict) else None
    name = flavor.get("pickled_model") if isinstance(flavor, dict) else None
    if not isinstance(name, str):
        raise InputRejected("its MLmodel names no pickled model of the sklearn flavour", hint=_AGAIN)
    return name


def _example(files: Files, about: Mapping[str, Any]) -> tuple[tuple[str, ...], Rows | None]:
    """Column names and numbers of the logged input example: a frame, or an array of two dimensions."""
    import numpy as np

    info = about.get("saved_input_example_info")
    name = info.get("artifact_path") if isinstance(info, dict) else None
    if not isinstance(name, str):
        return (), None
    said = json.loads(_bytes(files, name))
    named = said.get("columns") if isinstance(said, dict) else None
    content = said.get("data", said.get("inputs")) if isinstance(said, dict) else said
    rows = np.asarray(content, dtype=np.float64)
    if rows.ndim != 2 or not rows.size:
        raise InputRejected("it is no table of numbers", hint="Log rows of numbers as the example.")
    names = tuple(map(str, named)) if named else tuple(f"x{number}" for number in range(rows.shape[1]))
    if len(names) != rows.shape[1]:
        raise InputRejected("its columns and its data differ in number", hint="Log rows of numbers as the example.")
    return names, rows


def _bytes(files: Files, name: str) -> bytes:
    if name not in files:
        raise InputRejected(f"there is no file {name[:200]!r} in it", hint=_AGAIN)
    return Path(files[name]).read_bytes()


def _clause(error: Exception) -> str:
    said = error.message if isinstance(error, ConveyorError) else f"{type(error).__name__}: {error}"
    return " ".join(said.split())[:_TOLD]


def _confine(memory_mb: int, seconds: float, parent: int) -> None:
    """Limits of memory, processor and files, and an end with the process that waits for it."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        most = int(statm.read_text().split()[0]) * resource.getpagesize() + memory_mb * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # Threads count together: as many processors as there are may work for all of the time.
    cpu = int(seconds * (os.cpu_count() or 1)) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MOST_WRITTEN, _MOST_WRITTEN))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if os.getppid() != parent:
        os._exit(1)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m conveyor.sdk.pickled", description="Load a trusted pickle.")
    parser.add_argument("--files", type=Path, required=True, help="path in the model -> path here, as JSON")
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--trusted", action="append", default=[], metavar="BLAKE3")
    parser.add_argument("--memory-mb", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--parent", type=int, required=True)
    given = parser.parse_args(argv)
    import numpy  # noqa: F401 - its memory is not the model's

    files = json.loads(given.files.read_bytes())
    _confine(given.memory_mb, given.seconds, given.parent)
    try:
        found = tried(files, frozenset(given.trusted))
    except MemoryError:
        print("MemoryError", file=sys.stderr)
        return 3
    given.report.write_bytes(wire.to_json(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
