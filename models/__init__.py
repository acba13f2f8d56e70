"""Networks: run (ONNX Runtime), differentiate, train, export; the default networks and the embedded scene."""

from __future__ import annotations

from pathlib import Path

_DEFAULT = Path(__file__).parent / "default"


def default_model_path() -> Path:
    """The network that drives the encoder when none is named; its card lies beside it."""
    return _DEFAULT / "segmentation.onnx"


def map_model_path(variant: str = "image") -> Path:
    """The network behind ``--map learned`` ("image"), ``learned-pass`` ("pass") and ``learned-head`` ("head")."""
    return _DEFAULT / {"image": "map.onnx", "pass": "map_pass.onnx", "head": "map_head.onnx"}[variant]


def block_model_path() -> Path:
    """The network behind ``--metric learned``: where the default network changes its mind between two pictures."""
    return _DEFAULT / "block.onnx"


def judge_model_path() -> Path:
    """A network of another architecture that only judges."""
    return _DEFAULT / "judge.onnx"


def robust_model_path() -> Path:
    """The default network after progressive training: for receivers that see coarsely coded pictures."""
    return _DEFAULT / "robust.onnx"
