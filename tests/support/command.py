"""`mrdo` in this process or in one of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import IO

Mrdo = Callable[..., tuple[int, str, str]]
"""Words → exit status, stdout, stderr."""


def mrdo(*words: object, code: int = 0, stdin: IO[bytes] | None = None) -> subprocess.CompletedProcess[str]:
    """`mrdo` in a process of its own, which must end with ``code``."""
    command = [sys.executable, "-m", "sweeps.cli", *map(str, words)]
    done = subprocess.run(command, stdin=stdin, capture_output=True, text=True, timeout=900)
    assert done.returncode == code, done.stderr
    return done
