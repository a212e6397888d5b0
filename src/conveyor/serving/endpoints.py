"""The model server's HTTP surface as one RSGI application: Open Inference Protocol v2, `/livez /readyz /metrics`."""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from conveyor import __version__
from conveyor.domain import wire
from conveyor.errors import ConveyorError, NotFound
from conveyor.serving.inference import Inference
from conveyor.serving.log import ObservationWriter
from conveyor.serving.metrics import Metrics
from conveyor.serving.model import LoadedModel
from conveyor.serving.protocol import TooLarge, encode

MAX_BODY_BYTES = 32 * 1024 * 1024
INLINE_BYTES = 32 * 1024  # bodies over this are worked in a thread, so that health checks and single rows go on
BATCH_THREADS = 2
MARK_HEADER = "x-conveyor-mark"

Headers = list[tuple[str, str]]


class Scope(Protocol):
    """What of RSGI's HTTP scope is used here."""

    method: str
    path: str
    headers: Any


class Http(Protocol):
    """RSGI's HTTP protocol object."""

    async def __call__(self) -> bytes: ...
    def __aiter__(self) -> Any: ...
    def response_bytes(self, status: int, headers: Headers, body: bytes) -> None: ...


class Endpoints:
    """Routes requests; `__rsgi__` is granian's entry."""

    def __init__(self, model: LoadedModel, log: ObservationWriter, *, max_body: int = MAX_BODY_BYTES) -> None:
        self._model = model
        self._log = log
        self._max_body = max_body
        self._inference = Inference(model)
        self._metrics = Metrics(model=model.name, version=model.version)
        self._threads = ThreadPoolExecutor(BATCH_THREADS, thread_name_prefix="batch")
        self._headers: Headers = [
            ("content-type", "application/json"),
            ("x-conveyor-model", f"{model.name}@{model.version}"),
        ]
        bases = (f"/v2/models/{model.name}", f"/v2/models/{model.name}/versions/{model.version}")
        self._infer_paths = frozenset(f"{base}/infer" for base in bases)
        self._pages = _pages(model, bases)

    async def __rsgi__(self, scope: Scope, http: Http) -> None:
        if scope.path in self._infer_paths and scope.method == "POST":
            await self._infer(scope, http)
            return
        status, headers, body = self._page(scope)
        http.response_bytes(status, headers, body)

    async def _infer(self, scope: Scope, http: Http) -> None:
        begun = time.perf_counter()
        rows = 0
        try:
            body = await self._body(scope, http)
            at, mark = time.time(), _mark(scope)
            if len(body) <= INLINE_BYTES:
                prediction, answer = self._inference.answer(body, at=at, mark=mark)
            else:
                loop = asyncio.get_running_loop()
                prediction, answer = await loop.run_in_executor(
                    self._threads, lambda: self._inference.answer(body, at=at, mark=mark)
                )
            self._log.append(prediction)
            status, rows = 200, prediction.rows
        except ConveyorError as error:
            status, answer = _refusal(error)
        except Exception:
            traceback.print_exc(file=sys.stderr)
            status, answer = 500, encode({"error": "the model server failed on this request; its log says why"})
        self._metrics.answered(status, rows, time.perf_counter() - begun)
        http.response_bytes(status, self._headers, answer)

    async def _body(self, scope: Scope, http: Http) -> bytes:
        """Raises TooLarge before more than the limit is in memory, whether or not the client announced a length."""
        length = scope.headers.get("content-length")
        if length is not None and int(length) <= self._max_body:
            return await http()
        if length is None:
            parts, size = [], 0
            async for part in http:
                size += len(part)
                if size > self._max_body:
                    break
                parts.append(bytes(part))
            else:
                return b"".join(parts)
        raise TooLarge(f"the body is over {self._max_body} bytes", hint="send the rows in several requests")

    def _page(self, scope: Scope) -> tuple[int, Headers, bytes]:
        body = self._metrics_text() if scope.path == "/metrics" else self._pages.get(scope.path)
        if body is None:
            if scope.path in self._infer_paths:
                error = encode({"error": f"{scope.method} is not known here; infer takes POST"})
                return 405, [*self._headers, ("allow", "POST")], error
            status, body = _refusal(NotFound(f"no {scope.path} on this server", hint=self._where(scope.path)))
            return status, self._headers, body
        if scope.method not in ("GET", "HEAD"):
            error = encode({"error": f"{scope.method} is not known here; send GET"})
            return 405, [*self._headers, ("allow", "GET")], error
        content_type = "text/plain; version=0.0.4" if scope.path == "/metrics" else "application/json"
        return 200, [("content-type", content_type), self._headers[1]], body

    def _where(self, path: str) -> str:
        here = f"model '{self._model.name}' version {self._model.version}"
        if path.startswith("/v2/models/"):
            return f"it serves {here} at /v2/models/{self._model.name}"
        return f"it serves {here}; GET /v2 names the protocol"

    def _metrics_text(self) -> bytes:
        log = {
            "conveyor_observations_written_total": self._log.written,
            "conveyor_observations_lost_total": self._log.lost,
            "conveyor_observations_buffered_bytes": self._log.buffered_bytes,
        }
        return self._metrics.text(log).encode()


def _refusal(error: ConveyorError) -> tuple[int, bytes]:
    """The protocol wants 4xx and one string. 422 becomes 400, the status that its clients know."""
    status = 400 if error.status == 422 else error.status
    return status, encode({"error": f"{error.message}; {error.hint}" if error.hint else error.message})


def _mark(scope: Scope) -> str:
    """Mirrored requests are marked by header, or by the suffix that Envoy puts on the host name of what it mirrors."""
    if scope.headers.get(MARK_HEADER) == "shadow":
        return "shadow"
    host: str = scope.headers.get("host", "")
    return "shadow" if host.partition(":")[0].endswith("-shadow") else ""


def _pages(model: LoadedModel, bases: tuple[str, ...]) -> dict[str, bytes]:
    """Answers that never change while the process lives: it is up only once the model has proved itself."""
    metadata = {
        "name": model.name,
        "versions": [str(model.version)],
        "platform": "onnx_onnxv1",
        "inputs": wire.to_builtins(model.inputs),
        "outputs": wire.to_builtins(model.outputs),
        "parameters": {"features": list(model.manifest.signature.features)},
    }
    static: dict[str, object] = {
        "/v2": {"name": "conveyor", "version": __version__, "extensions": ["model_list"]},
        "/v2/health/live": {"live": True},
        "/v2/health/ready": {"ready": True},
        "/livez": {"live": True},
        "/readyz": {"ready": True},
        "/v2/models": {"models": [model.name]},
    }
    for base in bases:
        static[base] = metadata
        static[f"{base}/ready"] = {"name": model.name, "ready": True}
    return {path: encode(value) for path, value in static.items()}
