"""The layers of an ONNX network, and a network cut at some of them; needs the onnx package."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encoder_bridge.errors import ModelError, ToolNotFoundError
from models.metadata import PREFIX, ModelOptions, resolve

HINT = "pip install 'machine-rdo[exact]'"
CUT = PREFIX + "cut"
"""Metadata key of a cut network: the layers it gives, comma-separated."""
STAGES = (2, 4)
"""Strides of the first stages."""
_PROBE = (512, 640)
"""Height and width that layers are measured with; different, so that a transposed tensor is no feature map."""
_CONVOLUTIONS = ("Conv", "FusedConv")
_INPUT_KEYS = ("layout", "color", "range", "mean", "std")


@dataclass(frozen=True)
class Layer:
    """A tensor inside a network that can be looked at.

    Attributes:
        name: of the tensor.
        op: operator that makes it.
        stride: picture samples per position.
        channels: feature maps.
    """

    name: str
    op: str
    stride: int
    channels: int


def list_layers(path: Path | str) -> list[Layer]:
    """Feature maps (N, C, h, w) of a network in the order of computation, as far as shapes can be inferred.

    Raises ModelError for an unreadable file or one without an image input, ToolNotFoundError without onnx.
    """
    return [layer for layer, _ in _measured(_load(Path(path)), Path(path))]


def first_stages(path: Path | str) -> tuple[str, ...]:
    """The last tensors at strides 2 and 4: what the first operator with a larger stride reads of each.

    Raises ModelError where there is none of either.
    """
    return _first_stages(_load(Path(path)), Path(path))


def first_layer(path: Path | str) -> str:
    """The tensor that a network's first convolution makes. Raises ModelError where there is none."""
    found = next((node.output[0] for node in _load(Path(path)).graph.node if node.op_type in _CONVOLUTIONS), None)
    if found is None:
        raise ModelError(f"{path}: no convolution in it; name a layer with --layer")
    return str(found)


def cut_network(path: Path | str, layers: Sequence[str] | None = None, options: ModelOptions | None = None) -> bytes:
    """A network that ends at some of a network's layers, as the bytes of an ``.onnx`` file.

    The input and what the file says about it (``mrdo.*``: layout, colour, range, mean, std) stay; the outputs are the
    layers, under their own names and in the order given.

    Args:
        path: ``.onnx`` file.
        layers: names of tensors, see ``list_layers``; None takes ``first_stages``.
        options: what the file does not say about its input, or says wrongly; written into the result.

    Raises ModelError for an unreadable file or an unknown layer, ToolNotFoundError without onnx.
    """
    path = Path(path)
    model = _load(path)
    names = _first_stages(model, path) if layers is None else tuple(dict.fromkeys(layers))
    _end_at(model, names, path)
    _state(model, names, options or ModelOptions(), path)
    return bytes(model.SerializeToString())


def _first_stages(model: Any, path: Path) -> tuple[str, ...]:
    measured = _measured(model, path)
    strides = {layer.name: layer.stride for layer, _ in measured}
    found = []
    for stage in STAGES:
        readers = (node for layer, node in measured if layer.stride > stage)
        read = (name for node in readers for name in node.input if strides.get(name) == stage)
        last = next((layer.name for layer, _ in reversed(measured) if layer.stride == stage), None)
        found.append(next(read, last))
    names = tuple(name for name in found if name is not None)
    if not names:
        raise ModelError(f"{path}: no feature map at stride {' or '.join(map(str, STAGES))}; name one with --layer")
    return names


def _load(path: Path) -> Any:
    try:
        import onnx
    except ImportError as error:
        raise ToolNotFoundError(f"cutting {path.name} at a layer needs the onnx package: {HINT}") from error
    if not path.is_file():
        raise ModelError(f"no network file {path}; expected an .onnx file")
    try:
        return onnx.load(str(path))
    except Exception as error:
        raise ModelError(f"{path} is not an ONNX network: {str(error).splitlines()[0]}") from error


def _measured(model: Any, path: Path) -> list[tuple[Layer, Any]]:
    """Feature maps and the nodes that make them, in order."""
    import onnx

    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    size = _fix_input(probe, path)
    try:
        inferred = onnx.shape_inference.infer_shapes(probe, data_prop=True)
    except Exception as error:
        raise ModelError(f"{path}: its shapes cannot be inferred: {str(error).splitlines()[0]}") from error
    graph = inferred.graph
    shapes = {value.name: _shape(value) for value in (*graph.value_info, *graph.output)}
    return list(_feature_maps(graph, shapes, size))


