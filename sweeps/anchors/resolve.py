"""What ``--anchor NAME`` stands for: a program that is here, else recorded points of the same input."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from encoder_bridge import toolchain
from encoder_bridge.config import CodingConfig
from encoder_bridge.encoder import BuildInfo, default_preset_of, quality_of
from encoder_bridge.encoders import ENCODERS
from encoder_bridge.errors import ConfigError, ToolNotFoundError
from encoder_bridge.frames import FrameSource
from sweeps.anchors.clip import samples_digest
from sweeps.anchors.recorded import RecordedAnchor, RecordedPoint, recorded_anchors

_TEN_BIT = ("vtm", "vvenc")
"""Code at ten bits inside whatever the input, as their common test conditions do."""


@dataclass(frozen=True)
class Anchor:
    """An encoder that arms are compared with.

    Attributes:
        name: codec and version, "vtm-12.0".
        points: configurations to code, or recorded streams.
    """

    name: str
    points: Sequence[CodingConfig] | Sequence[RecordedPoint]

    @property
    def configs(self) -> list[CodingConfig]:
        """How each point is coded."""
        return [point.config if isinstance(point, RecordedPoint) else point for point in self.points]

    @property
    def recorded(self) -> bool:
        """Whether its streams come from a recording."""
        return isinstance(self.points[0], RecordedPoint)


def build_name(build: Mapping[str, object]) -> str:
    """Codec and version of ``BuildInfo.key()``, as "vtm-12.0"."""
    said = str(build["version"])
    number = re.search(r"\d+(\.\d+)*", said)
    return f"{build['name']}-{number[0] if number else said.split()[0]}"


def anchor_config(codec: str, like: CodingConfig, qp: int) -> CodingConfig:
    """The plain coding of an anchor: picture structure and depth of the tests, the encoder's default preset."""
    depth = 10 if codec in _TEN_BIT else like.bit_depth
    return CodingConfig(codec=codec, preset=default_preset_of(codec), gop=like.gop, qp=qp, bit_depth=depth)


def resolve_anchors(names: Sequence[str], configs: Sequence[CodingConfig], source: FrameSource) -> list[Anchor]:
    """The anchors of a comparison, before anything is coded.

    Args:
        names: a codec ("vtm"), or codec and version ("vtm-12.0").
        configs: the tests; their picture structure, depth and quantisers are the anchors', too.
        source: the input.

    Raises:
        ConfigError: an unknown codec, or the one that is tested. ToolNotFoundError: neither a program nor recorded
            points of this input, says what is recorded; or the program that a variable names will not do.
    """
    found = [_resolve(name, configs, source) for name in names]
    return list({anchor.name: anchor for anchor in found}.values())


def _resolve(name: str, configs: Sequence[CodingConfig], source: FrameSource) -> Anchor:
    codec, _, version = name.partition("-")
    if codec == configs[0].codec:
        raise ConfigError(f"--anchor {name}: the arm psnr is {codec} already; expected another codec")
    ENCODERS.get(codec)
    try:
        return _live(codec, version, configs, source)
    except ToolNotFoundError as error:
        if not version and toolchain.named_by(codec):
            raise
        return _recorded(name, configs[0].gop, source, error)


def _live(codec: str, version: str, configs: Sequence[CodingConfig], source: FrameSource) -> Anchor:
    encoder = ENCODERS.get(codec)()
    runs = [anchor_config(codec, configs[0], qp) for qp in _quantisers(codec, configs)]
    build: BuildInfo = encoder.build_info(runs[0])
    if version and build_name(build.key()) != f"{codec}-{version}":
        raise ToolNotFoundError(f"{build.path} is {build_name(build.key())}")
    for run in runs:
        encoder.check(run, source.format)
    return Anchor(build_name(build.key()), runs)


def _quantisers(codec: str, configs: Sequence[CodingConfig]) -> list[int]:
    """The tests' rate points on the anchor's scale; its usual ones where they have no quantiser."""
    own, theirs = quality_of(configs[0].codec), quality_of(codec)
    values = [theirs.coarser(theirs.from_qp(own.to_qp(c.qp)), 0) for c in configs if c.qp is not None]
    return list(dict.fromkeys(values or theirs.sweep))


def _recorded(name: str, gop: str, source: FrameSource, missing: ToolNotFoundError) -> Anchor:
    codec, _, version = name.partition("-")
    known = [a for a in recorded_anchors() if a.codec == codec and (not version or a.name == name)]
    fitting = [a for a in known if a.gop == gop and _fits(a, source)]
    if fitting:
        newest = max(fitting, key=lambda anchor: anchor.version)
        return Anchor(newest.name, newest.points)
    there = ", ".join(f"{a.name} {a.gop} at {a.size[0]}x{a.size[1]}x{a.size[2]}" for a in known)
    raise ToolNotFoundError(
        f"--anchor {name}: {missing}; and nothing is recorded for this input and --gop {gop} "
        f"({f'on the embedded clip: {there}' if there else 'nothing of it is recorded at all'})"
    ) from missing


def _fits(anchor: RecordedAnchor, source: FrameSource) -> bool:
    fmt = source.format
    if (fmt.width, fmt.height) != anchor.size[:2] or source.frame_count not in (None, anchor.size[2]):
        return False
    return samples_digest(source) == anchor.samples
