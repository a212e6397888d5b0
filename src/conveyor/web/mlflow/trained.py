"""The models that Conveyor trained, as MLflow's registry shows them.

Here is the seam to Conveyor's own registry: names, versions and aliases are read from its records. An MLflow client may
move an alias, by the rules of `conveyor model`; any other change is refused with what to do instead.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from conveyor.delivery.registry_desk import RegistryDesk
from conveyor.domain import requests
from conveyor.domain.model import ModelStatus, ModelVersion
from conveyor.domain.registry import environment_of, reserved
from conveyor.engine.context import Context
from conveyor.errors import Conflict, InputRejected, NotFound, Refused
from conveyor.stores.collections import ALIASES, MODEL_VERSIONS, PROJECTS
from conveyor.stores.records import Transaction
from conveyor.web.mlflow.versions import OWNER

_CLIENT, _REASON = "an MLflow client", "asked for by an MLflow client"
_MOST = 1000


@dataclass(frozen=True, slots=True)
class TrainedModels:
    context: Context
    registry: RegistryDesk

    def find(self, name: str) -> str | None:
        """`project/model` for that, for `project.model`, and for `model` where one project has it."""
        with self.context.records.read() as tx:
            if "/" in name or "." in name:
                subject = name if "/" in name else name.replace(".", "/", 1)
                return subject if tx.count(MODEL_VERSIONS, where={"model": subject}) else None
            subjects = [f"{project.name}/{name}" for project in tx.find(PROJECTS, limit=_MOST)]
            having = [subject for subject in subjects if tx.count(MODEL_VERSIONS, where={"model": subject})]
        return having[0] if len(having) == 1 else None

    def model(self, name: str, subject: str) -> dict[str, Any]:
        with self.context.records.read() as tx:
            newest = tx.find(MODEL_VERSIONS, where={"model": subject}, limit=_MOST)
            aliases = self._aliases(tx, subject)
        told = {
            "name": name,
            "creation_timestamp": _ms(newest[-1]),
            "last_updated_timestamp": _ms(newest[0]),
            "description": f"Trained, gated and rolled out by Conveyor as {subject}.",
            "latest_versions": [self._told(name, newest[0], aliases)],
        }
        return told | {"aliases": [{"alias": alias, "version": str(number)} for alias, number in aliases.items()]}

    def version(self, name: str, subject: str, number: str) -> dict[str, Any]:
        with self.context.records.read() as tx:
            return self._told(name, self._need(tx, subject, number), self._aliases(tx, subject))

    def versions(self, name: str, subject: str) -> list[dict[str, Any]]:
        with self.context.records.read() as tx:
            aliases = self._aliases(tx, subject)
            return [
                self._told(name, each, aliases)
                for each in tx.find(MODEL_VERSIONS, where={"model": subject}, limit=_MOST)
            ]

    def by_alias(self, name: str, subject: str, alias: str) -> dict[str, Any]:
        with self.context.records.read() as tx:
            aliases = self._aliases(tx, subject)
            if alias not in aliases:
                raise NotFound(f"Registered model alias {alias} not found.", hint="List them: conveyor model list.")
            return self._told(name, self._need(tx, subject, str(aliases[alias])), aliases)

    def files(self, subject: str, number: str) -> dict[str, str | bytes]:
        """Name -> digest, or the bytes of what is made for the client: an MLmodel of MLflow's ONNX flavour."""
        with self.context.records.read() as tx:
            version = self._need(tx, subject, number)
        if "model.onnx" not in version.artifact:
            return dict(version.artifact)  # MLflow has no flavour for its form; the files can be had all the same
        return {**version.artifact, "MLmodel": _mlmodel(version)}

    def point(self, subject: str, alias: str, number: str) -> None:
        """Moves an alias as `conveyor model` does: `live` asks for a promotion, which the gates must have allowed."""
        project, _, model = subject.partition("/")
        version = int(number) if number.isdecimal() else 0
        with self.context.records.read() as tx:
            self._need(tx, subject, number)
        if reserved(alias):
            asked = requests.PromoteModel(environment_of(alias), by=_CLIENT, reason=_REASON)
            try:
                self.registry.promote(project, model, version, asked)
            except Conflict as error:  # which means to MLflow's clients that a name is taken
                raise InputRejected(error.message, hint=error.hint) from error
        else:
            self.registry.move(project, model, alias, requests.MoveAlias(version, reason=_REASON, by=_CLIENT))

    def refuse(self, name: str, subject: str, what: str) -> Refused:
        return Refused(
            f"{name} is {subject}, which Conveyor trains: an MLflow client may read it, and may not {what}",
            hint="Its versions come from trainings that pass their gates, and `live` follows the release: "
            "conveyor model retrain, conveyor rollback.",
        )

    @staticmethod
    def _aliases(tx: Transaction, subject: str) -> dict[str, int]:
        return {alias.name: alias.version for alias in tx.find(ALIASES, where={"model": subject})}

    @staticmethod
    def _need(tx: Transaction, subject: str, number: str) -> ModelVersion:
        found = tx.get(MODEL_VERSIONS, f"{subject}@{number}")
        if found is None:
            raise NotFound(f"Model Version (name={subject}, version={number}) not found", hint="conveyor model list")
        return found

    @staticmethod
    def _told(name: str, version: ModelVersion, aliases: dict[str, int]) -> dict[str, Any]:
        ready = version.status is ModelStatus.READY
        return {
            "name": name,
            "version": str(version.version),
            "creation_timestamp": _ms(version),
            "last_updated_timestamp": _ms(version),
            "current_stage": "None",
            "description": version.reason,
            "source": f"mlflow-artifacts:/{OWNER}/{version.model}/{version.version}",
            "run_id": version.run,
            "status": "READY" if ready else "FAILED_REGISTRATION",
            "status_message": "" if ready else f"{version.status} by Conveyor: see conveyor model show {version.name}",
            "aliases": [alias for alias, number in aliases.items() if number == version.version],
            "tags": [{"key": "conveyor.commit", "value": version.commit}]
            + [{"key": f"conveyor.metric.{metric}", "value": repr(value)} for metric, value in version.metrics.items()],
        }


def _ms(version: ModelVersion) -> int:
    return int(version.created.timestamp() * 1000)


def _mlmodel(version: ModelVersion) -> bytes:
    """JSON is YAML."""
    flavors = {
        "onnx": {"data": "model.onnx", "providers": ["CPUExecutionProvider"]},
        "python_function": {"loader_module": "mlflow.onnx", "data": "model.onnx"},
    }
    moment = version.created.strftime("%Y-%m-%d %H:%M:%S.%f")
    return json.dumps({"flavors": flavors, "run_id": version.run, "utc_time_created": moment}, indent=1).encode()
