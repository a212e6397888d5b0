"""The registry over real records and objects: what may go live, whose aliases move how, and what a collection keeps."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conveyor.app import tracking
from conveyor.cli.files import versions
from conveyor.config.settings import save_settings
from conveyor.delivery import aliases
from conveyor.delivery.collect import collect
from conveyor.delivery.registry_desk import RegistryDesk, resolve
from conveyor.delivery.releases import Releases
from conveyor.domain.gate import Outcome, Verdict
from conveyor.domain.model import ModelStatus, ModelVersion, Parity, Score, Signature
from conveyor.domain.reference import parse
from conveyor.domain.release import Content, Environment
from conveyor.domain.requests import MoveAlias, PromoteModel, RemoveModel, UndoAlias
from conveyor.domain.retention import Policy
from conveyor.domain.rollout import Phase
from conveyor.domain.run import Run, RunState, Step, StepState
from conveyor.engine.context import Context
from conveyor.errors import Conflict, InputRejected, NotFound, Refused
from conveyor.stores import collections as c
from conveyor.stores.data import walk
from conveyor.stores.data.add import add
from conveyor.stores.data.checkout import content
from conveyor.stores.data.gc import collect as collect_files
from conveyor.stores.data.opening import open_store
from conveyor.stores.data.order import Order, sources_of
from conveyor.stores.data.store import DataStore
from conveyor.stores.records import Transaction
from conveyor.stores.tracking import experiments, runs
from conveyor.stores.tracking.database import Session
from conveyor.web.mlflow import asks, experiment_routes, run_routes
from conveyor.web.mlflow.service import Service
from conveyor.web.mlflow.trained import TrainedModels

from .conftest import START, Plane

CONFIG = """
[data.days]
watch = "in/*.csv"
time = "at"
label = { column = "y", delay = "7d" }

