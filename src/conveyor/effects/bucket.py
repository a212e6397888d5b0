"""A watched pattern of objects in a bucket: s3://bucket/prefix/*.parquet, or gs:// and az://."""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import translate
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import PreconditionError
from obstore.store import ObjectStore, from_url

from conveyor.errors import ConveyorError, InputRejected, NoSpace, Unavailable

PREFIXES = ("AWS_", "GOOGLE_", "AZURE_")
"""Secrets with such names are settings of the object store, as obstore names them."""


@dataclass(frozen=True, slots=True)
class Found:
    key: str
    stamp: str  # version or ETag: with the key it names bytes that never change
    size: int

    @property
    def file(self) -> str:
        return self.key.rpartition("/")[2]


class Bucket:
    """`settings`: credentials, region and endpoint, by the names of environment variables."""

    def __init__(self, url: str, settings: Mapping[str, str]) -> None:
        scheme, _, rest = url.partition("://")
        bucket, _, pattern = rest.partition("/")
        self.url = f"{scheme}://{bucket}"
        fixed = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
        self._prefix = fixed.rpartition("/")[0]
        self._match = _pattern(pattern).match
        self._store = _store(self.url, settings)

    def list(self, after: str = "") -> list[Found]:
        """All that match, by key; with `after` only keys beyond it, which costs no look at those before."""
        options: dict[str, Any] = {"offset": after} if after else {}
        prefix = f"{self._prefix}/" if self._prefix else None
        try:
            found = [
                Found(
                    each["path"],
                    each.get("version") or each["e_tag"] or f"{each['size']}-{each['last_modified']}",
                    each["size"],
                )
                for page in obstore.list(self._store, prefix, **options)
                for each in page
                if self._match(each["path"]) and each["size"]
            ]
        except BaseException as error:
            raise _translated(self.url, error) from error
        return sorted(found, key=lambda each: each.key)

    def fetch(self, found: Found, target: Path) -> bool:
        """Its bytes into a file; False when it is another object by now, or gone."""
        tag = found.stamp if found.stamp.startswith(('"', "W/")) else None
        options: Any = {"if_match": tag} if tag else {}
        try:
            with target.open("wb") as file:
                for chunk in obstore.get(self._store, found.key, options=options).stream(min_chunk_size=2**20):
                    file.write(chunk)
        except (PreconditionError, FileNotFoundError):
            return False
        except BaseException as error:
            raise _translated(self.url, error) from error
        return True


def _pattern(pattern: str) -> re.Pattern[str]:
    """`*` stays within a folder, `**` does not."""
    parts = [".*" if part == "**" else translate(part)[4:-3].replace(".*", "[^/]*") for part in pattern.split("/")]
    return re.compile("/".join(parts).replace(".*/", "(?:.*/)?") + r"\Z", re.DOTALL)


def _store(url: str, settings: Mapping[str, str]) -> ObjectStore:
    plain = any(name.endswith("ENDPOINT") and value.startswith("http://") for name, value in settings.items())
    config = {name.lower(): value for name, value in settings.items() if not name.endswith("ALLOW_HTTP")}
    try:
        return from_url(url, config=config or None, client_options={"allow_http": True} if plain else None)  # type: ignore[arg-type]
    except (KeyboardInterrupt, SystemExit, ConveyorError):
        raise
    except BaseException as error:  # a setting that it does not know ends in a panic, which is no Exception
        raise InputRejected(
            f"{url} cannot be watched: {str(error).splitlines()[0]}",
            hint=f"Look at the secrets of production whose names begin with {', '.join(PREFIXES)}.",
        ) from None


def _translated(url: str, error: BaseException) -> BaseException:
    """A panic inside the library is no Exception, and must not end the thread that looks at all else."""
    if isinstance(error, KeyboardInterrupt | SystemExit | ConveyorError):
        return error
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return NoSpace("there is no room for an object of a watched bucket", hint="Free some space; it is asked again.")
    first = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
    return Unavailable(
        f"{url} does not answer as it should: {first}",
        hint=f"It is asked again. Its credentials are the secrets of production that begin with {', '.join(PREFIXES)}.",
    )
