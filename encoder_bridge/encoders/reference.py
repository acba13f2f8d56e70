"""HM and VTM, the reference encoders of HEVC and VVC: they read files, are told all by options, and share their log.

They are anchors: their own configuration files decide how they code, and they take no side information.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from encoder_bridge import toolchain
from encoder_bridge.atomic import replacing
from encoder_bridge.config import CodingConfig, RunOptions
from encoder_bridge.encoder import Bitstream, BuildInfo, Judge, SideInfo
from encoder_bridge.errors import ConfigError, EncoderError, OutputError, ToolNotFoundError
from encoder_bridge.feeding import plane_feed
from encoder_bridge.frames import MATRIX_CODES, Frame, VideoFormat
from encoder_bridge.hosted import HostedResult, HostedRun
from encoder_bridge.padding import padded_format
from encoder_bridge.quality import QualityScale
from encoder_bridge.workfiles import WorkFiles, work_folder

PRESET = "ctc"
"""They have no presets; the name stands for the configuration files of the common test conditions, as they are."""
INTRA_PERIOD = 32
"""Pictures from one random access point to the next, as every encoder here has them."""
_CFG_LEVELS_UP = 5
_INPUT, _COUNT, _STREAM = "input.yuv", "frames.cfg", "stream.bin"
_WRITTEN = re.compile(r"Bytes written to file: (\d+)")
_OWNED_SHORT = {"-c", "-i", "-b", "-o", "-q", "-f", "-wdt", "-hgt", "-fr", "-fs", "-ts", "-ip", "-cf", "-vui"}
_OWNED = {
    *("InputFile", "BitstreamFile", "ReconFile", "QP", "FramesToBeEncoded", "SourceWidth", "SourceHeight"),
    *("FrameRate", "FrameSkip", "TemporalSubsampleRatio", "IntraPeriod", "InputBitDepth", "InternalBitDepth"),
    *("InputChromaFormat", "ChromaFormatIDC", "ConformanceWindowMode", "Level", "Profile"),
}
# ITU-T H.265 and H.266, table A.1 and A.2: level, largest picture and samples per second of the luma plane.
_LEVELS = (
    *(("2", 122_880, 3_686_400), ("2.1", 245_760, 7_372_800), ("3", 552_960, 16_588_800)),
    *(("3.1", 983_040, 33_177_600), ("4", 2_228_224, 66_846_720), ("4.1", 2_228_224, 133_693_440)),
    *(("5", 8_912_896, 267_386_880), ("5.1", 8_912_896, 534_773_760), ("5.2", 8_912_896, 1_069_547_520)),
    *(("6", 35_651_584, 1_069_547_520), ("6.1", 35_651_584, 2_139_095_040), ("6.2", 35_651_584, 4_278_190_080)),
)


@dataclass(frozen=True)
class Reference:
    """What tells one reference encoder from the other.

    Attributes:
        name: of the tool, "vtm".
        min_side: narrowest picture.
        cfg: configuration file's name by gop and coding depth.
        profile: of a chroma format and coding depth.
        ctu: side of a CTU in those files.
    """

    name: str
    min_side: int
    cfg: dict[tuple[str, int], str]
    profile: dict[tuple[str, int], str]
    ctu: int


class ReferenceEncoder:
    """Encoder of a ``Reference``; see ``encoder_bridge.encoder.Encoder``."""

    codec: ClassVar[str]
    suffix: ClassVar[str]
    presets: ClassVar[tuple[str, ...]] = (PRESET,)
    quality: ClassVar[QualityScale]
    reference: ClassVar[Reference]

    def build_info(self, config: CodingConfig) -> BuildInfo:
        """The binary that would run; its version names the configuration file, too, by eight digits of its SHA-256.

        Raises ToolNotFoundError where program or file is missing.
        """
        info = toolchain.find(self.reference.name, config.bit_depth)
        digest = hashlib.sha256(self.cfg_file(config, info.path).read_bytes()).hexdigest()
        return dataclasses.replace(info, version=f"{info.version} cfg {digest[:8]}")

    def ctu_size(self, config: CodingConfig) -> int:
        """Side of a CTU in the configuration files."""
        return self.reference.ctu

    def check(self, config: CodingConfig, fmt: VideoFormat) -> None:
        """ConfigError for what these encoders do not take: a rate instead of a QP, presets, side information."""
        name, known = self.reference.name, self.reference
        if config.needs_plugin:
            asked = "the neutral arm" if config.neutral else f"--rdo {config.rdo}"
            wanted = "--rdo psnr --no-neutral" if config.neutral else "--rdo psnr"
            raise ConfigError(f"{name}: {asked}; it is an anchor without our hook: expected {wanted}")
        if config.qp is None:
            raise ConfigError(f"{name}: expected --qp; a rate or a quality factor it does not take here")
        self.quality.check(name, config.qp)
        if config.preset != PRESET:
            raise ConfigError(f"{name}: preset {config.preset!r}; expected {PRESET}: its own configuration files")
        if (config.gop, config.bit_depth) not in known.cfg:
            raise ConfigError(f"{name}: bit depth {config.bit_depth}; expected 8 or 10")
        _check_size(name, known.min_side, fmt)
        _check_extra(name, config.extra)

    def cfg_file(self, config: CodingConfig, binary: str) -> Path:
        """Configuration file of a picture structure: in ``MRDO_<NAME>_CFG``, or in ``cfg`` beside or above the binary.

        Raises ToolNotFoundError naming that variable.
        """
        file = self.reference.cfg[config.gop, config.bit_depth]
        variable = f"MRDO_{self.reference.name.upper()}_CFG"
        place = Path(binary).resolve().parent
        wanted = os.environ.get(variable)
        above = [up / "cfg" for up in (place, *place.parents)]
        for folder in [Path(wanted)] if wanted else above[: _CFG_LEVELS_UP + 1]:
            if (folder / file).is_file():
                return folder / file
        looked = wanted or f"{above[0]} and the folders above"
        raise ToolNotFoundError(f"no {file} in {looked}; set {variable} to the cfg folder of {binary}'s source tree")

    def command(self, config: CodingConfig, fmt: VideoFormat, binary: str) -> list[str]:
        """Command line that codes raw planes, to be run where they and the number of pictures lie."""
        period = (f"--IntraPeriod={INTRA_PERIOD}",) if config.gop == "randomaccess" else ()
        profile = self.reference.profile.get((fmt.chroma, config.bit_depth))
        return [
            *(str(Path(binary).absolute()), "-c", str(self.cfg_file(config, binary)), "-c", _COUNT),
            *("-i", _INPUT, "-b", _STREAM, "--ReconFile=", f"--QP={config.qp}"),
            *(f"--SourceWidth={fmt.width}", f"--SourceHeight={fmt.height}", f"--InputChromaFormat={fmt.chroma}"),
            *(f"--InputBitDepth={fmt.bit_depth}", f"--InternalBitDepth={config.bit_depth}"),
            *("--ConformanceWindowMode=1", "--TemporalSubsampleRatio=1"),
            *(f"--FrameRate={max(1, round(fmt.fps))}", f"--Level={level(fmt)}", *period),
            *((f"--Profile={profile}",) if profile else ()),
            *(*self.own_options(), *_colour_options(fmt), *config.extra),
        ]

    def own_options(self) -> tuple[str, ...]:
        """Options only one of the two knows."""
        return ()

    def encode(
        self,
        frames: Iterable[tuple[Frame, SideInfo | None]],
        fmt: VideoFormat,
        config: CodingConfig,
        options: RunOptions,
        output: Path,
        judge: Judge | None = None,
    ) -> Bitstream:
        """See ``Encoder.encode``. All frames are written to a temporary folder before the program starts.

        ``options.threads`` has no effect: neither program codes in parallel.
        """
        self.check(config, fmt)
        build, coded = self.build_info(config), padded_format(fmt)
        command = self.command(config, coded, build.path)
        with replacing(output) as temporary, temporary.open("wb") as sink, work_folder(options.workdir) as folder:

            def prepare(count: int) -> None:
                (folder / _COUNT).write_text(f"FramesToBeEncoded : {count}\n")

            files = WorkFiles(folder, _INPUT, _STREAM, prepare)
            run = HostedRun(command, build, config, options, judge, files=files)
            result = run(partial(plane_feed, frames, fmt), sink)
            _verify(result, command)
        return Bitstream(output, self.codec, result.written * 8, result.frames, result.seconds)


def level(fmt: VideoFormat) -> str:
    """Lowest level that takes the pictures' size and rate; HEVC's and VVC's limits are the same."""
    samples = fmt.width * fmt.height
    for name, largest, rate in _LEVELS:
        if samples <= largest and max(fmt.width, fmt.height) ** 2 <= 8 * largest and samples * fmt.fps <= rate:
            return name
    return _LEVELS[-1][0]


