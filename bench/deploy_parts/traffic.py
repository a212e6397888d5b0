"""`python traffic.py PORT CLIENTS OUT`: clients without retries until standard input ends; its lines name phases.

An HTTP client of its own on purpose: libraries repeat a request on a connection that the server has closed.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

KINDS = ("keep", "new", "post", "slow", "upload", "events", "socket")
WEIGHTS = {"keep": 10, "new": 10, "post": 8, "slow": 4, "upload": 2, "events": 3, "socket": 3}
PAUSE = 0.05
UPLOAD = 10_000_000
_phase = "warm"


class Failed(Exception):
    """What went wrong with a request, as its client saw it."""


class Client:
    def __init__(self, port: int, kind: str, seen: dict[str, Any]) -> None:
        self.port, self.kind, self.seen = port, kind, seen
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            began, phase = time.perf_counter(), _phase
            try:
                await asyncio.wait_for(getattr(self, self.kind)(), 60)
                cause = ""
            except (Failed, OSError, asyncio.IncompleteReadError, TimeoutError, ValueError) as error:
                cause = f"{self.kind}: {error!r}"
                await self.close()
            self.note(phase, (time.perf_counter() - began) * 1000, cause)
            await asyncio.sleep(PAUSE)
        await self.close()

    def note(self, phase: str, milliseconds: float, cause: str) -> None:
        counts = self.seen["phases"].setdefault(phase, {"requests": 0, "failed": 0, "cut": 0, "times": []})
        counts["requests"] += 1
        self.seen["kinds"][self.kind] += 1
        if self.kind in ("keep", "new", "post"):
            counts["times"].append(milliseconds)
        if cause:
            counts["cut" if self.kind in ("events", "socket") else "failed"] += 1
            self.seen["causes"][cause[:160]] += 1

    # --- kinds

    async def keep(self) -> None:
        await self.ask("GET", "/")

    async def new(self) -> None:
        await self.ask("GET", "/")
        await self.close()

    async def post(self) -> None:
        assert (await self.ask("POST", "/", b"x" * 2048)).endswith(b" 2048")

    async def slow(self) -> None:
        await self.ask("GET", "/slow")

    async def upload(self) -> None:
        if not (await self.ask("POST", "/upload", b"x" * UPLOAD)).endswith(b" %d" % UPLOAD):
            raise Failed("the upload arrived in part")
        await asyncio.sleep(1.0)

    async def events(self) -> None:
        body = await self.ask("GET", "/events")
        if not body.endswith(b"data: end\n\n"):
            raise Failed("the stream ended early")

    async def socket(self) -> None:
        reader, writer = await self.connected()
        key = base64.b64encode(os.urandom(16)).decode()
        head = "GET /echo HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        writer.write(f"{head}Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        if b" 101 " not in (await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")[0]:
            raise Failed("no WebSocket")
        for number in range(10):
            text = b"message %d" % number
            mask = os.urandom(4)
            writer.write(bytes([0x81, 0x80 | len(text)]) + mask + bytes(c ^ mask[i % 4] for i, c in enumerate(text)))
            first, length = await reader.readexactly(2)
            if first != 0x81 or await reader.readexactly(length) != text:
                raise Failed("the echo was another")
            await asyncio.sleep(0.2)
        await self.close()

    # --- one request

    async def ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        reader, writer = await self.connected()
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        for start in range(0, len(body), 1 << 16):
            writer.write(body[start : start + (1 << 16)])
            await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head.split(b" ", 2)[1])
        if b"transfer-encoding: chunked" in head:
            answer = await self.chunks(reader)
        else:
            length = next(part for part in head.split(b"\r\n") if part.startswith(b"content-length:"))
            answer = await reader.readexactly(int(length.partition(b":")[2]))
        if status != 200:
            raise Failed(f"status {status}")
        if b"connection: close" in head:
            await self.close()
        return answer

    async def chunks(self, reader: asyncio.StreamReader) -> bytes:
        answer = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            answer += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readexactly(2)
        return answer

    async def connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.reader is None or self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        return self.reader, self.writer

    async def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            with contextlib.suppress(OSError):
                await self.writer.wait_closed()
        self.reader = self.writer = None


async def main(port: int, clients: int, out: Path) -> None:
    seen: dict[str, Any] = {"phases": {}, "kinds": Counter(), "causes": Counter()}
    stop = asyncio.Event()
    kinds = [kind for kind, weight in WEIGHTS.items() for _ in range(weight)]
    tasks = [asyncio.create_task(Client(port, kinds[n % len(kinds)], seen).run(stop)) for n in range(clients)]
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    global _phase
    while line := await reader.readline():
        _phase = line.decode().strip()
    stop.set()
    await asyncio.gather(*tasks)
    for counts in seen["phases"].values():
        times = sorted(counts.pop("times"))
        for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99)):
            counts[name] = round(times[min(len(times) - 1, int(share * len(times)))], 1) if times else 0.0
    out.write_text(json.dumps(seen))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
