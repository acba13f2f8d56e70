"""Encoder binaries: built from patched source into the user's cache, and found again."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import filelock
import platformdirs

import patches
from encoder_bridge import patching
from encoder_bridge.config import CodingConfig
from encoder_bridge.encoder import BuildInfo
from encoder_bridge.errors import BuildError, ConfigError, ToolNotFoundError
from encoder_bridge.source_package import Progress, fetch_offered, is_source_of, unpack_source
from encoder_bridge.tools import TOOLS, Build, Recipe, Tool

PLUGIN_NAME = "bridge_plugin.so"

_PLUGIN_SOURCES = ("bridge_plugin.c", "bridge_socket.c")
_PLUGIN_FLAGS = ("-std=gnu99", "-O2", "-shared", "-fPIC", "-fvisibility=hidden", "-pthread")
_HOOK = re.compile(r"MRDO_HOOK abi=(\d+) patch=(\w+) depth=\d+")
_TAIL_LINES = 12
_VERSION_TIMEOUT_S = 20


def cache_folder() -> Path:
    """Where builds are kept: ``MRDO_CACHE``, or the user's cache folder."""
    return Path(os.environ.get("MRDO_CACHE") or platformdirs.user_cache_dir("machine-rdo"))


def patch_hash(name: str = "x265-3.5") -> str:
    """First 16 hex digits of the SHA-256 over the patches and hook sources this package would build with."""
    return patching.patch_hash(name)


def build(
    name: str,
    depth: int = 8,
    source: Path | None = None,
    progress: Progress | None = None,
    plain: bool = False,
    force: bool = False,
    version: str | None = None,
) -> BuildInfo:
    """Build an encoder into the user's cache, or find the build already there.

    Args:
        name: registered tool with a recipe, as "x265".
        depth: coding depth, 8 or 10.
        source: archive or unpacked tree; None takes ``MRDO_<NAME>_SOURCE`` or the distribution's source package.
        progress: called with one line per step.
        plain: leave our hook out, for comparisons.
        force: build even if there is a build.
        version: of the recipe; None is the given source's, one built already, or the first the distribution offers.

    Raises BuildError naming what is missing or with the end of the log; ConfigError for another name or depth.
    """
    tool = _buildable(name)
    place = source or _source_from_env(name)
    depths = tool.recipes[0].depths
    if depths and depth not in depths:
        raise ConfigError(f"{name}: bit depth {depth}; expected {' or '.join(map(str, depths))}")
    recipe = _recipe(tool, version, depth, place, progress or (lambda line: None))
    folder = _build_folder(recipe, depth, plain)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder.with_name(folder.name + ".lock")):
            if force or not (folder / name).is_file():
                _check_tools(recipe)
                _build_into(folder, tool, recipe, depth, place, progress or (lambda line: None), plain)
    except OSError as error:
        raise BuildError(
            f"cannot write to {folder.parent}: {error.strerror}; set MRDO_CACHE to another folder"
        ) from error
    return probe(folder / name, name)


def find(name: str, depth: int = 8) -> BuildInfo:
    """The program to use at a depth; see ``Tool`` for where it is looked for.

    Raises ToolNotFoundError with the command that brings it.
    """
    tool = TOOLS.get(name)
    named = _named_in_env(tool, depth)
    if named is not None:
        return named
    for recipe in tool.recipes:
        built = _build_folder(recipe, depth, plain=False) / name
        if built.is_file():
            return probe(built, name)
    for on_path in filter(None, map(shutil.which, tool.programs)):
        info = probe(Path(on_path), name)
        if depth in info.depth:
            return info
    raise ToolNotFoundError(f"no {tool.title} that codes {depth} bit; {tool.fix(depth)}")


def _named_in_env(tool: Tool, depth: int) -> BuildInfo | None:
    """The program that a variable names; one that will not do is an error, for no other was meant."""
    for variable in named_by(tool.name):
        wanted = os.environ[variable]
        try:
            info = probe(Path(shutil.which(wanted) or wanted), tool.name)
        except ToolNotFoundError as error:
            raise ToolNotFoundError(f"{variable}: {error}") from error
        if depth not in info.depth:
            raise ToolNotFoundError(f"{variable}={wanted} codes {_depths(info)} bit, not {depth}; {tool.fix(depth)}")
        return info
    return None


