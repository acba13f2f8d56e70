"""Windows of many choices in one array, so that a network runs once for each size of window."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import MetricInputError
from rdo_metrics.candidates.base import CandidateFrame, Choice, Networks, Planes, Rect
from rdo_metrics.candidates.windows import crop


@dataclass(frozen=True)
class Member:
    """One choice in a stack.

    Attributes:
        index: in the batch.
        choice: it.
        span: its windows in the stack: the K trials; the original, where it was asked for, lies just before them.
    """

    index: int
    choice: Choice
    span: slice


@dataclass(frozen=True)
class Stack:
    """Windows of one size: ``rgb`` (N, h, w, 3) uint8 and whose they are."""

    rgb: NDArray[np.uint8]
    members: tuple[Member, ...]

    def pairs(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """For each trial the original's window and its own; needs a stack with originals."""
        trials = [index for m in self.members for index in range(m.span.start, m.span.stop)]
        originals = [m.span.start - 1 for m in self.members for _ in m.choice.trials]
        return self.rgb[originals], self.rgb[trials]

    def shares(self, values: NDArray[np.float64]) -> Iterator[tuple[Member, NDArray[np.float64]]]:
        """What belongs to each member of an array with one entry a trial."""
        for member in self.members:
            count = len(member.choice.trials)
            yield member, values[:count]
            values = values[count:]


def stacked(batch: Sequence[Choice], network: str, originals: bool = False) -> Iterator[tuple[Any, Stack]]:
    """The network called ``network`` and all windows it is to run on, for each size of window in the batch.

    Args:
        batch: choices, of any frames.
        network: member of ``Networks``.
        originals: put the original's window before the trials of each choice.

    Raises MetricInputError where a frame lacks the network.
    """
    groups: dict[tuple[int, int, int], list[int]] = {}
    for index, choice in enumerate(batch):
        key = (choice.window.height, choice.window.width, id(required(choice.frame.networks, network)))
        groups.setdefault(key, []).append(index)
    for indices in groups.values():
        run: Callable[..., Any] = required(batch[indices[0]].frame.networks, network)
        yield run, _stack(batch, indices, originals)


def cut_rgb(frame: CandidateFrame, planes: Planes, windows: Sequence[Rect]) -> NDArray[np.uint8]:
    """(N, h, w, 3) uint8 RGB of windows of one size in a picture of the frame, each converted by itself."""
    return np.stack([frame.to_rgb(crop(planes, window)) for window in windows])


def required(networks: Networks, name: str) -> Any:
    """A member of ``Networks``. MetricInputError where it is absent."""
    found = getattr(networks, name)
    if found is None:
        raise MetricInputError(f"this candidate metric needs a network ({name}); give --model or --metric FILE.onnx")
    return found


def _stack(batch: Sequence[Choice], indices: Sequence[int], originals: bool) -> Stack:
    parts, members, start = [], [], 0
    for index in indices:
        choice = batch[index]
        if originals:
            parts.append(choice.original_rgb()[None])
            start += 1
        parts.append(choice.windows_rgb())
        members.append(Member(index, choice, slice(start, start + len(choice.trials))))
        start += len(choice.trials)
    return Stack(np.concatenate(parts), tuple(members))
