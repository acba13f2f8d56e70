"""Pictures coded in many ways with what a network makes of each: what a block metric is trained and judged on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from encoder_bridge.atomic import replacing
from encoder_bridge.color import planes_to_rgb
from encoder_bridge.config import CodingConfig, MapConfig, RunOptions
from encoder_bridge.console import Reporter
from encoder_bridge.decode import decode_stream
from encoder_bridge.errors import ConfigError, DecodeError
from encoder_bridge.frames import FrameSource
from encoder_bridge.source_base import SourceOptions
from encoder_bridge.source_images import ImageSource, find_images, natural_key
from models.task_model import TaskModel
from rdo_metrics.block_sampling import Block, BlockSampler, Population
from sweeps.arrayfile import read_frames, write_frames
from sweeps.coding import Coder
from sweeps.labels import LabelFolder
from sweeps.maps import MapMaker
from sweeps.scoring import match_planes
from sweeps.workspace import Workspace, digest_of

Arrays = NDArray[Any]
MAP = "kl"
"""Whose side information the family "x265-map" is coded with."""
SIDES = (32, 64, 128)
"""Block sizes of QoMEX 2023."""


@dataclass(frozen=True)
class Coding:
    """One way to code still pictures.

    Attributes:
        family: "x265", "x265-map" (side information from the map ``MAP``) or "jpeg".
        level: QP, or JPEG quality.
        preset: the encoder's.
    """

    family: str
    level: int
    preset: str = "slow"

    @property
    def name(self) -> str:
        """Short and unique, part of file names."""
        return f"{self.family}-{self.level}" + ("" if self.family == "jpeg" else f"-{self.preset}")


def codings(qps: Sequence[int], preset: str, map_qps: Sequence[int] = (), jpeg: Sequence[int] = ()) -> list[Coding]:
    """Every coding of the given levels."""
    plain = [Coding("x265", qp, preset) for qp in qps]
    mapped = [Coding("x265-map", qp, preset) for qp in map_qps]
    return [*plain, *mapped, *(Coding("jpeg", quality, "") for quality in jpeg)]


@dataclass(frozen=True)
class Stills:
    """Pictures of one size with labels beside them.

    Attributes:
        images: files.
        labels: label images in the same order, or None; values a network has no class for are void.
    """

    images: tuple[Path, ...]
    labels: LabelFolder | None = None

    @staticmethod
    def of(images: Path, labels: Path | None, step: int = 1) -> Stills:
        """Every ``step``-th picture of a folder in natural order. ConfigError where there are none or labels differ."""
        files = sorted(find_images(str(images)), key=lambda path: natural_key(str(path)))
        if not files:
            raise ConfigError(f"no pictures in {images}; expected a folder of images")
        if labels is None or not labels.is_dir():
            return Stills(tuple(files[::step]))
        beside = LabelFolder(labels)
        if len(beside) != len(files):
            raise ConfigError(f"{labels}: {len(beside)} label images for {len(files)} pictures in {images}")
        beside.files = beside.files[::step]
        return Stills(tuple(files[::step]), beside)

    def source(self, part: slice) -> ImageSource:
        """Some of the pictures as a video."""
        return ImageSource(self.images[part], SourceOptions(), "pictures")


@dataclass(frozen=True)
class CodedStills:
    """A folder of original pictures and their coded versions, all read from disk as they are needed.

    Attributes:
        folder: where they are.
        codings: in the order asked for.
        share: each picture is coded in every ``share``-th coding.
    """

    folder: Path
    codings: tuple[Coding, ...]
    share: int = 1

    @cached_property
    def originals(self) -> Arrays:
        """(M, H, W, 3) uint8 RGB."""
        return read_frames(self.folder / "originals.npy")

    @cached_property
    def original_labels(self) -> Arrays:
        """(M, H, W) uint8: the pseudo-ground truth."""
        return read_frames(self.folder / "original-labels.npy")

    @cached_property
    def known(self) -> Arrays:
        """(M, H, W) bool, false where the real ground truth has no label."""
        return read_frames(self.folder / "known.npy")

    def part(self, coding: int) -> slice:
        """Which pictures are coded in a coding."""
        return slice(coding % self.share, None, self.share)

    def coded(self, coding: int) -> Arrays:
        """(n, H, W, 3) uint8 RGB of the pictures of ``part``."""
        return read_frames(self.folder / f"{self.codings[coding].name}.npy")

    def labels(self, coding: int) -> Arrays:
        """(n, H, W) uint8: the network's labels of ``coded``."""
        return read_frames(self.folder / f"{self.codings[coding].name}-labels.npy")

    def items(self) -> Iterator[tuple[int, int, int]]:
        """(picture, coding, place in ``coded``) of every coded picture."""
        for coding in range(len(self.codings)):
            for place, picture in enumerate(range(len(self.originals))[self.part(coding)]):
                yield picture, coding, place

    @property
    def agreement(self) -> float:
        """Share of the pixels whose label is that of the original, over all coded pictures."""
        shares = [(self.labels(c) == self.original_labels[self.part(c)]).mean() for c in range(len(self.codings))]
        return float(np.mean(shares))


