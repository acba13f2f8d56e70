"""From a source and a configuration to a stream: first pass, map, judge, encode; kept and reused by identity."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.atomic import replacing
from encoder_bridge.config import CandidateConfig, CodingConfig, RunOptions
from encoder_bridge.console import Reporter
from encoder_bridge.decode import decode_stream
from encoder_bridge.encoder import Bitstream, BuildInfo, SideInfo, codes_monochrome, quality_of
from encoder_bridge.encoders import ENCODERS
from encoder_bridge.errors import DecodeError
from encoder_bridge.frames import Frame, FrameSource, VideoFormat
from encoder_bridge.judging import guarded
from encoder_bridge.padding import pad_frame, padded_format
from encoder_bridge.transform import gray_source, resize_source
from sweeps.arrayfile import read_frames
from sweeps.candidates import CandidateJudge, Listener, OnFrame
from sweeps.judges import JudgeMaker
from sweeps.maps import LiveTrack, MapMaker, MapTrack
from sweeps.pseudo import pseudo_labels
from sweeps.records import rate_point
from sweeps.scoring import match_planes
from sweeps.workspace import Workspace

ANCHOR = "psnr"
NEUTRAL = "neutral"


@dataclass(frozen=True)
class Encoded:
    """A stream and what it cost.

    Attributes:
        stream: the elementary stream.
        build: the encoder that made it.
        first_pass_s: seconds of the plain encode a map was computed from; 0 without one.
        map_s: seconds spent on the map before the encode, networks included; 0 without one, and where it was computed
            inside the encode, whose seconds then hold it.
        judging: what judging candidates cost, see ``CandidateJudge.summary``; empty without any.
        track: the side information; None without a map.
    """

    stream: Bitstream
    build: BuildInfo
    first_pass_s: float = 0.0
    map_s: float = 0.0
    judging: dict[str, float] = field(default_factory=dict)
    track: MapTrack | None = None

    @property
    def judge_s(self) -> float:
        """Seconds of the encode in which candidates were judged, networks included; 0 without any."""
        return self.judging.get("judge_s", 0.0)


@dataclass(frozen=True)
class Coder:
    """Encodes into a workspace; what is there already is not made again.

    Attributes:
        workspace: where streams and maps are kept.
        options: threads, timeout, device.
        reporter: progress.
        maker: computes maps; None allows no map.
        judges: makes judges of candidates; None allows none.
    """

    workspace: Workspace
    options: RunOptions
    reporter: Reporter
    maker: MapMaker | None = None
    judges: JudgeMaker | None = None

    def encode(self, source: FrameSource, config: CodingConfig, on_frame: OnFrame | None = None) -> Encoded:
        """The stream of ``source`` coded as ``config`` says. Raises what the encoder, the map and the judge raise.

        ``on_frame`` hears of each finished frame; a stream that is kept already is then made again.
        """
        encoder = ENCODERS.get(config.codec)()
        build = encoder.build_info(config)
        coded = self.coded(source, config)
        encoder.check(config, coded.format)
        path = self.workspace.stream(self.identity(source, config, build), encoder.suffix)
        first = self._first_pass(source, config)
        kept = _load(path) if on_frame is None else None
        track = self._track(source, first, config, inside=kept is None)
        if kept is None:
            kept = self._encode(coded, _Sides(config, track), first, path, on_frame)
            _save(*kept)
        stream, judging = kept
        track = track.kept() if isinstance(track, LiveTrack) else track
        times = (0.0 if first is None else first.encode_s, 0.0 if track is None else track.seconds)
        return Encoded(stream, build, *times, judging, track)

    def check(self, source: FrameSource, config: CodingConfig) -> None:
        """Raise now what a run of this configuration would raise after hours: settings, binary, map."""
        encoder = ENCODERS.get(config.codec)()
        encoder.check(config, self.coded_format(source, config))
        encoder.build_info(config)
        if config.map is not None and self.maker is not None:
            self.maker.prepare(config.map)
        if config.ctu is not None and self.judges is not None:
            self.judges.prepare(config.ctu)

    def coded(self, source: FrameSource, config: CodingConfig) -> FrameSource:
        """The source as it is coded: at its size, and without colours where that is asked for."""
        shown = self.seen(source, config)
        return resize_source(shown, config.scale) if config.scale != 1 else shown

    def seen(self, source: FrameSource, config: CodingConfig) -> FrameSource:
        """The source as a network would see it uncoded: at its own size, without colours where that is asked for."""
        if not config.gray:
            return source
        return gray_source(source, "400" if codes_monochrome(config.codec) else "420")

    def coded_format(self, source: FrameSource, config: CodingConfig) -> VideoFormat:
        """Format of the pictures in the stream: the source's, resized, and 4:0:0 where only luma is coded."""
        return self.coded(source, config).format

    def identity(self, source: FrameSource, config: CodingConfig, build: BuildInfo) -> dict[str, object]:
        """Everything that determines the stream."""
        return {"input": source.digest(), "config": config.as_dict(), "build": build.key(), **self.judged_by(config)}

    def judged_by(self, config: CodingConfig) -> dict[str, str | None]:
        """Digests of the networks and files that say what matters, as far as ``config`` names any."""
        driver = self.maker.identity(config.map) if self.maker is not None and config.map is not None else None
        if self.judges is None or config.ctu is None:
            return {"driver": driver}
        return {"driver": driver, "judge": self.judges.identity(config.ctu)}

    def _first_pass(self, source: FrameSource, config: CodingConfig) -> Bitstream | None:
        """The plain encode that maps and judges look at: one for both, a map's where it wants one."""
        if config.map is not None and self._maker.needs_first_pass(config.map):
            return self.encode(source, first_pass(config, self._maker.probe(config.map))).stream
        if config.ctu is not None and self._judges.needs_base(config.ctu):
            return self.encode(source, first_pass(config, max(0, coarsest_step(config.ctu)))).stream
        return None

    def _track(
        self, source: FrameSource, first: Bitstream | None, config: CodingConfig, inside: bool
    ) -> MapTrack | LiveTrack | None:
        """Maps, computed now, or ``inside`` the encode where that can be."""
        if config.map is None:
            return None
        own = first if self._maker.needs_first_pass(config.map) else None
        identity: dict[str, object] = (
            {"input": source.digest(), "scale": config.scale, "gray": config.gray}
            if own is None
            else {"first_pass": own.path.name}
        )
        seen = self.seen(source, config)
        live = self._maker.live(seen.format, config, identity, self.workspace) if inside else None
        decoded = None if own is None else own.path
        return live or self._maker.track(seen, decoded, config, identity, self.workspace, self.reporter)

    def _encode(
        self, coded: FrameSource, sides: _Sides, first: Bitstream | None, path: Path, on_frame: OnFrame | None
    ) -> tuple[Bitstream, dict[str, float]]:
        """The stream and what judging cost."""
        config = sides.config
        judge = (
            None if config.ctu is None else self._judges.judge(config, judged_format(coded.format, config), on_frame)
        )
        encoder = ENCODERS.get(config.codec)()
        judging = None if judge is None else self._judging(judge, coded, first, config, encoder.ctu_size(config))
        with (
            self.reporter.task(f"encode {describe(config)}", coded.frame_count) as advance,
            closing(_feed(coded, sides, judging, advance)) as feed,
        ):
            listener = Listener(on_frame) if judge is None and on_frame is not None else judge
            stream = encoder.encode(feed, coded.format, config, self.options, path, judge=listener)
        return stream, {} if judge is None else judge.summary()

    def _judging(
        self, judge: CandidateJudge, coded: FrameSource, first: Bitstream | None, config: CodingConfig, ctu: int
    ) -> _Judging:
        labels, driver = None, self._judges.driver
        if judge.wants_labels and driver is not None and padded_format(coded.format) is coded.format:
            labels = read_frames(pseudo_labels(coded, driver, self.workspace, self.reporter))
        base = None if first is None else decode_stream(first.path)
        return _Judging(
            judge,
            base,
            labels,
            ctu if self._tells_harm(config) else None,
            judged_format(coded.format, config),
            self.options.timeout_s,
        )

    def _tells_harm(self, config: CodingConfig) -> bool:
        """Whether the first pass is no finer than the coarsest candidate: it shows where that one does no harm."""
        assert config.ctu is not None
        if config.map is None or not self._maker.needs_first_pass(config.map):
            return config.map is None
        return self._maker.probe(config.map) >= coarsest_step(config.ctu)

    @property
    def _maker(self) -> MapMaker:
        assert self.maker is not None
        return self.maker

    @property
    def _judges(self) -> JudgeMaker:
        assert self.judges is not None
        return self.judges


