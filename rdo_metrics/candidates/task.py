"""What a candidate does to the network's own answer (design §5.5): the task loss, looked at in context."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import MetricInputError
from rdo_metrics.candidates.base import CANDIDATE_METRICS, CandidateFrame, Choice, Float
from rdo_metrics.candidates.stacks import Member, cut_rgb, required, stacked
from rdo_metrics.candidates.windows import TILE, Rect, tiles, window_of
from rdo_metrics.maps.kl import kl_divergence

_SAMPLE = 16
"""Windows of a picture that calibration looks at: their ratio is within a third of that of all, for half the cost."""
_LOG_FLOOR = np.float32(-80)
"""Log-probability of the impossible; within exp's float32 range."""


class _NetworkAnswer:
    """Runs the network on every window; what is made of its answer inside the rectangle is the subclass's."""

    needs: tuple[str, ...] = ("log_probs",)
    context = 32
    _originals = False

    def __init__(self, margin: int = 0) -> None:
        self.margin = margin

    def distortions(self, batch: Sequence[Choice]) -> list[NDArray[np.float64]]:
        """See ``CandidateMetric.distortions``. Raises MetricInputError where the network answers otherwise."""
        results: dict[int, NDArray[np.float64]] = {}
        for run, stack in stacked(batch, "log_probs", self._originals):
            # Logits, where they can be had, are normalised in the rectangle alone.
            bare = batch[stack.members[0].index].frame.networks.logits
            answers = _checked((bare or run)(stack.rgb), stack.rgb)
            for member in stack.members:
                results[member.index] = self._judged(member, answers)
        return [results[index] for index in range(len(batch))]

    def picture(self, frame: CandidateFrame) -> float:
        """Σ KL(f(x)‖f(x̂)) over the picture in nats, as windows show it: the part of the loss that coding has caused.

        The cross-entropy would not do for calibration, as most of it is there without any error. Nor would the
        divergence of whole pictures alone: a network that sees little is several times as easily swayed. So their ratio
        is taken from a few windows, spread over the picture, and the rest from two runs on whole pictures.
        """
        whole = kl_divergence(original_log_probs(frame), _whole(frame, frame.base))
        total = float(np.sum(whole, dtype=np.float64))
        sample = _spread(frame.size)
        seen = self._seen(frame, sample)
        known = sum(float(np.sum(whole[rect.luma], dtype=np.float64)) for rect in sample)
        return total * seen / known if known > 0 else total

    def _seen(self, frame: CandidateFrame, rects: Sequence[Rect]) -> float:
        """Σ over ``rects`` of the divergence between the answers to the original's and the base's windows."""
        windows = [window_of(rect, self.context, frame.size) for rect in rects]
        rgb = np.concatenate([cut_rgb(frame, planes, windows) for planes in (frame.original, frame.base)])
        answers = _checked(required(frame.networks, "log_probs")(rgb), rgb)
        total = 0.0
        for rect, window, log_p, log_q in zip(rects, windows, answers, answers[len(rects) :], strict=False):
            place = rect.within(window).luma
            total += float(np.sum(kl_divergence(log_p[:, *place], log_q[:, *place]), dtype=np.float64))
        return total

    def _judged(self, member: Member, answers: Float) -> NDArray[np.float64]:
        choice = member.choice
        # What lies outside the window has not been looked at.
        size = choice.window.height, choice.window.width
        place = choice.place.dilated(self.margin, size)
        # The window before the trials is the original's, where it was asked for.
        first = max(member.span.start - 1, 0)
        inside = answers[first : member.span.stop, :, *place.luma]
        if choice.frame.networks.logits is not None:
            inside = log_softmax(inside)
        return np.array([self._loss(choice, place, inside[0], log_q) for log_q in inside[member.span.start - first :]])

    def _loss(self, choice: Choice, place: Rect, seen: Float, log_q: Float) -> float:
        raise NotImplementedError


