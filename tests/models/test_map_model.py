"""Map networks: shapes at any size, ONNX against torch, what the files promise, the loss they are taught with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoder_bridge.errors import ModelError
from models import map_model_path
from models.map_model import STATISTICS, MapModel, statistics

torch = pytest.importorskip("torch")
pytest.importorskip("efficientnet_lite_pytorch")


@pytest.fixture(scope="module", params=["image", "pass", "head"])
def exported(request, tmp_path_factory):
    """A network with random last layers, and its file."""
    from models.train.map_nets import MAP_NETS
    from models.train.map_training import export_map

    torch.manual_seed(3)
    network = MAP_NETS.get(request.param)().eval()
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(part.running_mean, std=0.3)
    path = tmp_path_factory.mktemp("map") / "map.onnx"
    export_map(network, request.param, path, {"seed": 3})
    return request.param, network, path


def test_onnx_gives_what_torch_gives_at_other_sizes(exported):
    variant, network, path = exported
    model, rng = MapModel(path), np.random.default_rng(0)
    for height, width, qp in ((90, 120, 27.0), (61, 83, 35.5), (135, 240, 51.0)):
        if variant == "head":
            given = (rng.random((1, STATISTICS, height // 8, width // 8), dtype=np.float32),)
            found = model._run(qp, list(given), given[0].shape[2:])
        else:
            pictures = [
                rng.integers(0, 256, (height, width, 3), np.uint8) for _ in range(2 if variant == "pass" else 1)
            ]
            given = tuple(p.transpose(2, 0, 1)[None].astype(np.float32) for p in pictures)
            found = model.of_pictures(qp, *pictures)
            assert found.shape == (-(-height // 8), -(-width // 8))
        with torch.no_grad():
            log_weights = network(*(torch.from_numpy(g) for g in given), torch.tensor([qp]))[0, 0].numpy()
        expected = np.exp(log_weights - log_weights.mean())
        assert np.abs(found / expected - 1).max() < 1e-4


def test_a_file_states_its_opset_and_variant(exported):
    onnx = pytest.importorskip("onnx")
    variant, _, path = exported
    model = onnx.load(str(path))
    assert [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")] == [17]
    assert {p.key: p.value for p in model.metadata_props}["mrdo.map"] == variant


def test_a_first_pass_is_asked_for(exported):
    variant, _, path = exported
    if variant == "pass":
        with pytest.raises(ModelError, match="reconstruction"):
            MapModel(path).of_pictures(30, np.zeros((32, 32, 3), np.uint8))


def test_a_segmentation_network_is_no_map():
    from models import default_model_path

    with pytest.raises(ModelError, match="mrdo train map"):
        MapModel(default_model_path())


@pytest.mark.parametrize("variant", ["image", "pass", "head"])
def test_embedded_networks_are_small_and_describe_themselves(variant):
    path = map_model_path(variant)
    assert MapModel(path).variant == variant
    assert path.stat().st_size <= 2_000_000


def test_statistics_know_certainty_from_doubt():
    sure, torn = np.full((3, 16, 16), -20.0, np.float32), np.full((3, 16, 16), np.log(1 / 3), np.float32)
    sure[1] = 0
    both = np.concatenate([sure, torn], axis=2)
    both[:, :8, 20] = np.array([0, -20, -20], np.float32)[:, None]
    planes = statistics(both)
    assert planes.shape == (STATISTICS, 1, 2)
    entropy, most_entropy, top, least_top, margin, least_margin, edges, second = planes[:, 0]
    assert entropy[0] < 1e-6 and most_entropy[1] == pytest.approx(np.log(3), abs=1e-4)
    assert top[0] == pytest.approx(1) and least_top[1] == pytest.approx(1 / 3, abs=1e-4)
    assert margin[0] == 10 and least_margin[1] == 0
    assert 0 < edges[0] < 0.1 and second[1] > 0.3 > second[0]


def test_the_share_loss_is_least_where_weights_are_loss_per_error():
    from models.train.map_training import share_loss

    rng = np.random.default_rng(1)
    caused = torch.from_numpy(rng.random((2, 1, 5, 6), dtype=np.float32))
    error = torch.from_numpy(rng.random((2, 1, 5, 6), dtype=np.float32) * 50 + 1)
    truth = torch.log(caused / error)
    assert share_loss(truth + 3.0, caused, error).abs().max() < 1e-5
    worse = share_loss(
        truth + 0.3 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0)), caused, error
    )
    assert (worse > 1e-3).all()


def test_training_learns_where_errors_cost_and_resumes_to_the_same_weights(tmp_path: Path):
    from models.train.map_training import MapLabels, MapTraining, train_map
    from models.train.trainer import LoopOptions

    rng = np.random.default_rng(2)
    pictures = rng.integers(0, 60, (6, 64, 64, 3), np.uint8)
    bright = rng.random((6, 8, 8)) < 0.3
    pictures[np.repeat(np.repeat(bright, 8, 1), 8, 2)] += 150
    arrays = {"original": pictures, "reconstruction": pictures, "attribution": bright.astype(np.float32)}
    np.savez(tmp_path / "l.npz", **arrays, squared_error=np.full((6, 8, 8), 9, np.float32), qp=np.full(6, 30))
    labels = MapLabels([tmp_path / "l.npz"], sigma=0)
    losses = []
    config = MapTraining(steps=24, batch=4, crop=(8, 8), coarse=0.0, seed=5)
    options = LoopOptions(tmp_path / "a", save_every=1000, report=lambda event: losses.append(event["loss"]))
    whole = train_map(labels, config, options)
    assert np.mean(losses[-4:]) < 0.7 * np.mean(losses[:4])
    broken = LoopOptions(tmp_path / "b", minutes=0.0)
    train_map(labels, config, broken)
    again = train_map(labels, config, LoopOptions(tmp_path / "b", resume=True))
    for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b)
