"""Encoder programs: how each is called, what it says of itself, and how it comes here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from encoder_bridge.registry import Registry
from encoder_bridge.source_package import SourcePackage


class Step(Protocol):
    """Runs one step of a build, its output in the build's log."""

    def __call__(self, command: Sequence[str], folder: Path, percent: bool = False) -> None:
        """Raises BuildError with the end of the output; ``percent`` lines of it are told to the user."""


@dataclass(frozen=True)
class Build:
    """One build while it is made.

    Attributes:
        tree: the source, patched and with the hook's sources unless ``plain``.
        result: what is put here is kept; the program under its tool's name.
        depth: sample depth the user asked for.
        plain: without our hook.
        patch_hash: what a hooked program says of itself.
        jobs: processes that may run at once.
        run: see ``Step``.
    """

    tree: Path
    result: Path
    depth: int
    plain: bool
    patch_hash: str
    jobs: int
    run: Step


@dataclass(frozen=True)
class Recipe:
    """How one version of a program is built from the distribution's source package.

    Attributes:
        source: where the untouched source comes from; ``source.name`` names patch set and build.
        make: compiles ``Build.tree`` and fills ``Build.result``. Raises BuildError.
        needed: program → Debian package that brings it.
        depths: sample depths there are builds for; one build for all where it is empty.
        hook: folder of the tree that takes the hook's sources; None for programs that are never patched.
    """

    source: SourcePackage
    make: Callable[[Build], None]
    needed: Mapping[str, str]
    depths: tuple[int, ...] = (8, 10)
    hook: str | None = None

    @property
    def name(self) -> str:
        """Program and version, as "x265-3.5"."""
        return self.source.name


@dataclass(frozen=True)
class Tool:
    """An encoder program.

    ``MRDO_<NAME>_HOOKED``, ``MRDO_<NAME>``, our builds and the PATH are looked through in this order.

    Attributes:
        name: "x265"; in environment variables in capitals.
        programs: names on the PATH.
        title: what messages call it.
        version: regular expression whose first group is the version in what it prints.
        arguments: that make it print that; its exit status does not matter.
        depths: from what it printed to the sample depths it codes.
        recipes: builds we know, the best liked first; none for programs in no package registry.
        advice: how it comes here, where there is no recipe.
        oldest: first version whose driver this is; "" for any.
    """

    name: str
    programs: tuple[str, ...]
    title: str
    version: str
    arguments: tuple[str, ...] = ("--version",)
    depths: Callable[[str], tuple[int, ...]] = field(default=lambda text: (8, 10))
    recipes: tuple[Recipe, ...] = ()
    advice: str = ""
    oldest: str = ""

    def fix(self, depth: int = 8) -> str:
        """The command that brings it, or what to do where none does."""
        if not self.recipes:
            return self.advice
        several = any(len(recipe.depths) > 1 for recipe in self.recipes)
        return f"run: mrdo build {self.name}{f' --depth {depth}' if several and depth != 8 else ''}"


TOOLS: Registry[Tool] = Registry("tool")
