"""Recorded streams of every codec decode to the samples they decoded to when they were made.

A vector is a stream of a few kB in ``golden`` and a JSON file of its name with what it is. To record one:
``python tests/encoder_bridge/test_golden.py STREAM "who made it, how"``.
"""

from __future__ import annotations

import hashlib
import json
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoder_bridge.decode import coding_order, decode_stream, picture_bytes
from encoder_bridge.mux import BARE, mux

FOLDER = Path(__file__).resolve().parent / "golden"
VECTORS = sorted(FOLDER.glob("*.json"))
LARGEST = 16_000


def described(path: Path, made: str) -> dict[str, Any]:
    """Geometry, number of pictures and SHA-256 of all decoded samples of a stream."""
    source, digest, count = decode_stream(path), hashlib.sha256(), 0
    for frame in source:
        for plane in frame.planes:
            digest.update(np.ascontiguousarray(plane).tobytes())
        count += 1
    fmt = source.format
    return {
        "stream": path.name,
        "stream_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "made": made,
        "codec": BARE[path.suffix],
        "width": fmt.width,
        "height": fmt.height,
        "chroma": fmt.chroma,
        "bit_depth": fmt.bit_depth,
        "frames": count,
        "samples_sha256": digest.hexdigest(),
    }


def stream_of(vector: Path) -> tuple[Path, dict[str, Any]]:
    recorded = json.loads(vector.read_text())
    return FOLDER / recorded["stream"], recorded


def test_every_stream_is_described_and_small() -> None:
    assert {stream_of(vector)[0] for vector in VECTORS} == {p for p in FOLDER.iterdir() if p.suffix in BARE}
    assert max(stream_of(vector)[0].stat().st_size for vector in VECTORS) <= LARGEST
    assert {stream_of(vector)[1]["codec"] for vector in VECTORS} >= {"mjpeg", "jpeg2000", "h264", "hevc"}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda path: path.stem)
def test_it_decodes_to_the_recorded_samples(vector: Path) -> None:
    stream, recorded = stream_of(vector)
    assert described(stream, recorded["made"]) == recorded


@pytest.mark.parametrize("vector", VECTORS, ids=lambda path: path.stem)
def test_each_picture_has_its_bytes_and_place(vector: Path) -> None:
    stream, recorded = stream_of(vector)
    sizes, order = coding_order(stream)
    assert sorted(order) == [*range(recorded["frames"])]
    assert sum(picture_bytes(stream)) == sum(sizes) <= stream.stat().st_size


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("vector", VECTORS, ids=lambda path: path.stem)
def test_a_container_keeps_it(vector: Path, suffix: str, tmp_path: Path) -> None:
    stream, recorded = stream_of(vector)
    bare, times = decode_stream(stream), [Fraction(n, 25) for n in range(recorded["frames"])]
    mux(stream, tmp_path / f"out{suffix}", bare.format, times)
    held = decode_stream(tmp_path / f"out{suffix}")
    frames = list(held)
    assert [float(frame.pts) for frame in frames] == pytest.approx([float(time) for time in times], abs=0.0006)
    for a, b in zip(bare, frames, strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a.planes, b.planes, strict=True))


if __name__ == "__main__":
    given = Path(sys.argv[1])
    given.with_suffix(".json").write_text(json.dumps(described(given, sys.argv[2]), indent=1) + "\n")
