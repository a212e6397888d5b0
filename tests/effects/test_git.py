"""A real git pushes to and clones from a small server in the test."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from conveyor.effects import git, git_http
from conveyor.effects.clock import SteppedClock, SystemClock
from conveyor.effects.ports import free_port, listening
from conveyor.errors import InputRejected, NotFound


async def serve(root: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """As much HTTP/1.1 as git speaks: lengths, chunks, gzip, `Expect`."""
    request = (await reader.readline()).decode().split()
    headers: dict[str, str] = {}
    while line := (await reader.readline()).decode().strip():
        key, _, value = line.partition(":")
        headers[key.lower()] = value.strip()
    if headers.get("expect"):
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    path, _, query = request[1].partition("?")

    async def body() -> AsyncIterator[bytes]:
        if headers.get("transfer-encoding") == "chunked":
            while size := int((await reader.readline()).strip(), 16):
                yield (await reader.readexactly(size + 2))[:-2]
            await reader.readline()
        elif left := int(headers.get("content-length", 0)):
            yield await reader.readexactly(left)

    status, answer, chunks = await git_http.run(root, request[0], path, query, headers, body())
    head = "".join(f"{key}: {value}\r\n" for key, value in answer.items())
    writer.write(f"HTTP/1.1 {status} X\r\n{head}Connection: close\r\n\r\n".encode())
    async for chunk in chunks:
        writer.write(chunk)
        await writer.drain()
    writer.close()


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[str]:
    port = free_port()
    loop = asyncio.new_event_loop()
    root = tmp_path / "repos"
    started = threading.Event()

    def work() -> None:
        asyncio.set_event_loop(loop)
        server = loop.run_until_complete(asyncio.start_server(lambda r, w: serve(root, r, w), "127.0.0.1", port))
        started.set()
        loop.run_forever()
        server.close()
        loop.run_until_complete(server.wait_closed())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    started.wait()
    yield f"http://127.0.0.1:{port}/shop.git"
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


def run(cwd: Path, *arguments: str) -> str:
    env = git.environment(
        GIT_AUTHOR_NAME="Ann", GIT_AUTHOR_EMAIL="a@x", GIT_COMMITTER_NAME="Ann", GIT_COMMITTER_EMAIL="a@x"
    )
    done = subprocess.run(["git", *arguments], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_push_export_clone(tmp_path: Path, remote: str) -> None:
    bare, work = tmp_path / "repos" / "shop.git", tmp_path / "work"
    git.ensure_repo(bare, "http://127.0.0.1:1/p/shop/commits/")
    git.ensure_repo(bare, "http://127.0.0.1:1/p/shop/commits/")
    assert git.heads(bare) == {}
    before = git.state(bare)
    work.mkdir()
    run(work, "init", "-q", "-b", "main")
    (work / "app.py").write_text("print(1)\n")
    (work / "large").write_bytes(os.urandom(3 << 20))
    run(work, "add", ".")
    run(work, "commit", "-qm", "First: it's alive")
    said = run(work, "push", remote, "main", "main:refs/heads/feature/x")
    sha = run(work, "rev-parse", "HEAD").strip()
    assert f"remote: Conveyor: http://127.0.0.1:1/p/shop/commits/{sha}" in said
    assert git.heads(bare) == {"refs/heads/main": sha, "refs/heads/feature/x": sha}
    assert git.state(bare) != before

    info = git.commit_info(bare, sha)
    assert (info.sha, info.author, info.subject) == (sha, "Ann", "First: it's alive")
    assert timedelta() <= SystemClock().now() - info.time < timedelta(hours=1)
    assert git.read_file(bare, sha, "app.py") == b"print(1)\n"
    with pytest.raises(NotFound, match=r"missing\.py"):
        git.read_file(bare, sha, "missing.py")
    with pytest.raises(NotFound):
        git.commit_info(bare, "0" * 40)
    with pytest.raises(InputRejected):
        git.commit_info(bare, "--output=/tmp/x")

    names = [f"{sha}^{{tree}}", f"{sha}:large", f"{sha}:missing", f"{sha}:app.py", "strange"]
    tree, large, missing, app, strange = git.lookup(bare, names)
    assert tree is not None
    assert large is not None
    assert app is not None
    assert (tree.type, large.type, missing, strange) == ("tree", "blob", None, None)
    assert (large.content, app.content) == ((work / "large").read_bytes(), b"print(1)\n")
    with pytest.raises(InputRejected):
        git.lookup(bare, ["a\nb"])

    # Many haves make git gzip its request.
    for number in range(30):
        run(work, "commit", "--allow-empty", "-qm", f"commit {number}" + "x" * 100)
    run(tmp_path, "clone", "-q", remote, "clone")
    run(work, "push", remote, "main")
    state = git.state(bare)
    run(tmp_path / "clone", "commit", "--allow-empty", "-qm", "own")
    run(tmp_path / "clone", "pull", "-q", "--no-rebase", "origin", "main")
    assert "First" in run(tmp_path / "clone", "log", "--oneline")
    assert git.lookup(bare, ["main^{tree}"]) == [tree]
    run(work, "push", remote, ":refs/heads/feature/x")
    assert set(git.heads(bare)) == {"refs/heads/main"}
    assert git.state(bare) != state


def test_a_path_outside_is_refused(tmp_path: Path) -> None:
    async def nothing() -> AsyncIterator[bytes]:
        return
        yield b""

    with pytest.raises(InputRejected):
        asyncio.run(git_http.run(tmp_path, "GET", "/../x.git/info/refs", "", {}, nothing()))
    status, _, body = asyncio.run(_whole(tmp_path, nothing()))
    assert (status, body) == (404, b"")


async def _whole(root: Path, body: AsyncIterator[bytes]) -> tuple[int, dict[str, str], bytes]:
    query = "service=git-upload-pack"
    status, headers, chunks = await git_http.run(root, "GET", "/none.git/info/refs", query, {}, body)
    return status, headers, b"".join([chunk async for chunk in chunks])


def test_a_stepped_clock_moves_only_forward() -> None:
    began = datetime(2026, 1, 1, tzinfo=UTC)
    clock = SteppedClock(began)
    assert (clock.now(), clock.monotonic()) == (began, 0.0)
    assert clock.step_to(began + timedelta(days=1)) == clock.now()
    assert clock.monotonic() == 86400.0
    with pytest.raises(ValueError, match="backwards"):
        clock.step(timedelta(seconds=-1))
    with pytest.raises(ValueError, match="time zone"):
        SteppedClock(datetime(2026, 1, 1))


def test_ports_are_not_handed_out_twice() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
    assert not listening(ports[0])