[model.fraud]
train = "shop.fraud:train"
inputs = ["data.days"]
metric = "roc_auc"
"""
PASS = Verdict("metric", Outcome.PASS, "roc_auc is 0.9.")
LEAK = Verdict("leak", Outcome.FAIL, "ANSWER alone ranks the holdout.")
UNSURE = Verdict("versus_live", Outcome.INSUFFICIENT, "Chance could explain the difference.")


def train(context: Context, number: int, *verdicts: Verdict) -> ModelVersion:
    """A version as a training leaves it: objects, the run that made them, and the record."""
    files = {"model.onnx": f"graph {number}", "model.json": f"manifest {number}"}
    artifact = {name: context.objects.put(text.encode()) for name, text in files.items()}
    outputs = artifact | {"holdout.parquet": context.objects.put(f"rows {number}".encode())}
    step = Step("train", state=StepState.SUCCEEDED, outputs=outputs, key=f"key{number}")
    run = Run(f"t{number}", "shop", "train", "shop/fraud", {}, (step,), START, RunState.SUCCEEDED)
    passed = all(verdict.outcome is Outcome.PASS for verdict in verdicts)
    version = ModelVersion(
        "shop", "fraud", number, ModelStatus.READY if passed else ModelStatus.REFUSED, artifact,
        Signature(("x",), (), (), Score("p")), {"roc_auc": 0.9}, verdicts or (PASS,), Parity(1, 0.0, 1.0), run.id, "c",
        {"days": number}, "data", START,
    )  # fmt: skip
    with context.records.transaction() as tx:
        tx.put(c.RUNS, run)
        tx.put(c.MODEL_VERSIONS, version)
    return version


def roll_out(context: Context) -> dict[str, int]:
    """Composes the next release, if there is one, and lets its rollout end well; the models that are live then."""
    Releases(context).turn()
    with context.records.transaction() as tx:
        environment = tx.need(c.ENVIRONMENTS, "shop/production")
        if environment.rollout is not None:
            rollout = tx.need(c.ROLLOUTS, environment.rollout)
            release = tx.need(c.RELEASES, rollout.id)
            tx.put(c.ROLLOUTS, replace(rollout, phase=Phase.DONE))
            tx.put(c.ENVIRONMENTS, replace(environment, rollout=None, live=rollout.release))
            aliases.follow(context, tx, environment, release, f"release {release.number}")
            return release.models
        assert environment.live is not None, environment.waiting
        return tx.need(c.RELEASES, f"shop/production/{environment.live}").models


def start(plane: Plane) -> tuple[Context, RegistryDesk]:
    context = plane.context()
    build = plane.build(CONFIG)
    with context.records.transaction() as tx:
        tx.put(c.ENVIRONMENTS, Environment("shop", "production").meant(build.digest))
    return context, RegistryDesk(context, lambda: None)


def test_no_version_goes_live_past_its_gates(plane: Plane) -> None:
    context, desk = start(plane)
    train(context, 1)
    assert roll_out(context) == {"fraud": 1}
    train(context, 2, PASS, LEAK, UNSURE)
    train(context, 3)
    assert roll_out(context) == {"fraud": 3}

    with pytest.raises(Refused, match=r"2 of its gates did not pass\. leak \(fail\): ANSWER .*; versus_live \(insuff"):
        desk.promote("shop", "fraud", 2, PromoteModel(again=True))
    with pytest.raises(Refused, match="only a release moves it"):
        desk.move("shop", "fraud", "live", MoveAlias(2))
    with context.records.transaction() as tx:  # whoever writes past the desk is stopped where releases are made
        place, two = tx.need(c.ENVIRONMENTS, "shop/production"), resolve(tx, "shop", "fraud", "2")
        tx.put(c.ENVIRONMENTS, replace(place, exact=Content("b", {"fraud": 2}, "by force")))
        tx.put(c.MODEL_VERSIONS, replace(two, status=ModelStatus.READY))
    assert roll_out(context) == {"fraud": 3}
    with context.records.read() as tx:
        waiting = tx.need(c.ENVIRONMENTS, "shop/production").waiting
    assert "model.fraud v2 cannot go live: 2 of its gates did not pass. leak (fail)" in waiting

    # An older one that passed comes by an ordinary rollout, stays, and is undone by another one.
    said = desk.promote("shop", "fraud", 1, PromoteModel(by="ada", reason="v3 is odd on Mondays"))
    assert "shop/fraud@1 goes to production" in said.message
    assert roll_out(context) == {"fraud": 1} == roll_out(context)
    with pytest.raises(Conflict, match="live in production already"):
        desk.promote("shop", "fraud", 1, PromoteModel())
    desk.undo("shop", "fraud", "live", UndoAlias("ada", "Mondays are mended"))
    assert roll_out(context) == {"fraud": 3}
    assert [(m.previous, m.version) for m in desk.moves("shop", "fraud")] == [(1, 3), (3, 1), (1, 3), (None, 1)]
    assert [e.data["version"] for e in plane.events("model.promoted")] == [1, 3]
    train(context, 4)
    assert roll_out(context) == {"fraud": 4}


def test_aliases_have_a_history_and_one_step_undo(plane: Plane) -> None:
    context, desk = start(plane)
    for number in (1, 2, 3):
        train(context, number)
    desk.move("shop", "fraud", "champion", MoveAlias(1, "ada", "best in review"))
    desk.move("shop", "fraud", "champion", MoveAlias(3, "bob", "newer"))
    assert desk.version("shop", "fraud", "champion").version == 3
    desk.undo("shop", "fraud", "champion", UndoAlias("ada"))
    assert desk.version("shop", "fraud", "champion").version == 1
    last = desk.moves("shop", "fraud")[0]
    assert (last.version, last.previous, last.by, last.reason) == (1, 3, "ada", "undone by a person (undo of: newer)")
    desk.move("shop", "fraud", "champion", MoveAlias(None, "ada", "no more"))
    assert desk.aliases("shop", "fraud") == []
    desk.undo("shop", "fraud", "champion", UndoAlias("ada"))
    assert [(a.name, a.version) for a in desk.aliases("shop", "fraud")] == [("champion", 1)]

    for name in ("v3", "12", "latest", "a b", "", "x" * 101):
        with pytest.raises(InputRejected, match="cannot be an alias"):
            desk.move("shop", "fraud", name, MoveAlias(1))
    with pytest.raises(NotFound, match="no model version"):
        desk.move("shop", "fraud", "other", MoveAlias(9))
    with pytest.raises(NotFound, match="no alias 'nobody'"):
        desk.undo("shop", "fraud", "nobody", UndoAlias())

    compared = desk.compare("shop", "fraud", "champion", "latest")
    assert compared.changed == ("data",)
    assert {each.what for each in compared.differences} == {"data", "artifact"}


def test_what_is_needed_is_not_removed(plane: Plane) -> None:
    context, desk = start(plane)
    train(context, 1)
    assert roll_out(context) == {"fraud": 1}
    train(context, 2)
    assert roll_out(context) == {"fraud": 2}
    third = train(context, 3, LEAK)
    desk.move("shop", "fraud", "odd", MoveAlias(3))
    for number, why in (
        (1, "a rollback of shop/production may go back to release 1"),
        (2, "release 2 is live in shop/production; a rollback .*; alias live of shop/fraud points to it"),
        (3, "alias odd of shop/fraud points to it"),
    ):
        with pytest.raises(Refused, match=f"shop/fraud@{number} cannot be removed: {why}"):
            desk.remove("shop", "fraud", number, RemoveModel())
    desk.move("shop", "fraud", "odd", MoveAlias(None))
    desk.remove("shop", "fraud", 3, RemoveModel("ada", "it leaks"))
    told = collect(context, Policy(grace=timedelta(days=-1000)), dry_run=False)
    assert not any(context.objects.has(digest) for digest in third.artifact.values())
    reasons = {each.reason for each in told.objects if each.keep}
    assert "model shop/fraud@2: release 2 is live in shop/production" in reasons
    with pytest.raises(Refused, match="it was removed"):
        desk.promote("shop", "fraud", 3, PromoteModel())
    assert desk.version("shop", "fraud", "latest").version == 3  # its number is never given again


@dataclass
class Estate:
    """The registry with what stands behind a version: the files that it was trained on, and its tracked run."""

    context: Context
    desk: RegistryDesk
    service: Service
    store: DataStore
    made: int = 0

    @classmethod
    def of(cls, plane: Plane) -> Estate:
        context, desk = start(plane)
        save_settings(context.settings)  # where the commands find it
        service = Service(tracking(context.settings), context, lambda: TrainedModels(context, desk))
        return cls(context, desk, service, open_store(context.settings.home))

    def train(self, verdict: Verdict = PASS) -> None:
        """On a new version of the files, as a tracked run with the run's own id."""
        self.made += 1
        folder = self.context.settings.home / "pictures"
        folder.mkdir(exist_ok=True)
        (folder / "new").write_text(f"picture {self.made}")
        sources = sources_of(self.store.folders, "shop", "pictures", [str(folder)], "")
        data = add(self.store, Order("shop", "pictures", sources)).version.version
        version = train(self.context, self.made, verdict)
        with self.context.records.transaction() as tx:
            tx.put(c.MODEL_VERSIONS, replace(version, data={"pictures": data}))

        def log(session: Session) -> None:
            experiment = experiments.ensure(session, "shop/fraud", 1)
            runs.create(session, version.run, experiment, version.run, "conveyor", 1, [])

        self.service.database.write(log)

    def remove_data(self, number: int) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CONVEYOR_HOME", str(self.context.settings.home))
            versions.rm(f"pictures@v{number}", project="shop")

    def delete_run(self, number: int) -> None:
        ask = asks.OfRun(run_id=f"t{number}")
        self.service.database.write(lambda session: run_routes.delete(self.service, session, ask))

    def delete_experiment(self) -> None:
        def work(session: Session) -> None:
            ask = asks.ExperimentId(experiments.by_name(session, "shop/fraud").experiment_id)
            experiment_routes.delete(self.service, session, ask)

        self.service.database.write(work)

    def collect(self, policy: Policy) -> None:
        collect(self.context, policy, dry_run=False)
        collect_files(self.store, datetime.now(UTC), timedelta(0))

    def close(self) -> None:
        self.context.records.close()
        self.service.database.close()
        self.store.close()


