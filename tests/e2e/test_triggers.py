"""What makes a push: `conveyor deploy`, a repository that is followed, and webhooks of GitHub and GitLab."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import signal
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from conveyor.domain import requests
from conveyor.domain.remote import NewRemote
from conveyor.errors import InputRejected, NotFound

from .duo import NAME, Duo

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def duo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Duo]:
    made = Duo(tmp_path_factory.mktemp("triggers"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


def words(*more: str) -> list[str]:
    return [str(Path(sys.executable).with_name("conveyor")), *more]


def conveyor(duo: Duo, *more: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"CONVEYOR_HOME": str(duo.settings.home)}
    done = subprocess.run(
        words(*more), cwd=duo.source, env=env, capture_output=True, text=True, timeout=240, check=False
    )
    assert duo.token not in done.stdout + done.stderr
    return done


def test_deploy_ends_with_0_when_it_is_live_and_not_before(duo: Duo) -> None:
    commit = duo.commit("First")
    (duo.source / "README.md").write_text("Changed, and not committed.\n")
    done = conveyor(duo, "deploy")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 file has changes that are not committed" in done.stderr
    assert f"/projects/{NAME}/commits/{commit}" in done.stdout
    assert "test:api: succeeded" in done.stdout
    assert "2 tests" in done.stdout
    assert f"{commit[:8]} is live in production" in done.stdout
    duo.wait_live(commit)
    assert duo.say("/").startswith("web one")
    assert duo.git("remote").strip() == ""
    again = conveyor(duo, "deploy", "--json")
    assert again.returncode == 0, again.stderr
    told = json.loads(again.stdout)
    assert told["deployment"]["live"] == ["production"]
    assert told["tests"]["tests"] == 2


def test_deploy_names_the_failing_test_and_the_end_of_its_log(duo: Duo) -> None:
    duo.write(
        "api/test_more.py", "def test_sum():\n    print('seen in the log')\n    assert 1 + 1 == 3, 'no such sum'\n"
    )
    duo.commit("A wrong sum")
    done = conveyor(duo, "deploy")
    assert done.returncode == 1
    assert "failed: test_more::test_sum" in done.stdout
    assert "| seen in the log" in done.stdout
    assert "is not live (failed)" in done.stderr
    shown = conveyor(duo, "run", "show", duo.run_of(duo.git("rev-parse", "HEAD").strip()).id)
    assert "failed: test_more::test_sum" in shown.stdout
    duo.git("reset", "-q", "--hard", "HEAD~1")
    refused = conveyor(duo, "deploy")
    assert refused.returncode == 1
    assert "deploy --force" in refused.stderr
    assert conveyor(duo, "deploy", "--force").returncode == 0


def test_deploy_says_what_else_can_become_of_a_push(duo: Duo) -> None:
    assert "is no commit" in conveyor(duo, "deploy", "nonsense").stderr
    ignored = conveyor(duo, "deploy", "--branch", "topic")
    assert ignored.returncode == 1
    assert "no environment follows the branch topic" in ignored.stderr
    duo.write("web/text.txt", "web crashes\n")
    duo.write("web/serve.py", "raise SystemExit('no')\n")
    duo.commit("It never starts")
    done = conveyor(duo, "deploy")
    assert done.returncode == 1
    assert "is not live (rolled back)" in done.stderr
    duo.git("reset", "-q", "--hard", "HEAD~1")


def test_an_interrupted_deploy_goes_on_by_itself(duo: Duo) -> None:
    duo.write("web/text.txt", "web interrupted\n")
    duo.write("web/check.sh", "sleep 5; test -s text.txt\n")
    commit = duo.commit("Slow")
    env = os.environ | {"CONVEYOR_HOME": str(duo.settings.home)}
    process = subprocess.Popen(words("deploy", "--force"), cwd=duo.source, env=env, stdout=subprocess.PIPE, text=True)
    duo.wait(
        lambda: any(e.data["commit"] == commit for e in duo.client.events(types=("code.pushed",), newest=True)), "it"
    )
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "It goes on by itself" in said
    duo.wait_live(commit)


def test_a_deploy_outlives_the_control_plane(duo: Duo) -> None:
    """Killed while the test runs: the step is not run twice, and whoever follows is told of it all."""
    trace = duo.root / "trace.txt"
    duo.write("web/check.sh", f"echo begun >> {trace}; sleep 4\n")
    duo.commit("Killed meanwhile")
    env = os.environ | {"CONVEYOR_HOME": str(duo.settings.home)}
    process = subprocess.Popen(words("deploy", "--force"), cwd=duo.source, env=env, stdout=subprocess.PIPE, text=True)
    duo.wait(trace.exists, "the test to begin")
    control = next(each for each in duo.client.status().processes if each.name == "control")
    assert control.pid is not None
    os.kill(control.pid, signal.SIGKILL)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert "is live in production" in said
    assert trace.read_text().splitlines() == ["begun"]


def test_a_repository_elsewhere_is_followed(duo: Duo, tmp_path: Path) -> None:
    origin = tmp_path / "origin.git"
    first = duo.commit("The origin begins")
    duo.git("clone", "-q", "--bare", str(duo.source), str(origin))
    with pytest.raises(InputRejected, match="not the address"):
        duo.client.add_remote("side", requests.AddRemote("ext::sh -c id"))
    made = duo.client.add_remote("side", requests.AddRemote(f"file://{origin}", poll="1s"))
    duo.wait(lambda: any(e.project == "side" and e.data["commit"] == first for e in duo.events(0, "code.pushed")), "it")
    after = duo.newest()
    commit = duo.commit("Pushed elsewhere")
    duo.git("push", "-q", str(origin), "HEAD:main", "HEAD:refs/heads/more")
    pushed = duo.event(after, "code.pushed", commit=commit, branch="main")
    assert pushed.project == "side"
    duo.event(after, "code.pushed", commit=commit, branch="more")
    # What is pushed here directly stays, until the branch moves there.
    direct = duo.commit("Pushed here")
    duo.git("push", "-q", duo.remote(duo.token).replace(NAME, "side"), "HEAD:main")
    duo.event(after, "code.pushed", commit=direct)
    time.sleep(3)
    assert not [
        e
        for e in duo.events(after, "code.pushed")
        if e.seq > pushed.seq and e.data["commit"] == commit and e.data["branch"] == "main"
    ]
    duo.git("push", "-q", str(origin), ":refs/heads/more")
    duo.event(after, "code.branch_deleted", branch="more")
    origin.rename(tmp_path / "away.git")
    failed = duo.event(after, "remote.failed")
    assert str(origin) in failed.data["error"]
    time.sleep(4)
    assert len(duo.events(after, "remote.failed")) == 1
    (remote,) = duo.client.remotes()
    assert remote.error
    (tmp_path / "away.git").rename(origin)
    duo.wait(lambda: not duo.client.remotes()[0].error, "the remote to be back", 60)
    assert made.secret not in json.dumps([e.data for e in duo.client.events(limit=1000)])
    assert "does not follow" in duo.client.remove_remote("side").message
    with pytest.raises(NotFound):
        duo.client.remove_remote("side")


def send(url: str, body: bytes, **headers: str) -> tuple[int, str]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, body, {"content-type": "application/json", **named}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_webhooks_fetch_at_once_when_they_are_signed(duo: Duo, tmp_path: Path) -> None:
    origin = tmp_path / "origin.git"
    duo.commit("The origin begins")
    duo.git("clone", "-q", "--bare", str(duo.source), str(origin))
    url = f"file://{origin}"
    made: NewRemote = duo.client.add_remote("hooked", requests.AddRemote(url, ("main",), "1h"))
    duo.wait(lambda: duo.client.remotes()[0].fetched, "the first fetch")
    body = json.dumps({"ref": "refs/heads/main"}).encode()
    good = "sha256=" + hmac.new(made.secret.encode(), body, hashlib.sha256).hexdigest()
    assert send(made.github, body, X_GitHub_Event="ping", X_Hub_Signature_256=good)[0] == 202
    for headers in ({}, {"X_Hub_Signature_256": good[:-1] + "x"}, {"X_Hub_Signature_256": "sha256=" + "0" * 64}):
        status, said = send(made.github, body, X_GitHub_Event="push", **headers)
        assert status == 401
        assert "not signed with the secret" in said
    unknown = made.github.replace("hooked", "unknown")
    assert send(unknown, body, X_GitHub_Event="push", X_Hub_Signature_256=good)[0] == 401
    assert send(made.github, b"x" * (6 << 20), X_Hub_Signature_256=good)[0] == 422

    def pushed(message: str) -> str:
        commit = duo.commit(message)
        duo.git("push", "-q", str(origin), "HEAD:main")
        return commit

    commit = pushed("GitHub tells")
    for _ in range(3):
        assert send(made.github, body, X_GitHub_Event="push", X_Hub_Signature_256=good)[0] == 202
    duo.event(0, "code.pushed", commit=commit, seconds=30)

    commit = pushed("GitLab shows its token")
    assert send(made.gitlab, body, X_GitLab_Event="Push Hook", X_GitLab_Token="wrong")[0] == 401
    assert send(made.gitlab, body, X_GitLab_Event="Push Hook", X_GitLab_Token=made.secret)[0] == 202
    duo.event(0, "code.pushed", commit=commit, seconds=30)

    def signed(seconds: float) -> dict[str, str]:
        key, sent = base64.b64decode(made.secret.removeprefix("whsec_")), str(int(time.time() - seconds))
        digest = hmac.new(key, b"id-1." + sent.encode() + b"." + body, hashlib.sha256).digest()
        value = f"v1,AAAA v1,{base64.b64encode(digest).decode()}"
        return {"webhook_id": "id-1", "webhook_timestamp": sent, "webhook_signature": value}

    commit = pushed("GitLab signs")
    assert send(made.gitlab, body, X_GitLab_Event="Push Hook", **signed(3600))[0] == 401, "too old"
    assert send(made.gitlab, body, X_GitLab_Event="Push Hook", **signed(0))[0] == 202
    duo.event(0, "code.pushed", commit=commit, seconds=30)
    assert len([e for e in duo.client.events(types=("code.pushed",), limit=1000) if e.data["commit"] == commit]) == 1


def test_logins_and_secrets_of_remotes_are_nowhere_in_the_clear(duo: Duo) -> None:
    url = f"http://joe:p4ssw0rd-{'x' * 8}@127.0.0.1:9/repo.git"
    made = duo.client.add_remote("private", requests.AddRemote(url, poll="1s"))
    told = conveyor(duo, "remote", "add", "typed", "https://127.0.0.1:9/shop.git", "--branch", "main").stdout
    assert f"{duo.settings.api_url}/v1/hooks/github/typed" in told
    assert "whsec_" in told
    assert "https://127.0.0.1:9/shop.git" in conveyor(duo, "remote", "list").stdout
    assert conveyor(duo, "remote", "rm", "typed").returncode == 0
    assert made.url == "http://127.0.0.1:9/repo.git"
    duo.event(0, "remote.failed", url=made.url, seconds=60)
    login = base64.b64encode(f"joe:p4ssw0rd-{'x' * 8}".encode())
    for path in duo.settings.home.rglob("*"):
        if path.is_file() and not stat.S_ISSOCK(path.stat().st_mode) and "/envs/" not in str(path):
            raw = path.read_bytes()
            assert b"p4ssw0rd" not in raw, path
            assert login not in raw, path
            assert made.secret.encode() not in raw, path
    duo.client.remove_remote("private")
