"""Staging, production and previews of one project: what goes where, who decides, and that nothing leaks across."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conveyor.domain import requests
from conveyor.domain.views import EnvironmentView
from conveyor.errors import Conflict, ConveyorError, NotFound, Refused

from .system import MODEL, NAME, System, rows

pytestmark = pytest.mark.timeout(600)
PRODUCTION, STAGING, BRANCH, PREVIEW = "production", "staging", "feature/New_Checkout", "preview-feature-new-checkout"
EVERY = 120.0  # seconds that anything may take on a busy machine

SERVICE = """import json
import os
import sqlite3
from contextlib import closing


def answer(path="/"):
    file = os.environ["DATABASE_URL"].removeprefix("sqlite:///")
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("CREATE TABLE IF NOT EXISTS rows (n)")
        if path == "/add":
            database.execute("INSERT INTO rows VALUES (1)")
        count = database.execute("SELECT count(*) FROM rows").fetchone()[0]
    told = {name: os.environ.get(name) for name in ("BANNER", "CONVEYOR_ENVIRONMENT", "CONVEYOR_MODEL_RISK")}
    return 200, json.dumps({"version": VERSION, "rows": count, **told})
"""
CONFIG = """
[service.web.env]
BANNER = "none"

[environment.staging]
env = { BANNER = "staging" }

[environment.production]
from = "staging"
approve = true

[environment.qa]

