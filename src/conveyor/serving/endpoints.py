"""The model server's surface: Open Inference Protocol v2, `/livez /readyz /metrics`; each request to its answer."""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor

from conveyor import __version__
from conveyor.domain import wire
from conveyor.domain.form import ONNX
from conveyor.domain.model import Signature
from conveyor.errors import ConveyorError, NotFound
from conveyor.serving.http import Request, Response
from conveyor.serving.inference import Answer, Inference
from conveyor.serving.log import ObservationWriter
from conveyor.serving.metrics import Metrics
from conveyor.serving.model import LoadedModel
from conveyor.serving.protocol import encode

INLINE_BYTES = 32 * 1024  # bodies over this are worked in a thread, so that health checks and single rows go on
BATCH_THREADS = 2
MARK_HEADER = b"x-conveyor-mark"
SHADOW_HOST = b"-shadow"  # what Envoy puts behind the host name of a mirrored request
_PLATFORMS = {ONNX: "onnx_onnxv1"}
_JSON = b"content-type: application/json\r\n"
_TEXT = b"content-type: text/plain; version=0.0.4\r\n"


class Endpoints:
    """Answers requests for one model; never raises."""

    def __init__(self, model: LoadedModel, log: ObservationWriter) -> None:
        self._model = model
        self._log = log
        self._inference = Inference(model)
        self._metrics = Metrics(model=model.name, version=model.version, rules=model.manifest.rules)
        self._threads = ThreadPoolExecutor(BATCH_THREADS, thread_name_prefix="batch")
        self._served_by = f"x-conveyor-model: {model.name}@{model.version}\r\n".encode()
        self._headers = _JSON + self._served_by
        bases = (f"/v2/models/{model.name}", f"/v2/models/{model.name}/versions/{model.version}")
        self._infer_paths = frozenset(f"{base}/infer" for base in bases)
        self._pages = _pages(model, bases)

    def handle(self, request: Request) -> Response | Awaitable[Response]:
        """Small inference requests and all else are answered at once, large ones by an awaitable."""
        if request.path not in self._infer_paths or request.method != "POST":
            return self._page(request)
        if len(request.body) > INLINE_BYTES:
            return self._infer_apart(request)
        begun = time.perf_counter()
        return self._settle(begun, self._score(request))

    def refuse(self, status: int, reason: str) -> Response:
        """The answer to a request that was not read to its end."""
        self._metrics.answered(status, 0, 0.0)
        return Response(status, encode({"error": reason}), self._headers)

    async def _infer_apart(self, request: Request) -> Response:
        begun = time.perf_counter()
        scored = await asyncio.get_running_loop().run_in_executor(self._threads, self._score, request)
        return self._settle(begun, scored)

    def _score(self, request: Request) -> tuple[int, Answer | None, bytes]:
        """HTTP status, what was scored, the body. Runs on any thread. What is answered is in the log before."""
        try:
            answer = self._inference.answer(request.body, at=time.time(), mark=_mark(request))
            self._log.append(answer.prediction)
        except ConveyorError as error:
            return _status(error), None, _reason(error)
        except Exception:
            traceback.print_exc(file=sys.stderr)
            return 500, None, encode({"error": "the model server failed on this request; its log says why"})
        return 200, answer, answer.body

    def _settle(self, begun: float, scored: tuple[int, Answer | None, bytes]) -> Response:
        status, answer, body = scored
        rows = answer.prediction.rows if answer else 0
        self._metrics.answered(status, rows, time.perf_counter() - begun)
        if answer and answer.skew:
            self._metrics.skewed(answer.skew)
        return Response(status, body, self._headers)

    def _page(self, request: Request) -> Response:
        path, metrics = request.path, request.path == "/metrics"
        body = self._metrics_text() if metrics else self._pages.get(path)
        if body is None and path not in self._infer_paths:
            error = NotFound(f"no {path} on this server", hint=self._where(path))
            return Response(_status(error), _reason(error), self._headers)
        if body is None or request.method not in ("GET", "HEAD"):
            allowed = "GET" if body is not None else "POST"
            reason = encode({"error": f"{request.method} is not known at {path}; send {allowed}"})
            return Response(405, reason, self._headers + f"allow: {allowed}\r\n".encode())
        return Response(200, body, (_TEXT if metrics else _JSON) + self._served_by)

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


def _status(error: ConveyorError) -> int:
    """422 becomes 400, the status that the protocol's clients know."""
    return 400 if error.status == 422 else error.status


def _reason(error: ConveyorError) -> bytes:
    return encode({"error": f"{error.message}; {error.hint}" if error.hint else error.message})


def _mark(request: Request) -> str:
    """Mirrored requests are marked by a header, or by the host name."""
    if request.headers.get(MARK_HEADER) == b"shadow":
        return "shadow"
    host = request.headers.get(b"host", b"").partition(b":")[0]
    return "shadow" if host.endswith(SHADOW_HOST) else ""


def _parameters(signature: Signature) -> dict[str, list[str]]:
    named = {"features": list(signature.features)}
    return named | {"classes": list(signature.classes)} if signature.classes else named


def _pages(model: LoadedModel, bases: tuple[str, ...]) -> dict[str, bytes]:
    """Answers that never change while the process lives: it is up only once the model has proved itself."""
    metadata = {
        "name": model.name,
        "versions": [str(model.version)],
        "platform": _PLATFORMS.get(model.manifest.form, model.manifest.form),
        "inputs": wire.to_builtins(model.inputs),
        "outputs": wire.to_builtins(model.outputs),
        "parameters": _parameters(model.manifest.signature),
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
