"""x264 (AVC): frames in as Y4M on stdin, elementary stream out on stdout, QP offsets through the plugin.

x264 adds a QP offset to a block only while adaptive quantisation is on, and turns that off for ``--qp``. A fixed QP is
therefore said as ``--crf QP --qcomp 1`` with an AQ strength too small to move a QP, in every arm: each block then has
exactly that QP, plus its offset where there is a map.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import ClassVar

from encoder_bridge import toolchain
from encoder_bridge.config import CodingConfig, RunOptions
from encoder_bridge.encoder import ENCODERS, Bitstream, BuildInfo, Judge, SideInfo
from encoder_bridge.errors import ConfigError
from encoder_bridge.feeding import y4m_feed
from encoder_bridge.frames import MATRIX_NAMES, Frame, VideoFormat
from encoder_bridge.hosted import HostedRun
from encoder_bridge.quality import QualityScale
from encoder_bridge.side import grouped

PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo")
QUALITY = QualityScale(low=1)
"""QP 0 is lossless coding in x264, which knows no offsets."""
_RANGE_NAMES = {"limited": "tv", "full": "pc"}
_CHROMA_NAMES = {"400": "i400", "420": "i420", "422": "i422", "444": "i444"}
# By code point; x264 takes only names, and has none for a reserved or unspecified one but "undef".
_PRIMARIES = {
    **{1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film", 9: "bt2020"},
    **{10: "smpte428", 11: "smpte431", 12: "smpte432"},
}
_TRANSFERS = {
    **{1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "linear", 9: "log100", 10: "log316"},
    **{11: "iec61966-2-4", 12: "bt1361e", 13: "iec61966-2-1", 14: "bt2020-10", 15: "bt2020-12", 16: "smpte2084"},
    **{17: "smpte428", 18: "arib-std-b67"},
}
_GOP_ARGS = {
    "intra": ("--keyint", "1"),
    "lowdelay": ("--keyint", "infinite", "--no-scenecut", "--bframes", "0"),
    "randomaccess": (
        *("--keyint", "32", "--no-scenecut", "--bframes", "7", "--b-adapt", "0", "--b-pyramid", "normal"),
        *("--rc-lookahead", "20"),
    ),
}
# What a configuration or the wrapper itself sets; given twice, the stream would not be what the record says.
_OWNED = {
    *("--qp", "-q", "--crf", "--bitrate", "-B", "--preset", "--tune", "--output", "-o", "--output-depth", "--demuxer"),
    *("--muxer", "--output-csp", "--input-csp", "--input-depth", "--input-res", "--fps", "--keyint", "-I"),
    *("--bframes", "-b", "--threads", "--lookahead-threads", "--frames", "--seek", "--pass", "-p", "--stats"),
    *("--aq-mode", "--aq-strength", "--mbtree", "--qcomp", "--qpmax", "--qpmin", "--range", "--input-range"),
    *("--sliced-threads", "--non-deterministic", "--vf", "--video-filter", "--qpfile", "--index", "--dump-yuv"),
}
_FATAL = ("x264 [error]", "x264_encoder_open failed")
# psy tools, AQ and macroblock tree move bits by rules of their own; a comparison of RDO needs them off in every arm.
_COMMON_ARGS = (
    *("--no-psy", "--aq-mode", "1", "--aq-strength", "0.000001", "--no-mbtree", "--ipratio", "1", "--pbratio", "1"),
    *("--no-progress", "--log-level", "warning"),
)
# Motion vectors, lookahead and rate control depend on the number of threads, and x264 writes it into the stream.
_THREADS = ("--threads", "2", "--lookahead-threads", "1")
# From --subme 10 on, x264 chooses the QP of a block itself.
_QP_SEARCH = ("veryslow", "placebo")


@ENCODERS.register("x264")
class X264:
    """AVC by x264, hooked (`mrdo build x264`) or any x264 on the PATH for plain encodes.

    ``RunOptions.threads`` has no effect: two frame threads, whatever the machine.
    """

    codec: ClassVar[str] = "h264"
    suffix: ClassVar[str] = ".264"
    presets: ClassVar[tuple[str, ...]] = PRESETS
    quality: ClassVar[QualityScale] = QUALITY
    monochrome: ClassVar[bool] = False
    """libav shows 8-bit monochrome AVC as 4:2:0 anyway."""

    def build_info(self, config: CodingConfig) -> BuildInfo:
        """The binary that would run; a hooked one when the configuration needs the plugin."""
        return toolchain.find_for("x264", config)

    def ctu_size(self, config: CodingConfig) -> int:
        """16: AVC codes macroblocks."""
        return 16

    def check(self, config: CodingConfig, fmt: VideoFormat) -> None:
        """ConfigError for a preset, QP, CRF, kind of side information or frame size that x264 does not take."""
        if config.preset not in PRESETS:
            raise ConfigError(f"x264: preset {config.preset!r}; expected one of {', '.join(PRESETS)}")
        if config.qp is not None:
            QUALITY.check("x264", config.qp)
        if config.crf is not None and not QUALITY.low <= config.crf <= QUALITY.high:
            raise ConfigError(f"x264: CRF {config.crf} outside {QUALITY.low}–{QUALITY.high}")
        owned = [word for word in config.extra if word.partition("=")[0].replace("--no-", "--") in _OWNED]
        if owned:
            raise ConfigError(f"x264: --extra {' '.join(owned)}: set by mrdo itself; expected other x264 options")
        _check_side(config)
        if config.bitrate is not None and config.bitrate < 1:
            raise ConfigError(f"x264: bitrate {config.bitrate} kbit/s; expected at least 1")
        if config.bit_depth not in (8, 10):
            raise ConfigError(f"x264: bit depth {config.bit_depth}; expected 8 or 10")
        if min(fmt.width, fmt.height) < 16 or max(fmt.width, fmt.height) > 16384:
            raise ConfigError(f"x264: frame size {fmt.width}x{fmt.height}; expected 16x16 to 16384x16384")

    def command(self, config: CodingConfig, fmt: VideoFormat, options: RunOptions, binary: str) -> list[str]:
        """The x264 command line of a configuration, reading Y4M on stdin and writing the stream on stdout."""
        least = 6 * (config.bit_depth - 8)
        subme = ("--subme", "9") if config.preset in _QP_SEARCH else ()
        return [
            *(binary, "--demuxer", "y4m", "--muxer", "raw", "--output", "-", "--preset", config.preset),
            *("--output-depth", str(config.bit_depth), "--output-csp", _CHROMA_NAMES[fmt.chroma]),
            *("--qpmin", str(least), "--qpmax", str(least + QUALITY.high)),
            *(*_GOP_ARGS[config.gop], *_COMMON_ARGS, *subme, *_rate_args(config), *_colour_args(fmt), *_THREADS),
            *(*config.extra, "-"),
        ]

    def encode(
        self,
        frames: Iterable[tuple[Frame, SideInfo | None]],
        fmt: VideoFormat,
        config: CodingConfig,
        options: RunOptions,
        output: Path,
        judge: Judge | None = None,
    ) -> Bitstream:
        """See ``Encoder.encode``. With rdo "map", or neutral, the plugin host runs for the time of the encode."""
        self.check(config, fmt)
        build = self.build_info(config)
        command = self.command(config, fmt, options, build.path)
        change = partial(_in_groups, 16 if config.map is None else config.map.group)
        run = HostedRun(command, build, config, options, judge, fatal=_FATAL)
        return run.write(partial(y4m_feed, frames, fmt, change=change), output, self.codec)


def _in_groups(group: int, side: SideInfo) -> SideInfo:
    if side.qp_offset is None:
        return side
    return dataclasses.replace(side, qp_offset=grouped(side.qp_offset, group))


def _check_side(config: CodingConfig) -> None:
    if config.ctu is not None:
        raise ConfigError(f"x264: --rdo {config.rdo}; expected psnr or map: x264 takes QP offsets, and no candidates")
    if config.map is not None and (config.map.weights or not config.map.qp_map):
        raise ConfigError("x264: a map of distortion weights; expected a QP map alone, as x264 takes QP offsets only")


def _rate_args(config: CodingConfig) -> tuple[str, ...]:
    if config.qp is not None:
        return ("--crf", str(config.qp), "--qcomp", "1")
    if config.crf is not None:
        return ("--crf", f"{config.crf:g}")
    return ("--bitrate", str(config.bitrate))


def _colour_args(fmt: VideoFormat) -> tuple[str, ...]:
    range_ = _RANGE_NAMES[fmt.range]
    return (
        *("--input-range", range_, "--range", range_, "--colormatrix", MATRIX_NAMES[fmt.matrix]),
        *("--colorprim", _PRIMARIES.get(fmt.primaries, "undef"), "--transfer", _TRANSFERS.get(fmt.transfer, "undef")),
    )
