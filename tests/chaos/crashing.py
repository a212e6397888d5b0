"""The control plane as it is, but that it kills itself (SIGKILL) at a named boundary: `python crashing.py HOME`.

A boundary is a fact that one transaction makes durable: an event, or a step of a run that enters a state.

    HOME/boundaries.txt   every one that was passed, a line each
    HOME/crash.txt        "before FACT" or "after FACT": die around the commit that makes it durable; removed first
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conveyor import start
from conveyor.domain.run import Run
from conveyor.stores.collections import RUNS
from conveyor.stores.records import Records, Transaction

HOME = Path(sys.argv[1])
_steps: dict[tuple[str, str], str] = {}
_facts: list[str] = []
_put, _append, _transaction = Transaction.put, Transaction.append, Records.transaction


def put(self: Transaction, collection: Any, document: Any) -> None:
    _put(self, collection, document)
    if collection is RUNS:
        _facts.extend(_moved(document))


def _moved(run: Run) -> Iterator[str]:
    for step in run.steps:
        if _steps.get((run.id, step.name)) != step.state:
            _steps[run.id, step.name] = step.state
            yield f"step {run.kind} {step.name} {step.state}"


def append(self: Transaction, event: Any) -> Any:
    about = event.data.get("phase") or event.data.get("kind") or ""
    _facts.append(f"event {event.type} {about}".strip())
    return _append(self, event)


@contextmanager
def transaction(self: Records, lease: Any = None) -> Iterator[Transaction]:
    with _transaction(self, lease) as tx:
        mark = len(_facts)
        yield tx
        facts = _facts[mark:]
        _die_at("before", facts)
    with (HOME / "boundaries.txt").open("a") as file:
        file.writelines(f"{fact}\n" for fact in facts)
    _die_at("after", facts)


def _die_at(side: str, facts: list[str]) -> None:
    armed = HOME / "crash.txt"
    if not facts or not armed.exists():
        return
    when, _, fact = armed.read_text().strip().partition(" ")
    if when == side and fact in facts:
        armed.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


Transaction.put = put  # type: ignore[method-assign]
Transaction.append = append  # type: ignore[method-assign]
Records.transaction = transaction  # type: ignore[method-assign]

if __name__ == "__main__":
    start.serve(HOME)
