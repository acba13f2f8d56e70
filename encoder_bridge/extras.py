"""Packages that come with an extra: asked for before the work that needs them begins."""

from __future__ import annotations

import importlib.util

from encoder_bridge.errors import ToolNotFoundError


def need(extras: str, *packages: str) -> None:
    """ToolNotFoundError, naming the command that brings them, unless every package is installed.

    Args:
        extras: of machine-rdo, as "exact,train".
        packages: importable names; none is imported.
    """
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise ToolNotFoundError(f"{', '.join(missing)} not installed; run: pip install 'machine-rdo[{extras}]'")