def _verify(result: HostedResult, command: Sequence[str]) -> None:
    """Raise unless the program came to its end and all it wrote has arrived, of which it does not know itself."""
    said = _WRITTEN.search(result.stderr)
    if said is None:
        raise EncoderError(command, 0, result.stderr, reason="ended before its stream was finished")
    if result.written != int(said[1]):
        raise OutputError(f"cannot write the stream: {result.written} of {said[1]} bytes arrived; disk full?")


def _check_size(name: str, least: int, fmt: VideoFormat) -> None:
    if min(fmt.width, fmt.height) < least or fmt.width > 8192 or fmt.height > 4320:
        raise ConfigError(f"{name}: frame size {fmt.width}x{fmt.height}; expected {least}x{least} to 8192x4320")


def _check_extra(name: str, extra: Sequence[str]) -> None:
    owned = [w for w in extra if w.partition("=")[0].lstrip("-") in _OWNED or w.partition("=")[0] in _OWNED_SHORT]
    if owned:
        raise ConfigError(f"{name}: --extra {' '.join(owned)}: set by mrdo itself; expected other options")


def _colour_options(fmt: VideoFormat) -> tuple[str, ...]:
    sar = (
        ()
        if fmt.sar == 1
        else (
            *("--AspectRatioInfoPresent=1", "--AspectRatioIdc=255"),
            *(f"--SarWidth={fmt.sar.numerator}", f"--SarHeight={fmt.sar.denominator}"),
        )
    )
    return (
        *("--VuiParametersPresent=1", f"--VideoFullRange={int(fmt.range == 'full')}", "--ColourDescriptionPresent=1"),
        *(f"--ColourPrimaries={fmt.primaries}", f"--TransferCharacteristics={fmt.transfer}"),
        *(f"--MatrixCoefficients={MATRIX_CODES[fmt.matrix]}", *sar),
    )
