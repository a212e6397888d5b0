"""Events: frozen facts in the append-only log, in the shape of CloudEvents 1.0."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

CATALOGUE: dict[str, str] = {
    "project.registered": "a project was seen for the first time",
    "project.config_invalid": "a pushed conveyor.toml has errors; nothing was built",
    "code.pushed": "a branch of the built-in git remote moved to a new commit",
    "code.branch_deleted": "a branch of the built-in git remote was deleted; what is live stays",
    "code.superseded": "a newer push arrived before this one was rolled out",
    "run.started": "a run began",
    "run.succeeded": "a run ended well",
    "run.failed": "a run ended with an error",
    "run.cancelled": "a run was cancelled",
    "step.lost": "a step's process vanished without a result; it is tried again or given up",
    "build.ready": "a commit was built and its tests passed",
    "data.arrived": "files were taken over for a dataset and wait for ingest",
    "data.version_created": "a dataset version was committed",
    "data.quarantined": "rows failed the contract and were put into quarantine",
    "data.released": "rows were put back from quarantine, through the present contract or as they are",
    "data.dropped": "rows in quarantine were given up; what and why is kept",
    "data.erased": "a subject's rows were taken out of all versions of a dataset",
    "data.erasure_lifted": "rows of an erased subject may come again",
    "data.refused": "a file could not be taken; it is kept, and the reason is stated",
    "data.held": "a watched file is not taken yet, with the reason",
    "data.skipped": "a watched name cannot be taken (a link out of the folder, say), with the reason",
    "data.tagged": "a tag of a dataset points to another version, or was removed",
    "data.duplicate": "a file with the same content was taken before; it was not taken again",
    "governor.gave_up": "signals go on after several trainings: retraining does not help; told once",
    "governor.decided": "the governor decided whether to retrain, with the reason",
    "sweep.started": "a sweep over a model's params began",
    "sweep.ended": "a sweep ended, with its best params and the version that was trained with them",
    "model.version_created": "a model version passed its gates",
    "model.refused": "a gate refused a model version",
    "model.rejected": "a model version failed in a rollout",
    "model.alias_moved": "an alias of a model points to another version, or was removed",
    "model.damaged": "a model version does not verify any more; what is live goes on as it runs",
    "model.recovered": "a damaged model version verifies again",
    "model.promoted": "a person asked that a version goes live; its rollout follows",
    "model.removed": "a person removed a model version that nothing needs",
    "model.file_trusted": "an admin trusts a file that is a pickle, by its digest",
    "model.pickle_tried": "a trusted pickle was loaded once, in a process of its own, with what became of it",
    "build.rejected": "a build failed in a rollout",
    "release.created": "a release was composed",
    "release.waiting": "a release cannot be composed yet, with what is missing",
    "rollout.advanced": "a rollout entered its next phase",
    "rollout.aborted": "a rollout was aborted, with the reason",
    "rollout.rolled_back": "traffic is back on the previous release",
    "release.proposed": "a release waits for a person's approval",
    "release.approved": "a person approved a release",
    "release.rejected": "a person said no to a release that waited for approval",
    "release.promoted": "the builds that are live in one environment are meant for another one now",
    "environment.created": "a branch got a preview environment",
    "environment.ended": "a preview environment was taken down",
    "database.migrated": "a release's migration was run on the real database",
    "database.restored": "a database went back to a backup; what was written since is lost",
    "secret.changed": "a secret was set or removed; its value is never told",
    "token.changed": "a token of the API was made or removed",
    "remote.changed": "a remote repository is followed, or no more",
    "remote.failed": "a remote repository could not be fetched; it is tried again",
    "rollout.paused": "a person paused a rollout",
    "rollout.resumed": "a rollout goes on after a pause",
    "rollout.shadowed": "a model's shadow phase ended: its answers beside the live version's, row by row",
    "rollout.verdict": "the analysis of a canary step ended: pass, fail or insufficient evidence",
    "rollout.receipt": "a rollout's receipt: what happened to requests, by the proxy's own counters",
    "rollout.completed": "a rollout ended; the previous release was drained",
    "signal.drift": "a feature or the score moved away from the training profile",
    "signal.decay": "quality on labelled predictions fell below the reference",
    "signal.estimated_decay": "quality is estimated to have fallen below the reference, before labels have come",
    "signal.data_fault": "served data are faulty (nulls, constants, values that are not finite)",
    "signal.observations_lost": "predictions could not be kept: the disk refused or was too slow, or is damaged",
    "signal.stale": "a dataset got nothing new for longer than its `fresh` allows",
    "signal.fresh": "something new came for a dataset that was stale, or its `fresh` asks for less",
    "monitor.window_closed": "a window over predictions was closed",
    "monitor.quality": "quality was measured on predictions whose labels have come",
    "alert.opened": "something needs a look: its kind, how far it moved, since when",
    "alert.resolved": "what an alert was opened for is over",
    "alert.digest": "alerts beyond the day's budget, told together",
    "notify.failed": "a notification was not taken; it is sent again, or given up",
    "alert.acked": "a person says that they look at an alert",
    "alert.muted": "a person wants no notification of such alerts for a while",
    "system.started": "the control plane started",
    "system.recovered": "the control plane found work in flight and carried on with it",
    "process.died": "a process of a service, worker or model ended by itself and was started again",
    "proxy.restarted": "the proxy was started again; requests in flight at that moment were lost",
    "system.mended": "something was not as it should be, and was mended",
    "system.collected": "what nothing needs any more was deleted",
    "lineage.failed": "OpenLineage events could not be delivered; they are sent again, but for one that was refused",
    "system.error": "the reconciler met an unexpected error and will try again",
}
"""Every event type, and what it says. An event of another type cannot be written."""


@dataclass(frozen=True, slots=True)
class Event:
    id: str
    type: str
    subject: str
    time: datetime
    project: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    seq: int = 0  # position in the log, given by the store

    def __post_init__(self) -> None:
        if self.type not in CATALOGUE:
            raise ValueError(f"unknown event type {self.type!r}: add it to CATALOGUE in domain/events.py")

    def cloud_event(self) -> dict[str, Any]:
        """The CloudEvents 1.0 JSON form."""
        return {
            "specversion": "1.0",
            "id": self.id,
            "type": f"conveyor.{self.type}",
            "source": f"conveyor/{self.project}",
            "subject": self.subject,
            "time": self.time.isoformat(),
            "datacontenttype": "application/json",
            "data": self.data,
        }
