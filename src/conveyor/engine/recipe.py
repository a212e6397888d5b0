"""A recipe: what one kind of run does. The engine knows how to run steps; recipes know what they are for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from conveyor.config.settings import Settings
from conveyor.domain.run import Run, Step
from conveyor.stores.records import Transaction

OUT = "out"  # the folder in a job's folder whose files become the step's outputs
SPEC = "spec.json"


@dataclass(frozen=True, slots=True)
class Command:
    """What a step runs: `argv`, or a `shell` line. `spec` is written to spec.json in the job's folder before it starts.

    With a `key` the outputs are reused by any later step of the same key. `done`: what it would make is there already,
    so no process is started. `sealed`: the file of its secrets, see `effects.sealed`. `shared`: what a key made is also
    told beside the objects, for all who share the store. `fresh`: it runs even where its outputs are kept.
    """

    argv: tuple[str, ...] = ()
    shell: str = ""
    cwd: Path | None = None
    env: dict[str, str] = field(default_factory=dict)
    key: str | None = None
    spec: bytes = b""
    done: bool = False
    sealed: Path | None = None
    shared: bool = False
    fresh: bool = False


class Recipe(Protocol):
    kind: str
    at_once: int
    """How many steps of this kind may run at once; those that say how many processors they need are not counted."""

    def prepare(self, run: Run, step: Step, job: Path) -> Command:
        """The command of a step that is about to start. Raises ConveyorError: the step fails with its message."""

    def complete(self, run: Run, tx: Transaction) -> Run:
        """Writes the results of a run that succeeded, in the transaction that ends it; may end it as failed instead."""

    def failed(self, run: Run, tx: Transaction) -> Run | None:
        """Writes what follows from a run that failed or was cancelled, in the transaction that ends it.

        May return the run with more to say of it; its state stays.
        """


def job_dir(settings: Settings, run: Run, step: Step) -> Path:
    """Where an attempt of a step works. No colon in it: PATH and its like are lists with colons."""
    return settings.work / run.id / step.name.replace(":", "_") / str(step.attempt)
