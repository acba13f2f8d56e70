"""Fixtures shared by all tests."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from hypothesis import settings

from encoder_bridge import toolchain
from encoder_bridge.encoder import BuildInfo
from encoder_bridge.errors import ToolNotFoundError

_ROOT = Path(__file__).resolve().parents[1]
# The same examples every time; `pytest --hypothesis-profile explore` looks for new ones.
settings.register_profile("fixed", derandomize=True)
settings.register_profile("explore", derandomize=False)
settings.load_profile("fixed")
# Started in the background, a shell has us ignore Ctrl-C, and so would every command under test.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def repo_root() -> Path:
    return _ROOT


@pytest.fixture(scope="session")
def camvid() -> Path:
    """Folder with train, trainannot, val, valannot; never part of the repository."""
    folder = _ROOT.parent / "shared" / "data" / "camvid"
    if not (folder / "val").is_dir():
        pytest.skip("CamVid is not here (expected in ../shared/data/camvid)")
    return folder


def _ready(depth: int, name: str = "x265") -> BuildInfo:
    try:
        info = toolchain.find(name, depth)
    except ToolNotFoundError:
        return toolchain.build(name, depth=depth)
    return info if info.hooked else toolchain.build(name, depth=depth)


@pytest.fixture(scope="session")
def x265_distribution() -> BuildInfo:
    """The patched 8-bit x265, built into the user's cache when it is not there yet."""
    return _ready(8)


@pytest.fixture(scope="session")
def x265_hooked(x265_distribution: BuildInfo) -> BuildInfo:
    """The same; the tests of the hook take other versions as well."""
    return x265_distribution


@pytest.fixture(scope="session")
def x265_hooked_10() -> BuildInfo:
    """The patched 10-bit x265."""
    return _ready(10)


@pytest.fixture(scope="session")
def x265_plain(x265_hooked: BuildInfo) -> BuildInfo:
    """The untouched x265 of the same version and depth."""
    return toolchain.build("x265", depth=8, plain=True, version=x265_hooked.version.partition("+")[0])


@pytest.fixture(scope="session")
def x264_hooked() -> BuildInfo:
    """x264 with our hook, built into the user's cache when it is not there yet."""
    return _ready(8, "x264")
