"""One file per program; taking the registry from here is what registers them all."""

from encoder_bridge.tools import x265
from encoder_bridge.tools.base import TOOLS, Build, Recipe, Tool

__all__ = ["TOOLS", "Build", "Recipe", "Tool", "x265"]
