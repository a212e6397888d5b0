"""Secrets through a whole Conveyor: a service and a test that print theirs, and nothing on disk or in any answer."""

from __future__ import annotations

import hashlib
import http.client
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from conveyor.client import Client
from conveyor.domain import requests
from conveyor.domain.run import RunState
from conveyor.domain.token import Role
from conveyor.domain.views import EnvironmentView
from conveyor.errors import Forbidden, InputRejected, NotFound, Unauthorized

from .system import NAME, System

FIRST, SECOND, BAD, TESTS = "alpha-7f3k-value", "beta-9x2m-value", "broken-5t8q-value", "tests-4h6j-value"
CONFIG = """
[project]
name = "tiny"

[service.web]
run = "python -m app"
test = "python -m app.check"
health = "/healthz"
secrets = ["PAYMENT_KEY"]

[service.web.rollout]
steps = [50, 100]
hold = "1s"
watch = "1s"
drain = "1s"
start_timeout = "20s"
abort = { min_requests = 5 }

[environment.production]
"""
# It prints its secret at the start and in every answer's log line, and will not start with one that is broken.
MAIN = """
import os, sys, hashlib
print("starting with", os.environ["PAYMENT_KEY"], flush=True)
if os.environ["PAYMENT_KEY"].startswith("broken"):
    raise SystemExit("the provider refused " + os.environ["PAYMENT_KEY"])
"""
BODY = '    return 200, hashlib.sha256(os.environ["PAYMENT_KEY"].encode()).hexdigest()[:8]\n'
CHECK = """
import os
print("testing with", os.environ["TEST_KEY"])
raise SystemExit(f"no good: {os.environ['TEST_KEY']}" if os.path.exists("fail") else 0)
"""


