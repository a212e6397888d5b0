"""Releases with their receipts, and the figures of delivery, over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Response

from conveyor.delivery.desk import Desk


def reports(router: APIRouter, desk: Desk, answer: Callable[[Any], Response]) -> None:
    base = "/projects/{project}/environments/{environment}"

    @router.get(base + "/release")
    def current(project: str, environment: str) -> Response:
        return answer(desk.reports.release(project, environment, None))

    @router.get(base + "/releases/{number}")
    def release(project: str, environment: str, number: int) -> Response:
        return answer(desk.reports.release(project, environment, number))

    @router.get("/dora")
    def dora(project: str = "", environment: str = "production", window: str = "30d") -> Response:
        return answer(desk.reports.dora(project, environment, window))