[preview]
branches = ["feature/*"]
expires = "1h"
env = { BANNER = "preview" }
"""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    made = System(tmp_path_factory.mktemp("places"))
    try:
        made.start()
        text = (made.source / "conveyor.toml").read_text().replace("[environment.production]\n", "")
        text = text.replace('health = "/healthz"\n', 'health = "/healthz"\ndatabase = "DATABASE_URL"\n')
        text = text.replace('hold = "2s"\nwatch = "2s"', 'hold = "0s"\nwatch = "0s"').replace("[20, 100]", "[100]")
        text = text.replace('hold = "1s"\nwatch = "1s"', 'hold = "0s"\nwatch = "0s"').replace("[50, 100]", "[100]")
        made.write("conveyor.toml", text + CONFIG)
        made.replace("app/__main__.py", "app.answer()", "app.answer(self.path)")
        service(made, "1")
        made.push("First version")
        for day in range(4):
            made.land(rows(day), f"day-{day}.parquet")
        yield made
    finally:
        made.stop()


def service(system: System, version: str) -> None:
    system.write("app/__init__.py", f'VERSION = "{version}"\n' + SERVICE)


def place(system: System, name: str) -> EnvironmentView | None:
    try:
        return next((view for view in system.client.environments(NAME) if view.name == name), None)
    except NotFound:  # the first push has not been read yet
        return None


def settled(system: System, name: str, version: str) -> dict[str, Any]:
    """What the service says in an environment once this version is live there and nothing is being rolled out."""

    def found() -> dict[str, Any] | None:
        view = place(system, name)
        if view is None or view.live is None or view.rollout is not None:
            return None
        status, said = ask(system, name)
        return said if status == 200 and said["version"] == version else None

    said: dict[str, Any] = system.wait(found, f"version {version} in {name}", EVERY)
    return said


def ask(system: System, name: str, path: str = "/", host: str = "", body: object = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", system.settings.public_port, timeout=30)
    try:
        method, sent = ("GET", None) if body is None else ("POST", json.dumps(body))
        connection.request(method, path, sent, {"host": host or f"{name}.{NAME}.localhost"})
        response = connection.getresponse()
        raw = response.read().decode()
        return response.status, json.loads(raw) if raw.startswith("{") else raw
    finally:
        connection.close()


def pushed(system: System, branch: str, message: str) -> str:
    """Commits on the branch that is checked out, and pushes it under this name."""
    system._git("add", "-A")
    system._git("-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "-q", "-m", message)
    system._git("push", "-q", system.remote(system.token), f"HEAD:refs/heads/{branch}")
    return system._git("rev-parse", "HEAD").strip()


def cli(system: System, *words: str) -> str:
    env = {"CONVEYOR_HOME": str(system.settings.home), "PATH": "/usr/bin:/bin"}
    command = [str(Path(sys.executable).with_name("conveyor")), *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def promote(system: System, source: str, target: str, *, again: bool = False) -> str:
    return system.client.promote(NAME, target, requests.Promote(source, again)).message


def refused(kind: type[ConveyorError], word: str, system: System, source: str, target: str) -> None:
    with pytest.raises(kind, match=word) as said:
        promote(system, source, target)
    assert said.value.hint


def test_a_promotion_moves_what_is_live_once_a_person_approved(system: System) -> None:
    system.wait(lambda: place(system, STAGING), "the first build", EVERY)
    refused(Conflict, "nothing is live in staging", system, STAGING, PRODUCTION)
    refused(Refused, "nothing is promoted to it", system, PRODUCTION, STAGING)
    refused(NotFound, "no environment", system, STAGING, "moon")
    assert settled(system, STAGING, "1")["BANNER"] == "staging"
    before = place(system, PRODUCTION)
    assert before is not None
    assert before.live is None
    assert before.waiting == "nothing was promoted from staging yet"

    after = system.newest()
    assert "approval" in promote(system, STAGING, PRODUCTION)
    system.event(after, "release.promoted", source=STAGING)
    system.event(after, "release.proposed")
    refused(Conflict, "already", system, STAGING, PRODUCTION)
    waiting = place(system, PRODUCTION)
    assert waiting is not None
    assert waiting.proposal is not None
    assert waiting.live is None
    assert "promoted from staging" in waiting.proposal.text
    assert "waits for approval: promoted from staging" in cli(system, "status")
    with pytest.raises(Conflict, match="newer"):
        system.client.approve(NAME, PRODUCTION, requests.Approve("another"))

    assert "approved" in cli(system, "approve")
    said = settled(system, PRODUCTION, "1")
    assert said["BANNER"] == "none"
    source, target = place(system, STAGING), place(system, PRODUCTION)
    assert source is not None
    assert target is not None
    assert source.live is not None
    assert target.live is not None
    assert (source.live.build, source.live.models) == (target.live.build, target.live.models)
    assert target.live.models == {MODEL: 1}
    refused(Conflict, "live in production already", system, STAGING, PRODUCTION)
    with pytest.raises(Conflict, match="nothing waits"):
        system.client.approve(NAME, PRODUCTION, requests.Approve())
    assert len(system.events(after, "release.proposed")) == 1


def test_a_push_to_a_branch_gets_a_preview_that_shares_nothing(system: System) -> None:
    for _ in range(2):
        ask(system, PRODUCTION, "/add")
    after = system.newest()
    service(system, "branch")
    system._git("checkout", "-q", "-b", "work")
    commit = pushed(system, BRANCH, "A new checkout")
    created = system.event(after, "environment.created", seconds=EVERY)
    assert f"{PREVIEW}.{NAME}.localhost" in created.data["address"]
    said = settled(system, PREVIEW, "branch")
    assert (said["rows"], said["BANNER"]) == (2, "preview")  # production's rows are there, in a copy
    view = place(system, PREVIEW)
    assert view is not None
    assert view.live is not None
    assert (view.live.commit, view.live.models, view.branch) == (commit, {MODEL: 1}, BRANCH)
    assert ask(system, PREVIEW, "/add")[1]["rows"] == 3
    assert ask(system, PREVIEW, "/add")[1]["rows"] == 4
    assert ask(system, PRODUCTION)[1]["rows"] == 2
    assert ask(system, PRODUCTION)[1]["version"] == ask(system, STAGING)[1]["version"] == "1"

    # Its model is a process of its own; the service is told where that answers, by a path that needs no name server.
    path = said["CONVEYOR_MODEL_RISK"].removeprefix(system.settings.public_url)
    assert path == f"/@{NAME}/{PREVIEW}/v2/models/{MODEL}"
    tensors = [{"name": name, "datatype": "FP32", "shape": [1], "data": [5.0]} for name in ("amount", "hour")]
    status, answer = ask(
        system, PREVIEW, f"{path}/infer", f"127.0.0.1:{system.settings.public_port}", {"inputs": tensors}
    )
    assert (status, answer["model_version"]) == (200, "1")
    assert not list((system.settings.observations / NAME / MODEL).rglob("*preview*"))
    assert cli(system, "env", "list").count(f"http://{PREVIEW}.{NAME}.localhost") == 1
    assert BRANCH in cli(system, "env", "show", PREVIEW)
    with pytest.raises(Conflict, match="declared"):
        system.client.remove_environment(NAME, PRODUCTION, requests.Remove())


def test_what_a_person_rejects_stays_out_until_asked_for_again(system: System) -> None:
    system._git("checkout", "-q", "main")
    service(system, "2")
    pushed(system, "main", "Version 2")
    settled(system, STAGING, "2")
    assert ask(system, PRODUCTION)[1]["version"] == "1"
    promote(system, STAGING, PRODUCTION)
    after = system.newest()
    system.wait(lambda: (place(system, PRODUCTION) or view_of()).proposal, "the proposal", EVERY)
    cli(system, "reject", "--reason", "not before Monday")
    assert system.event(after, "release.rejected").data["reason"] == "not before Monday"
    refused(Refused, "not before Monday", system, STAGING, PRODUCTION)
    assert ask(system, PRODUCTION)[1]["version"] == "1"
    promote(system, STAGING, PRODUCTION, again=True)
    system.wait(lambda: (place(system, PRODUCTION) or view_of()).proposal, "the proposal", EVERY)
    cli(system, "approve", PRODUCTION)
    assert settled(system, PRODUCTION, "2")["rows"] == 2


def view_of() -> EnvironmentView:
    return EnvironmentView(NAME, "none", None, None, "", {})


def test_a_retrained_model_waits_for_approval_and_a_rollback_does_not(system: System) -> None:
    after = system.newest()
    system.land(rows(4), "day-4.parquet")
    proposed = system.event(after, "release.proposed", seconds=EVERY)
    assert proposed.data["models"] == {MODEL: 2}
    in_staging = system.wait(lambda: models(system, STAGING) == {MODEL: 2}, "the model in staging", EVERY)
    assert in_staging
    assert models(system, PRODUCTION) == {MODEL: 1}
    system.client.rollback(NAME, PRODUCTION, requests.Rollback())
    settled(system, PRODUCTION, "1")
    assert models(system, PRODUCTION) == {MODEL: 1}


def models(system: System, name: str) -> dict[str, int] | None:
    view = place(system, name)
    return view.live.models if view is not None and view.live is not None and view.rollout is None else None


def gone(system: System, name: str, reason: str, after: int) -> None:
    ended = system.event(after, "environment.ended", seconds=EVERY)
    assert reason in ended.data["reason"]
    assert place(system, name) is None
    assert ask(system, name)[0] == 404
    assert not [p.name for p in system.client.status().processes if p.name.startswith(f"{NAME}-{name}")]
    assert not (system.settings.home / "databases" / NAME / name).exists()
    with pytest.raises(NotFound):
        system.client.releases(NAME, name)


def test_a_preview_ends_with_its_branch_and_begins_anew(system: System) -> None:
    after = system.newest()
    system._git("push", "-q", system.remote(system.token), "--delete", BRANCH)
    gone(system, PREVIEW, "was deleted", after)
    after = system.newest()
    system._git("checkout", "-q", "work")
    service(system, "again")
    pushed(system, BRANCH, "Once more")
    assert settled(system, PREVIEW, "again")["rows"] == 2
    cli(system, "env", "rm", PREVIEW, "--reason", "seen enough")
    gone(system, PREVIEW, "seen enough", after)


def test_a_preview_expires_and_what_is_not_declared_any_more_is_told(system: System) -> None:
    system._git("checkout", "-q", "main")
    system.replace("conveyor.toml", 'expires = "1h"', 'expires = "2s"')
    system.replace("conveyor.toml", "[environment.qa]\n", "")
    pushed(system, "main", "Shorter previews")
    note = system.wait(lambda: (place(system, "qa") or view_of()).note, "the note", EVERY)
    assert "conveyor env rm qa" in note
    assert ask(system, "qa")[0] == 200
    assert note in cli(system, "status")
    after = system.newest()
    cli(system, "env", "rm", "qa")
    system.event(after, "environment.ended", seconds=EVERY)
    assert place(system, "qa") is None
    assert ask(system, "qa")[0] == 404
    assert (system.settings.home / "databases" / NAME / "qa").exists()

    after = system.newest()
    system._git("checkout", "-q", "work")
    service(system, "short")
    pushed(system, "feature/short", "Soon over")
    gone(system, "preview-feature-short", "expired", after)
    assert ask(system, PRODUCTION)[1] == {**ask(system, PRODUCTION)[1], "version": "1", "rows": 2}
