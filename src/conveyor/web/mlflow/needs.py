"""What an alias needs is not deleted: one of Conveyor's own registry, or one that MLflow's clients set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from conveyor.delivery import needs
from conveyor.errors import Refused
from conveyor.stores.tracking import documents, experiments
from conveyor.stores.tracking.database import Session
from conveyor.stores.tracking.search import experiments_of
from conveyor.web.mlflow.service import Service
from conveyor.web.mlflow.versions import place


@dataclass(frozen=True, slots=True)
class _Pointed:
    """A version that an alias points to; `owner` is the run or the logged model whose files it is made of."""

    name: str  # model@alias (version 2)
    run: str
    owner: str

    @property
    def owners(self) -> set[str]:
        return {self.run, self.owner} - {""}


def refuse_files(session: Session, owner: str) -> None:
    """Of a run or a logged model."""
    _refuse(session, "these files are", lambda pointed: owner == pointed.owner)


def refuse_model(session: Session, model_id: str) -> None:
    _refuse(session, f"logged model {model_id} is", lambda pointed: model_id == pointed.owner)


def refuse_run(service: Service, session: Session, run: str) -> None:
    with service.context.records.read() as tx:
        _refuse_ours(f"run {run}", needs.of_run(tx, run))
    _refuse(session, f"run {run} is", lambda pointed: run in pointed.owners)


def refuse_experiment(service: Service, session: Session, id_: str) -> None:
    """With it all of its runs and logged models would go."""
    name = experiments.get(session, id_).name
    with service.context.records.read() as tx:
        _refuse_ours(f"experiment {name}", needs.of_subject(tx, name))

    def inside(pointed: _Pointed) -> bool:
        model = documents.get(session, documents.LOGGED_MODEL, pointed.owner)
        held = {str(model["experiment_id"])} if model else set()
        return id_ in held | experiments_of(session, pointed.owners)

    _refuse(session, f"experiment {name} is", inside)


def _refuse_ours(what: str, reasons: tuple[str, ...]) -> None:
    if reasons:
        raise Refused(
            f"{what} cannot be deleted: {'; '.join(reasons)}",
            hint="Promote a version of another run, and wait until this one is out of reach of a rollback.",
        )


def _refuse(session: Session, what: str, needed: Callable[[_Pointed], bool]) -> None:
    for pointed in _pointed(session):
        if needed(pointed):
            raise Refused(
                f"{what} needed by {pointed.name}", hint="Point the alias at another version, or delete it, first."
            )


def _pointed(session: Session) -> Iterator[_Pointed]:
    for model in documents.find(session, documents.REGISTERED):
        for alias, number in model["aliases"].items():
            version = documents.get(session, documents.VERSION, f"{model['name']}/{number}")
            if version is None:
                continue
            where = place(version["source"])
            owner = where[0] if where else ""
            logged = documents.get(session, documents.LOGGED_MODEL, owner) if owner.startswith("m-") else None
            run = version.get("run_id") or (logged or {}).get("source_run_id") or ""
            yield _Pointed(f"{model['name']}@{alias} (version {number})", run, owner)
