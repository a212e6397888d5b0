"""The model server's surface: Open Inference Protocol v2, MLflow's scoring, `/livez /readyz /metrics`; each request to
its answer."""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

from conveyor import __version__
from conveyor.domain import wire
from conveyor.domain.form import ONNX
from conveyor.domain.model import Signature
from conveyor.errors import ConveyorError, InputRejected, NotFound
from conveyor.serving import binary
from conveyor.serving.bulk import Bulk, Limits
from conveyor.serving.cells import Cells
from conveyor.serving.http import Request, Response
from conveyor.serving.inference import Answer, Inference
from conveyor.serving.log import WINDOW_SECONDS, ObservationWriter
from conveyor.serving.metrics import Metrics
from conveyor.serving.model import LoadedModel
from conveyor.serving.protocol import encode
from conveyor.serving.redaction import NOTHING, Redaction

INLINE_BYTES = 32 * 1024  # bodies over this are worked in a thread, so that health checks and single rows go on
INLINE_BINARY_BYTES = 4 * 1024  # a body of bytes holds several times the rows
PAIR_HEADER = b"x-conveyor-pair"  # what Envoy gives a request and its mirrored copy
PAIR_LONGEST = 300  # bytes; Envoy's are shorter
MARK_HEADER = b"x-conveyor-mark"
SHADOW_HOST = b"-shadow"  # what Envoy puts behind the host name of a mirrored request
_PLATFORMS = {ONNX: "onnx_onnxv1"}
_EXTENSIONS = ("model_list", "model_repository", "binary_tensor_data")
REPOSITORY_INDEX = "/v2/repository/index"  # asked by POST
_PLAIN = frozenset({"/ping", "/health", "/version"})  # what an MLflow client asks
Work = Callable[..., Answer]  # (body, *, at, mark, length)
Log = ObservationWriter[asyncio.Future[bool]]
LOST = b"x-conveyor-observation: lost\r\n"  # of an answer in sync mode that the disk has not
_JSON = b"content-type: application/json\r\n"
_TEXT = b"content-type: text/plain; version=0.0.4\r\n"


