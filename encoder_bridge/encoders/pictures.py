"""What encoders of single pictures share: every frame is coded by itself, in this process, one after the other."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar

import numpy as np

from encoder_bridge.atomic import replacing
from encoder_bridge.config import CodingConfig, RunOptions
from encoder_bridge.encoder import Bitstream, BuildInfo, Judge, SideInfo
from encoder_bridge.errors import ConfigError, EncoderError
from encoder_bridge.frames import Frame, Plane, VideoFormat
from encoder_bridge.quality import QualityScale

PRESET = "slow"
"""They have no presets; the default name stands for the only way there is."""

CodePicture = Callable[[tuple[Plane, ...], SideInfo | None], bytes]


class PictureEncoder(ABC):
    """All-intra by nature: one self-contained picture a frame, one after the other in the file.

    Attributes:
        name: as it is registered.
        chromas: chroma formats it takes.
        depths: sample depths it codes.
        rdo: ways to decide it offers.
        largest: of width and height.
    """

    name: ClassVar[str]
    codec: ClassVar[str]
    suffix: ClassVar[str]
    quality: ClassVar[QualityScale]
    presets: ClassVar[tuple[str, ...]] = (PRESET,)
    chromas: ClassVar[tuple[str, ...]] = ("400", "420", "422", "444")
    depths: ClassVar[tuple[int, ...]] = (8,)
    rdo: ClassVar[tuple[str, ...]] = ("psnr",)
    largest: ClassVar[int] = 65500
    pads: ClassVar[bool] = False

    @abstractmethod
    def build_info(self, config: CodingConfig) -> BuildInfo:
        """The library that would run."""

    @abstractmethod
    def coder(self, fmt: VideoFormat, config: CodingConfig) -> CodePicture:
        """What codes a picture's planes, at the coding depth, to bytes."""

    def ctu_size(self, config: CodingConfig) -> int:
        """16: the samples that a chroma block stands for."""
        return 16

    def check(self, config: CodingConfig, fmt: VideoFormat) -> None:
        """ConfigError for what single pictures cannot be coded with: other rates, structures, depths or sizes."""
        if config.qp is None:
            raise ConfigError(
                f"{self.name}: no constant rate factor or bit rate; expected --qp, its {self.quality.name}"
            )
        self.quality.check(self.name, config.qp)
        self._expect("preset", config.preset, self.presets)
        self._expect("gop", config.gop, ("intra",))
        self._expect("rdo", config.rdo, self.rdo)
        self._expect("bit depth", config.bit_depth, self.depths, f", as with --bit-depth {self.depths[0]}")
        self._expect("chroma format", fmt.chroma, self.chromas)
        if config.extra:
            raise ConfigError(
                f"{self.name}: --extra {' '.join(config.extra)}; expected none, it has no further options"
            )
        if max(fmt.width, fmt.height) > self.largest:
            raise ConfigError(
                f"{self.name}: frame size {fmt.width}x{fmt.height}; expected at most {self.largest}x{self.largest}"
            )

    def encode(
        self,
        frames: Iterable[tuple[Frame, SideInfo | None]],
        fmt: VideoFormat,
        config: CodingConfig,
        options: RunOptions,
        output: Path,
        judge: Judge | None = None,
    ) -> Bitstream:
        """See ``Encoder.encode``. No process runs, so nothing can hang; ``judge`` hears nothing."""
        self.check(config, fmt)
        code = self.coder(fmt, config)
        count, bits, seconds = 0, 0, 0.0
        with replacing(output) as temporary, temporary.open("wb") as sink:
            for frame, side in frames:
                began = time.monotonic()
                planes = tuple(to_depth(plane, fmt.bit_depth, config.bit_depth) for plane in frame.planes)
                bits += 8 * sink.write(code(planes, None if config.neutral else side))
                count += 1
                seconds += time.monotonic() - began
            if not count:
                raise EncoderError([self.name], 0, "", reason="was given no frame")
        return Bitstream(output, self.codec, bits, count, seconds)

    def _expect(self, what: str, value: object, allowed: tuple[object, ...], fix: str = "") -> None:
        if value not in allowed:
            raise ConfigError(f"{self.name}: {what} {value!r}; expected {' or '.join(map(str, allowed))}{fix}")


def to_depth(plane: Plane, given: int, wanted: int) -> Plane:
    """Samples at another depth: shifted up, or rounded down to what there is room for."""
    if given == wanted:
        return plane
    if given < wanted:
        return np.asarray(plane.astype(np.uint16) << (wanted - given), np.uint16)
    rounded = (plane.astype(np.uint32) + (1 << (given - wanted - 1))) >> (given - wanted)
    return np.asarray(np.minimum(rounded, (1 << wanted) - 1), np.uint8 if wanted == 8 else np.uint16)
