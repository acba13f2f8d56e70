"""Jaro similarity of what is read before and after coding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import MetricInputError, ToolNotFoundError


def jaro_similarity(original: Sequence[str], coded: Sequence[str]) -> NDArray[np.float64]:
    """Jaro similarity (Jaro 1989, doi:10.1080/01621459.1989.10478785) of each pair of texts. Higher is better.

    Matching characters may stand a little apart, so one lost character does not spoil the rest of the plate.

    Args:
        original, coded: N texts each; empty where nothing was read.

    Returns:
        (N,) float64 in 0..1: 1 for equal texts, also for two empty ones, 0 where nothing is in common.

    Raises MetricInputError for different numbers, ToolNotFoundError without ``rapidfuzz`` (extra ``objects``).
    """
    try:
        from rapidfuzz.distance import Jaro
    except ImportError as error:
        raise ToolNotFoundError(f"{error.name} is missing; run: pip install 'machine-rdo[objects]'") from error
    if len(original) != len(coded):
        raise MetricInputError(f"{len(original)} and {len(coded)} texts; expected as many of each")
    return np.array([Jaro.similarity(a, b) for a, b in zip(original, coded, strict=True)], np.float64)
