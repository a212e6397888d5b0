"""What a commit's services and workers are made of: read from the repository, before anything is unpacked or run."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from conveyor.config.load import load
from conveyor.domain import wire
from conveyor.domain.project import ProjectConfig, ServiceConfig, WorkerConfig
from conveyor.domain.release import Part
from conveyor.effects import envs, git
from conveyor.errors import ConfigInvalid, NotFound
from conveyor.stores.objects import digest_bytes

CONFIG = "conveyor.toml"
ROOT = "."
_TREE_DIGITS = 40  # as many as git's


@dataclass(frozen=True, slots=True)
class Layout:
    """Content addresses of all that a build makes, known before it is made.

    `sources` are the trees of the folders that parts are made from, by folder; `environments` the folders that
    environments are made from, by key. A part's tree is that of its folder, or the result of its `build`.
    """

    tree: str
    environment: str
    parts: dict[str, Part] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    environments: dict[str, str] = field(default_factory=dict)


def read_config(repo: Path, commit: str) -> ProjectConfig:
    """Raises ConfigInvalid with every problem named."""
    try:
        text = git.read_file(repo, commit, CONFIG).decode()
    except UnicodeDecodeError as error:
        raise ConfigInvalid((f"{CONFIG} is not UTF-8 text",)) from error
    except NotFound as error:
        raise ConfigInvalid((error.message,)) from error
    return load(text)


def layout(repo: Path, commit: str, config: ProjectConfig) -> Layout:
    """Raises ConfigInvalid where a part's folder is none of the commit's."""
    processes: list[ServiceConfig | WorkerConfig] = [*config.services.values(), *config.workers.values()]
    folders = sorted({ROOT, *(folder(each) for each in processes)})
    found = dict(zip(folders, git.lookup(repo, [_name(commit, each) for each in folders]), strict=True))
    sources = {name: each.id for name, each in found.items() if each is not None and each.type == "tree"}
    problems = tuple(
        f'{kind}.{each.name}.path: the commit has no folder "{each.path}"'
        for kind, those in (("service", config.services), ("worker", config.workers))
        for each in those.values()
        if folder(each) not in sources
    )
    if problems:
        raise ConfigInvalid(problems)
    root = sources[ROOT]
    keys = _environments(repo, commit, sources)
    parts = {each.name: _part(each, sources, keys) for each in processes}
    environments = {key: name for name, key in sorted(keys.items(), reverse=True)}
    return Layout(root, keys[ROOT], parts, sources, environments)


def folder(process: ServiceConfig | WorkerConfig) -> str:
    return posixpath.normpath(process.path)


def source_of(layout: Layout, process: ServiceConfig | WorkerConfig) -> str:
    return layout.sources[folder(process)]


def digest(made: Layout) -> str:
    """Of the build as a whole: the same content has the same, whatever commit it came from."""
    return digest_bytes(wire.to_json([made.tree, made.environment, made.parts]))


def _part(process: ServiceConfig | WorkerConfig, sources: dict[str, str], keys: dict[str, str]) -> Part:
    where = folder(process)
    tree, environment = sources[where], keys[where]
    if isinstance(process, ServiceConfig) and process.build:
        inputs = ["build", tree, environment, process.build, process.env]
        tree = digest_bytes(wire.to_json(inputs))[:_TREE_DIGITS]
    return Part(tree, environment)


def _environments(repo: Path, commit: str, sources: dict[str, str]) -> dict[str, str]:
    """The key of the environment of each folder: by its own lock file, or by the root's where it has none."""
    wanted = [posixpath.normpath(posixpath.join(each, file)) for each in sources for file in envs.FILES]
    found = git.lookup(repo, [f"{commit}:{path}" for path in wanted])
    known = dict(zip(wanted, found, strict=True))

    def reader(within: str) -> envs.Read:
        def read(name: str) -> bytes | None:
            path = posixpath.normpath(posixpath.join(within, name))
            if path not in known:
                known[path] = None if path.startswith("..") else git.lookup(repo, [f"{commit}:{path}"])[0]
            blob = known[path]
            return blob.content if blob is not None and blob.type == "blob" else None

        return read

    def keyed() -> Iterator[tuple[str, str]]:
        for name, tree in sources.items():
            asked = envs.declared(reader(name))
            if name == ROOT or asked.files:
                yield name, envs.key(asked, tree, sources[ROOT])

    keys = dict(keyed())
    return {name: keys.get(name, keys[ROOT]) for name in sources}


def _name(commit: str, folder: str) -> str:
    return f"{commit}^{{tree}}" if folder == ROOT else f"{commit}:{folder}"
