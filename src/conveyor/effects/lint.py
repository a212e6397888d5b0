"""The SQL of PostgreSQL migrations, looked through by squawk: https://squawkhq.com."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from conveyor.domain.migration import Finding
from conveyor.errors import StepFailed, Unavailable

_NEEDLESS = ("require-lock-timeout", "require-statement-timeout")
"""Conveyor sets a lock timeout itself. Not excluded by option: that would hide the project's own settings."""


def lint(sql: str, cwd: Path) -> tuple[Finding, ...]:
    """What the SQL would block or lose. A `.squawk.toml` in `cwd` and `-- squawk-ignore` comments are heeded."""
    program = shutil.which("squawk") or shutil.which("squawk", path=str(Path(sys.executable).parent))
    if program is None:
        raise Unavailable(
            "the SQL of migrations cannot be checked: squawk is not installed",
            hint="Install it: pip install 'conveyor[postgres]'; or take migrate_sql out of conveyor.toml.",
        )
    words = [program, "--reporter", "json", "--stdin-filepath", "migration.sql"]
    done = subprocess.run(words, input=sql, cwd=cwd, capture_output=True, text=True, check=False)
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    except json.JSONDecodeError as error:
        raise StepFailed(
            f"squawk failed: {(done.stderr or done.stdout).strip()[-300:]}", hint="Does migrate_sql print only SQL?"
        ) from error
    return tuple(
        Finding(str(f["rule_name"]), int(f["line"]) + 1, str(f["level"]), str(f["message"]))
        for f in found
        if f["rule_name"] not in _NEEDLESS
    )
