"""Names of the interpolations and of the hulls, apart from what they need, so that a command's help loads no SciPy."""

from __future__ import annotations

from typing import Literal, get_args

Method = Literal["pchip", "akima", "cubic", "vcm"]
METHODS: tuple[str, ...] = get_args(Method)
Shape = Literal["pareto", "convex"]
SHAPES: tuple[str, ...] = get_args(Shape)
