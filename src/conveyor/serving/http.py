"""HTTP/1.1 for one model server: httptools (llhttp) parses, asyncio carries, and small requests are answered in place.

Everything happens on the event loop's thread, between the read and the write of one wake-up, unless the handler returns
an awaitable. That is what makes one row cheap: no task, no queue, no second thread that asks for the GIL each time that
onnxruntime gives it up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

import httptools

HEAD_LIMIT = 64 * 1024  # bytes of request line and headers
LINGER_SECONDS = 5.0  # how long the rest of a refused body is read and dropped, so that its sender sees the refusal


@dataclass(slots=True)
class Request:
    method: str
    path: str  # without the query
    headers: dict[bytes, bytes]  # names in lower case; of a repeated header the last
    body: bytes = b""


@dataclass(slots=True)
class Response:
    status: int
    body: bytes
    headers: bytes  # whole lines, each with its CRLF


Handler = Callable[[Request], Response | Awaitable[Response]]
TooMuch = Callable[[int, str], Response]  # status, reason: what is answered when a request is refused unread

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


class Connections:
    """The open connections of one server, for the drain."""

    def __init__(self, lost: Callable[[], None] | None = None) -> None:
        """`lost` is called for each one that has ended."""
        self.draining = False
        self.lost = lost
        self.open: set[Connection] = set()
        self.empty = asyncio.Event()
        self.empty.set()

    def drain(self) -> None:
        """Idle connections end now, the others after the answer that they wait for."""
        self.draining = True
        for connection in tuple(self.open):
            connection.end_if_idle()

    def shed(self, share: float) -> None:
        """Ends a share of the connections, each with its next answer: their clients connect anew, to any worker."""
        for connection in tuple(self.open)[: round(len(self.open) * share)]:
            connection.end_with_next()

    async def watch(self, seconds: float) -> None:
        """Refuses requests that take longer to arrive, until it is cancelled; it looks a few times in that while."""
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(min(5.0, seconds / 4))
            for connection in tuple(self.open):
                connection.end_if_late(clock(), seconds)


class Connection(asyncio.Protocol):
    """One client. Requests are answered in order; while one is worked elsewhere, little more is read."""

    def __init__(self, handler: Handler, refuse: TooMuch, connections: Connections, *, max_body: int) -> None:
        self._handler = handler
        self._refuse = refuse
        self._connections = connections
        self._max_body = max_body
        self._parser = httptools.HttpRequestParser(self)
        self._ready: deque[tuple[Request, bool]] = deque()  # whole requests, and whether the connection goes on after
        self._busy = False  # a request is being worked elsewhere
        self._held = False  # no more is read until that one is answered
        self._choked = False  # the client does not read what it was answered
        self._refused = False  # the rest of what arrives is dropped
        self._begun = False  # a request has arrived in part
        self._last = False  # the next answer is the last
        self._reset()

    def _reset(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []
        self._size = 0
        self._head_size = 0
        self._in_head = True
        self._since = 0.0  # when the watch first saw this request unfinished

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.open.add(self)
        self._connections.empty.clear()

    def connection_lost(self, exc: Exception | None) -> None:
        self._refused = True
        self._ready.clear()
        self._connections.open.discard(self)
        if self._connections.lost is not None:
            self._connections.lost()
        if not self._connections.open:
            self._connections.empty.set()

    def data_received(self, data: bytes) -> None:
        if self._busy and not self._held:
            self._held = True
            self._transport.pause_reading()
        if self._in_head:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._turn_away(501, "protocol upgrades are not offered; send plain HTTP/1.1")
        except httptools.HttpParserError as error:
            if not self._refused:
                self._turn_away(400, f"this is not HTTP/1.1: {error}")
        if self._in_head and self._head_size > HEAD_LIMIT and not self._refused:
            self._turn_away(431, f"the request's head is over {HEAD_LIMIT} bytes; send fewer headers")

    def pause_writing(self) -> None:
        self._choked = True

    def resume_writing(self) -> None:
        self._choked = False
        self._work()

    # What httptools calls

    def on_message_begin(self) -> None:
        self._begun = True

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self._in_head = False
        length = self._headers.get(b"content-length")
        if length is not None and int(length) > self._max_body:
            self._too_large()
        elif self._headers.get(b"expect", b"").lower() == b"100-continue" and not self._refused:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, part: bytes) -> None:
        if self._refused:
            return
        self._size += len(part)
        if self._size > self._max_body:
            self._too_large()
        else:
            self._parts.append(part)

    def on_message_complete(self) -> None:
        self._begun = False
        if self._refused:
            self._transport.close()
            return
        parts = self._parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        path = self._url.partition(b"?")[0].decode("latin-1")
        request = Request(self._parser.get_method().decode("latin-1"), path, self._headers, body)
        self._ready.append((request, self._parser.should_keep_alive()))
        self._reset()
        self._work()

    # Answering

    def end_if_idle(self) -> None:
        if not (self._begun or self._busy or self._ready):
            self._transport.close()

    def end_with_next(self) -> None:
        self._last = True

    def end_if_late(self, now: float, seconds: float) -> None:
        """`now`: the event loop's clock."""
        if not self._begun or self._busy or self._refused:
            self._since = 0.0
        elif not self._since:
            self._since = now
        elif now - self._since > seconds:
            self._turn_away(408, f"the request did not arrive within {seconds:g} s; send it again, or fewer rows")

    def _work(self) -> None:
        while self._ready and not self._busy and not self._choked:
            request, goes_on = self._ready.popleft()
            answer = self._handler(request)
            if isinstance(answer, Response):
                self._write(answer, request.method, goes_on)
            else:
                self._busy = True
                worked = partial(self._worked, request.method, goes_on)
                asyncio.ensure_future(answer).add_done_callback(worked)

    def _worked(self, method: str, goes_on: bool, done: asyncio.Future[Response]) -> None:
        self._busy = False
        if self._transport.is_closing():
            return
        if self._held:
            self._held = False
            self._transport.resume_reading()
        self._write(done.result(), method, goes_on)
        self._work()

    def _write(self, response: Response, method: str, goes_on: bool) -> None:
        goes_on = goes_on and not ((self._last or self._connections.draining) and not self._ready)
        self._transport.write(
            b"%b%bcontent-length: %d\r\n%b\r\n%b"
            % (
                _STATUS_LINES[response.status],
                response.headers,
                len(response.body),
                b"" if goes_on else b"connection: close\r\n",
                b"" if method == "HEAD" else response.body,
            )
        )
        if not goes_on:
            self._ready.clear()
            self._transport.close()

    def _too_large(self) -> None:
        self._turn_away(413, f"the body is over {self._max_body} bytes; send the rows in several requests")

    def _turn_away(self, status: int, reason: str) -> None:
        """Answers at once and ends the connection once the rest of the request has come, or after a while."""
        self._refused = True
        self._parts = []
        if self._busy or self._ready:  # an answer may not overtake those before it
            self._transport.close()
            return
        response = self._refuse(status, reason)
        head = b"%bcontent-length: %d\r\nconnection: close\r\n\r\n" % (response.headers, len(response.body))
        self._transport.write(_STATUS_LINES[status] + head + response.body)
        if status == 413:
            asyncio.get_running_loop().call_later(LINGER_SECONDS, self._transport.close)
        else:
            self._transport.close()
