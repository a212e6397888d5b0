"""The code that a function depends on: the modules of its project that it imports, directly or through others."""

from __future__ import annotations

import ast
from pathlib import Path

from blake3 import blake3


def code_digest(tree: Path, function: str) -> str:
    """BLAKE3 over the files that `module:function` reaches by imports inside `tree`.

    A change elsewhere in the project leaves it as it is, so that a new web page retrains no model.
    Imports are read, not run; one made by a computed name is not seen.
    """
    hasher = blake3()
    for path in sorted(closure(tree, function.partition(":")[0])):
        hasher.update(str(path.relative_to(tree)).encode() + b"\0" + path.read_bytes() + b"\0")
    return hasher.hexdigest()


def closure(tree: Path, module: str) -> set[Path]:
    """The files that a module reaches by imports inside `tree`, its own with them."""
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        for path in _files(tree, name):
            if path in found:
                continue
            found.add(path)
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            waiting += _imports(path, package)
    return found


def _files(tree: Path, module: str) -> list[Path]:
    """The module's file and the `__init__` of every package above it, as far as they lie in the tree."""
    parts = module.split(".")
    tops = [tree, tree / "src"]
    candidates = [top.joinpath(*parts).with_suffix(".py") for top in tops]
    for depth in range(1, len(parts) + 1):
        candidates += [top.joinpath(*parts[:depth], "__init__.py") for top in tops]
    return [path for path in candidates if path.is_file()]


def _imports(path: Path, package: str) -> list[str]:
    try:
        body = ast.parse(path.read_bytes())
    except SyntaxError:
        return []
    names: list[str] = []
    for node in ast.walk(body):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return [name for name in names if name]
