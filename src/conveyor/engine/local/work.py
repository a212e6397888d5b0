"""Doing a step in a working folder: its attempts, what they are given, and what they leave."""

from __future__ import annotations

import itertools
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from conveyor.domain import wire
from conveyor.domain.plan import OUTPUT, OWN, step_of
from conveyor.domain.project import StepConfig
from conveyor.domain.step import InputSpec, StepError, StepSpec
from conveyor.engine.local.attempts import Ended, Groups, Worker, run_command
from conveyor.engine.local.history import History
from conveyor.engine.local.outputs import Outputs
from conveyor.engine.local.project import LocalProject
from conveyor.errors import Conflict, StepFailed


class Work:
    def __init__(self, project: LocalProject, outputs: Outputs, groups: Groups, state: Path) -> None:
        self._project = project
        self._outputs = outputs
        self._groups = groups
        self._state = state
        self._numbers = itertools.count()
        self._worker = Worker(python_of(project.root), project.root, state / "worker.log")

    def close(self) -> None:
        self._worker.close()

    def log(self, step: str) -> Path:
        return self._state / "logs" / f"{step.replace('/', '_')}.log"

    def attempt(self, step: StepConfig, history: History) -> dict[str, str]:
        """Runs it, again where it fails and may be tried again. Returns what it made that lies in the store only."""
        log = self.log(step.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        for number in range(1 + step.retries):
            if self._groups.stopping:
                raise StepFailed(f"step {step.name}: interrupted", hint="Run it again; what was done is kept.")
            scratch = self._state / "work" / str(next(self._numbers))
            self._outputs.clear(step)
            try:
                ended = self._once(step, history, scratch, log)
                if ended.code == 0 and not ended.timed_out:
                    return self._collect(scratch)
                if number == step.retries or self._groups.stopping:
                    raise StepFailed(
                        f"step {step.name}: {self._why(step, ended, scratch)}", hint=f"Its log: {_short(log)}"
                    )
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
        raise AssertionError("the last attempt returns or raises")

    def _once(self, step: StepConfig, history: History, scratch: Path, log: Path) -> Ended:
        seconds = step.timeout.total_seconds()
        inputs = tuple(self._input(reference, history) for reference in step.inputs)
        environment = dict(os.environ) | step.env
        if step.run is not None:
            request = {
                "spec": wire.to_builtins(StepSpec(step.run, inputs, step.params)),
                "out": str(scratch),
                "cwd": str(self._project.root),
                "log": str(log),
                "env": environment,
            }
            return self._worker.run(str(scratch), request, seconds)
        if self._project.dvc:
            environment |= {"DVC_STAGE": step.name, "DVC_ROOT": str(self._project.root)}
        else:
            scratch.mkdir(parents=True, exist_ok=True)
            environment |= {f"CONVEYOR_INPUT_{one.name.upper()}": ":".join(one.paths) for one in inputs}
            environment |= {f"CONVEYOR_PARAM_{name.upper()}": str(value) for name, value in step.params.items()}
            environment["CONVEYOR_OUTPUT"] = str(scratch)
        cwd = self._project.root / step.workdir
        if not cwd.is_dir():
            raise Conflict(f"step {step.name}: there is no folder {step.workdir}", hint="Make it.")
        return run_command(step.command or "", cwd, environment, log, seconds, self._groups)

    def _input(self, reference: str, history: History) -> InputSpec:
        past = history.get(step_of(reference))
        made = past.outputs if past else {}
        name, _, file = reference.partition(".")[2].partition(":")
        if file:
            found = {path: made[path] for path in (file, f"{file}.parquet") if path in made}
            name = file.partition(".")[0].rpartition("/")[2]
        else:
            found = {OUTPUT: made[OUTPUT]} if OUTPUT in made else made
        if not found:
            raise Conflict(
                f"{reference} is not there: step {step_of(reference)} made {', '.join(made) or 'nothing'}",
                hint="Name one of its outputs, as step.NAME:FILE.",
            )
        return InputSpec(name, tuple(str(self._outputs.path(digest)) for digest in found.values() if digest))

    def _collect(self, scratch: Path) -> dict[str, str]:
        if not scratch.is_dir():
            return {}
        files = sorted(path for path in scratch.rglob("*") if path.is_file())
        names = {str(path.relative_to(scratch)): path for path in files}
        return {
            name: self._outputs.put(path)
            for name, path in names.items()
            if name not in OWN and not name.startswith(".inputs/")
        }

    def _why(self, step: StepConfig, ended: Ended, scratch: Path) -> str:
        if self._groups.stopping:
            return "interrupted"
        if ended.timed_out:
            return f"timed out after {step.timeout.total_seconds():g} s"
        said = scratch / "error.json"
        if said.exists():
            error = wire.from_json(said.read_bytes(), StepError)
            return f"{error.message} {error.hint}".strip()
        return f"exit code {ended.code}"


def python_of(root: Path) -> Path:
    """The Python that functions run in: of the active environment, of the project's .venv, else this one."""
    named = os.environ.get("VIRTUAL_ENV")
    for folder in (Path(named) if named else None, root / ".venv"):
        if folder is not None and (folder / "bin" / "python").exists():
            return folder / "bin" / "python"
    return Path(sys.executable)


def _short(path: Path) -> Any:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
