"""Values of a plan file, checked one by one: what stands there, what was expected, and where."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from encoder_bridge.errors import ConfigError
from sweeps.paramtypes import parse_ints

Check = Callable[[str, Any], Any]
"""(where, value) → the value as it is used; raises ConfigError."""


def refuse(where: str, value: object, expected: str) -> ConfigError:
    """The error of a value that does not fit."""
    return ConfigError(
        f"{where} = {str(value)[:60]!r}; expected {expected}"
        if isinstance(value, str)
        else f"{where} = {str(value)[:60]}; expected {expected}"
    )


def text(where: str, value: Any) -> str:
    """A string that is not empty."""
    if not isinstance(value, str) or not value:
        raise refuse(where, value, "a text")
    return value


def flag(where: str, value: Any) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise refuse(where, value, "true or false")
    return value


def whole(low: int | None = None) -> Check:
    """A whole number, at least ``low``."""

    def check(where: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or (low is not None and value < low):
            raise refuse(where, value, "a whole number" + ("" if low is None else f" of at least {low}"))
        return value

    return check


def number(where: str, value: Any) -> float:
    """A number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise refuse(where, value, "a number")
    return float(value)


def one_of(names: Iterable[Any]) -> Check:
    """One of some values."""
    known = tuple(names)

    def check(where: str, value: Any) -> Any:
        if isinstance(value, bool) != (bool in map(type, known)) or value not in known:
            raise ConfigError(f"{where} = {value!r}; expected {_listed(known)}{nearest(value, known)}")
        return value

    return check


def many(check: Check) -> Check:
    """One value or a list of them, as a tuple without repeats."""

    def checked(where: str, value: Any) -> tuple[Any, ...]:
        values = value if isinstance(value, list) else [value]
        if not values:
            raise refuse(where, value, "at least one value")
        return tuple(dict.fromkeys(check(where, item) for item in values))

    return checked


def whole_numbers(where: str, value: Any) -> tuple[int, ...]:
    """Whole numbers: 32, [22, 27] or the text "22-47:5"."""
    if isinstance(value, str):
        try:
            return parse_ints(value)
        except ValueError as error:
            raise ConfigError(f"{where}: {error}") from None
    checked: tuple[int, ...] = many(whole())(where, value)
    return checked


def words(where: str, value: Any) -> tuple[str, ...]:
    """Arguments of a program: a list of texts, or one text that is split as a shell would."""
    import shlex

    if isinstance(value, list):
        return tuple(text(where, item) for item in value)
    try:
        return tuple(shlex.split(text(where, value)))
    except ValueError as error:
        raise ConfigError(f"{where} = {value!r}: {error}") from None


def read(where: str, table: Any, fields: Mapping[str, Check], within: str = ".") -> dict[str, Any]:
    """The checked values of a table. ConfigError for a key that is not known, with the nearest one that is.

    ``within`` stands between ``where`` and a key: ": " after a file, "." after a table.
    """
    if not isinstance(table, Mapping):
        raise refuse(where, table, f"a table with {_listed(fields)}")
    for key in table:
        if key not in fields:
            raise ConfigError(f"{where}: unknown key {key!r}; expected {_listed(fields)}{nearest(key, fields)}")
    return {key: fields[key](f"{where}{within}{key}", value) for key, value in table.items()}


def nearest(value: Any, known: Iterable[Any]) -> str:
    """``; did you mean …?`` where one of the known values resembles it, else nothing."""
    found = difflib.get_close_matches(str(value), [str(name) for name in known], 1)
    return f"; did you mean {found[0]!r}?" if found else ""


def _listed(known: Iterable[Any]) -> str:
    return ", ".join(str(name) for name in known)
