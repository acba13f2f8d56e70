"""x265 (HEVC): frames in as Y4M on stdin, elementary stream out on stdout, side information through the plugin.

Odd sizes are coded with the last column or row repeated (see ``padding``).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import ClassVar

from encoder_bridge import toolchain
from encoder_bridge.config import CandidateConfig, CodingConfig, RunOptions
from encoder_bridge.encoder import ENCODERS, Bitstream, BuildInfo, Judge, SideInfo
from encoder_bridge.errors import ConfigError
from encoder_bridge.feeding import y4m_feed
from encoder_bridge.frames import MATRIX_NAMES, Frame, VideoFormat
from encoder_bridge.hosted import HostedRun, quant_group

PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo")
MAX_QP = 51
_GOP_ARGS = {
    "intra": ("--keyint", "1"),
    "lowdelay": ("--keyint", "-1", "--no-scenecut", "--bframes", "0"),
    "randomaccess": (
        *("--keyint", "32", "--no-scenecut", "--no-open-gop"),
        *("--bframes", "7", "--b-adapt", "0", "--rc-lookahead", "20"),
    ),
}
# What a configuration or the wrapper itself sets; given twice, the stream would not be what the record says.
_OWNED = {
    *("--qp", "-q", "--crf", "--bitrate", "--preset", "-p", "--tune", "-t", "--output", "-o", "--output-depth", "-D"),
    *("--input", "--y4m", "--input-res", "--fps", "--keyint", "-I", "--bframes", "-b", "--pools", "--frames", "-f"),
    *("--recon", "-r", "--csv", "--stats", "--pass", "--analysis-save", "--analysis-load", "--abr-ladder", "--seek"),
}
# With these a trial leaves traces outside its CTU, is coded twice, or is not what its QP says.
_NOT_WITH_CANDIDATES = {
    *("--nr-intra", "--nr-inter", "--dynamic-refine", "--rd-refine", "--opt-cu-delta-qp"),
    *("--multi-pass-opt-analysis", "--multi-pass-opt-distortion"),
}
_NOT_WITH_CANDIDATES_GROUPS = ("--analysis-", "--vbv-")
_FATAL = ("x265_encoder_open() failed", "Failure generating stream headers", "x265 [error]")
_SMALL_CTU = ("ultrafast", "superfast")
# psy tools, AQ and cuTree move bits by rules of their own; a comparison of RDO needs them off in every arm (design §4).
_COMMON_ARGS = (
    *("--psy-rd", "0", "--psy-rdoq", "0", "--aq-mode", "0", "--no-cutree", "--ipratio", "1"),
    *("--no-info", "--no-progress", "--log-level", "warning"),
)
# Left to itself x265 derives this from the machine's cores, and inter streams depend on it.
_FRAME_THREADS = 2


@ENCODERS.register("x265")
class X265:
    """HEVC by x265 3.5, hooked (`mrdo build x265`) or any x265 on the PATH for plain encodes."""

    codec: ClassVar[str] = "hevc"
    suffix: ClassVar[str] = ".hevc"
    presets: ClassVar[tuple[str, ...]] = PRESETS

    def build_info(self, config: CodingConfig) -> BuildInfo:
        """The binary that would run; a hooked one when the configuration needs the plugin."""
        return toolchain.find_for("x265", config)

    def ctu_size(self, config: CodingConfig) -> int:
        """64, or 32 with the fastest presets, unless ``--ctu`` says otherwise."""
        words = [word for text in config.extra for word in text.split("=", 1)]
        said = [words[i + 1] for i, word in enumerate(words[:-1]) if word in ("--ctu", "-s")]
        return int(said[-1]) if said and said[-1].isdigit() else 32 if config.preset in _SMALL_CTU else 64

    def check(self, config: CodingConfig, fmt: VideoFormat) -> None:
        """ConfigError for a preset, QP, CRF, group, candidates or frame size that x265 does not take."""
        if config.preset not in PRESETS:
            raise ConfigError(f"x265: preset {config.preset!r}; expected one of {', '.join(PRESETS)}")
        for name, value in (("QP", config.qp), ("CRF", config.crf)):
            if value is not None and not 0 <= value <= MAX_QP:
                raise ConfigError(f"x265: {name} {value} outside 0–{MAX_QP}")
        owned = [word for word in config.extra if word.partition("=")[0] in _OWNED]
        if owned:
            raise ConfigError(f"x265: --extra {' '.join(owned)}: set by mrdo itself; expected other x265 options")
        if config.map is not None and config.map.qp_map and config.map.group > 32 and config.preset in _SMALL_CTU:
            raise ConfigError(
                f"x265: quantisation group {config.map.group} with preset {config.preset}, whose CTUs are 32x32; "
                "expected --group 32 or 16"
            )
        if config.ctu is not None:
            _check_candidates(config, config.ctu)
        if config.bitrate is not None and config.bitrate < 1:
            raise ConfigError(f"x265: bitrate {config.bitrate} kbit/s; expected at least 1")
        if config.bit_depth not in (8, 10):
            raise ConfigError(f"x265: bit depth {config.bit_depth}; expected 8 or 10")
        if min(fmt.width, fmt.height) < 64 or fmt.width > 8192 or fmt.height > 4320:
            raise ConfigError(f"x265: frame size {fmt.width}x{fmt.height}; expected 64x64 to 8192x4320")

    def command(self, config: CodingConfig, fmt: VideoFormat, options: RunOptions, binary: str) -> list[str]:
        """The x265 command line of a configuration, reading Y4M on stdin and writing the stream on stdout."""
        rate = _rate_args(config)
        threads = () if options.threads is None else ("--pools", str(options.threads))
        return [
            *(binary, "--y4m", "--input", "-", "--output", "-", "--preset", config.preset),
            *("--output-depth", str(config.bit_depth), "--frame-threads", str(_FRAME_THREADS)),
            *(*_GOP_ARGS[config.gop], *_COMMON_ARGS, *rate, *_colour_args(fmt), *threads, *config.extra),
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
        """See ``Encoder.encode``. With any rdo but "psnr", or neutral, the plugin host runs for the time of the encode.

        Without a host ``judge`` hears nothing. One that has a method ``finished`` gets the host's counters at the end
        (``host.StatsListener``).
        """
        self.check(config, fmt)
        build = self.build_info(config)
        command = self.command(config, fmt, options, build.path)
        run = HostedRun(command, build, config, options, judge, quant_group(config), _FATAL)
        return run.write(partial(y4m_feed, frames, fmt), output, self.codec)


def _check_candidates(config: CodingConfig, ctu: CandidateConfig) -> None:
    words = [word.partition("=")[0] for word in config.extra]
    unfit = [w for w in words if w in _NOT_WITH_CANDIDATES or w.startswith(_NOT_WITH_CANDIDATES_GROUPS)]
    if unfit:
        raise ConfigError(f"x265: --extra {' '.join(unfit)} with --rdo {config.rdo}; leave it out, or use --rdo map")
    largest = max(ctu.splits, *(candidate.min_cu for candidate in ctu.candidates))
    if largest > 32 and config.preset in _SMALL_CTU:
        raise ConfigError(
            f"x265: candidates with CUs of {largest} and preset {config.preset}, whose CTUs are 32x32; "
            "expected 32, 16 or 8"
        )


def _rate_args(config: CodingConfig) -> tuple[str, ...]:
    if config.qp is not None:
        return ("--qp", str(config.qp))
    if config.crf is not None:
        return ("--crf", f"{config.crf:g}")
    return ("--bitrate", str(config.bitrate))


def _colour_args(fmt: VideoFormat) -> tuple[str, ...]:
    sar = () if fmt.sar == 1 else ("--sar", f"{fmt.sar.numerator}:{fmt.sar.denominator}")
    return (
        *("--range", fmt.range, "--colormatrix", MATRIX_NAMES[fmt.matrix]),
        *("--colorprim", str(fmt.primaries), "--transfer", str(fmt.transfer), *sar),
    )
