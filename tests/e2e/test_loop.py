"""Push, land data, and everything stays current: one running system, in the order of a story."""

from __future__ import annotations

import http.client
import json
import stat
import subprocess
from pathlib import Path

import polars as pl
import pytest

from conveyor.client import Client
from conveyor.domain import requests
from conveyor.domain.model import ModelStatus
from conveyor.domain.run import RunState
from conveyor.domain.tracked import TrackedRun
from conveyor.errors import Unauthorized
from conveyor.stores.objects import Objects

from .system import DATASET, MODEL, NAME, System, Traffic, rows

pytestmark = pytest.mark.timeout(240)

BACKTEST = '\n[model.risk.backtest]\nfolds = 2\nstep = "12h"\n'


def _post(system: System, path: str, body: object) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection("127.0.0.1", system.settings.public_port, timeout=30)
    try:
        connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_the_first_model_answers_on_the_public_port(system: System) -> None:
    tensors = [
        {"name": "amount", "datatype": "FP32", "shape": [2], "data": [5.0, 300.0]},
        {"name": "hour", "datatype": "FP32", "shape": [2], "data": [12.0, 2.0]},
    ]
    status, said = _post(system, f"/v2/models/{MODEL}/infer", {"inputs": tensors})
    assert status == 200, said
    assert said["model_version"] == "1"
    assert said["id"]
    outputs = {tensor["name"]: tensor for tensor in said["outputs"]}  # type: ignore[attr-defined]
    assert outputs["probabilities"]["shape"] == [2, 2]
    harmless, suspect = outputs["probabilities"]["data"][1], outputs["probabilities"]["data"][3]
    assert harmless < 0.5 < suspect
    status, said = _post(system, f"/v2/models/{MODEL}/infer", {"inputs": tensors[:1]})
    assert status == 400
    assert "hour" in json.dumps(said)


def test_the_training_is_a_tracked_run(system: System) -> None:
    def finished() -> TrackedRun | None:
        found = system.client.tracked(requests.TrackSearch(f"{NAME}/{MODEL}", "status = 'FINISHED'"))
        return found[-1] if found else None

    run = system.wait(finished, "a tracked run")
    metrics = {point.key: point.value for point in run.data.metrics}
    assert metrics["rows"] > 0
    assert {"system/cpu_percent", "system/memory_mb"} < set(metrics)
    assert {pair.key: pair.value for pair in run.data.tags}["conveyor.version"] == "1"
    assert system.client.run(run.info.run_id).kind == "train"


