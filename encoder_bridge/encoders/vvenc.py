"""VVenC (VVC): frames in as Y4M on stdin, elementary stream out on stdout, side information through the plugin.

Odd sizes are coded with the last column or row repeated (see ``padding``).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

from encoder_bridge import toolchain
from encoder_bridge.config import CandidateConfig, CodingConfig, RunOptions
from encoder_bridge.encoder import ENCODERS, Bitstream, BuildInfo, Judge, SideInfo
from encoder_bridge.errors import ConfigError
from encoder_bridge.feeding import y4m_feed
from encoder_bridge.frames import MATRIX_CODES, Frame, VideoFormat
from encoder_bridge.hosted import HostedRun, quant_group

PRESETS = ("faster", "fast", "medium", "slow", "slower")
MAX_QP = 63
_GOP: dict[str, dict[str, object]] = {
    "intra": {"IntraPeriod": 1},
    "lowdelay": {"IntraPeriod": -1, "GOPSize": 8, "PicReordering": 0, "POC0IDR": 1, "DecodingRefreshType": "none"},
    "randomaccess": {"IntraPeriod": 32, "GOPSize": 32, "DecodingRefreshType": "idr"},
}
# What moves bits by rules of its own, or what one arm of a comparison would have and another not (design §4).
_COMPARABLE = {"PerceptQPA": 0, "MCTF": 0, "BIM": 0, "IntraQPOffset": 0, "GOPQPA": 0, "STA": 0}
# FFmpeg's vector code for this loop filter at 8 bit differs from its own C code and from VVenC: pictures would drift.
_SAFE_AT_8_BIT = {"ALF": 0, "CCALF": 0}
# One kind of parallel work whatever the number of threads, for the stream depends on the kind.
_PARALLEL = {"MTProfile": 0, "WaveFrontSynchro": 0, "IFP": 0}
# What a configuration or the wrapper itself sets; given twice, the stream would not be what the record says.
_OWNED = {
    *("i", "input", "inputfile", "o", "output", "b", "bitrate", "bitstreamfile", "reconfile", "c", "s", "size", "y4m"),
    *("q", "qp", "preset", "t", "threads", "f", "frames", "framestobeencoded", "frameskip", "fs", "targetbitrate"),
    *("passes", "numpasses", "p", "pass", "rcstatsfile", "internal-bitdepth", "internalbitdepth", "ip", "intraperiod"),
    *("rs", "refreshsec", "g", "gopsize", "picreordering", "poc0idr", "rt", "refreshtype", "dr", "decodingrefreshtype"),
    *("v", "verbosity", "version", "help", "h", "fullhelp", "fps", "format", "writeconfig"),
}
_ADDITIONAL = "--additional"
_LARGE_CTU, _SMALL_CTU, _SMALL_CTU_PRESETS = 128, 64, ("faster", "fast")


@ENCODERS.register("vvenc")
class VVenC:
    """VVC by VVenC: any 1.x for plain encodes, 1.14.0 with our hook for the rest. "lowdelay" is B of past pictures."""

    codec: ClassVar[str] = "vvc"
    suffix: ClassVar[str] = ".266"
    presets: ClassVar[tuple[str, ...]] = PRESETS

    def build_info(self, config: CodingConfig) -> BuildInfo:
        """The binary that would run; a hooked one when the configuration needs the plugin."""
        return toolchain.find_for("vvenc", config)

    def ctu_size(self, config: CodingConfig) -> int:
        """128, or 64 with the fastest presets, unless ``CTUSize`` says otherwise."""
        said = _settings(config.extra).get("ctusize", "")
        return int(said) if said.isdigit() else _SMALL_CTU if config.preset in _SMALL_CTU_PRESETS else _LARGE_CTU

    def check(self, config: CodingConfig, fmt: VideoFormat) -> None:
        """ConfigError for a preset, QP, CRF, group, candidates or frame size that VVenC does not take."""
        if config.preset not in PRESETS:
            raise ConfigError(f"vvenc: preset {config.preset!r}; expected one of {', '.join(PRESETS)}")
        if config.crf is not None:
            raise ConfigError(f"vvenc: CRF {config.crf:g}, which VVenC does not have; expected --qp or --bitrate")
        if config.qp is not None and not 0 <= config.qp <= MAX_QP:
            raise ConfigError(f"vvenc: QP {config.qp} outside 0–{MAX_QP}")
        if config.bitrate is not None and config.bitrate < 1:
            raise ConfigError(f"vvenc: bitrate {config.bitrate} kbit/s; expected at least 1")
        if config.bitrate is not None and config.gop == "intra":
            raise ConfigError("vvenc: --bitrate with --gop intra, which VVenC does not control; expected --qp")
        owned = [word for word in _settings(config.extra) if word in _OWNED]
        if owned:
            raise ConfigError(f"vvenc: --extra {' '.join(owned)}: set by mrdo itself; expected other VVenC options")
        if config.bit_depth not in (8, 10):
            raise ConfigError(f"vvenc: bit depth {config.bit_depth}; expected 8 or 10")
        if fmt.width > 8192 or fmt.height > 4320 or min(fmt.width, fmt.height) < 16:
            raise ConfigError(f"vvenc: frame size {fmt.width}x{fmt.height}; expected 16x16 to 8192x4320")
        if fmt.chroma not in ("400", "420"):
            raise ConfigError(f"vvenc: chroma format {fmt.chroma}; expected 420 or 400")
        if config.ctu is not None:
            _check_candidates(config.ctu)

    def command(self, config: CodingConfig, fmt: VideoFormat, options: RunOptions, binary: str) -> list[str]:
        """The command line of a configuration, reading Y4M on stdin and writing the stream on stdout.

        ``vvencFFapp`` and ``vvencapp`` share all option names but the one of the stream.
        """
        stream = "-b" if "FFapp" in Path(binary).name else "-o"
        threads = -1 if options.threads is None else max(1, options.threads)
        words, added = _split(config.extra)
        settings = {**_GOP[config.gop], **_COMPARABLE, **_PARALLEL, **_depth(config), **_colour(fmt)}
        text = [f"{key}={value}" for key, value in settings.items()]
        return [
            *(binary, "--preset", config.preset, "-v", "1", "--y4m", "-i", "-", stream, "/dev/stdout"),
            *("-t", str(threads), *_rate_args(config)),
            *(_ADDITIONAL, ":".join([*text, *_rate_settings(config), *added]), *words),
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
        run = HostedRun(command, build, config, options, judge, quant_group(config))
        return run.write(partial(y4m_feed, frames, fmt), output, self.codec)


def _check_candidates(ctu: CandidateConfig) -> None:
    if ctu.splits:
        raise ConfigError(f"vvenc: judged splits down to {ctu.splits}, which VVenC's hook has not; expected 0")
    least = max(candidate.min_cu for candidate in ctu.candidates)
    if least:
        raise ConfigError(f"vvenc: candidates with CUs of at least {least}, which VVenC's hook has not; expected 0")


def _split(extra: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Words as they are, and the "key=value" texts of every ``--additional``."""
    words, added, rest = [], [], iter(extra)
    for word in rest:
        name, equals, value = word.partition("=")
        if name == _ADDITIONAL:
            added += (value if equals else next(rest, "")).replace(" ", ":").split(":")
        else:
            words.append(word)
    return words, [text for text in added if text]


