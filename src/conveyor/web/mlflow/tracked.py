"""Tracked runs as Conveyor's own API and pages read them."""

from __future__ import annotations

from dataclasses import dataclass

from conveyor.domain import requests
from conveyor.domain.track_filter import parse, parse_order
from conveyor.domain.tracked import ACTIVE, Experiment, Point, TrackedRun
from conveyor.errors import InputRejected
from conveyor.stores.tracking import experiments, points
from conveyor.stores.tracking.search import Question, load, number_of_any, search
from conveyor.web.mlflow.service import Service

_MOST = 1000
_POINTS = 500
"""So many points of a curve at most are told: more than a screen has columns for."""


@dataclass(frozen=True, slots=True)
class Tracked:
    service: Service

    def experiments(self) -> list[Experiment]:
        with self.service.database.read() as session:
            return experiments.search(session, [], [], (ACTIVE,), _MOST, 0)

    def search(self, asked: requests.TrackSearch) -> list[TrackedRun]:
        """Runs of one experiment, or of all."""
        if not 0 < asked.limit <= _MOST:
            raise InputRejected(f"limit must be from 1 to {_MOST}, not {asked.limit}", hint="Ask for fewer.")
        clauses, orders = tuple(parse(asked.filter)), tuple(parse_order(order) for order in asked.order_by)
        with self.service.database.read() as session:
            if asked.experiment:
                found = [experiments.by_name(session, asked.experiment)]
            else:
                found = experiments.search(session, [], [], (ACTIVE,), _MOST, 0)
            within = tuple(int(each.experiment_id) for each in found)
            return search(session, Question(within, clauses, orders, (ACTIVE,), asked.limit))

    def run(self, run: str) -> TrackedRun:
        with self.service.database.read() as session:
            return load(session, [number_of_any(session, run)])[0]

    def curve(self, run: str, metric: str) -> list[Point]:
        with self.service.database.read() as session:
            return points.curve(session, number_of_any(session, run), metric, _POINTS)
