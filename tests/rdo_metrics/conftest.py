"""Toy networks, pictures and choices for the tests of candidate metrics; offered as one fixture, ``toy``."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from encoder_bridge.color import planes_to_rgb
from encoder_bridge.frames import VideoFormat
from rdo_metrics.candidates.base import CandidateFrame, Choice, Networks, Rect
from rdo_metrics.candidates.sse import squared_error
from rdo_metrics.candidates.windows import crop
from rdo_metrics.iqa import weights

CLASSES = 4
MATRIX = np.random.default_rng(5).standard_normal((CLASSES, 3)).astype(np.float32) / 32
FILTERS = np.random.default_rng(6).standard_normal((5, 3, 4, 4)).astype(np.float32)


def log_p(x):
    """Pointwise toy network: (N, 3, H, W) → log-softmax of MATRIX·(x−128)."""
    logits = np.einsum("kc,nchw->nkhw", MATRIX, x.astype(np.float32) - 128)
    logits -= logits.max(axis=1, keepdims=True)
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


def log_probs(rgb):
    return log_p(rgb.transpose(0, 3, 1, 2))


def signed_grad(x, labels, signs):
    onehot = (np.arange(CLASSES)[:, None, None] == labels[:, None]).astype(np.float32)
    return np.einsum("kc,nkhw->nchw", MATRIX, (onehot - np.exp(log_p(x))) * signs[:, None])


def features(rgb):
    """A stride-2 layer of 5 filters of 4×4 (zero padding of 1) with ReLU, and its 2×2 means at stride 4."""
    x = np.pad(rgb.astype(np.float32) / 255, ((0, 0), (1, 2), (1, 2), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (4, 4), axis=(1, 2))[:, ::2, ::2]
    first = np.maximum(np.einsum("nhwcij,kcij->nkhw", windows, FILTERS), 0)
    even = np.pad(first, ((0, 0), (0, 0), (0, first.shape[2] % 2), (0, first.shape[3] % 2)), mode="edge")
    shape = (len(rgb), 5, even.shape[2] // 2, 2, even.shape[3] // 2, 2)
    return [first, even.reshape(shape).mean(axis=(3, 5))]


def blocks(originals, trials):
    return np.abs(originals.astype(np.float64) - trials).sum(axis=(1, 2, 3))


class Pointwise:
    """A network without context: what it keeps of a picture is its answer."""

    stride = 16

    def begin(self, rgb):
        return SimpleNamespace(log_probs=log_probs(rgb[None])[0])

    def logits(self, items):
        return [self.answer(*item) for item in items]

    def answer(self, state, window, rgb, part):
        """The base's answer with that to the window in its place; the margin of 3 is not normalised."""
        (x, y, width, height), (left, top, across, down) = window, part
        assert rgb.shape[1:3] == (height, width)
        whole = np.repeat(state.log_probs[None], len(rgb), axis=0)
        whole[:, :, y : y + height, x : x + width] = log_probs(rgb)
        return whole[:, :, top : top + down, left : left + across] + 3


class Differences:
    """Loss maps in closed form: mean absolute difference of each cell, the last ones padded with their edge."""

    cell = 8

    def maps(self, originals, trials):
        gaps = np.abs(originals.astype(np.float64) - trials).mean(axis=3)
        padded = np.pad(gaps, ((0, 0), (0, -gaps.shape[1] % 8), (0, -gaps.shape[2] % 8)), mode="edge")
        shape = (len(gaps), padded.shape[1] // 8, 8, padded.shape[2] // 8, 8)
        return padded.reshape(shape).mean(axis=(2, 4)) / 255


NETWORKS = Networks(
    log_probs=log_probs, features=features, blocks=blocks, signed_grad=signed_grad, local=Pointwise(),
    losses=Differences(),
)  # fmt: skip


def scene(fmt, seed=0):
    """Planes with structure: gradients, edges and texture, away from the ends of the range."""
    rng = np.random.default_rng(seed)
    planes = []
    for height, width in fmt.plane_shapes:
        y, x = np.mgrid[:height, :width]
        values = 110 + 50 * np.sin(x / 9 + seed) * np.cos(y / 7) + 25 * ((x // 16 + y // 16) % 2)
        values = values + rng.normal(0, 4, values.shape)
        planes.append((np.clip(np.rint(values), 30, 220) * (1 << (fmt.bit_depth - 8))).astype(fmt.dtype))
    return tuple(planes)


def noisy(planes, amount, depth=8, seed=1):
    """Noise that scales with ``amount`` and is the same for both depths."""
    rng, step = np.random.default_rng(seed), 1 << (depth - 8)
    moved = [p.astype(np.int64) + step * np.rint(rng.normal(0, 1, p.shape) * amount).astype(np.int64) for p in planes]
    return tuple(np.clip(m, 0, 255 * step).astype(p.dtype) for m, p in zip(moved, planes, strict=True))


def make_frame(height=150, width=198, chroma="420", depth=8, seed=0, networks=NETWORKS, base_noise=5):
    fmt = VideoFormat(width, height, chroma=chroma, bit_depth=depth)
    original = scene(fmt, seed)

    def to_rgb(planes):
        return planes_to_rgb(planes, replace(fmt, width=planes[0].shape[1], height=planes[0].shape[0]))

    base = noisy(original, base_noise, depth, seed=99) if base_noise else original
    return CandidateFrame(original, base, to_rgb, depth, networks, index=seed)


CTU = Rect(64, 64, 64, 64)


def make_choice(frame, rect=CTU, noises=(0, 2, 6, 18), lossy=False, margin=32):
    """A choice among noisy versions of the original, seen with ``margin`` samples of original or base around it."""
    window = rect.dilated(margin, frame.size)
    original = crop(frame.original, rect)
    trials = tuple(noisy(original, n, frame.bit_depth, seed=rect.x + rect.y) for n in noises)
    errors = np.array([squared_error(original, t) for t in trials], dtype=np.float64)
    around = crop(frame.base if lossy else frame.original, window)
    return Choice(frame, rect, window, around, trials, errors, np.zeros(len(trials)))


@pytest.fixture(scope="session")
def toy():
    """``frame``, ``choice``, ``scene`` and ``noisy`` make pictures; the rest are networks in closed form."""
    return SimpleNamespace(
        frame=make_frame, choice=make_choice, scene=scene, noisy=noisy, networks=NETWORKS,
        log_probs=log_probs, features=features, blocks=blocks,
    )  # fmt: skip


@pytest.fixture(scope="session")
def iqa_weights(tmp_path_factory):
    """Folder with files of weights as LPIPS and DISTS want them, drawn at random."""
    torch = pytest.importorskip("torch")
    vgg16 = pytest.importorskip("torchvision").models.vgg16
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(1)
    features = vgg16(weights=None).features
    torch.save({f"features.{k}": v for k, v in features.state_dict().items()}, folder / weights.VGG16)
    torch.save([torch.rand(1, width, 1, 1) / width for width in (64, 128, 256, 512, 512)], folder / weights.LPIPS)
    both = torch.rand(2, 1475) + 0.1
    alpha, beta = (both / both.sum()).reshape(2, 1, 1475, 1, 1)
    torch.save({"alpha": alpha.clone(), "beta": beta.clone()}, folder / weights.DISTS)
    return folder
