"""A version of a registered model as it is told: READY only while all of its bytes are there."""

from __future__ import annotations

import re
from typing import Any

from conveyor.domain.tracked import Pair
from conveyor.stores.tracking import documents, files
from conveyor.stores.tracking.database import Session
from conveyor.web.mlflow.service import Answer, Service

Document = dict[str, Any]
OWNER = "conveyor"  # of the artifacts of what Conveyor trained
_LOGGED = re.compile(r"models:/(m-[0-9a-f]{32})")
_KEPT = re.compile(r"mlflow-artifacts:(?://[^/]*)?/\d+/(?:models/)?([\w-]+)/artifacts(?:/(.*))?")


def place(source: str) -> tuple[str, str] | None:
    """(owner, folder) of what lies here."""
    if found := _LOGGED.fullmatch(source):
        return found[1], ""
    if found := _KEPT.fullmatch(source):
        return found[1], (found[2] or "").strip("/")
    return None


def told_version(service: Service, session: Session, version: Document) -> Answer:
    model = documents.get(session, documents.REGISTERED, version["name"]) or {"aliases": {}}
    gone = _gone(service, session, version["source"])
    return {
        **{name: value for name, value in version.items() if name != "tags"},
        "status": "FAILED_REGISTRATION" if gone else "READY",
        "status_message": gone,
        "tags": [Pair(key, value) for key, value in version["tags"].items()],
        "aliases": [alias for alias, number in model["aliases"].items() if number == version["version"]],
    }


def _gone(service: Service, session: Session, source: str) -> str:
    """What is missing of a version's files; "" where nothing is, or where they are kept elsewhere."""
    where = place(source)
    if where is None:
        return ""
    found = files.below(session, *where)
    lost = [path for path, digest, _ in found if not service.context.objects.has(digest)]
    return f"lost from the store: {', '.join(lost)}" if lost else "" if found else "no file was uploaded"
