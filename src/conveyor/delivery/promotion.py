"""The one way for a model version to go live by a person's word, and the guard that every release passes."""

from __future__ import annotations

from dataclasses import replace

from conveyor.delivery import environments
from conveyor.delivery.lookup import live_release
from conveyor.domain import requests
from conveyor.domain.model import ModelStatus, ModelVersion
from conveyor.domain.registry import barred
from conveyor.domain.release import Build, Content, Environment, Release
from conveyor.engine.context import Context
from conveyor.errors import Conflict, Refused
from conveyor.stores.collections import BUILDS, ENVIRONMENTS, MODEL_VERSIONS
from conveyor.stores.records import Transaction

_NEWER = 1000


def refusal(tx: Transaction, environment: Environment, live: Release | None, models: dict[str, int]) -> str:
    """Why a release must not be made of these versions, whoever asked for it; empty: it may.

    What is live already stays as it is: it runs.
    """
    for name, number in models.items():
        if live is not None and live.models.get(name) == number:
            continue
        version = tx.get(MODEL_VERSIONS, f"{environment.project}/{name}@{number}")
        why = barred(version) if version else "there is no such version"
        if why:
            return f"model.{name} v{number} cannot go live: {why}"
    return ""


def damaged(tx: Transaction, live: Release | None) -> frozenset[str]:
    """The models whose live version failed its last verification."""
    found = (
        ((name, tx.get(MODEL_VERSIONS, f"{live.project}/{name}@{n}")) for name, n in live.models.items())
        if live
        else ()
    )
    return frozenset(name for name, version in found if version and version.status is ModelStatus.DAMAGED)


def promote(
    context: Context, tx: Transaction, project: str, model: str, number: int, request: requests.PromoteModel
) -> str:
    """The next release of an environment is what is live there, with this version: through the ordinary rollout.

    Newer versions that there are now are ruled out in that environment, so that they do not come back by themselves;
    promoting one of them lifts that.
    """
    version = tx.need(MODEL_VERSIONS, f"{project}/{model}@{number}")
    if why := barred(version):
        raise Refused(
            f"{version.id} cannot be promoted: {why}",
            hint="Train a version that passes: `conveyor model retrain`. `conveyor model show` has every figure.",
        )
    place, live = _ready(tx, project, model, number, request.environment)
    build = tx.need(BUILDS, f"{project}/{live.build}")
    _need_fit(version, build)
    component = f"model:{model}@{number}"
    if component in place.rejected and not request.again:
        raise Refused(
            f"{version.id} was ruled out in {place.name}: {place.rejected[component]}",
            hint="Promote another version, or this one once more with --again.",
        )
    if version.status is ModelStatus.REJECTED:
        if not request.again:
            raise Refused(f"{version.id} failed in a rollout", hint="Promote it once more with --again.")
        tx.put(MODEL_VERSIONS, replace(version, status=ModelStatus.READY))
    by = f" by {request.by}" if request.by else ""
    reason = f"{model} v{number} was promoted{by}: {request.reason}"
    rejected = place.rejected | {f"model:{model}@{n}": reason for n in _newer(tx, project, model, number)}
    rejected.pop(component, None)
    content = Content(live.build, live.models | {model: number}, reason)
    tx.put(ENVIRONMENTS, replace(place, exact=content, rejected=rejected, proposal=None))
    told = {"version": number, "environment": place.name, "reason": request.reason, "by": request.by}
    tx.append(context.event("model.promoted", f"model/{project}/{model}", project, **told))
    return f"{version.id} goes to {place.name} by a rollout of its own; `conveyor status` shows it"


def _ready(tx: Transaction, project: str, model: str, number: int, name: str) -> tuple[Environment, Release]:
    """The environment and what is live there; Conflict where it cannot take a version now."""
    environments.declared(tx, project, name)
    place = tx.get(ENVIRONMENTS, f"{project}/{name}") or Environment(project, name)
    live = live_release(tx, place)
    if live is None:
        raise Conflict(f"nothing is live in {name}", hint="The first release takes the newest version that passed.")
    if place.rollout is not None:
        raise Conflict(
            f"{name} is in the middle of a rollout",
            hint="Promote once it is over; `conveyor rollout abort` ends it at once.",
        )
    if live.models.get(model) == number:
        raise Conflict(f"version {number} of {model} is live in {name} already", hint="There is nothing to promote.")
    return place, live


def _need_fit(version: ModelVersion, build: Build) -> None:
    config = build.config.models.get(version.name)
    if config is None:
        raise Conflict(
            f"what is live declares no model {version.name}", hint="Push a conveyor.toml that declares it first."
        )
    if config.features and config.features != version.signature.features:
        raise Refused(
            f"{version.id} takes other features than what is live declares",
            hint="Promote a version that was trained with today's `features`, or push a change first.",
        )


def _newer(tx: Transaction, project: str, model: str, number: int) -> list[int]:
    found = tx.find(MODEL_VERSIONS, where={"model": f"{project}/{model}"}, limit=_NEWER)
    return [each.version for each in found if each.version > number and each.status is ModelStatus.READY]
