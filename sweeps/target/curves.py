"""What is believed of rate and accuracy at every operating point, after some have been tried.

Accuracy as its logit and rate as its binary logarithm bend little over QP and over the logarithm of the scale, so both
are a surface known beforehand (``priors``) plus a Gaussian process whose parts are how clips, networks and codecs
differ: a level, slopes over QP and scale, a remainder that is alike at neighbouring points, and what each point has of
its own. Three numbers a tried point are enough for a posterior; the algebra is that of Rasmussen and Williams, Gaussian
Processes for Machine Learning, algorithm 2.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

FloatArray = NDArray[np.float64]
_EPSILON = 1e-4


@dataclass(frozen=True)
class Point:
    """An operating point.

    Attributes:
        rdo: RDO mode.
        scale: resolution factor in (0, 1].
        quality: the codec's own quality value.
        qp: where that value lies on the QP scale of HEVC; higher is coarser.
    """

    rdo: str
    scale: float
    quality: int
    qp: float


@dataclass(frozen=True)
class Spread:
    """Standard deviations of the parts in which one clip's surface differs from what is believed beforehand.

    Attributes:
        level: of the whole surface.
        qp, scale: of the slope over 10 QPs, and over an octave of scale.
        both: of their product.
        local: of the remainder, which fades over ``qp_length`` QPs and ``scale_length`` octaves.
        each: of the remainder of one scale alone, which fades over ``each_length`` QPs: sampling grids fit networks
            better or worse.
        own: of what a point shares with no other.
        mode, mode_scale: of the difference between two RDO modes, and of its slope over an octave of scale.
    """

    level: float
    qp: float
    scale: float
    both: float
    local: float
    each: float
    own: float
    mode: float
    mode_scale: float
    qp_length: float = 8.0
    scale_length: float = 0.7
    each_length: float = 8.0


class Surface:
    """One measured quantity over operating points.

    Args:
        expected: (N,) its values as believed beforehand, for the N points of ``points``.
        points: all operating points there are.
        spread: how far a clip may be from that.
    """

    def __init__(self, points: Sequence[Point], expected: FloatArray, spread: Spread) -> None:
        self._expected, self._spread = expected, spread
        self._qp = np.array([(p.qp - 32) / 10 for p in points])
        self._scale = np.log2([p.scale for p in points])
        self._mode = np.array([p.rdo for p in points])
        self._prior = self._variance()

    def posterior(self, tried: Sequence[int], values: Sequence[float]) -> tuple[FloatArray, FloatArray]:
        """(N,) mean and (N,) standard deviation of what each point would measure, the tried ones' own value included.

        Args:
            tried: indices of points.
            values: what was measured there.
        """
        own = self._spread.own**2
        if not tried:
            return self._expected, np.sqrt(self._prior + own)
        index = np.array(tried)
        gram = self._covariance(index, index) + own * np.eye(len(index))
        cross = self._covariance(np.arange(len(self._qp)), index)
        factor = cho_factor(gram, lower=True)
        mean = self._expected + cross @ cho_solve(factor, np.asarray(values) - self._expected[index])
        explained = np.einsum("ij,ji->i", cross, cho_solve(factor, cross.T))
        deviation = np.sqrt(np.maximum(self._prior - explained, 0) + own)
        mean[index], deviation[index] = values, _EPSILON
        return mean, deviation

    def _variance(self) -> FloatArray:
        spread, q, u = self._spread, self._qp**2, self._scale**2
        sloped = spread.qp**2 * q + (spread.scale**2 + spread.mode_scale**2) * u + spread.both**2 * q * u
        level = spread.level**2 + spread.local**2 + spread.each**2 + spread.mode**2
        return np.asarray(level + sloped, dtype=np.float64)

    def _covariance(self, left: NDArray[np.intp], right: NDArray[np.intp]) -> FloatArray:
        spread = self._spread
        q = self._qp[left][:, None], self._qp[right][None]
        u = self._scale[left][:, None], self._scale[right][None]
        steps, octaves = 10 * (q[0] - q[1]), u[0] - u[1]
        local = _fading(steps / spread.qp_length) * _fading(octaves / spread.scale_length)
        each = _fading(steps / spread.each_length) * (octaves == 0)
        same = (self._mode[left][:, None] == self._mode[right][None]).astype(np.float64)
        shared = spread.level**2 + spread.qp**2 * q[0] * q[1] + spread.scale**2 * u[0] * u[1]
        crossed = spread.both**2 * q[0] * q[1] * u[0] * u[1] + spread.local**2 * local + spread.each**2 * each
        modes = same * (spread.mode**2 + spread.mode_scale**2 * u[0] * u[1])
        return np.asarray(shared + crossed + modes, dtype=np.float64)


def _fading(apart: FloatArray) -> FloatArray:
    return np.asarray(np.exp(-(apart**2) / 2), dtype=np.float64)


def logit(share: float | FloatArray) -> FloatArray:
    """log(p / (1 − p)) of shares in 0–1; 0 and 1 count as 0.0001 and 0.9999."""
    clipped = np.clip(share, _EPSILON, 1 - _EPSILON)
    return np.asarray(np.log(clipped / (1 - clipped)), dtype=np.float64)