@dataclass(frozen=True)
class Maker:
    """Codes pictures and asks a network about them.

    Attributes:
        network: whose labels count.
        options: threads and the like.
        reporter: progress.
    """

    network: TaskModel
    options: RunOptions
    reporter: Reporter

    def make(self, stills: Stills, ways: Sequence[Coding], folder: Path, share: int = 1) -> CodedStills:
        """Code ``stills`` in every way into ``folder``; what is there from an earlier run is kept.

        Args:
            stills, ways: what and how.
            folder: for these pictures and this network alone.
            share: code each picture in every ``share``-th way, which gives the same variety for less.

        Raises ConfigError for a folder made from something else, and what encoder and network raise.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._claim(stills, folder, share)
        made = CodedStills(folder, tuple(ways), share)
        if not (folder / "known.npy").exists():
            self._originals(stills, folder)
        with self.reporter.task(f"coded pictures in {folder.name}", len(ways)) as advance:
            for index, way in enumerate(ways):
                if not (folder / f"{way.name}-labels.npy").exists():
                    self._code(stills, way, made.part(index), made.originals, folder)
                advance(1)
        return made

    def _claim(self, stills: Stills, folder: Path, share: int) -> None:
        names = [path.name for path in stills.images]
        identity = digest_of({"network": self.network.digest(), "images": names, "share": share})
        path = folder / "made-of.json"
        if not path.exists():
            with replacing(path) as temporary:
                temporary.write_text(json.dumps({"digest": identity, "network": self.network.name}))
        if json.loads(path.read_text())["digest"] != identity:
            raise ConfigError(f"{folder}: holds other pictures or another network's labels; give another output folder")

    def _originals(self, stills: Stills, folder: Path) -> None:
        source = stills.source(slice(None))
        pictures = (planes_to_rgb(frame.planes, source.format) for frame in source)
        write_frames(folder / "originals.npy", pictures)
        rgb = read_frames(folder / "originals.npy")
        self._label(rgb, folder / "original-labels.npy")
        count, everywhere = len(self.network.classes), np.ones(rgb.shape[1:3], np.bool_)
        known = (label < count for label in stills.labels) if stills.labels else (everywhere for _ in rgb)
        write_frames(folder / "known.npy", known)

    def _code(self, stills: Stills, way: Coding, part: slice, originals: Arrays, folder: Path) -> None:
        path = folder / f"{way.name}.npy"
        coded = jpeg(originals[part], way.level) if way.family == "jpeg" else self._encoded(stills, way, part, folder)
        count = write_frames(path, coded)
        if count != len(range(len(originals))[part]):
            raise DecodeError(f"{way.name}: {count} pictures decoded; expected {len(range(len(originals))[part])}")
        self._label(read_frames(path), folder / f"{way.name}-labels.npy")

    def _encoded(self, stills: Stills, way: Coding, part: slice, folder: Path) -> Iterator[Arrays]:
        source = stills.source(part)
        config = CodingConfig(codec="x265", preset=way.preset, gop="intra", qp=way.level)
        if way.family == "x265-map":
            config = replace(config, rdo="map", map=MapConfig(name=MAP))
        coder = Coder(Workspace(folder / "work"), self.options, self.reporter, MapMaker(self.network))
        yield from decoded(coder.encode(source, config).stream.path, source)

    def _label(self, rgb: Arrays, path: Path) -> None:
        write_frames(path, (self.network.labels(np.asarray(picture))[0] for picture in rgb))


def decoded(stream: Path, source: FrameSource) -> Iterator[Arrays]:
    """(H, W, 3) uint8 RGB of every frame of a stream, in the source's format."""
    coded = decode_stream(stream)
    for frame in coded:
        yield planes_to_rgb(match_planes(frame.planes, coded.format, source.format), source.format)


