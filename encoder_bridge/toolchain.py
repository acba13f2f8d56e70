"""Encoder binaries: built from patched source into the user's cache, and found again."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import filelock
import platformdirs

from encoder_bridge import patching
from encoder_bridge.encoder import BuildInfo
from encoder_bridge.errors import BuildError, ConfigError, ToolNotFoundError
from encoder_bridge.source_package import Progress, SourcePackage, unpack_source

PLUGIN_NAME = "bridge_plugin.so"

_X265 = SourcePackage("x265-3.5", "x265", "x265_3.5.orig.tar.gz", "x265_3.5")
_PACKAGES = {"x265": _X265}
_NEEDED = {"cmake": "cmake", "make": "make", "g++": "g++", "cc": "gcc", "nasm": "nasm"}
_CMAKE_ARGS = ("-DCMAKE_BUILD_TYPE=Release", "-DENABLE_SHARED=OFF", "-DCMAKE_POLICY_VERSION_MINIMUM=3.5")
_PLUGIN_SOURCES = ("bridge_plugin.c", "bridge_socket.c")
_PLUGIN_FLAGS = ("-std=gnu99", "-O2", "-shared", "-fPIC", "-fvisibility=hidden", "-pthread")
_TAIL_LINES = 12
_VERSION_TIMEOUT_S = 20


def cache_folder() -> Path:
    """Where builds are kept: ``MRDO_CACHE``, or the user's cache folder."""
    return Path(os.environ.get("MRDO_CACHE") or platformdirs.user_cache_dir("machine-rdo"))


def patch_hash(name: str = "x265") -> str:
    """First 16 hex digits of the SHA-256 over the patches and hook sources this package would build with."""
    return patching.patch_hash(_package(name).name)


def build(
    name: str,
    depth: int = 8,
    source: Path | None = None,
    progress: Progress | None = None,
    plain: bool = False,
    force: bool = False,
) -> BuildInfo:
    """Build an encoder into the user's cache, or find the build already there.

    Args:
        name: "x265".
        depth: coding depth, 8 or 10.
        source: archive or unpacked tree; None takes ``MRDO_X265_SOURCE`` or the distribution's source package.
        progress: called with one line per step.
        plain: leave our hook out, for comparisons.
        force: build even if there is a build.

    Raises BuildError naming what is missing or with the end of the log; ConfigError for another name or depth.
    """
    package = _package(name)
    if depth not in (8, 10):
        raise ConfigError(f"{name}: bit depth {depth}; expected 8 or 10")
    tell = progress or (lambda line: None)
    folder = _build_folder(package, depth, plain)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder.with_name(folder.name + ".lock")):
            if force or not (folder / name).is_file():
                _check_tools()
                _build_into(folder, package, depth, source or _source_from_env(name), tell, plain)
    except OSError as error:
        raise BuildError(
            f"cannot write to {folder.parent}: {error.strerror}; set MRDO_CACHE to another folder"
        ) from error
    return probe(folder / name)


def find(name: str, depth: int = 8) -> BuildInfo:
    """The encoder to use at a depth: the one ``MRDO_X265`` names, our build in the cache, or any on the PATH.

    Raises ToolNotFoundError with the command that brings it.
    """
    package = _package(name)
    wanted = os.environ.get(f"MRDO_{name.upper()}")
    if wanted:
        info = probe(Path(shutil.which(wanted) or wanted))
        if depth not in info.depth:
            raise ToolNotFoundError(
                f"MRDO_{name.upper()}={wanted} codes {_depths(info)} bit, not {depth}; {_fix(name, depth)}"
            )
        return info
    built = _build_folder(package, depth, plain=False) / name
    if built.is_file():
        return probe(built)
    on_path = shutil.which(name)
    if on_path is not None:
        info = probe(Path(on_path))
        if depth in info.depth:
            return info
    raise ToolNotFoundError(f"no {name} that codes {depth} bit; {_fix(name, depth)}")


def plugin_path(info: BuildInfo) -> Path:
    """The bridge plugin that belongs to a hooked build. Raises ToolNotFoundError when there is none."""
    wanted = os.environ.get("MRDO_BRIDGE_PLUGIN")
    path = Path(wanted) if wanted else Path(info.path).resolve().parent / PLUGIN_NAME
    if not path.is_file():
        raise ToolNotFoundError(f"no plugin at {path}; {_fix(info.name, info.depth[0])}")
    return path


def probe(binary: Path) -> BuildInfo:
    """What an x265 binary says of itself. Raises ToolNotFoundError when it cannot be run or is no x265."""
    fix = "run: mrdo build x265"
    try:
        done = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=_VERSION_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolNotFoundError(f"cannot run {binary}: {error}; {fix}") from error
    text = done.stdout + done.stderr
    version = re.search(r"HEVC encoder version (\S+)", text)
    if version is None:
        raise ToolNotFoundError(f"{binary} does not look like x265: {text.strip()[:120]!r}; {fix}")
    depth = tuple(sorted({int(bits) for bits in re.findall(r"\b(8|10|12)bit", text)})) or (8,)
    hook = re.search(r"MRDO_HOOK abi=(\d+) patch=(\w+) depth=\d+", text)
    abi, digest = (int(hook[1]), hook[2]) if hook else (0, "")
    return BuildInfo("x265", version[1], str(binary), hook is not None, abi, digest, depth)


