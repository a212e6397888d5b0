"""The pages over a made-up story, in a process of its own.

`python -m browser.serve HOME PORT full|empty`, run in `tests/`.
Each line on stdin becomes an event: `TYPE SUBJECT JSON`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from pathlib import Path

from granian.constants import Interfaces
from granian.server.embed import Server
from web.world import World, empty, full


def tell(world: World) -> None:
    for line in sys.stdin:
        type_, subject, data = line.split(" ", 2)
        world.tell(type_, subject, **json.loads(data))


def main(home: Path, port: int, kind: str) -> None:
    world = (full if kind == "full" else empty)(home, port)
    threading.Thread(target=tell, args=(world,), daemon=True).start()
    server = Server(world.app, address="127.0.0.1", port=port, interface=Interfaces.ASGI, log_access=False)
    asyncio.run(server.serve())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