def shown(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()[:8]


@pytest.fixture(scope="module")
def secretive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    made = System(tmp_path_factory.mktemp("secrets"))
    try:
        made.start()
        made.write("conveyor.toml", CONFIG)
        main = (made.source / "app" / "__main__.py").read_text()
        made.write("app/__main__.py", main.replace("import app\n", "import app\n" + MAIN, 1))
        made.write("app/check.py", CHECK)
        made.service("1", BODY)
        made.replace("app/__init__.py", "import os", "import hashlib\nimport os")
        yield made
    finally:
        made.stop()


def put(system: System, name: str, value: str, environment: str = "production") -> str:
    return system.client.set_secret(NAME, environment, name, requests.SetSecret(value)).message


def production(system: System) -> EnvironmentView:
    found = system.environment()
    assert found is not None
    return found


def answers(system: System) -> str:
    with urllib.request.urlopen(f"{system.settings.public_url}/", timeout=30) as response:
        text: str = response.read().decode()
    return text


def live_with(system: System, version: int, value: str) -> None:
    def settled() -> bool:
        found = system.environment()
        live = found.live if found and found.rollout is None else None
        return live is not None and live.secrets == {"PAYMENT_KEY": version}

    system.wait(settled, f"version {version} to be live", 120)
    assert answers(system) == shown(value)


def nowhere(system: System, *values: str) -> None:
    """Not in any file, not in events, not in what the API and pages say."""
    for value in values:
        found = subprocess.run(["grep", "-rlaF", value, str(system.settings.home)], capture_output=True, text=True)
        assert found.stdout == ""
    status = system.client.status()
    texts = [repr(status), repr(system.events(0)), repr(system.client.secrets(NAME)), repr(system.client.runs())]
    texts += [system.client.process_log(process.name).text for process in status.processes]
    for path in ("/", "/v1/status", "/v1/events?limit=1000", f"/v1/projects/{NAME}/environments/production/releases"):
        texts.append(fetched(system, path))
    for run in system.client.runs():
        texts += [system.client.log(run.id, step.name).text for step in run.steps]
        texts.append(fetched(system, f"/runs/{run.id}"))
    assert [value for value in values if any(value in text for text in texts)] == []


def fetched(system: System, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", system.settings.api_port, timeout=30)
    connection.request("GET", path, headers={"authorization": f"Bearer {system.token}"})
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    assert response.status == 200, (path, text[:300])
    return text


def test_secrets_from_the_first_push_to_a_rollback(secretive: System) -> None:
    system = secretive
    # Before the first push: any environment may be meant; names and values are checked all the same.
    put(system, "TEST_KEY", TESTS, "test")
    for name, value in (("A-B", "x"), ("PAYMENT_KEY", ""), ("PATH", "/bin")):
        with pytest.raises(InputRejected):
            put(system, name, value)

    # A declared secret without a value: no release, and the pusher is told what to do.
    commit = system.push("First")
    waiting = "secret PAYMENT_KEY has no value; set it with `conveyor secret set PAYMENT_KEY --env production`"
    system.event(0, "release.waiting", waiting_for=waiting, seconds=120)
    assert production(system).waiting == waiting
    build = system.client.run_of_commit(NAME, commit)
    assert build.state is RunState.SUCCEEDED
    assert "testing with ***" in system.client.log(build.id, "test:web").text

    # Its value alone makes the release.
    assert "a release with it follows (service.web)" in put(system, "PAYMENT_KEY", FIRST)
    live_with(system, 1, FIRST)
    assert "already" in put(system, "PAYMENT_KEY", FIRST)
    log = next(p.name for p in system.client.status().processes if "service.web" in p.name)
    assert "starting with ***" in system.client.process_log(log).text
    nowhere(system, FIRST, TESTS)

    # A changed value is a release with a rollout of its own: new processes, the same build, and a stated reason.
    before = production(system).live
    assert before is not None
    put(system, "PAYMENT_KEY", SECOND)
    live_with(system, 2, SECOND)
    after = production(system).live
    assert after is not None
    assert (after.build, after.reason) == (before.build, "secret PAYMENT_KEY changed")
    system.wait(lambda: log not in [p.name for p in system.client.status().processes], "the old process to end", 60)

    # One that the service cannot start with is ruled out, not the build; what runs goes on.
    position = system.newest()
    put(system, "PAYMENT_KEY", BAD)
    aborted = system.event(position, "rollout.aborted", seconds=120)
    assert "the provider refused ***" in aborted.data["reason"]
    system.event(position, "rollout.rolled_back", seconds=60)
    live_with(system, 2, SECOND)
    assert list(production(system).rejected) == ["secret:PAYMENT_KEY@3"]
    listed = {view.name: view for view in system.client.secrets(NAME, "production")}
    assert (listed["PAYMENT_KEY"].version, listed["PAYMENT_KEY"].used_by) == (3, ("service.web",))
    assert "the provider refused ***" in listed["PAYMENT_KEY"].ruled_out

    # A rollback brings the old value back.
    system.client.rollback(NAME, "production", requests.Rollback())
    live_with(system, 1, FIRST)
    nowhere(system, FIRST, SECOND, BAD, TESTS)


def test_a_failing_test_tells_why_without_its_secret(secretive: System) -> None:
    secretive.write("fail", "")
    commit = secretive.push("Fails")

    def ended() -> bool:
        try:
            return secretive.client.run_of_commit(NAME, commit).state is RunState.FAILED
        except NotFound:
            return False

    secretive.wait(ended, "the build to fail", 120)
    assert "no good: ***" in secretive.client.log(secretive.client.run_of_commit(NAME, commit).id, "test:web").text
    nowhere(secretive, TESTS)


def test_removing_and_the_command_line(secretive: System) -> None:
    system = secretive
    env = {"CONVEYOR_HOME": str(system.settings.home), "PATH": "/usr/bin:/bin", "HOME": str(system.root)}

    def conveyor(*words: str, said: str = "") -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("conveyor")), *words]
        return subprocess.run(command, env=env, input=said, capture_output=True, text=True, timeout=60, check=False)

    done = conveyor("secret", "set", "PAYMENT_KEY", said="gamma-1w5e-value\n")
    assert done.returncode == 0, done.stderr
    live_with(system, 4, "gamma-1w5e-value")
    in_history = conveyor("secret", "set", "OTHER=delta-3r7y-value", "--env", "test")
    assert (in_history.returncode, "history" in in_history.stderr) == (0, True)
    wrong = conveyor("secret", "set", "X", "--env", "prodution", said="y")
    assert (wrong.returncode, "there are: preview, production, test" in wrong.stderr.lower()) == (1, True)
    assert "PAYMENT_KEY" in conveyor("secret", "list").stdout
    removed = conveyor("secret", "rm", "PAYMENT_KEY")
    assert "service.web needs it" in removed.stdout
    system.wait(lambda: "PAYMENT_KEY has no value" in production(system).waiting, "it to wait", 60)
    assert answers(system) == shown("gamma-1w5e-value")
    assert conveyor("secret", "rm", "PAYMENT_KEY").returncode == 1
    nowhere(system, "gamma-1w5e-value", "delta-3r7y-value")
    changes = [event.data["change"] for event in system.events(0, "secret.changed")]
    assert changes == ["set", "set", "changed", "changed", "changed", "set", "removed"]