def _feature_maps(graph: Any, shapes: dict[str, Any], size: tuple[int, int]) -> Iterator[tuple[Layer, Any]]:
    for node in graph.node:
        for name in node.output:
            stride = _stride(shapes.get(name), size)
            if stride is not None:
                yield Layer(name, node.op_type, stride, shapes[name][1]), node


def _fix_input(model: Any, path: Path) -> tuple[int, int]:
    """Give the image input a definite shape; returns its (H, W)."""
    image = _image(model, path).type.tensor_type.shape.dim
    rows, columns = (1, 2) if _is_channels_last(model, image) else (2, 3)
    # A fixed size stays: the network may hold constants that depend on it.
    size = (image[rows].dim_value or _PROBE[0], image[columns].dim_value or _PROBE[1])
    image[0].dim_value = image[0].dim_value or 1
    image[rows].dim_value, image[columns].dim_value = size
    return size


def _image(model: Any, path: Path) -> Any:
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    if len(inputs) != 1 or len(inputs[0].type.tensor_type.shape.dim) != 4:
        raise ModelError(f"{path}: {len(inputs)} inputs; expected one image of 4 dimensions")
    return inputs[0]


def _is_channels_last(model: Any, dims: Any) -> bool:
    stated = {entry.key: entry.value for entry in model.metadata_props}.get(PREFIX + "layout")
    return stated == "NHWC" if stated is not None else bool(dims[1].dim_value != 3 and dims[3].dim_value == 3)


def _shape(value: Any) -> tuple[int, ...] | None:
    from onnx import TensorProto

    tensor = value.type.tensor_type
    if tensor.elem_type not in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE):
        return None
    return tuple(dim.dim_value for dim in tensor.shape.dim)


def _stride(shape: tuple[int, ...] | None, size: tuple[int, int]) -> int | None:
    """Of an (N, C, h, w) tensor; None for anything else."""
    if shape is None or len(shape) != 4 or min(shape) < 1:
        return None
    height, width = shape[2:]
    down, across = round(size[0] / height), round(size[1] / width)
    # Convolutions without padding lose a few samples of each side.
    same = abs(height / size[0] - width / size[1]) < 0.02
    return down if down == across and down > 0 and same else None


def _end_at(model: Any, names: Sequence[str], path: Path) -> None:
    """Make ``names`` the outputs, in place, and drop what they do not need."""
    from onnx import TensorProto, helper, shape_inference

    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    unknown = [name for name in names if name not in makers]
    if unknown or not names:
        raise ModelError(f"{path}: no layer {', '.join(unknown) or '(none given)'}; mrdo export --list names them")
    inferred = shape_inference.infer_shapes(model).graph
    known = {value.name: value for value in (*inferred.value_info, *inferred.output)}
    needed = _needed(names, makers)
    kept = [node for node in graph.node if any(name in needed for name in node.output)]
    outputs = [known.get(n) or helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in names]
    del graph.node[:], graph.output[:], graph.value_info[:]
    graph.node.extend(kept)
    graph.output.extend(outputs)
    used = {name for node in kept for name in _reads(node)}
    for tensor in [t for t in graph.initializer if t.name not in used]:
        graph.initializer.remove(tensor)


def _needed(names: Sequence[str], makers: dict[str, Any]) -> set[str]:
    needed: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in makers and name not in needed:
            needed.add(name)
            waiting.extend(_reads(makers[name]))
    return needed


def _reads(node: Any) -> Iterator[str]:
    """Names a node reads, those its branches and loop bodies take from outside included."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (*attribute.graphs, attribute.g):
            for inner in graph.node:
                yield from _reads(inner)


def _state(model: Any, names: Sequence[str], options: ModelOptions, path: Path) -> None:
    """Keep what is said about the input, forget what was said about the output."""
    from onnx import helper

    said = {entry.key: entry.value for entry in model.metadata_props}
    shape = [dim.dim_value or None for dim in _image(model, path).type.tensor_type.shape.dim]
    spec = resolve(str(path), said, shape, options)
    stated = {"layout": spec.layout, "color": spec.color, "range": spec.range}
    stated |= {key: ",".join(f"{v:.9g}" for v in getattr(spec, key)) for key in ("mean", "std")}
    kept = {PREFIX + key: stated[key] for key in _INPUT_KEYS}
    kept |= {key: said[key] for key in said if not key.startswith(PREFIX)}
    arch = {key: said[key] for key in (PREFIX + "arch",) if key in said}
    del model.metadata_props[:]
    helper.set_model_props(model, {**kept, **arch, PREFIX + "task": "features", CUT: ",".join(names)})
