"""`python -m conveyor.serving --artifact DIR --name fraud --version 3 --port N --observations DIR`.

Exit 0 after a drained stop, 1 when the model cannot be served (stderr says why), 2 on wrong arguments.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import replace
from pathlib import Path

from conveyor.errors import ConveyorError
from conveyor.serving import digests
from conveyor.serving.bulk import Limits
from conveyor.serving.server import MAX_BODY_BYTES, serve


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", text):
        raise argparse.ArgumentTypeError("a model name has letters, digits, '.', '_' and '-'")
    return text


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m conveyor.serving", description="Serve one model version.")
    parser.add_argument("--artifact", type=Path, required=True, help="directory with a model and its model.json")
    parser.add_argument("--name", type=_name, required=True)
    parser.add_argument("--version", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--socket", type=Path, help="Unix socket to answer on too, for a proxy on this host")
    parser.add_argument("--observations", type=Path, required=True, help="directory that segments are written to")
    parser.add_argument("--sync", action="store_true", help="answer only once the observation is on disk")
    parser.add_argument("--max-body", type=int, default=MAX_BODY_BYTES, help="bytes (default %(default)s)")
    parser.add_argument("--trust", action="append", default=[], help="a type that a model in skops' form may hold")
    parser.add_argument("--digest", action="append", default=[], metavar="FILE=BLAKE3", help="what was signed")
    usual = Limits()
    parser.add_argument(
        "--max-waiting", type=int, default=usual.waiting, help="large requests, the next gets 429 (default %(default)s)"
    )
    parser.add_argument(
        "--time-limit", type=float, default=usual.seconds, help="seconds for a request (default %(default)s)"
    )
    given = parser.parse_args()
    try:
        digests.verify(given.artifact, digests.parsed(given.digest))
        serve(
            given.artifact,
            name=given.name,
            version=given.version,
            host=given.host,
            port=given.port,
            observations=given.observations,
            max_body=given.max_body,
            trusted=tuple(given.trust),
            socket=given.socket,
            sync=given.sync,
            limits=replace(usual, waiting=given.max_waiting, seconds=given.time_limit),
        )
    except ConveyorError as error:
        print(f"conveyor.serving: {error.message}\n  {error.hint}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
