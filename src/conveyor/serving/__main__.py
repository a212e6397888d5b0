"""`python -m conveyor.serving --artifact DIR --name fraud --version 3 --port N --observations DIR`.

Exit 0 after a drained stop, 1 when the model cannot be served (stderr says why), 2 on wrong arguments.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import replace
from pathlib import Path

from conveyor.domain import wire
from conveyor.errors import ConveyorError
from conveyor.serving import digests
from conveyor.serving.bulk import Limits
from conveyor.serving.options import MAX_BODY_BYTES, Inherited, Options
from conveyor.serving.workers import Workers, bound, bound_unix

MOST_WORKERS = 256


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", text):
        raise argparse.ArgumentTypeError("a model name has letters, digits, '.', '_' and '-'")
    return text


def _count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"from 1 to {MOST_WORKERS}")
    return int(text)


def _inheritance(text: str) -> Inherited:
    return wire.from_json(text.encode(), Inherited)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m conveyor.serving", description="Serve one model version.")
    parser.add_argument("--artifact", type=Path, required=True, help="directory with a model and its model.json")
    parser.add_argument("--name", type=_name, required=True)
    parser.add_argument("--version", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--socket", type=Path, help="Unix socket to answer on too, for a proxy on this host")
    parser.add_argument("--grpc-port", type=int, help="answer gRPC there too (needs the extra 'grpc')")
    parser.add_argument("--observations", type=Path, required=True, help="directory that segments are written to")
    parser.add_argument("--redact", action="append", default=[], help="a feature, or key, that is not to be logged")
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
    parser.add_argument("--workers", type=_count, default=1, help="processes that share the port (default 1)")
    parser.add_argument("--inherited", type=_inheritance, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.workers > 1 and given.grpc_port is not None:
        parser.error("--grpc-port goes with one worker: several are handed their connections, which gRPC cannot take")
    try:
        if given.workers > 1 and given.inherited is None:
            return _parent(given)
        from conveyor.serving.server import serve  # what a model takes in memory is not the parent's

        serve(_options(given), given.inherited)
    except ConveyorError as error:
        print(f"conveyor.serving: {error.message}\n  {error.hint}", file=sys.stderr)
        return 1
    return 0


def _parent(given: argparse.Namespace) -> int:
    listeners = [bound(given.host, given.port)]
    if given.socket is not None:
        listeners.append(bound_unix(given.socket))
    try:
        return Workers([sys.executable, "-m", "conveyor.serving", *sys.argv[1:]], given.workers, listeners).run()
    finally:
        if given.socket is not None:
            given.socket.unlink(missing_ok=True)


def _options(given: argparse.Namespace) -> Options:
    return Options(
        artifact=given.artifact,
        name=given.name,
        version=given.version,
        host=given.host,
        port=given.port,
        observations=given.observations,
        socket=given.socket,
        grpc_port=given.grpc_port,
        sync=given.sync,
        redact=tuple(given.redact),
        max_body=given.max_body,
        trusted=tuple(given.trust),
        signed=digests.parsed(given.digest),
        limits=replace(Limits(), waiting=given.max_waiting, seconds=given.time_limit),
    )


if __name__ == "__main__":
    sys.exit(main())
