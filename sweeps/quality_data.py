"""Coded pictures with their full-reference quality: what the no-reference predictor of seed 003 learns from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.atomic import replacing
from encoder_bridge.config import CodingConfig
from encoder_bridge.errors import ConfigError
from encoder_bridge.source_images import find_images, natural_key, read_rgb
from rdo_metrics.dct_ratio import DctRatio
from sweeps.object_codecs import code_video, through_420

Rgb = NDArray[np.uint8]
LEVELS: dict[str, tuple[int, ...]] = {
    "x264": (23, 29, 35, 41, 47),
    "x265": (27, 32, 37, 42, 47),
    "jpeg": (50, 20, 10, 5, 2),
}
"""The paper's constant rate factors, QPs, JPEG qualities, from fine to coarse."""
SIZE = (320, 256)
"""Width and height of generated video."""
FIRST_SEED = 1000
TEST_SEED = 1900
_STILLS = 8
"""Pictures of a folder that are coded together."""


@dataclass(frozen=True)
class Way:
    """One way to code: ``name`` is short and unique, part of file names."""

    name: str
    config: CodingConfig


def ways(codecs: Sequence[str], gop: str = "randomaccess") -> list[Way]:
    """Every level of some codecs. Raises ConfigError for a codec without levels."""
    unknown = [name for name in codecs if name not in LEVELS]
    if unknown or not codecs:
        raise ConfigError(f"codec {unknown[0] if unknown else ''!r}; expected {', '.join(LEVELS)}")
    return [way for codec in codecs for way in _ways(codec, gop)]


def _ways(codec: str, gop: str) -> Iterator[Way]:
    for level in LEVELS[codec]:
        if codec == "x264":
            yield Way(f"x264-crf{level}", CodingConfig(codec=codec, preset="medium", gop=gop, crf=float(level)))
        elif codec == "x265":
            yield Way(f"x265-qp{level}", CodingConfig(codec=codec, preset="medium", gop=gop, qp=level))
        else:
            yield Way(f"jpeg-q{level}", CodingConfig(codec=codec, qp=level))


@dataclass(frozen=True)
class Clip:
    """Pictures that are coded together.

    Attributes:
        name: unique, part of file names.
        read: gives the originals, (T, H, W, 3) uint8 RGB.
        gop: how they are coded.
        keep: frames that are learned from: neighbours in a video look alike.
    """

    name: str
    read: Callable[[], Rgb]
    gop: str
    keep: slice


def generated(seed: int, count: int, frames: int) -> list[Clip]:
    """Clips of streets seen by a camera that stands still, every fourth frame kept."""
    from models.objects.streets import street_video

    def read(street: int) -> Callable[[], Rgb]:
        return lambda: street_video(street, frames, SIZE).images

    return [Clip(f"street-{seed + i}", read(seed + i), "randomaccess", slice(None, None, 4)) for i in range(count)]


def from_folder(folder: Path, limit: int | None = None) -> list[Clip]:
    """Pictures of a folder, coded in groups as stills; odd sides lose their last row or column.

    Raises ConfigError for a folder without pictures.
    """
    files = sorted(find_images(str(folder)) if folder.is_dir() else [], key=lambda path: natural_key(str(path)))
    if not files:
        raise ConfigError(f"no pictures in {folder}; expected a folder of images")
    files = files[:: max(1, len(files) // limit)][:limit] if limit else files
    groups = [files[i : i + _STILLS] for i in range(0, len(files), _STILLS)]
    return [Clip(f"pictures-{i:04d}", _reader(group), "intra", slice(None)) for i, group in enumerate(groups)]


def _reader(files: Sequence[Path]) -> Callable[[], Rgb]:
    def read() -> Rgb:
        pictures = [read_rgb(path) for path in files]
        strange = next((f for f, p in zip(files, pictures, strict=True) if p.shape != pictures[0].shape), None)
        if strange is not None:
            raise ConfigError(f"{strange}: another size than {files[0].name}; expected pictures of one size")
        return np.stack([p[: p.shape[0] // 2 * 2, : p.shape[1] // 2 * 2] for p in pictures])

    return read


@dataclass(frozen=True)
class Coded:
    """Coded pictures of one or more clips.

    Attributes:
        pictures: (H, W, 3) uint8 RGB each.
        targets: (N,) float64 DCT ratio, higher is worse.
        ways: (N,) name of each one's coding.
    """

    pictures: list[Rgb]
    targets: NDArray[np.float64]
    ways: NDArray[np.str_]


class QualityMaker:
    """Codes clips and measures every kept frame; files that are there already are not made again.

    Args:
        folder: where they go.
        metric: the full-reference metric.
        codecs: see ``LEVELS``.
        share: each clip is coded in every ``share``-th way, the first at its own place.
    """

    def __init__(self, folder: Path, metric: DctRatio, codecs: Sequence[str], share: int = 1) -> None:
        if share < 1:
            raise ConfigError(f"every {share}th way; expected at least 1")
        ways(codecs)
        self.folder, self._metric, self._codecs, self._share = folder, metric, tuple(codecs), share

    def make(self, clips: Sequence[Clip], advance: Callable[[int], None]) -> Coded:
        """All clips; ``advance`` is called with 1 after each. Raises what encoders and the network raise."""
        self.folder.mkdir(parents=True, exist_ok=True)
        parts: list[tuple[str, dict[str, NDArray[Any]]]] = []
        for index, clip in enumerate(clips):
            parts += self._clip(clip, index)
            advance(1)
        pictures = [picture for _, arrays in parts for picture in arrays["pictures"]]
        targets = np.concatenate([arrays["targets"] for _, arrays in parts])
        names = np.concatenate([np.full(len(arrays["targets"]), name) for name, arrays in parts])
        return Coded(pictures, targets, names)

    def _clip(self, clip: Clip, index: int) -> Iterator[tuple[str, dict[str, NDArray[Any]]]]:
        originals: Rgb | None = None
        for way in ways(self._codecs, clip.gop)[index % self._share :: self._share]:
            path = self.folder / f"{clip.name}-{way.name}.npz"
            if not path.is_file():
                originals = through_420(clip.read()) if originals is None else originals
                self._code(originals, clip.keep, way, path)
            with np.load(path) as arrays:
                yield way.name, dict(arrays)

    def _code(self, originals: Rgb, keep: slice, way: Way, path: Path) -> None:
        coded = code_video(originals, way.config)[keep]
        targets = self._metric(originals[keep], coded)
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, pictures=coded, targets=targets)
