"""Values as strict JSON (RFC 8259): NumPy scalars and arrays, paths, fractions, dataclasses, no NaN literals."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from datetime import date
from enum import Enum
from fractions import Fraction
from typing import Any

NONFINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""Spelling of the floats JSON lacks, where they must survive a round trip."""


def null_nonfinite(value: float) -> float | None:
    """None for NaN and the infinities."""
    return value if math.isfinite(value) else None


def spell_nonfinite(value: float) -> float | str:
    """ "NaN", "Infinity" or "-Infinity" for the floats JSON lacks."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def to_plain(value: Any, nonfinite: Callable[[float], Any] = null_nonfinite) -> Any:
    """Dictionaries, lists, strings and numbers only; what is not known becomes its ``str``.

    Args:
        value: anything; NumPy values are recognised by their ``tolist`` (NumPy is not imported).
        nonfinite: what stands for NaN and infinities.
    """
    if value is None or (isinstance(value, bool | str) and not isinstance(value, Enum)):
        return value
    if isinstance(value, Enum):
        return to_plain(value.value, nonfinite)
    if hasattr(value, "tolist"):
        return to_plain(value.tolist(), nonfinite)
    if isinstance(value, int):
        return value
    if isinstance(value, float | Fraction):
        number = float(value)
        return number if math.isfinite(number) else nonfinite(number)
    return _container(value, nonfinite)


def _container(value: Any, nonfinite: Callable[[float], Any]) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name), nonfinite) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item, nonfinite) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_plain(item, nonfinite) for item in value]
    if isinstance(value, date):
        return value.isoformat()
    return str(value)


def json_line(value: Any, nonfinite: Callable[[float], Any] = null_nonfinite) -> str:
    """One line of ASCII JSON without a newline."""
    return json.dumps(to_plain(value, nonfinite), allow_nan=False, separators=(",", ":"))
