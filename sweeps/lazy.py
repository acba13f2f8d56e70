"""A click group that knows its commands by name and imports one only to run it."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from typing import Any

import click


class LazyGroup(click.Group):
    """Commands from a table: name → (``module:attribute``, one line of help).

    A name whose module is not installed is not offered. Where ``fallback`` is given, a first word that names no command
    belongs to that command: ``mrdo train --data DIR`` is ``mrdo train network --data DIR``.
    """

    def __init__(
        self, *args: Any, table: Mapping[str, tuple[str, str]], fallback: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._table, self._fallback = table, fallback

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        asks_help = args[:1] in (["-h"], ["--help"], [])
        if self._fallback is not None and not asks_help and args[0] not in self._table:
            args = [self._fallback, *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in self._table if self._is_there(name)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._table or not self._is_there(cmd_name):
            return None
        module, attribute = self._table[cmd_name][0].split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, self._table[name][1]) for name in self.list_commands(ctx)]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)

    def _is_there(self, name: str) -> bool:
        module = self._table[name][0].split(":")[0]
        try:
            return importlib.util.find_spec(module) is not None
        except ModuleNotFoundError:
            return False
