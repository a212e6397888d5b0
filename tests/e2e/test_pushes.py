"""Pushes of every kind to a repository with two services: right, and explained."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from conveyor.domain.run import RunState, StepState
from conveyor.errors import NotFound

from .duo import NAME, Duo

pytestmark = pytest.mark.timeout(300)
SUBJECT = f"project/{NAME}"


@pytest.fixture(scope="module")
def duo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Duo]:
    made = Duo(tmp_path_factory.mktemp("pushes"))
    try:
        made.start()
        commit = made.commit("First")
        said = made.send("main")
        assert f"{made.settings.api_url}/projects/{NAME}/commits/{commit}" in said
        made.wait_live(commit, 240)
        yield made
    finally:
        made.stop()


def test_each_service_is_built_from_its_own_folder(duo: Duo) -> None:
    run = duo.run_of(duo.git("rev-parse", "HEAD").strip())
    assert [step.name for step in run.steps] == [
        *("checkout", "environment", "environment:api", "test:web", "build:api", "test:api", "test:api:2")
    ]
    assert run.result["tests"]["tests"] == 2
    assert run.result["tests"]["failures"] == 0
    assert "reports/broken.xml: not a JUnit report" in run.result["tests"]["unread"][0]
    assert duo.say("/").startswith("web one pid")
    assert duo.say("/api").startswith("api one pid")


def test_what_did_not_change_is_not_built_tested_or_restarted(duo: Duo) -> None:
    web, api = duo.say("/"), duo.say("/api")
    duo.write("web/text.txt", "web two\n")
    commit = duo.commit("Only the web service")
    duo.send("main")
    duo.wait_live(commit)
    assert duo.say("/").startswith("web two")
    assert duo.say("/") != web
    assert duo.say("/api") == api
    states = {step.name: step.state for step in duo.run_of(commit).steps}
    done_again = {name for name, state in states.items() if state is StepState.SUCCEEDED}
    assert done_again == {"checkout", "test:web"}
    assert duo.run_of(commit).result["tests"]["tests"] == 2, "a cached test keeps its report"

    again = duo.commit("Nothing at all")
    duo.send("main")
    run = duo.run_of(again)
    assert {step.state for step in run.steps} == {StepState.CACHED}
    ready = duo.client.events(types=("build.ready",), newest=True, limit=2)
    assert ready[0].data["build"] == ready[1].data["build"], "equal content, equal digest"


def test_a_failing_test_is_named_to_the_pusher(duo: Duo) -> None:
    duo.write("api/test_more.py", "def test_sum():\n    assert 1 + 1 == 3, 'no such sum'\n")
    commit = duo.commit("A wrong sum")
    duo.send("main")
    run = duo.run_of(commit)
    assert run.state is RunState.FAILED
    assert "test_more::test_sum" in run.error
    failing = run.result["tests"]["failing"]
    assert [each["name"] for each in failing] == ["test_more::test_sum"]
    assert "no such sum" in failing[0]["message"]
    assert "no such sum" in duo.page(f"/projects/{NAME}/commits/{commit}")
    assert duo.say("/").startswith("web two")
    duo.git("reset", "-q", "--hard", "HEAD~1")


def test_a_newer_push_supersedes_within_its_branch_only(duo: Duo) -> None:
    after = duo.newest()
    duo.write("web/check.sh", "sleep 3; test -s text.txt\n")
    commits = []
    for number in range(3):
        duo.write("web/text.txt", f"web three {number}\n")
        commits.append(duo.commit(f"Quick {number}"))
        duo.send("--force", "main")
    duo.wait_live(commits[-1])
    pushed = [event.data["commit"] for event in duo.events(after, "code.pushed")]
    assert pushed == commits, "no push is lost, however quick the next one is"
    superseded = {event.data["commit"]: event.data["newer"] for event in duo.events(after, "code.superseded")}
    assert superseded == dict(pairwise(commits))
    for commit in commits[:-1]:
        run = duo.run_of(commit)
        assert run.state is RunState.CANCELLED
        assert "superseded by" in run.error
    released = {event.data["commit"] for event in duo.events(after, "release.created")}
    assert released == {commits[-1]}


def test_a_push_during_a_rollout_waits_and_only_the_newest_follows(duo: Duo) -> None:
    duo.write("web/check.sh", "test -s text.txt\n")
    duo.replace(
        "conveyor.toml",
        '[service.web.rollout]\nsteps = [100]\nhold = "100ms"\nwatch = "100ms"',
        '[service.web.rollout]\nsteps = [50, 100]\nhold = "2s"\nwatch = "10m"',
    )
    duo.write("web/text.txt", "web four\n")
    slow = duo.commit("Slow canary")
    after = duo.newest()
    duo.send("main")
    duo.event(after, "release.created", commit=slow)
    duo.replace("conveyor.toml", 'watch = "10m"', 'watch = "100ms"')
    duo.write("web/text.txt", "web five\n")
    passed_over = duo.commit("Passed over")
    duo.send("main")
    assert duo.run_of(passed_over).state is RunState.SUCCEEDED
    duo.write("web/text.txt", "web six\n")
    last = duo.commit("Last")
    duo.send("main")
    told = duo.event(after, "code.superseded", commit=passed_over)
    assert told.data["newer"] == last
    assert told.data["run"] == duo.run_of(passed_over).id
    assert "gave way to the newer push" in duo.page(f"/projects/{NAME}/commits/{passed_over}")
    duo.wait_live(last)
    assert [e.data["commit"] for e in duo.events(after, "release.created")] == [slow, last]
    assert duo.events(after, "rollout.aborted") == []
    drained = duo.event(after, "rollout.advanced", phase="drain")
    assert drained.data["note"] == f"watched no longer: push {last[:8]} is ready"


def test_twenty_pushes_at_once(duo: Duo, tmp_path: Path) -> None:
    after = duo.newest()
    clones = []
    for number in range(10):
        clone = tmp_path / str(number)
        duo.git("clone", "-q", str(duo.source), str(clone))
        (clone / "web" / "text.txt").write_text(f"clone {number}\n")
        duo.git("commit", "-qam", f"Clone {number}", at=clone)
        clones.append(clone)
    url = duo.remote(duo.token)

    def push(job: tuple[Path, str]) -> str:
        """Empty, or why git refused: of two pushes that began from one state of a branch, one comes too late."""
        try:
            duo.git("push", "-q", "--force", url, f"HEAD:refs/heads/{job[1]}", at=job[0])
        except AssertionError as error:
            return str(error)
        return ""

    jobs = [(clone, f"side/{place}") for place, clone in enumerate(clones)] + [(clone, "main") for clone in clones]
    with ThreadPoolExecutor(20) as pool:
        refused = [said for said in pool.map(push, jobs) if said]
    assert all("refs/heads/main" in said and "cannot lock ref" in said for said in refused)
    head = duo.git("ls-remote", url, "refs/heads/main").split()[0]
    duo.wait_live(head)
    pushed = [(e.data["branch"], e.data["commit"]) for e in duo.events(after, "code.pushed")]
    assert sorted(branch for branch, _ in pushed if branch != "main") == sorted(f"side/{n}" for n in range(10))
    on_main = [commit for branch, commit in pushed if branch == "main"]
    assert len(on_main) + len(refused) == 10
    assert on_main[-1] == head
    superseded = {event.data["commit"] for event in duo.events(after, "code.superseded")}
    released = {event.data["commit"] for event in duo.events(after, "release.created")}
    assert superseded | released >= set(on_main)
    assert superseded.isdisjoint({head})


def test_force_push_tag_deletion_and_a_broken_configuration(duo: Duo) -> None:
    after = duo.newest()
    duo.write("web/text.txt", "web forced\n")
    forced = duo.commit("Forced")
    duo.send("--force", "main")
    duo.wait_live(forced)
    duo.git("tag", "v1")
    assert "only branches are built" in duo.send("v1")
    duo.send("HEAD:refs/heads/topic")
    duo.event(after, "code.pushed", branch="topic")
    with pytest.raises(NotFound):
        duo.client.run_of_commit(NAME, "0" * 40)
    assert "refs/heads/topic is gone" in duo.send(":refs/heads/topic")
    duo.event(after, "code.branch_deleted", branch="topic")
    duo.replace("conveyor.toml", 'path = "api"', 'path = "apis"')
    broken = duo.commit("A folder that is not there")
    duo.send("main")
    run = duo.run_of(broken)
    assert run.state is RunState.FAILED
    assert 'service.api.path: the commit has no folder "apis"' in run.error
    assert duo.say("/").startswith("web forced")
    duo.git("reset", "-q", "--hard", "HEAD~1")


def test_ten_thousand_files(duo: Duo) -> None:
    folder = duo.source / "web" / "many"
    folder.mkdir()
    for number in range(10_000):
        (folder / f"{number}.txt").write_text(f"{number}\n")
    commit = duo.commit("Many files")
    duo.send("--force", "main")
    duo.wait_live(commit, 180)
    assert duo.say("/").startswith("web forced")
