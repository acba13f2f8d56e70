"""Fixtures of the tests that go through the command line."""

from __future__ import annotations

import pytest
from support.command import Mrdo

from encoder_bridge.shell import run_cli
from sweeps.cli import cli


@pytest.fixture
def mrdo(capsys: pytest.CaptureFixture[str]) -> Mrdo:
    """Words → exit status, stdout, stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        return run_cli(cli, list(map(str, words))), *capsys.readouterr()

    return run
