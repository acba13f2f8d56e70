"""What a map is given and what it gives: the worth of a unit of squared error, block by block."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from encoder_bridge.errors import MetricInputError
from encoder_bridge.frames import Plane
from encoder_bridge.registry import Registry
from rdo_metrics.weights import block_mean, grid_shape

Float = NDArray[np.float32]
Labels = NDArray[np.int64]
LogProbs = Callable[[NDArray[np.uint8]], Float]
"""(N, H, W, 3) uint8 RGB → (N, C, H, W) float32 natural log-probabilities."""
LossAndGrad = Callable[[Float, Labels], tuple[Float, Float]]
"""(N, 3, H, W) float32 RGB in 0–255, labels (N, H, W) → cross-entropy (N,) summed over pixels and its
gradient (N, 3, H, W)."""
SignedGrad = Callable[[Float, Labels, Float], Float]
"""RGB and labels as above, signs (N, H, W) of ±1 → gradient (N, 3, H, W) of Σ sign·log p(label)."""
Guide = Callable[..., Float]
"""A map network: QP, then RGB of the original and, where it takes two, of the first pass, both at half size; or QP and
log-probabilities (C, H, W) → (ceil(H/16), ceil(W/16)) float32 weights ≥ 0."""

T = TypeVar("T")


@dataclass(frozen=True)
class MapContext:
    """One frame as maps see it; networks are met through callables, so a map never knows what runs them.

    Attributes:
        original_rgb: (H, W, 3) uint8, after conversion to the coded chroma format and back: what a decoder would show
            of a lossless stream (the conversion alone moves 1–2 % of the labels).
        original_luma: (H, W) uint8 or uint16.
        log_probs: the network, see ``LogProbs``; None for maps that need none.
        reconstruction_rgb, reconstruction_luma: first pass at the target QP; None before there is one.
        loss_and_grad, logp_signed_grad: gradients, see ``LossAndGrad`` and ``SignedGrad``; None without autograd.
        bit_depth: of the luma planes.
        full_range: luma spans the whole sample range instead of 16–235.
        block: grid of the weights in luma samples, 16 or 8.
        index: display order, for maps from a file and for seeds.
        seed: of every random draw, together with ``index``.
        reduction: the RGB pictures are at 1/reduction of the size, rounded up, for maps that ask for that.
        guide: a network that gives weights, see ``Guide``.
        qp: operating point of the first pass, or of the one that would have been.
        cache: results that depend on the original alone; shared by ``with_reconstruction``, so that a comparison over
            QPs runs the network on the original once. It lives as long as the frame's contexts.
    """

    original_rgb: NDArray[np.uint8]
    original_luma: Plane
    log_probs: LogProbs | None = None
    reconstruction_rgb: NDArray[np.uint8] | None = None
    reconstruction_luma: Plane | None = None
    loss_and_grad: LossAndGrad | None = None
    logp_signed_grad: SignedGrad | None = None
    bit_depth: int = 8
    full_range: bool = False
    block: int = 16
    index: int = 0
    seed: int = 0
    reduction: int = 1
    guide: Guide | None = None
    qp: float = 35.0
    cache: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.block not in (8, 16):
            raise MetricInputError(f"map grid of {self.block} samples; expected 8 or 16")
        height, width = self.original_luma.shape
        for name in ("original_rgb", "reconstruction_rgb"):
            _expect_shape(name, getattr(self, name), (*grid_shape(height, width, self.reduction), 3))
        _expect_shape("reconstruction_luma", self.reconstruction_luma, (height, width))

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in luma samples."""
        return self.original_luma.shape[0], self.original_luma.shape[1]

    @property
    def grid(self) -> tuple[int, int]:
        """Shape of the weights: (ceil(H/block), ceil(W/block))."""
        return grid_shape(*self.size, self.block)

    def with_reconstruction(self, rgb: NDArray[np.uint8], luma: Plane) -> MapContext:
        """The same frame at another operating point; what is known of the original stays known."""
        return replace(self, reconstruction_rgb=rgb, reconstruction_luma=luma)

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """``compute()`` the first time this frame asks for ``key``, the same result afterwards."""
        if key not in self.cache:
            self.cache[key] = compute()
        result: T = self.cache[key]
        return result

    def original_log_probs(self) -> Float:
        """(C, H, W) float32 log-probabilities of the original, computed once per frame."""
        return self.once("log_probs", lambda: self.infer(self.original_rgb))

    def labels(self) -> Labels:
        """(H, W) int64 pseudo-ground truth: the network's labels of the original."""
        return self.once("labels", lambda: np.asarray(self.original_log_probs().argmax(axis=0), dtype=np.int64))

    def infer(self, rgb: NDArray[np.uint8]) -> Float:
        """(C, H, W) float32 log-probabilities of one picture. MetricInputError where the network answers otherwise."""
        if self.log_probs is None:
            raise MetricInputError("this map needs a network; give --model")
        out = np.asarray(self.log_probs(rgb[None]), dtype=np.float32)
        if out.ndim != 4 or out.shape[0] != 1 or out.shape[2:] != self.size:
            raise MetricInputError(
                f"log-probabilities of shape {out.shape}; expected (1, C, {self.size[0]}, {self.size[1]})"
            )
        return np.asarray(out[0])

    def reconstruction(self) -> tuple[NDArray[np.uint8], Plane]:
        """RGB and luma of the first pass. MetricInputError where there was none."""
        if self.reconstruction_rgb is None or self.reconstruction_luma is None:
            raise MetricInputError("this map needs a first-pass reconstruction; expected one at the target QP")
        return self.reconstruction_rgb, self.reconstruction_luma

    def squared_error(self) -> Float:
        """e²: mean squared luma error of each block, in units of 8-bit samples; shape ``grid``, float32."""
        _, luma = self.reconstruction()
        error = self.original_luma.astype(np.float32) - luma
        mean = block_mean(np.square(error, out=error), self.block)
        return np.asarray(mean / np.float32(4 ** (self.bit_depth - 8)))

    def rng(self) -> np.random.Generator:
        """A generator that depends on ``seed`` and ``index`` alone."""
        return np.random.default_rng((self.seed, self.index))


