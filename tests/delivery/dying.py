"""One act at the desk by a process that kills itself (SIGKILL) at the nth thing it makes durable:
`python -m delivery.dying HOME N ACT`, where ACT is JSON. Exit code 0 when the act had fewer than N of them."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from conveyor.domain import requests
from conveyor.stores.objects import Objects
from conveyor.stores.records import Records, Transaction
from delivery.lake import Lake

_left = int(sys.argv[2])


def tick() -> None:
    global _left
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def dying(method: Any) -> Any:
    def around(*args: Any, **more: Any) -> Any:
        tick()
        made = method(*args, **more)
        tick()
        return made

    return around


_transaction = Records.transaction


@contextmanager
def transaction(self: Records, lease: Any = None) -> Iterator[Transaction]:
    with _transaction(self, lease) as tx:
        yield tx
        tick()
    tick()


def main() -> None:
    lake = Lake.__new__(Lake)
    lake.open(Path(sys.argv[1]))
    act = json.loads(sys.argv[3])
    for name in ("put", "put_file", "delete"):
        setattr(Objects, name, dying(getattr(Objects, name)))
    Transaction.put = dying(Transaction.put)  # type: ignore[method-assign]
    Records.transaction = transaction  # type: ignore[method-assign]
    if act["do"] == "release":
        lake.desk.quarantines.release("shop", "payments", act["entry"], requests.ReleaseRows(by="t"))
    elif act["do"] == "drop":
        lake.desk.quarantines.drop("shop", "payments", act["entry"], requests.DropRows(by="t"))
    else:
        lake.desk.erasures.erase("shop", "payments", requests.Erase("customer", act["value"], now=True, by="t"))


if __name__ == "__main__":
    main()