@CANDIDATE_METRICS.register("task")
class TaskMetric(_NetworkAnswer):
    """Cross-entropy of the network's answer on the window to the pseudo-ground truth, summed over the rectangle, nats.

    The pseudo-ground truth is the network's labels of the frame's whole original. Lower is better; not 0 for a perfect
    reconstruction, as no answer is quite certain.

    Args:
        margin: luma samples around the rectangle whose loss counts as well, within the window.
    """

    def _loss(self, choice: Choice, place: Rect, seen: Float, log_q: Float) -> float:
        labels = pseudo_ground_truth(choice.frame)[choice.window.luma][place.luma]
        chosen = np.take_along_axis(log_q, labels[None], axis=0)
        return -float(np.sum(np.maximum(chosen, _LOG_FLOOR), dtype=np.float64))


@CANDIDATE_METRICS.register("task-kl")
class TaskKlMetric(_NetworkAnswer):
    """KL(p_original‖p_candidate) of the network's answers, summed over the rectangle, in nats.

    p_original is the answer to the frame's whole original. Lower is better; a perfect reconstruction gives 0 up to what
    the network loses by seeing the window alone.

    Args:
        margin: as ``TaskMetric``.
    """

    def _loss(self, choice: Choice, place: Rect, seen: Float, log_q: Float) -> float:
        log_p = original_log_probs(choice.frame)[:, *choice.window.luma][:, *place.luma]
        return float(np.sum(kl_divergence(log_p, log_q), dtype=np.float64))


@CANDIDATE_METRICS.register("task-kl-window")
class TaskKlWindowMetric(_NetworkAnswer):
    """As ``task-kl``, but p_original is the answer to the same window of the original: both see as much.

    One more network run for each choice; in return nothing but coding is counted, and a perfect reconstruction in
    perfect surroundings gives exactly 0. Lower is better.

    Args:
        margin: as ``TaskMetric``.
    """

    _originals = True

    def _loss(self, choice: Choice, place: Rect, seen: Float, log_q: Float) -> float:
        return float(np.sum(kl_divergence(seen, log_q), dtype=np.float64))


def log_softmax(scores: Float) -> Float:
    """(N, C, h, w) logits → natural-log class probabilities."""
    less: Float = scores - scores.max(axis=1, keepdims=True)
    less -= np.log(np.exp(less).sum(axis=1, keepdims=True))
    return less


def _spread(size: tuple[int, int]) -> list[Rect]:
    """About ``_SAMPLE`` tiles, never the same columns in every row."""
    rects, columns = list(tiles(size)), -(-size[1] // TILE)
    step = max(len(rects) // _SAMPLE, 1)
    while columns > 1 and gcd(step, columns) > 1:
        step += 1
    return rects[::step]


def original_log_probs(frame: CandidateFrame) -> Float:
    """(C, H, W) float32 log-probabilities of the whole original, computed once per frame."""
    return frame.once("log probs", lambda: _whole(frame, frame.original))


def pseudo_ground_truth(frame: CandidateFrame) -> NDArray[np.int64]:
    """(H, W) int64 labels of the whole original."""
    return frame.once("labels", lambda: np.asarray(original_log_probs(frame).argmax(axis=0), dtype=np.int64))


def _whole(frame: CandidateFrame, planes: tuple[NDArray[np.generic], ...]) -> Float:
    rgb = frame.to_rgb(planes)[None]
    return np.asarray(_checked(required(frame.networks, "log_probs")(rgb), rgb)[0])


def _checked(answer: Float, rgb: NDArray[np.uint8]) -> Float:
    found = np.asarray(answer, dtype=np.float32)
    if found.ndim != 4 or found.shape[0] != len(rgb) or found.shape[2:] != rgb.shape[1:3]:
        count, height, width = rgb.shape[:3]
        raise MetricInputError(f"log-probabilities of shape {found.shape}; expected ({count}, C, {height}, {width})")
    return found
