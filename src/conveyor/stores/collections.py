"""The collections: which dataclass is kept under which name, and by which columns it is found."""

from __future__ import annotations

from conveyor.domain.alert import Alert, Mute
from conveyor.domain.dataset import DatasetVersion
from conveyor.domain.erasure import Erasure
from conveyor.domain.estimate import Expectation
from conveyor.domain.fetch import FetchState
from conveyor.domain.freshness import Stale
from conveyor.domain.governor_state import GovernorRecord
from conveyor.domain.kept import KeptFile, TrustedFile
from conveyor.domain.landing import Watched
from conveyor.domain.lineage import Link, Served
from conveyor.domain.model import ModelVersion
from conveyor.domain.monitor import Quality, Window
from conveyor.domain.notify import Notice
from conveyor.domain.receipt import Receipt
from conveyor.domain.release import Build, Environment, Release
from conveyor.domain.remote import Remote
from conveyor.domain.rollout import Rollout
from conveyor.domain.rows import RowKeys
from conveyor.domain.run import Run
from conveyor.domain.schema import Schema
from conveyor.domain.secret import SecretVersion
from conveyor.domain.shadow import Shadowed
from conveyor.domain.state import (
    Alias,
    AliasMove,
    Arrival,
    CachedStep,
    Cursor,
    DataTag,
    DataTagMove,
    Instance,
    PredictionPart,
    Project,
    Quarantined,
    StepPasts,
)
from conveyor.domain.sweep import Sweep
from conveyor.domain.token import Token
from conveyor.domain.verification import Verification
from conveyor.stores.records import Collection

PROJECTS = Collection("projects", Project, key="name")
RUNS = Collection("runs", Run, index=("project", "kind", "subject", "state"))
STEP_PASTS = Collection("step_pasts", StepPasts, key="project")
STEP_CACHE = Collection("step_cache", CachedStep, key="key")
BUILDS = Collection("builds", Build, index=("project", "commit"))
DATASET_VERSIONS = Collection("dataset_versions", DatasetVersion, index=("dataset",))
DATA_TAGS = Collection("data_tags", DataTag, index=("dataset",))
DATA_TAG_MOVES = Collection("data_tag_moves", DataTagMove, index=("dataset",))
ARRIVALS = Collection("arrivals", Arrival, index=("dataset", "state"))
WATCHED = Collection("watched", Watched, index=("dataset",))
ROW_KEYS = Collection("row_keys", RowKeys, index=("dataset",))
QUARANTINE = Collection("quarantine", Quarantined, index=("dataset",))
LINKS = Collection("links", Link, index=("source",))
SERVED = Collection("served", Served)
QUARANTINE_PAST = Collection("quarantine_past", Quarantined, index=("dataset",))  # entries that hold no rows any more
ERASURES = Collection("erasures", Erasure, index=("dataset",))
MODEL_VERSIONS = Collection("model_versions", ModelVersion, index=("model", "status"))
ALIASES = Collection("aliases", Alias, index=("model",))
VERIFICATIONS = Collection("verifications", Verification, index=("model",))
ALIAS_MOVES = Collection("alias_moves", AliasMove, index=("model",))
ENVIRONMENTS = Collection("environments", Environment, index=("project",))
REMOTES = Collection("remotes", Remote, key="project")
RELEASES = Collection("releases", Release, index=("environment",))
RECEIPTS = Collection("receipts", Receipt, index=("environment",))
ROLLOUTS = Collection("rollouts", Rollout, index=("environment", "state"))
SHADOWS = Collection("shadows", Shadowed, index=("rollout",))
INSTANCES = Collection("instances", Instance, index=("target",))
PREDICTION_PARTS = Collection("prediction_parts", PredictionPart, index=("model", "state"))
CURSORS = Collection("cursors", Cursor)
FETCHES = Collection("fetches", FetchState)
STALE = Collection("stale", Stale)
GOVERNORS = Collection("governors", GovernorRecord, index=("project",))
WINDOWS = Collection("windows", Window, index=("model",))
QUALITY = Collection("quality", Quality, index=("model",))
EXPECTATIONS = Collection("expectations", Expectation, index=("model",))
ALERTS = Collection("alerts", Alert, index=("project", "subject", "state", "notice"))
NOTICES = Collection("notices", Notice, index=("channel",))
MUTES = Collection("mutes", Mute)
SWEEPS = Collection("sweeps", Sweep, index=("project", "state"))
TOKENS = Collection("tokens", Token, key="digest", index=("name",))
KEPT_FILES = Collection("kept_files", KeptFile)
TRUSTED_FILES = Collection("trusted_files", TrustedFile)
SCHEMAS = Collection("schemas", Schema, index=("environment",))
SECRETS = Collection("secrets", SecretVersion, index=("environment", "name"))
