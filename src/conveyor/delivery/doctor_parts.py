"""Checks of what runs: supervisord, control plane, proxy, instances; and what should not run."""

from __future__ import annotations

from conveyor.delivery.patient import Patient, Seen, warning, well, wrong
from conveyor.domain.state import Instance
from conveyor.effects import orphans
from conveyor.effects.ports import listening
from conveyor.effects.processes import CONTROL, ENVOY
from conveyor.errors import Unavailable
from conveyor.stores.collections import INSTANCES

_UP = "Run `conveyor up`."
_RESTART = "`conveyor doctor --fix` restarts it."
_ENDED = ("STOPPED", "FATAL", "EXITED")
_MOST = 5  # names that a sentence lists


def supervisor(patient: Patient) -> Seen:
    if not patient.processes.alive():
        return wrong("supervisord does not answer: nothing that dies comes back", _UP)
    return well(f"pid {patient.processes.pid()}")


def start(patient: Patient) -> str:
    patient.start()
    return "ran `conveyor up`"


def control(patient: Patient) -> Seen:
    info = patient.listed().get(CONTROL)
    if info is None or not info.up:
        return wrong(f"it is {info.state if info else 'not there'}", "Run `conveyor up`; see `control.log` for why.")
    try:
        status = patient.ask()
    except Unavailable as error:
        return wrong(f"pid {info.pid} runs and does not answer: {error.message}", _RESTART)
    if not status.reconciling:
        return wrong(f"pid {info.pid} answers, and its reconciler has ended", _RESTART)
    return well(f"pid {info.pid} answers at {patient.settings.api_url}")


def again(patient: Patient) -> str:
    info = patient.listed().get(CONTROL)
    if info is None or not info.up:
        return start(patient)
    patient.processes.restart(CONTROL)
    return f"restarted the control plane (pid {info.pid})"


def version(patient: Patient) -> Seen:
    running = patient.running()
    if running != patient.installed:
        said = f"the control plane is Conveyor {running or 'of unknown version, or not there'}"
        return wrong(f"{said}; this command is {patient.installed}", "Run `conveyor upgrade`.")
    return well(f"both are {running}")


def proxy(patient: Patient) -> Seen:
    info = patient.listed().get(ENVOY)
    if info is None or not info.up:
        return wrong(f"Envoy is {info.state if info else 'not there'}: no request is answered", _UP)
    if not patient.envoy.ready():
        return wrong(f"Envoy (pid {info.pid}) runs and is not ready", "See `conveyor logs envoy`.")
    return well(f"pid {info.pid} is ready")


def ports(patient: Patient) -> Seen:
    settings, listed = patient.settings, patient.listed()
    wanted = {CONTROL: settings.api_port, ENVOY: settings.public_port}
    for name, port in wanted.items():
        up = name in listed and listed[name].up
        heard = listening(port, settings.host)
        if heard and not up:
            return wrong(f"port {port} of {name} is held by something else", "End that program, then `conveyor up`.")
        if up and not heard:
            return wrong(f"{name} runs and does not listen on port {port}", f"See `conveyor logs {name}`.")
    return well(f"traffic {settings.public_port}, API {settings.api_port}")


def instances(patient: Patient) -> Seen:
    """Desired against actual: every instance on record runs, and nothing else does."""
    wanted, listed = {instance.id for instance in _instances(patient)}, patient.listed()
    down = sorted(name for name in wanted if name not in listed or not listed[name].up)
    if down:
        states = ", ".join(f"{name} ({listed[name].state if name in listed else 'absent'})" for name in down[:_MOST])
        return wrong(f"{len(down)} of {len(wanted)} do not run: {states}", "See `conveyor logs <name>`.")
    strays = sorted(listed.keys() - wanted - {CONTROL, ENVOY})
    if strays:
        return warning(f"no release wants {', '.join(strays[:_MOST])}", "The control plane ends them within 5 s.")
    return well(f"all {len(wanted)} run")


def revive(patient: Patient) -> str:
    """What the control plane would do within 5 s; here for when it does not run."""
    listed = patient.listed()
    down = [i.id for i in _instances(patient) if i.id in listed and listed[i.id].state in _ENDED]
    for name in down:
        patient.processes.restart(name)
    return f"started {', '.join(down)}" if down else "left it to the control plane, which looks every 5 s"


def routes(patient: Patient) -> Seen:
    asked, followed = patient.envoy.asked_routes(), patient.envoy.applied_routes()
    if asked is None:
        return wrong("its file of routes is gone or damaged", "The control plane writes it again within 5 s.")
    if asked != followed:
        return wrong(f"it follows {followed or 'nothing'}, and was asked for {asked}", "See `conveyor logs envoy`.")
    return well(f"it follows {asked}")


def left_behind(patient: Patient) -> Seen:
    found = _orphans(patient)
    if found:
        return warning(f"pids {', '.join(map(str, found))} were started by an earlier supervisord", "End them.")
    return well("none")


def end(patient: Patient) -> str:
    found = _orphans(patient)
    orphans.end(found)
    return f"ended {', '.join(map(str, found))}"


def _orphans(patient: Patient) -> list[int]:
    supervisor = patient.processes.pid() if patient.processes.alive() else None
    return orphans.orphans(patient.processes.mark, supervisor)


def _instances(patient: Patient) -> list[Instance]:
    with patient.records().read() as tx:
        return tx.find(INSTANCES, limit=100_000)
