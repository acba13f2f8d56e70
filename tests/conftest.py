"""Fixtures shared by all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from encoder_bridge import toolchain
from encoder_bridge.encoder import BuildInfo
from encoder_bridge.errors import ToolNotFoundError

_ROOT = Path(__file__).resolve().parents[1]


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


def _ready(depth: int) -> BuildInfo:
    try:
        info = toolchain.find("x265", depth)
    except ToolNotFoundError:
        return toolchain.build("x265", depth=depth)
    return info if info.hooked else toolchain.build("x265", depth=depth)


@pytest.fixture(scope="session")
def x265_hooked() -> BuildInfo:
    """The patched 8-bit x265, built into the user's cache when it is not there yet."""
    return _ready(8)


@pytest.fixture(scope="session")
def x265_hooked_10() -> BuildInfo:
    """The patched 10-bit x265."""
    return _ready(10)


@pytest.fixture(scope="session")
def x265_plain(x265_hooked: BuildInfo) -> BuildInfo:
    """The untouched x265 of the same version and depth."""
    return toolchain.build("x265", depth=8, plain=True)
