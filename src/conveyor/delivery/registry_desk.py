"""The registry, as clients ask of it: versions, aliases with their history, promotion, removal."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from conveyor.delivery import aliases, attest, export, promotion, removal, reproduce, verification
from conveyor.domain import requests
from conveyor.domain.model import ModelVersion
from conveyor.domain.registry import ComparedVersions, compare, environment_of, reserved, unfit_alias
from conveyor.domain.state import Alias, AliasMove
from conveyor.domain.verification import Verification
from conveyor.domain.views import Message
from conveyor.engine.context import Context
from conveyor.errors import Conflict, InputRejected, NotFound, Refused
from conveyor.stores.collections import ALIAS_MOVES, ALIASES, MODEL_VERSIONS, RUNS, VERIFICATIONS
from conveyor.stores.records import Transaction

_MOVES = 100_000


class RegistryDesk:
    """`live` and `live-ENVIRONMENT` are moved by releases only; all other aliases by whoever may deploy."""

    def __init__(self, context: Context, poke: Callable[[], None]) -> None:
        self._context = context
        self._poke = poke

    def version(self, project: str, model: str, version: str) -> ModelVersion:
        """By its number, by an alias, or the newest for "latest"."""
        with self._context.records.read() as tx:
            return resolve(tx, project, model, version)

    def aliases(self, project: str, model: str) -> list[Alias]:
        with self._context.records.read() as tx:
            return tx.find(ALIASES, where={"model": f"{project}/{model}"}, limit=1000)

    def moves(self, project: str, model: str, limit: int = 50) -> list[AliasMove]:
        with self._context.records.read() as tx:
            return tx.find(ALIAS_MOVES, where={"model": f"{project}/{model}"}, limit=limit)

    def compare(self, project: str, model: str, one: str, other: str) -> ComparedVersions:
        with self._context.records.read() as tx:
            return compare(resolve(tx, project, model, one), resolve(tx, project, model, other))

    def move(self, project: str, model: str, alias: str, request: requests.MoveAlias) -> Message:
        """Points an alias to a version, or removes it. One that follows an environment moves by a promotion only."""
        if request.version is not None and (why := unfit_alias(alias)):
            raise InputRejected(f"{alias[:80]!r} cannot be an alias: {why}", hint="Give another name: champion, say.")
        if reserved(alias):
            place = environment_of(alias)
            number = request.version if request.version is not None else "VERSION"
            raise Refused(
                f"{alias} says what is live in {place}; only a release moves it",
                hint=f"`conveyor model promote {model} {number} --environment {place}` makes one, if the gates passed.",
            )
        with self._context.records.transaction() as tx:
            said = self._move(tx, project, model, alias, request.version, request.reason, request.by)
        self._poke()
        return Message(said)

    def undo(self, project: str, model: str, alias: str, request: requests.UndoAlias) -> Message:
        """Back to where the alias was before its last move; `live` goes back by a rollout of its own."""
        with self._context.records.transaction() as tx:
            moves = tx.find(ALIAS_MOVES, where={"model": f"{project}/{model}"}, limit=_MOVES)
            last = next((each for each in moves if each.name == alias), None)
            if last is None:
                raise _no_alias(model, alias)
            if reserved(alias):
                said = self._promote_back(tx, project, model, last, request)
            else:
                reason = f"{request.reason} (undo of: {last.reason})"
                said = self._move(tx, project, model, alias, last.previous, reason, request.by)
        self._poke()
        return Message(said)

    def verify(self, project: str, model: str, request: requests.VerifyModel) -> list[Verification]:
        """Loads and scores versions now: the one named, all that have an artifact, or those that something needs."""
        with self._context.records.read() as tx:
            if request.version:
                found = [resolve(tx, project, model, request.version)]
            else:
                found = tx.find(MODEL_VERSIONS, where={"model": f"{project}/{model}"}, limit=_MOVES)
        if not request.version:
            needed = {version.id for version in verification.needed(self._context)}
            found = [v for v in found if v.artifact and (request.all or v.id in needed)]
        done = [verification.verify(self._context, version) for version in found]
        self._poke()
        return done

    def reproduce(self, project: str, model: str, version: str) -> Message:
        """Trains a version again, in a run of its own that compares the two."""
        with self._context.records.transaction() as tx:
            found = resolve(tx, project, model, version)
            run = reproduce.new_run(self._context, tx, found)
            tx.put(RUNS, run)
            tx.append(self._context.event("run.started", f"run/{run.id}", project, kind=run.kind, about=run.subject))
        self._poke()
        return Message(f"{found.id} is trained again (run {run.id})", run.id)

    def card(self, project: str, model: str, version: str) -> str:
        """The model card, in Markdown."""
        return export.markdown(self._context, self.version(project, model, version))

    def plots(self, project: str, model: str, version: str) -> dict[str, str]:
        """The plots of the card, as SVG by name."""
        return export.plots(self._context, self.version(project, model, version))

    def export(self, project: str, model: str, version: str) -> Path:
        """A zip of the version; whoever asked deletes it."""
        found = self.version(project, model, version)
        handle, path = tempfile.mkstemp(suffix=".zip", dir=self._context.settings.work)
        os.close(handle)
        try:
            export.export(self._context, found, Path(path))
        except BaseException:
            Path(path).unlink()
            raise
        return Path(path)

    def verifications(self, project: str, model: str) -> list[Verification]:
        """What the last verification of each version found."""
        with self._context.records.read() as tx:
            return tx.find(VERIFICATIONS, where={"model": f"{project}/{model}"}, limit=_MOVES)

    def provenance(self, project: str, model: str, version: str) -> bytes:
        """The signed envelope, as JSON."""
        found = self.version(project, model, version)
        if not found.provenance:
            raise NotFound(f"{found.id} has no signed provenance", hint="It was made before provenance was signed.")
        return self._context.objects.get(found.provenance)

    def public_key(self) -> bytes:
        """The key that proves provenance, as PEM."""
        return attest.signer(self._context.settings).public()

    def promote(self, project: str, model: str, version: int, request: requests.PromoteModel) -> Message:
        with self._context.records.transaction() as tx:
            said = promotion.promote(self._context, tx, project, model, version, request)
        self._poke()
        return Message(said)

    def remove(self, project: str, model: str, version: int, request: requests.RemoveModel) -> Message:
        with self._context.records.transaction() as tx:
            said = removal.remove(self._context, tx, project, model, version, request)
        self._poke()
        return Message(said)

    def _move(
        self, tx: Transaction, project: str, model: str, alias: str, version: int | None, reason: str, by: str
    ) -> str:
        here = tx.get(ALIASES, f"{project}/{model}:{alias}")
        if version is None and here is None:
            raise _no_alias(model, alias)
        if version is not None:
            found = tx.need(MODEL_VERSIONS, f"{project}/{model}@{version}")
            if not found.artifact:
                raise Conflict(f"{found.id} was removed: it has no artifact any more", hint="Name another version.")
            if here is not None and here.version == version:
                raise Conflict(f"{alias} points to version {version} already", hint="There is nothing to move.")
        aliases.move(self._context, tx, project, model, alias, version, reason, by)
        return (
            f"{alias} of {model} is removed" if version is None else f"{alias} of {model} points to version {version}"
        )

    def _promote_back(
        self, tx: Transaction, project: str, model: str, last: AliasMove, request: requests.UndoAlias
    ) -> str:
        if last.previous is None:
            raise Conflict(f"{last.name} was nowhere before version {last.version}", hint="There is nothing to undo.")
        asked = requests.PromoteModel(environment_of(last.name), by=request.by, reason=request.reason)
        return promotion.promote(self._context, tx, project, model, last.previous, replace(asked, again=True))


def _no_alias(model: str, alias: str) -> NotFound:
    return NotFound(f"{model} has no alias {alias[:80]!r}", hint=f"`conveyor model aliases {model}` lists them.")


def resolve(tx: Transaction, project: str, model: str, version: str) -> ModelVersion:
    """A version by number (3, v3), alias, or "latest"."""
    subject = f"{project}/{model}"
    number = version.removeprefix("v")
    if version in ("", "latest"):
        found = tx.find(MODEL_VERSIONS, where={"model": subject}, limit=1)
        if not found:
            raise NotFound(f"{model} has no version yet", hint=f"`conveyor model retrain {model}` trains one.")
        return found[0]
    if not number.isdecimal():
        alias = tx.get(ALIASES, f"{subject}:{version}")
        if alias is None:
            raise NotFound(
                f"{model} has no version or alias {version[:80]!r}", hint=f"`conveyor model list {model}` lists them."
            )
        number = str(alias.version)
    one = tx.get(MODEL_VERSIONS, f"{subject}@{number}")
    if one is None:
        raise NotFound(f"{model} has no version {number[:20]}", hint=f"`conveyor model list {model}` lists them.")
    return one
