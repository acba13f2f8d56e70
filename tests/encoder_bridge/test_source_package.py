"""Which version of an encoder's source is had, and from where: the distribution, a Debian mirror's pool, or a file."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
from pathlib import Path

import pytest

import patches
from encoder_bridge import source_package, toolchain
from encoder_bridge.errors import BuildError, ConfigError
from encoder_bridge.source_package import SourcePackage, debian_mirrors, fetch_offered, is_source_of, unpack_source
from encoder_bridge.tools import TOOLS
from encoder_bridge.tools.base import Build, Recipe, Tool

APT = """#!/bin/sh
case "$*" in
*showsrc*) cat "$FAKE/showsrc" ;;
*download-only*) cp "$FAKE"/offered/* . ;;
esac
"""


def tarball(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo(f"{path.name.removesuffix('.orig.tar.gz').replace('_', '-')}/version")
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text.encode()))
    return path


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[SourcePackage]:
    """toy 2.0 and 1.0; the distribution (a script in apt's place) offers 1.0, the mirror's pool has 2.0."""
    made = []
    for version, place in (("2.0", tmp_path / "pool"), ("1.0", tmp_path / "offered")):
        archive = tarball(place / f"toy_{version}.orig.tar.gz", version)
        package = SourcePackage(f"toy-{version}", "toy", archive.name, f"toy-{version}")
        monkeypatch.setitem(patches.ARCHIVES, package.name, hashlib.sha256(archive.read_bytes()).hexdigest())
        made.append(package)
    (tmp_path / "showsrc").write_text(
        "Package: toy-doc\nVersion: 7\nFiles:\n 0 1 toy_2.0.orig.tar.gz\n\n"
        "Package: toy\nVersion: 1.0-3\nFiles:\n 0 1 toy_1.0-3.dsc\n 0 1 toy_1.0.orig.tar.gz\n"
    )
    (tmp_path / "bin").mkdir()
    for name in ("apt-get", "apt-cache"):
        (tmp_path / "bin" / name).write_text(APT)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("FAKE", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return made


def test_what_the_distribution_offers_is_taken(packages: list[SourcePackage], tmp_path: Path):
    cache = tmp_path / "cache"
    assert fetch_offered(packages, cache, print) is packages[1]
    assert [path.name for path in (cache / "sources").iterdir()] == ["toy_1.0.orig.tar.gz"]


def test_what_is_kept_is_taken_and_nobody_asked(packages: list[SourcePackage], tmp_path: Path):
    (tmp_path / "cache/sources").mkdir(parents=True)
    shutil.copy(tmp_path / "pool" / packages[0].archive, tmp_path / "cache/sources")
    steps: list[str] = []
    assert fetch_offered(packages, tmp_path / "cache", steps.append) is packages[0] and steps == []


def test_a_damaged_archive_in_the_cache_is_fetched_again(packages: list[SourcePackage], tmp_path: Path):
    kept = tmp_path / "cache/sources" / packages[1].archive
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"half")
    tree = unpack_source(packages[1], None, tmp_path / "cache", tmp_path, print)
    assert (tree / "version").read_text() == "1.0"


def test_nothing_offered_and_no_apt(packages: list[SourcePackage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "showsrc").write_text("")
    assert fetch_offered(packages, tmp_path / "cache", print) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert fetch_offered(packages, tmp_path / "cache", print) is None
    with pytest.raises(BuildError, match="no apt-get here to fetch toy; run: mrdo build toy --source FILE"):
        unpack_source(packages[0], None, tmp_path / "cache", tmp_path, print)


def test_another_version_than_offered_is_looked_for_in_the_pool(packages: list[SourcePackage], tmp_path, monkeypatch):
    monkeypatch.setattr(source_package, "debian_mirrors", lambda entries: [])
    with pytest.raises(BuildError) as caught:
        unpack_source(packages[0], None, tmp_path / "cache", tmp_path, print)
    assert "toy brought toy_1.0.orig.tar.gz; expected toy_2.0.orig.tar.gz" in str(caught.value)
    assert "run: mrdo build toy --source toy_2.0.orig.tar.gz" in str(caught.value)


def test_where_a_pool_keeps_things():
    assert TOOLS.get("x265").recipes[1].source.pool == "pool/main/x/x265/x265_4.1.orig.tar.xz"
    assert SourcePackage("l", "libtoy", "l.orig.tar.gz", "l").pool == "pool/main/libt/libtoy/l.orig.tar.gz"


def test_mirrors_are_the_debian_ones(tmp_path: Path):
    (tmp_path / "0.list").write_text(
        "deb-src [signed-by=/k.gpg] http://mirror.invalid/debian/ stable main\n"
        "deb-src https://packages.invalid/apt other main\n# deb-src http://old.invalid/debian stable main\n"
    )
    (tmp_path / "1.sources").write_text(
        "# http://old.invalid/debian/2025\nTypes: deb-src\nURIs: http://mirror.invalid/debian\nSuites: s\n\n"
        "Types: deb-src\nURIs: http://mirror.invalid/debian-security http://b.invalid/debian\nSuites: s\n"
    )
    assert debian_mirrors(tmp_path) == ["http://mirror.invalid/debian", "http://b.invalid/debian"]


@pytest.fixture
def toy(packages: list[SourcePackage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A tool of two versions, whose build writes a script that says which it is."""

    def make(build: Build) -> None:
        build.run(["true"], build.tree)
        program = build.result / "toy"
        program.write_text(f"#!/bin/sh\necho toy {(build.tree / 'version').read_text()}\n")
        program.chmod(0o755)

    recipes = tuple(Recipe(package, make, {}, depths=()) for package in reversed(packages))
    monkeypatch.setitem(TOOLS._items, "toy", Tool("toy", ("toy",), "toy", r"toy (\S+)", recipes=recipes))
    monkeypatch.setenv("MRDO_CACHE", str(tmp_path / "cache"))
    return "toy"


def test_the_version_to_build(toy: str, tmp_path: Path, packages: list[SourcePackage]):
    pool = tmp_path / "pool" / packages[0].archive
    assert is_source_of(packages[0], pool) and not is_source_of(packages[1], pool)
    assert not is_source_of(packages[0], tmp_path / "gone")
    assert toolchain.build(toy, source=pool).version == "2.0", "the given source's own"
    assert toolchain.build(toy).version == "2.0", "one is built already"
    assert toolchain.build(toy, version="1.0").version == "1.0", "asked for"
    assert toolchain.find(toy).version == "1.0", "the first recipe that has a build"
    with pytest.raises(ConfigError, match=r"toy: version '3.0'; expected 1.0, 2.0"):
        toolchain.build(toy, version="3.0")
    with pytest.raises(BuildError, match=r"has SHA-256 .* the archive of toy-1.0"):
        toolchain.build(toy, version="1.0", source=pool, force=True)


def test_without_a_build_the_distribution_decides(toy: str):
    assert toolchain.build(toy).version == "1.0"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x264", "x265", "hm"])
def test_every_archive_is_to_be_had(name: str, tmp_path: Path):
    """From the distribution or its mirror's pool, with the SHA-256 we know."""
    if shutil.which("apt-get") is None:
        pytest.skip("no apt-get here")
    for recipe in TOOLS.get(name).recipes:
        (tmp_path / recipe.name).mkdir()
        try:
            tree = unpack_source(recipe.source, None, tmp_path, tmp_path / recipe.name, print)
        except BuildError as error:
            if "SHA-256" in str(error):
                raise
            pytest.skip(f"the mirrors cannot be reached, or have it no more: {error}")
        assert is_source_of(recipe.source, tree)
