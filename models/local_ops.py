"""How each ONNX operator carries a difference, for ``models.local_graph``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from models.local_builder import FINE, Average, Builder, Pool, Stretch

Rule = Callable[[Builder, Any], bool]
"""Adds what a node makes of its differing inputs; False where it cannot be told, which freezes the node."""

_WIDEST = 16
"""Picture samples around a window that the first layers may look at."""
_REACH = 96
"""Picture samples beyond which a pooling looks too far to be local."""
_POINTWISE = (
    "Abs", "Ceil", "Clip", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Max",
    "Min", "Mish", "Pow", "PRelu", "Reciprocal", "Selu", "Sigmoid", "Sign", "Softplus", "Softsign", "Sqrt", "Tanh",
    "ThresholdedRelu",
)  # fmt: skip


def carry(builder: Builder, node: Any) -> None:
    """Add to the window's graph what a node of the network makes of differences, or freeze it."""
    if not any(name in builder.moved for name in node.input):
        return
    if _widened(builder, node):
        return
    rule = RULES.get(node.op_type)
    local = all(builder.stride(name) for name in node.output if name) or node.op_type == "Transpose"
    if node.op_type in ("Shape", "Size"):
        return
    if rule is None or not local or not rule(builder, node):
        builder.frozen.append(f"{node.op_type} {node.name}".strip())


def _widened(builder: Builder, node: Any) -> bool:
    """Compute a node of the first layers for the window and what is around it, just as the network does."""
    known = [name for name in node.input if name in builder.wide]
    fixed = all(not name or name in builder.wide or name in builder.stored for name in node.input)
    further = _blind(builder, node)
    if not known or not fixed or further is None or len(node.output) > 1:
        return False
    blind = max(builder.wide[name].blind for name in known) + further
    fine = max(builder.moved[name].stride for name in known) < FINE
    if blind > _WIDEST or not fine or not 0 < (builder.stride(node.output[0]) or 0) <= FINE:
        return False

    def make() -> str:
        inputs = [builder.wide[n].make() if n in builder.wide else builder.of_base(n) if n else "" for n in node.input]
        return builder.emit(node.op_type, inputs, **attributes_of(node))

    builder.widens(node.output[0], make, blind)
    return True


def _blind(builder: Builder, node: Any) -> int | None:
    """Picture samples by which a node extends what it cannot know at the edges; None for an unfit operator."""
    if node.op_type in (*_POINTWISE, "Relu", "Add", "Sub", "Mul", "Div", "BatchNormalization"):
        return 0
    attributes = attributes_of(node)
    if node.op_type not in ("Conv", "MaxPool", "AveragePool") or attributes.get("auto_pad", "NOTSET") != "NOTSET":
        return None
    stride, kernel = builder.moved[node.input[0]].stride, attributes.get("kernel_shape")
    if kernel is None:
        kernel = builder.stored[node.input[1]].dims[2:]
    steps, pads = attributes.get("dilations", [1, 1]), attributes.get("pads", [0, 0, 0, 0])
    reach = [(k - 1) * d for k, d in zip(kernel, steps, strict=True)]
    return int(stride * max(max(p, r - p) for p, r in zip(pads[:2], reach, strict=True)))


def stretched(
    builder: Builder, name: str, attributes: tuple[tuple[str, Any], ...], source: int, target: int, last: bool = False
) -> str:
    """A resized tensor: a product with two matrices is exact at the window's and at the picture's borders alike."""
    stretch = Stretch(f"m{len(builder.stretches)}", attributes, source, target, last)
    builder.stretches.append(stretch)
    return builder.emit("MatMul", [f"{stretch.name}/y", builder.emit("MatMul", [name, f"{stretch.name}/x"])])


def attributes_of(node: Any) -> dict[str, Any]:
    """Of a node, as Python values."""
    from onnx import helper

    found = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {key: value.decode() if isinstance(value, bytes) else value for key, value in found.items()}


def _moved(builder: Builder, node: Any) -> list[str]:
    return [name for name in node.input if name in builder.moved]


def _linear(builder: Builder, node: Any, *others: str, **attributes: Any) -> bool:
    """The same operator on the difference; ``others`` are its further inputs."""
    source = builder.moved[node.input[0]]
    kept = {**attributes_of(node), **attributes}
    builder.differs(node.output[0], lambda: builder.emit(node.op_type, [source.difference(), *others], **kept))
    return True


def _same(builder: Builder, node: Any) -> bool:
    builder.differs(node.output[0], builder.moved[node.input[0]].difference)
    return True


def _conv(builder: Builder, node: Any) -> bool:
    if node.input[1] in builder.moved:
        return False
    return _linear(builder, node, builder.of_base(node.input[1]))


def _rearranged(builder: Builder, node: Any) -> bool:
    return _linear(builder, node)


def _pointwise(builder: Builder, node: Any) -> bool:
    """On values, as an operator that looks at one position does."""
    attributes = attributes_of(node)

    def value() -> str:
        inputs = [_value(builder, name) for name in node.input]
        return builder.emit(node.op_type, inputs, **attributes)

    builder.becomes(node.output[0], value)
    return True


