"""Whatever the records say, nothing that they reach is ever deleted; and what they do not reach does go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from conveyor.config.load import load
from conveyor.domain.release import Build, Content, Environment, Part, Release
from conveyor.domain.retention import Item, Kind, Known, Past, Policy, decide
from conveyor.domain.run import Run

NOW = datetime(2026, 6, 1, tzinfo=UTC)
OLD = NOW - timedelta(days=400)
CONFIG = load('[project]\nname = "shop"\n')
POLICY = Policy(releases=2, builds=2)

trees = st.sampled_from([f"t{n}" for n in range(8)])
keys = st.sampled_from([f"e{n}" for n in range(5)])
versions = st.dictionaries(st.sampled_from(["fraud", "risk"]), st.integers(1, 5), max_size=2)


@st.composite
def builds(draw: st.DrawFn, digest: str) -> Build:
    parts = draw(st.dictionaries(st.sampled_from(["web", "api"]), st.builds(Part, trees, keys), max_size=2))
    return Build("shop", digest, digest, draw(trees), draw(keys), CONFIG, OLD, parts=parts)


@st.composite
def worlds(draw: st.DrawFn) -> Known:
    made = [draw(builds(f"b{number}")) for number in range(draw(st.integers(0, 6)))]
    digests = st.sampled_from([build.digest for build in made] or ["b0"])
    environments, releases = [], {}
    for name in draw(st.lists(st.sampled_from(["production", "staging"]), unique=True)):
        count = draw(st.integers(0, 6))
        past = [
            Past(Release("shop", name, number, draw(digests), "c", draw(versions), "", OLD), draw(st.booleans()))
            for number in range(count, 0, -1)
        ]
        live = draw(st.none() | st.integers(1, count)) if count else None
        environments.append(
            Environment(
                "shop",
                name,
                live=live,
                rollout=f"shop/{name}/{count}" if count and draw(st.booleans()) else None,
                releases=count,
                builds=tuple(draw(st.lists(digests, max_size=3))),
                exact=Content(draw(digests), {}, "") if draw(st.booleans()) else None,
            )
        )
        releases[f"shop/{name}"] = tuple(past)
    layout = {"tree": draw(trees), "environments": {draw(keys): "."}, "parts": {"web": {"tree": draw(trees)}}}
    params = draw(st.sampled_from([{"build": f"shop/{draw(digests)}"}, {"layout": layout}, {}]))
    runs = (Run("r1", "shop", "build", "c", params, (), OLD),) if draw(st.booleans()) else ()
    return Known(tuple(environments), releases, tuple(made), runs, draw(st.sampled_from([frozenset(), {"web-1"}])))


def everything(modified: datetime = OLD) -> list[Item]:
    names = {
        Kind.TREE: [f"t{n}" for n in range(8)],
        Kind.ENVIRONMENT: [f"e{n}" for n in range(5)],
        Kind.MODEL: [f"shop/{name}/{n}" for name in ("fraud", "risk") for n in range(1, 6)],
        Kind.BACKUP: [f"shop/{e}/before-release-{n}-db" for e in ("production", "staging") for n in range(1, 7)],
        Kind.LOG: ["r1", "r2"],
        Kind.PROCESS_LOG: ["web-1.log", "web-1.log.1", "web-2.log"],
        Kind.WORK: ["r1", "r2"],
    }
    return [Item(kind, name, 1, modified) for kind, found in names.items() for name in found]


def reached(known: Known) -> set[str]:
    """The same question, asked the slow way: walk from every root."""
    roots: list[tuple[Build | None, dict[str, int]]] = []
    by_digest = {build.digest: build for build in known.builds}
    backups: set[str] = set()
    for environment in known.environments:
        past = known.releases[environment.id]
        completed = [each.release for each in past if each.completed][: POLICY.releases]
        running = [each.release for each in past if each.release.number == environment.live]
        running += [each.release for each in past if each.release.id == environment.rollout]
        for release in (*completed, *running):
            roots.append((by_digest.get(release.build), release.models))
            backups |= {
                f"backups/{environment.id}/before-release-{n}-db" for n in range(release.number + 1, 7)
            }  # what undoes every migration since that release
        roots += [(by_digest.get(digest), {}) for digest in environment.builds]
        roots += [(by_digest.get(environment.exact.build), {})] if environment.exact else []
    roots += [(build, {}) for build in known.builds[: POLICY.builds]]
    found = {f"logs/processes/{name}{end}" for name in known.processes for end in (".log", ".log.1")} | backups
    for run in known.runs:
        found |= {f"logs/runs/{run.id}", f"work/{run.id}"}
        if "build" in run.params:
            roots.append((by_digest.get(run.params["build"].partition("/")[2]), {}))
        if layout := run.params.get("layout"):
            found |= {f"builds/{layout['tree']}", f"builds/{layout['parts']['web']['tree']}"}
            found |= {f"envs/{key}" for key in layout["environments"]}
    for build, models in roots:
        if build is not None:
            for part in (Part(build.tree, build.environment), *build.parts.values()):
                found |= {f"builds/{part.tree}", f"envs/{part.environment}"}
        found |= {f"models/shop/{name}/{version}" for name, version in models.items()}
    return found


@given(worlds())
def test_nothing_reachable_is_deleted_and_the_rest_is(known: Known) -> None:
    verdicts = decide(everything(), known, POLICY, NOW)
    assert all(verdict.reason for verdict in verdicts)
    gone = {verdict.item.path for verdict in verdicts if not verdict.keep}
    kept = reached(known)
    assert not gone & kept
    # All backups are equally old here: the first of each environment counts as its newest.
    spared = {v.item.path for v in verdicts if "newest backup" in v.reason}
    assert {item.path for item in everything()} - gone - kept == spared - kept


@given(worlds(), st.timedeltas(timedelta(0), POLICY.grace - timedelta(seconds=1)))
def test_nothing_young_is_touched(known: Known, age: timedelta) -> None:
    assert all(verdict.keep for verdict in decide(everything(NOW - age), known, POLICY, NOW))


def test_each_verdict_says_why() -> None:
    past = tuple(
        Past(Release("shop", "production", n, f"b{n}", "c", {"fraud": n}, "", OLD), True) for n in range(5, 0, -1)
    )
    made = tuple(Build("shop", f"b{n}", "c", f"t{n}", "e0", CONFIG, OLD) for n in range(5, 0, -1))
    known = Known((Environment("shop", "production", live=3, releases=5),), {"shop/production": past}, made)
    said = {v.item.path: (v.keep, v.reason) for v in decide(everything(), known, Policy(releases=1, builds=1), NOW)}
    assert said["builds/t5"] == (True, "a rollback of shop/production may go back to release 5")
    assert said["builds/t3"] == (True, "release 3 is live in shop/production")
    assert said["builds/t2"] == (False, "no release that can come back is made of it")
    assert said["models/shop/fraud/3"][0]
    assert not said["models/shop/fraud/2"][0]
    assert said["backups/shop/production/before-release-4-db"] == (
        True,
        "a rollback of shop/production to release 3 may need it",
    )
    assert not said["backups/shop/production/before-release-3-db"][0]
    assert said["logs/runs/r1"] == (False, "its run ended 400 days ago; logs stay for 30 days")
