"""The ``mrdo encode`` line that codes as a configuration says."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from encoder_bridge.config import CandidateConfig, CodingConfig, MapConfig
from encoder_bridge.encoder import default_preset_of
from sweeps.paramtypes import format_candidates

_BASE, _MAP, _CTU = CodingConfig(qp=0), MapConfig(), CandidateConfig()
_MAP_FLAGS = {
    "strength": "--strength",
    "tau": "--tau",
    "sigma": "--sigma",
    "clip": "--clip",
    "group": "--group",
    "interval": "--map-interval",
    "probe": "--probe",
}
_CTU_FLAGS = {"share": "--metric-share", "guard": "--guard", "splits": "--splits"}


def encode_line(config: CodingConfig, source: str, output: str = "out.mp4", model: str | None = None) -> str:
    """A line for a shell.

    Args:
        config: how to code.
        source: the input's name.
        output: the file to make.
        model: the driving network; None for the embedded one.
    """
    driven = ["--model", model] if model is not None and config.rdo != "psnr" else []
    words = ["mrdo", "encode", source, *_coding(config), *_rdo(config), *driven, "-o", output]
    return " ".join(shlex.quote(word) for word in words)


def _coding(config: CodingConfig) -> Iterator[str]:
    if config.codec != _BASE.codec:
        yield from ("--codec", config.codec)
    if config.preset != default_preset_of(config.codec):
        yield from ("--preset", config.preset)
    for name in ("qp", "crf", "bitrate"):
        if getattr(config, name) is not None:
            yield from (f"--{name}", str(getattr(config, name)))
    for name, flag in (("gop", "--gop"), ("scale", "--scale"), ("bit_depth", "--bit-depth")):
        if getattr(config, name) != getattr(_BASE, name):
            yield from (flag, str(getattr(config, name)))
    if config.gray:
        yield "--gray"
    if config.extra:
        yield from ("--extra", shlex.join(config.extra))


def _rdo(config: CodingConfig) -> Iterator[str]:
    yield from ("--rdo", config.rdo)
    if config.map is not None:
        yield from ("--map", config.map.name)
        yield from _changed(config.map, _MAP, _MAP_FLAGS)
        if config.map.weights:
            yield "--weights"
        if not config.map.qp_map:
            yield "--no-qp-map"
    if config.ctu is not None:
        yield from ("--candidates", format_candidates(config.ctu.candidates), "--metric", config.ctu.metric)
        yield from ("--metric-context", str(config.ctu.context))
        yield from _changed(config.ctu, _CTU, _CTU_FLAGS)
        yield from (flag for flag in ("--judge-all",) if config.ctu.judge_all)
        yield from (flag for flag in ("--metric-inside",) if config.ctu.internal)


def _changed(part: object, base: object, flags: dict[str, str]) -> Iterator[str]:
    for name, flag in flags.items():
        value = getattr(part, name)
        if value != getattr(base, name):
            yield from (flag, str(value))
