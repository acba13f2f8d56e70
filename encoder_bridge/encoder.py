"""What every encoder offers, and the values that pass through it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.config import Candidate, CodingConfig, RunOptions
from encoder_bridge.frames import Frame, VideoFormat
from encoder_bridge.quality import QP_51, QP_63, QualityScale
from encoder_bridge.registry import Registry

if TYPE_CHECKING:
    from encoder_bridge.host import FrameRecord
    from encoder_bridge.wire import ChoiceCall


@dataclass(frozen=True)
class SideInfo:
    """What a plugin tells the encoder about one frame; a part that is None is absent.

    Attributes:
        weight: (ceil(H/8), ceil(W/8)) float32, distortion weight of each 8×8 luma block, mean 1.
        qp_offset: (ceil(H/16), ceil(W/16)) float32, QP offset of each 16×16 luma block.
        lambda_scale: factor on the frame's λ.
        candidates: ways to code a CTU, at most 16; empty turns level B off.
        candidate_mask: (ctu rows, ctu columns) uint16, bit k allows candidate k in that CTU; None allows all.
        judge_splits: side of the smallest CU whose split decision is judged (16, 32, 64); 0 for none.
        choose_by_sse: the encoder judges by its own squared error and asks nobody; a control.
    """

    weight: NDArray[np.float32] | None = None
    qp_offset: NDArray[np.float32] | None = None
    lambda_scale: float = 1.0
    candidates: tuple[Candidate, ...] = ()
    candidate_mask: NDArray[np.uint16] | None = None
    judge_splits: int = 0
    choose_by_sse: bool = False


@dataclass(frozen=True)
class BuildInfo:
    """Identity of an encoder binary; part of every run's key.

    Attributes:
        name, version: as the encoder reports itself.
        path: the binary (not hashed into keys).
        hooked: whether our hook is compiled in; abi and patch_hash are 0 and "" when not.
        abi: plugin ABI version.
        patch_hash: first 16 hex digits of the SHA-256 over patches and hook sources.
        depth: sample depths this build codes.
    """

    name: str
    version: str
    path: str
    hooked: bool
    abi: int
    patch_hash: str
    depth: tuple[int, ...] = (8,)

    def key(self) -> dict[str, object]:
        """The parts that name a build wherever it lies."""
        return {"name": self.name, "version": self.version, "abi": self.abi, "patch": self.patch_hash}


@dataclass(frozen=True)
class Bitstream:
    """A finished elementary stream.

    Attributes:
        path: the file.
        codec: PyAV decoder name ("hevc", "h264", "vvc", …).
        bits: size of the whole file in bits.
        frames: pictures coded.
        encode_s: wall time of the encode in seconds, side information excluded.
    """

    path: Path
    codec: str
    bits: int
    frames: int
    encode_s: float


class Judge(Protocol):
    """Who answers an encoder's level B. Called from threads of the plugin host.

    ``judge`` is called from one thread at a time, or from as many as an attribute ``workers`` says.
    """

    def judge(self, calls: Sequence[ChoiceCall]) -> Sequence[Sequence[float]]:
        """For each call one distortion per trial, in squared-error units; the least distortion + rate cost wins."""

    def frame_done(self, record: FrameRecord) -> None:
        """The encoder has finished a frame: ``record.call.poc`` will not be asked about again."""


class Encoder(Protocol):
    """One codec. Register the class: ``@ENCODERS.register("x265")``.

    Attributes:
        codec: PyAV decoder name of its streams.
        suffix: file name ending of its elementary streams.

    A class may also have, and is taken to have what stands in brackets where it does not:
        quality: QualityScale, what ``--qp`` means (QP 0–51, 0–63 in VVC); see ``quality_of``.
        presets: names that ``--preset`` takes ("slow").
        default_preset: one of them ("slow" where it is one, else the first); see ``default_preset_of``.
        monochrome: whether it codes 4:0:0 (True); grey pictures are 4:2:0 with flat chroma where it does not.
        pads: whether odd sizes are coded with the last row or column repeated (True); see ``padding``.
        hidden: not named to users (False).
    """

    codec: ClassVar[str]
    suffix: ClassVar[str]

    def build_info(self, config: CodingConfig) -> BuildInfo:
        """The binary that would run. Raises ToolNotFoundError with the command that brings it."""

    def ctu_size(self, config: CodingConfig) -> int:
        """Side of the largest block that is coded as one (CTU, macroblock), in luma samples."""

    def check(self, config: CodingConfig, fmt: VideoFormat) -> None:
        """Raises ConfigError where this codec cannot code ``fmt`` as ``config`` says."""

    def encode(
        self,
        frames: Iterable[tuple[Frame, SideInfo | None]],
        fmt: VideoFormat,
        config: CodingConfig,
        options: RunOptions,
        output: Path,
        judge: Judge | None = None,
    ) -> Bitstream:
        """Encode a stream of frames; ``output`` appears only when the whole stream is finished.

        ``judge`` answers for the candidates that the frames' side information asks for, and hears of finished frames.
        Raises EncoderError, EncoderTimeout, PluginError, OutputError.
        """


ENCODERS: Registry[type[Encoder]] = Registry("encoder")
_PRESET = "slow"


def quality_of(codec: str) -> QualityScale:
    """What ``--qp`` means to a registered encoder. ConfigError for an unknown one."""
    encoder = _class_of(codec)
    scale: QualityScale = getattr(encoder, "quality", QP_63 if encoder.codec == "vvc" else QP_51)
    return scale


def default_preset_of(codec: str) -> str:
    """The preset of a registered encoder where none is asked for. ConfigError for an unknown one."""
    encoder = _class_of(codec)
    presets: Sequence[str] = getattr(encoder, "presets", (_PRESET,))
    return str(getattr(encoder, "default_preset", _PRESET if _PRESET in presets else presets[0]))


def codes_monochrome(codec: str) -> bool:
    """Whether a registered encoder codes 4:0:0. ConfigError for an unknown one."""
    return bool(getattr(_class_of(codec), "monochrome", True))


def pads(codec: str) -> bool:
    """Whether a registered encoder codes odd sizes one sample larger. ConfigError for an unknown one."""
    return bool(getattr(_class_of(codec), "pads", True))


def _class_of(codec: str) -> type[Encoder]:
    from encoder_bridge import encoders  # taking the registry from there registers them all

    return encoders.ENCODERS.get(codec)
