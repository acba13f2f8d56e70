"""torchvision's segmentation networks and detectors as ONNX files this project runs."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from encoder_bridge.errors import ConfigError, ModelError
from encoder_bridge.extras import need
from models.zoo.verify import Exported, Size, verify_detection, verify_segmentation
from models.zoo.weights import Note, download, fit, read_checkpoint, state_of

MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)
PLANES = {"segmentation": 21, "detection": 91}
"""Classes of a network that torchvision builds when none are asked for."""
WITHOUT_EPSILON = tuple(f"{head}_resnet50_fpn" for head in ("fasterrcnn", "maskrcnn", "keypointrcnn", "retinanet"))
FIX = "give --weights FILE"


def known_networks() -> dict[str, str]:
    """torchvision's networks by name: "segmentation" or "detection". ToolNotFoundError without torchvision."""
    need("train", "torch", "torchvision")
    from torchvision import models as tv

    kinds = {"segmentation": tv.segmentation, "detection": tv.detection}
    return {name: kind for kind, module in kinds.items() for name in tv.list_models(module=module)}


def export_torchvision(
    name: str,
    weights: Path | None,
    output: Path,
    size: Size | None = None,
    score_threshold: float | None = None,
    note: Note = lambda text: None,
) -> Exported:
    """Write a torchvision network as ONNX, opset 17, and check it against torch.

    Segmentation networks follow the contract of ``models.task_model.TaskModel``, detectors that of
    ``models.detector.DetectorModel`` (one picture at a time; masks and keypoints are left out).

    Args:
        name: such as ``deeplabv3_resnet50`` or ``fasterrcnn_resnet50_fpn``.
        weights: file with a state_dict, of any number of classes; None downloads torchvision's own.
        output: the ``.onnx`` file.
        size: (H, W) to fix the input to, one picture at a time; None for any.
        score_threshold: of a detector, the least score it answers with; None for torchvision's.
        note: called with a line before long steps.

    Raises:
        ConfigError: unknown network. ToolNotFoundError: a package is absent.
        ModelError: weights absent, not this network's, or the exported file does not answer as the network does.
    """
    need("train", "onnx")
    kind = _kind(name)
    if score_threshold is not None and kind != "detection":
        raise ConfigError(f"--score-threshold is for detectors; {name} is a segmentation network")
    path = weights if weights is not None else download(_entries(name)[-1].url, FIX, note)
    state = state_of(read_checkpoint(path), path)
    classes = _count(name, kind, state, path)
    network = _build(name, num_classes=classes)
    fit(network, state, str(path), ("aux_classifier.",))
    _batch_norm_of(network, name, path)
    metadata = {"mrdo.source": f"torchvision {name}", "mrdo.weights": path.name}
    if kind == "detection":
        return _detector(network, name, output, size, score_threshold, {**metadata, **_names(name, classes)})
    return _segmentation(network, name, output, size, {**metadata, **_names(name, classes)})


def _segmentation(network: Any, name: str, output: Path, size: Size | None, metadata: Mapping[str, str]) -> Exported:
    from models.train.export import Deployed, contract
    from models.train.wrappers import Answer

    module = Deployed(Answer(network), MEAN, STD).eval()
    return verify_segmentation(module, output, {**contract(()), **metadata}, size, name)


def _detector(
    network: Any, name: str, output: Path, size: Size | None, threshold: float | None, metadata: Mapping[str, str]
) -> Exported:
    from models.train.export import contract
    from models.train.wrappers import Detector

    if threshold is not None:
        holder = getattr(network, "roi_heads", network)
        holder.score_thresh = threshold
    stated = {**contract(()), "mrdo.task": "detection", **metadata}
    return verify_detection(Detector(network).eval(), output, stated, size, name)


def _kind(name: str) -> str:
    known = known_networks()
    if name not in known:
        near = difflib.get_close_matches(name, known, 3, 0.4)
        names = ", ".join(near or known)
        raise ConfigError(f"torchvision has no segmentation network or detector {name!r}; it has {names}")
    return known[name]


def _build(name: str, **options: Any) -> Any:
    from torchvision import models as tv

    return tv.get_model(name, weights=None, weights_backbone=None, **options).eval()


def _entries(name: str) -> list[Any]:
    """The weights torchvision offers for a network, its default last."""
    from torchvision import models as tv

    offered = tv.get_model_weights(name)
    return [*(e for e in offered if e != offered.DEFAULT), offered.DEFAULT]


def _count(name: str, kind: str, state: Mapping[str, Any], path: Path) -> int:
    """Classes of a state_dict, from the tensors that have entries for each of them."""
    import torch

    usual = PLANES[kind]
    with torch.device("meta"):
        own = _build(name, num_classes=usual).state_dict()
    found = {
        state[k].shape[0] * usual / v.shape[0]
        for k, v in own.items()
        if k in state and v.shape != state[k].shape and v.shape[1:] == state[k].shape[1:]
    }
    if len(found) > 1 or any(count != int(count) for count in found):
        raise ModelError(f"{path}: does not belong to {name}: its tensors are of other sizes")
    return int(found.pop()) if found else usual


def _names(name: str, classes: int) -> dict[str, str]:
    names = next((n for e in _entries(name)[::-1] if len(n := e.meta.get("categories", ())) == classes), ())
    return {"mrdo.classes": ",".join(str(n).replace(",", ";") for n in names)}


def _batch_norm_of(network: Any, name: str, path: Path) -> None:
    """torchvision's first ResNet-50 detectors were trained with a batch normalisation that adds no ε."""
    import torch

    entry = next((e for e in _entries(name) if Path(e.url).name == path.name), None)
    if entry is None or entry.name != "COCO_V1" or name not in WITHOUT_EPSILON:
        return
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.eps = 0.0
