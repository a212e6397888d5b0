"""Carries out `data` commands that came without options, for `cli.quick`: only what a command needs is imported."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from conveyor.cli.quick import find_home
from conveyor.errors import ConveyorError


def run(command: str, names: Sequence[str], to: str) -> bool:
    """False when it is the whole command line's to do. SystemExit ends it with a code other than 0."""
    try:
        code = _run(command, names, to)
    except ConveyorError as error:
        sys.stderr.write(f"error: {error.message}\n" + (f"  {error.hint}\n" if error.hint else ""))
        code = 1
    except KeyboardInterrupt:
        code = 130
    if code:
        raise SystemExit(code)
    return code is not None


def _run(command: str, names: Sequence[str], to: str) -> int | None:
    if command == "status":
        from conveyor.cli.files import status

        return status.report(find_home(), names)
    if command == "push":
        from conveyor.cli.files import remotes

        remotes.push(names[0], to=to)
        return 0
    from conveyor.cli.files import folder, opening

    if command == "checkout":
        folder.checkout(names[0], to=to)
    elif opening.is_table(names[0]):
        return None
    else:
        folder.add(names[0], names[1:])
    return 0
