"""One file per codec; taking the registry from here is what registers them all."""

from encoder_bridge.encoder import ENCODERS
from encoder_bridge.encoders import dummy, hm, jm, jpeg, jpeg2000, vtm, vvenc, x264, x265

__all__ = ["ENCODERS", "dummy", "hm", "jm", "jpeg", "jpeg2000", "vtm", "vvenc", "x264", "x265"]
