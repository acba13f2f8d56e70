"""The picture of a comparison: what both arms look like, and what the network sees, at about the same accuracy."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoder_bridge.color import planes_to_rgb
from encoder_bridge.decode import decode_stream
from encoder_bridge.frames import FrameSource
from sweeps.coding import ANCHOR, NEUTRAL
from sweeps.compare import Comparison
from sweeps.records import RunRecord
from sweeps.run_one import Job
from sweeps.scoring import match_planes


def side_by_side(job: Job, result: Comparison, folder: Path, path: Path) -> None:
    """Original, PSNR-RDO and machine-RDO beside each other, pictures above segmentations, as one PNG.

    The pair of rate points is that of the most nearly equal accuracy, so the rates tell the difference.
    """
    from sweeps.plots import PictureRow, comparison_picture

    tested = next(arm for arm in reversed(result.arms) if arm not in (ANCHOR, NEUTRAL))
    network = job.judges[0]
    plain, machine = closest_pair(result.arms[ANCHOR], result.arms[tested], network.name)
    index = plain.frames // 2
    original = frame_rgb(job.source, job.source, index)
    reference = network.labels(original)[0]
    rows = [PictureRow("original", original, reference)]
    for name, record in (("PSNR-RDO", plain), (f"machine-RDO ({tested})", machine)):
        assert record.stream is not None
        rgb = frame_rgb(decode_stream(folder / record.stream), job.source, index)
        scores = record.scores[network.name]
        caption = f"{name}  QP {record.config['qp']}  {record.bits / record.frames / 1000:.1f} kbit a frame"
        caption += f"  agreement {scores['agreement']:.3f}  mIoU {scores['miou_pseudo']:.3f}"
        rows.append(PictureRow(caption, rgb, network.labels(rgb)[0]))
    comparison_picture(rows, path, reference=reference, classes=network.classes)


def closest_pair(plain: list[RunRecord], machine: list[RunRecord], network: str) -> tuple[RunRecord, RunRecord]:
    """The two records that agree most nearly with the pseudo-GT, in the low-rate half where differences can be seen."""
    half = plain[len(plain) // 2 :], machine[len(machine) // 2 :]

    def difference(pair: tuple[RunRecord, RunRecord]) -> float:
        first, second = (float(record.scores[network]["agreement"] or 0) for record in pair)
        return abs(first - second)

    return min(itertools.product(*half), key=difference)


def frame_rgb(source: FrameSource, like: FrameSource, index: int) -> NDArray[np.uint8]:
    """Frame ``index`` as (H, W, 3) RGB at the size of ``like``."""
    frame = next(itertools.islice(iter(source), index, None))
    planes = match_planes(frame.planes, source.format, like.format)
    return planes_to_rgb(planes, like.format)
