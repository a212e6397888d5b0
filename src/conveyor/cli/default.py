"""A group of commands with one that need not be named: `conveyor run train` is `conveyor run steps train`."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

_DEFAULT = "steps"


class DefaultGroup(TyperGroup):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        first = args[0] if args else ""
        if first not in self.commands and first != "--help":
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)
