"""The client's calls about alerts and notifications."""

from __future__ import annotations

import urllib.parse

from conveyor.client.transport import Transport
from conveyor.domain import requests
from conveyor.domain.alert import Alert
from conveyor.domain.views import Message, ReceiverView


def _path(project: str, id_: str = "") -> str:
    quoted = urllib.parse.quote(project, safe="")
    return f"/v1/projects/{quoted}/alerts" + (f"/{urllib.parse.quote(id_, safe='')}" if id_ else "")


class AlertCalls(Transport):
    def alerts(self, project: str, state: str = "open", limit: int = 50) -> list[Alert]:
        """`state` is open, resolved, or "" for both."""
        return self._get(f"{_path(project)}?state={urllib.parse.quote(state)}&limit={limit}", list[Alert])

    def alert(self, project: str, id_: str) -> Alert:
        return self._get(_path(project, id_), Alert)

    def ack_alert(self, project: str, id_: str, request: requests.AckAlert) -> Message:
        return self._post(f"{_path(project, id_)}/ack", request, Message)

    def mute_alerts(self, project: str, id_: str, request: requests.MuteAlerts) -> Message:
        return self._post(f"{_path(project, id_)}/mute", request, Message)

    def receivers(self, project: str) -> list[ReceiverView]:
        return self._get(f"/v1/projects/{urllib.parse.quote(project, safe='')}/notify", list[ReceiverView])

    def test_receiver(self, project: str, name: str) -> Message:
        quoted = [urllib.parse.quote(each, safe="") for each in (project, name)]
        return self._post("/v1/projects/{}/notify/{}/test".format(*quoted), {}, Message)