def jpeg(pictures: Arrays, quality: int) -> Iterator[Arrays]:
    """(H, W, 3) uint8 RGB pictures after baseline JPEG in 4:2:0."""
    for picture in pictures:
        good, data = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
        assert good
        yield np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[..., ::-1]


def sampled(made: CodedStills, side: int, count: int, seed: int = 0) -> list[Block]:
    """Blocks of pictures that are coded in every way, by the protocol of QoMEX 2023; empty ranges left out."""
    if made.share != 1:
        raise ConfigError(f"pictures coded in every {made.share}th way; expected all, for blocks of all of them")

    def agreement(picture: int, coding: int) -> NDArray[np.bool_]:
        return np.asarray(made.original_labels[picture] == made.labels(coding)[picture])

    everything = Population(len(made.originals), len(made.codings), agreement, lambda picture: made.known[picture])
    return BlockSampler(everything, side, seed=seed).draw(count, skip_empty=True)


def training_arrays(made: Sequence[CodedStills], blocks: int, seed: int = 0) -> dict[str, Arrays]:
    """What ``models.train.blocks.CodedPictures`` holds, from several folders of pictures of one size.

    Args:
        made: folders.
        blocks: how many are drawn of each size of ``SIDES``, by the protocol over all coded pictures.
        seed: of that.
    """
    first = np.cumsum([0, *(len(m.originals) for m in made)])
    items = [(m, int(offset), *item) for m, offset in zip(made, first, strict=False) for item in m.items()]
    join: Callable[[str], Arrays] = lambda name: np.concatenate([getattr(m, name) for m in made])  # noqa: E731
    arrays = {name: join(name) for name in ("originals", "original_labels", "known")}
    arrays["source"] = np.array([offset + picture for _, offset, picture, _, _ in items], np.int64)
    arrays["coded"] = np.stack([m.coded(coding)[place] for m, _, _, coding, place in items])
    arrays["coded_labels"] = np.stack([m.labels(coding)[place] for m, _, _, coding, place in items])
    arrays["blocks"] = np.concatenate([_drawn(arrays, side, blocks, seed) for side in SIDES])
    return arrays


def _drawn(arrays: dict[str, Arrays], side: int, count: int, seed: int) -> Arrays:
    """(count, 4): coded picture, x, y, side."""
    labels, found, source = arrays["original_labels"], arrays["coded_labels"], arrays["source"]
    everything = Population(
        len(source), 1, lambda item, _: labels[source[item]] == found[item], lambda item: arrays["known"][source[item]]
    )
    drawn = BlockSampler(everything, side, seed=seed).draw(count, skip_empty=True)
    return np.array([(b.picture, b.x, b.y, b.side) for b in drawn], np.int64)


def describe(made: CodedStills) -> dict[str, Any]:
    """For cards and records."""
    return {"codings": [asdict(way) for way in made.codings], "pictures": len(made.originals), "share": made.share}
