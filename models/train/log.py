"""Training curves in TensorBoard's format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from encoder_bridge.errors import ToolNotFoundError


class EventLog:
    """Writes training events: ``train/loss``, ``train/lr``, ``validation/miou``, ``validation/accuracy``, ``iou/NAME``.

    A resumed training logs into the same folder; what a killed run had logged beyond its checkpoint is superseded.

    Raises ToolNotFoundError without the package tensorboard.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ToolNotFoundError(
                "--log-dir needs tensorboard, which is not installed: pip install 'machine-rdo[train]'"
            ) from error
        self._open = lambda step: SummaryWriter(str(folder), purge_step=step)
        self._writer: Any = None

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Note one event of ``LoopOptions.report``; kinds other than "step" and "validation" are passed over."""
        if event["event"] == "step":
            self._add(event["step"], {"train/loss": event["loss"], "train/lr": event["lr"]})
        elif event["event"] == "validation":
            scores = {"validation/miou": event["miou"], "validation/accuracy": event["accuracy"]}
            self._add(event["step"], {**scores, **{f"iou/{k}": v for k, v in event["iou"].items()}})

    def close(self) -> None:
        """Write what is still held back."""
        if self._writer is not None:
            self._writer.close()

    def _add(self, step: int, values: Mapping[str, float]) -> None:
        if self._writer is None:
            self._writer = self._open(step)  # type: ignore[no-untyped-call]
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
