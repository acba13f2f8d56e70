"""Parts of the graph that computes differences, and the graph while it grows; ``models.local_graph`` says what for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

FINE = 4
"""The first layers are those that make tensors of strides up to this."""
COARSEST = 64
"""Strides beyond this many samples are frozen."""
PROBE = (256, 320)
"""Height and width that strides are measured with."""
TRIALS, BASE, INSIDE = "trials", "base", "inside"
"""Inputs of the window's graph: (K, h', w', 3) uint8 RGB, the window and ``LocalGraph.halo`` around it as far as the
picture reaches; (1, h, w, 3) uint8 RGB of the base's window; (4,) float32 top, left, bottom, right of the window in the
former. ``LocalGraph.pictures`` says which there are."""
ANSWER = "difference"
"""Its output: (K, C, h, w) float32, logits less those of the base."""
_INT64 = 7
LOWEST = float(np.finfo(np.float32).min)


@dataclass(frozen=True)
class Pool:
    """A pooling: kernel (rows, columns), step, and padding above and left, in positions before it."""

    kernel: tuple[int, int]
    step: int
    pad: tuple[int, int]


@dataclass(frozen=True)
class Feed:
    """An input of the window's graph that is cut out of a tensor of the whole picture.

    Attributes:
        name: of the input.
        source: name of the tensor.
        stride: picture samples per position; 0 for a tensor that is taken as it is.
        pool: with one, the input is what this pooling finds around the window, at the pooling's own resolution.
        rectified: two inputs instead of one, name + "/low" and name + "/floor": min(b, 0) and −max(b, 0).
    """

    name: str
    source: str
    stride: int
    pool: Pool | None = None
    rectified: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names in the window's graph."""
        return (f"{self.name}/low", f"{self.name}/floor") if self.rectified else (self.name,)


@dataclass(frozen=True)
class Stretch:
    """Two inputs of the window's graph, matrices that resize rows (name + "/y") and columns (name + "/x").

    Attributes:
        name: of the inputs.
        attributes: of the ONNX Resize operator it stands for.
        source, target: strides before and after.
        last: the result is the answer, of which only a part is wanted.
    """

    name: str
    attributes: tuple[tuple[str, Any], ...]
    source: int
    target: int
    last: bool = False


@dataclass(frozen=True)
class Average:
    """What turns a mean that counts padding into one that does not, at the borders of the picture.

    Attributes:
        source: name of the tensor (1, 1, h, w) that a ``Feed`` is cut out of.
        stride: of the tensor.
        pool: whose means they are.
    """

    source: str
    stride: int
    pool: Pool


@dataclass
class Moved:
    """A tensor that differs inside the window; made in the form that is asked for, difference or value, and once."""

    stride: int
    shape: tuple[int, ...]
    difference: Callable[[], str]
    value: Callable[[], str]


@dataclass(frozen=True)
class Wide:
    """A tensor computed for more than the window.

    Attributes:
        make: its name, and the node that makes it.
        blind: picture samples inside its edges where it lacks what lies beyond them.
    """

    make: Callable[[], str]
    blind: int


@dataclass
class Builder:
    """The window's graph while it grows."""

    shapes: dict[str, tuple[int, ...]]
    stored: dict[str, Any]
    logits: str
    nodes: list[Any] = field(default_factory=list)
    weights: dict[str, Any] = field(default_factory=dict)
    moved: dict[str, Moved] = field(default_factory=dict)
    feeds: dict[tuple[Any, ...], Feed] = field(default_factory=dict)
    stretches: list[Stretch] = field(default_factory=list)
    averages: list[Average] = field(default_factory=list)
    frozen: list[str] = field(default_factory=list)
    wide: dict[str, Wide] = field(default_factory=dict)
    halo: int = 0

    def emit(self, op: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any) -> str:
        """Add a node; the name of its first output, the others end in /1, /2 …"""
        from onnx import helper

        name = f"n{len(self.nodes)}"
        names = [name, *(f"{name}/{i}" for i in range(1, outputs))]
        self.nodes.append(helper.make_node(op, list(inputs), names, **attributes))
        return name

    def constant(self, values: Any) -> str:
        """Store an array (float32 or int64); its name."""
        from onnx import numpy_helper

        name = f"c{len(self.weights)}"
        self.weights[name] = numpy_helper.from_array(np.asarray(values), name)
        return name

    def stride(self, name: str) -> int | None:
        """Of an (N, C, h, w) tensor; None for anything else, and beyond ``COARSEST``."""
        shape = self.shapes.get(name, ())
        if len(shape) != 4 or min(shape) < 1 or PROBE[0] % shape[2] or PROBE[1] % shape[3]:
            return None
        down, across = PROBE[0] // shape[2], PROBE[1] // shape[3]
        return down if down == across <= COARSEST else None

    def of_base(self, name: str, pool: Pool | None = None) -> str:
        """The value of a tensor for the base: stored, a part of the picture, or a tensor that has no positions.

        With ``pool``, what a pooling of it finds around the window (``Feed``).
        """
        if name in self.stored:
            self.weights[name] = self.stored[name]
            return name
        return self._fed(name, pool)[0]

    def rectified(self, name: str) -> tuple[str, str]:
        """min(b, 0) and −max(b, 0) of a tensor of the base, inside the window."""
        low, floor = self._fed(name, rectified=True)
        return low, floor

    def _fed(self, name: str, pool: Pool | None = None, rectified: bool = False) -> tuple[str, ...]:
        key = name, pool, rectified
        if key not in self.feeds:
            self.feeds[key] = Feed(f"f{len(self.feeds)}", name, self.stride(name) or 0, pool, rectified)
        return self.feeds[key].inputs

    def widens(self, name: str, make: Callable[[], str], blind: int) -> None:
        """A tensor computed for more than the window."""
        self.wide[name] = Wide(once(make), blind)
        self.becomes(name, lambda: self._inside(name))

    def _inside(self, name: str) -> str:
        """The part of a wide tensor that belongs to the window."""
        stride, wide = self.stride(name) or 1, self.wide[name]
        self.halo = max(self.halo, wide.blind)
        ends = self.emit("Cast", [self.emit("Div", [INSIDE, self.constant(np.float32(stride))])], to=_INT64)
        first, last = (
            self.emit("Slice", [ends, *(self.constant(np.array([v], np.int64)) for v in span)])
            for span in ((0, 2), (2, 4))
        )
        return self.emit("Slice", [wide.make(), first, last, self.constant(np.array([2, 3], np.int64))])

    def differs(self, name: str, make: Callable[[], str]) -> None:
        """A tensor known as a difference."""
        difference = once(make)
        value = once(lambda: self.emit("Add", [difference(), self.of_base(name)]))
        self._keep(name, difference, value)

    def becomes(self, name: str, make: Callable[[], str], difference: Callable[[], str] | None = None) -> None:
        """A tensor known as a value, and perhaps more cheaply as a difference."""
        value = once(make)
        less = once(difference or (lambda: self.emit("Sub", [value(), self.of_base(name)])))
        self._keep(name, less, value)

    def _keep(self, name: str, difference: Callable[[], str], value: Callable[[], str]) -> None:
        stride = self.stride(name)
        assert stride is not None
        self.moved[name] = Moved(stride, self.shapes[name], difference, value)


def once(make: Callable[[], str]) -> Callable[[], str]:
    """Names are made when they are first asked for."""
    made: list[str] = []

    def get() -> str:
        if not made:
            made.append(make())
        return made[0]

    return get
