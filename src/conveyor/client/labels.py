"""Calls about labels."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterable

from conveyor.client.transport import Transport, model_path, quote
from conveyor.domain import wire
from conveyor.domain.label import LabelStatus, LabelView
from conveyor.domain.prediction import PredictionView
from conveyor.domain.rows import RowsTaken


class LabelCalls(Transport):
    def send_labels(self, project: str, model: str, labels: Iterable[object], key: str = "") -> RowsTaken:
        """Labels as dicts: `id` or `key`, `label`, `time`; with an idempotency key a request counts once."""
        body = b"".join(wire.to_json(each) + b"\n" for each in labels)
        return self.send_label_bytes(project, model, "application/x-ndjson", body, key)

    def send_label_bytes(self, project: str, model: str, media: str, body: bytes, key: str = "") -> RowsTaken:
        headers = {"content-type": media} | ({"idempotency-key": key} if key else {})
        return self._decode(self._send("POST", f"{model_path(project, model)}/labels", body, headers), RowsTaken)

    def prediction(self, id_: str, project: str = "", model: str = "") -> PredictionView:
        """By the id of its answer, or the key that the request gave."""
        query = urllib.parse.urlencode({"project": project, "model": model})
        return self._get(f"/v1/predictions/{quote(id_)}?{query}", PredictionView)

    def label_status(self, project: str, model: str) -> LabelStatus:
        return self._get(f"{model_path(project, model)}/labels/status", LabelStatus)

    def labels(self, project: str, model: str, limit: int = 50) -> list[LabelView]:
        return self._get(f"{model_path(project, model)}/labels?limit={limit}", list[LabelView])
