"""Liveness, readiness and Prometheus metrics of the control plane; open to anyone who reaches the port."""

from __future__ import annotations

from fastapi import APIRouter, Response

from conveyor.delivery.desk import Desk


def metrics(desk: Desk) -> APIRouter:
    router = APIRouter()

    @router.get("/livez")
    def live() -> Response:
        return Response("ok\n", media_type="text/plain")

    @router.get("/readyz")
    def ready() -> Response:
        alive = desk.reconciling()
        return Response(
            "ok\n" if alive else "the reconciler is not running\n", 200 if alive else 503, media_type="text/plain"
        )

    @router.get("/metrics")
    def scrape() -> Response:
        return Response(_render(desk), media_type="text/plain; version=0.0.4")

    return router


def _render(desk: Desk) -> str:
    status = desk.status()
    lines = [
        "# HELP conveyor_reconciler_up 1 while the reconciler's thread runs",
        "# TYPE conveyor_reconciler_up gauge",
        f"conveyor_reconciler_up {int(status.reconciling)}",
        "# HELP conveyor_runs_open Runs that have not ended",
        "# TYPE conveyor_runs_open gauge",
        f"conveyor_runs_open {len(status.runs)}",
        "# HELP conveyor_release_live Number of the release that is live",
        "# TYPE conveyor_release_live gauge",
    ]
    for view in status.environments:
        labels = f'project="{view.project}",environment="{view.name}"'
        lines.append(f"conveyor_release_live{{{labels}}} {view.live.number if view.live else 0}")
    lines += [
        "# HELP conveyor_model_version_live Version of a model that is live",
        "# TYPE conveyor_model_version_live gauge",
    ]
    for model in status.models:
        labels = f'project="{model.project}",model="{model.name}"'
        lines.append(f"conveyor_model_version_live{{{labels}}} {model.live.version if model.live else 0}")
    return "\n".join(lines) + "\n"