def named_by(name: str) -> list[str]:
    """The variables that name a tool's program here, the first counts; most often none."""
    return [v for v in (f"MRDO_{name.upper()}_HOOKED", f"MRDO_{name.upper()}") if os.environ.get(v)]


def find_for(name: str, config: CodingConfig) -> BuildInfo:
    """As ``find``, for a configuration. Raises ToolNotFoundError where it needs our hook and the program has none."""
    info, tool = find(name, config.bit_depth), TOOLS.get(name)
    if config.needs_plugin and not info.hooked:
        raise ToolNotFoundError(
            f"{info.path}: {tool.title} {info.version} has no machine-rdo hook, needed for --rdo {config.rdo}; "
            f"{tool.fix(config.bit_depth)}"
        )
    return info


def plugin_path(info: BuildInfo) -> Path:
    """The bridge plugin that belongs to a hooked build. Raises ToolNotFoundError when there is none."""
    wanted = os.environ.get("MRDO_BRIDGE_PLUGIN")
    path = Path(wanted) if wanted else Path(info.path).resolve().parent / PLUGIN_NAME
    if not path.is_file():
        raise ToolNotFoundError(f"no plugin at {path}; {TOOLS.get(info.name).fix(info.depth[0])}")
    return path


def probe(binary: Path, name: str = "x265") -> BuildInfo:
    """What a program says of itself. Raises ToolNotFoundError when it cannot be run, is another one or too old."""
    tool = TOOLS.get(name)
    try:
        text = _output_of([str(binary), *tool.arguments])
    except OSError as error:
        raise ToolNotFoundError(f"cannot run {binary}: {error.strerror}; {tool.fix()}") from error
    version = re.search(tool.version, text)
    if version is None:
        raise ToolNotFoundError(f"{binary} does not look like {tool.title}: {text.strip()[:120]!r}; {tool.fix()}")
    if _numbers(version[1]) < _numbers(tool.oldest):
        raise ToolNotFoundError(f"{binary} is {tool.title} {version[1]}; expected {tool.oldest} or newer; {tool.fix()}")
    hook = _HOOK.search(text)
    abi, digest = (int(hook[1]), hook[2]) if hook else (0, "")
    return BuildInfo(name, version[1], str(binary), hook is not None, abi, digest, tool.depths(text))


def _output_of(command: Sequence[str]) -> str:
    """What a program prints. Raises OSError where it cannot be started or does not end; its children end with it."""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            return process.communicate(timeout=_VERSION_TIMEOUT_S)[0]
        except subprocess.TimeoutExpired as error:
            raise OSError(errno.ETIMEDOUT, f"it did not tell its version in {_VERSION_TIMEOUT_S:g} s") from error
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _numbers(version: str) -> tuple[int, ...]:
    """For "the newer": what stands before anything but digits and dots."""
    number = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, number[0].split("."))) if number else ()


def current_patch(info: BuildInfo) -> str:
    """Patch hash that a build of that version would get now, "" for a program without patches of ours."""
    number = re.match(r"\d+(\.\d+)*", info.version)
    name = f"{info.name}-{number[0]}" if number else ""
    return patching.patch_hash(name) if name in patches.ORIGINALS else ""


def _buildable(name: str) -> Tool:
    known = [key for key in TOOLS if TOOLS.get(key).recipes]
    if name in TOOLS and not TOOLS.get(name).recipes:
        raise ConfigError(f"no build for {name!r}: {TOOLS.get(name).advice}")
    if name not in known:
        raise ConfigError(f"no build for {name!r}; known: {', '.join(known)}")
    return TOOLS.get(name)


