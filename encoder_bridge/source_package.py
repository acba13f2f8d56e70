"""Where an encoder's untouched source comes from: the distribution's source package, an archive, or a tree."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
    """An encoder that Debian has as a source package.

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

    @property
    def pool(self) -> str:
        """Where a Debian mirror keeps the archive, whatever its release."""
        initial = self.package[:4] if self.package.startswith("lib") else self.package[0]
        return f"pool/main/{initial}/{self.package}/{self.archive}"


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


def is_source_of(package: SourcePackage, source: Path) -> bool:
    """Whether an archive or an unpacked tree is that package's, untouched."""
    try:
        if source.is_dir():
            check_originals(source, package.name)
        else:
            _checked(source, package)
    except BuildError:
        return False
    return True


def fetch_offered(packages: Sequence[SourcePackage], cache: Path, progress: Progress) -> SourcePackage | None:
    """The first of a program's packages whose archive is in ``cache``, or that the distribution offers.

    What it offers is fetched. None where it offers none of them, cannot be asked, or has no apt-get.
    """
    kept = [package for package in packages if _is_kept(package, cache)]
    if kept or shutil.which("apt-get") is None:
        return kept[0] if kept else None
    with _apt(packages[0], cache, progress) as apt:
        offered = apt.offered()
        for package in packages:
            if package.archive in offered:
                apt.download(package, offered[package.archive]).replace(_kept(package, cache))
                return package
    return None


def _kept(package: SourcePackage, cache: Path) -> Path:
    return cache / "sources" / package.archive


def _is_kept(package: SourcePackage, cache: Path) -> bool:
    kept = _kept(package, cache)
    return kept.is_file() and hashlib.sha256(kept.read_bytes()).hexdigest() == package.sha256


def _fetched(package: SourcePackage, cache: Path, progress: Progress) -> Path:
    """From the distribution's source package, or where it has another version from a Debian mirror's pool."""
    kept = _kept(package, cache)
    if _is_kept(package, cache):
        return kept
    if shutil.which("apt-get") is None:
        raise BuildError(f"no apt-get here to fetch {package.package}; run: mrdo build {package.package} --source FILE")
    with _apt(package, cache, progress) as apt:
        offered = apt.offered()
        archive = apt.download(package, offered[package.archive]) if package.archive in offered else None
        (archive or apt.from_pool(package, offered)).replace(kept)
    return kept


@dataclass(frozen=True)
class _Apt:
    """The distribution's mirrors, with a private state: neither root nor the system's own lists are needed."""

    folder: Path
    package: str
    options: Sequence[str]
    said: str
    progress: Progress

    def offered(self) -> dict[str, str]:
        """Upstream archives of the source package in the configured releases, each with the package's version."""
        text = _run(["apt-cache", *self.options, "showsrc", self.package], self.folder)
        found: dict[str, str] = {}
        for stanza in re.split(r"\n\s*\n", text):
            version = re.search(r"^Version: (\S+)$", stanza, re.MULTILINE)
            if version and re.search(rf"^Package: {re.escape(self.package)}$", stanza, re.MULTILINE):
                for archive in re.findall(r"^ \w+ \d+ (\S+\.orig\.tar\.\w+)$", stanza, re.MULTILINE):
                    found.setdefault(archive, version[1])
        return found

    def download(self, package: SourcePackage, version: str) -> Path:
        self.progress(f"fetching the source package {package.package} {version}")
        wanted = f"{package.package}={version}"
        text = _run(["apt-get", *self.options, "source", "--download-only", wanted], self.folder)
        if not (self.folder / package.archive).is_file():
            raise BuildError(self._nothing(package, f"the source package {wanted} brought no {package.archive}", text))
        return _checked(self.folder / package.archive, package)

    def from_pool(self, package: SourcePackage, offered: Mapping[str, str]) -> Path:
        """By apt's own downloader, which knows the user's proxy."""
        helper = Path("/usr/lib/apt/apt-helper")
        have, text = ", ".join(offered) or "nothing", ""
        mirrors = debian_mirrors(self.folder / "sources.list.d") if helper.is_file() else []
        for mirror in mirrors:
            url, target = f"{mirror}/{package.pool}", self.folder / package.archive
            self.progress(f"the distribution offers {have}; fetching {url}")
            text += _run([str(helper), *self.options, "download-file", url, str(target)], self.folder)
            if target.is_file():
                return _checked(target, package)
        where = ", ".join(mirrors) or "no Debian mirror is configured"
        problem = f"the distribution's source package {package.package} brought {have}; expected {package.archive}"
        raise BuildError(self._nothing(package, f"{problem}, nor does the pool have it ({where})", text))

    def _nothing(self, package: SourcePackage, problem: str, text: str) -> str:
        tail = " | ".join((self.said + text).strip().splitlines()[-4:])
        return f"{problem} ({tail}); run: mrdo build {package.package} --source {package.archive}"


@contextmanager
def _apt(package: SourcePackage, cache: Path, progress: Progress) -> Iterator[_Apt]:
    sources = cache / "sources"
    sources.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=sources) as place:
        folder = Path(place)
        options = _private_apt(folder)
        progress(f"asking the distribution's mirrors for {package.package}")
        yield _Apt(folder, package.package, options, _run(["apt-get", *options, "update"], folder), progress)


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


def debian_mirrors(entries: Path) -> list[str]:
    """Debian mirrors among the package sources that ``write_source_entries`` wrote, each once."""
    texts = [path.read_text() for path in sorted(entries.iterdir())]
    urls = [url for text in texts for url in re.findall(r"\bhttps?://[^\s\]]+", re.sub(r"(?m)^\s*#.*$", "", text))]
    return list(dict.fromkeys(url.rstrip("/") for url in urls if re.search(r"/debian(/|$)", url)))
