"""HM (HEVC's reference encoder), as an anchor."""

from __future__ import annotations

from typing import ClassVar

from encoder_bridge.encoder import ENCODERS
from encoder_bridge.encoders.reference import Reference, ReferenceEncoder
from encoder_bridge.quality import QP_51, QualityScale

_FILES = {"intra": "encoder_intra", "lowdelay": "encoder_lowdelay_P", "randomaccess": "encoder_randomaccess"}


@ENCODERS.register("hm")
class HM(ReferenceEncoder):
    """HEVC by HM 18 (`mrdo build hm`) with its own main and main10 configurations; fixed QP."""

    codec: ClassVar[str] = "hevc"
    suffix: ClassVar[str] = ".hevc"
    quality: ClassVar[QualityScale] = QP_51
    reference: ClassVar[Reference] = Reference(
        name="hm",
        min_side=8,
        cfg={
            (gop, depth): f"{file}_main{'10' if depth == 10 else ''}.cfg"
            for gop, file in _FILES.items()
            for depth in (8, 10)
        },
        profile={
            ("400", 8): "monochrome",
            ("400", 10): "monochrome12",
            ("420", 8): "main",
            ("420", 10): "main10",
            ("422", 8): "main_422_10",
            ("422", 10): "main_422_10",
            ("444", 8): "main_444",
            ("444", 10): "main_444_10",
        },
        ctu=64,
    )

    def own_options(self) -> tuple[str, ...]:
        """Parameter sets once, as every encoder here writes them."""
        # With colour tags HM insists on a bit rate, which no rate control here looks at.
        return ("--ReWriteParamSetsFlag=0", "--VideoSignalTypePresent=1", "--TargetBitrate=1")
