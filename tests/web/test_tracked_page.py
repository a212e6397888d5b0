"""The page of tracked runs: curves of several together, hostile names and values as text."""

from __future__ import annotations

from pathlib import Path

from conveyor.app import tracking
from conveyor.domain.tracked import Pair, Point
from conveyor.stores.tracking import experiments, points, runs
from conveyor.stores.tracking.database import Session
from conveyor.web.mlflow.service import Service
from conveyor.web.mlflow.trained import TrainedModels
from conveyor.web.server import application

from .client import Client
from .world import HOSTILE, TOKEN, empty


def test_runs_are_drawn_together(tmp_path: Path) -> None:
    world = empty(tmp_path)
    settings = world.context.settings
    database = tracking(settings)

    def fill(session: Session) -> None:
        experiment = experiments.ensure(session, "x", 1)
        for name in ("one", "two"):
            runs.create(session, name, experiment, HOSTILE, "me", 1, [Pair("t", HOSTILE)])
            number = runs.number(session, name)
            runs.log_params(session, number, [Pair("depth", name)], name)
            points.log(session, number, [Point("loss", 1 / (at + 1), at, at) for at in range(2000)])
        points.log(session, runs.number(session, "one"), [Point("odd", "NaN", 1, 1)])

    database.write(fill)
    service = Service(database, world.context, lambda: TrainedModels(world.context, world.desk.registry))
    client = Client(application(world.desk, settings, TOKEN, lambda: None, service))
    assert client.get("/tracked/one").status_code == 401
    bearer = {"authorization": f"Bearer {TOKEN}"}
    page = client.get("/tracked/one?with=two", headers=bearer)
    assert page.status_code == 200
    assert HOSTILE not in page.text
    assert "2 tracked runs" in page.text
    assert 'data-charts="/live/tracked/one?with=two"' in page.text
    charts = client.get("/live/tracked/one?with=two", headers=bearer).json()
    assert set(charts) == {"loss", "odd"}
    drawn = charts["loss"]["layer"][0]["data"]["values"]
    assert len(drawn) == 1000  # 500 of each, of 2,000
    assert {row["step"] for row in drawn} >= {0, 1999}
    assert charts["odd"]["layer"][0]["data"]["values"] == []
    assert client.get("/tracked/three", headers=bearer).status_code == 404
    database.close()
