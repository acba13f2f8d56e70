"""VTM (VVC's reference encoder), as an anchor."""

from __future__ import annotations

from typing import ClassVar

from encoder_bridge.encoder import ENCODERS
from encoder_bridge.encoders.reference import Reference, ReferenceEncoder
from encoder_bridge.quality import QP_63, QualityScale

_FILES = {"intra": "encoder_intra", "lowdelay": "encoder_lowdelay_P", "randomaccess": "encoder_randomaccess"}


@ENCODERS.register("vtm")
class VTM(ReferenceEncoder):
    """VVC by any VTM named by ``MRDO_VTM`` or on the PATH, with its own configurations; fixed QP."""

    codec: ClassVar[str] = "vvc"
    suffix: ClassVar[str] = ".266"
    quality: ClassVar[QualityScale] = QP_63
    reference: ClassVar[Reference] = Reference(
        name="vtm",
        min_side=8,
        cfg={(gop, depth): f"{file}_vtm.cfg" for gop, file in _FILES.items() for depth in (8, 10)},
        profile={},
        ctu=128,
    )

    def own_options(self) -> tuple[str, ...]:
        """Parameter sets once, as every encoder here writes them."""
        # The last level that reports the bytes written, by which a finished stream is known.
        return ("--ReWriteParamSets=0", "--Verbosity=6")
