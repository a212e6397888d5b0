"""Notifications: who is told of which alert, in which words, and when it is tried again. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from conveyor.domain.events import Event
from conveyor.domain.narrative import sentence
from conveyor.domain.project import NotifyConfig

TYPES = ("alert.opened", "alert.resolved", "alert.digest")
WAITING = 1000
"""So many notices wait for a receiver at most; then the oldest is given up."""
GIVEN_UP = timedelta(days=3)
_LONGEST = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Notice:
    """On record before it is sent, and until it is taken. Its id is the same at every attempt."""

    id: str  # channel/event
    channel: str  # project/name
    project: str
    event: dict[str, Any]  # the CloudEvent
    title: str
    text: str
    created: datetime
    due: datetime
    attempts: int = 0

    @property
    def message_id(self) -> str:
        """The receiver's key against doubles."""
        return str(self.event["id"])


def wants(config: NotifyConfig, event: Event) -> bool:
    """`on` names kinds and severities; of each sort that it names, the alert must have one. A digest always comes."""
    if event.type == "alert.digest":
        return True
    if event.data.get("notice") != "told":
        return False
    severities = {"critical", "warning", "info"}
    kinds, levels = set(config.on) - severities, set(config.on) & severities
    return (not kinds or event.data["kind"] in kinds) and (not levels or event.data["severity"] in levels)


def notice(config: NotifyConfig, event: Event, now: datetime) -> Notice:
    channel = f"{event.project}/{config.name}"
    about = event.subject.rpartition("/")[2]
    what = (
        f"{event.data['count']} more alerts"
        if event.type == "alert.digest"
        else str(event.data["kind"]).replace("_", " ")
    )
    over = " is over" if event.type == "alert.resolved" else ""
    title = " ".join(f"{event.project}: {what} of {about}{over}".split())
    return Notice(
        f"{channel}/{event.id}", channel, event.project, event.cloud_event(), title, sentence(event), now, now
    )


def retried(known: Notice, now: datetime) -> Notice | None:
    """What is to be tried again, and when: after 2, 4, 8 ... seconds, up to an hour. None: it is given up."""
    if now - known.created >= GIVEN_UP:
        return None
    wait = min(timedelta(seconds=2 ** min(known.attempts + 1, 20)), _LONGEST)
    return replace(known, attempts=known.attempts + 1, due=now + wait)


def slack(known: Notice) -> dict[str, str]:
    """The JSON of an incoming webhook; &, < and > are marked up in it."""
    text = f"{known.title}\n{known.text}"
    for mark, written in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(mark, written)
    return {"text": text}
