"""Where an encoder's untouched source comes from: the distribution's source package, an archive, or a tree."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import patches
from encoder_bridge.errors import BuildError
from encoder_bridge.patching import check_originals

Progress = Callable[[str], None]

_APT_FOLDER = Path("/etc/apt")
_FETCH_TIMEOUT_S = 900


@dataclass(frozen=True)
class SourcePackage:
    """An encoder the distribution has as a source package.

    Attributes:
        name: name of our patch set, "x265-3.5".
        package: the distribution's source package, "x265".
        archive: file name of the upstream archive in it.
        root: folder inside the archive that holds the tree.
    """

    name: str
    package: str
    archive: str
    root: str

    @property
    def sha256(self) -> str:
        """Of the archive."""
        return patches.ARCHIVES[self.name]


def unpack_source(package: SourcePackage, source: Path | None, cache: Path, target: Path, progress: Progress) -> Path:
    """An untouched source tree under ``target``, whose files may be changed.

    Args:
        package: what to get.
        source: an archive or an unpacked tree; None fetches the distribution's source package once into ``cache``.
        cache: folder that keeps the fetched archive.
        target: an existing, empty folder.
        progress: told what is being done.

    Raises BuildError where it cannot be had or is not the version our patches fit.
    """
    if source is not None and source.is_dir():
        check_originals(source, package.name)
        ignored = shutil.ignore_patterns(".git", ".hg", "build")
        return Path(shutil.copytree(source, target / package.root, ignore=ignored))
    archive = _checked(source, package) if source is not None else _fetched(package, cache, progress)
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(target, filter="data")
    except (tarfile.TarError, OSError) as error:
        raise BuildError(f"cannot unpack {archive}: {error}") from error
    return target / package.root


def _checked(archive: Path, package: SourcePackage) -> Path:
    if not archive.is_file():
        raise BuildError(f"source {archive} does not exist; expected {package.archive} or its unpacked tree")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != package.sha256:
        raise BuildError(f"{archive} has SHA-256 {digest}; expected {package.sha256}, the archive of {package.name}")
    return archive


def _fetched(package: SourcePackage, cache: Path, progress: Progress) -> Path:
    kept = cache / "sources" / package.archive
    if kept.is_file() and hashlib.sha256(kept.read_bytes()).hexdigest() == package.sha256:
        return kept
    if shutil.which("apt-get") is None:
        raise BuildError(f"no apt-get here to fetch {package.package}; run: mrdo build {package.package} --source FILE")
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        archive = _download(package, Path(folder), progress)
        archive.replace(kept)
    return kept


def _download(package: SourcePackage, folder: Path, progress: Progress) -> Path:
    """apt-get source with a private state, so that neither root nor the system's own lists are needed."""
    options = _private_apt(folder)
    progress(f"asking the distribution's mirrors for {package.package}")
    update = _run(["apt-get", *options, "update"], folder)
    progress(f"fetching the source package {package.package}")
    fetch = _run(["apt-get", *options, "source", "--download-only", package.package], folder)
    if not (folder / package.archive).is_file():
        others = ", ".join(sorted(path.name for path in folder.glob("*.orig.tar.*"))) or "nothing"
        tail = " | ".join((update + fetch).strip().splitlines()[-4:])
        raise BuildError(
            f"the distribution's source package {package.package} brought {others}; expected {package.archive} "
            f"({tail}); run: mrdo build {package.package} --source {package.archive}"
        )
    return _checked(folder / package.archive, package)


def _run(command: list[str], folder: Path) -> str:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_FETCH_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"{' '.join(command[-2:])} did not finish within {_FETCH_TIMEOUT_S} s") from error
    return done.stdout + done.stderr


def _private_apt(folder: Path) -> list[str]:
    parts = folder / "sources.list.d"
    for path in (parts, folder / "state/lists/partial", folder / "cache/archives/partial"):
        path.mkdir(parents=True)
    (folder / "status").touch()
    write_source_entries(_APT_FOLDER, parts)
    settings = {
        "Dir::State": folder / "state",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": parts,
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
    }
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]


def write_source_entries(apt_folder: Path, target: Path) -> int:
    """Copy the system's package sources as deb-src entries; how many files that made.

    Raises BuildError when the system has no package sources.
    """
    count = 0
    main = apt_folder / "sources.list"
    listed = sorted((apt_folder / "sources.list.d").glob("*.list")) + ([main] if main.is_file() else [])
    for path in listed:
        lines = re.findall(r"^\s*deb(?:-src)?(\s.*)$", path.read_text(errors="replace"), re.MULTILINE)
        if lines:
            entries = dict.fromkeys(f"deb-src{line}" for line in lines)
            (target / f"{count}.list").write_text("\n".join(entries) + "\n")
            count += 1
    for path in sorted((apt_folder / "sources.list.d").glob("*.sources")):
        text = re.sub(r"^Types:.*$", "Types: deb-src", path.read_text(errors="replace"), flags=re.MULTILINE)
        (target / f"{count}.sources").write_text(text)
        count += 1
    if not count:
        raise BuildError(f"no package sources under {apt_folder}; run: mrdo build x265 --source FILE")
    return count
