"""What a network does to the difference between two pictures: the graph behind ``models.local``.

A picture x is known with all activations b of the network; another, x + δ, differs inside a window. Every linear
operator carries differences without its bias, and as nothing differs outside the window, its zero padding there is
exact: no activation has to be brought in from outside. An operator that is not linear adds b, as it was inside the
window, and takes its own b away again; ReLU needs max(δ + min(b, 0), −max(b, 0)). What looks at the whole picture
(global pooling, attention) is frozen: its difference is taken to be 0.

The first layers, at fine strides, have few channels, many positions and see little: there the picture around the window
is simply computed as well (``Wide``), which is cheaper than to keep and to fetch what the base had there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from encoder_bridge.errors import ModelError, ToolNotFoundError
from models.cut import HINT
from models.local_builder import ANSWER, BASE, FINE, INSIDE, PROBE, TRIALS, Average, Builder, Feed, Stretch, once
from models.local_ops import carry, stretched
from models.metadata import InputSpec


@dataclass(frozen=True)
class LocalGraph:
    """Two networks in place of one.

    Attributes:
        whole: ``.onnx`` bytes; outputs are ``sources`` and then the logits.
        window: ``.onnx`` bytes; inputs are ``pictures``, then those of ``feeds`` and ``stretches``.
        pictures: ``TRIALS``, ``INSIDE``, perhaps ``BASE``.
        halo: picture samples around the window that the first layers look at.
        sources: tensors of the whole picture that are kept.
        stride: the coarsest stride; windows are aligned to it.
        answer_stride: of the logits.
        frozen: operators whose difference is taken to be 0, as "GlobalAveragePool /head/pool".
        opset: version of the operators.
    """

    whole: bytes
    window: bytes
    pictures: tuple[str, ...]
    halo: int
    sources: tuple[str, ...]
    feeds: tuple[Feed, ...]
    stretches: tuple[Stretch, ...]
    averages: tuple[Average, ...]
    stride: int
    answer_stride: int
    frozen: tuple[str, ...]
    opset: int


def split_network(path: Path, output: str | None, spec: InputSpec) -> LocalGraph:
    """The two graphs of a network.

    Args:
        path: ``.onnx`` file with one image input of free size.
        output: name of the logits, None for the first output.
        spec: of the network's input.

    Raises ModelError for a network that has nothing local, ToolNotFoundError without the onnx package.
    """
    model = _simplified(path)
    logits = _logits(model, output)
    builder = Builder(_shapes(model, spec.layout == "NHWC"), {t.name: t for t in model.graph.initializer}, logits)
    image = next(value.name for value in model.graph.input if value.name not in builder.stored)
    _picture(builder, image, spec)
    for node in model.graph.node:
        carry(builder, node)
    if logits not in builder.moved:
        told = ", ".join(dict.fromkeys(name.split()[0] for name in builder.frozen)) or "none of its operators"
        raise ModelError(f"{path}: cannot be run on windows: its answer is not local ({told}); expected convolutions")
    answer_stride = builder.moved[logits].stride
    answer = _answer(builder, logits)
    pictures = tuple(n for n in (TRIALS, INSIDE, BASE) if any(n in node.input for node in builder.nodes))
    window = _window_model(model, builder, answer, pictures)
    sources = tuple(dict.fromkeys(f.source for f in builder.feeds.values() if f.source not in _made(builder)))
    stride = max(m.stride for m in builder.moved.values())
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    return LocalGraph(
        _with_outputs(model, (*sources, logits)), window, pictures, -(-builder.halo // FINE) * FINE, sources,
        tuple(builder.feeds.values()), tuple(builder.stretches), tuple(builder.averages), stride, answer_stride,
        tuple(builder.frozen), opset,
    )  # fmt: skip


def _made(builder: Builder) -> set[str]:
    return {average.source for average in builder.averages}


def _simplified(path: Path) -> Any:
    """The network with constants folded and normalisation in the convolutions, as ONNX Runtime does it."""
    try:
        import onnx
    except ImportError as error:
        raise ToolNotFoundError(f"running {path.name} on windows needs the onnx package: {HINT}") from error
    import onnxruntime as ort

    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory(prefix="mrdo-local-") as folder:
        settings.optimized_model_filepath = f"{folder}/simple.onnx"
        ort.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        return onnx.load(settings.optimized_model_filepath)


def _logits(model: Any, output: str | None) -> str:
    """The logits, before a transposition to channels last."""
    name = output or model.graph.output[0].name
    maker = next((node for node in model.graph.node if name in node.output), None)
    if maker is not None and maker.op_type == "Transpose" and list(maker.attribute[0].ints) == [0, 2, 3, 1]:
        return str(maker.input[0])
    return str(name)


def _shapes(model: Any, nhwc: bool) -> dict[str, tuple[int, ...]]:
    """Of every tensor for one picture of ``PROBE``, as far as they can be inferred."""
    import onnx

    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    stored = {tensor.name for tensor in probe.graph.initializer}
    image = next(value for value in probe.graph.input if value.name not in stored)
    sizes = (1, *PROBE, 3) if nhwc else (1, 3, *PROBE)
    for dim, size in zip(image.type.tensor_type.shape.dim, sizes, strict=True):
        dim.dim_value = size
    # What the file says of later shapes was said of no particular size.
    del probe.graph.value_info[:]
    graph = onnx.shape_inference.infer_shapes(probe, data_prop=True).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    return {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in values}


def _picture(builder: Builder, image: str, spec: InputSpec) -> None:
    """The network's input for the trials and their surroundings; always channels first."""
    if spec.layout == "NHWC":
        builder.shapes[image] = (1, 3, *PROBE)
    builder.widens(image, lambda: _prepared(builder, TRIALS, spec), 0)

    def difference() -> str:
        return builder.emit("Sub", [builder.moved[image].value(), _prepared(builder, BASE, spec)])

    builder.moved[image].difference = once(difference)


