"""Alerts from the event log: one for as long as it is so, within the day's budget, and told once over a restart."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor.delivery.alert_desk import AlertDesk
from conveyor.delivery.alerts import Alerts
from conveyor.domain import alert, wire
from conveyor.domain.alert import About, Alert, AlertKind, Severity
from conveyor.domain.drift import FeatureProfile, Profile
from conveyor.domain.events import Event
from conveyor.domain.model import Example, ModelManifest, ModelStatus, ModelVersion, Parity, Score, Signature
from conveyor.domain.monitor import FeatureShift, Window
from conveyor.domain.narrative import sentence
from conveyor.domain.project import AlertsConfig
from conveyor.domain.release import Environment, Release
from conveyor.domain.requests import AckAlert, MuteAlerts
from conveyor.engine.context import Context
from conveyor.errors import InputRejected, NotFound
from conveyor.stores import collections as c

from .conftest import START, Plane

MODEL = "model/shop/fraud"


def live(context: Context) -> None:
    signature = Signature(("amount",), (), (), Score("p"))
    profile = Profile(9, {"amount": FeatureProfile((), (9,), mean=50.0, std=20.0)})
    manifest = ModelManifest(signature, Example((0.0,), 0.0, 1.0), profile, "none")
    artifact = {"model.json": context.objects.put(wire.to_json(manifest))}
    version = ModelVersion(
        "shop",
        "fraud",
        1,
        ModelStatus.READY,
        artifact,
        signature,
        {},
        (),
        Parity(1, 0.0, 1.0),
        "r",
        "c",
        {},
        "d",
        START,
    )
    shift = FeatureShift(0.9, 0.01, 86.0, 50.0, 0.0, 0.0)
    with context.transaction() as tx:
        tx.put(c.MODEL_VERSIONS, version)
        tx.put(c.RELEASES, Release("shop", "production", 7, "b", "c", {"fraud": 1}, "", START))
        tx.put(c.ENVIRONMENTS, Environment("shop", "production", live=7))
        for number in range(1, 20):
            window = Window(f"shop/fraud@1#{number}", "shop/fraud", 1, number, 9, {"amount": shift}, None, 0, 0.0)
            tx.put(c.WINDOWS, window)


def window(context: Context, number: int, *signals: str) -> None:
    with context.transaction() as tx:
        closed = {"version": 1, "window": number, "rows": 9, "psi": {}, "faulty": False}
        tx.append(context.event("monitor.window_closed", MODEL, "shop", **closed))
        for kind in signals:
            about = {"message": f"{kind} of amount. Likely so.", "version": 1, "window": number, "features": ["amount"]}
            tx.append(context.event(f"signal.{kind}", MODEL, "shop", **about))


def test_one_alert_opens_is_updated_and_resolves_over_a_restart(plane: Plane) -> None:
    context = plane.context()
    plane.build("")
    live(context)
    window(context, 1, "drift")  # before there were alerts
    Alerts(context).turn()
    window(context, 2, "drift")
    window(context, 3, "drift", "data_fault")
    controller = Alerts(context)
    controller.turn()
    controller.turn()
    desk = AlertDesk(context)
    fault, drift = desk.list("shop")
    assert (drift.kind, drift.severity, drift.times) == (AlertKind.DRIFT, Severity.INFO, 2)
    assert drift.effect == "amount up by 1.8 sd (mean 86 against 50)"
    assert drift.since == "since release 7, version 1, first in window 2"
    assert fault.severity is Severity.CRITICAL
    opened = plane.events("alert.opened")
    assert [event.data["kind"] for event in opened] == ["drift", "data_fault"]
    assert sentence(opened[0]).startswith(
        "Alert, info, drift of fraud (amount up by 1.8 sd (mean 86 against 50)): drift"
    )

    context = plane.context()
    for number in range(4, 6):
        window(context, number)
    window(context, 6, "drift")
    for number in range(7, 11):
        window(context, number)
    Alerts(context).turn()
    assert [event.data["kind"] for event in plane.events("alert.resolved")] == ["data_fault", "drift"]
    assert desk.list("shop") == []
    assert {each.state for each in desk.list("shop", "")} == {"resolved"}
    assert desk.show("shop", drift.id).times == 3
    with pytest.raises(NotFound):
        desk.show("other", drift.id)


def test_failed_trainings_rollbacks_and_stale_data(plane: Plane) -> None:
    context = plane.context()
    plane.build("")
    controller = Alerts(context)
    controller.turn()

    def told(type_: str, subject: str, **data: object) -> list[tuple[str, str]]:
        with context.transaction() as tx:
            tx.append(context.event(type_, subject, "shop", **data))
        controller.turn()
        return [(each.subject, each.message) for each in AlertDesk(context).list("shop")]

    training = {"kind": "train", "about": "shop/fraud"}
    assert told("run.failed", "run/1", kind="build", about="c") == []
    assert told("run.failed", "run/2", error="fit: exit 1", **training) == [(MODEL, "The training failed: fit: exit 1")]
    assert told("run.succeeded", "run/3", **training) == []
    place = "environment/shop/production"
    failed = told("rollout.rolled_back", place, release=3, back_to=2, reason="5xx")
    assert failed == [(place, "Release 3 was rolled back: 5xx")]
    assert told("rollout.completed", place, release=4) == []
    assert told("signal.stale", "data/shop/days", message="nothing came") == [("data/shop/days", "nothing came")]
    assert told("signal.fresh", "data/shop/days") == []


def test_beyond_the_budget_there_is_one_digest_and_a_mute_is_kept(plane: Plane) -> None:
    context = plane.context()
    plane.build("[alerts]\nbudget = 1\nclean = 0\n")
    live(context)
    controller = Alerts(context)
    controller.turn()
    for number, kind in enumerate(("drift", "estimated_decay", "data_fault"), 2):
        window(context, number, kind)
    with context.transaction() as tx:
        tx.append(context.event("signal.decay", MODEL, "shop", message="worse. Likely so.", version=1))
    controller.turn()
    notices = {each.kind: each.notice for each in AlertDesk(context).list("shop", "")}
    assert notices == {"drift": "told", "estimated_decay": "held", "data_fault": "told", "decay": "held"}
    controller.turn()
    assert plane.events("alert.digest") == []
    plane.clock.step(timedelta(hours=25))
    assert context.renew()
    controller.turn()
    controller.turn()
    (digest,) = plane.events("alert.digest")
    assert digest.data == {"count": 2, "alerts": ["estimated_decay: estimated_decay of amount", "decay: worse"]}

    desk = AlertDesk(context)
    known = desk.list("shop")[0]
    assert "token t looks at" in desk.ack("shop", known.id, AckAlert("token t")).message
    assert desk.show("shop", known.id).acked == "token t"
    with pytest.raises(InputRejected):
        desk.mute("shop", known.id, MuteAlerts("for ever"))
    desk.mute("shop", known.id, MuteAlerts("2h", all_kinds=True, why="a known release", by="token t"))
    window(context, 9)  # what was open is over
    window(context, 10)
    window(context, 11, "drift")
    controller.turn()
    muted = desk.list("shop")[0]
    assert (muted.kind, muted.notice) == ("drift", "muted")
    assert [sentence(e) for e in plane.events("alert.muted", "alert.acked")]


EVENTS = st.lists(st.sampled_from(sorted(alert.TYPES)), max_size=60)


@given(EVENTS, st.integers(0, 4), st.integers(0, 3))
def test_whatever_comes_one_alert_of_a_kind_is_open_and_the_budget_holds(
    types: list[str], budget: int, clean: int
) -> None:
    config, known = AlertsConfig(budget, clean), dict[str, Alert]()
    for number, type_ in enumerate(types):
        data = {"kind": "train", "about": "shop/fraud", "version": 1, "message": "m"}
        event = Event(str(number), type_, MODEL, START + timedelta(minutes=number), "shop", data)
        open_ = [each for each in known.values() if each.state == "open"]
        told = sum(each.notice == "told" for each in known.values())
        for changed in alert.heard(open_, event, config, About(opened_today=told)):
            known[changed.id] = changed
        kinds = [each.kind for each in known.values() if each.state == "open"]
        assert len(kinds) == len(set(kinds))
        assert alert.opens(event, open_) == (str(number) in known)
    plain = [each for each in known.values() if each.severity is not Severity.CRITICAL]
    assert sum(each.notice == "told" for each in plain) <= budget
    held = [replace(each, notice="held") for each in plain]
    assert alert.digests(held, START) == {}
    assert sum(map(len, alert.digests(held, START + timedelta(days=3)).values())) == len(held)
