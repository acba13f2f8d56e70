"""What side information must be before any encoder is asked to use it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.config import MAX_CANDIDATES
from encoder_bridge.encoder import SideInfo
from encoder_bridge.errors import ConfigError


def checked_side(poc: int, info: SideInfo) -> SideInfo:
    """``info`` itself. Raises ConfigError for what no encoder could use, naming the frame."""
    for name, values, low in (("weights", info.weight, True), ("QP offsets", info.qp_offset, False)):
        if values is not None:
            _check_grid(f"{name} of frame {poc}", values, low)
    if not info.lambda_scale > 0:
        raise ConfigError(f"lambda scale {info.lambda_scale} of frame {poc}; expected a positive number")
    if len(info.candidates) > MAX_CANDIDATES:
        raise ConfigError(f"{len(info.candidates)} candidates in frame {poc}; expected at most {MAX_CANDIDATES}")
    if info.judge_splits not in (0, 16, 32, 64):
        raise ConfigError(f"judged splits down to {info.judge_splits} in frame {poc}; expected 16, 32 or 64, or 0")
    if info.candidate_mask is not None:
        _check_mask(poc, info.candidate_mask, len(info.candidates))
    return info


def asks(info: SideInfo) -> bool:
    """Whether the encoder will have choices for a judge."""
    return not info.choose_by_sse and (len(info.candidates) > 1 or info.judge_splits > 0)


def grouped(offsets: NDArray[np.float32], group: int) -> NDArray[np.float32]:
    """QP offsets of 16×16 blocks, each the mean over its quantisation group.

    For encoders whose largest block is smaller than a group.

    Args:
        offsets: (rows, columns) float32, in QP steps.
        group: side of a group in luma samples, a multiple of 16.

    Returns:
        float32 of the same shape; groups that stick out of the picture count what is inside.
    """
    step = group // 16
    if step <= 1:
        return offsets
    rows, columns = (np.arange(0, length, step) for length in offsets.shape)
    sums = np.add.reduceat(np.add.reduceat(offsets.astype(np.float64), rows, axis=0), columns, axis=1)
    height, width = (np.diff(np.append(at, n)) for at, n in zip((rows, columns), offsets.shape, strict=True))
    means = (sums / np.outer(height, width)).astype(np.float32)
    spread = np.repeat(np.repeat(means, height, axis=0), width, axis=1)
    return np.ascontiguousarray(spread)


def _check_grid(name: str, values: NDArray[np.float32], positive: bool) -> None:
    if values.ndim != 2 or not values.size:
        raise ConfigError(f"{name} have shape {values.shape}; expected (rows, columns)")
    bad = ~np.isfinite(values) | ((values <= 0) if positive else False)
    if bad.any():
        wanted = "finite positive" if positive else "finite"
        raise ConfigError(f"{name} hold {float(values[bad][0])}; expected {wanted} numbers")


def _check_mask(poc: int, mask: NDArray[np.uint16], count: int) -> None:
    if mask.ndim != 2 or not mask.size or not np.issubdtype(mask.dtype, np.integer):
        raise ConfigError(
            f"candidate mask of frame {poc} is {mask.dtype} of shape {mask.shape}; expected uint16 (CTU rows, columns)"
        )
    bad = (mask <= 0) | (mask >= 1 << count)
    if bad.any():
        raise ConfigError(
            f"candidate mask of frame {poc} holds {int(mask[bad][0]):#x}; expected some of {count} candidates each"
        )
