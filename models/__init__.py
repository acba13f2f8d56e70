"""Networks: run (ONNX Runtime), differentiate, train, export; the default networks and the embedded scene."""

from __future__ import annotations

from pathlib import Path

_DEFAULT = Path(__file__).parent / "default"


def default_model_path() -> Path:
    """The network that drives the encoder when none is named; its card lies beside it."""
    return _DEFAULT / "segmentation.onnx"


def judge_model_path() -> Path:
    """A network of another architecture that only judges."""
    return _DEFAULT / "judge.onnx"
