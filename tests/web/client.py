"""A client of an ASGI application in this process; it remembers cookies and follows nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from fastapi import FastAPI


class Client:
    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self.cookies = httpx.Cookies()

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self._call("GET", path, options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self._call("POST", path, options)

    def _call(self, method: str, path: str, options: dict[str, Any]) -> httpx.Response:
        async def call() -> httpx.Response:
            made = httpx.AsyncClient(
                transport=httpx.ASGITransport(self._app), base_url="http://127.0.0.1", cookies=self.cookies
            )
            async with made as client:
                answer = await client.request(method, path, **options)
                self.cookies = client.cookies
                return answer

        return asyncio.run(call())
