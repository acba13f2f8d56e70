"""Recorded anchors: rate points with the streams themselves, so that any network can score them again.

``NAME-VERSION-GOP.json`` holds what was coded by what and how; the folder of the same name holds one stream a point.
Scores stand there to be read; a comparison decodes the streams and scores them with its own networks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from encoder_bridge.config import CodingConfig
from encoder_bridge.encoder import BuildInfo
from encoder_bridge.errors import StoreError

FORMAT = 1


@dataclass(frozen=True)
class RecordedPoint:
    """One stream.

    Attributes:
        config: how it was coded.
        build: the encoder; its path is empty.
        codec: PyAV decoder name.
        place: the stream's file.
        sha256: of the stream.
        decoded: SHA-256 of its decoded samples, see ``clip.samples_digest``.
        bits, frames: size and pictures.
        command: program and arguments, folders left out.
        psnr, scores: as in ``RunRecord``, with the networks named in ``models``.
    """

    config: CodingConfig
    build: BuildInfo
    codec: str
    place: Traversable
    sha256: str
    decoded: str
    bits: int
    frames: int
    command: tuple[str, ...]
    psnr: Mapping[str, float]
    scores: Mapping[str, Mapping[str, float | None]]

    def stream(self) -> bytes:
        """The stream. Raises StoreError where it is not the one that was recorded."""
        data = self.place.read_bytes()
        if hashlib.sha256(data).hexdigest() != self.sha256 or 8 * len(data) != self.bits:
            raise StoreError(f"{self.place}: not the stream that was recorded; reinstall machine-rdo")
        return data


@dataclass(frozen=True)
class RecordedAnchor:
    """The points of one encoder on one input.

    Attributes:
        name: codec and version, "vtm-12.0".
        gop: picture structure.
        samples: digest of the input, see ``clip.samples_digest``.
        size: width, height and frames of the input.
        models: name → digest of the networks that gave the recorded scores.
        points: in order of QP.
    """

    name: str
    gop: str
    samples: str
    size: tuple[int, int, int]
    models: Mapping[str, str]
    points: tuple[RecordedPoint, ...]

    @property
    def codec(self) -> str:
        """Name of the encoder, "vtm"."""
        return self.points[0].config.codec

    @property
    def version(self) -> tuple[int, ...]:
        """For "the newest": numbers of the version."""
        return tuple(int(part) for part in self.name.partition("-")[2].split(".") if part.isdigit())


def recorded_anchors(folder: Traversable | None = None) -> list[RecordedAnchor]:
    """All that come with this package, or those in ``folder``. Raises StoreError for a file that is none."""
    place = folder if folder is not None else files("sweeps.anchors")
    found = [entry for entry in place.iterdir() if entry.name.endswith(".json")]
    return [read_anchor(entry, place) for entry in sorted(found, key=lambda entry: entry.name)]


def read_anchor(file: Traversable, folder: Traversable) -> RecordedAnchor:
    """One file. Raises StoreError where it is not what ``record`` writes."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise ValueError(f"format {data['format']}, expected {FORMAT}")
        build = BuildInfo(**data["build"], path="", hooked=False, abi=0, patch_hash="")
        streams = folder / file.name.removesuffix(".json")
        points = tuple(_point(point, data["coding"], build, data["decoder"], streams) for point in data["points"])
        given = data["input"]
        size = (given["width"], given["height"], given["frames"])
        return RecordedAnchor(data["name"], data["coding"]["gop"], given["samples"], size, data["models"], points)
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{file}: not a recorded anchor: {error}") from error


def _point(
    point: Mapping[str, Any], coding: Mapping[str, Any], build: BuildInfo, codec: str, streams: Traversable
) -> RecordedPoint:
    config = CodingConfig(**{**coding, "extra": tuple(coding["extra"])}, qp=point["qp"])
    kept = {name: point[name] for name in ("sha256", "decoded", "bits", "frames", "psnr", "scores")}
    return RecordedPoint(config, build, codec, streams / point["stream"], command=tuple(point["command"]), **kept)
