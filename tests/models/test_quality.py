"""The no-reference predictor: training, resuming, export, where it looks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoder_bridge.errors import ConfigError, ModelError
from models import default_model_path
from models.quality import PATCH, QualityModel

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from models.train import quality  # noqa: E402
from models.train.trainer import LoopOptions  # noqa: E402


def noisy(count: int = 8, size: tuple[int, int] = (240, 256)) -> quality.CodedPictures:
    """Grey pictures with more and more noise; the target is its amplitude."""
    rng = np.random.default_rng(0)
    levels = np.linspace(1, 3, count).astype(np.float32)
    pictures = [np.clip(128 + 30 * a * rng.standard_normal((*size, 3)), 0, 255).astype(np.uint8) for a in levels]
    return quality.CodedPictures(pictures, levels)


def config(**changes: object) -> quality.QualityTraining:
    return quality.QualityTraining(**{"width": 0.1, "steps": 4, "batch": 4, "warmup": 1, "ema": 0.5, **changes})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[quality.QualityNetwork, Path]:
    folder = tmp_path_factory.mktemp("quality")
    network = quality.train_quality(noisy(), config(), LoopOptions(folder, threads=1))
    quality.export_quality(network, folder / "quality.onnx", {"seed": 0})
    return network, folder / "quality.onnx"


def test_it_has_five_convolutions_and_four_fully_connected_layers():
    network = quality.QualityNetwork(1.0)
    body = [m for m in network.body.modules() if isinstance(m, torch.nn.Conv2d)]
    head = [m for m in network.head.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [m.out_channels for m in body] == [64, 192, 384, 256, 256] and body[0].kernel_size == (11, 11)
    assert [m.out_channels for m in head] == [4096, 4096, 1024, 1] and head[0].kernel_size == (6, 6)
    small, _ = quality.QualityNetwork(0.1).eval()(torch.zeros(2, 3, PATCH, PATCH))
    assert small.shape == (2, 1, 1)


@pytest.mark.parametrize("size", [(PATCH, PATCH), (256, 320)])
def test_the_file_answers_as_the_network_does(trained, size: tuple[int, int]):
    network, path = trained
    image = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1)) * 255
    with torch.no_grad():
        wanted = quality.DeployedQuality(network).eval()(image)
    found = QualityModel(path, threads=1)._session.run([image.numpy()])
    for a, b in zip(wanted, found, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a.numpy(), b, atol=2e-4)


def test_a_killed_training_goes_on_to_the_same_weights(tmp_path: Path):
    data, settings = noisy(), config()
    whole = quality.train_quality(data, settings, LoopOptions(tmp_path / "a", threads=1))
    stop = {"left": 2}

    class Killed(Exception):
        pass

    def report(event: dict) -> None:
        stop["left"] -= 1
        if stop["left"] < 0:
            raise Killed

    with pytest.raises(Killed):
        quality.train_quality(data, settings, LoopOptions(tmp_path / "b", threads=1, save_every=1, report=report))
    again = quality.train_quality(data, settings, LoopOptions(tmp_path / "b", threads=1, resume=True))
    for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(ConfigError, match="--resume: width"):
        quality.train_quality(data, config(width=0.2), LoopOptions(tmp_path / "b", threads=1, resume=True))


@pytest.mark.slow
def test_it_learns_how_much_noise_there_is(tmp_path: Path):
    data = noisy(16)
    options = LoopOptions(tmp_path, threads=1)
    network = quality.train_quality(data, config(steps=120, batch=8, lr=0.02, ema=0.9), options)
    quality.export_quality(network, tmp_path / "q.onnx", {})
    predicted = QualityModel(tmp_path / "q.onnx", threads=1)(np.stack(data.pictures))
    assert np.corrcoef(predicted, data.targets)[0, 1] > 0.9


def test_patches_lie_where_activations_are_unusual(trained):
    model = QualityModel(trained[1], threads=1, patches=40)
    picture = np.full((PATCH, 900, 3), 128, np.uint8)
    picture[:, 600:800] = np.random.default_rng(2).integers(0, 256, (PATCH, 200, 3))
    density = model.density(picture)
    assert density.sum() == pytest.approx(1.0) and (density >= 0).all()
    edges = np.linspace(0, 900, density.shape[1] + 1)
    inside = (edges[1:] > 600) & (edges[:-1] < 800)
    assert density[:, inside].mean() > 2 * density[:, ~inside].mean()
    corners = np.array(model.corners(picture))
    assert len({tuple(c) for c in corners}) > 5
    assert (corners >= 0).all() and (corners <= [0, 900 - PATCH]).all()
    assert np.median(corners[:, 1]) > (900 - PATCH) / 2


def test_a_picture_gets_the_same_number_alone_and_among_others(trained):
    model = QualityModel(trained[1], threads=1)
    pictures = np.stack(noisy(3).pictures)
    together = model(pictures)
    assert together.shape == (3,) and together.dtype == np.float64
    assert together == pytest.approx([model(p)[0] for p in pictures], rel=1e-5)
    assert len(model.corners(pictures[0])) == 2


def test_small_pictures_are_mirrored_up_to_a_patch(trained):
    small = noisy(1, (240, 240)).pictures[0][:100, :180]
    wide = np.pad(small, ((0, PATCH - 100), (0, PATCH - 180), (0, 0)), mode="symmetric")
    model = QualityModel(trained[1], threads=1)
    assert model(small)[0] == model(wide)[0]


def test_other_files_and_pictures_are_refused(trained, tmp_path: Path):
    with pytest.raises(ModelError, match="expected task 'no-reference'"):
        QualityModel(default_model_path())
    with pytest.raises(ModelError, match="0 patches"):
        QualityModel(trained[1], patches=0)
    with pytest.raises(ModelError, match="uint8 RGB"):
        QualityModel(trained[1])(np.zeros((1, 8, 8, 3), np.float32))
    with pytest.raises(ModelError):
        QualityModel(tmp_path / "absent.onnx")


def test_unsuitable_data_and_settings_are_refused():
    with pytest.raises(ConfigError, match="one of 100x300"):
        quality.CodedPictures([np.zeros((300, 100, 3), np.uint8)], np.ones(1, np.float32))
    with pytest.raises(ConfigError, match="2 targets"):
        quality.CodedPictures(noisy(1).pictures, np.ones(2, np.float32))
    for wrong in ({"width": 0.0}, {"steps": 0}, {"optimizer": "lion"}):
        with pytest.raises(ConfigError, match="optimizer"):
            config(**wrong)
