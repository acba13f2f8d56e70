"""What `mrdo doctor` says of encoders."""

from __future__ import annotations

from pathlib import Path

import pytest

from encoder_bridge import toolchain
from encoder_bridge.checks import ToolStatus, run_checks
from encoder_bridge.cli import _hook

HOOKED = "JM-19.1 (FRExt)\nMRDO_HOOK abi=1 patch=0123456789abcdef depth=8"


def status_of(name: str) -> ToolStatus:
    return next(status for status in run_checks() if status.name == name)


@pytest.fixture
def hooked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that says it has our hook; no plugin is beside it."""
    program = tmp_path / "lencod"
    program.write_text(f"#!/bin/sh\ncat <<'MRDO'\n{HOOKED}\nMRDO\n")
    program.chmod(0o755)
    monkeypatch.setenv("MRDO_JM_HOOKED", str(program))
    monkeypatch.delenv("MRDO_BRIDGE_PLUGIN", raising=False)
    return program


def test_a_hook_without_its_plugin_is_not_ok(hooked: Path) -> None:
    status = status_of("jm")
    assert not status.ok and status.advice.startswith(f"no plugin at {hooked.parent}")


def test_a_hook_of_other_patches_is_told(hooked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (hooked.parent / toolchain.PLUGIN_NAME).touch()
    status = status_of("jm")
    assert status.ok and "built from other patches (0123456789abcdef); to renew: mrdo builds no JM" in status.advice
    monkeypatch.setattr(toolchain, "current_patch", lambda info: "0123456789abcdef")
    assert status_of("jm").advice == "" and _hook(status_of("jm")) == "ABI 1"


def test_codecs_in_this_process_have_no_abi() -> None:
    assert [_hook(status_of(name)) for name in ("jpeg", "jpeg2000", "python")] == ["built in", "no", ""]
