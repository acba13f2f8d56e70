"""Values as they are written on the command line: lists of numbers, sizes, frame rates, sample formats."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import click

from encoder_bridge.config import RDO_MODES, Candidate
from encoder_bridge.errors import ConfigError
from encoder_bridge.source_base import parse_fps as parse_fps
from encoder_bridge.source_base import parse_pixel_format
from encoder_bridge.source_base import parse_size as parse_size

T = TypeVar("T")
if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:  # not generic in click 8.1
    _ParamType = click.ParamType

_RANGE = re.compile(r"^(-?\d+)-(-?\d+)(?::(\d+))?$")
_CANDIDATE = re.compile(r"^([+-]?[\d.]+)(?:x([\d.]+))?(?:@(\d+))?(=)?$")
_MOST = 1000


class Parsed(_ParamType, Generic[T]):
    """A parameter type made of a function that raises ValueError with what it expected."""

    def __init__(self, name: str, parse: Callable[[str], T]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> T:
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]
        try:
            return self._parse(value.strip())
        except ValueError as error:
            self.fail(str(error), param, ctx)


def parse_modes(text: str) -> tuple[str, ...]:
    """RDO modes, "psnr,map" → ("psnr", "map")."""
    modes = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    if any(mode not in RDO_MODES for mode in modes):
        raise ValueError(f"expected some of {', '.join(RDO_MODES)}")
    return modes


def parse_ints(text: str) -> tuple[int, ...]:
    """``22,27,32``, ``22-47:5`` (first, last, step), ``30-33``, or a mix; sorted, without repeats."""
    values: set[int] = set()
    for part in _parts(text):
        match = _RANGE.match(part)
        if match is None:
            values.add(_number(part, int, text))
            continue
        first, last, step = int(match[1]), int(match[2]), int(match[3] or 1)
        if last < first or step < 1 or (last - first) // step >= _MOST:
            raise ValueError(f"{part!r}: expected first-last:step with first <= last and step >= 1, as 22-47:5")
        values.update(range(first, last + 1, step))
    return tuple(sorted(values))


def parse_floats(text: str) -> tuple[float, ...]:
    """``23,28.5``; sorted, without repeats."""
    return tuple(sorted({_number(part, float, text) for part in _parts(text)}))


def parse_format(text: str) -> tuple[str, int]:
    """``yuv420p10le``, ``i420``, ``gray`` → (chroma format, bit depth) of planar samples."""
    return parse_pixel_format(re.sub(r"^i(?=4\d\d)", "", text.lower()))


def parse_names(text: str) -> tuple[str, ...]:
    """``sky,building,road``: names in label order."""
    names = tuple(part.strip() for part in text.split(","))
    if len(names) < 2 or not all(names):
        raise ValueError(f"{text!r}: expected two or more names with commas between them, in label order")
    return names


def parse_triple(text: str) -> tuple[float, float, float]:
    """``0.485,0.456,0.406`` → one number per colour channel; a single number stands for all three."""
    values = [_number(part, float, text) for part in _parts(text)]
    if len(values) == 1:
        values *= 3
    if len(values) != 3:
        raise ValueError(f"{text!r}: expected one number or three, as 0.485,0.456,0.406")
    return values[0], values[1], values[2]


def parse_candidates(text: str) -> tuple[Candidate, ...]:
    """``0,-3=,+3x0.8@16``: QP change, ``x`` factor on λ, ``@`` smallest CU, ``=`` keeps the first one's decisions.

    ValueError on any other text.
    """
    return tuple(_candidate(part.strip(), text) for part in text.split(","))


def format_candidates(candidates: Iterable[Candidate]) -> str:
    """What ``parse_candidates`` reads."""
    return ",".join(format_candidate(candidate) for candidate in candidates)


def format_candidate(candidate: Candidate) -> str:
    """One candidate as ``parse_candidates`` reads it: ``0``, ``-3``, ``+3x0.8@16``."""
    scale = "" if candidate.lambda_scale == 1 else f"x{candidate.lambda_scale:g}"
    least = f"@{candidate.min_cu}" if candidate.min_cu else ""
    keep = "=" if candidate.keep else ""
    return f"{candidate.delta_qp:{'+' if candidate.delta_qp else ''}g}{scale}{least}{keep}"


def _candidate(part: str, text: str) -> Candidate:
    match = _CANDIDATE.match(part)
    try:
        if match is not None:
            return Candidate(float(match[1]), float(match[2] or 1), int(match[3] or 0), bool(match[4]))
    except ConfigError:
        raise
    except ValueError:
        pass
    raise ValueError(
        f"{text!r}: {part!r} is no candidate; expected a QP change, x and a factor on lambda, @ and the side of the "
        "smallest CU, = to keep the first one's decisions, the last three optional, as 0,-3=,+3x0.8@16"
    )


def _parts(text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise ValueError(f"{text!r}: expected numbers with commas between them")
    return parts


def _number(part: str, kind: Callable[[str], T], text: str) -> T:
    try:
        return kind(part)
    except ValueError:
        wanted = "whole numbers" if kind is int else "numbers"
        raise ValueError(f"{text!r}: {part!r} is not a number; expected {wanted} with commas between them") from None


INTS = Parsed("LIST", parse_ints)
MODES = Parsed("LIST", parse_modes)
FLOATS = Parsed("LIST", parse_floats)
SIZE = Parsed("WxH", parse_size)
FORMAT = Parsed("FORMAT", parse_format)
FPS = Parsed("FPS", parse_fps)
NAMES = Parsed("NAMES", parse_names)
TRIPLE = Parsed("R,G,B", parse_triple)
CANDIDATES = Parsed("LIST", parse_candidates)