def _package(name: str) -> SourcePackage:
    if name not in _PACKAGES:
        raise ConfigError(f"no build for {name!r}; known: {', '.join(_PACKAGES)}")
    return _PACKAGES[name]


def _build_folder(package: SourcePackage, depth: int, plain: bool) -> Path:
    kind = "plain" if plain else patching.patch_hash(package.name)
    return cache_folder() / f"{package.name}-{kind}-{depth}bit"


def _source_from_env(name: str) -> Path | None:
    value = os.environ.get(f"MRDO_{name.upper()}_SOURCE")
    return Path(value) if value else None


def _fix(name: str, depth: int) -> str:
    return f"run: mrdo build {name}{'' if depth == 8 else f' --depth {depth}'}"


def _depths(info: BuildInfo) -> str:
    return "+".join(map(str, info.depth))


def _check_tools() -> None:
    missing = [package for tool, package in _NEEDED.items() if shutil.which(tool) is None]
    if missing:
        raise BuildError(f"building needs {', '.join(missing)}; run: apt install {' '.join(missing)}")


def _build_into(
    folder: Path, package: SourcePackage, depth: int, source: Path | None, progress: Progress, plain: bool
) -> None:
    """Build in a folder of its own and rename what came out: a build is there whole or not at all."""
    failed_log = folder.with_name(folder.name + ".failed.log")
    with tempfile.TemporaryDirectory(prefix=".build-", dir=folder.parent) as place:
        work = Path(place)
        log = work / "build.log"
        try:
            tree = unpack_source(package, source, folder.parent, work, progress)
            result = work / "result"
            result.mkdir()
            _compile(tree, package, depth, plain, log, progress)
            _collect(tree, package, plain, result, log)
        except BuildError:
            if log.is_file():
                shutil.copy(log, failed_log)
            raise
        shutil.move(log, result / "build.log")
        if folder.exists():
            shutil.rmtree(folder)
        result.rename(folder)
    failed_log.unlink(missing_ok=True)


def _compile(tree: Path, package: SourcePackage, depth: int, plain: bool, log: Path, progress: Progress) -> None:
    flags: tuple[str, ...] = ()
    if not plain:
        patching.apply_patches(tree, package.name)
        for name, content in patching.hook_sources().items():
            (tree / "source/encoder" / name).write_bytes(content)
        flags = (f"-DCMAKE_CXX_FLAGS=-DMRDO_PATCH_HASH={patching.patch_hash(package.name)}",)
    objects = tree / "objects"
    objects.mkdir()
    high = (f"-DHIGH_BIT_DEPTH={'ON' if depth > 8 else 'OFF'}",)
    what = f"{package.package} {depth} bit{' without hook' if plain else ''}"
    progress(f"configuring {what}")
    _logged(["cmake", *_CMAKE_ARGS, *high, *flags, str(tree / "source")], objects, log)
    progress(f"compiling {what}")
    jobs = str(len(os.sched_getaffinity(0)))
    _logged(["make", "-j", jobs, "cli"], objects, log, lambda percent: progress(f"compiling {what}: {percent} %"))


def _collect(tree: Path, package: SourcePackage, plain: bool, result: Path, log: Path) -> None:
    for name in (package.package, f"lib{package.package}.a"):
        shutil.copy(tree / "objects" / name, result / name)
    if not plain:
        hook = tree / "source/encoder"
        sources = [str(hook / name) for name in _PLUGIN_SOURCES]
        _logged(["cc", *_PLUGIN_FLAGS, "-o", str(result / PLUGIN_NAME), *sources], hook, log)


def _logged(command: list[str], folder: Path, log: Path, on_percent: Progress | None = None) -> None:
    """Run a step with its output in the log. Raises BuildError with the end of that output."""
    seen = ""
    with log.open("ab") as file:
        file.write((" ".join(command) + "\n").encode())
        pipe = subprocess.PIPE
        with subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=subprocess.STDOUT) as process:
            assert process.stdout is not None
            for line in process.stdout:
                file.write(line)
                percent = re.match(rb"\[ *(\d+)%\]", line)
                if on_percent and percent and percent[1].decode() != seen:
                    seen = percent[1].decode()
                    on_percent(seen)
    if process.returncode:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        tail = " | ".join(_errors_first(lines))
        raise BuildError(f"{command[0]} ended with status {process.returncode}: {tail}")


def _errors_first(lines: list[str]) -> list[str]:
    errors = [line for line in lines if re.search(r"\berror\b", line, re.IGNORECASE)]
    return (errors or lines)[-_TAIL_LINES:]
