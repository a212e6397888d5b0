"""Takes the database to a version, one transaction a version: `python migrate.py VERSION [OPTIONS]`.

--hold S    stay that long in the transaction     --linger S  stay that long after the commit
--break     fail before the commit                --blind     do the version's statements without looking
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from store import connect

VERSIONS = {
    1: ["CREATE TABLE orders (id integer PRIMARY KEY, total integer)", "INSERT INTO orders (id, total) VALUES (1, 5)"],
    2: ["ALTER TABLE orders ADD COLUMN total_cents integer", "UPDATE orders SET total_cents = total * 100"],
    3: [
        "UPDATE orders SET total_cents = total * 100 WHERE total_cents IS NULL",
        "ALTER TABLE orders DROP COLUMN total",
    ],
}


def reached() -> None:
    if "REACHED" in os.environ:
        Path(os.environ["REACHED"]).touch()


parser = argparse.ArgumentParser()
parser.add_argument("version", type=int)
parser.add_argument("--hold", type=float, default=0)
parser.add_argument("--linger", type=float, default=0)
parser.add_argument("--break", action="store_true", dest="broken")
parser.add_argument("--blind", action="store_true")
asked = parser.parse_args()
print(f"migrating {os.environ['DATABASE_URL']}", flush=True)
connection = connect()
connection.execute("CREATE TABLE IF NOT EXISTS schema_migrations (version integer)")
current = connection.execute("SELECT max(version) FROM schema_migrations").fetchone()[0] or 0
if asked.blind:
    current = 1
for version in range(current + 1, asked.version + 1):
    connection.execute("BEGIN")
    for statement in VERSIONS[version]:
        connection.execute(statement)
    connection.execute(f"INSERT INTO schema_migrations VALUES ({version})")
    if asked.hold:
        reached()
        time.sleep(asked.hold)
    if asked.broken:
        raise SystemExit(f"version {version} is broken")
    connection.execute("COMMIT")
    print(f"version {version}", flush=True)
    if asked.linger:
        reached()
        time.sleep(asked.linger)
connection.close()
