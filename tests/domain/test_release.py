"""`compose`: the newest of what no rollout rejected, and nothing that was rejected, ever."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from conveyor.domain.model import ModelStatus, ModelVersion, Parity, Score, Signature
from conveyor.domain.project import ModelConfig, ProjectConfig, ServiceConfig
from conveyor.domain.release import MOST_BUILDS, Build, Content, Environment, Release, compose

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _build(digest: str, *, uses: tuple[str, ...] = ("model.m",)) -> Build:
    config = ProjectConfig(
        "p",
        models={"m": ModelConfig("m", "a:b", ("data.d",), "roc_auc")},
        services={"web": ServiceConfig("web", "run", uses=uses)},
    )
    return Build("p", digest, f"{digest}commit", "tree", "env", config, NOW)


def _version(number: int, status: ModelStatus = ModelStatus.READY) -> ModelVersion:
    signature = Signature((), (), (), Score("p"))
    return ModelVersion("p", "m", number, status, {}, signature, {}, (), Parity(0, 0, 0), "r", "c", {}, "data", NOW)


def _release(build: str, models: dict[str, int]) -> Release:
    return Release("p", "production", 1, build, "c", models, "why", NOW)


digests = st.sampled_from("abcd")
statuses = st.sampled_from(list(ModelStatus))


@given(
    builds=st.lists(digests, unique=True),
    versions=st.lists(statuses, max_size=4),
    no_builds=st.sets(digests),
    no_versions=st.sets(st.integers(1, 4)),
    uses=st.booleans(),
)
def test_never_what_was_rejected_and_always_the_newest_of_the_rest(
    builds: list[str], versions: list[ModelStatus], no_builds: set[str], no_versions: set[int], uses: bool
) -> None:
    rejected = {f"build:{digest}": "bad" for digest in no_builds} | {f"model:m@{n}": "bad" for n in no_versions}
    environment = Environment("p", "production", rejected=rejected)
    newest_first = tuple(_version(n + 1, status) for n, status in reversed(list(enumerate(versions))))
    made = tuple(_build(digest, uses=("model.m",) if uses else ()) for digest in builds)
    composed = compose(environment, None, made, {"m": newest_first})
    good_builds = [digest for digest in builds if digest not in no_builds]
    good = [v.version for v in newest_first if v.status is ModelStatus.READY and v.version not in no_versions]
    if not good_builds or (uses and not good):
        assert composed.build is None
        assert composed.waiting
        return
    assert composed.build is not None
    assert composed.build.digest == good_builds[0]
    assert composed.models == ({"m": good[0]} if good else {})
    assert composed.reason
    content = Release("p", "production", 1, composed.build.digest, "c", composed.models, "", NOW)
    assert not set(content.components) & set(rejected)
    # Once that is live, there is nothing more to do: composing again is no new release.
    again = compose(environment, content, made, {"m": newest_first})
    assert again.build is None
    assert not again.waiting


def test_a_build_waits_for_a_model_of_the_signature_that_it_declares() -> None:
    environment, live = Environment("p", "production", live=1), _release("a", {"m": 1})
    old = replace(_version(1), signature=Signature(("x", "y"), (), (), Score("p")))
    config = replace(_build("b").config, models={"m": ModelConfig("m", "a:b", ("data.d",), "auc", features=("x", "z"))})
    build = replace(_build("b"), config=config)
    waiting = compose(environment, live, (build,), {"m": (old,)})
    assert waiting.build is None
    assert "model.m v1 has another signature than push bcommit declares (+z, -y)" in waiting.waiting
    fresh = replace(_version(2), signature=Signature(("x", "z"), (), (), Score("p")))
    assert compose(environment, live, (build,), {"m": (fresh, old)}).models == {"m": 2}


def test_the_reason_names_what_changed() -> None:
    environment = Environment("p", "production", live=1)
    live = _release("a", {"m": 1})
    versions: dict[str, tuple[ModelVersion, ...]] = {"m": (_version(2), _version(1))}
    assert compose(environment, live, (_build("a"),), versions).reason == "m v2"
    both = compose(environment, live, (_build("b"), _build("a")), versions).reason
    assert "push bcommit" in both
    assert "m v2" in both
    assert "first release" in compose(Environment("p", "production"), None, (_build("a"),), versions).reason


def test_a_service_waits_for_the_first_version_of_its_model() -> None:
    composed = compose(Environment("p", "production"), None, (_build("a"),), {"m": (_version(1, ModelStatus.REFUSED),)})
    assert composed.build is None
    assert "model.m" in composed.waiting


@given(
    newest=st.sampled_from("ab"),
    versions=st.integers(1, 3),
    rejected=st.sets(st.sampled_from(["build:x", "build:a", "model:m@1", "model:m@2"])),
    approved=st.booleans(),
)
def test_what_a_person_asked_for_comes_exactly_and_only_once(
    newest: str, versions: int, rejected: set[str], approved: bool
) -> None:
    """Promoted or gone back to: whatever is newer waits until that is live."""
    exact = Content("x", {"m": 1}, "promoted from staging, release 3", approved)
    environment = Environment(
        "p", "production", builds=("x", newest), exact=exact, rejected=dict.fromkeys(rejected, "bad")
    )
    builds = (_build("x"), _build(newest))
    models = {"m": tuple(_version(number) for number in range(versions, 0, -1))}
    composed = compose(environment, _release("a", {"m": 1}), builds, models)
    if set(exact.components) & rejected:
        assert not composed.approved
        assert not set(composed.components) & rejected
        return
    assert composed.build is not None
    assert (composed.build.digest, composed.models) == ("x", {"m": 1})
    assert (composed.reason, composed.approved) == (exact.reason, approved)
    # Once it is live, what is newer follows by itself.
    following = compose(environment, _release("x", {"m": 1}), builds[:1], models)
    newer = [number for number in range(versions, 1, -1) if f"model:m@{number}" not in rejected]
    assert following.models == ({"m": newer[0]} if newer else {})


def test_a_proposal_that_only_takes_away_can_be_rejected() -> None:
    live = _release("a", {"m": 1, "old": 4})
    first = compose(Environment("p", "production"), live, (_build("a"),), {"m": (_version(1),)})
    assert first.reason == "models removed"
    rejected = Environment("p", "production", rejected={first.key: "keep it"})
    assert compose(rejected, live, (_build("a"),), {"m": (_version(1),)}).build is None


@given(st.lists(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), max_size=60))
def test_builds_meant_for_an_environment_are_few_newest_first_and_named_once(digests: list[str]) -> None:
    environment = Environment("p", "production")
    for digest in digests:
        environment = environment.meant(digest)
    assert environment.builds == tuple(dict.fromkeys(reversed(digests)))[:MOST_BUILDS]
