"""Errors in MLflow's words: its clients raise by `error_code`, and retry by the status."""

from __future__ import annotations

import msgspec

from conveyor.errors import (
    Conflict,
    ConveyorError,
    Forbidden,
    InputRejected,
    NotFound,
    Refused,
    TooLarge,
    Unauthorized,
)

_CODES: dict[type[ConveyorError], tuple[int, str]] = {
    NotFound: (404, "RESOURCE_DOES_NOT_EXIST"),
    Conflict: (400, "RESOURCE_ALREADY_EXISTS"),
    InputRejected: (400, "INVALID_PARAMETER_VALUE"),
    TooLarge: (413, "INVALID_PARAMETER_VALUE"),
    Refused: (403, "PERMISSION_DENIED"),
    Forbidden: (403, "PERMISSION_DENIED"),
    Unauthorized: (401, "UNAUTHENTICATED"),
}


def failure(error: Exception) -> tuple[int, bytes]:
    """Status and body."""
    if not isinstance(error, ConveyorError):
        text = "Something unexpected went wrong; see `conveyor logs control`, and please report it."
        return 500, msgspec.json.encode({"error_code": "INTERNAL_ERROR", "message": text})
    temporary = (error.status, "TEMPORARILY_UNAVAILABLE" if error.retryable else "INTERNAL_ERROR")
    status, code = _CODES.get(type(error), temporary)
    return status, msgspec.json.encode({"error_code": code, "message": f"{error.message} {error.hint}".strip()})
