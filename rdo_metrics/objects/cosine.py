"""Cosine similarity of embeddings before and after coding."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import MetricInputError


def cosine_similarity_difference(
    original: NDArray[Any], coded: NDArray[Any], reference: NDArray[Any] | None = None
) -> NDArray[np.float64]:
    """How much less alike a face is after coding (arXiv 2411.06776). Lower is better.

    Without ``reference`` the face is compared with itself: 1 − cos(original, coded). With it, with another picture of
    the same person: cos(reference, original) − cos(reference, coded).

    Args:
        original, coded: (N, D) embeddings of each face in either picture.
        reference: (N, D) embeddings of another picture of the same person.

    Returns:
        (N,) float64: 0 where coding changed nothing; at most 2; without ``reference`` never negative.

    Raises MetricInputError for shapes that differ or embeddings that are zero or not finite.
    """
    a, b = _embeddings(original), _embeddings(coded)
    if reference is None:
        return 1.0 - _cosine(a, b)
    c = _embeddings(reference)
    return _cosine(c, a) - _cosine(c, b)


def _cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.spatial.distance import cosine

    if a.shape != b.shape:
        raise MetricInputError(f"embeddings {a.shape} and {b.shape}; expected the same (N, D)")
    similarity = [1.0 - cosine(x, y) for x, y in zip(a, b, strict=True)]
    return np.clip(np.array(similarity, np.float64), -1.0, 1.0)


def _embeddings(values: NDArray[Any]) -> NDArray[np.float64]:
    found = np.asarray(values, np.float64)
    if found.ndim != 2:
        raise MetricInputError(f"embeddings of shape {found.shape}; expected (N, D)")
    if not np.isfinite(found).all() or (np.abs(found).sum(axis=1) == 0).any():
        raise MetricInputError("an embedding is zero or not finite; expected vectors with a direction")
    return found
