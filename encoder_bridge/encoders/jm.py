"""JM (AVC): lencod reads a configuration file and raw planes and writes files, all in a temporary folder.

Odd sizes are coded with the last column or row repeated (see ``padding``).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from encoder_bridge import toolchain
from encoder_bridge.atomic import replacing
from encoder_bridge.config import CandidateConfig, CodingConfig, RunOptions
from encoder_bridge.encoder import ENCODERS, Bitstream, BuildInfo, Judge, SideInfo
from encoder_bridge.encoders.jm_config import CONFIG_KEYS, PRESETS, config_text, macroblocks
from encoder_bridge.errors import ConfigError, EncoderError
from encoder_bridge.feeding import plane_feed
from encoder_bridge.frames import Frame, VideoFormat
from encoder_bridge.hosted import HostedResult, HostedRun
from encoder_bridge.side import grouped
from encoder_bridge.workfiles import WorkFiles, work_folder

MAX_QP = 51
MACROBLOCK = 16
MAX_TRIALS = 9
"""Ways to code a macroblock, as many as JM's own loop over QPs takes."""
LARGEST = 139_264
"""Macroblocks of a picture at AVC's highest level."""
_CONFIG, _INPUT, _STREAM = "encoder.cfg", "input.yuv", "stream.264"
_TOTALS = re.compile(r"Total Frames:\s*(\d+)")
_BITS = re.compile(r"Total bits\s*:\s*(\d+)")
_UNKNOWN = re.compile(r"Parameter Name \S+ not recognized")
_SETTING = re.compile(r"(\w+)=\S*")
# With these a macroblock is coded in another picture structure, twice, or at a QP of the encoder's own choosing.
_NOT_WITH_SIDE = {
    *("MbInterlace", "PicInterlace", "RDPictureDecision", "LosslessCoding", "SliceMode", "UseRDOQuant", "RDOQ_QP_Num"),
    *("RDOptimization", "CtxAdptLagrangeMult", "Grayscale", "num_slice_groups_minus1", "NumberOfViews"),
}


@ENCODERS.register("jm")
class JM:
    """AVC by JM 19: any lencod for plain encodes, a patched one (``patches/jm-19.1``) for side information."""

    codec: ClassVar[str] = "h264"
    suffix: ClassVar[str] = ".264"
    presets: ClassVar[tuple[str, ...]] = tuple(PRESETS)
    monochrome: ClassVar[bool] = False  # FFmpeg shows its 4:0:0 as 4:2:0

    def build_info(self, config: CodingConfig) -> BuildInfo:
        """The binary that would run; a hooked one when the configuration needs the plugin."""
        return toolchain.find_for("jm", config)

    def ctu_size(self, config: CodingConfig) -> int:
        """16: a macroblock."""
        return MACROBLOCK

    def check(self, config: CodingConfig, fmt: VideoFormat) -> None:
        """ConfigError for a preset, rate, chroma format, candidates or frame size that this driver does not take."""
        if config.preset not in PRESETS:
            raise ConfigError(f"jm: preset {config.preset!r}; expected one of {', '.join(PRESETS)}")
        if config.qp is None:
            raise ConfigError("jm: expected --qp; it is driven at a fixed QP only")
        if not 0 <= config.qp <= MAX_QP:
            raise ConfigError(f"jm: QP {config.qp} outside 0–{MAX_QP}")
        if config.bit_depth not in (8, 10):
            raise ConfigError(f"jm: bit depth {config.bit_depth}; expected 8 or 10")
        if fmt.chroma not in ("420", "400"):
            raise ConfigError(f"jm: chroma format 4:{fmt.chroma[1]}:{fmt.chroma[2]}; expected 4:2:0 or 4:0:0")
        if config.bit_depth != 8 and fmt.chroma == "400":
            raise ConfigError("jm: 4:0:0 at 10 bit, which JM writes in a way FFmpeg does not read; expected 8 bit")
        if config.preset == "main" and (config.bit_depth != 8 or fmt.chroma != "420"):
            raise ConfigError(
                "jm: preset 'main' with 10 bit or 4:0:0, which need High profiles; expected --preset high"
            )
        if min(fmt.width, fmt.height) < MACROBLOCK or macroblocks(fmt) > LARGEST or max(fmt.width, fmt.height) > 16880:
            raise ConfigError(
                f"jm: frame size {fmt.width}x{fmt.height}; expected 16x16 to what AVC's highest level takes (8192x4352)"
            )
        _check_extra(config)
        if config.ctu is not None:
            _check_candidates(config, config.ctu)

    def command(self, config: CodingConfig, binary: str) -> list[str]:
        """lencod's command line, to be run in the folder of the configuration file."""
        return [str(Path(binary).absolute()), "-d", _CONFIG, *config.extra]

    def encode(
        self,
        frames: Iterable[tuple[Frame, SideInfo | None]],
        fmt: VideoFormat,
        config: CodingConfig,
        options: RunOptions,
        output: Path,
        judge: Judge | None = None,
    ) -> Bitstream:
        """See ``Encoder.encode``. All frames are written to a temporary folder, and published, before JM starts.

        ``options.threads`` has no effect: JM codes one macroblock after the other.
        """
        self.check(config, fmt)
        build = self.build_info(config)
        command = self.command(config, build.path)
        with replacing(output) as temporary, temporary.open("wb") as sink, work_folder(options.workdir) as folder:

            def prepare(count: int) -> None:
                (folder / _CONFIG).write_text(config_text(config, fmt, count, _INPUT, _STREAM))

            files = WorkFiles(folder, _INPUT, _STREAM, prepare)
            run = HostedRun(command, build, config, options, judge, files=files)
            result = run(partial(plane_feed, frames, fmt, change=partial(in_groups, group=_group(config))), sink)
            _verify(result, command)
        return Bitstream(output, self.codec, result.written * 8, result.frames, result.seconds)


