"""Stand-in for ``mmcv.ops``, which mmcv-lite lacks and mmsegmentation imports.

``point_sample`` is real (through ``grid_sample``); every other operator is a name that raises when it is used.
Nothing this project builds calls them.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from typing import Any

from encoder_bridge.errors import ToolNotFoundError
from encoder_bridge.extras import need


def point_sample(features: Any, points: Any, align_corners: bool = False, **options: Any) -> Any:
    """Bilinear samples of (N, C, H, W) features at (N, P, 2) or (N, Hg, Wg, 2) points in [0, 1]²; mmcv's convention."""
    from torch.nn.functional import grid_sample

    flat = points.dim() == 3
    grid = 2.0 * (points.unsqueeze(2) if flat else points) - 1.0
    sampled = grid_sample(features, grid, align_corners=align_corners, **options)
    return sampled.squeeze(3) if flat else sampled


class _Absent:
    """A compiled operator this environment does not have; subclassing is harmless, building one is not."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        raise ToolNotFoundError(f"mmcv.ops.{type(self).__name__} needs the full mmcv, not mmcv-lite")


class _Ops(types.ModuleType):
    """Answers any public name; dunder look-ups fail as in a real module, or ``inspect`` and ``import`` go astray."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (_Absent,), {})


def install() -> None:
    """Make ``import mmseg`` work with mmcv-lite; a full mmcv is left alone.

    Raises ToolNotFoundError where mmsegmentation, mmcv or mmengine is absent.
    """
    need("train", "torch", "mmengine", "mmcv", "mmseg")
    if "mmcv.ops" in sys.modules or importlib.util.find_spec("mmcv._ext") is not None:
        return
    ops = _Ops("mmcv.ops")
    ops.__path__ = []
    ops.__dict__["point_sample"] = point_sample
    sys.modules["mmcv.ops"] = ops
