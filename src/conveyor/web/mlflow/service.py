"""What every route works with: the parts, the clock, ids; and how a route is declared."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from conveyor.engine.context import Context
from conveyor.stores.tracking.database import Session, TrackingDatabase

if TYPE_CHECKING:
    from conveyor.web.mlflow.trained import TrainedModels

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Service:
    database: TrackingDatabase
    context: Context
    find_trained: Callable[[], TrainedModels]

    @property
    def trained(self) -> TrainedModels:
        """Waits, where the control plane has only begun to start."""
        return self.find_trained()

    def now(self) -> int:
        """Milliseconds."""
        return int(self.context.clock.now().timestamp() * 1000)

    def id(self) -> str:
        return secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class Route:
    """`work(service, session, ask)`; one that `writes` is called by the writer, in a group's transaction."""

    method: str
    path: str
    ask: type[Any]
    work: Callable[[Service, Session, Any], Answer]
    writes: bool = False
