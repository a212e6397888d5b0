"""A notice on its way: which secrets it needs, in which form it goes."""

from __future__ import annotations

from collections.abc import Callable

from conveyor.delivery.secrets import revealed
from conveyor.domain import notify, webhook, wire
from conveyor.domain.notify import Notice
from conveyor.domain.project import NotifyConfig
from conveyor.effects.notify import Mail, mail, post
from conveyor.engine.context import Context
from conveyor.errors import NotFound
from conveyor.stores.records import Transaction

Send = Callable[[], None]


def prepared(context: Context, tx: Transaction, config: NotifyConfig, known: Notice) -> Send:
    """What sends it, in any thread. NotFound where a secret is not set."""
    key = _secret(context, tx, known.project, config.key)
    if config.kind == "email":
        by = Mail(config.server, config.tls, config.user, key, config.sender, config.to)
        return lambda: mail(by, known.message_id, known.title, known.text)
    url = config.url if "://" in config.url else _secret(context, tx, known.project, config.url)
    if config.kind == "slack":
        return lambda: post(url, wire.to_json(notify.slack(known)), {})
    body, now = wire.to_json(known.event), context.clock.now()
    headers = webhook.signed(known.message_id, body, key, now)
    return lambda: post(url, body, headers)


def _secret(context: Context, tx: Transaction, project: str, name: str) -> str:
    if not name:
        return ""
    found = revealed(context, tx, project, "production", (name,)).get(name)
    if found is None:
        raise NotFound(f"secret {name} of production is not set", hint=f"`conveyor secret set {name}` sets it.")
    return found
