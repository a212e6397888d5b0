"""Git's smart HTTP protocol: bridges a web handler to the CGI program `git http-backend`, streaming both ways.

Authentication is the caller's; `user` is recorded as who pushed.
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from conveyor.effects.git import environment
from conveyor.errors import InputRejected, Unavailable

_CHUNK = 1 << 16
_LONGEST_HEAD = 1 << 14


async def run(
    repo_root: Path,
    method: str,
    path_info: str,
    query: str,
    headers: Mapping[str, str],
    body: AsyncIterator[bytes],
    *,
    user: str = "conveyor",
) -> tuple[int, dict[str, str], AsyncIterator[bytes]]:
    """(status, headers, body). `path_info` is "/<repository>.git/info/refs" and the like, under `repo_root`.

    The returned body must be read to its end or closed: that ends the git process.
    """
    if ".." in path_info.split("/") or not path_info.startswith("/"):
        raise InputRejected(f"{path_info} is not a path of a repository", hint="Check the remote's URL.")
    given = {key.lower(): value for key, value in headers.items()}
    compressed = given.get("content-encoding", "") in ("gzip", "x-gzip")
    env = environment(
        GIT_PROJECT_ROOT=str(repo_root.resolve()),
        GIT_HTTP_EXPORT_ALL="1",
        PATH_INFO=path_info,
        QUERY_STRING=query,
        REQUEST_METHOD=method,
        CONTENT_TYPE=given.get("content-type", ""),
        REMOTE_USER=user,
        REMOTE_ADDR="127.0.0.1",
        GIT_PROTOCOL=given.get("git-protocol", ""),
    )
    # Unpacked here, so the length is unknown: without CONTENT_LENGTH git reads to the end of its input.
    if "content-length" in given and not compressed:
        env["CONTENT_LENGTH"] = given["content-length"]
    try:
        process = await asyncio.create_subprocess_exec(
            "git",
            "http-backend",
            env=env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except FileNotFoundError as problem:
        raise Unavailable("git is not installed", hint="Install git.") from problem
    feeding = asyncio.create_task(_feed(process, _unpacked(body) if compressed else body))
    try:
        status, answer = await _head(process)
        # The request is read to its end before the answer begins: a server that watches for a disconnect while it
        # answers asks for the same messages as `body` does, and would take the request's last piece for the end.
        await asyncio.wait({feeding})
    except BaseException:
        await _end(process, feeding)
        raise
    return status, answer, _answer(process, feeding)


async def _feed(process: asyncio.subprocess.Process, body: AsyncIterator[bytes]) -> None:
    assert process.stdin is not None
    try:
        async for chunk in body:
            process.stdin.write(chunk)
            await process.stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        pass  # git has read all that it wants; its answer says what it thought
    except BaseException:
        # Half a request must not look like a whole one.
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        raise
    finally:
        process.stdin.close()


async def _unpacked(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """gzip, in pieces of bounded size: a small request that unpacks to gigabytes does not fill the memory."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        async for chunk in body:
            rest = chunk
            while rest:
                yield unpacker.decompress(rest, _CHUNK)
                rest = unpacker.unconsumed_tail
        yield unpacker.flush()
    except zlib.error as problem:
        raise InputRejected(f"the request is not gzip: {problem}", hint="Push again.") from problem
    if not unpacker.eof:
        raise InputRejected("the compressed request ended early", hint="Push again.")


async def _head(process: asyncio.subprocess.Process) -> tuple[int, dict[str, str]]:
    assert process.stdout is not None
    status, answer, size = 200, {}, 0
    while (line := await process.stdout.readline()).strip():
        size += len(line)
        if size > _LONGEST_HEAD:
            break
        key, _, value = line.decode("latin-1").partition(":")
        if key.lower() == "status":
            status = int(value.split()[0])
        else:
            answer[key.strip()] = value.strip()
    if not line or size > _LONGEST_HEAD:
        raise Unavailable("git http-backend ended without an answer", hint="Push again; see `conveyor logs`.")
    return status, answer


async def _answer(process: asyncio.subprocess.Process, feeding: asyncio.Task[None]) -> AsyncIterator[bytes]:
    assert process.stdout is not None
    try:
        while chunk := await process.stdout.read(_CHUNK):
            yield chunk
    finally:
        await _end(process, feeding)


async def _end(process: asyncio.subprocess.Process, feeding: asyncio.Task[None]) -> None:
    feeding.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await feeding
    if process.returncode is None:
        try:
            await asyncio.wait_for(process.wait(), 5.0)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