def _prepared(builder: Builder, name: str, spec: InputSpec) -> str:
    """``models.task_model.prepare``, less the order of the dimensions."""
    from onnx import TensorProto

    rgb = builder.emit("Transpose", [builder.emit("Cast", [name], to=TensorProto.FLOAT)], perm=[0, 3, 1, 2])
    if spec.color == "BGR":
        rgb = builder.emit("Gather", [rgb, builder.constant(np.array([2, 1, 0], np.int64))], axis=1)
    unit = 255 if spec.range == "0..1" else 1
    known = np.array(spec.mean) * unit, 1 / (np.array(spec.std) * unit)
    mean, scale = (builder.constant(values.astype(np.float32).reshape(1, 3, 1, 1)) for values in known)
    return builder.emit("Mul", [builder.emit("Sub", [rgb, mean]), scale])


def _answer(builder: Builder, logits: str) -> str:
    """The logits' difference at the picture's resolution: coarse logits are stretched as those of ``TaskModel``."""
    moved = builder.moved[logits]
    if moved.stride == 1:
        return moved.difference()
    linear = (("coordinate_transformation_mode", "half_pixel"), ("mode", "linear"))
    return stretched(builder, moved.difference(), linear, moved.stride, 1, last=True)


def _window_model(model: Any, builder: Builder, answer: str, pictures: Sequence[str]) -> bytes:
    from onnx import TensorProto, helper

    def value(name: str, kind: int, shape: Sequence[Any] | None) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    builder.nodes.append(helper.make_node("Identity", [answer], [ANSWER]))
    kinds: dict[str, tuple[int, list[Any]]] = {
        TRIALS: (TensorProto.UINT8, ["K", None, None, 3]),
        BASE: (TensorProto.UINT8, [1, None, None, 3]),
        INSIDE: (TensorProto.FLOAT, [4]),
    }
    first = [value(name, *kinds[name]) for name in pictures]
    # Without their channels ONNX Runtime could not choose a layout.
    parts = [value(n, TensorProto.FLOAT, _declared(builder, f)) for f in builder.feeds.values() for n in f.inputs]
    matrices = [value(f"{s.name}/{axis}", TensorProto.FLOAT, [None, None]) for s in builder.stretches for axis in "yx"]
    inputs = [*first, *parts, *matrices]
    outputs = [value(ANSWER, TensorProto.FLOAT, None)]
    graph = helper.make_graph(builder.nodes, "window", inputs, outputs, _used(builder))
    made = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    return bytes(made.SerializeToString())


def _declared(builder: Builder, feed: Feed) -> list[Any] | None:
    shape = builder.shapes.get(feed.source)
    if shape is None or not feed.stride:
        return None if shape is None else list(shape)
    return [1, shape[1], None, None]


def _used(builder: Builder) -> list[Any]:
    used = {name for node in builder.nodes for name in node.input}
    return [tensor for name, tensor in builder.weights.items() if name in used]


def _with_outputs(model: Any, names: Sequence[str]) -> bytes:
    from onnx import TensorProto, helper

    del model.graph.output[:]
    model.graph.output.extend(helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in names)
    return bytes(model.SerializeToString())
