"""JM, the reference encoder of AVC: in no package registry; the user brings a binary, plain or patched."""

from __future__ import annotations

from encoder_bridge.tools.base import TOOLS, Tool

JM = TOOLS.register("jm")(
    Tool(
        name="jm",
        programs=("lencod", "lencod_static"),
        title="JM",
        version=r"JM-(\d\S*)",
        arguments=("-v",),
        advice=(
            "mrdo builds no JM: put lencod of JM 19 on the PATH or name it in MRDO_JM; for --rdo map and ctu build "
            "JM 19.1 with patches/jm-19.1 (its README says how) and name its lencod in MRDO_JM_HOOKED"
        ),
    )
)
