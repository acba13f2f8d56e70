"""Recorded rate points of other encoders on the embedded clip, one JSON file each, their streams beside it."""

from sweeps.anchors.clip import EMBEDDED, embedded_clip, samples_digest
from sweeps.anchors.recorded import RecordedAnchor, RecordedPoint, recorded_anchors
from sweeps.anchors.resolve import Anchor, anchor_config, build_name, resolve_anchors

__all__ = [
    "EMBEDDED",
    "Anchor",
    "RecordedAnchor",
    "RecordedPoint",
    "anchor_config",
    "build_name",
    "embedded_clip",
    "recorded_anchors",
    "resolve_anchors",
    "samples_digest",
]
