"""Inputs of a plan: what is written there, the files it means, and how a worker opens one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from encoder_bridge.errors import ConfigError, DecodeError
from encoder_bridge.frames import MATRICES, RANGES, Frame, FrameSource
from encoder_bridge.source_base import BaseSource, RawSpec, SourceOptions, parse_fps, parse_pixel_format, parse_size
from encoder_bridge.source_images import ImageSource, find_images, is_image, natural_key
from encoder_bridge.sources import RAW_SUFFIXES, open_source
from encoder_bridge.transform import slice_source
from sweeps.anchors.clip import EMBEDDED, embedded_clip
from sweeps.labels import LabelFolder, LabelledVideo, LabelSource, OwnLabels
from sweeps.plan import fields

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".mpg", ".mpeg", ".wmv", ".flv", ".y4m"),
    *(".hevc", ".h265", ".265", ".264", ".h264", ".avc", ".266", ".h266", ".vvc", ".mjpeg", ".mjpg"),
)

_AS_IT_SAYS = SourceOptions()


@dataclass(frozen=True)
class InputFile:
    """One video and what is taken of it; small, and opened where it is needed.

    Attributes:
        path: video, folder, glob or image.
        name: in tables; under a folder of videos the path from there on.
        frames: take this many, None for all.
        every: of those there are, take each ``every``-th.
        raw: geometry of a headerless file.
        options: what is stated about the video.
        labels: folder of label images, or a single label image.
    """

    path: str
    name: str
    frames: int | None = None
    every: int = 1
    raw: RawSpec | None = None
    options: SourceOptions = _AS_IT_SAYS
    labels: str | None = None

    def open(self) -> FrameSource:
        """The video. Raises DecodeError, ConfigError."""
        if self.path == EMBEDDED and not Path(EMBEDDED).exists():
            return embedded_clip(self.frames)
        found = find_images(self.path) if self.every > 1 else []
        if found:
            ordered = sorted(found, key=lambda path: natural_key(str(path)))[:: self.every]
            source: BaseSource = ImageSource(ordered, self.options, self.path)
        else:
            source = self._open_any()
            source = _Every(source, self.every) if self.every > 1 else source
        return slice_source(source, 0, self.frames) if self.frames else source

    def _open_any(self) -> BaseSource:
        stated = self.options
        return open_source(
            self.path,
            raw=self.raw,
            fps=stated.fps,
            matrix=stated.matrix,
            range=stated.range,
            chroma=None if self.raw else stated.chroma,
            bit_depth=None if self.raw else stated.bit_depth,
        )

    def open_labels(self, source: FrameSource) -> LabelSource | None:
        """Label images of the same frames; else those the video brings along, if any. Raises ConfigError."""
        if self.labels is None:
            return OwnLabels(_labelled(source)) if hasattr(source, "labels") else None
        labels = _Labels(Path(self.labels), self.every, self.frames)
        count = source.frame_count
        if count is not None and len(labels) != count:
            raise ConfigError(f"{self.labels}: {len(labels)} label images for {count} frames of {self.name}")
        return labels

    def signature(self) -> str:
        """Names the input by its files' places, sizes and times, without reading them. DecodeError where it is not."""
        parts = {
            "input": {key: str(value) for key, value in asdict(self).items() if key != "name"},
            "files": [*_stats(self.path), *([] if self.labels is None else _stats(self.labels))],
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class InputBlock:
    """An input as a plan states it.

    Attributes:
        file: path (also a folder of videos, or a glob) and what is taken of it; an empty name is chosen later.
        each: every image of the folder is an input of its own, instead of a frame of one video.
    """

    file: InputFile
    each: bool = False

    def find(self) -> Iterator[InputFile]:
        """The files meant, in the order of their names. Raises ConfigError, DecodeError where there are none."""
        path = Path(self.file.path)
        if self.each:
            yield from self._images()
            return
        videos = _videos(path) if path.is_dir() else []
        if not videos:
            yield replace(self.file, name=self.file.name or path.name)
            return
        if self.file.labels is not None:
            raise ConfigError(f"{path}: labels {self.file.labels} for a folder of videos; expected an input for each")
        prefix = f"{self.file.name}/" if self.file.name else ""
        for video in videos:
            raw = self.file.raw if video.suffix.lower() in RAW_SUFFIXES else None
            yield replace(self.file, path=str(video), name=f"{prefix}{video.relative_to(path)}", raw=raw)

    def _images(self) -> Iterator[InputFile]:
        found = sorted(find_images(self.file.path), key=lambda path: natural_key(str(path)))
        chosen = found[:: self.file.every][: self.file.frames]
        if not chosen:
            raise DecodeError(f"{self.file.path}: no images; expected a folder or glob of them with each = true")
        labels: Sequence[Path | None] = [None] * len(chosen)
        if self.file.labels is not None:
            labels = _Labels(Path(self.file.labels), self.file.every, self.file.frames).files
            if len(labels) != len(chosen):
                raise ConfigError(f"{self.file.labels}: {len(labels)} label images for {len(chosen)} images")
        for image, label in zip(chosen, labels, strict=True):
            stated = None if label is None else str(label)
            yield replace(self.file, path=str(image), name=image.name, every=1, frames=None, labels=stated)


def find_inputs(blocks: Sequence[InputBlock]) -> list[InputFile]:
    """The files of all inputs, each once; two of one name are told apart by their paths."""
    files = list(dict.fromkeys(file for block in blocks for file in block.find()))
    if not files:
        raise ConfigError('no input; give one on the command line or in the plan: inputs = ["clip.mp4"]')
    names = [file.name for file in files]
    return [replace(f, name=f.path.lstrip("/")) if names.count(f.name) > 1 else f for f in files]


def read_input(where: str, item: Any, folder: Path, labels: str | None) -> InputBlock:
    """An input of a plan file: a path, or a table with ``path`` and what is taken of it."""
    table = {"path": item} if isinstance(item, str) else item
    given = fields.read(where, table, _FIELDS)
    if "path" not in given:
        raise ConfigError(f'{where}: an input without a path; expected path = "FILE"')
    return input_block(given, folder, labels)


def input_block(given: dict[str, Any], folder: Path = Path(), labels: str | None = None) -> InputBlock:
    """An input of checked values; ``labels`` are those of the plan where the input states none."""
    own = given.get("labels", labels)
    chroma, depth = given.get("format") or (None, None)
    stated: dict[str, Any] = {name: given.get(name) for name in ("fps", "matrix", "range")}
    raw = None
    if given.get("size") is not None:
        width, height = given["size"]
        raw = RawSpec(width, height, chroma or "420", depth or 8, **stated)
    path = given["path"] if given["path"] == EMBEDDED else str(folder / given["path"])
    file = InputFile(
        path=path,
        name=given.get("name", ""),
        frames=given.get("frames"),
        every=given.get("every", 1),
        raw=raw,
        options=SourceOptions(**stated, chroma=chroma, bit_depth=depth),
        labels=None if own is None else str(folder / own),
    )
    return InputBlock(file, given.get("each", False))


def _videos(folder: Path) -> list[Path]:
    known = (*VIDEO_SUFFIXES, *RAW_SUFFIXES)
    found = [path for path in folder.rglob("*") if path.suffix.lower() in known and path.is_file()]
    shown = [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    return sorted(shown, key=lambda path: natural_key(str(path)))


class _Labels(LabelFolder):
    """Each ``every``-th label image of a folder, or a single image."""

    def __init__(self, path: Path, every: int, frames: int | None) -> None:
        if path.is_file() and is_image(path):
            self.files = [path]
            return
        super().__init__(path)
        self.files = self.files[::every][:frames]


class _Every(BaseSource):
    """Each n-th frame, at an n-th of the rate."""

    def __init__(self, source: BaseSource, step: int) -> None:
        total = source.frame_count
        count = None if total is None else -(-total // step)
        super().__init__(source.name, replace(source.format, fps=source.format.fps / step), count, source.notes)
        self._source, self._step = source, step

    def __iter__(self) -> Iterator[Frame]:
        for index, frame in enumerate(islice(self._source, 0, None, self._step)):
            yield replace(frame, index=index)


def _labelled(source: Any) -> LabelledVideo:
    video: LabelledVideo = source
    return video


def _stats(path: str) -> list[tuple[str, int, int]]:
    if path == EMBEDDED and not Path(EMBEDDED).exists():
        return []
    place = Path(path)
    files = [place] if place.is_file() else sorted(find_images(path)) or [place]
    try:
        return [(str(f.absolute()), (s := f.stat()).st_size, s.st_mtime_ns) for f in files]
    except OSError as error:
        raise DecodeError(f"{path}: {error.strerror}") from None


def _parsed(parse: Any) -> fields.Check:
    def check(where: str, value: Any) -> Any:
        try:
            return parse(str(value))
        except ValueError as error:
            raise ConfigError(f"{where}: {error}") from None

    return check


_FIELDS: dict[str, fields.Check] = {
    "path": fields.text,
    "name": fields.text,
    "frames": fields.whole(1),
    "every": fields.whole(1),
    "each": fields.flag,
    "labels": fields.text,
    "size": _parsed(parse_size),
    "format": _parsed(parse_pixel_format),
    "fps": _parsed(parse_fps),
    "matrix": fields.one_of(MATRICES),
    "range": fields.one_of(RANGES),
}

__all__ = ["VIDEO_SUFFIXES", "InputBlock", "InputFile", "find_inputs", "input_block", "read_input"]
