"""What a candidate metric is given and what it gives: the distortion of K reconstructions of a CTU, seen in context.

The encoder offers K ways to code a rectangle. Each is pasted into the picture so far (``Choice.windows``), a metric
looks at the window and says how far from the original each is, in a unit of its own; ``calibration`` turns that into
squared error, and the encoder keeps the least D + λR.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.registry import Registry
from rdo_metrics.candidates.windows import Planes, Rect, ToRgb, crop, pasted, pasted_rgb

__all__ = [
    "CANDIDATE_METRICS",
    "Blocks",
    "CandidateFrame",
    "CandidateMetric",
    "Choice",
    "Features",
    "Float",
    "LocalNetwork",
    "LogProbs",
    "LossMaps",
    "Networks",
    "Planes",
    "Rect",
    "ToRgb",
]

Float = NDArray[np.float32]
LogProbs = Callable[[NDArray[np.uint8]], Float]
"""(N, h, w, 3) uint8 RGB → (N, C, h, w) float32 natural log-probabilities."""
Features = Callable[[NDArray[np.uint8]], Sequence[Float]]
"""(N, h, w, 3) uint8 RGB → feature maps (N, C, h/s, w/s) float32, one per layer looked at."""
Blocks = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float64]]
"""Originals and reconstructions, both (N, h, w, 3) uint8 RGB → (N,) predicted loss, lower is better."""
T = TypeVar("T")


class LocalNetwork(Protocol):
    """A network that answers to local changes of a picture it has seen (``models.local.LocalModel``)."""

    @property
    def stride(self) -> int:
        """Windows that start and end at multiples of it are cheapest."""

    def begin(self, rgb: NDArray[np.uint8]) -> Any:
        """(H, W, 3) uint8 RGB → what is kept of it; its ``log_probs`` are (C, H, W) float32."""

    def logits(self, items: Sequence[Any]) -> list[Float]:
        """For each (what was kept, window, (K, h, w, 3) uint8 RGB, part) the (K, C, h', w') float32 logits of the part.

        Window and part are (x, y, width, height) in the picture, the part inside the window up to the stride.
        """


class LossMaps(Protocol):
    """A full-reference network that says where a reconstruction costs something (``models.block_model.BlockModel``)."""

    @property
    def cell(self) -> int:
        """Side of a cell of its maps in samples."""

    def maps(self, originals: NDArray[np.uint8], reconstructions: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(N, h, w, 3) uint8 RGB of both → (N, ⌈h/cell⌉, ⌈w/cell⌉) predicted share of changed labels."""


@dataclass(frozen=True)
class Networks:
    """What runs networks for metrics; an absent one is None.

    Attributes:
        log_probs: the driving network, see ``LogProbs``.
        features: its first stages or a cut file, see ``Features``.
        blocks: a full-reference block metric in ONNX, see ``Blocks``.
        signed_grad: gradients of log-probabilities, for the Fisher diagonal (``rdo_metrics.maps.base.SignedGrad``).
        local: the driving network for local changes.
        logits: the driving network without normalisation, for whoever looks at a part of the answer only.
        losses: a full-reference network with maps, see ``LossMaps``.
    """

    log_probs: LogProbs | None = None
    features: Features | None = None
    blocks: Blocks | None = None
    signed_grad: Callable[[Float, NDArray[np.int64], Float], Float] | None = None
    local: LocalNetwork | None = None
    logits: LogProbs | None = None
    losses: LossMaps | None = None


@dataclass(frozen=True)
class CandidateFrame:
    """One frame whose CTUs are judged.

    Attributes:
        original: planes of the picture the encoder is fed.
        base: planes to stand in where nothing is coded yet: the first pass where there is one, else the original.
        to_rgb: see ``ToRgb``; windows are even-aligned.
        bit_depth: of the planes.
        networks: see ``Networks``.
        index: display order.
        seed: of random draws, together with ``index``.
        cache: what a metric found out about this frame.
    """

    original: Planes
    base: Planes
    to_rgb: ToRgb
    bit_depth: int = 8
    networks: Networks = Networks()
    index: int = 0
    seed: int = 0
    cache: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in luma samples."""
        return self.original[0].shape[0], self.original[0].shape[1]

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """``compute()`` the first time this frame asks for ``key``, the same result afterwards."""
        if key not in self.cache:
            self.cache[key] = compute()
        result: T = self.cache[key]
        return result


@dataclass(frozen=True)
class Choice:
    """One rectangle and the K ways to code it.

    Attributes:
        frame: the picture it belongs to.
        rect: where the reconstructions differ; lies inside ``window``.
        window: what a metric sees: ``rect`` and the context around it, inside the picture; all windows of a frame have
            the same size unless the picture is smaller.
        context: planes of the window: what is coded already, ``frame.base`` elsewhere.
        trials: K reconstructions of ``rect``, as planes.
        sse: (K,) float64 squared error of each trial, luma and chroma together, in samples of the coding depth.
        rate_cost: (K,) float64 λR of each trial, same unit.
        lambda_ratio: λ of this rectangle over the frame's λ: below 1 where the map wants it finer.
    """

    frame: CandidateFrame
    rect: Rect
    window: Rect
    context: Planes
    trials: tuple[Planes, ...]
    sse: NDArray[np.float64]
    rate_cost: NDArray[np.float64]
    lambda_ratio: float = 1.0

    @property
    def place(self) -> Rect:
        """``rect`` in the coordinates of ``window``."""
        return self.rect.within(self.window)

    def windows(self) -> list[Planes]:
        """K windows as planes: the context with each trial pasted."""
        return pasted(self.context, self.place, self.trials)

    def windows_rgb(self) -> NDArray[np.uint8]:
        """(K, h, w, 3) uint8 RGB of ``windows``."""
        return pasted_rgb(self.frame.to_rgb, self.context, self.place, self.trials)

    def original_window(self) -> Planes:
        """Planes of ``window`` in the original."""
        return crop(self.frame.original, self.window)

    def original_rgb(self) -> NDArray[np.uint8]:
        """(h, w, 3) uint8 RGB of ``original_window``, converted as a window, so that equal samples give equal RGB."""
        return self.frame.to_rgb(self.original_window())


class CandidateMetric(Protocol):
    """Judges candidates. Register the class: ``@CANDIDATE_METRICS.register("ssim")``.

    Attributes:
        needs: names of the ``Networks`` members it uses, as ("log_probs",); checked before an encode starts.
        context: luma samples around the rectangle that suit it; 0 where only the rectangle counts.

    It may also have ``labels = True`` where it compares with the pseudo-ground truth, which is then put into a frame's
    cache, and ``damage(frame)``, (H, W) bool, where ``frame.base`` costs anything at all: CTUs without are not judged.
    """

    needs: tuple[str, ...]
    context: int

    def distortions(self, batch: Sequence[Choice]) -> list[NDArray[np.float64]]:
        """For each choice (K,) float64 ≥ 0, finite; lower is better, 0 for a perfect reconstruction where it has one.

        The choices may come from several frames; the unit is the metric's own, the same for all of a frame.
        """

    def picture(self, frame: CandidateFrame) -> float:
        """Distortion of ``frame.base`` as a whole, in the unit of ``distortions`` summed over the picture's rectangles.

        Calibration compares it with the squared error of the same picture.
        """


CANDIDATE_METRICS: Registry[Callable[[], CandidateMetric]] = Registry("candidate_metric")
