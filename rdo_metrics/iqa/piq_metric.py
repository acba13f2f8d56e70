"""The common part of the metrics of the library piq: tensors, batches, device, its errors as ours."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.errors import DeviceError, ToolNotFoundError
from encoder_bridge.extras import need
from rdo_metrics.iqa.base import IqaMetric, Pictures, Scores

SAMPLES = 1 << 19
"""Luma samples scored at once: phase congruency holds some hundred bytes for each."""
_EXTRA = "iqa"


class PiqMetric(IqaMetric):
    """A metric of piq (arXiv 2208.14818) in its own parameters; its batch function is ``measure``."""

    channels = 1
    """Channels that ``measure`` is given: 1, or 3 with luma in each."""
    together = True
    """Whether ``measure`` may be given several pictures at once."""

    def __init__(self, device: str = "cpu", weights: Path | None = None) -> None:
        super().__init__(device, weights)
        self.piq = load_piq()
        self._torch_device = torch_device(device)

    def measure(self, x: Any, y: Any) -> Any:
        """Scores of coded ``x`` and original ``y``, tensors (N, channels, H, W) in 0–1; (N,) or a scalar for N = 1."""
        raise NotImplementedError

    def unit_scores(self, originals: NDArray[np.float32], coded: NDArray[np.float32]) -> Scores:
        """As ``scores`` for luma (N, H, W) float32 in 0–1 of any derivation, not checked and not clipped."""
        import torch

        at_once = max(1, SAMPLES // (originals.shape[1] * originals.shape[2])) if self.together else 1
        # TF32 would round what a network sees to ten bits on some devices.
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
        with torch.inference_mode(), exact:
            parts = [
                self.measure(self._tensor(coded[i : i + at_once]), self._tensor(originals[i : i + at_once]))
                for i in range(0, len(coded), at_once)
            ]
            found: Scores = np.concatenate([np.zeros(0), *(part.reshape(-1).double().cpu().numpy() for part in parts)])
        return found

    @classmethod
    def missing(cls, weights: Path | None = None) -> str | None:
        """See ``IqaMetric.missing``."""
        try:
            need(_EXTRA, "torch", "piq")
        except ToolNotFoundError as error:
            return str(error)
        return None

    def _scores(self, originals: Pictures, coded: Pictures, bit_depth: int) -> Scores:
        peak = np.float32((1 << bit_depth) - 1)
        return self.unit_scores(originals.astype(np.float32) / peak, coded.astype(np.float32) / peak)

    def _tensor(self, pictures: NDArray[np.float32]) -> Any:
        import torch

        one = torch.from_numpy(np.ascontiguousarray(pictures)).to(self._torch_device)[:, None]
        return one.repeat(1, self.channels, 1, 1) if self.channels > 1 else one


def load_piq() -> Any:
    """The library. ToolNotFoundError where it is not installed, or what it stands on does not load."""
    need(_EXTRA, "torch", "piq")
    try:
        return importlib.import_module("piq")
    except (ImportError, OSError, RuntimeError) as error:  # torch and torchvision of different builds
        raise ToolNotFoundError(
            f"piq cannot be imported: {error}; run: pip install --force-reinstall 'machine-rdo[{_EXTRA}]'"
        ) from error


def torch_device(name: str) -> Any:
    """A torch device by name, "cpu" or "cuda". Raises DeviceError where it is not here."""
    import torch

    if name not in ("cpu", "cuda"):
        raise DeviceError(f"device {name!r}; expected cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise DeviceError("device cuda asked for, but torch sees no CUDA device; use --device cpu")
    return torch.device(name)
