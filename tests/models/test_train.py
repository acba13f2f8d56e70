"""A real, tiny training: it learns, resumes to the same weights, and exports what it trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from encoder_bridge.errors import ConfigError
from models.cli import train as train_command
from models.labels import CAMVID_CLASSES
from models.task_model import TaskModel
from models.train import data as td
from models.train.architectures import ARCHITECTURES

NAMES = ("left", "right", "middle")
STEPS = 6


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of three coloured stripes, their labels, and a stripe of void."""
    root = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(0)
    colours = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200], [0, 0, 0]])
    for part, count in (("train", 5), ("val", 2)):
        (root / part).mkdir()
        (root / f"{part}annot").mkdir()
        for index in range(count):
            label = np.digitize(np.arange(96) + rng.integers(-8, 9), [30, 60, 90]).astype(np.uint8)
            label = np.tile(np.where(label == 3, 11, label).astype(np.uint8), (80, 1))
            picture = colours[np.minimum(label, 3)] + rng.integers(-20, 21, (80, 96, 3))
            cv2.imwrite(str(root / part / f"{index}.png"), np.clip(picture, 0, 255).astype(np.uint8))
            cv2.imwrite(str(root / f"{part}annot" / f"{index}.png"), label)
    return root


def config(folders: Path, **changes: Any) -> Any:
    from models.train.trainer import TrainConfig

    given = {"arch": "fpn-r18", "steps": STEPS, "batch": 2, "crop": 64, "classes": NAMES, "warmup": 2, **changes}
    return TrainConfig(data=str(folders), **given)


def options(out: Path, **changes: Any) -> Any:
    from models.train.trainer import LoopOptions

    return LoopOptions(out=out, threads=1, **changes)


def test_folder_pair_maps_void_to_ignore(folders: Path) -> None:
    samples = td.load_folder_pair(folders / "train", folders / "trainannot", len(NAMES))
    assert len(samples) == 5
    assert {int(v) for label in samples.labels for v in np.unique(label)} == {0, 1, 2, 255}
    assert samples.images[0].shape == (80, 96, 3)


def test_folder_pair_refusals(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not found"):
        td.load_folder_pair(tmp_path / "no", folders / "trainannot", 3)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no image"):
        td.load_folder_pair(tmp_path / "empty", folders / "trainannot", 3)
    with pytest.raises(ConfigError, match="no label"):
        td.load_folder_pair(folders / "train", tmp_path / "empty", 3)
    with pytest.raises(ConfigError, match="expected \\(80, 96\\) class indices"):
        td.load_folder_pair(folders / "train", folders / "train", 3)


def test_batches_depend_on_seed_and_step_alone(folders: Path) -> None:
    samples = td.load_folder_pair(folders / "train", folders / "trainannot", len(NAMES))
    augment = td.Augment(crop=48)

    def draw(seed: int, step: int) -> Any:
        return td.draw_batch(samples, samples, 0.3, 3, augment, seed, step)

    first = draw(1, 5)
    draw(1, 6)
    again = draw(1, 5)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], draw(2, 5)[0])
    assert first[0].shape == (3, 3, 48, 48) and first[1].shape == (3, 48, 48)


def test_augmentation_keeps_labels_on_their_pixels(folders: Path) -> None:
    samples = td.load_folder_pair(folders / "train", folders / "trainannot", len(NAMES))
    augment = td.Augment(crop=64, brightness=0, contrast=0, saturation=0, gain=0, blur=0.3, noise=0)
    rng = np.random.default_rng(0)
    for _ in range(20):
        pixels, label = td.augment_sample(samples.images[0], samples.labels[0], augment, rng)
        brightest = pixels.argmax(2)
        known = label != td.IGNORE
        channel = np.array([2, 1, 0])[np.minimum(label, 2)]
        assert (brightest == channel)[known].mean() > 0.9


def test_chroma_420_keeps_luma_and_grey() -> None:
    rng = np.random.default_rng(0)
    grey = np.repeat(rng.uniform(0, 255, (17, 23, 1)), 3, 2).astype(np.float32)
    np.testing.assert_allclose(td.chroma_420(grey), grey, atol=0.05)
    colour = rng.uniform(60, 190, (16, 24, 3)).astype(np.float32)
    changed = td.chroma_420(colour)
    assert np.abs(changed - colour).max() > 5
    luma = np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(changed @ luma, colour @ luma, atol=1.5)


def test_class_weights_favour_the_rare() -> None:
    label = np.zeros((10, 10), np.uint8)
    label[0] = 1
    label[1, :5] = 255
    weights = td.class_weights([td.Samples([], [label])], 3)
    assert weights[2] > weights[1] > weights[0] > 0
    counted = np.array([85, 10, 0]) / 95
    assert (weights * counted).sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("arch", list(ARCHITECTURES))
