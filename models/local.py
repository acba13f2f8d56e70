"""Answers to local changes of a picture, for the price of a crop: a network run on windows whose surroundings it knows.

A crop alone gets another answer than the same samples within their picture: beyond its border are zeros, and nothing
tells what the picture shows elsewhere. Here the network runs once on a whole picture, the base, and its activations are
kept; for a picture that differs from the base inside a window only the difference is computed, inside that window
(``models.local_graph``). What the difference does beyond the window is left out; windows thus need a margin.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import ModelError
from models.bound import BoundSession
from models.local_builder import BASE, INSIDE, LOWEST, TRIALS, Average, Feed, Pool, Stretch
from models.local_graph import split_network
from models.metadata import InputSpec, ModelOptions
from models.task_model import Rgb, TaskModel, prepare

Float = NDArray[np.float32]
Box = tuple[int, int, int, int]
"""x, y, width, height in picture samples."""
Matrices = dict[str, tuple[Float, Float]]
"""Of each ``Stretch``: rows and columns, each (samples after, samples before) of the whole picture."""


@dataclass(frozen=True)
class LocalState:
    """A picture and what the network thought of it.

    Attributes:
        size: (H, W) of the picture.
        rgb: (H', W', 3) uint8, the picture, its last rows and columns repeated up to a multiple of the stride.
        kept: activations for the whole of ``rgb``, by name.
        logits: (C, H', W') float32.
        matrices: see ``Matrices``.
    """

    size: tuple[int, int]
    rgb: Rgb
    kept: dict[str, Float] = field(repr=False)
    logits: Float = field(repr=False)
    matrices: Matrices = field(repr=False)

    @property
    def log_probs(self) -> Float:
        """(C, H, W) float32 natural-log class probabilities of the picture, ≤ 0."""
        answer: Float = log_softmax(self.logits[None, :, : self.size[0], : self.size[1]].copy())[0]
        return answer


Item = tuple[LocalState, Box, Rgb, Box]
"""A base, the window in it, (K, h, w, 3) uint8 RGB of what the window shows instead, and the part of the picture whose
answers are wanted: inside the window, or a little beyond, where the base is as it was."""


class LocalModel:
    """A segmentation network for pictures that differ from a known one in a window.

    Args:
        path: ``.onnx`` file of a convolutional network with an input of free size.
        device, threads, options: as ``TaskModel``.

    Attributes:
        stride: the coarsest of the network. Windows work in units of it: others are extended by samples of the base.
        frozen: operators that look at the whole picture; their answer is always that to the base.

    Raises:
        ModelError: unsuitable file: no logits, an input of fixed size, nothing local. DeviceError: the device is not
        here. ToolNotFoundError: the onnx package is absent.
    """

    def __init__(
        self, path: Path | str, device: str = "cpu", threads: int | None = None, options: ModelOptions | None = None
    ) -> None:
        self.path = Path(path)
        task = TaskModel(path, device, threads, options)
        self._spec = _expect_free(task)
        graph = split_network(self.path, task.options.output, self._spec)
        self._graph = graph
        self._whole, self._window = (_opened(g, path, device, threads) for g in (graph.whole, graph.window))
        self._sizes: dict[tuple[int, int], Matrices] = {}
        self._scratch = _Scratch()
        self._lock = threading.Lock()

    @property
    def stride(self) -> int:
        """Windows that start and end at multiples of it need no extension."""
        return self._graph.stride

    @property
    def frozen(self) -> tuple[str, ...]:
        """As "GlobalAveragePool /head/pool"."""
        return self._graph.frozen

    def begin(self, rgb: Rgb) -> LocalState:
        """Run the network on a whole picture, (H, W, 3) uint8 RGB. Raises ModelError where the run fails."""
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or 0 in rgb.shape:
            raise ModelError(f"a picture of shape {rgb.shape} {rgb.dtype}; expected (H, W, 3) uint8 RGB")
        padded = _grown(rgb, -rgb.shape[0] % self.stride, -rgb.shape[1] % self.stride)
        size = padded.shape[0], padded.shape[1]
        *kept, logits = self._whole.run([prepare(padded[None], self._spec)])
        matrices = self._matrices(size)
        if self._graph.answer_stride > 1:
            rows, columns = matrices[self._graph.stretches[-1].name]
            logits = np.matmul(rows, np.matmul(logits, columns.T))
        values = dict(zip(self._graph.sources, kept, strict=True))
        values |= {average.source: _ratio(average, size) for average in self._graph.averages}
        return LocalState((rgb.shape[0], rgb.shape[1]), padded, values, logits[0], matrices)

    def window(self, box: Box, margin: int, size: tuple[int, int]) -> Box:
        """The part of a picture (H, W) = ``size`` around ``box``, up to multiples of the stride or the picture's end.

        Boxes of one size get windows of one size, up to a stride, shifted to lie inside the picture where it ends.
        """
        x, width = self._span(box[0], box[2], margin, size[1])
        y, height = self._span(box[1], box[3], margin, size[0])
        return x, y, width, height

    def logits(self, items: Sequence[Item]) -> list[Float]:
        """For each item (K, C, h, w) float32 logits of its part. Raises ModelError where the run fails."""
        return [self._answer(*item) for item in items]

    def log_probs(self, items: Sequence[Item]) -> list[Float]:
        """For each item (K, C, h, w) float32 natural-log class probabilities of its part."""
        return [log_softmax(scores) for scores in self.logits(items)]

    def _span(self, start: int, length: int, margin: int, limit: int) -> tuple[int, int]:
        step = self.stride
        first = (start - margin) // step * step
        last = -(-(start + length + margin) // step) * step
        end = -(-limit // step) * step
        first = max(min(first, end - (last - first)), 0)
        last = max(last, min(first + -(-(length + 2 * margin) // step) * step, end))
        return first, min(last, limit) - first

    def _answer(self, state: LocalState, window: Box, rgb: Rgb, part: Box) -> Float:
        whole = self._aligned(state, window, rgb, part)
        feeds = self._pictures(state, window, rgb, whole)
        for feed in self._graph.feeds:
            feeds += self._cut(feed, state.kept[feed.source], whole)
        for stretch in self._graph.stretches:
            feeds += _cut_matrices(stretch, state.matrices[stretch.name], whole, part)
        (answer,) = self._window.run(feeds)
        x, y, width, height = part
        if answer.shape[2:] != (height, width):
            answer = answer[:, :, y - whole[1] :, x - whole[0] :][:, :, :height, :width]
        answer += state.logits[:, y : y + height, x : x + width]
        return answer

    def _cut(self, feed: Feed, tensor: Float, window: Box) -> list[Float]:
        if not feed.stride:
            return [tensor]
        x, y, width, height = (value // feed.stride for value in window)
        step = feed.pool.step if feed.pool else 1
        shape = 1, tensor.shape[1], height // step, width // step
        target, *others = (self._scratch.get(name, shape) for name in feed.inputs)
        inside = tensor[:, :, y : y + height, x : x + width]
        if feed.pool is not None:
            target.fill(LOWEST)
            _pool_around(target[0], tensor[0], (x, y, width, height), feed.pool)
        elif feed.rectified:
            np.minimum(inside, 0, out=target)
            # min(b, 0) − b = −max(b, 0)
            np.subtract(target, inside, out=others[0])
        else:
            np.copyto(target, inside)
        return [target, *others]

    def _aligned(self, state: LocalState, window: Box, rgb: Rgb, part: Box) -> Box:
        """Window and part, in units of the stride."""
        x, y, width, height = window
        if rgb.ndim != 4 or rgb.shape[1:] != (height, width, 3) or rgb.dtype != np.uint8:
            raise ModelError(f"windows of shape {rgb.shape} {rgb.dtype}; expected (K, {height}, {width}, 3) uint8 RGB")
        (bottom, right), step = state.size, self.stride
        if min(x, y) < 0 or x + width > right or y + height > bottom:
            raise ModelError(f"window {window} in a picture of {right}x{bottom}; expected one inside it")
        left, top = min(x, part[0]) // step * step, min(y, part[1]) // step * step
        across = -(-max(x + width, part[0] + part[2]) // step) * step - left
        down = -(-max(y + height, part[1] + part[3]) // step) * step - top
        return left, top, across, down

    def _pictures(self, state: LocalState, window: Box, rgb: Rgb, whole: Box) -> list[NDArray[Any]]:
        """The first inputs of the window's graph: ``whole`` and its surroundings, with ``rgb`` in the window."""
        (x, y, width, height), halo, (below, right) = window, self._graph.halo, state.rgb.shape[:2]
        left, top = max(whole[0] - halo, 0), max(whole[1] - halo, 0)
        columns = slice(left, min(whole[0] + whole[2] + halo, right))
        rows = slice(top, min(whole[1] + whole[3] + halo, below))
        trials = np.repeat(state.rgb[None, rows, columns], len(rgb), axis=0)
        trials[:, y - top : y - top + height, x - left : x - left + width] = rgb
        # Where the picture ends, its last samples are repeated, as those of the base are.
        if y + height == state.size[0] < below:
            trials[:, y - top + height :] = trials[:, y - top + height - 1, None]
        if x + width == state.size[1] < right:
            trials[:, :, x - left + width :] = trials[:, :, x - left + width - 1, None]
        inside = np.array([whole[1] - top, whole[0] - left] * 2, np.float32)
        inside[2:] += whole[3], whole[2]
        base = state.rgb[None, whole[1] : whole[1] + whole[3], whole[0] : whole[0] + whole[2]]
        given: dict[str, NDArray[Any]] = {TRIALS: trials, INSIDE: inside, BASE: base}
        return [given[name] for name in self._graph.pictures]

    def _matrices(self, size: tuple[int, int]) -> Matrices:
        with self._lock:
            if size not in self._sizes:
                self._sizes[size] = {
                    s.name: (_matrix(s, size[0], self._graph.opset), _matrix(s, size[1], self._graph.opset))
                    for s in self._graph.stretches
                }
            return self._sizes[size]


