"""Ships `examples/shop` in the wheel, for `conveyor demo`; an editable install reads it from the checkout instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ShipExamples(BuildHookInterface):  # type: ignore[misc,type-arg,unused-ignore]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        root = Path(self.root)
        for path in sorted((root / "examples" / "shop").rglob("*")):
            inside = path.relative_to(root)
            if path.is_file() and not any(_left_out(part) for part in inside.parts):
                build_data["force_include"][str(path)] = f"conveyor/{inside.as_posix()}"


def _left_out(part: str) -> bool:
    """What running the example leaves behind."""
    return part in ("__pycache__", ".conveyor", ".venv", ".hypothesis") or (
        part.startswith(".") and part.endswith("_cache")
    )
