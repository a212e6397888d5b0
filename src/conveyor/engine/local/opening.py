"""The parts of a local run, put together for a project's folder: one run at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from conveyor.domain.plan import Verdict
from conveyor.engine.local import witness
from conveyor.engine.local.attempts import Groups
from conveyor.engine.local.digests import Digests
from conveyor.engine.local.history import History
from conveyor.engine.local.outputs import Outputs
from conveyor.engine.local.project import LocalProject, open_project
from conveyor.engine.local.runner import Runner, StepOutcome
from conveyor.errors import NotFound
from conveyor.stores.data.lock import held
from conveyor.stores.objects import Objects


@dataclass(frozen=True, slots=True)
class LocalRun:
    project: LocalProject
    runner: Runner
    digests: Digests
    state: Path
    ended_remains: int

    def testify(self, words: Sequence[str], said: str, outcomes: Sequence[StepOutcome], taken_ns: int) -> None:
        """Keeps the answer for the next one who asks the same, where everything was up to date."""
        quiet = all(each.verdict in (Verdict.UP_TO_DATE, Verdict.FROZEN) for each in outcomes)
        if quiet and not any(step.secrets for step in self.project.steps.values()):
            env = {"CONVEYOR_HOME": "", "CONVEYOR_OBJECTS_URL": "", **self.runner.facts.env}
            witness.write(str(self.state), words, said, self.digests.seen, env, taken_ns)


@contextmanager
def open_local(
    start: Path,
    env: Mapping[str, str],
    tell: Callable[[StepOutcome], None],
    waits: Callable[[str], None],
) -> Iterator[LocalRun]:
    """`tell` hears of every step that is done, `waits` once of the other run that this one waits for."""
    root = Path(witness.find_root(str(start)))
    if root == Path():
        raise NotFound(
            f"there is no conveyor.toml or dvc.yaml in {start} or above",
            hint="Go to the project's folder, or name a run: `conveyor run list`.",
        )
    home = Path(witness.home_of(str(root), env))
    state = Path(witness.state_folder(str(root), str(home)))
    if not home.exists():
        home.mkdir(mode=0o700, parents=True)
        (home / ".gitignore").write_text("*\n")
    state.mkdir(parents=True, exist_ok=True)
    with held(state / "lock", waits):
        groups = Groups(state / "groups.json")
        remains = groups.end_remains()
        digests = Digests(root, state / "digests.json")
        project = open_project(root, digests.see)
        history = History(state / "history.jsonl")
        outputs = Outputs(root, Objects(_objects_url(home, env), home / "cache"), digests)
        try:
            yield LocalRun(
                project, Runner(project, digests, history, outputs, groups, state, tell), digests, state, remains
            )
        finally:
            history.close()
            digests.save()


def _objects_url(home: Path, env: Mapping[str, str]) -> str:
    """As the control plane of this folder has it, where there is one."""
    if url := env.get("CONVEYOR_OBJECTS_URL"):
        return url
    try:
        kept = json.loads((home / "settings.json").read_bytes()).get("objects_url")
    except (OSError, ValueError):
        kept = ""
    return str(kept or home / "objects")
