"""A project of one service without models: quick to build, with nothing in its environment."""

from __future__ import annotations

from e2e.system import System

CONFIG = """
[project]
name = "tiny"

[service.web]
run = "python -m app"
health = "/healthz"
replicas = 2

[service.web.rollout]
steps = [20, 100]
hold = "4s"
watch = "2s"
drain = "1s"
start_timeout = "60s"
abort = { min_requests = 5 }

[environment.production]
"""


def start(system: System) -> None:
    """Up, with the first version live."""
    system.start()
    system.write("conveyor.toml", CONFIG)
    system.write("requirements.txt", "")
    system.wait_live(system.push("First version"), 180)
