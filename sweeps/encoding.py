"""A video into a file: what ``mrdo encode`` does once and the batch encoder for every video."""

from __future__ import annotations

from pathlib import Path

from encoder_bridge.config import CodingConfig
from encoder_bridge.encoders import ENCODERS
from encoder_bridge.mux import check_output, mux
from sweeps.candidates import OnFrame
from sweeps.coding import Coder, Encoded
from sweeps.session import Once


def encode_file(
    source: Once, config: CodingConfig, coder: Coder, output: Path, on_frame: OnFrame | None = None
) -> Encoded:
    """Code ``source`` and put the stream, with the source's time stamps, into ``output``, which appears when complete.

    ``on_frame`` hears of each finished frame.

    Raises:
        ConfigError, OutputError: before any work, where it could not be done.
        Also what the encoder, the map, the judge and the container raise.
    """
    check_output(output, ENCODERS.get(config.codec).codec, source.format.sar)
    coder.check(source, config)
    encoded = coder.encode(source, config, on_frame)
    mux(encoded.stream.path, output, coder.coded_format(source, config), source.pts)
    return encoded


def seconds_of(source: Once) -> float:
    """How long a walked video plays."""
    return float(source.pts[-1] - source.pts[0] + 1 / source.format.fps)
