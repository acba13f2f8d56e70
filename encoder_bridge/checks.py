"""What `mrdo doctor` looks at. Upper packages register checks of their own in ``CHECKS``."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from encoder_bridge.encoder import BuildInfo
from encoder_bridge.errors import BridgeError
from encoder_bridge.registry import Registry

APT = {"nasm": "nasm", "cmake": "cmake", "g++": "g++", "git": "git"}
_MIN_FREE_GB = 1.0


@dataclass(frozen=True)
class ToolStatus:
    """One line of `mrdo doctor`.

    Attributes:
        name: what was looked for.
        ok: it is here and usable.
        path, version: where and which, "" where unknown or absent.
        hooked: an encoder with our hook (None for what is no encoder).
        abi: plugin ABI of a hooked encoder.
        advice: how to get what is missing, or a remark.
        needed: the main job (encode with a map, compare) cannot run without it.
    """

    name: str
    ok: bool
    path: str = ""
    version: str = ""
    hooked: bool | None = None
    abi: int | None = None
    advice: str = ""
    needed: bool = False


Check = Callable[[], Iterable[ToolStatus]]
CHECKS: Registry[Check] = Registry("check")


def run_checks() -> Iterator[ToolStatus]:
    """Every registered check, in the order of names; one that fails is itself reported as a failure."""
    for name in CHECKS:
        try:
            yield from CHECKS.get(name)()
        except Exception as error:  # a broken installation must not keep doctor from its report
            yield ToolStatus(name, False, advice=f"{type(error).__name__}: {error}", needed=True)


def package_status(package: str, module: str, advice: str, needed: bool = False) -> ToolStatus:
    """Whether a Python package is installed; it is not imported."""
    spec = importlib.util.find_spec(module)
    if spec is None:
        return ToolStatus(package, False, advice=advice, needed=needed)
    try:
        number = version(package)
    except PackageNotFoundError:
        number = ""
    return ToolStatus(package, True, str(Path(spec.origin).parent) if spec.origin else "", number, needed=needed)


@CHECKS.register("1-python")
def _python() -> Iterator[ToolStatus]:
    here = sys.version_info >= (3, 11)
    yield ToolStatus(
        "python",
        here,
        sys.executable,
        platform.python_version(),
        advice="" if here else "install Python 3.11 or newer",
        needed=True,
    )
    for package in ("av", "numpy", "scipy"):
        yield package_status(package, package, "pip install machine-rdo", needed=True)
    yield _opencv()


def _opencv() -> ToolStatus:
    """Imported, because a missing libGL shows only then."""
    try:
        import cv2
    except ImportError as error:
        fix = "pip install opencv-python-headless" if "libGL" not in str(error) else "apt install libgl1 libglib2.0-0"
        return ToolStatus("opencv", False, advice=f"{error}; run: {fix}", needed=True)
    return ToolStatus("opencv", True, str(Path(cv2.__file__).parent), cv2.__version__, needed=True)


@CHECKS.register("2-encoders")
def _encoders() -> Iterator[ToolStatus]:
    yield _hooked_x265(8, needed=True)
    yield _hooked_x265(10, needed=False)
    yield from _other_encoders()


def _hooked_x265(depth: int, needed: bool) -> ToolStatus:
    from encoder_bridge import toolchain

    name, flag = f"x265 {depth} bit", "" if depth == 8 else f" --depth {depth}"
    try:
        info = toolchain.find("x265", depth)
    except BridgeError as error:
        return ToolStatus(name, False, hooked=False, advice=str(error), needed=needed)
    ok, advice = _usable(info, flag)
    abi = info.abi if info.hooked else None
    return ToolStatus(name, ok, info.path, info.version, info.hooked, abi, advice, needed)


def _usable(info: BuildInfo, flag: str) -> tuple[bool, str]:
    """Whether a build can run the main job, and what to do or know about it."""
    if not info.hooked:
        return False, f"codes plainly only; run: mrdo build x265{flag}"
    return _with_plugin(info, f"mrdo build x265{flag} --force")


def _with_plugin(info: BuildInfo, renewal: str) -> tuple[bool, str]:
    """Whether a build with our hook has what that loads, and what to do or know about it."""
    from encoder_bridge import toolchain

    try:
        toolchain.plugin_path(info)
    except BridgeError as error:
        return False, str(error)
    if info.patch_hash != toolchain.current_patch(info):
        return True, f"built from other patches ({info.patch_hash}); to renew: {renewal}"
    return True, ""


def _other_encoders() -> Iterator[ToolStatus]:
    from encoder_bridge.config import CodingConfig
    from encoder_bridge.encoders import ENCODERS

    for codec in ENCODERS.shown():
        if codec == "x265":
            continue
        try:
            info = ENCODERS.get(codec)().build_info(CodingConfig(codec=codec, qp=32))
        except BridgeError as error:
            yield ToolStatus(codec, False, hooked=False, advice=str(error))
        else:
            ok, advice = _with_plugin(info, _renewal(info.name)) if info.abi else (True, "")
            yield ToolStatus(codec, ok, info.path, info.version, info.hooked, info.abi or None, advice)


def _renewal(name: str) -> str:
    from encoder_bridge.tools import TOOLS

    tool = TOOLS.get(name)
    return f"mrdo build {name} --force" if tool.recipes else tool.fix()


@CHECKS.register("3-build")
def _build_tools() -> Iterator[ToolStatus]:
    for name, package in APT.items():
        path = shutil.which(name)
        if path is None:
            yield ToolStatus(name, False, advice=f"needed by `mrdo build`; run: apt install {package}")
        else:
            yield ToolStatus(name, True, path, tool_version(path))


def tool_version(path: str) -> str:
    """First number with a dot that a program's version output holds, "" where it has none."""
    for flag in ("--version", "-v"):
        try:
            done = subprocess.run([path, flag], capture_output=True, text=True, timeout=10, stdin=subprocess.DEVNULL)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
        if done.returncode == 0 and found:
            return found[0]
    return ""


@CHECKS.register("4-cache")
def _cache() -> Iterator[ToolStatus]:
    from encoder_bridge import toolchain

    folder = toolchain.cache_folder().absolute()
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(there).free / 1e9
    if not os.access(there, os.W_OK):
        yield ToolStatus("cache folder", False, str(folder), advice="not writable; set MRDO_CACHE to another folder")
    elif free < _MIN_FREE_GB:
        yield ToolStatus(
            "cache folder", False, str(folder), advice=f"{free:.2f} GB free; a build needs {_MIN_FREE_GB:g}"
        )
    else:
        yield ToolStatus("cache folder", True, str(folder), advice=f"{free:.0f} GB free")
