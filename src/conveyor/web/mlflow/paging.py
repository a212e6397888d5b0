"""Page tokens: an offset, as MLflow writes it."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, TypeVar

from conveyor.errors import InputRejected

T = TypeVar("T")


def offset(token: str) -> int:
    if not token:
        return 0
    try:
        found = json.loads(base64.b64decode(token, validate=True))["offset"]
        return max(0, int(found))
    except (binascii.Error, ValueError, KeyError, TypeError):
        raise InputRejected("Invalid page token", hint="Send the token of the page before, unchanged.") from None


def page(name: str, found: list[T], limit: int, start: int) -> dict[str, Any]:
    """Of one more than the page holds, its rows, and the token of the next one."""
    answer: dict[str, Any] = {name: found[:limit]}
    if len(found) > limit:
        answer["next_page_token"] = base64.b64encode(json.dumps({"offset": start + limit}).encode()).decode()
    return answer
