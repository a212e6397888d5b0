"""The pages: rendered here, kept live by fragments of themselves. A handler reads the desk and names a template."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from conveyor.config.settings import Settings
from conveyor.delivery.desk import Desk
from conveyor.domain import wire
from conveyor.domain.card import PLOTS
from conveyor.domain.events import CATALOGUE
from conveyor.domain.run import Run
from conveyor.errors import InputRejected, NotFound
from conveyor.web import board
from conveyor.web.auth import Guard
from conveyor.web.bundle import Bundle
from conveyor.web.gatekeeping import Render, page_route, signed_in
from conveyor.web.mlflow.tracked import Tracked
from conveyor.web.pages_data import bound, data_pages
from conveyor.web.pages_tracked import tracked_pages

_UI = Path(__file__).parent / "ui"
_STATIC = {"conveyor.css": "text/css", "conveyor.js": "text/javascript"}
_FOREVER = "private, max-age=31536000, immutable"
_MAX_FORM = 4096


def pages(desk: Desk, guard: Guard, settings: Settings, tracked: Tracked | None = None) -> APIRouter:
    """`/` and all pages that it links to; each needs the token, the sign-in page and its style do not."""
    bundle = Bundle(settings.home / "cache")
    render = _renderer(settings, bundle)
    router = APIRouter(route_class=page_route(render, guard), include_in_schema=False)
    inside = [Depends(guard)]
    _sign_in(router, guard, render)
    _dashboard(router, desk, render, inside)
    _runs(router, desk, render, inside)
    _models(router, desk, render, inside)
    _releases(router, desk, render, inside)
    data_pages(router, desk, render, inside)
    _files(router, bundle, inside)
    if tracked is not None:
        tracked_pages(router, tracked, render, inside)
    return router


def _sign_in(router: APIRouter, guard: Guard, render: Render) -> None:
    @router.get("/login")
    def form() -> Response:
        return render("signin.html", 401, next="/", wrong=False)

    @router.post("/login")
    async def login(request: Request) -> Response:
        raw = b""
        async for chunk in request.stream():
            raw += chunk
            if len(raw) > _MAX_FORM:
                raise InputRejected("the form is too long", hint="Paste the token, and nothing else.")
        said = parse_qs(raw.decode("latin-1"))
        token, to = said.get("token", [""])[0].strip(), said.get("next", ["/"])[0]
        if not guard.matches(token):
            return render("signin.html", 401, next=to, wrong=True)
        return signed_in(request, token, to)


def _dashboard(router: APIRouter, desk: Desk, render: Render, inside: list[Any]) -> None:
    def shown() -> dict[str, Any]:
        status = desk.status()
        metrics = {}
        for view in status.models:
            measures = desk.quality(view.project, view.name, 1)
            metrics[f"{view.project}/{view.name}"] = board.key_metric(view.newest, measures)
        alerts = desk.alerts.list(limit=20)
        return {"status": status, "percents": board.percents(desk), "metrics": metrics, "alerts": alerts}

    @router.get("/", dependencies=inside)
    def dashboard() -> Response:
        events = desk.events(limit=board.TIMELINE, newest=True)
        types = " ".join(CATALOGUE)
        more = {"types": types, "limit": board.TIMELINE, "dora": board.dora(desk)}
        return render("dashboard.html", lines=board.lines(events), **more, **shown())

    @router.get("/live/board", dependencies=inside)
    def fresh_board() -> Response:
        return render("_board.html", **shown())

    @router.get("/live/timeline", dependencies=inside)
    def timeline(after: Annotated[int, Query(ge=0)] = 0) -> Response:
        events = desk.events(after=after, limit=board.TIMELINE, newest=True)
        return render("_timeline.html", lines=board.lines(events))


def _runs(router: APIRouter, desk: Desk, render: Render, inside: list[Any]) -> None:
    def shown(run: Run) -> dict[str, Any]:
        logs = {step.name: board.log_tail(desk, run, step) for step in run.steps}
        return {"run": run, "logs": logs}

    @router.get("/runs/{id_}", dependencies=inside)
    def run(id_: str) -> Response:
        return render("run.html", **shown(desk.run(id_)))

    @router.get("/live/runs/{id_}", dependencies=inside)
    def steps(id_: str) -> Response:
        return render("_steps.html", run=desk.run(id_))

    @router.get("/projects/{project}/commits/{commit}", dependencies=inside)
    def commit(project: str, commit: str) -> Response:
        push = board.seen_push(desk, project, commit)
        try:
            found = shown(desk.run_of_commit(project, commit))
        except NotFound:
            found = {"run": None, "logs": {}}
        releases = board.releases_of(desk, project, commit)
        previews = board.previews_of(desk, project, push)
        found["newer"] = board.superseded_by(desk, project, commit)
        return render(
            "commit.html", project=project, commit=commit, push=push, releases=releases, previews=previews, **found
        )


def _models(router: APIRouter, desk: Desk, render: Render, inside: list[Any]) -> None:
    @router.get("/models/{project}/{model}", dependencies=inside)
    def model(project: str, model: str) -> Response:
        versions = desk.model_versions(project, model)
        subject = f"model/{project}/{model}"
        return render(
            "model.html",
            project=project,
            model=model,
            versions=versions,
            metric=board.key_metric(versions[0] if versions else None, desk.quality(project, model, 1)),
            live=next((v.live for v in desk.status().models if (v.project, v.name) == (project, model)), None),
            decisions=desk.events(subject=subject, types=("governor.decided",), limit=30, newest=True),
            moves=desk.events(subject=subject, types=("model.alias_moved",), limit=30, newest=True),
        )

    @router.get("/models/{project}/{model}/cards/{version}", dependencies=inside)
    def card(project: str, model: str, version: str) -> Response:
        found = desk.registry.version(project, model, version)
        text = desk.registry.card(project, model, version)
        plots = {name: PLOTS[name] for name in desk.registry.plots(project, model, version)}
        return render("card.html", project=project, model=model, version=found.version, text=text, plots=plots)

    @router.get("/models/{project}/{model}/cards/{version}/{plot}", dependencies=inside)
    def plot(project: str, model: str, version: str, plot: str) -> Response:
        found = desk.registry.plots(project, model, version).get(plot)
        if found is None:
            raise NotFound(f"there is no plot {plot[:80]!r} of {model}", hint="Its holdout is gone, or has no classes.")
        return Response(found, media_type="image/svg+xml")

    @router.get("/live/charts/{project}/{model}", dependencies=inside)
    def charts(project: str, model: str) -> Response:
        return Response(wire.to_json(board.charts(desk, project, model)), media_type="application/json")


def _releases(router: APIRouter, desk: Desk, render: Render, inside: list[Any]) -> None:
    @router.get("/projects/{project}/environments/{environment}/releases/{number}", dependencies=inside)
    def release(project: str, environment: str, number: int) -> Response:
        return render("release.html", view=desk.reports.release(project, environment, number))


def _files(router: APIRouter, bundle: Bundle, inside: list[Any]) -> None:
    @router.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in _STATIC:
            raise NotFound(f"there is no file {name[:80]!r}")
        headers = {"cache-control": "no-cache"}  # asked for again each time, and answered by its ETag
        return FileResponse(_UI / "static" / name, media_type=_STATIC[name], headers=headers)

    @router.get("/vendor/{name}", dependencies=inside)
    async def vendor(name: str) -> Response:
        if name != bundle.name:
            raise NotFound(f"there is no file {name[:80]!r}", hint="Reload the page; Conveyor was upgraded.")
        path = await run_in_threadpool(bundle.path)
        return FileResponse(path, media_type="text/javascript", headers={"cache-control": _FOREVER})


def _renderer(settings: Settings, bundle: Bundle) -> Render:
    environment = Environment(
        loader=FileSystemLoader(_UI / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"when": _when, "short": lambda commit: commit[:8], "figure": _figure}
    environment.filters |= {"ms": board.milliseconds, "spread": board.spread, "bound": bound}
    environment.globals |= {
        "took": board.took,
        "bundle": bundle.name,
        "api_url": settings.api_url,
        "home": str(settings.home),
    }

    def render(template: str, status: int = 200, /, **values: Any) -> Response:
        return HTMLResponse(environment.get_template(template).render(**values), status)

    return render


def _when(moment: datetime | None, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    return moment.strftime(form) if moment else "unknown"


def _figure(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "undefined" if value is None else str(value)
