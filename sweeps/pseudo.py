"""Pseudo-ground truth of whole videos, kept in the workspace."""

from __future__ import annotations

from pathlib import Path

from encoder_bridge.console import Reporter
from encoder_bridge.frames import FrameSource
from models.model_set import SetModel
from models.task_model import TaskModel
from sweeps.arrayfile import write_frames
from sweeps.scoring import label_video
from sweeps.workspace import Workspace


def pseudo_labels(source: FrameSource, network: TaskModel | SetModel, workspace: Workspace, reporter: Reporter) -> Path:
    """The network's labels of the original, made once and kept: ``.npy`` (T, H, W) uint8."""
    path = workspace.labels({"input": source.digest(), "network": network.digest()})
    if not path.exists():
        with reporter.task(f"pseudo-GT of {network.name}", source.frame_count) as advance:
            write_frames(path, label_video(source, network, advance))
    return path
