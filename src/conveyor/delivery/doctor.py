"""`conveyor doctor`: a table of small checks, each with what it is for, and with what repairs it where that is safe."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from conveyor.delivery import doctor_host as host
from conveyor.delivery import doctor_leftovers as leftovers
from conveyor.delivery import doctor_parts as parts
from conveyor.delivery import doctor_state as state
from conveyor.delivery import doctor_tracking as tracked
from conveyor.delivery.patient import Patient, Seen, wrong
from conveyor.domain.finding import Finding, Health
from conveyor.errors import ConveyorError

_SETTLE_SECONDS = 20.0  # that a repair may take to show


@dataclass(frozen=True, slots=True)
class Check:
    """`mend` says what it did; it is called only where `look` found something, and may be called again."""

    name: str
    why: str
    look: Callable[[Patient], Seen]
    mend: Callable[[Patient], str] | None = None


CHECKS = (
    Check("python", "Conveyor and its model servers run in it.", host.python),
    Check("git", "The built-in remote and every build use it.", host.git),
    Check("uv", "It makes the environments of projects.", host.uv),
    Check("disk", "A full disk stops data, builds and records; services go on.", host.disk),
    Check("permissions", "The token and the key of secrets open everything.", host.permissions, host.close),
    Check("supervisor", "It keeps every process, and starts again what dies.", parts.supervisor, parts.start),
    Check("control", "Without it nothing new is built or rolled out; services go on.", parts.control, parts.again),
    Check("version", "Commands and control plane should speak of the same things.", parts.version, parts.start),
    Check("proxy", "All traffic goes through it.", parts.proxy, parts.start),
    Check("ports", "Addresses stay the same for whoever was told them.", parts.ports),
    Check("processes", "What releases want must run: desired against actual.", parts.instances, parts.revive),
    Check("routes", "The proxy must follow what was asked of it last.", parts.routes),
    Check("orphans", "They hold ports and memory, and nobody keeps them.", parts.left_behind, parts.end),
    Check("records", "They are the memory of everything.", state.records),
    Check("log size", "SQLite's log grows while readers hold it.", state.log, state.checkpoint),
    Check("tracking", "All that runs logged is in it.", tracked.tracking, tracked.checkpoint),
    Check("migrations", "The tables must be those that this version knows.", state.migrations),
    Check("lease", "Exactly one control plane may act.", state.lease),
    Check("clock", "Deadlines, leases and retention are read from it.", state.clock),
    Check("objects", "Data and models must be what their digests say.", state.objects),
    Check("waiting", "No state may wait for ever.", state.waiting),
    Check("environments", "A half-built one is never used, and takes room.", leftovers.envs, leftovers.remove_envs),
    Check("observations", "A damaged segment is set aside: its predictions are not monitored.", leftovers.bad),
    Check("work folders", "A crash may leave them.", leftovers.work, leftovers.remove_work),
    Check("temporary files", "A crash may leave them.", leftovers.temporary, leftovers.remove_temporary),
)


def examine(patient: Patient, *, fix: bool = False) -> tuple[Finding, ...]:
    return tuple(_one(check, patient, fix=fix) for check in CHECKS)


def _one(check: Check, patient: Patient, *, fix: bool) -> Finding:
    seen, fixed = _look(check, patient), ""
    if fix and check.mend is not None and seen.health is not Health.WELL:
        try:
            fixed = check.mend(patient)
        except ConveyorError as error:
            fixed = f"tried, and failed: {error.message}"
        deadline = time.monotonic() + _SETTLE_SECONDS
        while (seen := _look(check, patient)).health is not Health.WELL and time.monotonic() < deadline:
            time.sleep(0.2)
    return Finding(check.name, seen.health, seen.found, check.why, seen.todo, fixed)


def _look(check: Check, patient: Patient) -> Seen:
    """A check that cannot be made has found something."""
    try:
        return check.look(patient)
    except ConveyorError as error:
        return wrong(error.message, error.hint)
    except OSError as error:
        return wrong(f"cannot look: {error}", "See to the rights of the folder.")
