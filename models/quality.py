"""Quality of a coded picture for detectors, told without the original (seed paper 003, section 5), in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import ModelError
from models.bound import BoundSession
from models.metadata import InputSpec, ModelOptions, resolve
from models.task_model import Rgb, prepare

TASK = "no-reference"
"""``mrdo.task`` of such a file."""
PATCH = 224
"""Side of the patches it was trained on."""
PATCHES = 2
"""Patches of a picture whose predictions are averaged."""
QUALITY, ACTIVATIONS = "quality", "activations"
_BANDWIDTH = 1.0
"""σ of the density's kernel in positions of the activation map."""


class QualityModel:
    """Predicts the DCT ratio of a coded picture from that picture alone. Higher is worse.

    Section 5.1: a picture contributes most to what a network extracts where activations of an intermediate layer are
    high or low, so a probability map is made of them without parameters, two places are drawn from it, and what is
    predicted for the patches of 224×224 there is averaged. The paper leaves open which layer and which estimate: here
    it is the predictor's own last convolution, the distance of each channel from its mean in units of its deviation,
    averaged over channels, and a Gaussian kernel density over the positions. Places are drawn without replacement;
    patches that stick out are moved inside.

    Args:
        path: ``.onnx`` file written by `mrdo train quality`.
        device, threads: as ``TaskModel``.
        patches: of each picture.
        seed: of the draw; a picture gives the same value alone and among others.

    Raises ModelError for an unsuitable file, DeviceError where the device is not here.
    """

    def __init__(
        self, path: Path | str, device: str = "cpu", threads: int | None = None, patches: int = PATCHES, seed: int = 0
    ) -> None:
        self.path = Path(path)
        self._session = BoundSession(self.path, device, threads)
        metadata, names = self._session.metadata, [o.name for o in self._session.outputs]
        if metadata.get("mrdo.task") != TASK or names != [QUALITY, ACTIVATIONS] or len(self._session.inputs) != 1:
            raise ModelError(
                f"{path}: task {metadata.get('mrdo.task')!r}, outputs {', '.join(names)}; expected task {TASK!r}, "
                f"outputs {QUALITY}, {ACTIVATIONS}: what `mrdo train quality` writes"
            )
        if patches < 1:
            raise ModelError(f"{patches} patches of a picture; expected at least 1")
        self.spec: InputSpec = resolve(str(path), metadata, self._session.inputs[0].shape, ModelOptions())
        self.patches, self.seed = patches, seed

    def __call__(self, rgb: Rgb) -> NDArray[np.float64]:
        """(N, H, W, 3) or (H, W, 3) uint8 RGB → (N,) float64 predicted quality. Raises ModelError."""
        pictures = rgb[None] if rgb.ndim == 3 else rgb
        if pictures.ndim != 4 or pictures.shape[3] != 3 or pictures.dtype != np.uint8 or 0 in pictures.shape:
            raise ModelError(f"pictures of shape {rgb.shape} {rgb.dtype}; expected (N, H, W, 3) or (H, W, 3) uint8 RGB")
        return np.array([self._one(_filled(picture)) for picture in pictures], np.float64)

    def density(self, rgb: Rgb) -> NDArray[np.float64]:
        """(H, W, 3) uint8 RGB, sides of at least 224 → (h, w) probability of each position, sum 1."""
        from scipy.ndimage import gaussian_filter

        activation = self._session.run([prepare(rgb[None], self.spec)])[1][0]
        smooth = gaussian_filter(activation.astype(np.float64), _BANDWIDTH, mode="constant")
        total = float(smooth.sum())
        return smooth / total if total > 0 else np.full(smooth.shape, 1 / smooth.size)

    def corners(self, rgb: Rgb) -> list[tuple[int, int]]:
        """(y, x) of the patches of a picture as ``density``."""
        chance = self.density(rgb)
        rng = np.random.default_rng(self.seed)
        count = min(self.patches, int(np.count_nonzero(chance)))
        drawn = rng.choice(chance.size, size=count, replace=False, p=chance.ravel())
        rows, columns = np.unravel_index(drawn, chance.shape)
        sides = zip((rows, columns), chance.shape, rgb.shape[:2], strict=True)
        ys, xs = (_corner(place, count, side) for place, count, side in sides)
        return list(zip(ys, xs, strict=True))

    def _one(self, picture: Rgb) -> float:
        patches = [picture[y : y + PATCH, x : x + PATCH] for y, x in self.corners(picture)]
        answers = self._session.run([prepare(np.stack(patches), self.spec)])[0]
        return float(answers.mean(dtype=np.float64))


def _corner(places: NDArray[np.int64], count: int, side: int) -> list[int]:
    """Where patches centred at positions of a map begin, inside the picture."""
    centres = (places + 0.5) * side / count
    return [int(c) for c in np.clip(np.rint(centres - PATCH / 2), 0, side - PATCH)]


def _filled(picture: Rgb) -> Rgb:
    """Mirrored below and to the right up to 224 samples where a side is shorter."""
    down, across = (max(PATCH - side, 0) for side in picture.shape[:2])
    return np.pad(picture, ((0, down), (0, across), (0, 0)), mode="symmetric") if down or across else picture
