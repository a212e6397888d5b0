"""The application that is deployed: short answers, slow ones, uploads, server-sent events and a WebSocket echo."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import uvicorn

VERSION = (
    (Path(__file__).parent / "version.txt").read_text() if (Path(__file__).parent / "version.txt").exists() else "0"
)
EVENTS, PAUSE = 10, 0.2


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["type"] == "websocket":
        await echo(receive, send)
        return
    path = scope["path"]
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    if path == "/events":
        await events(send)
        return
    if path == "/slow":
        await asyncio.sleep(1.5)
    body = f"{VERSION.strip()} {size}".encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def events(send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    for number in range(EVENTS):
        await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
        await asyncio.sleep(PAUSE)
    await send({"type": "http.response.body", "body": b"data: end\n\n"})


async def echo(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message.get("text") or ""})


if __name__ == "__main__":
    uvicorn.run(
        application,
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        log_level="warning",
        access_log=False,
        timeout_keep_alive=7200,
        timeout_graceful_shutdown=10,
    )