class Endpoints:
    """Answers requests for one model; never raises."""

    def __init__(
        self, model: LoadedModel, log: Log, limits: Limits, cells: Cells, redaction: Redaction = NOTHING
    ) -> None:
        self.model = model
        self._log = log
        self._limits = limits
        self._bulk = Bulk(limits)
        self._metrics = Metrics(model=model.name, version=model.version, rules=model.manifest.rules, cells=cells)
        self._served_by = f"x-conveyor-model: {model.name}@{model.version}\r\n".encode()
        self._headers = _JSON + self._served_by
        bases = (f"/v2/models/{model.name}", f"/v2/models/{model.name}/versions/{model.version}")
        self.inference = inference = Inference(model, redaction)
        self._works: dict[str, Work] = {f"{base}/infer": inference.answer for base in bases}
        self._works |= {f"{base}/invocations": inference.invoke for base in (*bases, "")}
        self._pages = _pages(model, bases)
        self._index = encode([{"name": model.name, "version": str(model.version), "state": "READY", "reason": ""}])

    def handle(self, request: Request) -> Response | Awaitable[Response]:
        """Small inference requests and all else are answered at once, large ones by an awaitable."""
        work = self._works.get(request.path)
        if work is None or request.method != "POST":
            return self.page(request)
        size = len(request.body)
        large = size > INLINE_BYTES or (size > INLINE_BINARY_BYTES and binary.HEADER in request.headers)
        return self.scored(request, work, apart=large)

    def scored(self, request: Request, work: Work, *, apart: bool) -> Response | Awaitable[Response]:
        """Its answer by `work`, counted and logged; `apart`: in a thread, when there is room for it."""
        if apart:
            return self._apart(request, work)
        begun = time.perf_counter()
        return self._finish(begun, self._score(request, work))

    def refuse(self, status: int, reason: str) -> Response:
        """The answer to a request that was not read to its end."""
        self._metrics.answered(status, 0, 0.0)
        return Response(status, encode({"error": reason}), self._headers)

    async def _apart(self, request: Request, work: Work) -> Response:
        begun = time.perf_counter()
        try:
            scored = await self._bulk.run(len(request.body), partial(self._score, request, work))
        except ConveyorError as error:
            scored = error
        done = self._finish(begun, scored)
        return done if isinstance(done, Response) else await done

    def _score(self, request: Request, work: Work) -> Answer | ConveyorError:
        """Runs on any thread, and logs nothing: nobody may be waiting for its result any more."""
        try:
            length = request.headers.get(binary.HEADER)
            answer = work(request.body, at=time.time(), mark=_mark(request), length=length)
            pair = request.headers.get(PAIR_HEADER)
            return answer if pair is None else _paired(answer, pair)
        except InputRejected as error:
            return _explained(error, request)
        except ConveyorError as error:
            return error
        except Exception:
            traceback.print_exc(file=sys.stderr)
            return ConveyorError("the model server failed on this request", hint="its log says why")

    def _finish(self, begun: float, scored: Answer | ConveyorError) -> Response | Awaitable[Response]:
        """What is answered has gone to the log before; in sync mode it is on disk before."""
        if isinstance(scored, ConveyorError):
            return self._refused(begun, scored)
        if not self._log.sync:
            self._log.append(scored.prediction)
            return self._answered(begun, scored)
        ticket = asyncio.get_running_loop().create_future()
        if not self._log.append(scored.prediction, ticket):
            ticket.set_result(False)
        return self._once_kept(begun, scored, ticket)

    async def _once_kept(self, begun: float, scored: Answer, ticket: asyncio.Future[bool]) -> Response:
        kept = await ticket
        response = self._answered(begun, scored)
        if not kept:
            response.headers += LOST
        return response

    def _refused(self, begun: float, error: ConveyorError) -> Response:
        self._metrics.answered(_status(error), 0, time.perf_counter() - begun)
        again = f"retry-after: {error.retry_after}\r\n".encode() if error.retry_after else b""
        return refusal(error, self._headers + again)

    def _answered(self, begun: float, answer: Answer) -> Response:
        self._metrics.answered(200, answer.prediction.rows, time.perf_counter() - begun)
        if answer.skew:
            self._metrics.skewed(answer.skew)
        headers = answer.header + self._served_by if answer.header else self._headers
        return Response(200, answer.body, headers)

    def page(self, request: Request) -> Response:
        path, metrics = request.path, request.path == "/metrics"
        if path == REPOSITORY_INDEX and request.method == "POST":
            return Response(200, self._index, self._headers)
        body = self._metrics_text() if metrics else self._pages.get(path)
        if body is None and path not in self._works and path != REPOSITORY_INDEX:
            error = NotFound(f"no {path} on this server", hint=self._where(path))
            return refusal(error, self._headers)
        if body is None or request.method not in ("GET", "HEAD"):
            allowed = "GET" if body is not None else "POST"
            reason = encode({"error": f"{request.method} is not known at {path}; send {allowed}"})
            return Response(405, reason, self._headers + f"allow: {allowed}\r\n".encode())
        return Response(200, body, (_TEXT if metrics or path in _PLAIN else _JSON) + self._served_by)

    def _where(self, path: str) -> str:
        here = f"model '{self.model.name}' version {self.model.version}"
        if path.startswith("/v2/models/"):
            return f"it serves {here} at /v2/models/{self.model.name}"
        return f"it serves {here}; GET /v2 names the protocol"

    def _metrics_text(self) -> bytes:
        figures = {
            "conveyor_observations_sync": int(self._log.sync),
            "conveyor_observations_window_seconds": 0 if self._log.sync else WINDOW_SECONDS,
        }
        return self._metrics.text(figures).encode()


def _status(error: ConveyorError) -> int:
    """422 becomes 400, the status that the protocol's clients know."""
    return 400 if error.status == 422 else error.status


def refusal(error: ConveyorError, headers: bytes = b"") -> Response:
    reason = f"{error.message}; {error.hint}" if error.hint else error.message
    return Response(_status(error), encode({"error": reason}), headers)


def _explained(error: InputRejected, request: Request) -> InputRejected:
    """The same refusal, or the likely cause of it when the body is of a kind that is not read."""
    encoding = request.headers.get(b"content-encoding", b"identity").decode("latin-1")
    if encoding != "identity":
        return InputRejected(f"the body is encoded as '{encoding}'", hint="send it as it is, not compressed")
    if request.headers.get(b"content-type", b"").startswith(b"text/csv"):
        return InputRejected("the body is CSV", hint="send JSON, and the content type application/json")
    return error


def _paired(answer: Answer, pair: bytes) -> Answer:
    if len(pair) > PAIR_LONGEST:
        return answer
    return answer._replace(prediction=replace(answer.prediction, pair=pair.decode("latin-1")))


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
        "/v2": {"name": "conveyor", "version": __version__, "extensions": list(_EXTENSIONS)},
        "/v2/health/live": {"live": True},
        "/v2/health/ready": {"ready": True},
        "/livez": {"live": True},
        "/readyz": {"ready": True},
        "/v2/models": {"models": [model.name]},
    }
    for base in bases:
        static[base] = metadata
        static[f"{base}/ready"] = {"name": model.name, "ready": True}
    pages = {path: encode(value) for path, value in static.items()}
    return pages | {"/ping": b"\n", "/health": b"\n", "/version": __version__.encode()}
