"""``--metric learned`` in the loop: its network is shipped, no driving one is asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoder_bridge.config import CandidateConfig
from encoder_bridge.errors import ModelError
from models import block_model_path
from models.block_model import BlockModel
from models.scenes import render_frame
from sweeps import judges
from sweeps.judges import JudgeMaker, needs_driver

LEARNED = CandidateConfig(metric="learned")


def test_it_needs_no_driving_network():
    assert not needs_driver(LEARNED)
    maker = JudgeMaker(None)
    maker.prepare(LEARNED)
    networks = maker.networks(LEARNED)
    assert networks.losses is not None and networks.losses is maker.networks(LEARNED).losses
    assert (networks.log_probs, networks.blocks, networks.local) == (None, None, None)
    assert maker.needs_base(LEARNED) and maker.metric(LEARNED).context == LEARNED.context


def test_another_network_is_another_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    before = JudgeMaker(None).identity(LEARNED)
    other = tmp_path / "block.onnx"
    other.write_bytes(block_model_path().read_bytes() + b"\0")
    monkeypatch.setattr(judges, "block_model_path", lambda: other)
    assert JudgeMaker(None).identity(LEARNED) != before
    monkeypatch.setattr(judges, "block_model_path", lambda: tmp_path / "gone.onnx")
    with pytest.raises(ModelError, match="mrdo train block"):
        JudgeMaker(None).prepare(LEARNED)


def test_the_shipped_network_finds_more_harm_in_more_blur():
    import cv2

    picture = render_frame(3, 256, 192)[0]
    coded = [cv2.GaussianBlur(picture, (0, 0), sigma) for sigma in (0.5, 1.5, 4.0)]
    model = BlockModel(block_model_path(), threads=1)
    losses = model(np.stack([picture] * 4), np.stack([picture, *coded]))
    assert (np.diff(losses) > 0).all() and losses[0] < 0.1 and ((losses >= 0) & (losses <= 1)).all()
    assert block_model_path().stat().st_size < 3e6