def _recipe(tool: Tool, version: str | None, depth: int, source: Path | None, progress: Progress) -> Recipe:
    """The version to build: the one asked for, a given source's, one built already, or what the distribution offers."""
    if version is not None:
        return _recipe_named(tool, version)
    if source is not None:
        return next((recipe for recipe in tool.recipes if is_source_of(recipe.source, source)), tool.recipes[0])
    for recipe in tool.recipes:
        folders = [_build_folder(recipe, depth, plain) for plain in (False, True)]
        if any((folder / tool.name).is_file() for folder in folders):
            return recipe
    if len(tool.recipes) == 1:
        return tool.recipes[0]
    offered = fetch_offered([recipe.source for recipe in tool.recipes], cache_folder(), progress)
    return next((recipe for recipe in tool.recipes if recipe.source is offered), tool.recipes[0])


def _recipe_named(tool: Tool, version: str) -> Recipe:
    for recipe in tool.recipes:
        if recipe.name == f"{tool.name}-{version}":
            return recipe
    known = ", ".join(recipe.name.removeprefix(f"{tool.name}-") for recipe in tool.recipes)
    raise ConfigError(f"{tool.name}: version {version!r}; expected {known}")


def _build_folder(recipe: Recipe, depth: int, plain: bool) -> Path:
    kind = "plain" if plain or recipe.hook is None else patching.patch_hash(recipe.name)
    return cache_folder() / "-".join([recipe.name, kind, *([f"{depth}bit"] if recipe.depths else [])])


def _source_from_env(name: str) -> Path | None:
    value = os.environ.get(f"MRDO_{name.upper()}_SOURCE")
    return Path(value) if value else None


def _depths(info: BuildInfo) -> str:
    return "+".join(map(str, info.depth))


def _check_tools(recipe: Recipe) -> None:
    missing = [package for tool, package in recipe.needed.items() if shutil.which(tool) is None]
    if missing:
        raise BuildError(f"building needs {', '.join(missing)}; run: apt install {' '.join(missing)}")


def _build_into(
    folder: Path, tool: Tool, recipe: Recipe, depth: int, source: Path | None, progress: Progress, plain: bool
) -> None:
    """Build in a folder of its own and rename what came out: a build is there whole or not at all."""
    failed_log = folder.with_name(folder.name + ".failed.log")
    with tempfile.TemporaryDirectory(prefix=".build-", dir=folder.parent) as place:
        work = Path(place)
        log, result = work / "build.log", work / "result"
        try:
            tree = unpack_source(recipe.source, source, folder.parent, work, progress)
            result.mkdir()
            _compile(tree, tool, recipe, depth, plain, result, log, progress)
        except BuildError:
            if log.is_file():
                shutil.copy(log, failed_log)
            raise
        shutil.move(log, result / "build.log")
        if folder.exists():
            shutil.rmtree(folder)
        result.rename(folder)
    failed_log.unlink(missing_ok=True)


def _compile(
    tree: Path, tool: Tool, recipe: Recipe, depth: int, plain: bool, result: Path, log: Path, progress: Progress
) -> None:
    hooked = not plain and recipe.hook is not None
    digest = patching.patch_hash(recipe.name) if hooked else ""
    if hooked and recipe.hook is not None:
        patching.apply_patches(tree, recipe.name)
        (tree / recipe.hook).mkdir(exist_ok=True)
        for name, content in patching.hook_sources(recipe.name).items():
            (tree / recipe.hook / name).write_bytes(content)
    what = " ".join([tool.name, *([f"{depth} bit"] if recipe.depths else []), *(["without hook"] if plain else [])])
    progress(f"compiling {what}")

    def run(command: Sequence[str], folder: Path, percent: bool = False) -> None:
        tell: Progress | None = (lambda value: progress(f"compiling {what}: {value} %")) if percent else None
        _logged(list(command), folder, log, tell)

    jobs = len(os.sched_getaffinity(0))
    recipe.make(Build(tree, result, depth, not hooked, digest, jobs, run))
    if hooked and recipe.hook is not None:
        place = tree / recipe.hook
        sources = [str(place / name) for name in _PLUGIN_SOURCES]
        run(["cc", *_PLUGIN_FLAGS, "-o", str(result / PLUGIN_NAME), *sources], place)


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