@dataclass(frozen=True)
class _Sides:
    """What an encoder is told of each frame: the map's part and the candidates."""

    config: CodingConfig
    track: MapTrack | LiveTrack | None

    def follow(self, source: FrameSource) -> Generator[tuple[Frame, SideInfo | None]]:
        """Each frame and the map's part."""
        return ((frame, None) for frame in source) if self.track is None else self.track.follow(source)

    def with_candidates(self, side: SideInfo | None, mask: NDArray[np.uint16] | None) -> SideInfo | None:
        """The map's part and the candidates."""
        spec = self.config.ctu
        if spec is None:
            return side
        return dataclasses.replace(
            side or SideInfo(),
            candidates=spec.candidates,
            candidate_mask=mask,
            judge_splits=spec.splits,
            choose_by_sse=spec.internal,
        )


@dataclass(frozen=True)
class _Judging:
    """A judge and what it is told of each frame.

    Attributes:
        judge: who is asked.
        base: the first pass, where there is one.
        labels: (T, H, W) pseudo-ground truth of the coded source, where the judge wants it.
        ctu: side of a CTU; None where the first pass is too fine to tell which of them need no judge.
        fmt: the judge's format.
        timeout_s: a judge that takes longer to get ready has stalled.
    """

    judge: CandidateJudge
    base: FrameSource | None
    labels: NDArray[Any] | None
    ctu: int | None
    fmt: VideoFormat
    timeout_s: float