def _value(builder: Builder, name: str) -> str:
    if name in builder.moved:
        return builder.moved[name].value()
    return builder.of_base(name) if name else ""


def _relu(builder: Builder, node: Any) -> bool:
    name = node.input[0]
    source = builder.moved[name]

    def difference() -> str:
        low, floor = builder.rectified(name)
        return builder.emit("Max", [builder.emit("Add", [source.difference(), low]), floor])

    builder.becomes(node.output[0], lambda: builder.emit("Relu", [source.value()]), difference)
    return True


def _sum(builder: Builder, node: Any) -> bool:
    moved = _moved(builder, node)
    shape = builder.shapes.get(node.output[0])
    if any(builder.moved[name].shape != shape for name in moved):
        return _pointwise(builder, node)
    if node.op_type == "Sub":
        return _less(builder, node)
    parts = [builder.moved[name].difference for name in moved]
    if len(parts) == 1:
        builder.differs(node.output[0], parts[0])
    else:
        builder.differs(node.output[0], lambda: builder.emit(node.op_type, [part() for part in parts]))
    return True


def _less(builder: Builder, node: Any) -> bool:
    first, second = (builder.moved.get(name) for name in node.input)

    def difference() -> str:
        if second is None:
            assert first is not None
            return first.difference()
        if first is None:
            return builder.emit("Neg", [second.difference()])
        return builder.emit("Sub", [first.difference(), second.difference()])

    builder.differs(node.output[0], difference)
    return True


def _scaled(builder: Builder, node: Any) -> bool:
    """Products and quotients: linear where only the first (for a product, any one) differs."""
    moved = _moved(builder, node)
    fixed = [name for name in node.input if name not in builder.moved]
    alone = len(moved) == 1 and builder.moved[moved[0]].shape == builder.shapes.get(node.output[0])
    if not alone or (node.op_type == "Div" and node.input[0] not in builder.moved):
        return _pointwise(builder, node)
    source = builder.moved[moved[0]]
    builder.differs(
        node.output[0], lambda: builder.emit(node.op_type, [source.difference(), builder.of_base(fixed[0])])
    )
    return True


def _batch_norm(builder: Builder, node: Any) -> bool:
    from onnx import numpy_helper

    if any(name not in builder.stored for name in node.input[1:]):
        return False
    scale, _, _, variance = (numpy_helper.to_array(builder.stored[name]) for name in node.input[1:5])
    factor = scale / np.sqrt(variance + attributes_of(node).get("epsilon", 1e-5))
    source = builder.moved[node.input[0]]
    weight = builder.constant(factor.astype(np.float32).reshape(1, -1, 1, 1))
    builder.differs(node.output[0], lambda: builder.emit("Mul", [source.difference(), weight]))
    return True


def _concat(builder: Builder, node: Any) -> bool:
    if attributes_of(node)["axis"] not in (1, -3):
        return False
    some = builder.moved[_moved(builder, node)[0]]

    def difference() -> str:
        parts = [
            builder.moved[name].difference() if name in builder.moved else _zeros(builder, some.difference(), name)
            for name in node.input
        ]
        return builder.emit("Concat", parts, axis=1)

    builder.differs(node.output[0], difference)
    return True


def _zeros(builder: Builder, like: str, name: str) -> str:
    """As many positions as ``like``, as many channels as the frozen tensor ``name``."""
    shape = builder.emit("Shape", [like])
    count, sides = (
        builder.emit("Slice", [shape, *(builder.constant(np.array([v], np.int64)) for v in span)])
        for span in ((0, 1), (2, 4))
    )
    channels = builder.constant(np.array([builder.shapes[name][1]], np.int64))
    wanted = builder.emit("Concat", [count, channels, sides], axis=0)
    return builder.emit("Expand", [builder.constant(np.zeros((1, 1, 1, 1), np.float32)), wanted])


def _split(builder: Builder, node: Any) -> bool:
    attributes = attributes_of(node)
    if attributes.get("axis", 0) not in (1, -3) or any(name not in builder.stored for name in node.input[1:]):
        return False
    source, others = builder.moved[node.input[0]], [builder.of_base(name) for name in node.input[1:]]
    made: list[str] = []

    def part(index: int) -> str:
        if not made:
            made.append(builder.emit("Split", [source.difference(), *others], len(node.output), **attributes))
        return made[0] if index == 0 else f"{made[0]}/{index}"

    for index, name in enumerate(node.output):
        builder.differs(name, lambda index=index: part(index))  # type: ignore[misc]
    return True


def _slice(builder: Builder, node: Any) -> bool:
    from onnx import numpy_helper

    if any(name and name not in builder.stored for name in node.input[1:]) or len(node.input) < 4:
        return False
    axes = numpy_helper.to_array(builder.stored[node.input[3]]).tolist()
    return set(axes) <= {1, -3} and _linear(builder, node, *(builder.of_base(name) for name in node.input[1:]))


def _cast(builder: Builder, node: Any) -> bool:
    from onnx import TensorProto

    return bool(attributes_of(node)["to"] == TensorProto.FLOAT) and _same(builder, node)


