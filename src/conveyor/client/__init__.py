"""One typed client of the API, for the command line, tests and users. Light: standard library HTTP and msgspec."""

from __future__ import annotations

import os
import time
import urllib.parse
from collections.abc import Iterable, Iterator
from copy import copy
from pathlib import Path
from typing import BinaryIO

from conveyor import errors
from conveyor.client.alerts import AlertCalls
from conveyor.client.labels import LabelCalls
from conveyor.client.steps import StepCalls
from conveyor.client.tracked import TrackedCalls
from conveyor.client.transport import data_path, environment_path, model_path, quote
from conveyor.config.settings import find_home, load_settings
from conveyor.domain import requests, wire
from conveyor.domain.dataset import DatasetVersion
from conveyor.domain.dora import Dora
from conveyor.domain.erasure import Erasure, ErasureView
from conveyor.domain.events import Event
from conveyor.domain.lineage import Lineage
from conveyor.domain.model import ModelVersion
from conveyor.domain.monitor import Quality, Window
from conveyor.domain.odcs import Contract
from conveyor.domain.registry import ComparedVersions
from conveyor.domain.release import Release
from conveyor.domain.release_view import ReleaseView
from conveyor.domain.remote import NewRemote, RemoteView
from conveyor.domain.rows import RowsTaken
from conveyor.domain.run import Run, RunState
from conveyor.domain.secret import SecretView
from conveyor.domain.state import Alias, AliasMove, Arrival, DataTag, DataTagMove, Project, Quarantined
from conveyor.domain.sweep import Sweep
from conveyor.domain.token import NewToken, TokenView
from conveyor.domain.verification import Verification
from conveyor.domain.views import (
    Accepted,
    Collected,
    EnvironmentView,
    LogChunk,
    Message,
    QuarantinedRows,
    StatusView,
    TableView,
)
from conveyor.errors import InputRejected, NoSpace, Unavailable

_POLL = 0.2
_CHUNK = 1 << 20
_LONG = 6 * 3600.0  # seconds, for what reads a whole dataset


