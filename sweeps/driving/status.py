"""How far a sweep is: counts by codec, who writes, and when it will be done."""

from __future__ import annotations

import json
import math
import os
import socket
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sweeps.driving.schedule import planned_keys, read_saved
from sweeps.store import DEFAULT_NAME, ResultStore


@dataclass
class Progress:
    """Of a sweep's folder.

    Attributes:
        name: of the plan.
        planned, done, failed: codec → runs; what is neither done nor failed is missing.
        seconds: codec → time that its finished runs took.
        workers: at a time, as the sweep was last started.
        holder: process that writes now, as it describes itself; None where none does.
    """

    name: str
    workers: int
    holder: dict[str, Any] | None
    planned: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)

    def missing(self, codec: str) -> int:
        """Runs of a codec that have no record."""
        return self.planned[codec] - self.done[codec] - self.failed[codec]

    @property
    def left_s(self) -> float:
        """Seconds until the missing runs are made by as many workers; NaN where no run of a codec tells yet."""
        left = 0.0
        for codec in self.planned:
            if self.missing(codec):
                if not self.done[codec]:
                    return math.nan
                left += self.missing(codec) * self.seconds[codec] / self.done[codec]
        return left / self.workers


def progress_of(folder: Path) -> Progress:
    """The state of a sweep, also while another process writes. StoreError where the folder holds no sweep."""
    saved = read_saved(folder)
    store = ResultStore(folder, read_only=True)
    seconds = {head.key: head.seconds for head in store.heads()}
    progress = Progress(saved["name"], max(1, int(saved.get("workers", 1))), holder_of(folder))
    for codec, key in planned_keys(saved):
        progress.planned[codec] += 1
        succeeded = store.ok(key)
        if succeeded is not None:
            (progress.done if succeeded else progress.failed)[codec] += 1
            progress.seconds[codec] += seconds.get(key, 0.0) if succeeded else 0.0  # type: ignore[assignment]
    return progress


def holder_of(folder: Path) -> dict[str, Any] | None:
    """Who writes the store of a folder: {"pid", "host", "since"}; None where nobody does.

    The lock itself is left alone: trying it could keep a sweep that just begins from its store. What a killed process
    of another host left cannot be told from a living one.
    """
    try:
        text = (folder / f".{DEFAULT_NAME}.holder").read_text(encoding="utf-8")
        holder: dict[str, Any] = dict(json.loads(text))
    except (OSError, ValueError, TypeError):
        return None
    here = holder.get("host") == socket.gethostname()
    return holder if not here or _lives(holder.get("pid")) else None


def running_s(holder: Mapping[str, Any]) -> float | None:
    """Seconds since a holder began; None where it does not say."""
    try:
        return (datetime.now(UTC) - datetime.fromisoformat(str(holder["since"]))).total_seconds()
    except (KeyError, ValueError, TypeError):
        return None


def _lives(pid: Any) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError, TypeError):
        return False
    except PermissionError:
        return True
    return True
