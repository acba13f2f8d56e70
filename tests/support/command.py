"""`mrdo` in this process."""

from __future__ import annotations

from collections.abc import Callable

Mrdo = Callable[..., tuple[int, str, str]]
"""Words → exit status, stdout, stderr."""
