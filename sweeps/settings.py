"""What a folder was begun with: a run that goes on there must have been asked for the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from encoder_bridge.atomic import replacing
from encoder_bridge.errors import ConfigError


def same_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Keep the settings; ConfigError where the folder was begun with others."""
    if path.is_file():
        stored = json.loads(path.read_text())
        changed = [k for k, v in settings.items() if stored.get(k) != json.loads(json.dumps(v))]
        if changed:
            raise ConfigError(
                f"{path.parent}: begun with {changed[0]} {stored.get(changed[0])}, now {settings[changed[0]]}; "
                "give the same settings or another -o"
            )
        return
    write_json(path, settings)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file, arrays as lists; it appears when it is complete."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    return np.asarray(value).tolist()
