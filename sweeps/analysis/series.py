"""Which curve a record belongs to, and what that curve is called."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sweeps.anchors import build_name
from sweeps.coding import ANCHOR, arm_name
from sweeps.records import RunRecord, config_of

LOSSLESS = "png"
"""Codec of the record that holds the size without loss and the accuracy on the original."""
_OLD_TO_NEW = ("jpeg", "jpeg2000", "jm", "x264", "x265", "hm", "vvenc", "vtm")
_SEPARATOR = "\0"
NAMES = {"jpeg": "JPEG", "jpeg2000": "JPEG 2000", "vvenc": "VVenC", "jm": "JM", "hm": "HM", "vtm": "VTM"}


@dataclass(frozen=True)
class Series:
    """One curve: all of a configuration but its rate point.

    Attributes:
        coder: encoder, with as much of version and settings as tells it from others of that codec.
        arm: "psnr", "map:learned", …: how decisions are made.
        gray: luma alone.
        scale: resolution factor δ.
    """

    coder: str
    arm: str = ANCHOR
    gray: bool = False
    scale: float = 1.0

    @property
    def label(self) -> str:
        """``x265 map:learned ×0.5 grey``."""
        arm = "" if self.arm == ANCHOR else f" {self.arm}"
        return f"{self.coder}{arm}{f' ×{self.scale:g}' if self.scale != 1 else ''}{' grey' if self.gray else ''}"


@dataclass(frozen=True)
class Sorted:
    """A record that counts, and where: its series, its rate point and its codec."""

    record: RunRecord
    series: Series
    rate: tuple[Any, ...]
    codec: str


def sort_record(record: RunRecord) -> Sorted | None:
    """Where a record belongs; None for a failed or neutral run. Its coder is a key until ``coder_names`` is asked.

    Raises StoreError for a configuration that nobody can read.
    """
    config = record.config
    if record.status != "ok" or config.get("neutral"):
        return None
    scale, gray = float(config.get("scale", 1.0)), bool(config.get("gray", False))
    arm = ANCHOR if config.get("rdo", ANCHOR) == ANCHOR else arm_name(config_of(record))
    rate = tuple(config.get(name) for name in ("qp", "crf", "bitrate"))
    return Sorted(record, Series(_SEPARATOR.join(_coder_key(record)), arm, gray, scale), rate, str(config["codec"]))


def _coder_key(record: RunRecord) -> tuple[str, ...]:
    config = record.config
    build = build_name(record.build) if record.build.get("version") else str(config["codec"])
    depth = f"{config.get('bit_depth', 8)} bit"
    extra = (str(word) for word in config.get("extra", ()))
    return (str(config["codec"]), build, str(config.get("preset", "")), str(config.get("gop", "")), depth, *extra)


def coder_names(keys: Iterable[str]) -> dict[str, str]:
    """Name of each coder of ``sort_record``."""
    named = names_of_coders(tuple(key.split(_SEPARATOR)) for key in keys)
    return {_SEPARATOR.join(parts): name for parts, name in named.items()}


def names_of_coders(coders: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """Name of each coder (codec, version, settings, …): its codec, and what differs among those of that codec."""
    found = dict.fromkeys(coders)
    return {
        parts: _coder_name(parts, [other for other in found if other[0] == parts[0] and other != parts])
        for parts in found
    }


def _coder_name(key: tuple[str, ...], rivals: Sequence[tuple[str, ...]]) -> str:
    codec, rest = key[0], key[1:]
    differing = [
        part.removeprefix(f"{codec}-")
        for place, part in enumerate(rest, start=1)
        if part and any(place >= len(other) or other[place] != part for other in rivals)
    ]
    return " ".join([NAMES.get(codec, codec), *differing])


def codec_rank(codec: str) -> int:
    """Place of a codec in tables: older standards first, as in the papers; unknown ones last."""
    return _OLD_TO_NEW.index(codec) if codec in _OLD_TO_NEW else len(_OLD_TO_NEW)


def merged(before: RunRecord | None, record: RunRecord) -> RunRecord:
    """The later record; of an earlier one with the same stream, the networks that the later one did not ask."""
    if before is None or before.bits != record.bits or before.frames != record.frames:
        return record
    return replace(
        record,
        scores={**before.scores, **record.scores},
        confusion={**before.confusion, **record.confusion},
        models={**before.models, **record.models},
    )
