"""Pictures coded in every configuration and what networks make of them; only what is expensive is kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.color import planes_to_rgb
from encoder_bridge.config import CodingConfig
from encoder_bridge.decode import decode_stream
from encoder_bridge.errors import ConfigError, DecodeError
from encoder_bridge.frames import Frame, FrameSource, VideoFormat
from models.model_set import SetMember, SetModel
from models.task_model import TaskModel
from sweeps.arrayfile import read_frames, write_frames
from sweeps.coding import Coder, Encoded
from sweeps.labels import LabelSource
from sweeps.pseudo import pseudo_labels
from sweeps.scoring import match_planes

Judge = TaskModel | SetModel
VOID = 255


class EveryNth:
    """Every n-th picture of a source, renumbered from 0."""

    def __init__(self, source: FrameSource, step: int) -> None:
        if step < 1:
            raise ConfigError(f"every {step}th picture; expected at least 1")
        self._source, self._step = source, step
        self._digest = ""

    @property
    def format(self) -> VideoFormat:
        """Format of every picture."""
        return self._source.format

    @property
    def frame_count(self) -> int | None:
        """Number of pictures, where the source knows its own."""
        total = self._source.frame_count
        return None if total is None else -(-total // self._step)

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._source:
            if frame.index % self._step == 0:
                yield Frame(frame.planes, frame.index // self._step, frame.pts)

    def digest(self) -> str:
        """Names the pictures taken, not only the source."""
        if not self._digest:
            whole = self._source.digest()
            self._digest = whole if self._step == 1 else hashlib.sha256(f"{whole}/{self._step}".encode()).hexdigest()
        return self._digest


@dataclass(frozen=True)
class CodedPictures:
    """Pictures of one size and their coded versions.

    Attributes:
        source: the originals.
        configs: how they are coded.
        coder: codes them into its workspace, or finds them there.
        truth: labels of every picture of ``source``'s own source, None without; values a network has no class for are
            unlabelled.
        step: of ``truth``, as that of ``EveryNth``.
    """

    source: FrameSource
    configs: tuple[CodingConfig, ...]
    coder: Coder
    truth: LabelSource | None = None
    step: int = 1
    _streams: dict[int, Encoded] = field(default_factory=dict, repr=False, compare=False)

    def check(self, judges: Sequence[Judge]) -> None:
        """Raise now what would be raised after hours: settings, binaries, a set without a network it needs."""
        for config in self.configs:
            self.coder.check(self.source, config)
            for judge in judges:
                if isinstance(judge, SetModel):
                    judge.check(config)

    def originals(self) -> NDArray[np.uint8]:
        """(N, H, W, 3) uint8 RGB after the conversion to the coded chroma format."""
        path = self.coder.workspace.labels({"rgb of": self.source.digest()})
        if not path.exists():
            fmt = self.source.format
            write_frames(path, (planes_to_rgb(frame.planes, fmt) for frame in self.source))
        return read_frames(path)

    def truth_labels(self) -> NDArray[np.uint8]:
        """(N, H, W) uint8 of the ground truth. Raises ConfigError where there is none or too little of it."""
        if self.truth is None:
            raise ConfigError("no ground truth; expected --labels DIR")
        taken = [labels for index, labels in enumerate(self.truth) if index % self.step == 0]
        shape = self.originals().shape[:3]
        if len(taken) != shape[0] or any(labels.shape != shape[1:] for labels in taken):
            sizes = sorted({labels.shape[::-1] for labels in taken})
            raise ConfigError(
                f"{len(taken)} label images of {sizes} for {shape[0]} pictures of {shape[2]}x{shape[1]}; expected as "
                "many, and of the same size"
            )
        return np.stack(taken)

    def encoded(self, index: int) -> Encoded:
        """The stream of a configuration."""
        if index not in self._streams:
            self._streams[index] = self.coder.encode(self.source, self.configs[index])
        return self._streams[index]

    def pictures(self, index: int) -> NDArray[np.uint8]:
        """(N, H, W, 3) uint8 RGB of all pictures in a configuration, decoded and brought to the original's size."""
        return np.stack(list(self.decoded(index)))

    def picture(self, index: int, picture: int) -> NDArray[np.uint8]:
        """(H, W, 3): one of ``pictures``."""
        return next(islice(self.decoded(index), picture, None))

    def pseudo(self, judge: Judge) -> NDArray[np.uint8]:
        """(N, H, W) uint8: a network's labels of the originals."""
        return read_frames(pseudo_labels(self.source, judge, self.coder.workspace, self.coder.reporter))

    def labels(self, judge: Judge, index: int) -> NDArray[np.uint8]:
        """(N, H, W) uint8: a network's labels of the coded pictures; of a set, those of its network for them."""
        network = judge.member(self.configs[index]) if isinstance(judge, SetModel) else judge
        path = self._labels_path(judge, index)
        if not path.exists():
            write_frames(path, (_asked(network, rgb) for rgb in self.decoded(index)))
        return read_frames(path)

    def make(self, judges: Sequence[Judge]) -> None:
        """Code everything and ask every network about it; what is there is not made again."""
        reporter = self.coder.reporter
        with reporter.task("code and label", len(self.configs) * len(judges)) as advance:
            for index in range(len(self.configs)):
                for judge in judges:
                    self.labels(judge, index)
                    advance(1)

    def identity(self, index: int) -> str:
        """Names the stream of a configuration."""
        return self.encoded(index).stream.path.name

    def _labels_path(self, judge: Judge, index: int) -> Path:
        identity: dict[str, Any] = {"stream": self.identity(index), "network": judge.digest()}
        return self.coder.workspace.labels(identity)

    def decoded(self, index: int) -> Iterator[NDArray[np.uint8]]:
        """(H, W, 3) uint8 RGB of every picture in a configuration, brought to the original's size."""
        fmt, path = self.source.format, self.encoded(index).stream.path
        coded, count = decode_stream(path), 0
        for frame in coded:
            yield planes_to_rgb(match_planes(frame.planes, coded.format, fmt), fmt)
            count += 1
        if count != len(self.originals()):
            raise DecodeError(f"{path}: {count} pictures of {len(self.originals())} decoded; remove it and start again")


def _asked(network: TaskModel | SetMember, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(network.labels(rgb)[0], np.uint8)


def known_pixels(truth: NDArray[np.uint8] | None, classes: int) -> Callable[[int], NDArray[np.bool_]] | None:
    """Picture → (H, W) bool, false where the ground truth has no label a network knows; None without ground truth."""
    if truth is None:
        return None
    return lambda picture: np.asarray(truth[picture] < classes)