class Map(Protocol):
    """Side information from a network. Register the class: ``@MAPS.register("kl")``; it is made with ``sigma=``.

    Attributes:
        needs_network: asks for ``MapContext.log_probs``.
        needs_first_pass: asks for a reconstruction at the target QP.
        needs_gradient: asks for ``loss_and_grad`` or ``logp_signed_grad``.
        probe: QP steps by which the first pass should be coarser than the encode. Raising the QP of a block can take
            it over a cliff (foliage is no longer seen as a tree) that a first pass at the target QP does not show.
        tau: shrinkage that suits the map's noise, see ``shrink_weights``.

    An attribute ``reduction``, where a map has one, is the ``MapContext.reduction`` it wants.
    """

    needs_network: bool
    needs_first_pass: bool
    needs_gradient: bool
    probe: int
    tau: float

    def weights(self, ctx: MapContext) -> Float:
        """Raw weights: shape ``ctx.grid``, float32, ≥ 0, finite, any unit; higher means an error there costs more.

        Raises MetricInputError where the context lacks what the map needs.
        """


MAPS: Registry[Callable[..., Map]] = Registry("map")


def smooth(grid: Float, sigma: float, block: int) -> Float:
    """Gaussian over blocks, float32, sum kept (borders mirrored).

    Args:
        grid: (h, w) block values.
        sigma: standard deviation in units of 16 luma samples, whatever the grid.
        block: the grid's block size in luma samples.
    """
    if sigma <= 0:
        return grid
    return np.asarray(gaussian_filter(grid, sigma * 16 / block, mode="reflect"), dtype=np.float32)


def per_squared_error(numerator: Float, squared_error: Float, sigma: float, block: int) -> Float:
    """max(numerator, 0) / (G∗e² + 1): loss per unit of squared error; the 1 keeps perfectly coded blocks finite."""
    return np.asarray(np.maximum(numerator, 0) / (smooth(squared_error, sigma, block) + np.float32(1)))


def chw(rgb: NDArray[np.uint8]) -> Float:
    """(H, W, 3) uint8 → (3, H, W) float32, values kept."""
    return np.ascontiguousarray(rgb.transpose(2, 0, 1), dtype=np.float32)


def _expect_shape(name: str, array: NDArray[Any] | None, shape: tuple[int, ...]) -> None:
    if array is not None and array.shape != shape:
        raise MetricInputError(f"{name} of shape {array.shape}; expected {shape}")