def plain(config: CodingConfig) -> CodingConfig:
    """The same coding by the encoder's own rules alone."""
    return dataclasses.replace(config, rdo="psnr", map=None, ctu=None, neutral=False)


def first_pass(config: CodingConfig, probe: int) -> CodingConfig:
    """The plain encode that maps and judges look at: ``probe`` QP steps coarser, a sixth of an octave in rate each."""
    scale = quality_of(config.codec)
    if config.qp is not None:
        return dataclasses.replace(plain(config), qp=scale.coarser(config.qp, probe))
    if config.crf is not None:
        return dataclasses.replace(plain(config), crf=max(0.0, min(float(scale.high), config.crf + probe)))
    assert config.bitrate is not None
    return dataclasses.replace(plain(config), bitrate=max(1, round(config.bitrate * 2 ** (-probe / 6))))


def coarsest_step(config: CandidateConfig) -> int:
    """QP steps by which the coarsest candidate is coarser than the CTU's own QP."""
    return round(max(candidate.delta_qp for candidate in config.candidates))


def describe(config: CodingConfig) -> str:
    """One short phrase for progress lines: codec, arm and rate point."""
    return f"{config.codec} {arm_name(config)} {rate_point(vars(config))}{' gray' if config.gray else ''}"


def arm_name(config: CodingConfig) -> str:
    """Short name of how decisions are made: "psnr", "neutral", "map:kl", "ctu:task/16" (splits judged), or both."""
    if config.neutral:
        return NEUTRAL
    parts = [] if config.map is None else [f"map:{_base_name(config.map.name)}"]
    if config.ctu is not None:
        inside = " inside" if config.ctu.internal else ""
        splits = f"/{config.ctu.splits}" if config.ctu.splits else ""
        parts.append(f"ctu:{_base_name(config.ctu.metric)}{splits}{inside}")
    return "+".join(parts) or ANCHOR


def _base_name(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def judged_format(fmt: VideoFormat, config: CodingConfig) -> VideoFormat:
    """Format of the pictures inside the encoder, where its candidates are judged: padded, at the coding depth."""
    return dataclasses.replace(padded_format(fmt), bit_depth=config.bit_depth)


def _feed(
    source: FrameSource, sides: _Sides, judging: _Judging | None, advance: Callable[[int], None]
) -> Generator[tuple[Frame, SideInfo | None]]:
    """Frames and what is told of them; the judge knows a frame before the encoder can ask about it."""
    bases = iter(()) if judging is None or judging.base is None else iter(judging.base)
    with closing(sides.follow(source)) as followed:
        for frame, side in followed:
            mask = None if judging is None else _open(judging, frame, source.format, next(bases, None))
            yield frame, sides.with_candidates(side, mask)
            advance(1)


def _open(judging: _Judging, frame: Frame, fmt: VideoFormat, coded: Frame | None) -> NDArray[np.uint16] | None:
    """Introduce a frame to the judge; which candidates it wants to be asked about."""
    base, judge = judging.base, judging.judge
    if base is not None and coded is None:
        raise DecodeError(f"the first pass ends before frame {frame.index}; expected as many frames as the input")
    padded = pad_frame(frame, padded_format(fmt)).planes
    original = match_planes(padded, padded_format(fmt), judging.fmt)
    known = None if coded is None or base is None else match_planes(coded.planes, base.format, judging.fmt)
    labels = None if judging.labels is None else judging.labels[frame.index]

    def introduce() -> NDArray[np.uint16] | None:
        judge.open(frame.index, original, known, labels)
        return None if judging.ctu is None else judge.mask(frame.index, judging.ctu)

    return guarded(introduce, f"frame {frame.index}", judging.timeout_s)


def _sidecar(path: Path) -> Path:
    return path.with_suffix(".json")


def _save(stream: Bitstream, judging: dict[str, float]) -> None:
    fields = {k: v for k, v in dataclasses.asdict(stream).items() if k != "path"}
    with replacing(_sidecar(stream.path)) as temporary:
        temporary.write_text(json.dumps({**fields, "judging": judging, "made": time.time()}))


def _load(path: Path) -> tuple[Bitstream, dict[str, float]] | None:
    try:
        fields = json.loads(_sidecar(path).read_text())
        complete = path.stat().st_size * 8 == fields["bits"]
    except (OSError, ValueError, KeyError):
        return None
    fields.pop("made", None)
    judging: dict[str, float] = fields.pop("judging", {})
    return (Bitstream(path=path, **fields), judging) if complete else None
