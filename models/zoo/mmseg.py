"""Any mmsegmentation configuration and checkpoint as an ONNX file with normalisation, resizing and names inside."""

from __future__ import annotations

import contextlib
import difflib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encoder_bridge.errors import BridgeError, ConfigError, ModelError, ToolNotFoundError
from encoder_bridge.extras import need
from models.zoo.verify import CHECKED, Exported, Size, verify_segmentation
from models.zoo.weights import HINT, Note, download, fit, read_checkpoint, state_of

TRAINING_ONLY = ("auxiliary_head.", "data_preprocessor.", "ema_", "decode_head.loss_decode.")


@dataclass(frozen=True)
class _Input:
    """What a configuration's data preprocessor does to a picture."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    takes_rgb: bool
    divisor: int
    value: float


def known_configs() -> dict[str, Path]:
    """mmsegmentation's own configurations: name (without ``.py``) → file. ToolNotFoundError without mmseg."""
    import importlib.util

    need("train", "mmseg")
    found = importlib.util.find_spec("mmseg")
    folder = Path(str(found.origin if found is not None else "")).parent / ".mim" / "configs"
    return {p.stem: p for p in sorted(folder.glob("[!_]*/*.py"))}


def find_config(config: str) -> Path:
    """The file of a configuration given as a path or by one of mmsegmentation's names. Raises ConfigError."""
    path = Path(config)
    if path.is_file():
        return path
    names = known_configs()
    name = path.name.removesuffix(".py")
    if name in names:
        return names[name]
    near = difflib.get_close_matches(name, names, 3, 0.5)
    hint = f"; near: {', '.join(near)}" if near else ""
    raise ConfigError(f"{config}: neither a file nor one of mmsegmentation's {len(names)} configurations{hint}")


def export_mmseg(
    config: str,
    checkpoint: Path | None,
    output: Path,
    size: Size | None = None,
    note: Note = lambda text: None,
) -> Exported:
    """Write an mmsegmentation network as ONNX (contract of ``models.task_model.TaskModel``, opset 17), and check it.

    The network runs on the whole picture, even where its configuration slides a window.

    Args:
        config: path of a configuration, or a name such as ``deeplabv3plus_r50-d8_4xb2-40k_cityscapes-512x1024``.
        checkpoint: ``.pth`` file; None downloads the weights mmsegmentation names for this configuration.
        output: the ``.onnx`` file.
        size: (H, W) to fix the input to, one picture at a time; None for any, which a few transformers cannot do.
        note: called with a line before long steps.

    Returns what was written and how closely ONNX Runtime gives torch's answers.

    Raises:
        ConfigError: unknown or unusable configuration. ToolNotFoundError: a package is absent.
        ModelError: weights absent, not this network's, or the exported file does not answer as the network does.
    """
    from models.train import mmcv_shim

    mmcv_shim.install()
    need("train", "onnx")
    path = find_config(config)
    settings = _read_config(path)
    weights = checkpoint if checkpoint is not None else download(_url(path), "give --checkpoint FILE", note)
    content = read_checkpoint(weights)
    segmentor = _build(settings, path)
    fit(segmentor, state_of(content, weights), str(weights), TRAINING_ONLY)
    from models.train.export import Deployed, contract
    from models.train.wrappers import Segmentor, make_traceable

    given, head = _input(settings, path), _last_head(segmentor)
    inner = Segmentor(make_traceable(segmentor), given.divisor, given.value, _threshold(head)).eval()
    if size is None and inner.find_divisor(CHECKED[-1][1]) != given.divisor:
        note(f"{path.stem}: pictures are padded inside to multiples of {inner.divisor}, which its strides need")
    module = Deployed(inner, given.mean, given.std, swap=not given.takes_rgb).eval()
    planes = max(2, int(head.out_channels))
    metadata = {
        **contract(_class_names(content, settings, planes)),
        "mrdo.source": f"mmsegmentation {path.stem}",
        "mrdo.weights": weights.name,
    }
    return verify_segmentation(module, output, metadata, size, f"{path.stem}")


def _read_config(path: Path) -> Any:
    from mmengine.config import Config

    try:
        with _quiet():
            settings = Config.fromfile(str(path))
    except ImportError as error:
        raise ToolNotFoundError(f"{path.stem} needs a package that is not installed: {_reason(error)[:120]}") from error
    except Exception as error:
        raise ConfigError(f"{path}: not a configuration mmengine can read: {_reason(error)}") from error
    if "model" not in settings or settings.model.get("type") is None:
        raise ConfigError(f"{path}: has no model; expected an mmsegmentation configuration")
    return settings


