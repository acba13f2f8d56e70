"""Training pictures as a network will see them: grey or not, scaled down, coded, decoded, scaled up (seed 001, fig. 1).

The pictures of a folder go through the encoder as one all-intra clip. Streams are kept, named by everything that
determines them, so nothing is coded twice; decoded pictures are kept for the last few configurations.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.color import planes_to_rgb, rgb_to_planes
from encoder_bridge.config import CodingConfig, RunOptions
from encoder_bridge.console import Reporter
from encoder_bridge.decode import decode_stream
from encoder_bridge.encoder import default_preset_of
from encoder_bridge.encoders import ENCODERS
from encoder_bridge.errors import ConfigError, DecodeError
from encoder_bridge.frames import Frame, FrameSource, VideoFormat
from encoder_bridge.source_base import BaseSource
from encoder_bridge.transform import scaled_size
from models.model_set import Configuration
from sweeps.arrayfile import read_frames, write_frames
from sweeps.coding import Coder
from sweeps.run_one import frame_bits
from sweeps.scoring import match_planes
from sweeps.workspace import Workspace, digest_of

Picture = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""
KEPT = 2


class DistortedFolder:
    """Distorted versions of a list of pictures.

    Args:
        images: (H, W, 3) uint8 RGB each; of one or several sizes.
        labels: (H, W) uint8 of each, 255 ignored.
        folder: where streams and decoded pictures are kept.
        preset: of the encoder.
        reporter: progress.
        threads: encoder threads.
        kept: configurations whose decoded pictures stay on disk.
    """

    def __init__(
        self,
        images: Sequence[Picture],
        labels: Sequence[NDArray[np.uint8]],
        folder: Path,
        preset: str,
        reporter: Reporter,
        threads: int | None = None,
        kept: int = KEPT,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.images, self.labels, self.preset, self.kept = images, labels, preset, kept
        self._decoded = folder / "decoded"
        self._decoded.mkdir(exist_ok=True)
        self._coder = Coder(Workspace(folder), RunOptions(threads=threads), reporter)
        self._open: dict[Configuration, _Arrays] = {}
        self._digest = _digest(images, labels, preset)

    def check(self, configurations: Sequence[Configuration]) -> None:
        """Raise now what a configuration would raise after hours.

        ConfigError for a codec without encoder, a quality or a size it does not take; ToolNotFoundError without binary.
        """
        for configuration in configurations:
            if not configuration.codec:
                continue
            config = coding_of(configuration, self.preset)
            for shape in sorted({image.shape[:2] for image in self.images}):
                self._coder.check(_Clip([np.zeros((*shape, 3), np.uint8)], configuration), config)

    def pictures(self, configuration: Configuration) -> Sequence[Picture]:
        """Every picture as it looks after ``configuration``, at its own size."""
        if configuration not in self._open:
            while len(self._open) >= max(1, self.kept):
                self._open.pop(next(iter(self._open))).drop()
            self._open[configuration] = self._make(configuration)
        return self._open[configuration]

    def frame_bits(self, configuration: Configuration) -> list[int]:
        """Bits of each picture's part of the stream, in the order of the pictures; they sum up to the streams' size."""
        config = coding_of(configuration, self.preset)
        bits = [0] * len(self.images)
        for indices in self._groups().values():
            stream = self._coder.encode(self._clip(indices, configuration), config).stream
            for index, size in zip(indices, frame_bits(stream.path, len(indices), stream.bits), strict=True):
                bits[index] = size
        return bits

    def digest(self) -> str:
        """SHA-256 hex of pictures, labels and preset."""
        return self._digest

    def _make(self, configuration: Configuration) -> _Arrays:
        if configuration.is_pristine and not configuration.gray:
            return _Arrays({(0, i): image for i, image in enumerate(self.images)}, [(0, i) for i in range(len(self))])
        arrays, places = {}, [(0, 0)] * len(self.images)
        for number, (shape, indices) in enumerate(self._groups().items()):
            path = self._decoded / f"{digest_of({'data': self._digest, 'as': configuration.name(), 'size': shape})}.npy"
            if not path.exists():
                write_frames(path, self._distorted(self._clip(indices, configuration), configuration))
            arrays[number] = path
            for position, index in enumerate(indices):
                places[index] = (number, position)
        return _Arrays.from_files(arrays, places)

    def __len__(self) -> int:
        return len(self.images)

    def _clip(self, indices: Sequence[int], configuration: Configuration) -> _Clip:
        return _Clip([self.images[i] for i in indices], configuration)

    def _distorted(self, clip: _Clip, configuration: Configuration) -> Iterator[Picture]:
        """The clip's pictures, coded and decoded, at their own size again."""
        source: FrameSource = clip
        if configuration.codec:
            config = coding_of(configuration, self.preset)
            source = decode_stream(self._coder.encode(clip, config).stream.path)
        height, width = clip.size
        count = 0
        for frame in source:
            planes = match_planes(frame.planes, source.format, clip.format)
            yield resize_bicubic(planes_to_rgb(planes, clip.format), width, height)
            count += 1
        if count != clip.frame_count:
            raise DecodeError(f"{configuration.name()}: {count} pictures decoded; expected {clip.frame_count}")

    def _groups(self) -> dict[tuple[int, int], list[int]]:
        """Indices of the pictures of each (H, W): a clip has one size."""
        groups: dict[tuple[int, int], list[int]] = {}
        for index, image in enumerate(self.images):
            groups.setdefault((image.shape[0], image.shape[1]), []).append(index)
        return groups


