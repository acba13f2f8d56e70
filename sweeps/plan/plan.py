"""A plan: inputs, the configurations each of them is coded with, and the networks that judge."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from encoder_bridge.config import CandidateConfig, CodingConfig, MapConfig
from encoder_bridge.encoder import default_preset_of, quality_of
from encoder_bridge.errors import ConfigError
from sweeps.plan.inputs import InputBlock

Codings = Callable[[int], Sequence[CodingConfig]]
"""Depth of an input's samples → the configurations it is coded with."""


@dataclass(frozen=True)
class CodecBlock:
    """What a codec is asked for: every combination of the values of each field is one configuration.

    Attributes:
        codec: registered encoder.
        qualities, crf, bitrate: rate points; qualities on the codec's own scale (QP, JPEG's quality, JPEG 2000's
            ratio). Without any: the codec's own default sweep.
        scales, gray, presets, gops: see ``CodingConfig``; no preset is the codec's own default.
        bit_depth: of the coding; None is the input's.
        rdo: modes; of those with a map every map counts, of those with candidates every set of candidates.
        maps, candidates: for the modes that want them.
        extra: further encoder arguments, for all of them.
    """

    codec: str
    qualities: tuple[int, ...] = ()
    crf: tuple[float, ...] = ()
    bitrate: tuple[int, ...] = ()
    scales: tuple[float, ...] = (1.0,)
    gray: tuple[bool, ...] = (False,)
    presets: tuple[str, ...] = ()
    gops: tuple[str, ...] = ("intra",)
    bit_depth: int | None = None
    rdo: tuple[str, ...] = ("psnr",)
    maps: tuple[MapConfig, ...] = (MapConfig(),)
    candidates: tuple[CandidateConfig, ...] = (CandidateConfig(),)
    extra: tuple[str, ...] = ()

    def configs(self, depth: int = 8) -> list[CodingConfig]:
        """Its configurations for an input of ``depth`` bits. ConfigError for a value outside the codec's scale."""
        return [
            CodingConfig(
                codec=self.codec,
                preset=preset,
                gop=gop,
                scale=scale,
                gray=gray,
                bit_depth=self.bit_depth or depth,
                extra=self.extra,
                **rate,
                **mode,
            )
            for preset, gop, gray, scale, mode, rate in itertools.product(
                self.presets or (default_preset_of(self.codec),),
                self.gops,
                self.gray,
                self.scales,
                self._modes(),
                self._rates(),
            )
        ]

    def _rates(self) -> list[dict[str, Any]]:
        scale = quality_of(self.codec)
        for value in self.qualities:
            scale.check(self.codec, value)
        qualities = self.qualities or (() if self.crf or self.bitrate else scale.sweep)
        rates = (("qp", qualities), ("crf", self.crf), ("bitrate", self.bitrate))
        return [{name: value} for name, values in rates for value in values]

    def _modes(self) -> list[dict[str, Any]]:
        modes: list[dict[str, Any]] = []
        for rdo in self.rdo:
            maps: Sequence[MapConfig | None] = self.maps if "map" in rdo else (None,)
            ctus: Sequence[CandidateConfig | None] = self.candidates if "ctu" in rdo else (None,)
            modes += [{"rdo": rdo, "map": one, "ctu": ctu} for one, ctu in itertools.product(maps, ctus)]
        return modes


@dataclass(frozen=True)
class Plan:
    """What is to be run.

    Attributes:
        name: for people.
        codings: see ``Codings``; see also ``configs``.
        inputs: videos; none in a preset, which takes them from the command line.
        model: network that drives the encoder; None is the embedded one.
        judges: networks (or folders with sets of them) that only judge.
        metrics: image quality metrics on luma, beside PSNR, as `mrdo metrics list` names them.
    """

    name: str
    codings: Codings
    inputs: tuple[InputBlock, ...] = ()
    model: str | None = None
    judges: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    _made: dict[int, tuple[CodingConfig, ...]] = field(default_factory=dict, compare=False, repr=False)

    def configs(self, depth: int = 8) -> tuple[CodingConfig, ...]:
        """The configurations of an input of ``depth`` bits, each once. ConfigError for one that cannot be."""
        if depth not in self._made:
            self._made[depth] = tuple(dict.fromkeys(self.codings(depth)))
            if not self._made[depth]:
                raise ConfigError(f"plan {self.name!r} asks for no configuration; expected at least one codec")
        return self._made[depth]

    def counts(self, depth: int = 8) -> dict[str, int]:
        """Codec → number of configurations, in the order of the plan."""
        return dict(Counter(config.codec for config in self.configs(depth)))


def of_blocks(blocks: Sequence[CodecBlock]) -> Codings:
    """The configurations of all blocks, in their order."""
    return lambda depth: [config for block in blocks for config in block.configs(depth)]