def test_builds_workers_and_previews_have_theirs(secretive: System) -> None:
    system = secretive
    (system.source / "fail").unlink()
    put(system, "PAYMENT_KEY", FIRST)
    put(system, "PAYMENT_KEY", "previews-8s1p-value", "preview")
    worker = """
[worker.mail]
run = "sh -c 'echo mailing with $PAYMENT_KEY; exec sleep 1000'"
secrets = ["PAYMENT_KEY"]

[preview]
branches = ["try/*"]

[environment.production]"""
    system.replace("conveyor.toml", "\n[environment.production]", worker)
    system.replace("conveyor.toml", "test =", 'build = "echo building with $TEST_KEY"\ntest =')
    commit = system.push("A worker, a build and previews")
    system.wait_live(commit, 180)
    build = system.client.run_of_commit(NAME, commit)
    assert "building with ***" in system.client.log(build.id, "build:web").text
    system._git("push", "-q", system.remote(system.token), "HEAD:refs/heads/try/out")

    def preview() -> EnvironmentView | None:
        views = (view for view in system.client.status().environments if view.name.startswith("preview-"))
        return next((view for view in views if view.live is not None and view.rollout is None), None)

    view = system.wait(preview, "the preview to be live", 180)
    assert view.live.secrets == {"PAYMENT_KEY": 1}
    names = [process.name for process in system.client.status().processes]
    mails = [name for name in names if "worker.mail" in name]
    assert len(mails) == 2
    for name in mails:
        system.wait(lambda name=name: "mailing with ***" in system.client.process_log(name).text, "the worker", 60)
    host = {"host": f"{view.name}.{NAME}.localhost"}
    connection = http.client.HTTPConnection("127.0.0.1", system.settings.public_port, timeout=30)
    connection.request("GET", "/", headers=host)
    assert connection.getresponse().read().decode() == shown("previews-8s1p-value")
    connection.close()
    assert answers(system) == shown(FIRST)
    nowhere(system, FIRST, TESTS, "previews-8s1p-value")


def test_roles(secretive: System) -> None:
    system = secretive
    made = {role: system.client.create_token(requests.CreateToken(f"{role}", role)).token for role in Role}
    clients = {role: Client(system.settings.api_url, token) for role, token in made.items()}
    for client in clients.values():
        assert client.status().environments
    with pytest.raises(Forbidden, match="needs deployer") as caught:
        clients[Role.VIEWER].rollback(NAME, "production", requests.Rollback())
    assert "--role deployer" in caught.value.hint
    for role in (Role.VIEWER, Role.DEPLOYER):
        for forbidden in (
            lambda c: c.secrets(NAME),
            lambda c: c.set_secret(NAME, "production", "PAYMENT_KEY", requests.SetSecret("x")),
            lambda c: c.tokens(),
            lambda c: c.create_token(requests.CreateToken("more", Role.ADMIN)),
        ):
            with pytest.raises(Forbidden, match="needs admin"):
                forbidden(clients[role])
    assert [token.name for token in clients[Role.ADMIN].tokens()] == ["viewer", "deployer", "admin"]
    refs = f"http://127.0.0.1:{system.settings.api_port}/git/{NAME}.git/info/refs?service=git-receive-pack"
    for role, status in ((Role.VIEWER, 403), (Role.DEPLOYER, 200)):
        request = urllib.request.Request(refs, headers={"authorization": f"Bearer {made[role]}"})
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                found = response.status
        except urllib.error.HTTPError as error:
            found = error.code
        assert found == status
    subprocess.run(["git", "ls-remote", system.remote(made[Role.VIEWER])], check=True, capture_output=True, timeout=60)
    clients[Role.ADMIN].remove_token("deployer")
    with pytest.raises(Unauthorized):
        clients[Role.DEPLOYER].status()
    brief = system.client.create_token(requests.CreateToken("brief", Role.VIEWER, timedelta(milliseconds=1))).token
    with pytest.raises(Unauthorized, match="token brief expired"):
        Client(system.settings.api_url, brief).status()
    nowhere(system, *made.values(), brief)
