"""Small clean-ups of ONNX graphs that other readers (onnx2torch) need; nothing changes a result."""

from __future__ import annotations

from typing import Any


def fold_initializers(model: Any) -> Any:
    """Replace Identity and Cast nodes that only rename or convert a stored tensor by that tensor, in place.

    The exporter merges equal tensors through Identity, and files keep weights as float16 behind Cast; converters
    look for weights among the initializers only. Takes and returns an ``onnx.ModelProto``.
    """
    from onnx import numpy_helper

    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    kept = []
    for node in graph.node:
        source = stored.get(node.input[0]) if node.op_type in ("Identity", "Cast") and node.input else None
        if source is None or node.output[0] in {o.name for o in graph.output}:
            kept.append(node)
            continue
        array = numpy_helper.to_array(source)
        if node.op_type == "Cast":
            array = array.astype(_cast_type(node))
        folded = numpy_helper.from_array(array, node.output[0])
        stored[node.output[0]] = folded
        graph.initializer.append(folded)
    del graph.node[:]
    graph.node.extend(kept)
    _drop_unused(graph)
    return model


def _cast_type(node: Any) -> Any:
    from onnx import helper

    return helper.tensor_dtype_to_np_dtype(next(a.i for a in node.attribute if a.name == "to"))


def _drop_unused(graph: Any) -> None:
    used = {name for node in graph.node for name in node.input} | {o.name for o in graph.output}
    unused = [tensor for tensor in graph.initializer if tensor.name not in used]
    for tensor in unused:
        graph.initializer.remove(tensor)
