"""What clients ask for: one type for CLI, HTTP and Python."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from conveyor.domain.token import Role


@dataclass(frozen=True, slots=True)
class Rollback:
    """With `restore` the database goes back too; `yes` says that the person knows what is lost."""

    to: int | None = None
    reason: str = "asked for by a person"
    restore: bool = False
    yes: bool = False


@dataclass(frozen=True, slots=True)
class Promote:
    """What is live in `source` is meant for the environment; `again`: also what was rejected there before."""

    source: str
    again: bool = False


@dataclass(frozen=True, slots=True)
class Approve:
    """`key` is that of the proposal that the person saw; empty approves whatever waits."""

    key: str = ""


@dataclass(frozen=True, slots=True)
class Reject:
    reason: str = "a person said no"
    key: str = ""


@dataclass(frozen=True, slots=True)
class Remove:
    reason: str = "a person asked for it"


@dataclass(frozen=True, slots=True)
class Pause:
    """Holds a rollout where it is; it goes on by itself after `minutes`."""

    minutes: float = 60.0
    reason: str = "asked for by a person"


@dataclass(frozen=True, slots=True)
class Resume:
    reason: str = "asked for by a person"


@dataclass(frozen=True, slots=True)
class Abort:
    reason: str = "aborted by a person"


@dataclass(frozen=True, slots=True)
class Collect:
    """`grace`: nothing younger is touched; what retention says by itself if not given. `models`: of each model, so
    many newest versions stay, and whatever something needs; 0: all."""

    dry_run: bool = False
    grace: timedelta | None = None
    models: int = 0


@dataclass(frozen=True, slots=True)
class ReleaseRows:
    """Puts rows of a quarantine's entry back; all of them if no numbers are given. `force`: as they are."""

    rows: tuple[int, ...] = ()
    force: bool = False
    by: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class DropRows:
    by: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Erase:
    """Takes the rows whose `column` is `value` out of a dataset. `now`: their bytes go at once, where nothing uses
    them."""

    column: str
    value: str = field(repr=False)
    dry_run: bool = False
    now: bool = False
    by: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Lift:
    """Rows of an erased subject may come again; what was erased stays so."""

    by: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class TagVersion:
    """`version` is what follows the @ of a reference: v12, latest, another tag, a time. Empty removes the tag."""

    version: str = ""
    reason: str = "asked for by a person"


@dataclass(frozen=True, slots=True)
class SetSecret:
    """The value travels once, in this direction; it is not shown where the request is."""

    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CreateToken:
    name: str
    role: Role = Role.VIEWER
    expires: timedelta | None = None


@dataclass(frozen=True, slots=True)
class TrackSearch:
    """Tracked runs: of an experiment by its name, or of all; in MLflow's filter language."""

    experiment: str = ""
    filter: str = ""
    order_by: tuple[str, ...] = ()
    limit: int = 20


@dataclass(frozen=True, slots=True)
class TrustFile:
    digest: str
    reason: str


@dataclass(frozen=True, slots=True)
class TryPickle:
    """A version that an MLflow client registered, to be loaded in the environment of the project's newest build."""

    project: str
    model: str
    version: str


@dataclass(frozen=True, slots=True)
class RunSteps:
    """The steps named, with all that they need; none: all. Of the newest build, or of a `commit`'s."""

    steps: tuple[str, ...] = ()
    params: dict[str, Any] = field(default_factory=dict)
    force: bool = False
    commit: str = ""


@dataclass(frozen=True, slots=True)
class Retrain:
    reason: str = "a person asked for it"


@dataclass(frozen=True, slots=True)
class AckAlert:
    by: str = ""


@dataclass(frozen=True, slots=True)
class MuteAlerts:
    """Notifications of an alert's subject, for `length` ("2h", "7d"), of its kind or of all."""

    length: str = "1d"
    all_kinds: bool = False
    why: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class MoveAlias:
    """No `version` removes the alias."""

    version: int | None = None
    by: str = ""
    reason: str = "asked for by a person"


@dataclass(frozen=True, slots=True)
class UndoAlias:
    by: str = ""
    reason: str = "undone by a person"


@dataclass(frozen=True, slots=True)
class PromoteModel:
    """`again`: also a version that failed in a rollout, or was ruled out in the environment."""

    environment: str = "production"
    again: bool = False
    by: str = ""
    reason: str = "asked for by a person"


@dataclass(frozen=True, slots=True)
class VerifyModel:
    """One version by number or alias; else those that something needs, or `all` that have an artifact."""

    version: str = ""
    all: bool = False


@dataclass(frozen=True, slots=True)
class RemoveModel:
    by: str = ""
    reason: str = "asked for by a person"


@dataclass(frozen=True, slots=True)
class Cancel:
    reason: str = "cancelled by a person"


@dataclass(frozen=True, slots=True)
class AddRemote:
    """`branches` may have one `*` each; none: all of them. `poll` as durations are written in conveyor.toml."""

    url: str = field(repr=False)  # it may hold a login
    branches: tuple[str, ...] = ()
    poll: str = "1m"


@dataclass(frozen=True, slots=True)
class ScoreDataset:
    """`version` as the registry takes it; `dataset` a reference; `keep` columns that the result takes over."""

    dataset: str
    output: str
    version: str = "live"
    keep: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class CheckParity:
    """Of the predictions of the last `window` of event time."""

    window: timedelta = timedelta(days=7)
