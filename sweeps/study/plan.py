"""The coding configurations of a study: table I of QoMEX 2023 for any codec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from encoder_bridge.config import CodingConfig
from encoder_bridge.encoder import default_preset_of, quality_of
from encoder_bridge.errors import ConfigError

SCALES = (0.25, 0.5, 0.75, 1.0)
QUALITIES = (5, 7, 10, 15, 20, 25, 30, 35, 50, 70, 90)
"""Of JPEG."""
QPS = tuple(range(0, 51, 5))
CODECS = ("jpeg", "x265")
PRESETS: Mapping[str, str] = {"vvenc": "fast"}
"""The paper's presets where they are not the project's own."""


def configurations(
    codecs: Sequence[str] = CODECS,
    scales: Sequence[float] = SCALES,
    qps: Sequence[int] | None = None,
    qualities: Sequence[int] | None = None,
    preset: str | None = None,
) -> tuple[CodingConfig, ...]:
    """Every codec at every level and scale, all intra.

    Args:
        codecs: registered encoders.
        scales: linear resolution factors.
        qps: of codecs with a QP; None is table I's 0, 5, … 50.
        qualities: of JPEG and every other codec with a scale of its own; None is table I's for JPEG, else the codec's.
        preset: of every codec that has it; None takes each codec's own.

    Raises ConfigError for an unknown codec, an empty list or a level outside a codec's scale.
    """
    if not codecs or not scales:
        raise ConfigError(f"{len(codecs)} codecs at {len(scales)} scales; expected at least one of each")
    return tuple(
        CodingConfig(codec=codec, preset=_preset(codec, preset), gop="intra", qp=level, scale=scale)
        for codec in dict.fromkeys(codecs)
        for scale in scales
        for level in _levels(codec, qps, qualities)
    )


def label(config: CodingConfig) -> str:
    """Short and unique within a study: ``x265-32``, ``jpeg-10@0.5``."""
    return f"{config.codec}-{config.qp}" + (f"@{config.scale:g}" if config.scale != 1 else "")


def qp_of(config: CodingConfig) -> float:
    """The level on the scale of QPs, lower is finer."""
    assert config.qp is not None
    return quality_of(config.codec).to_qp(config.qp)


def has_qp(codec: str) -> bool:
    """Whether the codec's levels are QPs."""
    return quality_of(codec).name == "QP"


def _levels(codec: str, qps: Sequence[int] | None, qualities: Sequence[int] | None) -> Sequence[int]:
    scale = quality_of(codec)
    if has_qp(codec):
        levels: Sequence[int] = QPS if qps is None else qps
    else:
        levels = qualities or (QUALITIES if codec == "jpeg" else scale.sweep)
    for level in levels:
        scale.check(codec, level)
    return levels


def _preset(codec: str, asked: str | None) -> str:
    own = PRESETS.get(codec, default_preset_of(codec))
    return asked if asked is not None and has_qp(codec) else own