def coding_of(configuration: Configuration, preset: str) -> CodingConfig:
    """The all-intra coding of a configuration; the pictures are scaled before, bicubically, not by the coder.

    A codec without that preset is used with its own default.
    Raises ConfigError for a codec that has no encoder here.
    """
    if configuration.codec not in ENCODERS:
        raise ConfigError(
            f"codec {configuration.codec!r} has no encoder here, so its training pictures cannot be made; "
            f"expected one of {', '.join(ENCODERS.shown())}"
        )
    if configuration.quality != int(configuration.quality):
        raise ConfigError(f"{configuration.codec}: quality {configuration.quality:g}; expected a whole number")
    known = getattr(ENCODERS.get(configuration.codec), "presets", (preset,))
    chosen = preset if preset in known else default_preset_of(configuration.codec)
    return CodingConfig(codec=configuration.codec, preset=chosen, gop="intra", qp=int(configuration.quality))


def resize_bicubic(rgb: Picture, width: int, height: int) -> Picture:
    """Bicubic, the kernel widened where it shrinks; (H, W, 3) uint8 RGB."""
    if rgb.shape[:2] == (height, width):
        return rgb
    from PIL import Image

    resized = Image.fromarray(rgb).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(resized, np.uint8)


class _Clip(BaseSource):
    """Pictures of one size as a video at the configuration's scale; grey is BT.601 luma in 4:0:0."""

    def __init__(self, images: Sequence[Picture], configuration: Configuration) -> None:
        height, width = images[0].shape[:2]
        self.size = (height, width)
        matrix, chroma = ("bt601", "400") if configuration.gray else ("bt709", "420")
        fmt = VideoFormat(width, height, chroma=chroma, fps=Fraction(25), matrix=matrix)
        # A grey clip is scaled to even sizes as well, so that both branches code the same number of samples.
        even = VideoFormat(width, height)
        width, height = scaled_size(even, configuration.scale)
        fmt = VideoFormat(width, height, chroma=chroma, fps=fmt.fps, matrix=matrix)
        super().__init__("training pictures", fmt, len(images))
        self._images = images

    def __iter__(self) -> Iterator[Frame]:
        fmt = self.format
        for index, image in enumerate(self._images):
            planes = rgb_to_planes(resize_bicubic(image, fmt.width, fmt.height), fmt)
            yield Frame(planes, index, index / fmt.fps)


class _Arrays(Sequence[Picture]):
    """Pictures that lie in memory or in files mapped from disk."""

    def __init__(self, held: dict[Any, Any], places: list[tuple[int, int]], files: Sequence[Path] = ()) -> None:
        self._held, self._places, self._files = held, places, files

    @staticmethod
    def from_files(files: dict[int, Path], places: list[tuple[int, int]]) -> _Arrays:
        arrays = {number: read_frames(path) for number, path in files.items()}
        held = {place: arrays[place[0]][place[1]] for place in places}
        return _Arrays(held, places, list(files.values()))

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: Any) -> Any:
        return self._held[self._places[index]]

    def drop(self) -> None:
        """Take the files off the disk; arrays in use stay readable until they are let go."""
        for file in self._files:
            file.unlink(missing_ok=True)


def _digest(images: Sequence[Picture], labels: Sequence[NDArray[np.uint8]], preset: str) -> str:
    state = hashlib.sha256(preset.encode())
    for array in (*images, *labels):
        state.update(repr(array.shape).encode())
        state.update(np.ascontiguousarray(array).data)
    return state.hexdigest()