def test_the_run_and_the_data_behind_a_live_version_are_not_removed(plane: Plane) -> None:
    estate = Estate.of(plane)
    for verdict in (PASS, LEAK):
        estate.train(verdict)
    assert roll_out(estate.context) == {"fraud": 1}
    why = "shop/fraud@1 was trained {}, and release 1 is live in shop/production; .*; alias live of shop/fraud points"
    with pytest.raises(Refused, match="version 1 of pictures cannot be removed: " + why.format("on it")):
        estate.remove_data(1)
    with pytest.raises(Refused, match="run t1 cannot be deleted: " + why.format("by it")):
        estate.delete_run(1)
    with pytest.raises(Refused, match="experiment shop/fraud cannot be deleted: " + why.format("by a run of it")):
        estate.delete_experiment()
    estate.remove_data(2)
    estate.delete_run(2)
    estate.close()


ACTS = st.one_of(
    st.tuples(st.just("train"), st.booleans(), st.just(0)),
    st.tuples(st.just("roll out"), st.just(0), st.just(0)),
    st.tuples(st.just("alias"), st.sampled_from(("champion", "shadow")), st.integers(1, 9)),
    st.tuples(st.just("drop"), st.sampled_from(("champion", "shadow")), st.just(0)),
    st.tuples(st.just("undo"), st.sampled_from(("champion", "shadow", "live")), st.just(0)),
    st.tuples(st.just("promote"), st.booleans(), st.integers(1, 9)),
    st.tuples(st.just("remove"), st.just(0), st.integers(1, 9)),
    st.tuples(st.just("remove data"), st.just(0), st.integers(1, 9)),
    st.tuples(st.just("delete run"), st.just(0), st.integers(1, 9)),
    st.tuples(st.just("collect"), st.integers(0, 3), st.integers(1, 3)),
)