class Client(StepCalls, AlertCalls, LabelCalls, TrackedCalls):
    """One method a question or request."""

    def status(self) -> StatusView:
        return self._get("/v1/status", StatusView)

    def projects(self) -> list[Project]:
        return self._get("/v1/projects", list[Project])

    def project(self, name: str | None = None) -> str:
        """The project named, or the only one there is."""
        if name:
            return name
        names = [project.name for project in self.projects()]
        if len(names) == 1:
            return names[0]
        if not names:
            raise errors.NotFound("no project was pushed yet", hint="Push one: `conveyor up` prints the git remote.")
        raise InputRejected("there are several projects", hint=f"Name one with --project: {', '.join(names)}.")

    def events(
        self, *, after: int = 0, subject: str = "", types: tuple[str, ...] = (), limit: int = 100, newest: bool = False
    ) -> list[Event]:
        query = {"after": after, "types": ",".join(types), "limit": limit, "newest": str(newest).lower()}
        if subject:
            query["subject"] = subject
        return self._get(f"/v1/events?{urllib.parse.urlencode(query)}", list[Event])

    def runs(self, *, project: str = "", kind: str = "", limit: int = 50) -> list[Run]:
        query = {name: value for name, value in (("project", project), ("kind", kind)) if value}
        return self._get(f"/v1/runs?{urllib.parse.urlencode({**query, 'limit': limit})}", list[Run])

    def run(self, id_: str) -> Run:
        return self._get(f"/v1/runs/{quote(id_)}", Run)

    def run_of_commit(self, project: str, commit: str) -> Run:
        return self._get(f"/v1/projects/{quote(project)}/commits/{quote(commit)}", Run)

    def log(self, run: str, step: str = "", offset: int = 0) -> LogChunk:
        query = urllib.parse.urlencode({"step": step, "offset": offset})
        return self._get(f"/v1/runs/{quote(run)}/log?{query}", LogChunk)

    def process_log(self, name: str, offset: int = 0) -> LogChunk:
        return self._get(f"/v1/processes/{quote(name)}/log?offset={offset}", LogChunk)

    def follow(self, run: str, step: str = "") -> Iterator[str]:
        """A step's log as it grows, until the run has ended."""
        offset = 0
        while True:
            chunk = self.log(run, step, offset)
            offset = chunk.next_offset
            if chunk.text:
                yield chunk.text
            if chunk.done:
                return
            if not chunk.text:
                time.sleep(_POLL)

    def wait(self, run: str, *, seconds: float) -> Run:
        """The run once it has ended; Unavailable when it has not within `seconds`."""
        deadline = time.monotonic() + seconds
        while (found := self.run(run)).state is RunState.RUNNING:
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"run {run} has not ended within {seconds:g} s", hint=f"`conveyor logs {run}` shows it."
                )
            time.sleep(_POLL)
        return found

    def add_data(self, project: str, dataset: str, file: Path, name: str = "") -> Accepted:
        path = f"/v1/projects/{quote(project)}/data/{quote(dataset)}/files/{quote(name or file.name)}"
        try:
            with file.open("rb") as body:
                size = {"content-length": str(file.stat().st_size)}
                return self._decode(self._send("PUT", path, body, size), Accepted)
        except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
            raise InputRejected(f"{file} cannot be read: {error.strerror}", hint="Give the path of a file.") from error

    def send_rows(self, project: str, dataset: str, rows: Iterable[object], key: str = "") -> RowsTaken:
        """Rows as dicts, in one request; with a key it may be sent again until it is answered, and counts once."""
        headers = {"content-type": "application/x-ndjson"} | ({"idempotency-key": key} if key else {})
        body = b"".join(wire.to_json(row) + b"\n" for row in rows)
        return self._decode(self._send("POST", f"{data_path(project, dataset)}/rows", body, headers), RowsTaken)

    def dataset_versions(self, project: str, dataset: str, limit: int = 50) -> list[DatasetVersion]:
        return self._get(f"{data_path(project, dataset)}/versions?limit={limit}", list[DatasetVersion])

    def table(self, project: str, dataset: str, version: str = "latest") -> TableView:
        """`version` is what follows the @ of a reference: v12, latest, a tag, a time."""
        return self._get(f"{data_path(project, dataset)}/table?version={quote(version)}", TableView)

    def table_object(self, project: str, dataset: str, version: int, digest: str, target: BinaryIO) -> None:
        """The bytes of a part; whoever asks for them compares them with the digest."""
        path = f"{data_path(project, dataset)}/table/objects/{quote(digest)}?version=v{version}"
        with self._asked("GET", path) as response:
            while chunk := response.read(_CHUNK):
                try:
                    target.write(chunk)
                except OSError as error:
                    raise NoSpace(f"a part could not be kept: {error.strerror}", hint="Free some space.") from error

    def tags(self, project: str, dataset: str) -> list[DataTag]:
        return self._get(f"{data_path(project, dataset)}/tags", list[DataTag])

    def tag_moves(self, project: str, dataset: str, limit: int = 50) -> list[DataTagMove]:
        return self._get(f"{data_path(project, dataset)}/tags/moves?limit={limit}", list[DataTagMove])

    def tag_data(self, project: str, dataset: str, tag: str, request: requests.TagVersion) -> Message:
        path = f"{data_path(project, dataset)}/tags/{quote(tag)}"
        return self._decode(self._send("PUT", path, wire.to_json(request)), Message)

    def arrivals(self, project: str, dataset: str, limit: int = 50) -> list[Arrival]:
        return self._get(f"{data_path(project, dataset)}/arrivals?limit={limit}", list[Arrival])

    def quarantine(self, project: str, dataset: str, limit: int = 50) -> list[Quarantined]:
        return self._get(f"{data_path(project, dataset)}/quarantine?limit={limit}", list[Quarantined])

    def lineage(self, project: str, of: str) -> Lineage:
        """Of a file's name or digest, a dataset or a model; with @VERSION of that one."""
        return self._get(f"/v1/projects/{quote(project)}/lineage?of={quote(of)}", Lineage)

    def contract(self, project: str, dataset: str) -> Contract:
        return self._get(f"{data_path(project, dataset)}/contract", Contract)

    def inferred_contract(self, project: str, dataset: str) -> Contract:
        return self._get(f"{data_path(project, dataset)}/contract/inferred", Contract)

    def erasures(self, project: str, dataset: str) -> list[Erasure]:
        return self._get(f"{data_path(project, dataset)}/erasures", list[Erasure])

    def lift_erasure(self, project: str, dataset: str, id_: str, request: requests.Lift) -> Message:
        return self._post(f"{data_path(project, dataset)}/erasures/{quote(id_)}/lift", request, Message)

    def erase(self, project: str, dataset: str, request: requests.Erase) -> ErasureView:
        """Reads the whole dataset, so it may take its time."""
        patient = copy(self)
        patient._timeout = _LONG
        return patient._post(f"{data_path(project, dataset)}/erase", request, ErasureView)

    def quarantine_past(self, project: str, dataset: str, limit: int = 50) -> list[Quarantined]:
        return self._get(f"{data_path(project, dataset)}/quarantine-past?limit={limit}", list[Quarantined])

    def quarantined_rows(self, project: str, dataset: str, entry: str, limit: int = 20) -> QuarantinedRows:
        return self._get(f"{data_path(project, dataset)}/quarantine/{quote(entry)}?limit={limit}", QuarantinedRows)

    def release_rows(self, project: str, dataset: str, entry: str, request: requests.ReleaseRows) -> Message:
        return self._post(f"{data_path(project, dataset)}/quarantine/{quote(entry)}/release", request, Message)

    def drop_rows(self, project: str, dataset: str, entry: str, request: requests.DropRows) -> Message:
        return self._post(f"{data_path(project, dataset)}/quarantine/{quote(entry)}/drop", request, Message)

    def model_versions(self, project: str, model: str, limit: int = 50) -> list[ModelVersion]:
        return self._get(f"{model_path(project, model)}/versions?limit={limit}", list[ModelVersion])

    def quality(self, project: str, model: str, limit: int = 200) -> list[Quality]:
        return self._get(f"{model_path(project, model)}/quality?limit={limit}", list[Quality])

    def windows(self, project: str, model: str, limit: int = 200) -> list[Window]:
        return self._get(f"{model_path(project, model)}/windows?limit={limit}", list[Window])

    def decisions(self, project: str, model: str, limit: int = 50) -> list[Event]:
        return self._get(f"{model_path(project, model)}/decisions?limit={limit}", list[Event])

    def releases(self, project: str, environment: str, limit: int = 50) -> list[Release]:
        return self._get(f"{environment_path(project, environment)}/releases?limit={limit}", list[Release])

    def release(self, project: str, environment: str, number: int | None = None) -> ReleaseView:
        """By its number; without one what is being rolled out, or else what is live."""
        which = "release" if number is None else f"releases/{number}"
        return self._get(f"{environment_path(project, environment)}/{which}", ReleaseView)

    def dora(self, project: str = "", environment: str = "production", window: str = "30d") -> Dora:
        query = {"project": project, "environment": environment, "window": window}
        return self._get(f"/v1/dora?{urllib.parse.urlencode(query)}", Dora)

    def rollback(self, project: str, environment: str, request: requests.Rollback) -> Message:
        return self._post(f"{environment_path(project, environment)}/rollback", request, Message)

    def pause(self, project: str, environment: str, request: requests.Pause) -> Message:
        return self._post(f"{environment_path(project, environment)}/rollout/pause", request, Message)

    def resume(self, project: str, environment: str, request: requests.Resume) -> Message:
        return self._post(f"{environment_path(project, environment)}/rollout/resume", request, Message)

    def abort(self, project: str, environment: str, request: requests.Abort) -> Message:
        return self._post(f"{environment_path(project, environment)}/rollout/abort", request, Message)

    def environments(self, project: str) -> list[EnvironmentView]:
        return self._get(f"/v1/projects/{quote(project)}/environments", list[EnvironmentView])

    def promote(self, project: str, target: str, request: requests.Promote) -> Message:
        return self._post(f"{environment_path(project, target)}/promote", request, Message)

    def approve(self, project: str, environment: str, request: requests.Approve) -> Message:
        return self._post(f"{environment_path(project, environment)}/approve", request, Message)

    def reject(self, project: str, environment: str, request: requests.Reject) -> Message:
        return self._post(f"{environment_path(project, environment)}/reject", request, Message)

    def remove_environment(self, project: str, environment: str, request: requests.Remove) -> Message:
        return self._post(f"{environment_path(project, environment)}/remove", request, Message)

    def secrets(self, project: str, environment: str = "") -> list[SecretView]:
        query = f"?environment={quote(environment)}" if environment else ""
        return self._get(f"/v1/projects/{quote(project)}/secrets{query}", list[SecretView])

    def set_secret(self, project: str, environment: str, name: str, request: requests.SetSecret) -> Message:
        path = f"{environment_path(project, environment)}/secrets/{quote(name)}"
        return self._decode(self._send("PUT", path, wire.to_json(request)), Message)

    def remove_secret(self, project: str, environment: str, name: str) -> Message:
        path = f"{environment_path(project, environment)}/secrets/{quote(name)}"
        return self._decode(self._send("DELETE", path), Message)

    def remotes(self) -> list[RemoteView]:
        return self._get("/v1/remotes", list[RemoteView])

    def add_remote(self, project: str, request: requests.AddRemote) -> NewRemote:
        return self._decode(self._send("PUT", f"/v1/remotes/{quote(project)}", wire.to_json(request)), NewRemote)

    def remove_remote(self, project: str) -> Message:
        return self._decode(self._send("DELETE", f"/v1/remotes/{quote(project)}"), Message)

    def tokens(self) -> list[TokenView]:
        return self._get("/v1/tokens", list[TokenView])

    def create_token(self, request: requests.CreateToken) -> NewToken:
        return self._post("/v1/tokens", request, NewToken)

    def remove_token(self, name: str) -> Message:
        return self._decode(self._send("DELETE", f"/v1/tokens/{quote(name)}"), Message)

    def model_version(self, project: str, model: str, version: str = "latest") -> ModelVersion:
        """By number, alias, or "latest"."""
        return self._get(f"{model_path(project, model)}/versions/{quote(version)}", ModelVersion)

    def compare_models(self, project: str, model: str, one: str, other: str) -> ComparedVersions:
        query = urllib.parse.urlencode({"one": one, "other": other})
        return self._get(f"{model_path(project, model)}/compare?{query}", ComparedVersions)

    def model_aliases(self, project: str, model: str) -> list[Alias]:
        return self._get(f"{model_path(project, model)}/aliases", list[Alias])

    def alias_moves(self, project: str, model: str, limit: int = 50) -> list[AliasMove]:
        return self._get(f"{model_path(project, model)}/aliases/moves?limit={limit}", list[AliasMove])

    def move_alias(self, project: str, model: str, alias: str, request: requests.MoveAlias) -> Message:
        path = f"{model_path(project, model)}/aliases/{quote(alias)}"
        return self._decode(self._send("PUT", path, wire.to_json(request)), Message)

    def undo_alias(self, project: str, model: str, alias: str, request: requests.UndoAlias) -> Message:
        return self._post(f"{model_path(project, model)}/aliases/{quote(alias)}/undo", request, Message)

    def verify_models(self, project: str, model: str, request: requests.VerifyModel) -> list[Verification]:
        """Starts a process for each version, one after the other."""
        patient = copy(self)
        patient._timeout = _LONG
        return patient._post(f"{model_path(project, model)}/verify", request, list[Verification])

    def verifications(self, project: str, model: str) -> list[Verification]:
        return self._get(f"{model_path(project, model)}/verifications", list[Verification])

    def provenance(self, project: str, model: str, version: str) -> bytes:
        """The signed envelope (DSSE) around an in-toto statement, as JSON."""
        return self._send("GET", f"{model_path(project, model)}/versions/{quote(version)}/provenance")

    def provenance_key(self) -> bytes:
        return self._send("GET", "/v1/keys/provenance.pem")

    def model_card(self, project: str, model: str, version: str = "latest") -> str:
        """Markdown with the header that Hugging Face reads."""
        return self._send("GET", f"{model_path(project, model)}/versions/{quote(version)}/card.md").decode()

    def export_model(self, project: str, model: str, version: str, target: BinaryIO) -> None:
        """A zip with the artifact, its card, its provenance and the key that proves it."""
        path = f"{model_path(project, model)}/versions/{quote(version)}/export.zip"
        with self._asked("GET", path) as response:
            while chunk := response.read(_CHUNK):
                try:
                    target.write(chunk)
                except OSError as error:
                    raise NoSpace(f"the export could not be kept: {error.strerror}", hint="Free some space.") from error

    def reproduce(self, project: str, model: str, version: str = "latest") -> Message:
        """Its run's result is a Reproduction."""
        return self._decode(
            self._send("POST", f"{model_path(project, model)}/versions/{quote(version)}/reproduce"), Message
        )

    def promote_model(self, project: str, model: str, version: int, request: requests.PromoteModel) -> Message:
        return self._post(f"{model_path(project, model)}/versions/{version}/promote", request, Message)

    def remove_model(self, project: str, model: str, version: int, request: requests.RemoveModel) -> Message:
        return self._post(f"{model_path(project, model)}/versions/{version}/remove", request, Message)

    def retrain(self, project: str, model: str, request: requests.Retrain) -> Message:
        return self._post(f"{model_path(project, model)}/retrain", request, Message)

    def collect(self, request: requests.Collect) -> Collected:
        return self._post("/v1/collect", request, Collected)

    def cancel(self, run: str, request: requests.Cancel) -> Message:
        return self._post(f"/v1/runs/{quote(run)}/cancel", request, Message)

    def sweeps(self, project: str, limit: int = 50) -> list[Sweep]:
        return self._get(f"/v1/projects/{quote(project)}/sweeps?limit={limit}", list[Sweep])

    def sweep(self, project: str, name: str) -> Sweep:
        return self._get(f"/v1/projects/{quote(project)}/sweeps/{quote(name)}", Sweep)

    def start_sweep(self, project: str, name: str) -> Sweep:
        return self._post(f"/v1/projects/{quote(project)}/sweeps/{quote(name)}/start", {}, Sweep)

    def cancel_sweep(self, project: str, name: str, request: requests.Cancel) -> Message:
        return self._post(f"/v1/projects/{quote(project)}/sweeps/{quote(name)}/cancel", request, Message)


def connect(home: Path | None = None) -> Client:
    """The client of the Conveyor at `home`; of CONVEYOR_URL with CONVEYOR_TOKEN; or of the current folder."""
    if home is None and (url := os.environ.get("CONVEYOR_URL")):
        return Client(url, os.environ.get("CONVEYOR_TOKEN", ""))
    settings = load_settings(home or find_home(Path.cwd(), os.environ))
    return Client(settings.api_url, settings.token_file.read_text().strip())
