"""torchvision's networks as ONNX: segmentation networks and detectors answer as they do in torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from encoder_bridge.errors import ConfigError, ModelError
from models.cli import export as export_command
from models.detector import DetectorModel
from models.gradient import GradientModel
from models.task_model import TaskModel

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("torchvision")


def warmed(network: Any, scale: float = 1.0) -> Any:
    """Batch statistics of noise, so that answers depend on the picture as a trained network's do."""
    network.train()
    with torch.no_grad():
        for _ in range(2):
            network(torch.randn(2, 3, 96, 128) * scale)
    return network.eval()


def picture(height: int = 75, width: int = 93) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)


def _check_gradient(output: Path, model: TaskModel) -> None:
    gradient = GradientModel(output)
    rgb = picture(64, 80)
    tensor = np.ascontiguousarray(rgb.transpose(2, 0, 1)[None], np.float32)
    np.testing.assert_allclose(gradient.logits(tensor), model.logits(rgb), atol=1e-4)
    loss, slope = gradient.loss_and_grad(tensor, model.labels(rgb))
    assert loss > 0 and np.abs(slope).max() > 0 and np.isfinite(slope).all()


@pytest.mark.slow
def test_torchvision_segmentation_with_other_classes(tmp_path: Path) -> None:
    from torchvision.models import get_model

    from models.zoo.torchvision import export_torchvision

    torch.manual_seed(0)
    network = warmed(get_model("lraspp_mobilenet_v3_large", weights=None, weights_backbone=None, num_classes=5))
    weights = tmp_path / "w.pth"
    torch.save(network.state_dict(), weights)
    made = export_torchvision("lraspp_mobilenet_v3_large", weights, tmp_path / "o.onnx")
    assert made.difference <= 1e-4 and made.classes == ()
    model = TaskModel(tmp_path / "o.onnx", threads=1)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = ((torch.from_numpy(picture()) / 255.0 - mean) / std).permute(2, 0, 1)[None]
    with torch.no_grad():
        np.testing.assert_allclose(model.logits(picture()), network(x)["out"].numpy(), atol=1e-4)
    _check_gradient(tmp_path / "o.onnx", model)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_320_fpn"])
def test_torchvision_detectors(name: str, tmp_path: Path) -> None:
    weights = tmp_path / "w.pth"
    network = random_detector(name)
    torch.save(network.state_dict(), weights)
    output = tmp_path / "d.onnx"
    arguments = ["--torchvision", name, "--weights", str(weights), "--score-threshold", "0.3", "-o", str(output)]
    result = CliRunner().invoke(export_command, [*arguments, "--json"], catch_exceptions=False)
    event = json.loads(result.stdout)
    assert event["difference"] <= 1e-4 and event["compared"] > 0
    model = DetectorModel(output, threads=1)
    assert onnx.load(str(output)).opset_import[0].version == 17
    rgb = smooth_picture()
    (found,) = model.detect(rgb)
    with torch.no_grad():
        wanted = network([torch.from_numpy(rgb.transpose(2, 0, 1) / np.float32(255))])[0]
    assert len(found) == len(wanted["scores"]) > 0
    # Equal scores may come in either order, so each detection is held against the nearest of the other side.
    side = max(rgb.shape)
    ours = np.column_stack([found.boxes / side, found.scores, 10 * found.labels])
    theirs = np.column_stack([wanted["boxes"] / side, wanted["scores"], 10 * wanted["labels"]])
    apart = np.abs(ours[:, None] - theirs[None]).max(axis=2)
    assert apart.min(axis=0).max() <= 1e-4 and apart.min(axis=1).max() <= 1e-4
    assert found.scores.min() > 0.3 and found.boxes.max() <= max(rgb.shape)


def smooth_picture() -> np.ndarray:
    from models.zoo.verify import probe

    return np.ascontiguousarray(probe(1, (110, 150))[0].numpy().astype(np.uint8).transpose(1, 2, 0))


def random_detector(name: str) -> Any:
    """Random weights that keep the signal's size, and batch statistics of pictures, so that no two boxes tie."""
    from torchvision.models import get_model

    torch.manual_seed(1)
    network = get_model(name, weights=None, weights_backbone=None, num_classes=4)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.7
        elif isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
    heads = [network.head] if hasattr(network, "head") else []
    with torch.no_grad():
        for part in (network.backbone, *heads):
            part.train()
        for seed in range(3):
            state = torch.Generator().manual_seed(seed)
            coarse = torch.randn(2, 3, 40, 40, generator=state)
            features = network.backbone(torch.nn.functional.interpolate(coarse, size=320, mode="bicubic"))
            for head in heads:
                head(list(features.values()))
    getattr(network, "roi_heads", network).score_thresh = 0.3
    return network.eval()


def test_torchvision_refusals(tmp_path: Path) -> None:
    from models.zoo.torchvision import export_torchvision, known_networks

    known = known_networks()
    assert known["fcn_resnet50"] == "segmentation" and known["retinanet_resnet50_fpn"] == "detection"
    with pytest.raises(
        ConfigError, match=r"has no segmentation network or detector 'fcn_resnet51'; it has .*fcn_resnet50"
    ):
        export_torchvision("fcn_resnet51", None, tmp_path / "o.onnx")
    with pytest.raises(ConfigError, match="fcn_resnet50 is a segmentation network"):
        export_torchvision("fcn_resnet50", None, tmp_path / "o.onnx", score_threshold=0.5)
    weights = tmp_path / "w.pth"
    torch.save({"state_dict": torch.nn.Conv2d(3, 3, 1).state_dict()}, weights)
    with pytest.raises(ModelError, match="does not belong to this network"):
        export_torchvision("lraspp_mobilenet_v3_large", weights, tmp_path / "o.onnx")
