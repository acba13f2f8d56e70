"""What is known of the inputs: digested once, kept beside the results, known again by their files' sizes and times."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from encoder_bridge.atomic import replacing
from encoder_bridge.errors import BridgeError
from encoder_bridge.frames import VideoFormat
from sweeps.plan.inputs import InputFile

FILE = "inputs.json"


@dataclass(frozen=True)
class SeenInput:
    """An input whose files are there.

    Attributes:
        file: how it is opened.
        signature: of its files.
    """

    file: InputFile
    signature: str


@dataclass(frozen=True)
class KnownInput(SeenInput):
    """An input that was walked once.

    Attributes:
        digest: of its samples.
        format: of its frames.
        frames: how many there are.
        labels: digest of its label images, None without any.
    """

    digest: str
    format: VideoFormat
    frames: int
    labels: str | None = None

    @property
    def gray(self) -> bool:
        """It has no chroma."""
        return self.format.chroma == "400"


@dataclass(frozen=True)
class BadInput(SeenInput):
    """An input that cannot be read: all its runs fail with ``error``, {"type", "message"}."""

    error: dict[str, str]


def know(file: InputFile) -> dict[str, Any]:
    """What the ledger keeps of an input; walks it. Raises DecodeError, ConfigError."""
    source = file.open()
    labels = file.open_labels(source)
    digest = source.digest()
    count = source.frame_count
    return {
        "digest": digest,
        "format": {**asdict(source.format), "fps": str(source.format.fps), "sar": str(source.format.sar)},
        "frames": sum(1 for _ in source) if count is None else count,
        "labels": None if labels is None else labels.digest(),
    }


class Ledger:
    """Signature → what is known, in a file of the results' folder.

    Args:
        folder: of the results.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._rows: dict[str, dict[str, Any]] = {}
        try:
            self._rows = dict(json.loads(self._path.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            self._rows = {}

    def __contains__(self, signature: str) -> bool:
        return signature in self._rows

    def add(self, signature: str, row: dict[str, Any]) -> None:
        """Take in what ``know`` returned."""
        self._rows[signature] = row

    def save(self) -> None:
        """Write the file."""
        with replacing(self._path) as temporary:
            temporary.write_text(json.dumps(self._rows) + "\n", encoding="utf-8")

    def known(self, file: InputFile, signature: str) -> KnownInput:
        """The input of a signature in the ledger."""
        row = self._rows[signature]
        fmt = {**row["format"], "fps": Fraction(row["format"]["fps"]), "sar": Fraction(row["format"]["sar"])}
        return KnownInput(file, signature, row["digest"], VideoFormat(**fmt), row["frames"], row["labels"])


def signature_of(file: InputFile) -> str | BadInput:
    """The signature of an input, or what is wrong with it."""
    try:
        return file.signature()
    except BridgeError as error:
        return BadInput(file, f"absent:{file.path}", {"type": type(error).__name__, "message": str(error)})