def _settings(extra: tuple[str, ...]) -> dict[str, str]:
    """Option names in lower case and without dashes, with their values."""
    words, added = _split(extra)
    parts = [part for word in words for part in word.split("=", 1)]
    named = [(name, value) for name, value in pairwise([*parts, ""]) if name.startswith("-")]
    named += [(text.partition("=")[0], text.partition("=")[2]) for text in added]
    return {name.lstrip("-").lower(): value for name, value in named}


def _depth(config: CodingConfig) -> dict[str, object]:
    return {"InternalBitDepth": config.bit_depth, **(_SAFE_AT_8_BIT if config.bit_depth == 8 else {})}


def _rate_args(config: CodingConfig) -> tuple[str, ...]:
    return () if config.qp is None else ("-q", str(config.qp))


def _rate_settings(config: CodingConfig) -> tuple[str, ...]:
    """One pass: a second would have to read its input again."""
    return ("LookAhead=0",) if config.bitrate is None else (f"TargetBitrate={config.bitrate}k", "Passes=1")


def _colour(fmt: VideoFormat) -> dict[str, object]:
    described = {
        "ColourPrimaries": fmt.primaries,
        "TransferCharacteristics": fmt.transfer,
        "MatrixCoefficients": MATRIX_CODES[fmt.matrix],
        "Range": fmt.range,
    }
    return described if fmt.sar == 1 else {**described, "Sar": f"{fmt.sar.numerator}x{fmt.sar.denominator}"}
