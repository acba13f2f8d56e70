"""VVenC: in no package registry; its programs come from the user, plain or patched with ``patches/vvenc-1.14.0``."""

from __future__ import annotations

from encoder_bridge.tools.base import TOOLS, Tool

VVENC = TOOLS.register("vvenc")(
    Tool(
        name="vvenc",
        programs=("vvencFFapp", "vvencapp"),
        title="VVenC",
        version=r"vvenc(?:FF)?app version v?(\d\S*)",
        advice=(
            "mrdo builds no VVenC: put vvencFFapp or vvencapp on the PATH or name it in MRDO_VVENC; for --rdo map and "
            "ctu build VVenC 1.14.0 with patches/vvenc-1.14.0 (its README says how) and name it in MRDO_VVENC_HOOKED"
        ),
        oldest="1.0",
    )
)
