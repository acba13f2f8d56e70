"""One file per codec; taking the registry from here is what registers them all."""

from encoder_bridge.encoder import ENCODERS
from encoder_bridge.encoders import x265

__all__ = ["ENCODERS", "x265"]
