"""HM: a source package of Debian 13, built as it is."""

from __future__ import annotations

import shutil

from encoder_bridge.source_package import SourcePackage
from encoder_bridge.tools.base import TOOLS, Build, Recipe, Tool

_CMAKE_ARGS = (
    *("-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_POLICY_VERSION_MINIMUM=3.5"),
    # Its build makes warnings errors, which only the compilers of its time pass, and would link OpenMP unused.
    *("-DCMAKE_CXX_FLAGS=-w", "-DCMAKE_DISABLE_FIND_PACKAGE_OpenMP=ON"),
)
_NEEDED = {"cmake": "cmake", "make": "make", "g++": "g++"}


def _make(build: Build) -> None:
    objects = build.tree / "objects"
    objects.mkdir()
    build.run(["cmake", *_CMAKE_ARGS, str(build.tree)], objects)
    build.run(["make", "-j", str(build.jobs), "TAppEncoder"], objects, percent=True)
    shutil.copy(build.tree / "bin" / "TAppEncoderStatic", build.result / "hm")
    (build.result / "cfg").mkdir()
    for file in (build.tree / "cfg").glob("encoder_*.cfg"):
        shutil.copy(file, build.result / "cfg")


HM = TOOLS.register("hm")(
    Tool(
        name="hm",
        programs=("TAppEncoderStatic", "TAppEncoder"),
        title="HM",
        version=r"HM software: Encoder Version \[([^\]]+)\]",
        arguments=(),
        recipes=(
            Recipe(
                SourcePackage("hm-18.0", "hm", "hm_18.0.orig.tar.gz", "HM-HM-18.0"),
                _make,
                _NEEDED,
                depths=(),
            ),
        ),
    )
)
