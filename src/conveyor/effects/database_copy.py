"""One database made from another, as a process of its own: `python -m conveyor.effects.database_copy`.

What to do comes by environment variables, since command lines are there for all to see: CONVEYOR_TO is a URL;
CONVEYOR_FROM is the one to copy, "" for an empty database; with CONVEYOR_DROP set, the database is dropped instead.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from conveyor.effects.database import copy, database
from conveyor.errors import ConveyorError


def main() -> int:
    source, target, here = os.environ.get("CONVEYOR_FROM", ""), os.environ["CONVEYOR_TO"], Path.cwd()
    try:
        if os.environ.get("CONVEYOR_DROP"):
            database(target, here).drop()
        elif source:
            copy(source, target, here)
        else:
            database(target, here).ensure()
    except ConveyorError as error:
        print(error.message, error.hint, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