def test_every_architecture_exports_what_torch_computes(arch: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("mmseg")
    from models.train.export import Deployed, export_onnx

    torch.manual_seed(0)
    network = ARCHITECTURES.get(arch)(len(NAMES)).train()
    with torch.no_grad():
        network(torch.randn(4, 3, 96, 96))
    network.eval()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d) and module.out_channels == len(NAMES):
            module.weight.data.mul_(0.02)
    path = tmp_path / "n.onnx"
    export_onnx(network, path, NAMES, {"arch": arch})
    model = TaskModel(path, threads=1)
    assert model.classes == NAMES
    for height, width in ((360, 480), (333, 251), (64, 96)):
        picture = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), np.uint8)
        with torch.no_grad():
            x = torch.from_numpy(picture.transpose(0, 3, 1, 2).astype(np.float32))
            wanted = Deployed(network).eval()(x).numpy()
        np.testing.assert_allclose(model.logits(picture), wanted, atol=1e-4)


@pytest.mark.slow
def test_resumed_training_ends_at_the_same_weights(folders: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("mmseg")
    from models.train.trainer import Trainer

    whole = Trainer(config(folders), options(tmp_path / "whole"))
    whole.run()

    class Killed(Exception):
        pass

    def kill_at_four(event: dict[str, Any]) -> None:
        if event["event"] == "step" and event["step"] == 4:
            raise Killed

    with pytest.raises(Killed):
        Trainer(config(folders), options(tmp_path / "parts", save_every=3, report=kill_at_four)).run()
    resumed = Trainer(config(folders), options(tmp_path / "parts", resume=True))
    assert resumed.step == 3
    resumed.run()
    assert resumed.step == STEPS
    for name, value in whole.average.state_dict().items():
        assert torch.equal(value, resumed.average.state_dict()[name]), name
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name
    assert whole.scores == resumed.scores and whole.scores is not None


@pytest.mark.slow
def test_training_lowers_the_loss(folders: Path, tmp_path: Path) -> None:
    pytest.importorskip("mmseg")
    from models.train.trainer import Trainer

    losses: list[float] = []

    def note(event: dict[str, Any]) -> None:
        if event["event"] == "step":
            losses.append(event["loss"])

    Trainer(config(folders, steps=25, warmup=3), options(tmp_path / "out", report=note)).run()
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:3])


@pytest.mark.slow
def test_command_writes_network_and_card(folders: Path, tmp_path: Path) -> None:
    pytest.importorskip("mmseg")
    out = tmp_path / "out"
    arguments = ["--data", str(folders), "--arch", "fpn-r18", "--steps", "3", "-o", str(out), "--batch", "2"]
    arguments += ["--crop", "64", "--classes", ",".join(NAMES), "--threads", "1", "--json"]
    result = CliRunner().invoke(train_command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    last = json.loads(result.stdout.strip().splitlines()[-1])
    assert last["event"] == "result" and last["step"] == 3
    assert TaskModel(out / "network.onnx").classes == NAMES
    card = (out / "network.md").read_text(encoding="utf-8")
    assert "fpn-r18" in card and "Seed | 0" in card and "| middle |" in card
    again = CliRunner().invoke(train_command, [*arguments, "--resume"], catch_exceptions=False)
    assert again.exit_code == 0 and not list(out.glob("*.partial"))


def test_command_refusals(folders: Path, tmp_path: Path) -> None:
    base = ["-o", str(tmp_path / "o"), "--steps", "1"]
    with pytest.raises(ConfigError, match="unknown architecture 'resnext'"):
        CliRunner().invoke(train_command, [*base, "--data", str(folders), "--arch", "resnext"], catch_exceptions=False)
    with pytest.raises(ConfigError, match="no folder"):
        CliRunner().invoke(train_command, [*base, "--data", str(tmp_path)], catch_exceptions=False)
    assert len(CAMVID_CLASSES) == 12


def test_resume_without_checkpoint_and_bad_settings(folders: Path, tmp_path: Path) -> None:
    pytest.importorskip("mmseg")
    from models.train.trainer import Trainer

    with pytest.raises(ConfigError, match="no checkpoint"):
        Trainer(config(folders), options(tmp_path / "new", resume=True))
    with pytest.raises(ConfigError, match="batch 1"):
        config(folders, batch=1)
    with pytest.raises(ConfigError, match="scenes"):
        config(folders, scenes=1.5)


def test_shim_answers_names_but_not_dunders() -> None:
    torch = pytest.importorskip("torch")
    from encoder_bridge.errors import ToolNotFoundError
    from models.train import mmcv_shim

    ops = mmcv_shim._Ops("mmcv.ops")
    with pytest.raises(AttributeError):
        _ = ops.__wrapped__
    with pytest.raises(ToolNotFoundError, match="DeformConv2d"):
        ops.DeformConv2d()
    features = torch.arange(12.0).reshape(1, 1, 3, 4)
    centre = mmcv_shim.point_sample(features, torch.tensor([[[0.5, 0.5]]]))
    assert centre.shape == (1, 1, 1) and centre.item() == pytest.approx(5.5)