def log_softmax(scores: Float) -> Float:
    """Natural-log class probabilities along axis 1, in place."""
    scores -= scores.max(axis=1, keepdims=True)
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return scores


def _expect_free(task: TaskModel) -> InputSpec:
    if task.gives_labels:
        raise ModelError(f"{task.path}: its output is a label map; windows of it need logits")
    if task.spec.size is not None or (task.spec.batch or 1) > 1:
        height, width = task.spec.size or ("H", "W")
        raise ModelError(
            f"{task.path}: its input is fixed at {task.spec.batch or 'N'} pictures of {width}x{height}; windows need a "
            "free size: export it with free batch, height and width"
        )
    return task.spec


def _opened(content: bytes, path: Path | str, device: str, threads: int | None) -> BoundSession:
    with tempfile.TemporaryDirectory(prefix="mrdo-local-") as folder:
        part = Path(folder) / "part.onnx"
        part.write_bytes(content)
        return BoundSession(part, device, threads, name=str(path))


def _grown(rgb: Rgb, below: int, right: int) -> Rgb:
    """Last rows and columns of (…, h, w, 3) repeated."""
    if not below and not right:
        return rgb
    return np.pad(rgb, [(0, 0)] * (rgb.ndim - 3) + [(0, below), (0, right), (0, 0)], mode="edge")


