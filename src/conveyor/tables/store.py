"""Where the bytes of a table are for this process: files of a local store, S3 by ranged reads, or downloads."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from blake3 import blake3

from conveyor.client import Client
from conveyor.domain.dataset import Part
from conveyor.domain.views import TableView
from conveyor.errors import CorruptObject, NotFound, Refused

_CLOUDS = ("s3://", "s3a://", "gs://", "az://", "abfs://", "abfss://", "https://")
_VARIABLES = (
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ALLOW_HTTP", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
    "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_KEY", "AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY",
)  # fmt: skip
_CACHE = "tables"  # below the folder of temporary files, or CONVEYOR_CACHE


class Store(Protocol):
    """`place` is what Polars can scan; `whole` a verified local file with all bytes of an object."""

    options: dict[str, str] | None

    def place(self, part: Part) -> str: ...

    def whole(self, digest: str) -> Path: ...


class LocalStore:
    """A folder of objects on this machine. With `verify` a part's digest is compared before it is read."""

    options: dict[str, str] | None = None

    def __init__(self, root: Path, *, verify: bool) -> None:
        self._root = root
        self._verify = verify
        self._seen: set[str] = set()  # verified for this table already

    def place(self, part: Part) -> str:
        if self._verify and part.digest not in self._seen:
            self.whole(part.digest)
            self._seen.add(part.digest)
        return str(self._path(part.digest))

    def whole(self, digest: str) -> Path:
        return verified(self._path(digest), digest)

    def _path(self, digest: str) -> Path:
        path = self._root / key(digest)
        if not path.exists():
            raise NotFound(f"object {digest[:12]} is not in {self._root}", hint="Run `conveyor doctor`.")
        return path


class Downloads:
    """Whole objects by the API, verified and kept in a folder by their digests."""

    options: dict[str, str] | None = None

    def __init__(self, client: Client, view: TableView, folder: Path) -> None:
        self._client = client
        self._version = view.version
        self._folder = folder

    def place(self, part: Part) -> str:
        return str(self.whole(part.digest))

    def whole(self, digest: str) -> Path:
        path = self._folder / key(digest)
        if path.exists():
            return verified(path, digest)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._folder.stat().st_uid != os.getuid():
            raise Refused(f"{self._folder} belongs to somebody else", hint="Name a folder of yours: CONVEYOR_CACHE=...")
        path.parent.mkdir(exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as target:
                version = self._version
                self._client.table_object(version.project, version.name, version.version, digest, target)
            verified(Path(temporary), digest)
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)
        return path


class CloudStore:
    """An object store by URL: Polars reads the footers and the columns that a query needs, by ranges."""

    def __init__(self, url: str, downloads: Downloads, env: Mapping[str, str], *, verify: bool) -> None:
        self._url = url.rstrip("/")
        self._downloads = downloads
        self._verify = verify
        self.options = None if verify else _options(env)

    def place(self, part: Part) -> str:
        return self._downloads.place(part) if self._verify else f"{self._url}/{key(part.digest)}"

    def whole(self, digest: str) -> Path:
        return self._downloads.whole(digest)


def find(client: Client, view: TableView, env: Mapping[str, str], verify: bool | None) -> Store:
    """The store of a table: its own place where this process reaches it, else by the API."""
    cache = env.get("CONVEYOR_CACHE")
    folder = Path(cache) if cache else Path(tempfile.gettempdir()) / f"conveyor-{os.getuid()}" / _CACHE
    downloads = Downloads(client, view, folder)
    if view.objects.startswith(_CLOUDS):
        return CloudStore(view.objects, downloads, env, verify=bool(verify))
    root = Path(view.objects.removeprefix("file://"))
    here = (root / key(view.version.manifest)).exists()
    return LocalStore(root, verify=verify is not False) if here else downloads


def key(digest: str) -> str:
    """As the store names its objects."""
    return f"{digest[:2]}/{digest[2:]}"


def verified(path: Path, digest: str) -> Path:
    hasher = blake3()
    hasher.update_mmap(path)
    if hasher.hexdigest() != digest:
        raise CorruptObject(
            f"object {digest[:12]} does not hold the bytes that its digest says",
            hint="The disk, the network or a program changed it. Delete a copy in a cache; restore one of the store.",
        )
    return path


def _options(env: Mapping[str, str]) -> dict[str, str] | None:
    """The store's endpoint and credentials, from the variables that the control plane reads too; without any of them
    Polars looks where the cloud's own programs do."""
    found = {name.lower(): env[name] for name in _VARIABLES if env.get(name)}
    endpoint = (
        found.pop("aws_endpoint_url_s3", "") or found.pop("aws_endpoint", "") or found.get("aws_endpoint_url", "")
    )
    if endpoint:
        found["aws_endpoint_url"] = endpoint
        if endpoint.startswith("http://"):
            found.setdefault("aws_allow_http", "true")
    return found or None