@settings(max_examples=30, deadline=None)
@given(acts=st.lists(ACTS, min_size=8, max_size=30))
def test_after_any_history_every_alias_and_release_still_loads(acts: list[tuple[str, object, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        estate = Estate.of(Plane(Path(folder)))
        context, desk = estate.context, estate.desk
        estate.train()
        live, bare = roll_out(context), set[int]()
        for what, which, number in [*acts, ("collect", 1, 1)]:
            try:
                if what == "train":
                    estate.train(PASS if which else LEAK)
                elif what == "roll out":
                    live = roll_out(context)
                elif what in ("alias", "drop"):
                    desk.move("shop", "fraud", str(which), MoveAlias(number if what == "alias" else None))
                elif what == "undo":
                    desk.undo("shop", "fraud", str(which), UndoAlias())
                elif what == "promote":
                    desk.promote("shop", "fraud", number, PromoteModel(again=bool(which)))
                elif what == "remove":
                    desk.remove("shop", "fraud", number, RemoveModel())
                elif what in ("remove data", "delete run"):
                    needed = {version.version for version in _needed(context, 10)}
                    estate.remove_data(number) if what == "remove data" else estate.delete_run(number)
                    assert number not in needed
                    bare.add(number)
                else:
                    estate.collect(Policy(releases=number, grace=timedelta(days=-1000), models=int(str(which))))
                    _all_load(estate, live, number, bare)
            except (Refused, Conflict, NotFound, InputRejected):
                pass
        estate.close()


def _all_load(estate: Estate, live: dict[str, int], releases: int, bare: set[int]) -> None:
    """`bare` are those whose data or run was removed while nothing needed them."""
    needed = _needed(estate.context, releases)
    assert live["fraud"] in {version.version for version in needed}
    for version in needed:
        assert {name: estate.context.objects.get(digest)[:5] for name, digest in version.artifact.items()} == {
            "model.onnx": b"graph",
            "model.json": b"manif",
        }
        if version.version not in bare:
            found = estate.store.versions.resolve("shop", parse(f"pictures@v{version.data['pictures']}"))
            entries = list(walk.entries(bytes.fromhex(found.root), estate.store.reader))
            kept = [b"".join(content(estate.store, entry)) for entry in entries]
            assert kept == [f"picture {version.version}".encode()]
            with estate.service.database.read() as session:
                runs.number(session, version.run)


def _needed(context: Context, releases: int) -> list[ModelVersion]:
    with context.records.read() as tx:
        needed = [resolve(tx, "shop", "fraud", alias.name) for alias in tx.find(c.ALIASES)]
        return needed + [resolve(tx, "shop", "fraud", str(number)) for number in _reachable(tx, releases)]


def _reachable(tx: Transaction, releases: int) -> list[int]:
    environment = tx.need(c.ENVIRONMENTS, "shop/production")
    newest = range(environment.live or 0, max(0, (environment.live or 0) - releases), -1)
    return [tx.need(c.RELEASES, f"shop/production/{number}").models["fraud"] for number in newest]
