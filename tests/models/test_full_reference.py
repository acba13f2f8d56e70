"""Full-reference networks: learning, resuming, export; the dense block network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")
pytest.importorskip("onnx")

from encoder_bridge.errors import ConfigError, ModelError  # noqa: E402
from models.block_model import BlockModel  # noqa: E402
from models.train.full_reference import (  # noqa: E402
    BACKBONES,
    FullReference,
    FullReferenceConfig,
    LoopOptions,
    export_full_reference,
    predict,
    train_full_reference,
)

TINY = FullReferenceConfig(side=32, steps=4, batch=4, hidden=8, warmup=1, lr=3e-3)


class Noise:
    """Pairs whose loss is the strength of the noise."""

    targets = 1

    def __len__(self) -> int:
        return 1000

    def draw(self, rng: np.random.Generator, batch: int):
        level = rng.random(batch)
        originals = rng.integers(60, 196, (batch, 32, 32, 3)).astype(np.uint8)
        noise = rng.normal(0, 1, originals.shape) * 60 * level[:, None, None, None]
        coded = np.clip(originals + noise, 0, 255).astype(np.uint8)
        return originals, coded, np.repeat(level[:, None], self.targets, axis=1).astype(np.float32)


def weights(network) -> np.ndarray:
    return np.concatenate([v.double().numpy().ravel() for v in network.state_dict().values()])


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def untrained():
    torch.manual_seed(0)
    return FullReference(targets=2, hidden=8).eval()


def test_a_killed_training_goes_on_to_the_same_weights(tmp_path: Path):
    whole = train_full_reference(TINY, Noise(), LoopOptions(tmp_path / "a"))
    first = train_full_reference(TINY, Noise(), LoopOptions(tmp_path / "b", minutes=0))
    assert not np.array_equal(weights(whole), weights(first))
    rest = train_full_reference(TINY, Noise(), LoopOptions(tmp_path / "b", resume=True))
    np.testing.assert_array_equal(weights(whole), weights(rest))
    other = train_full_reference(replace(TINY, seed=1), Noise(), LoopOptions(tmp_path / "c"))
    assert not np.array_equal(weights(whole), weights(other))


def test_events_tell_how_far_it_is(tmp_path: Path):
    heard: list[dict] = []
    train_full_reference(TINY, Noise(), LoopOptions(tmp_path, report=heard.append))
    assert [e["step"] for e in heard] == [1, 2, 3, 4] and {e["of"] for e in heard} == {4}
    assert all(np.isfinite(e["loss"]) for e in heard)


@pytest.mark.slow
def test_it_learns_how_strong_noise_is(tmp_path: Path):
    config = FullReferenceConfig(side=32, steps=150, batch=16, hidden=32, lr=2e-3, ema=0.97)
    network = train_full_reference(config, Noise(), LoopOptions(tmp_path))
    originals, coded, level = Noise().draw(np.random.default_rng(99), 64)
    assert np.corrcoef(predict(network, originals, coded)[:, 0], level[:, 0])[0, 1] > 0.8


@pytest.mark.parametrize("target", [0, 1])
def test_an_export_answers_as_the_network_does_at_any_size(tmp_path: Path, untrained, target: int):
    path = tmp_path / "pair.onnx"
    export_full_reference(untrained, path, {"seed": 0}, target)
    model, rng = BlockModel(path, threads=1), np.random.default_rng(1)
    for count, height, width in ((1, 64, 64), (3, 96, 130), (2, 33, 47)):
        pair = rng.integers(0, 256, (2, count, height, width, 3)).astype(np.uint8)
        wanted = predict(untrained, *pair)[:, target]
        np.testing.assert_allclose(model(*pair), wanted, atol=1e-4)
    with pytest.raises(ModelError, match="one number"):
        model.maps(*pair)


def test_the_file_says_what_it_is(tmp_path: Path, untrained):
    import onnx

    export_full_reference(untrained, tmp_path / "pair.onnx", {"seed": 7})
    stored = onnx.load(str(tmp_path / "pair.onnx"))
    assert [i.name for i in stored.graph.input] == ["original", "reconstruction"]
    assert stored.opset_import[0].version == 17
    stated = {p.key: p.value for p in stored.metadata_props}
    assert stated["mrdo.seed"] == "7" and stated["mrdo.range"] == "0..255" and stated["mrdo.mean"] == "0,0,0"
    assert list(tmp_path.iterdir()) == [tmp_path / "pair.onnx"]


def test_both_backbones_are_registered():
    assert {"mobilenet-v3-small", "lite0"} <= set(BACKBONES.names())


@pytest.mark.parametrize("change", [{"backbone": "vgg"}, {"steps": 0}, {"batch": 1}, {"side": 8}, {"targets": 0}])
def test_unusable_settings_are_refused(change: dict):
    with pytest.raises(ConfigError):
        replace(TINY, **change)


def test_targets_that_do_not_fit_are_refused(tmp_path: Path):
    source = Noise()
    source.targets = 3
    with pytest.raises(ConfigError, match="3 targets each; expected 1"):
        train_full_reference(TINY, source, LoopOptions(tmp_path))


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="no checkpoint"):
        train_full_reference(TINY, Noise(), LoopOptions(tmp_path, resume=True))
    train_full_reference(TINY, Noise(), LoopOptions(tmp_path, minutes=0))
    with pytest.raises(ConfigError, match="hidden is 9, the checkpoint has 8"):
        train_full_reference(replace(TINY, hidden=9), Noise(), LoopOptions(tmp_path, resume=True))
