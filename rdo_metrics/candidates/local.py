"""The task loss with the whole picture in view: networks that answer to local changes (``models.local``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import MetricInputError
from rdo_metrics.candidates.base import CANDIDATE_METRICS, CandidateFrame, Choice, Float, LocalNetwork
from rdo_metrics.candidates.stacks import required
from rdo_metrics.candidates.task import original_log_probs, pseudo_ground_truth
from rdo_metrics.candidates.windows import REACH, Rect
from rdo_metrics.maps.kl import kl_divergence

RARE = 0.002
"""Classes of a smaller share of the picture weigh no more than those that have it; evaluation leaves them out."""
_FLOOR = np.float32(80)
"""Nats that a pixel can lose at most; within exp's float32 range."""


class _LocalAnswer:
    """Asks for the answer to each trial in its window, given the base; what is made of it is the subclass's.

    Args:
        margin: luma samples around the rectangle whose loss counts as well, within the window.
    """

    needs: tuple[str, ...] = ("log_probs", "local")
    labels = True
    context = 0  # 32 gains more and costs three times as much

    def __init__(self, margin: int = 16) -> None:
        self.margin = margin

    def distortions(self, batch: Sequence[Choice]) -> list[NDArray[np.float64]]:
        """See ``CandidateMetric.distortions``. Raises MetricInputError where the network answers otherwise."""
        groups: dict[int, list[int]] = {}
        for index, choice in enumerate(batch):
            groups.setdefault(id(required(choice.frame.networks, "local")), []).append(index)
        results: dict[int, NDArray[np.float64]] = {}
        for indices in groups.values():
            network: LocalNetwork = required(batch[indices[0]].frame.networks, "local")
            parts = [self._part(batch[index]) for index in indices]
            items = [_item(batch[index], part) for index, part in zip(indices, parts, strict=True)]
            for index, part, scores in zip(indices, parts, network.logits(items), strict=True):
                results[index] = self._losses(batch[index].frame, part, _checked(scores, batch[index], part))
        return [results[index] for index in range(len(batch))]

    def _part(self, choice: Choice) -> Rect:
        """The rectangle and the margin around it, as far as the window shows it."""
        size = choice.window.height, choice.window.width
        place = choice.place.dilated(self.margin, size)
        return Rect(choice.window.x + place.x, choice.window.y + place.y, place.width, place.height)

    def _losses(self, frame: CandidateFrame, part: Rect, scores: Float) -> NDArray[np.float64]:
        """(K,) from (K, C, h, w) logits."""
        raise NotImplementedError


@CANDIDATE_METRICS.register("task-local")
class TaskLocalMetric(_LocalAnswer):
    """Cross-entropy of the network's answer to the pseudo-ground truth, over the rectangle and its margin, in nats.

    The answer is that to the whole picture with the trial in its place, up to what reaches beyond the window. Lower is
    better; not 0 for a perfect reconstruction, as no answer is quite certain.

    Args:
        margin: luma samples around the rectangle whose loss counts as well, within the window.
    """

    def picture(self, frame: CandidateFrame) -> float:
        """Σ KL(f(x)‖f(x̂)) over the picture in nats, once for each pixel: the part of the loss that coding has caused.

        The cross-entropy would not do for calibration, as most of it is there without any error.
        """
        divergence = kl_divergence(original_log_probs(frame), base_state(frame).log_probs)
        return float(np.sum(divergence, dtype=np.float64))

    def _losses(self, frame: CandidateFrame, part: Rect, scores: Float) -> NDArray[np.float64]:
        labels = pseudo_ground_truth(frame)[part.luma]
        top = scores.max(axis=1, keepdims=True)
        lost = np.log(np.exp(scores - top).sum(axis=1)) + top[:, 0]
        lost -= np.take_along_axis(scores, labels[None, None], axis=1)[:, 0]
        return np.asarray(np.clip(lost, 0, _FLOOR).sum(axis=(1, 2), dtype=np.float64))


class _Labels(_LocalAnswer):
    """Sums what each pixel's label costs, by the pseudo-ground truth and the label it gets."""

    def damage(self, frame: CandidateFrame) -> NDArray[np.bool_]:
        """(H, W) where the base's label is another than the original's."""
        found, _ = base_labels(frame)
        return np.asarray(found != pseudo_ground_truth(frame), np.bool_)

    def picture(self, frame: CandidateFrame) -> float:
        """The loss of the network's labels of the whole base, once for each pixel."""
        found, classes = base_labels(frame)
        return float((_confusion(pseudo_ground_truth(frame), found, classes) * self._costs(frame, classes)).sum())

    def _losses(self, frame: CandidateFrame, part: Rect, scores: Float) -> NDArray[np.float64]:
        labels, classes = pseudo_ground_truth(frame)[part.luma], scores.shape[1]
        costs = self._costs(frame, classes)
        return np.array([(_confusion(labels, _best(answer), classes) * costs).sum() for answer in scores], np.float64)

    def _costs(self, frame: CandidateFrame, classes: int) -> NDArray[np.float64]:
        """(C, C): of a pixel of the class in the row that is taken for the class in the column."""
        raise NotImplementedError


