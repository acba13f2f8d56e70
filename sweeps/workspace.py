"""Where a comparison keeps what it can reuse: streams, maps and reference labels, each named by what made it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from encoder_bridge.errors import OutputError

FOLDERS = ("streams", "maps", "labels")


class Workspace:
    """A folder of files named by the digest of everything that determines them, so that a hit is always right."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        try:
            for name in FOLDERS:
                (self.folder / name).mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise OutputError(f"cannot write {self.folder}: {exc.strerror}; give a writable folder") from exc

    def stream(self, identity: Mapping[str, object], suffix: str) -> Path:
        """Place of the elementary stream with this identity."""
        return self.folder / "streams" / f"{digest_of(identity)}{suffix}"

    def map(self, identity: Mapping[str, object]) -> Path:
        """Place of the raw block weights with this identity, ``.npy`` (T, h, w) float32."""
        return self.folder / "maps" / f"{digest_of(identity)}.npy"

    def labels(self, identity: Mapping[str, object]) -> Path:
        """Place of the labels a network gives a video, ``.npy`` (T, H, W) uint8."""
        return self.folder / "labels" / f"{digest_of(identity)}.npy"


def digest_of(identity: Mapping[str, object]) -> str:
    """First 32 hex digits of the SHA-256 of the canonical JSON form."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
