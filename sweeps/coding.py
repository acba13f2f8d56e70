"""From a source and a configuration to a stream: first pass, map, encode, each step kept and reused by identity."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from encoder_bridge.atomic import replacing
from encoder_bridge.config import CodingConfig, RunOptions
from encoder_bridge.console import Reporter
from encoder_bridge.encoder import Bitstream, BuildInfo, SideInfo
from encoder_bridge.encoders import ENCODERS
from encoder_bridge.frames import Frame, FrameSource, VideoFormat
from encoder_bridge.transform import resize_source
from sweeps.maps import MapMaker, MapTrack
from sweeps.workspace import Workspace

MAX_QP = 51
"""Coarsest QP of a first pass; the limit of AVC and HEVC, and inside VVC's."""


@dataclass(frozen=True)
class Encoded:
    """A stream and what it cost.

    Attributes:
        stream: the elementary stream.
        build: the encoder that made it.
        first_pass_s: seconds of the plain encode a map was computed from; 0 without one.
        map_s: seconds spent on the map, networks included; 0 without one.
    """

    stream: Bitstream
    build: BuildInfo
    first_pass_s: float = 0.0
    map_s: float = 0.0


@dataclass(frozen=True)
class Coder:
    """Encodes into a workspace; what is there already is not made again.

    Attributes:
        workspace: where streams and maps are kept.
        options: threads, timeout, device.
        reporter: progress.
        maker: computes maps; None allows only rdo "psnr".
    """

    workspace: Workspace
    options: RunOptions
    reporter: Reporter
    maker: MapMaker | None = None

    def encode(self, source: FrameSource, config: CodingConfig) -> Encoded:
        """The stream of ``source`` coded as ``config`` says. Raises what the encoder and the map raise."""
        encoder = ENCODERS.get(config.codec)()
        build = encoder.build_info(config)
        coded = resize_source(source, config.scale) if config.scale != 1 else source
        encoder.check(config, coded.format)
        identity = self.identity(source, config, build)
        if config.rdo == "psnr":
            return Encoded(self._stream(coded, None, config, identity), build)
        first, track = self._map(source, config)
        return Encoded(self._stream(coded, track, config, identity), build, first, track.seconds)

    def check(self, source: FrameSource, config: CodingConfig) -> None:
        """Raise now what a run of this configuration would raise after hours: settings, binary, map."""
        encoder = ENCODERS.get(config.codec)()
        encoder.check(config, self.coded_format(source, config))
        encoder.build_info(config)
        if config.map is not None and self.maker is not None:
            self.maker.prepare(config.map)

    def coded_format(self, source: FrameSource, config: CodingConfig) -> VideoFormat:
        """Format of the pictures in the stream: the source's, resized."""
        return resize_source(source, config.scale).format if config.scale != 1 else source.format

    def identity(self, source: FrameSource, config: CodingConfig, build: BuildInfo) -> dict[str, object]:
        """Everything that determines the stream."""
        driver = self.maker.identity(config.map) if self.maker is not None and config.map is not None else None
        return {"input": source.digest(), "config": config.as_dict(), "build": build.key(), "driver": driver}

    def _map(self, source: FrameSource, config: CodingConfig) -> tuple[float, MapTrack]:
        assert self.maker is not None and config.map is not None
        if not self.maker.needs_first_pass(config.map):
            identity = {"input": source.digest(), "scale": config.scale}
            return 0.0, self.maker.track(source, None, config, identity, self.workspace, self.reporter)
        first = self.encode(source, first_pass(config, self.maker.probe(config.map)))
        identity = {"first_pass": first.stream.path.name}
        track = self.maker.track(source, first.stream.path, config, identity, self.workspace, self.reporter)
        return first.stream.encode_s, track

    def _stream(
        self, coded: FrameSource, track: MapTrack | None, config: CodingConfig, identity: dict[str, object]
    ) -> Bitstream:
        encoder = ENCODERS.get(config.codec)
        path = self.workspace.stream(identity, encoder.suffix)
        kept = _load(path)
        if kept is not None:
            return kept
        with (
            self.reporter.task(f"encode {describe(config)}", coded.frame_count) as advance,
            closing(_with_side_info(coded, track, advance)) as feed,
        ):
            stream = encoder().encode(feed, coded.format, config, self.options, path)
        _save(stream)
        return stream


def first_pass(config: CodingConfig, probe: int) -> CodingConfig:
    """The plain encode a map is computed from: ``probe`` QP steps coarser, a sixth of an octave in rate each."""
    plain = dataclasses.replace(config, rdo="psnr", map=None)
    if config.qp is not None:
        return dataclasses.replace(plain, qp=max(0, min(MAX_QP, config.qp + probe)))
    if config.crf is not None:
        return dataclasses.replace(plain, crf=max(0.0, min(float(MAX_QP), config.crf + probe)))
    assert config.bitrate is not None
    return dataclasses.replace(plain, bitrate=max(1, round(config.bitrate * 2 ** (-probe / 6))))


def describe(config: CodingConfig) -> str:
    """One short phrase for progress lines: codec, arm and rate point."""
    rate = (
        f"QP {config.qp}"
        if config.qp is not None
        else f"CRF {config.crf:g}"
        if config.crf is not None
        else f"{config.bitrate} kbit/s"
    )
    arm = "neutral" if config.neutral else config.rdo if config.map is None else f"map {config.map.name}"
    return f"{config.codec} {arm} {rate}"


def _with_side_info(
    source: FrameSource, track: MapTrack | None, advance: Callable[[int], None]
) -> Generator[tuple[Frame, SideInfo | None]]:
    for frame in source:
        yield frame, None if track is None else track.side_info(frame.index)
        advance(1)


def _sidecar(path: Path) -> Path:
    return path.with_suffix(".json")


def _save(stream: Bitstream) -> None:
    fields = {k: v for k, v in dataclasses.asdict(stream).items() if k != "path"}
    with replacing(_sidecar(stream.path)) as temporary:
        temporary.write_text(json.dumps({**fields, "made": time.time()}))


def _load(path: Path) -> Bitstream | None:
    try:
        fields = json.loads(_sidecar(path).read_text())
        complete = path.stat().st_size * 8 == fields["bits"]
    except (OSError, ValueError, KeyError):
        return None
    fields.pop("made", None)
    return Bitstream(path=path, **fields) if complete else None
