"""What progressive training is for: a network that still sees in coarse pictures."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from encoder_bridge.color import planes_to_rgb
from encoder_bridge.config import CodingConfig, RunOptions
from encoder_bridge.decode import decode_stream
from encoder_bridge.encoders import ENCODERS
from encoder_bridge.source_images import find_images
from encoder_bridge.sources import open_source
from models import default_model_path, robust_model_path
from models.task_model import TaskModel
from rdo_metrics.accuracy import confusion, miou
from sweeps.labels import LabelFolder


@pytest.mark.slow
@pytest.mark.usefixtures("x265_hooked")
def test_the_robust_network_gives_up_a_little_for_much_at_coarse_quality(camvid: Path, tmp_path: Path) -> None:
    pictures, labels = tmp_path / "pictures", tmp_path / "labels"
    for folder, name in ((pictures, "val"), (labels, "valannot")):
        folder.mkdir()
        for path in islice(find_images(str(camvid / name)), 4, None, 12):
            (folder / path.name).symlink_to(path.resolve())
    source, found = open_source(str(pictures)), {}
    for qp in (22, 47):
        stream = tmp_path / f"{qp}.hevc"
        config = CodingConfig(qp=qp, preset="fast")
        ENCODERS.get("x265")().encode(((f, None) for f in source), source.format, config, RunOptions(), stream)
        for path in (default_model_path(), robust_model_path()):
            network, total = TaskModel(path), 0
            for frame, truth in zip(decode_stream(stream), LabelFolder(labels), strict=True):
                seen = network.labels(planes_to_rgb(frame.planes, source.format)[None])[0]
                total = total + confusion(seen, truth, 11, ignore=11)
            found[qp, path.stem] = miou(total)
    assert found[47, "robust"] > found[47, "segmentation"] + 0.04
    assert found[22, "robust"] > found[22, "segmentation"] - 0.06
