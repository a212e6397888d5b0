"""How the client speaks to the API: HTTP of the standard library, JSON, and the errors that the server raised."""

from __future__ import annotations

import http.client
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec

from conveyor import errors
from conveyor.domain import wire
from conveyor.errors import ConveyorError, Unavailable

T = TypeVar("T")


class Transport:
    """Talks to the API at `url` with `token`. Raises what the server raised; Unavailable when none answers."""

    def __init__(self, url: str, token: str, *, timeout: float = 60.0) -> None:
        parts = urllib.parse.urlsplit(url)
        self.url = url.rstrip("/")
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._headers = {"authorization": f"Bearer {token}"}
        self._timeout = timeout

    @property
    def authorization(self) -> str:
        """The header's value, for git, which pushes beside this client."""
        return self._headers["authorization"]

    def _get(self, path: str, type_: type[T]) -> T:
        return self._decode(self._send("GET", path), type_)

    def _post(self, path: str, body: object, type_: type[T]) -> T:
        return self._decode(self._send("POST", path, wire.to_json(body)), type_)

    def _decode(self, raw: bytes, type_: type[T]) -> T:
        return wire.from_json(raw, type_)

    def _send(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> bytes:
        with self._asked(method, path, body, headers) as response:
            return response.read()

    @contextmanager
    def _asked(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """The answer, to be read within the block."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        try:
            connection.request(method, path, body, {**self._headers, **(headers or {})})
            response = connection.getresponse()
            if response.status >= 400:
                raise error_of(response.read(), response.status)
            yield response
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(
                f"no Conveyor answers at {self.url} ({error})",
                hint="Start it with `conveyor up`, or set CONVEYOR_HOME.",
            ) from error
        finally:
            connection.close()


_CODES = {cls.code: cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, ConveyorError)}


def error_of(raw: bytes, status: int) -> ConveyorError:
    try:
        body = msgspec.json.decode(raw)["error"]
    except (msgspec.DecodeError, KeyError, TypeError):
        return Unavailable(f"the server answered {status}", hint="Is this the API's address?")
    class_ = _CODES.get(body["code"], ConveyorError)
    error = ConveyorError.__new__(class_)
    ConveyorError.__init__(error, body["message"], hint=body.get("hint", ""))
    return error


def quote(part: str) -> str:
    return urllib.parse.quote(part, safe="")


def data_path(project: str, dataset: str) -> str:
    return f"/v1/projects/{quote(project)}/data/{quote(dataset)}"


def model_path(project: str, model: str) -> str:
    return f"/v1/projects/{quote(project)}/models/{quote(model)}"


def environment_path(project: str, environment: str) -> str:
    return f"/v1/projects/{quote(project)}/environments/{quote(environment)}"
