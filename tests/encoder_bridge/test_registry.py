"""Names to factories, their own and those of installed packages."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from encoder_bridge.errors import ConfigError, ToolNotFoundError
from encoder_bridge.registry import Registry


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Installs a package with this source that offers the tools ``good`` and ``own``, both its ``tool``."""

    def install(source: str) -> None:
        info = tmp_path / "far_tools-1.0.dist-info"
        info.mkdir()
        (tmp_path / "far_tools.py").write_text(source)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: far-tools\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[machine_rdo.tools]\ngood = far_tools:tool\nown = far_tools:tool\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "far_tools", raising=False)

    return install


def test_packages_add_names_and_do_not_replace_any(installed: Callable[[str], None]):
    installed("tool = 'far'\n")
    registry: Registry[str] = Registry("tool")
    registry.register("own")("near")
    assert registry.names() == ["good", "own"] and "far_tools" not in sys.modules
    assert (registry.get("good"), registry.get("own")) == ("far", "near")
    assert "good" in registry and "bad" not in registry
    with pytest.raises(ConfigError, match=r"unknown tool 'bad'; known: good, own"):
        registry.get("bad")
    with pytest.raises(ConfigError, match="twice"):
        registry.register("own")("again")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("def tool(:", "SyntaxError"),
        ("tools = 1", "AttributeError"),
        ("raise SystemExit(0)", "SystemExit"),
    ],
)
def test_a_broken_package_is_an_error_only_where_it_is_asked_for(
    source: str, says: str, installed: Callable[[str], None]
):
    installed(source)
    registry: Registry[str] = Registry("tool")
    registry.register("own")("near")
    assert registry.names() == ["good", "own"] and registry.get("own") == "near"
    with pytest.raises(ToolNotFoundError, match=f"tool 'good' of package far-tools cannot be imported: {says}"):
        registry.get("good")