class _Scratch(threading.local):
    """Arrays that a thread fills again and again: fresh ones would cost a page fault for every 4 KiB."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, tuple[int, ...]], Float] = {}

    def get(self, name: str, shape: tuple[int, ...]) -> Float:
        if (name, shape) not in self._held:
            self._held[name, shape] = np.empty(shape, np.float32)
        return self._held[name, shape]


def _pool_around(target: Float, tensor: Float, place: Box, pool: Pool) -> None:
    """Raise ``target`` (C, h', w') to the greatest that each of its positions sees outside the window ``place``."""
    x, y, width, height = place
    across = Pool(pool.kernel[::-1], pool.step, (pool.pad[1], pool.pad[0]))
    _pool_beside(target, tensor, (x, y, width, height), pool)
    _pool_beside(target.transpose(0, 2, 1), tensor.transpose(0, 2, 1), (y, x, height, width), across)


def _pool_beside(target: Float, tensor: Float, place: Box, pool: Pool) -> None:
    """``_pool_around`` for the rows above and below, as far as the pooling reaches."""
    x, y, width, height = place
    (rows, columns), step, (above, left) = pool.kernel, pool.step, pool.pad
    right = max(columns - step - left, 0)
    first, last = max(x - left, 0), min(x + width + right, tensor.shape[2])
    for index in range(target.shape[1]):
        start = y + index * step - above
        seen = [*range(max(start, 0), y), *range(y + height, min(start + rows, tensor.shape[1]))]
        if not seen:
            continue
        line = np.full((len(tensor), left + width + right), LOWEST, np.float32)
        line[:, first - x + left : last - x + left] = tensor[:, seen, first:last].max(axis=1)
        for shift in range(columns):
            part = line[:, shift : shift + width - step + 1 : step]
            np.maximum(target[:, index], part, out=target[:, index])


def _cut_matrices(stretch: Stretch, matrices: tuple[Float, Float], window: Box, part: Box) -> list[Float]:
    """Rows (h', h) and columns, transposed (w, w')."""
    target = part if stretch.last else window
    rows, columns = (
        matrix[
            target[axis] // stretch.target : (target[axis] + target[axis + 2]) // stretch.target,
            window[axis] // stretch.source : (window[axis] + window[axis + 2]) // stretch.source,
        ]
        for matrix, axis in zip(matrices, (1, 0), strict=True)
    )
    return [np.ascontiguousarray(rows), np.ascontiguousarray(columns.T)]


def _matrix(stretch: Stretch, length: int, opset: int) -> Float:
    """(after, before) float32: what ONNX Runtime's Resize does to a line of ``length`` picture samples."""
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper

    before, after = length // stretch.source, length // stretch.target
    sizes = numpy_helper.from_array(np.array([1, 1, after, before], np.int64), "sizes")
    node = helper.make_node("Resize", ["lines", "", "", "sizes"], ["out"], **dict(stretch.attributes))
    lines, out = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 1, None, None]) for n in ("lines", "out"))
    model = helper.make_model(
        helper.make_graph([node], "stretch", [lines], [out], [sizes]), ir_version=8,
        opset_imports=[helper.make_opsetid("", max(opset, 13))],
    )  # fmt: skip
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    answer: Any = session.run(None, {"lines": np.eye(before, dtype=np.float32)[None, None]})[0]
    return np.asarray(answer[0, 0], np.float32)


def _ratio(average: Average, size: tuple[int, int]) -> Float:
    """(1, 1, h, w): positions a window of the pooling has, over those inside the picture."""
    lines, step = [], average.pool.step
    for length, kernel, pad in zip(size, average.pool.kernel, average.pool.pad, strict=True):
        count = length // average.stride
        starts = np.arange(count) * step - pad
        lines.append(kernel / (np.minimum(starts + kernel, count * step) - np.maximum(starts, 0)))
    return np.outer(*lines).astype(np.float32)[None, None]
