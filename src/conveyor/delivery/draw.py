"""`python -m conveyor.delivery.draw HOLDOUT.parquet`: the plots of a model card, as JSON of SVG by name.

In a process of its own: what draws is a JavaScript engine, whose memory would stay with the control plane.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from conveyor.domain import card
from conveyor.errors import StepFailed

_SECONDS = 120


def drawn(holdout: Path) -> dict[str, str]:
    argv = [sys.executable, "-m", "conveyor.delivery.draw", str(holdout)]
    try:
        done = subprocess.run(argv, capture_output=True, timeout=_SECONDS, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise StepFailed("the plots could not be drawn", hint="The card itself is there without them.") from error
    found: dict[str, str] = json.loads(done.stdout)
    return found


def main(path: str) -> None:
    import polars as pl
    import vl_convert

    frame = pl.read_parquet(path, columns=["__label__", "__native__"])
    binary = frame["__label__"].dtype == pl.Int8 and frame["__label__"].max() == 1
    points = card.curves(frame["__label__"].to_list(), frame["__native__"].to_list()) if binary else {}
    svgs = {name: vl_convert.vegalite_to_svg(json.dumps(card.chart(name, each))) for name, each in points.items()}
    sys.stdout.write(json.dumps(svgs))


if __name__ == "__main__":
    main(sys.argv[1])
