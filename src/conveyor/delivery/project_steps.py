"""How a step of a project is done at the control plane: what its outputs depend on, and the command that makes them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from conveyor.delivery import secrets
from conveyor.delivery.inputs import Inputs, Resolved
from conveyor.delivery.step_files import StepFiles
from conveyor.domain import wire
from conveyor.domain.plan import Facts, content_of, facts_of, key_of, step_of
from conveyor.domain.project import StepConfig
from conveyor.domain.release import Build
from conveyor.domain.run import Run, Step
from conveyor.domain.secret import missing
from conveyor.domain.step import StepSpec
from conveyor.effects.environment import clean_environment
from conveyor.effects.source import code_digest
from conveyor.engine.context import Context
from conveyor.engine.recipe import OUT, SPEC, Command
from conveyor.errors import Conflict
from conveyor.stores.data.unfold import unfolding
from conveyor.stores.records import Transaction

SECRETS = "production"
"""The environment whose secrets steps are given, as sources of data are."""
_REMEMBERED = 4096


def new_step(config: StepConfig, needs: tuple[str, ...]) -> Step:
    return Step(
        config.name,
        needs=needs,
        timeout=config.timeout,
        retries=config.retries,
        cpus=config.cpus,
        memory_mb=config.memory_mb,
    )


def config_of(run: Run, build: Build, name: str) -> StepConfig:
    """The step as this run does it: params that were given with the run are put over those of conveyor.toml."""
    config = build.config.steps[name]
    given = run.params.get("step_params", {}).get(name)
    return replace(config, params=given) if given is not None else config


class ProjectSteps:
    """Trees of builds never change, so what was read of them is remembered."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], str] = {}

    def facts(self, tx: Transaction, run: Run, build: Build, name: str) -> Facts:
        """All that the outputs depend on. What it needs must have been done in this run."""
        config = config_of(run, build, name)
        tree = self._context.settings.builds / build.tree
        inputs = Inputs(self._context, build.config, run)
        contents = {
            reference: content_of(reference, run.step(needed).outputs)
            if (needed := step_of(reference))
            else inputs.resolve(reference).content
            for reference in config.inputs
        }
        files = StepFiles(self._context, build.config, run, config, tree)
        deps = {path: self._read(f"{tree} {path} {files.made(path)}", path, files.digest) for path in config.deps}
        code = "" if config.deps else build.tree
        if config.run is not None:
            code = self._read(str(tree), config.run, lambda function: code_digest(tree, function))
        told = secrets.told(self._context, tx, run.project, SECRETS, self._secrets(tx, run, config))
        return facts_of(config, code=code, environment=build.environment, inputs=contents, deps=deps, secrets=told)

    def prepare(self, run: Run, build: Build, name: str, job: Path) -> Command:
        config = config_of(run, build, name)
        tree = self._context.settings.builds / build.tree
        inputs = Inputs(self._context, build.config, run, job / "inputs")
        with self._context.records.read() as tx:
            key = key_of(self.facts(tx, run, build, name))
            chosen = self._secrets(tx, run, config)
            sealed = secrets.sealed_file(self._context, tx, run.project, SECRETS, chosen)
        resolved = [inputs.resolve(reference) for reference in config.inputs]
        files = StepFiles(self._context, build.config, run, config, tree)
        if config.run is not None:
            spec = StepSpec(config.run, tuple(r.spec for r in resolved), config.params)
            command = self.python(build, "step", job, spec, key)
        else:
            command = self._shell(build, config, tree, job, resolved)
        command = replace(files.around(command, job), key=key, sealed=sealed, shared=True, fresh=config.always)
        return self.with_files(command, resolved, job)

    def python(self, build: Build, module: str, job: Path, spec: object, key: str | None) -> Command:
        settings = self._context.settings
        environment = settings.envs / build.environment
        return Command(
            argv=(str(environment / "bin" / "python"), "-m", f"conveyor.sdk.{module}", str(job / SPEC), str(job / OUT)),
            cwd=settings.builds / build.tree,
            env=clean_environment(environment),
            key=key,
            spec=wire.to_json(spec),
        )

    def with_files(self, command: Command, resolved: list[Resolved], job: Path) -> Command:
        """The command, after the datasets of files that it reads were put into its folder, by its own process."""
        trees = {r.spec.folder: r.root for r in resolved if r.root}
        if not trees:
            return command
        settings = self._context.settings
        if "://" in settings.objects_url:
            raise Conflict(
                f"{', '.join(r.spec.name for r in resolved if r.root)} cannot be read by a step: the store of files is "
                "behind a URL, whose credentials steps do not have",
                hint="Datasets of files as inputs need CONVEYOR_OBJECTS_URL to be a folder, or to be left out.",
            )
        argv = command.argv or ("/bin/sh", "-c", command.shell)
        return replace(command, argv=unfolding(settings.home, settings.objects_url, trees, job / OUT, argv), shell="")

    def _shell(self, build: Build, config: StepConfig, tree: Path, job: Path, resolved: list[Resolved]) -> Command:
        if any(r.spec.label for r in resolved):
            raise Conflict(
                f"step {config.name} is a command that reads labelled data",
                hint="Put a function step before it: it gets the rows with labels that have not come yet masked.",
            )
        environment = clean_environment(self._context.settings.envs / build.environment)
        environment |= {
            f"CONVEYOR_INPUT_{r.spec.name.upper()}": r.spec.folder or ":".join(r.spec.paths) for r in resolved
        }
        environment |= {f"CONVEYOR_PARAM_{key.upper()}": str(value) for key, value in config.params.items()}
        return Command(shell=config.command or "", cwd=tree, env=environment | {"CONVEYOR_OUTPUT": str(job / OUT)})

    def _secrets(self, tx: Transaction, run: Run, config: StepConfig) -> dict[str, int]:
        """The versions that it is given: the newest ones. One without a value fails the step."""
        found = secrets.choices(tx, run.project, SECRETS, config.secrets)
        lacking = [name for name in config.secrets if name not in found]
        if lacking:
            raise Conflict(f"step {config.name}: {missing(lacking[0], SECRETS)}", hint="Then run it again.")
        return {name: versions[0] for name, versions in found.items()}

    def _read(self, place: str, what: str, read: Callable[[str], str]) -> str:
        with self._lock:
            known = self._known.get((place, what))
        if known is None:
            known = read(what)
            with self._lock:
                while len(self._known) >= _REMEMBERED:
                    self._known.pop(next(iter(self._known)))
                self._known[place, what] = known
        return known
