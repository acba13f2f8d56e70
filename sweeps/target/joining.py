"""Streams of consecutive shots into one stream that any decoder plays."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from encoder_bridge.atomic import replacing
from encoder_bridge.config import CodingConfig
from encoder_bridge.encoders import ENCODERS
from encoder_bridge.errors import ConfigError


def can_join(config: CodingConfig) -> bool:
    """Whether streams of this kind, put one behind the other, are one stream of the same standard.

    Every encoder begins with an IDR picture and its parameter sets, which may say what they like of QPs and tools. AVC
    alone asks consecutive IDR pictures to differ in ``idr_pic_id`` (H.264, 7.4.3), and all-intra streams end and begin
    with one.
    """
    return ENCODERS.get(config.codec).codec != "h264" or config.gop != "intra"


def join(parts: Sequence[Path], configs: Sequence[CodingConfig], target: Path) -> Path:
    """Write the bare streams of ``parts`` behind each other; one part is the result itself.

    Args:
        parts: bare streams, in order.
        configs: how each was coded.
        target: the joined stream; appears only when complete.

    Raises:
        ConfigError: parts of different scales, which libav refuses in MP4 ("damaged data") and most receivers in any
            container, or of a kind that cannot be joined.
    """
    if len(parts) == 1:
        return parts[0]
    scales = sorted({config.scale for config in configs})
    if len(scales) > 1:
        raise ConfigError(f"shots at scales {', '.join(f'{s:g}' for s in scales)}; expected one for the whole stream")
    if not can_join(configs[0]):
        raise ConfigError(f"{configs[0].codec}, all-intra: shots cannot share a stream; expected another --gop")
    with replacing(target) as temporary, temporary.open("wb") as file:
        for part in parts:
            with part.open("rb") as stream:
                shutil.copyfileobj(stream, file)
    return target