def in_groups(side: SideInfo, group: int) -> SideInfo:
    """The side information with one QP offset, their mean, for the 16×16 blocks of each ``group``.

    A macroblock has a QP of its own; a group is several with the same. Weights that stand beside the offsets are what
    remains once an offset acts, so they change as it does.
    """
    if side.qp_offset is None or group <= MACROBLOCK:
        return side
    offset = grouped(side.qp_offset, group)
    if side.weight is None:
        return dataclasses.replace(side, qp_offset=offset)
    rows, columns = side.weight.shape
    moved = np.repeat(np.repeat(offset - side.qp_offset, 2, axis=0), 2, axis=1)[:rows, :columns]
    weight = (side.weight * np.exp2(moved / 3)).astype(np.float32)
    return dataclasses.replace(side, qp_offset=offset, weight=weight)


def _group(config: CodingConfig) -> int:
    return config.map.group if config.map is not None and config.map.qp_map else MACROBLOCK


def _verify(result: HostedResult, command: list[str]) -> None:
    """EncoderError unless the log says that all frames were coded, and in as many bits as arrived at least."""
    unknown = _UNKNOWN.search(result.stderr)
    if unknown is not None:
        raise EncoderError(command, 0, result.stderr, reason=f"was told what it does not know: {unknown[0]}")
    result.verify(command)
    totals = _TOTALS.search(result.stderr)
    if totals is None or int(totals[1]) != result.frames:
        said = f"coded {totals[1]} of {result.frames} frames" if totals else "ended before its report"
        raise EncoderError(command, 0, result.stderr, reason=said)
    bits = _BITS.search(result.stderr)
    if bits is not None and result.written * 8 < int(bits[1]):
        reason = f"reported {bits[1]} bits and wrote {result.written * 8}; disk full?"
        raise EncoderError(command, 0, result.stderr, reason=reason)


def _check_extra(config: CodingConfig) -> None:
    """Only "-p NAME=VALUE" reaches lencod, one setting each: it would glue a second to the first."""
    settings = [_SETTING.fullmatch(word) for word in config.extra[1::2]]
    if len(config.extra) % 2 or set(config.extra[::2]) - {"-p"} or not all(settings):
        raise ConfigError(f"jm: --extra {' '.join(config.extra)!r}; expected '-p Name=Value', one -p for each")
    names = [match[1] for match in settings if match]
    owned = [name for name in names if name.lower() in CONFIG_KEYS]
    if owned:
        raise ConfigError(f"jm: --extra {' '.join(owned)}: set by mrdo itself; expected other lencod parameters")
    unfit = [name for name in names if name.lower() in {key.lower() for key in _NOT_WITH_SIDE}]
    if unfit and config.needs_plugin:
        raise ConfigError(f"jm: --extra {' '.join(unfit)} with --rdo {config.rdo}; leave it out, or use --rdo psnr")


def _check_candidates(config: CodingConfig, ctu: CandidateConfig) -> None:
    if ctu.splits or any(candidate.min_cu for candidate in ctu.candidates):
        raise ConfigError(f"jm: judged splits or smallest CUs with --rdo {config.rdo}; AVC has no coding tree")
    if len(ctu.candidates) > MAX_TRIALS:
        raise ConfigError(f"jm: {len(ctu.candidates)} candidates; expected at most {MAX_TRIALS}")
