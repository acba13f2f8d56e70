"""Procedural street scenes with exact labels: the embedded clip, and training material without end."""

from models.labels import CAMVID_CLASSES, CAMVID_PALETTE
from models.scenes.config import SceneConfig
from models.scenes.render import render_clip, render_frame
from models.scenes.source import SceneSource

__all__ = ["CAMVID_CLASSES", "CAMVID_PALETTE", "SceneConfig", "SceneSource", "render_clip", "render_frame"]
