"""VTM: in no package registry; the user brings a binary."""

from __future__ import annotations

from encoder_bridge.tools.base import TOOLS, Tool

VTM = TOOLS.register("vtm")(
    Tool(
        name="vtm",
        programs=("EncoderAppStatic", "EncoderApp"),
        title="VTM",
        version=r"VTM Encoder Version (\S+)",
        arguments=(),
        advice=(
            "set MRDO_VTM to an EncoderAppStatic of VTM 12.0 or 23, built from its source (it is in no package "
            "registry), with the source's cfg folder beside it or named by MRDO_VTM_CFG"
        ),
        oldest="12.0",
    )
)