def _transpose(builder: Builder, node: Any) -> bool:
    """Only the one that brings a picture into the order that differences have anyway."""
    if attributes_of(node).get("perm") != [0, 3, 1, 2] or len(builder.moved) > 1:
        return False
    name = node.input[0]
    builder.wide[node.output[0]], builder.moved[node.output[0]] = builder.wide[name], builder.moved[name]
    return True


def _over_channels(builder: Builder, node: Any) -> bool:
    from onnx import numpy_helper

    attributes = attributes_of(node)
    axes = attributes.get("axes", [attributes["axis"]] if "axis" in attributes else None)
    if axes is None and len(node.input) > 1 and node.input[1] in builder.stored:
        axes = numpy_helper.to_array(builder.stored[node.input[1]]).tolist()
    return axes in ([1], [-3]) and bool(attributes.get("keepdims", 1)) and _pointwise(builder, node)


def _resize(builder: Builder, node: Any) -> bool:
    attributes = attributes_of(node)
    name, source = node.input[0], builder.moved[node.input[0]]
    target = builder.stride(node.output[0])
    assert target is not None
    kept = {k: v for k, v in attributes.items() if k not in ("axes", "keep_aspect_ratio_policy")}
    if node.op_type == "Upsample":
        kept["coordinate_transformation_mode"] = "asymmetric"
    mode, how = kept.get("mode", "nearest"), kept.get("coordinate_transformation_mode", "half_pixel")
    if how == "tf_crop_and_resize" or builder.shapes[name][1] != builder.shapes[node.output[0]][1]:
        return False
    if mode == "nearest" and how in ("asymmetric", "half_pixel", "pytorch_half_pixel") and source.stride % target == 0:
        scales = builder.constant(np.array([1, 1, *[source.stride / target] * 2], np.float32))
        builder.differs(node.output[0], lambda: builder.emit("Resize", [source.difference(), "", scales], **kept))
        return True
    last, listed = node.output[0] == builder.logits, tuple(sorted(kept.items()))
    builder.differs(
        node.output[0], lambda: stretched(builder, source.difference(), listed, source.stride, target, last)
    )
    return True


def _pool(builder: Builder, node: Any) -> Pool | None:
    """The pooling of a node; None where it looks too far, or in no simple way."""
    attributes = attributes_of(node)
    (rows, columns), steps = attributes["kernel_shape"], attributes.get("strides", [1, 1])
    pads = attributes.get("pads", [0, 0, 0, 0])
    far = max(rows, columns) * builder.moved[node.input[0]].stride > _REACH
    simple = steps[0] == steps[1] and max(attributes.get("dilations", [1])) == 1 and len(node.output) == 1
    if far or not simple or attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return None
    return Pool((rows, columns), steps[0], (pads[0], pads[1]))


def _max_pool(builder: Builder, node: Any) -> bool:
    """The greatest of what lies inside the window and, apart, of the base around it."""
    name, pool = node.input[0], _pool(builder, node)
    if pool is None:
        return False
    overlapping = any(pool.pad) or max(pool.kernel) > pool.step

    def value() -> str:
        inside = builder.emit("MaxPool", [builder.moved[name].value()], **attributes_of(node))
        return builder.emit("Max", [inside, builder.of_base(name, pool)]) if overlapping else inside

    builder.becomes(node.output[0], value)
    return True


def _average_pool(builder: Builder, node: Any) -> bool:
    pool, attributes = _pool(builder, node), attributes_of(node)
    if pool is None:
        return False
    if not any(attributes.get("pads", [0])) or attributes.get("count_include_pad", 0):
        return _linear(builder, node, count_include_pad=1)
    name, source = node.output[0], builder.moved[node.input[0]]
    average = Average(f"{name}/average", builder.stride(name) or 1, pool)
    builder.averages.append(average)
    builder.shapes[average.source] = (1, 1, *builder.shapes[name][2:])
    kept = {**attributes, "count_include_pad": 1}

    def difference() -> str:
        mean = builder.emit("AveragePool", [source.difference()], **kept)
        return builder.emit("Mul", [mean, builder.of_base(average.source)])

    builder.differs(name, difference)
    return True


RULES: dict[str, Rule] = {
    **dict.fromkeys(_POINTWISE, _pointwise),
    **dict.fromkeys(("Softmax", "LogSoftmax", "ReduceMean", "ReduceMax", "ReduceSum"), _over_channels),
    **dict.fromkeys(("Conv", "ConvTranspose"), _conv),
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth", "Neg"), _rearranged),
    **dict.fromkeys(("Identity", "Dropout"), _same),
    **dict.fromkeys(("Add", "Sub", "Sum"), _sum),
    **dict.fromkeys(("Mul", "Div"), _scaled),
    **dict.fromkeys(("Resize", "Upsample"), _resize),
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Concat": _concat,
    "MaxPool": _max_pool,
    "Relu": _relu,
    "Slice": _slice,
    "Split": _split,
    "Transpose": _transpose,
}
"""Operators that carry differences; all others are frozen."""
