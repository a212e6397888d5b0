"""The files of a version that an MLflow client registered."""

from __future__ import annotations

from conveyor.errors import NotFound
from conveyor.stores.tracking import documents, files
from conveyor.web.mlflow.service import Service
from conveyor.web.mlflow.versions import place


def of_version(service: Service, model: str, version: str) -> dict[str, str]:
    """By path within the model, with their digests."""
    with service.database.read() as session:
        found = documents.get(session, documents.VERSION, f"{model}/{version}")
        if found is None:
            raise NotFound(
                f"no MLflow client registered version {version or '(none given)'} of {model}",
                hint="Write it as NAME@VERSION. What Conveyor trained is checked by `conveyor model verify`.",
            )
        where = place(found["source"])
        held = files.below(session, *where) if where else []
    if where is None or not held:
        raise NotFound(f"the files of {model} version {version} are not kept here", hint="Log the model again.")
    start = len(where[1]) + 1 if where[1] else 0
    return {path[start:]: digest for path, digest, _ in held}
