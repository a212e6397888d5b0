"""Puts a finished folder in its place: `python -I -S publish.py FOLDER PLACE`. Standard library only, to start fast.

Places are named by content, so one that is there already is as good: whoever comes second throws the own one away.
"""

from __future__ import annotations

import os
import shutil
import sys


def publish(folder: str, place: str) -> None:
    """Renames, after what is in the folder has reached the disk: a power cut leaves all of it, or nothing."""
    if not os.path.isdir(place):  # noqa: PTH112 - pathlib costs a third of the start
        os.sync()
        try:
            os.rename(folder, place)  # noqa: PTH104
        except OSError:
            if not os.path.isdir(place):  # noqa: PTH112
                raise
        else:
            parent = os.open(os.path.dirname(place), os.O_RDONLY)  # noqa: PTH120
            os.fsync(parent)
            os.close(parent)
            return
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    publish(sys.argv[1], sys.argv[2])
