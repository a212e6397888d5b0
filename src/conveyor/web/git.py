"""The git remote: smart HTTP by git's own `http-backend`. A push is durable once git says so: refs are the record."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from conveyor.config.settings import Settings
from conveyor.domain.remote import PROJECT
from conveyor.effects import git_http
from conveyor.effects.git import ensure_repo
from conveyor.errors import InputRejected, NotFound
from conveyor.web.auth import Guard


def git(settings: Settings, guard: Guard, poke: Callable[[], None]) -> APIRouter:
    """`/git/<project>.git`: the first push makes the project."""
    router = APIRouter(dependencies=[Depends(guard)])

    @router.api_route("/git/{project}.git/{path:path}", methods=["GET", "POST"])
    async def remote(project: str, path: str, request: Request) -> Response:
        if not PROJECT.fullmatch(project):
            raise InputRejected(
                f"{project!r} cannot name a project",
                hint="Use a lower-case letter, then lower-case letters, digits, - or _.",
            )
        repo = settings.repos / f"{project}.git"
        pushing = "git-receive-pack" in (path, request.query_params.get("service"))
        if pushing:
            address = f"{settings.api_url}/projects/{project}/commits"
            await run_in_threadpool(ensure_repo, repo, address)
        elif not repo.exists():
            raise NotFound(f"there is no project {project!r}", hint="The first push makes it.")
        status, headers, body = await git_http.run(
            settings.repos,
            request.method,
            f"/{project}.git/{path}",
            request.url.query,
            dict(request.headers),
            request.stream(),
        )

        async def answered() -> AsyncIterator[bytes]:
            async for chunk in body:
                yield chunk
            if pushing:
                poke()

        return StreamingResponse(answered(), status, headers=headers)

    return router
