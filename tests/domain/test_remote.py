"""What moved at a remote, how long to wait for the next fetch, and who signed a webhook."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor.domain.remote import moves, refspecs, wait, wrong_branch, wrong_url
from conveyor.domain.webhook import Delivery, from_github, from_gitlab

BRANCHES = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["1", "2", "3"]))
SEEN = "refs/seen/"


def applied(commands: list[str], heads: dict[str, str], seen: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    refs = {f"refs/heads/{name}": sha for name, sha in heads.items()} | {f"{SEEN}{n}": sha for n, sha in seen.items()}
    for verb, ref, *sha in (line.split() for line in commands):
        if verb == "update":
            refs[ref] = sha[0]
        else:
            del refs[ref]
    return tuple({r.removeprefix(u): s for r, s in refs.items() if r.startswith(u)} for u in ("refs/heads/", SEEN))  # type: ignore[return-value]


@given(BRANCHES, BRANCHES, BRANCHES)
def test_what_moved_there_moves_here_and_nothing_else(
    tracked: dict[str, str], seen: dict[str, str], heads: dict[str, str]
) -> None:
    after, noted = applied(moves(tracked, seen, heads, SEEN), heads, seen)
    assert noted == tracked
    assert moves(tracked, noted, after, SEEN) == [], "once is enough"
    for branch in {*tracked, *seen, *heads}:
        if tracked.get(branch) == seen.get(branch):
            assert after.get(branch) == heads.get(branch), "it did not move there"
        elif branch in tracked:
            assert after[branch] == tracked[branch]
        else:
            assert after.get(branch) == (None if heads.get(branch) == seen[branch] else heads.get(branch))


def test_failures_double_the_wait_up_to_an_hour() -> None:
    minute = timedelta(minutes=1)
    assert [wait(minute, n) for n in (0, 1, 2, 50)] == [minute, 2 * minute, 4 * minute, timedelta(hours=1)]
    assert wait(timedelta(hours=5), 3) == timedelta(hours=5)


@pytest.mark.parametrize("url", ["https://h/r.git", "ssh://git@h:22/r", "git@github.com:acme/shop.git", "file:///r"])
def test_addresses_that_git_may_be_given(url: str) -> None:
    assert wrong_url(url) == ""


@pytest.mark.parametrize("url", ["--upload-pack=x", "ext::sh -c id", "fd://3", "/etc", "https://h/ r", "a\nb", ""])
def test_addresses_that_git_must_not_be_given(url: str) -> None:
    assert wrong_url(url)


def test_branches() -> None:
    assert not any(map(wrong_branch, ("main", "feature/*", "v1.2", "*")))
    assert all(map(wrong_branch, ("", "-x", "a b", "a:b", "*/*", "a..b", "+a")))
    assert refspecs(("main", "f/*"), "refs/x/") == ("+refs/heads/main:refs/x/main", "+refs/heads/f/*:refs/x/f/*")


@given(st.binary(), st.text(min_size=1), st.text())
def test_no_signature_but_the_right_one_is_taken(body: bytes, secret: str, wrong: str) -> None:
    right = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    assert from_github(Delivery({"x-hub-signature-256": right}, body), secret)
    assert from_github(Delivery({"x-hub-signature-256": wrong}, body), secret) == (wrong == right)
    assert not from_github(Delivery({}, body), secret)
    assert not from_github(Delivery({"x-hub-signature-256": right}, body + b" "), secret)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert from_gitlab(Delivery({"x-gitlab-token": wrong}, body), secret, now) == (wrong == secret)
    assert not from_gitlab(Delivery({"x-gitlab-token": secret, "webhook-signature": wrong}, body), secret, now)
    assert not from_gitlab(Delivery({}, body), secret, now)
