"""x265: Debian 12's source package is 3.5, Debian 13's 4.1."""

from __future__ import annotations

import re
import shutil

from encoder_bridge.source_package import SourcePackage
from encoder_bridge.tools.base import TOOLS, Build, Recipe, Tool

_CMAKE_ARGS = ("-DCMAKE_BUILD_TYPE=Release", "-DENABLE_SHARED=OFF", "-DCMAKE_POLICY_VERSION_MINIMUM=3.5")
_NEEDED = {"cmake": "cmake", "make": "make", "g++": "g++", "cc": "gcc", "nasm": "nasm"}


def _make(build: Build) -> None:
    flags = () if build.plain else (f"-DCMAKE_CXX_FLAGS=-DMRDO_PATCH_HASH={build.patch_hash}",)
    high = f"-DHIGH_BIT_DEPTH={'ON' if build.depth > 8 else 'OFF'}"
    objects = build.tree / "objects"
    objects.mkdir()
    build.run(["cmake", *_CMAKE_ARGS, high, *flags, str(build.tree / "source")], objects)
    build.run(["make", "-j", str(build.jobs), "cli"], objects, percent=True)
    for name in ("x265", "libx265.a"):
        shutil.copy(objects / name, build.result / name)


def _depths(text: str) -> tuple[int, ...]:
    return tuple(sorted({int(bits) for bits in re.findall(r"\b(8|10|12)bit", text)})) or (8,)


def _recipe(version: str, packed: str) -> Recipe:
    source = SourcePackage(f"x265-{version}", "x265", f"x265_{version}.orig.tar.{packed}", f"x265_{version}")
    return Recipe(source, _make, _NEEDED, hook="source/encoder")


X265 = TOOLS.register("x265")(
    Tool(
        name="x265",
        programs=("x265",),
        title="x265",
        version=r"HEVC encoder version (\S+)",
        depths=_depths,
        recipes=(_recipe("3.5", "gz"), _recipe("4.1", "xz")),
    )
)