def _build(settings: Any, path: Path) -> Any:
    from mmengine.model import revert_sync_batchnorm
    from mmengine.registry import DefaultScope

    # Pretrained backbones are in the checkpoint; a test needs neither them nor training settings.
    model = _without_initialisation(settings.model)
    try:
        with _quiet(), DefaultScope.overwrite_default_scope(settings.get("default_scope") or "mmseg"):
            import mmseg.models  # noqa: F401  (fills the registry)
            from mmseg.registry import MODELS

            segmentor = revert_sync_batchnorm(MODELS.build(model)).eval()
    except BridgeError:
        raise
    except ImportError as error:
        raise ToolNotFoundError(f"{path.stem} needs {error.name or error}, which is not installed: {HINT}") from error
    except Exception as error:
        raise ConfigError(f"{path}: its network cannot be built here: {_reason(error)}") from error
    if not hasattr(segmentor, "encode_decode") or not hasattr(_last_head(segmentor), "out_channels"):
        raise ConfigError(f"{path}: {settings.model.type} gives no class logits; expected a semantic segmentor")
    return segmentor


def _without_initialisation(model: Any) -> Any:
    import copy

    model = copy.deepcopy(model)
    model["pretrained"] = model["train_cfg"] = model["data_preprocessor"] = None
    model["test_cfg"] = {**(model.get("test_cfg") or {}), "mode": "whole"}
    for part in (model, model.get("backbone"), model.get("image_encoder"), model.get("text_encoder")):
        if isinstance(part, dict) and part.get("init_cfg") is not None:
            part["init_cfg"] = None
    return model


def _last_head(segmentor: Any) -> Any:
    import torch

    head = getattr(segmentor, "decode_head", None)
    return head[-1] if isinstance(head, torch.nn.ModuleList) else head


def _threshold(head: Any) -> float:
    stated = getattr(head, "threshold", None)
    return 0.5 if stated is None else float(stated)


def _input(settings: Any, path: Path) -> _Input:
    stated = settings.model.get("data_preprocessor") or settings.get("data_preprocessor") or {}
    mean, std = stated.get("mean") or (0.0, 0.0, 0.0), stated.get("std") or (1.0, 1.0, 1.0)
    if len(mean) != 3 or len(std) != 3:
        raise ConfigError(f"{path}: takes pictures of {len(mean)} channels; expected 3 (RGB)")
    swapped = bool(stated.get("bgr_to_rgb") or stated.get("rgb_to_bgr"))
    divisor = int((stated.get("test_cfg") or {}).get("size_divisor") or 1)
    # mmsegmentation reads pictures as B G R, so a network whose preprocessor swaps nothing wants that.
    numbers = tuple(float(v) for v in mean), tuple(float(v) for v in std)
    return _Input(*numbers, takes_rgb=swapped, divisor=divisor, value=float(stated.get("pad_val") or 0))


def _class_names(content: dict[str, Any], settings: Any, planes: int) -> tuple[str, ...]:
    """Names of the checkpoint, else of the configuration's data set; none where neither has one for every plane."""
    meta = content.get("meta") or {}
    offered = (
        (meta.get("dataset_meta") or {}).get("classes"),
        meta.get("CLASSES"),
        _dataset_names(settings),
    )
    for names in offered:
        if names is not None and len(names) == planes:
            return tuple(str(name).replace(",", ";") for name in names)
    return ()


def _dataset_names(settings: Any) -> Any:
    with _quiet():
        import mmseg.datasets  # noqa: F401  (fills the registry)
        from mmseg.registry import DATASETS

    dataset = (settings.get("test_dataloader") or {}).get("dataset") or {}
    stated = (dataset.get("metainfo") or {}).get("classes")
    kind = DATASETS.get(dataset.get("type") or settings.get("dataset_type") or "")
    return stated if stated is not None else getattr(kind, "METAINFO", {}).get("classes")


def _url(path: Path) -> str:
    """Where mmsegmentation keeps the weights of one of its own configurations."""
    from mmengine.fileio import load

    description = path.parent / "metafile.yaml"
    if description.is_file():
        models = (load(str(description)) or {}).get("Models", [])
        found = [m["Weights"] for m in models if m.get("Name") == path.stem and m.get("Weights")]
        if found:
            return str(found[0])
    raise ModelError(f"{path.stem}: no weights are known for this configuration; give --checkpoint FILE")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
