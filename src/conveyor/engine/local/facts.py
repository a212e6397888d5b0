"""What the outputs of a step in a working folder depend on now."""

from __future__ import annotations

import os
import posixpath
import sys
from pathlib import Path

from blake3 import blake3

from conveyor.domain.plan import Facts, Past, content_of, facts_of, step_of
from conveyor.domain.project import StepConfig
from conveyor.effects import envs, source
from conveyor.engine.local.digests import Digests
from conveyor.engine.local.history import History
from conveyor.engine.local.project import LocalProject
from conveyor.errors import Conflict, InputRejected


class FactsReader:
    def __init__(self, project: LocalProject, digests: Digests) -> None:
        self._project = project
        self._digests = digests
        self._environment: str | None = None
        self.env: dict[str, str] = {} if project.dvc else {"VIRTUAL_ENV": os.environ.get("VIRTUAL_ENV", "")}

    def of(self, step: StepConfig, history: History) -> Facts:
        """An input or file that is not there yet has no content; what runs before may make it."""
        deps = {path: self._digests.of(path) for path in step.deps}
        if self._project.dvc:
            return facts_of(step, deps=deps)
        code = self._code(step.run) if step.run else "" if step.deps else self._tree()
        inputs = {reference: content(reference, history.get(step_of(reference))) for reference in step.inputs}
        secrets = {name: self._secret(step, name) for name in step.secrets}
        return facts_of(step, code=code, environment=self.environment(), inputs=inputs, deps=deps, secrets=secrets)

    def environment(self) -> str:
        """The key that an environment of the project has at the control plane, of what its files declare."""
        if self._environment is None:
            root = self._project.root
            places = [str(root / name) for name in envs.FILES]
            read = lambda name: (root / name).read_bytes() if (root / name).is_file() else None  # noqa: E731
            self._environment = self._digests.derived(
                f"environment {sys.version} {sys.prefix}", places, lambda: envs.key(envs.declared(read), "", "")
            )
        return self._environment

    def _code(self, function: str) -> str:
        """Of the files that the function reaches by imports; read again when one of them, or a folder, is another."""
        root = self._project.root
        module = function.partition(":")[0]
        listing = self._digests.derived(f"files {module}", [str(root)], lambda: "\0".join(self._closure(module)))
        places = [str(root / name) for name in listing.split("\0") if name]
        folders = sorted({str(Path(place).parent) for place in places})
        return self._digests.derived(
            f"code {function}", [*places, *folders], lambda: source.code_digest(root, function)
        )

    def _closure(self, module: str) -> list[str]:
        root = self._project.root
        return sorted(str(path.relative_to(root)) for path in source.closure(root, module))

    def _tree(self) -> str:
        """A command without `deps` may read anything but what steps make."""
        files = self._digests.files(".") or {}
        made = {path for step in self._project.steps.values() for path in step.made}
        kept = [
            f"{name} {digest}"
            for name, digest in sorted(files.items())
            if not any((clean := posixpath.normpath(name)) == out or clean.startswith(f"{out}/") for out in made)
        ]
        return blake3("\n".join(kept).encode()).hexdigest()

    def _secret(self, step: StepConfig, name: str) -> str:
        value = os.environ.get(name)
        if value is None:
            raise InputRejected(
                f"step {step.name} needs the secret {name}", hint=f"Here it is taken from the environment: set {name}."
            )
        return blake3(value.encode(), derive_key_context="conveyor step secret").hexdigest()


def content(reference: str, past: Past | None) -> str:
    if reference.startswith("data."):
        raise Conflict(
            f"{reference} is kept by a Conveyor, and this run is in a working folder",
            hint="Push the project and run it there: `conveyor run --server`; here, use `deps`.",
        )
    return "" if past is None else content_of(reference, past.outputs)