def test_the_token_keeps_others_out(system: System) -> None:
    assert stat.S_IMODE(system.settings.token_file.stat().st_mode) == 0o600
    stranger = Client(system.settings.api_url, "a guess")
    for ask in (stranger.status, lambda: stranger.cancel("any", requests.Cancel())):
        with pytest.raises(Unauthorized):
            ask()
    words = ["git", "-c", "credential.helper=", "push", system.remote("a-guess"), "HEAD:refs/heads/stolen"]
    env = {"PATH": "/usr/bin:/bin", "GIT_TERMINAL_PROMPT": "0", "HOME": str(system.root)}
    done = subprocess.run(words, cwd=system.source, env=env, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "stolen" not in system._git("ls-remote", system.remote(system.token))


def _bad_files(folder: Path) -> dict[str, str]:
    """File -> a word that its message must have."""
    good = rows(4, 40)
    good.write_parquet(folder / "whole.parquet")
    whole = (folder / "whole.parquet").read_bytes()
    (folder / "whole.parquet").unlink()
    (folder / "truncated.parquet").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.parquet").write_bytes(b"")
    good.drop("amount").write_parquet(folder / "missing.parquet")
    good.with_columns(pl.lit("a lot").alias("amount")).write_parquet(folder / "types.parquet")
    return {"truncated.parquet": "", "empty.parquet": "empty", "missing.parquet": "amount", "types.parquet": "amount"}


def test_bad_files_are_refused_with_a_message_and_kept(system: System, tmp_path: Path) -> None:
    before, after, objects = system.live(), system.newest(), Objects(str(system.settings.objects), tmp_path / "cache")
    for name, word in _bad_files(tmp_path).items():
        accepted = system.client.add_data(NAME, DATASET, tmp_path / name)
        refused = system.event(after, "data.refused", file=name)
        assert word in refused.data["error"]
        assert refused.data["hint"]
        assert refused.data["kept_as"] == accepted.digest
        assert objects.get(accepted.digest) == (tmp_path / name).read_bytes()
    states = {arrival.file: arrival for arrival in system.client.arrivals(NAME, DATASET)}
    assert all(states[name].state == "refused" and states[name].note for name in _bad_files(tmp_path))
    assert system.live() == before
    assert system.events(after, "data.version_created") == []


def test_rows_that_break_the_contract_go_to_quarantine(system: System, tmp_path: Path) -> None:
    before, after = system.live(), system.newest()
    frame = rows(4, 50)
    frame = frame.with_columns(pl.when(pl.col("id") % 10 == 0).then(-1.0).otherwise(pl.col("amount")).alias("amount"))
    frame.write_parquet(tmp_path / "negative.parquet")
    system.client.add_data(NAME, DATASET, tmp_path / "negative.parquet")
    event = system.event(after, "data.quarantined", file="negative.parquet")
    assert event.data["rows"] == 5
    assert "amount" in json.dumps(event.data["reasons"])
    assert system.event(after, "data.version_created").data["new_rows"] == 45
    kept = system.client.quarantine(NAME, DATASET)[0]
    table = pl.read_parquet(Objects(str(system.settings.objects), tmp_path / "cache").path(kept.digest))
    assert table["amount"].to_list() == [-1.0] * 5
    assert system.live() == before


def test_a_file_is_not_taken_twice(system: System, tmp_path: Path) -> None:
    after = system.newest()
    rows(0).write_parquet(tmp_path / "again.parquet")
    accepted = system.client.add_data(NAME, DATASET, tmp_path / "again.parquet")
    assert accepted.duplicate_of == "day-0.parquet"
    assert system.event(after, "data.duplicate").data["same_as"] == "day-0.parquet"
    assert system.events(after, "data.version_created") == []


def test_a_good_push_goes_live_and_no_request_fails(system: System) -> None:
    with Traffic(system.settings.public_port).running() as traffic:
        system.service("2")
        system.wait_live(system.push("Version 2"))
    assert not traffic.bad, traffic.causes
    assert traffic.texts["1"] > 0
    assert traffic.texts["2"] > 0


def test_a_push_that_cannot_start_gets_no_traffic(system: System) -> None:
    after = system.newest()
    with Traffic(system.settings.public_port).running() as traffic:
        crash = '\nif "CONVEYOR_ENVIRONMENT" in os.environ:\n    raise RuntimeError("no payment provider")\n'
        system.service("3", "    return 200, VERSION\n" + crash)
        commit = system.push("Version 3 cannot start")
        aborted = system.event(after, "rollout.aborted", seconds=90)
        system.event(after, "rollout.rolled_back", seconds=60)
    assert "service.web" in aborted.data["reason"]
    assert not traffic.bad, traffic.causes
    assert set(traffic.texts) == {"2"}
    live = system.wait(system.live, "rest")
    assert live[0] != commit
    moved = [e for e in system.events(after, "rollout.advanced") if e.data["release"] == aborted.data["release"]]
    assert not [e for e in moved if e.data["phase"] in ("canary", "live")]


def test_a_push_that_answers_500_is_rolled_back_by_itself(system: System) -> None:
    after = system.newest()
    with Traffic(system.settings.public_port).running() as traffic:
        system.service("4", '    return 500 if "CONVEYOR_ENVIRONMENT" in os.environ else 200, VERSION\n')
        commit = system.push("Version 4 answers 500")
        aborted = system.event(after, "rollout.aborted", seconds=90)
        system.event(after, "rollout.rolled_back", seconds=60)
    assert "5xx" in aborted.data["reason"]
    assert len(traffic.bad) == 1, traffic.bad
    assert "-" not in traffic.bad
    assert set(traffic.causes) == {"status 500"}
    assert not set(traffic.bad) & set(traffic.good)
    assert traffic.bad.total() < 0.3 * (traffic.bad.total() + traffic.good.total())
    assert system.wait(system.live, "rest")[0] != commit


def test_a_bad_configuration_is_refused_with_every_problem(system: System) -> None:
    good, before, after = (system.source / "conveyor.toml").read_text(), system.live(), system.newest()
    system.service("5")
    system.replace("conveyor.toml", 'uses = ["model.risk"]', 'uses = ["model.rusk"]')
    system.replace("conveyor.toml", 'health = "/healthz"', 'heelth = "/healthz"')
    system.replace("conveyor.toml", "min_new_rows = 400", 'min_new_rows = "many"')
    commit = system.push("A bad configuration")
    problems = system.event(after, "project.config_invalid").data["problems"]
    for word in ("model.rusk", "heelth", "min_new_rows"):
        assert any(word in problem for problem in problems), problems
    assert system.client.run_of_commit(NAME, commit).state is RunState.FAILED
    assert system.live() == before
    system.write("conveyor.toml", good)
    system.wait_live(system.push("A good configuration again"))


def test_the_label_in_disguise_refuses_the_model(system: System) -> None:
    system.wait(system.settled, "rest")
    before, after = system.live(), system.newest()
    assert before is not None
    good = (system.source / "conveyor.toml").read_text()
    system.replace("conveyor.toml", '"amount", "hour"]', '"amount", "hour", "culprit"]')
    more = (
        "reproducible = {}\nserved_parity = {}\nmaturity = {}\nbacktest = {}\n"
        "latency_p99_ms = { max = 500 }\nmemory_mb = { max = 900 }\n"
    )
    system.replace("conveyor.toml", "[model.risk.gates]\n", "[model.risk.gates]\n" + more)
    system.write("conveyor.toml", (system.source / "conveyor.toml").read_text() + BACKTEST)
    commit = system.push("A feature too good to be true")
    waiting = system.event(after, "release.waiting", seconds=60).data["waiting_for"]
    assert f"another signature than push {commit[:8]} declares (+culprit)" in waiting
    refused = system.event(after, "model.refused", seconds=90)
    assert "culprit" in json.dumps(refused.data)
    version = next(v for v in system.client.model_versions(NAME, MODEL) if v.status is ModelStatus.REFUSED)
    leak = next(verdict for verdict in version.verdicts if verdict.gate == "leak")
    assert leak.outcome == "fail"
    assert "culprit" in leak.message
    said = {verdict.gate: (verdict.outcome, verdict.figures) for verdict in version.verdicts}
    passed = ("reproducible", "served_parity", "maturity", "backtest", "latency", "memory")
    assert {said[name][0] for name in passed} == {"pass"}, said
    assert said["served_parity"][1]["rows"] > 20
    assert said["backtest"][1]["folds"] == 2
    assert said["latency"][1]["latency_p99_ms"] > said["latency"][1]["scoring_p99_ms"] > 0
    assert system.wait(system.live, "rest") == before
    system.write("conveyor.toml", good)
    system.push("Without it")  # what is live already: there is nothing to release
    system.wait(lambda: system.environment().waiting == "", "nothing to wait for")
    system.wait(system.settled, "rest")


def test_new_days_retrain_the_model_and_the_new_version_goes_live(system: System) -> None:
    after = system.newest()
    with Traffic(system.settings.public_port, clients=2).running() as traffic:
        for day in (5, 6):
            system.land(rows(day), f"day-{day}.parquet")
        created = system.event(after, "model.version_created", seconds=120).data["version"]
        system.wait(lambda: system.models().get(MODEL, 0) >= created, "the new version to be live", 90)
    assert not traffic.bad, traffic.causes


def test_a_person_rolls_back(system: System) -> None:
    system.wait(system.settled, "rest")
    system.service("6")
    commit = system.push("Version 6")
    system.wait_live(commit)
    number = system.events(0, "rollout.completed")[-2].data["release"]  # a retrained model may have come between
    before = system.client.release(NAME, "production", number).release
    with Traffic(system.settings.public_port).running() as traffic:
        system.client.rollback(NAME, "production", requests.Rollback(reason="it looks wrong"))
        system.wait(lambda: (system.live() or (commit,))[0] != commit, "the release before")
        assert system.live() == (before.commit, before.models)
    assert not traffic.bad, traffic.causes
    environment = system.environment()
    assert environment is not None
    assert "it looks wrong" in environment.rejected.values()
