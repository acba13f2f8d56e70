"""One file per program; taking the registry from here is what registers them all."""

from encoder_bridge.tools import hm, jm, vtm, vvenc, x264, x265
from encoder_bridge.tools.base import TOOLS, Build, Recipe, Tool

__all__ = ["TOOLS", "Build", "Recipe", "Tool", "hm", "jm", "vtm", "vvenc", "x264", "x265"]
