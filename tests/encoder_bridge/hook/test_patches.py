"""The patches hold our own lines and nothing else, and fit exactly one tree."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess

import pytest

import patches
from encoder_bridge import patching, toolchain
from encoder_bridge.errors import BuildError
from encoder_bridge.source_package import unpack_source, write_source_entries
from encoder_bridge.tools.x265 import X265

SOURCES = {recipe.name: recipe.source for recipe in X265.recipes}
SOURCE = SOURCES["x265-3.5"]
TEXTS = [(name, file, text) for name in SOURCES for file, text in patching.patch_texts(name).items()]


def tree_of(lines: dict[str, str], tmp_path, monkeypatch):
    """A source tree of these files, taken for the original of the patch set "toy"."""
    digests = {}
    for name, text in lines.items():
        (tmp_path / name).write_text(text)
        digests[name] = hashlib.sha256(text.encode()).hexdigest()
    monkeypatch.setitem(patches.ORIGINALS, "toy", digests)
    return tmp_path


@pytest.mark.parametrize(("name", "file", "text"), TEXTS, ids=lambda value: value[:8] if isinstance(value, str) else "")
def test_insert_only_and_zero_context(name, file, text):
    lines = text.decode().splitlines()
    hunks = [line for line in lines if line.startswith("@@")]
    ours = [line for line in lines if line.startswith("+") and not line.startswith("+++ ")]
    assert all(re.fullmatch(r"@@ -\d+,0 \+\d+(,\d+)? @@", hunk) for hunk in hunks)
    assert {line[0] for line in lines} == {"-", "+", "@"}
    assert all(line.startswith("--- a/source/") for line in lines if line.startswith("-"))
    assert all("mrdo" in line or "Mrdo" in line for line in ours)
    assert 20 <= len(ours) <= 48


@pytest.mark.parametrize("name", SOURCES)
def test_every_touched_file_has_a_known_original(name):
    touched = {file for text in patching.patch_texts(name).values() for file in patching.read_patch(text)}
    assert touched == set(patches.ORIGINALS[name])


def test_both_versions_of_x265_get_the_same_lines():
    """But for what is an array in 4.1: the pictures and bits of a layer."""

    def inserted(name):
        texts = patching.patch_texts(name).values()
        return [
            line for text in texts for blocks in patching.read_patch(text).values() for _, b in blocks for line in b
        ]

    old, new = inserted("x265-3.5"), inserted("x265-4.1")
    differ = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
    assert len(differ) == 2 and all(b.replace(b"[layer]", b"") == a for a, b in differ)


@pytest.mark.parametrize(
    "text",
    ["--- a/f\n+++ b/f\n@@ -1 +1 @@\n-old\n+new\n", "--- a/f\n+++ b/f\n@@ -1,2 +1,3 @@\n a\n+b\n c\n"],
    ids=["change", "context"],
)
def test_other_patches_are_refused(text):
    with pytest.raises(BuildError, match="expected insertions without context"):
        patching.read_patch(text.encode())


def test_lines_go_where_the_patch_says(tmp_path, monkeypatch):
    tree = tree_of({"f.c": "one\ntwo\nthree\n"}, tmp_path, monkeypatch)
    patch = b"--- a/f.c\n+++ b/f.c\n@@ -0,0 +1 @@\n+zero\n@@ -2,0 +4,2 @@\n+two and a half\n+two and more\n"
    monkeypatch.setattr(patching, "patch_texts", lambda name: {"p": patch})
    patching.apply_patches(tree, "toy")
    assert (tree / "f.c").read_text() == "zero\none\ntwo\ntwo and a half\ntwo and more\nthree\n"


def test_another_tree_is_refused(tmp_path, monkeypatch):
    tree = tree_of({"f.c": "one\n"}, tmp_path, monkeypatch)
    (tree / "f.c").write_text("one, changed\n")
    with pytest.raises(BuildError, match=r"expected .*: the untouched toy source tree"):
        patching.apply_patches(tree, "toy")


@pytest.mark.parametrize("name", SOURCES)
def test_our_applier_agrees_with_patch_and_git(name, tmp_path):
    archive = toolchain.cache_folder() / "sources" / SOURCES[name].archive
    if not archive.is_file() or shutil.which("patch") is None or shutil.which("git") is None:
        pytest.skip(f"no {archive.name} in the cache, or no patch program")
    trees = []
    for who in ("ours", "theirs"):
        (tmp_path / who).mkdir()
        trees.append(unpack_source(SOURCES[name], archive, tmp_path, tmp_path / who, print))
    for text in patching.patch_texts(name).values():
        git = ["git", "apply", "--unidiff-zero", "--check", "--verbose"]
        done = subprocess.run(git, cwd=trees[1], input=text, check=True, capture_output=True)
        assert b"Skipped" not in done.stderr
        subprocess.run(["patch", "-p1", "-s", "-d", trees[1]], input=text, check=True)
    patching.apply_patches(trees[0], name)
    for file, original in patches.ORIGINALS[name].items():
        content = (trees[0] / file).read_bytes()
        assert content == (trees[1] / file).read_bytes()
        assert hashlib.sha256(content).hexdigest() != original


def test_the_build_names_its_patches(x265_hooked):
    name = f"x265-{x265_hooked.version.partition('+')[0]}"
    assert x265_hooked.patch_hash == toolchain.patch_hash(name) == patching.patch_hash(name)
    assert (x265_hooked.abi, x265_hooked.hooked) == (1, True)


def test_a_wrong_archive_is_refused(tmp_path):
    wrong = tmp_path / "x265.tar.gz"
    wrong.write_bytes(b"something else")
    with pytest.raises(BuildError, match=r"has SHA-256 .*; expected e70a3335"):
        unpack_source(SOURCE, wrong, tmp_path, tmp_path, print)
    with pytest.raises(BuildError, match="does not exist"):
        unpack_source(SOURCE, tmp_path / "gone.tar.gz", tmp_path, tmp_path, print)


def test_source_entries_follow_the_systems_own(tmp_path):
    apt, out = tmp_path / "apt", tmp_path / "out"
    (apt / "sources.list.d").mkdir(parents=True)
    out.mkdir()
    (apt / "sources.list").write_text(
        "# a comment\ndeb [signed-by=/k.gpg] http://mirror.invalid/debian stable main\n"
        "deb-src [signed-by=/k.gpg] http://mirror.invalid/debian stable main\n"
    )
    (apt / "sources.list.d" / "more.sources").write_text("Types: deb\nURIs: http://mirror.invalid/x\nSuites: s\n")
    assert write_source_entries(apt, out) == 2
    written = {path.suffix: path.read_text() for path in out.iterdir()}
    assert written[".list"] == "deb-src [signed-by=/k.gpg] http://mirror.invalid/debian stable main\n"
    assert written[".sources"] == "Types: deb-src\nURIs: http://mirror.invalid/x\nSuites: s\n"


def test_a_system_without_package_sources_is_told_the_other_way(tmp_path):
    (tmp_path / "sources.list.d").mkdir()
    with pytest.raises(BuildError, match="--source FILE"):
        write_source_entries(tmp_path, tmp_path)
