"""Means over the inputs of each configuration, from what tables need of a store's records."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sweeps.heads import Measured


@dataclass
class Mean:
    """One configuration over all inputs it was run on.

    Attributes:
        config: ``CodingConfig.as_dict()``.
        runs, failed: records that succeeded, and those that did not; only the former count below.
        bits, bpp, encode_s: means over the runs: bits of a stream, bits per luma sample of the input, seconds.
        scores: network → measure → mean over the runs that have it; 0–1, higher is better.
    """

    config: Mapping[str, Any]
    runs: int = 0
    failed: int = 0
    bits: float = 0.0
    bpp: float = 0.0
    encode_s: float = 0.0
    scores: dict[str, dict[str, float]] = field(default_factory=dict)


class _Sums:
    """A mean in the making."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        self.runs = self.failed = self.bits = 0
        self.bpp: list[float] = []
        self.encode_s: list[float] = []
        self.scores: dict[tuple[str, str], list[float]] = {}

    def add(self, head: Measured) -> None:
        """Take a record in."""
        if head.status != "ok":
            self.failed += 1
            return
        self.runs += 1
        self.bits += head.bits
        self.bpp.append(head.bpp)
        self.encode_s.append(head.encode_s)
        for network, measures in head.scores.items():
            for measure, value in measures.items():
                if value is not None:
                    self.scores.setdefault((network, measure), []).append(value)

    def join(self, other: _Sums) -> None:
        """Take in what another knows of the same configuration."""
        self.runs, self.failed, self.bits = self.runs + other.runs, self.failed + other.failed, self.bits + other.bits
        self.bpp += other.bpp
        self.encode_s += other.encode_s
        for key, values in other.scores.items():
            self.scores.setdefault(key, []).extend(values)

    def mean(self) -> Mean:
        """Exactly rounded means, so that the order of the records does not show."""
        scores: dict[str, dict[str, float]] = {}
        for (network, measure), values in sorted(self.scores.items()):
            scores.setdefault(network, {})[measure] = math.fsum(values) / len(values)
        runs = max(1, self.runs)
        bpp, encode_s = math.fsum(self.bpp) / runs, math.fsum(self.encode_s) / runs
        return Mean(self.config, self.runs, self.failed, self.bits / runs, bpp, encode_s, scores)


def means(heads: Iterable[Measured]) -> list[Mean]:
    """The mean of each configuration, in the order configurations first appear."""
    by_object: dict[int, _Sums] = {}
    for head in heads:
        sums = by_object.get(id(head.config))
        if sums is None:
            sums = by_object[id(head.config)] = _Sums(head.config)
        sums.add(head)
    joined: dict[str, _Sums] = {}
    for sums in by_object.values():
        name = json.dumps(sums.config, sort_keys=True)
        if name in joined:
            joined[name].join(sums)
        else:
            joined[name] = sums
    return [sums.mean() for sums in joined.values()]
