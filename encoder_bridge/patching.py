"""Insert-only patches: reading them, applying them to exactly the tree they fit, and the hash that names them."""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files
from pathlib import Path

import patches
from encoder_bridge.errors import BuildError

_FILE = re.compile(r"^\+\+\+ b/(\S+)$")
_HUNK = re.compile(r"^@@ -(\d+),0 \+\d+(?:,(\d+))? @@$")
_HOOK_SOURCES = (".c", ".cpp", ".h")
_HASH_DIGITS = 16

Insertions = dict[str, list[tuple[int, list[bytes]]]]
"""File name to (number of the line the block goes after, its lines)."""


def patch_texts(name: str) -> dict[str, bytes]:
    """The patch files of one encoder ("x265-3.5"), by file name in order of application."""
    folder = files(patches) / name
    if not folder.is_dir():
        return {}
    return {entry.name: entry.read_bytes() for entry in _sorted(folder) if entry.name.endswith(".patch")}


def hook_sources(name: str) -> dict[str, bytes]:
    """Our own C and C++ files for one encoder ("x265-3.5"), by name: those for all and those of its family."""
    folder = files("encoder_bridge") / "hook"
    own = folder / name.partition("-")[0]
    entries = [*folder.iterdir(), *(own.iterdir() if own.is_dir() else ())]
    sources = {entry.name: entry.read_bytes() for entry in entries if entry.name.endswith(_HOOK_SOURCES)}
    return dict(sorted(sources.items()))


def patch_hash(name: str) -> str:
    """First 16 hex digits of the SHA-256 over an encoder's patches and the hook sources."""
    digest = hashlib.sha256()
    for file, content in (*patch_texts(name).items(), *hook_sources(name).items()):
        digest.update(f"{file} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:_HASH_DIGITS]


def read_patch(text: bytes) -> Insertions:
    """Parse an insert-only, zero-context unified diff. Raises BuildError for a line that is anything else."""
    found: Insertions = {}
    blocks: list[tuple[int, list[bytes]]] = []
    missing = 0
    for number, line in enumerate(text.split(b"\n"), 1):
        shown = line.decode("latin-1")
        if missing and line.startswith(b"+"):
            blocks[-1][1].append(line[1:])
            missing -= 1
        elif file := _FILE.match(shown):
            blocks = found.setdefault(file[1], [])
        elif hunk := _HUNK.match(shown):
            blocks.append((int(hunk[1]), []))
            missing = int(hunk[2] or 1)
        elif line and not shown.startswith("--- a/"):
            raise BuildError(f"patch line {number} is {shown[:60]!r}; expected insertions without context only")
    return found


def check_originals(tree: Path, name: str) -> None:
    """Raises BuildError unless the files to be patched are byte for byte the ones the patches were made for."""
    for file, expected in patches.ORIGINALS.get(name, {}).items():
        path = tree / file
        if not path.is_file():
            raise BuildError(f"{path} is missing; expected the source tree of {name}")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest != expected:
            raise BuildError(f"{path} has SHA-256 {digest}; expected {expected}: the untouched {name} source tree")


def apply_patches(tree: Path, name: str) -> None:
    """Insert the patches' lines into an untouched tree. Raises BuildError when the tree is another version."""
    check_originals(tree, name)
    for text in patch_texts(name).values():
        for file, blocks in read_patch(text).items():
            path = tree / file
            lines = path.read_bytes().split(b"\n")
            for after, block in reversed(blocks):
                lines[after:after] = block
            path.write_bytes(b"\n".join(lines))


def _sorted(folder: object) -> list[Path]:
    return sorted(folder.iterdir(), key=lambda entry: entry.name)  # type: ignore[attr-defined]
