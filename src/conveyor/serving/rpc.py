"""gRPC of the Open Inference Protocol, on a port of its own and on the event loop that HTTP is answered on.

Each call becomes a request to the same endpoints, so checks, limits, figures and observations are the same. grpcio is
imported when a port for it is asked for, and not before.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from conveyor.errors import Conflict, ConveyorError, NotFound, Refused
from conveyor.serving.endpoints import (
    INLINE_BINARY_BYTES,
    MARK_HEADER,
    PAIR_HEADER,
    REPOSITORY_INDEX,
    Endpoints,
    refusal,
)
from conveyor.serving.http import Request, Response
from conveyor.serving.options import Options
from conveyor.serving.rpc_inference import RpcInference, known, parsed
from conveyor.serving.rpc_messages import SERVICE, Messages, messages

STREAMS = 256  # calls at the same time on one connection
DETAILS_BYTES = 1024  # of a reason: it travels in a header, of which clients take some KiB
_CODES = {
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    413: "RESOURCE_EXHAUSTED",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}
_PAGES = {  # method -> where HTTP answers the same
    "ServerLive": "/v2/health/live",
    "ServerReady": "/v2/health/ready",
    "ServerMetadata": "/v2",
    "ModelReady": "/v2/health/ready",  # a server is up only once its model has proved itself
    "ModelMetadata": "/v2/models/{name}",
    "RepositoryIndex": REPOSITORY_INDEX,
}
Reply = Response | Awaitable[Response]
Stop = Callable[[float], Awaitable[None]]  # seconds that calls may take to their end


async def listen(endpoints: Endpoints, given: Options, port: int) -> Stop:
    """Raises Refused without grpcio, and Conflict when the port cannot be had."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what clients do wrong is told to them, not to stderr
    try:
        import grpc.aio

        calls = Calls(endpoints, messages(), given.limits.seconds)
    except ImportError as error:
        raise Refused(f"gRPC cannot be spoken: {error}", hint="pip install 'conveyor[grpc]'") from error
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", given.max_body),
            ("grpc.max_concurrent_streams", STREAMS),
            ("grpc.compression_enabled_algorithms_bitset", 1),  # none, as over HTTP
            ("grpc.so_reuseport", 0),
        ]
    )
    handlers = {
        method: grpc.stream_unary_rpc_method_handler(calls.method(method)) for method in (*_PAGES, "ModelInfer")
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    host = f"[{given.host}]" if ":" in given.host else given.host
    try:
        server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise Conflict(f"{host}:{port} cannot be bound for gRPC", hint="give another --grpc-port") from error
    await server.start()
    return server.stop  # type: ignore[no-any-return]


class Calls:
    """Each method reads its message itself: a unary one would wait without end for what does not come."""

    def __init__(self, endpoints: Endpoints, messages: Messages, seconds: float) -> None:
        self._endpoints = endpoints
        self._messages = messages
        self._seconds = seconds
        self._infer = RpcInference(endpoints.inference, endpoints.model, messages).answer

    def method(self, name: str) -> Callable[[Any, Any], Awaitable[bytes]]:
        async def call(_: object, context: Any) -> bytes:
            try:
                async with asyncio.timeout(self._seconds):
                    body = await context.read()
            except TimeoutError:
                reply: Reply = self._endpoints.refuse(408, f"the request did not arrive in {self._seconds:g} s")
            else:
                if not isinstance(body, bytes):
                    reply = self._endpoints.refuse(400, "the call ended without a message")
                else:
                    reply = self._inferred(body, context) if name == "ModelInfer" else self._page(name, body)
            return await _told(reply if isinstance(reply, Response) else await reply, context)

        return call

    def _inferred(self, body: bytes, context: Any) -> Reply:
        sent = {key.encode(): value.encode() for key, value in context.invocation_metadata() if isinstance(value, str)}
        headers = {name: sent[name] for name in (MARK_HEADER, PAIR_HEADER) if name in sent}
        request = Request("POST", f"/{SERVICE}/ModelInfer", headers, body)
        return self._endpoints.scored(request, self._infer, apart=len(body) > INLINE_BINARY_BYTES)

    def _page(self, name: str, body: bytes) -> Response:
        """What HTTP answers, as a message."""
        from google.protobuf import json_format

        model = self._endpoints.model
        response = self._messages[f"{name}Response"]()
        try:
            if name in ("ModelReady", "ModelMetadata"):
                asked = parsed(self._messages[f"{name}Request"], body)
                known(model, asked.name, asked.version)
        except ConveyorError as error:
            if name == "ModelReady" and isinstance(error, NotFound):
                return Response(200, response.SerializeToString(), b"")  # not ready
            return refusal(error)
        verb = "POST" if name == "RepositoryIndex" else "GET"
        page = self._endpoints.page(Request(verb, _PAGES[name].format(name=model.name), {}))
        found = msgspec.json.decode(page.body)
        found = {"models": found} if name == "RepositoryIndex" else found
        json_format.ParseDict(found, response, ignore_unknown_fields=True)
        return Response(200, response.SerializeToString(), page.headers)


async def _told(response: Response, context: Any) -> bytes:
    import grpc

    lines = [line.decode("latin-1").split(": ", 1) for line in response.headers.split(b"\r\n") if line]
    context.set_trailing_metadata([(name, value) for name, value in lines if name != "content-type"])
    if response.status == 200:
        return response.body
    code = grpc.StatusCode[_CODES.get(response.status, "INTERNAL")]
    reason: str = msgspec.json.decode(response.body)["error"]
    await context.abort(code, reason.encode()[:DETAILS_BYTES].decode(errors="ignore"))
    return b""  # abort has raised