@CANDIDATE_METRICS.register("task-flip")
class TaskFlipMetric(_Labels):
    """Number of pixels whose label differs from the pseudo-ground truth, in the rectangle and its margin.

    Lower is better; 0 where no label changes.

    Args:
        margin: luma samples around the rectangle whose loss counts as well, within the window.
    """

    def _costs(self, frame: CandidateFrame, classes: int) -> NDArray[np.float64]:
        return 1 - np.eye(classes)


@CANDIDATE_METRICS.register("task-iou")
class TaskIouMetric(_Labels):
    """As ``task-flip``, each pixel weighted by what it costs the mean IoU: W(its class) + 0.7 · W(the label it gets).

    W is the inverse of a class's share of the pixels (``class_weights``), a pixel's mean W is 1. A pixel that changes
    its label leaves the intersection of one class and joins the union of another; the latter costs somewhat less.

    Args:
        margin: luma samples around the rectangle whose loss counts as well, within the window.
        prior: (C,) shares of the classes to expect, blended half and half with those of each frame.
    """

    JOINED = 0.7

    def __init__(self, margin: int = 16, prior: Sequence[float] | None = None) -> None:
        super().__init__(margin)
        self.prior = prior

    def _costs(self, frame: CandidateFrame, classes: int) -> NDArray[np.float64]:
        return frame.once(("iou costs", self.JOINED), lambda: self._weighed(frame, classes))

    def _weighed(self, frame: CandidateFrame, classes: int) -> NDArray[np.float64]:
        # Of this frame alone: what other frames hold depends on which of them a thread has seen.
        weights = class_weights(pseudo_ground_truth(frame), classes, self.prior)
        costs = weights[:, None] + self.JOINED * weights[None]
        np.fill_diagonal(costs, 0)
        return costs


def class_weights(labels: NDArray[np.int64], classes: int, prior: Sequence[float] | None = None) -> NDArray[np.float64]:
    """(C,) float64 1 / max(share, ``RARE``), scaled so that Σ share · weight is 1.

    Args:
        labels: of a picture.
        classes: how many there are.
        prior: (C,) shares to blend with those of the picture.

    Raises MetricInputError for a prior of another length.
    """
    shares = np.bincount(labels.ravel(), minlength=classes) / labels.size
    if prior is not None:
        if len(prior) != classes:
            raise MetricInputError(f"prior of {len(prior)} classes; expected {classes}")
        shares = (shares + np.asarray(prior, np.float64)) / 2
    weights = 1 / np.maximum(shares, RARE)
    return np.asarray(weights / (weights * shares).sum(), np.float64)


def base_state(frame: CandidateFrame) -> Any:
    """What the network keeps of ``frame.base``, computed once (``LocalNetwork.begin``)."""
    held: list[tuple[Any, Any]] = frame.once("local", list)
    # Calibration may look at another base than the encoder's, with the same cache.
    if not held or held[0][0] is not frame.base:
        network: LocalNetwork = required(frame.networks, "local")
        held[:] = [(frame.base, network.begin(frame.to_rgb(frame.base)))]
    return held[0][1]


def base_labels(frame: CandidateFrame) -> tuple[NDArray[np.int64], int]:
    """(H, W) labels that the network gives ``frame.base``, and the number of classes; computed once for each base."""
    state = base_state(frame)
    held: list[tuple[Any, NDArray[np.int64], int]] = frame.once("base labels", list)
    if not held or held[0][0] is not state:
        scores = state.log_probs
        held[:] = [(state, _best(scores), len(scores))]
    return held[0][1], held[0][2]


def _item(choice: Choice, part: Rect) -> tuple[Any, ...]:
    """The base, what is shown where instead, and where answers are wanted."""
    window, (height, width) = choice.window, choice.frame.size
    # At its edges a window has not the chroma that the base had there; inside the picture, those samples are left out.
    place = choice.place
    left, top = min(REACH * (window.x > 0), place.x), min(REACH * (window.y > 0), place.y)
    right = max(window.width - REACH * (window.x + window.width < width), place.x + place.width)
    bottom = max(window.height - REACH * (window.y + window.height < height), place.y + place.height)
    shown = window.x + left, window.y + top, right - left, bottom - top
    rgb = choice.windows_rgb()[:, top:bottom, left:right]
    return base_state(choice.frame), shown, rgb, (part.x, part.y, part.width, part.height)


def _best(scores: Float) -> NDArray[np.int64]:
    """(h, w) class of the greatest of (C, h, w) scores, the first of equals."""
    best, found = scores[0].copy(), np.zeros(scores.shape[1:], np.int64)
    # Plane by plane: several times as fast as argmax over the first axis.
    for index in range(1, len(scores)):
        np.copyto(found, index, where=scores[index] > best)
        np.maximum(best, scores[index], out=best)
    return found


def _confusion(labels: NDArray[np.int64], found: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """(C, C) pixels by label and by the class found for them."""
    return np.bincount((labels * classes + found).ravel(), minlength=classes**2).reshape(classes, classes)


def _checked(scores: Float, choice: Choice, part: Rect) -> Float:
    if scores.ndim != 4 or scores.shape[0] != len(choice.trials) or scores.shape[2:] != (part.height, part.width):
        raise MetricInputError(
            f"logits of shape {scores.shape}; expected ({len(choice.trials)}, C, {part.height}, {part.width})"
        )
    return scores
