"""x264: its library as it is, and its program linked with our functions around two of the library's."""

from __future__ import annotations

import shutil

from encoder_bridge.source_package import SourcePackage
from encoder_bridge.tools.base import TOOLS, Build, Recipe, Tool

_CONFIGURE = (
    *("--disable-avs", "--disable-swscale", "--disable-lavf", "--disable-ffms", "--disable-gpac", "--disable-lsmash"),
    *("--disable-opencl", "--disable-bashcompletion"),
)
_NEEDED = {"make": "make", "g++": "g++", "cc": "gcc", "nasm": "nasm"}
PLAIN = "x264-plain"
"""Beside a hooked x264: the program without our hook, of the same objects; only the last link differs."""
_HOOK = "mrdo"
_WRAPPED = ("main", "x264_encoder_encode", "x264_encoder_close")


def _make(build: Build) -> None:
    program, make = build.tree / "x264", ["make", "-j", str(build.jobs), "x264"]
    build.run(["./configure", *_CONFIGURE], build.tree)
    build.run(make, build.tree)
    if not build.plain:
        program.rename(build.result / PLAIN)
        build.run([*make, f"LDFLAGSCLI={_hook(build)}"], build.tree)
    shutil.copy(program, build.result / "x264")


def _hook(build: Build) -> str:
    """Compiles our part; what the linker must be told to put it between x264's program and its library."""
    folder = build.tree / _HOOK
    flags = ("-std=gnu++98", "-O2", f"-DMRDO_PATCH_HASH={build.patch_hash}", f"-I{build.tree}")
    objects = []
    for name in ("mrdo_hook", "mrdo_x264"):
        objects.append(f"{_HOOK}/{name}.o")
        build.run(["g++", *flags, "-c", f"{name}.cpp", "-o", f"{name}.o"], folder)
    return " ".join([*(f"-Wl,--wrap={name}" for name in _WRAPPED), *objects, "-lstdc++", "-ldl"])


def _recipe(version: str, commit: str) -> Recipe:
    upstream = f"{version}+git{commit}"
    source = SourcePackage(f"x264-{version}", "x264", f"x264_{upstream}.orig.tar.gz", f"x264-{upstream}")
    return Recipe(source, _make, _NEEDED, depths=(), hook=_HOOK)


X264 = TOOLS.register("x264")(
    Tool(
        name="x264",
        programs=("x264",),
        title="x264",
        version=r"x264 (0\.\d+\.\w+)",
        recipes=(_recipe("0.164.3095", "baee400"), _recipe("0.164.3108", "31e19f9")),
    )
)
"""Debian 12 has 0.164.3095, Debian 13 0.164.3108."""
