"""What a network expects at its input and calls its classes: ONNX metadata (``mrdo.*``), flags, and tensor shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from encoder_bridge.errors import ModelError

PREFIX = "mrdo."
LAYOUTS = ("NCHW", "NHWC")
COLORS = ("RGB", "BGR")
RANGES = ("0..255", "0..1")
IGNORE = 255
FLAGS = {"color": "--color-order", "range": "--input-range", "mean": "--mean", "std": "--std"}


@dataclass(frozen=True)
class ModelOptions:
    """What the user states about a network; each value overrides the file's metadata, None leaves it alone.

    Attributes:
        layout: "NCHW" or "NHWC", of the image input; of the logits where nothing tells theirs (``logits_layout``).
        color: "RGB" or "BGR".
        range: "0..255" or "0..1", before mean and std.
        mean, std: three values in units of ``range``, in the order of ``color``: input = (image − mean) / std.
        classes: names in label order.
        output: name of the output that carries logits or labels.
    """

    layout: str | None = None
    color: str | None = None
    range: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    classes: tuple[str, ...] | None = None
    output: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready form of what was stated; part of a model's digest."""
        return {k: v for k, v in asdict(self).items() if v is not None}


@dataclass(frozen=True)
class InputSpec:
    """How an RGB picture becomes the network's input tensor; every value is known.

    Attributes:
        layout, color, range, mean, std: as in ModelOptions.
        batch: fixed batch size, None where any will do.
        size: fixed (H, W), None where any will do; pictures are resized to it and logits resized back.
        classes: names, empty where nobody states them.
        output_layout: "NCHW" or "NHWC" of the logits where the file states it (``mrdo.output_layout``), else None.
    """

    layout: str
    color: str
    range: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    batch: int | None = None
    size: tuple[int, int] | None = None
    classes: tuple[str, ...] = ()
    output_layout: str | None = None


def resolve(name: str, metadata: Mapping[str, str], shape: Sequence[Any], options: ModelOptions) -> InputSpec:
    """Put flags, metadata and the input's shape (from the file; symbols or None where dynamic) together.

    Nothing that changes a result is guessed: colour order, range, mean and std must be stated by the file or by
    flags. Raises ModelError naming what is missing, or the value that is wrong.
    """
    if len(shape) != 4:
        raise ModelError(f"{name}: input of {len(shape)} dimensions {list(shape)}; expected an image batch of 4")
    stated = {k.removeprefix(PREFIX): v for k, v in metadata.items() if k.startswith(PREFIX)}
    stated |= {k: v for k, v in options.as_dict().items() if k != "output"}
    layout = _layout(name, stated.get("layout"), shape)
    output_layout = stated.get("output_layout")
    missing = [k for k in ("color", "range", "mean", "std") if k not in stated]
    if missing:
        flags = " ".join(FLAGS[k] for k in missing)
        raise ModelError(f"{name}: the file does not state its input {', '.join(missing)}; give {flags}")
    batch, height, width = (shape[i] for i in ((0, 2, 3) if layout == "NCHW" else (0, 1, 2)))
    fixed = isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0
    return InputSpec(
        layout=layout,
        color=_one_of(name, "color", stated["color"], COLORS),
        range=_one_of(name, "range", stated["range"], RANGES),
        mean=_triple(name, "mean", stated["mean"]),
        std=_triple(name, "std", stated["std"]),
        batch=batch if isinstance(batch, int) and batch > 0 else None,
        size=(height, width) if fixed else None,
        classes=_names(stated.get("classes", ())),
        output_layout=None if output_layout is None else _one_of(name, "output_layout", output_layout, LAYOUTS),
    )


def logits_layout(spec: InputSpec, declared: Sequence[Any], actual: Sequence[int], fed: Sequence[int]) -> str:
    """ "NCHW" or "NHWC" of the network's logits, which need not be that of its input.

    The first of these that singles out one layout: ``mrdo.output_layout``; the axis as long as the list of class
    names; the one fixed dimension of the file's output shape; the picture's proportions; a fixed channel dimension
    smaller than height and width; the input's layout.

    Args:
        spec: of the network.
        declared: the output's shape of 4 in the file, symbols or None where dynamic.
        actual: the shape of the answer.
        fed: (H, W) of the picture that the network was given.
    """
    if spec.output_layout is not None:
        return spec.output_layout
    named = [k for k in LAYOUTS if _planes(k, actual)[0] == len(spec.classes)]
    fixed = [k for k in LAYOUTS if _fixes_channels(*_planes(k, declared), smaller=False)]
    fitting = [k for k in LAYOUTS if _same_proportions(_planes(k, actual)[1:], fed)]
    smaller = [k for k in LAYOUTS if _fixes_channels(*_planes(k, declared), smaller=True)]
    for candidates in (named, fixed, fitting, smaller):
        if len(candidates) == 1:
            return candidates[0]
    return spec.layout


def _planes(layout: str, shape: Sequence[Any]) -> tuple[Any, Any, Any]:
    """(C, h, w) of a shape of 4."""
    return (shape[1], shape[2], shape[3]) if layout == "NCHW" else (shape[3], shape[1], shape[2])


def _fixes_channels(channels: Any, height: Any, width: Any, smaller: bool) -> bool:
    if not isinstance(channels, int) or channels < 1:
        return False
    return all(not isinstance(side, int) or side < 1 or (smaller and side > channels) for side in (height, width))


def _same_proportions(size: Sequence[int], fed: Sequence[int]) -> bool:
    # A strided network rounds each side by less than one of its own samples.
    return abs(size[0] * fed[1] - size[1] * fed[0]) <= max(fed)


def _layout(name: str, stated: Any, shape: Sequence[Any]) -> str:
    candidates = [layout for layout, axis in (("NCHW", 1), ("NHWC", 3)) if shape[axis] == 3]
    if stated is not None:
        layout = _one_of(name, "layout", stated, LAYOUTS)
        channels = shape[LAYOUTS.index(layout) * 2 + 1]
        if isinstance(channels, int) and channels not in (3, 0, -1):
            raise ModelError(f"{name}: {channels} input channels in {layout} shape {list(shape)}; expected 3")
        return layout
    if len(candidates) != 1:
        raise ModelError(f"{name}: input shape {list(shape)} has no clear channel axis of 3; give --layout")
    return candidates[0]


def _one_of(name: str, what: str, value: Any, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ModelError(f"{name}: {what} {value!r}; expected {' or '.join(allowed)}")
    return str(value)


def _triple(name: str, what: str, value: Any) -> tuple[float, float, float]:
    parts = value.split(",") if isinstance(value, str) else list(value)
    try:
        numbers = [float(p) for p in parts]
    except ValueError:
        numbers = []
    if len(numbers) != 3 or (what == "std" and min(numbers) <= 0):
        raise ModelError(f"{name}: {what} {value!r}; expected three{' positive' if what == 'std' else ''} numbers")
    return numbers[0], numbers[1], numbers[2]


def _names(value: Any) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    return tuple(str(p).strip() for p in parts if str(p).strip())
