"""Networks of mmsegmentation as ONNX: they answer as the library does, or the export says why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from encoder_bridge.errors import ConfigError, ModelError, ToolNotFoundError
from models.cli import export as export_command
from models.gradient import GradientModel
from models.task_model import TaskModel

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("mmseg")
NAMED = "deeplabv3plus_r50-d8_4xb2-40k_cityscapes-512x1024"
CONFIG = """
dataset_type = 'CityscapesDataset'
norm = dict(type='SyncBN', requires_grad=True)
common = dict(norm_cfg=norm, align_corners={corners}, num_classes={classes}, dropout_ratio=0.1, channels=8)
model = dict(
    type='EncoderDecoder',
    pretrained='open-mmlab://resnet18_v1c',
    data_preprocessor=dict(
        type='SegDataPreProcessor', mean=[120.0, 110.0, 100.0], std=[50.0, 55.0, 60.0], bgr_to_rgb={swap},
        pad_val=0, seg_pad_val=255, {more}),
    backbone=dict(type='ResNetV1c', depth=18, base_channels=8, stem_channels=8, norm_cfg=norm, style='pytorch'),
    decode_head=dict(type='PSPHead', in_channels=64, in_index=3, pool_scales=(1, 2, 3), {head}**common),
    auxiliary_head=dict(type='FCNHead', in_channels=32, in_index=2, num_convs=1, concat_input=False, **common),
    train_cfg=dict(),
    test_cfg=dict(mode='slide', crop_size=(64, 64), stride=(40, 40)))
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
test_dataloader = dict(dataset=dict(type=dataset_type, pipeline=test_pipeline))
"""
VARIANTS: dict[str, dict[str, Any]] = {
    "rgb": {},
    "bgr-padded": {"swap": False, "more": "test_cfg=dict(size_divisor=32)", "corners": True},
    "binary": {"classes": 2, "head": "out_channels=1, threshold=0.3, "},
}


def write_config(folder: Path, **changes: Any) -> Path:
    given = {"corners": False, "classes": 19, "swap": True, "more": "", "head": "", **changes}
    path = folder / "tiny.py"
    path.write_text(CONFIG.format(**given), encoding="utf-8")
    return path


def random_network(config: Path | str) -> Any:
    from models.train import mmcv_shim
    from models.zoo import mmseg as zoo

    mmcv_shim.install()
    path = zoo.find_config(str(config))
    torch.manual_seed(0)
    network = zoo._build(zoo._read_config(path), path)
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = 0.7
    network.train()
    with torch.no_grad():
        for _ in range(2):
            network(torch.randn(2, 3, 64, 96), mode="tensor")
    return network.eval()


def save(network: Any, path: Path, **meta: Any) -> Path:
    torch.save({"state_dict": network.state_dict(), "meta": meta}, path)
    return path


def picture(height: int = 75, width: int = 93) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)


def test_configs_are_found_by_name_and_by_path(tmp_path: Path) -> None:
    from models.zoo.mmseg import find_config, known_configs

    assert len(known_configs()) > 500
    assert find_config(NAMED).name == find_config(NAMED + ".py").name == NAMED + ".py"
    own = write_config(tmp_path)
    assert find_config(str(own)) == own
    with pytest.raises(ConfigError, match=f"near: {NAMED}"):
        find_config(NAMED.replace("40k", "41k"))


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_export_answers_as_mmsegmentation_does(variant: str, tmp_path: Path) -> None:
    """mmsegmentation's own inference, from a B G R picture on, is the reference."""
    from models.train import mmcv_shim
    from models.zoo.mmseg import export_mmseg

    mmcv_shim.install()
    from mmseg.apis import inference_model, init_model

    config = write_config(tmp_path, **VARIANTS[variant])
    weights = save(random_network(config), tmp_path / "w.pth", dataset_meta={"classes": ("x",), "palette": None})
    output = tmp_path / "out.onnx"
    made = export_mmseg(str(config), weights, output)
    assert made.difference <= 1e-4 and made.opset == 17 and made.size is None
    assert onnx.load(str(output)).opset_import[0].version == 17
    library = init_model(str(config), None, device="cpu")
    library.load_state_dict(torch.load(weights)["state_dict"])
    library = _without_sync(library)
    library.test_cfg.mode = "whole"
    wanted = inference_model(library, np.ascontiguousarray(picture()[..., ::-1]))
    model = TaskModel(output, threads=1)
    np.testing.assert_array_equal(model.labels(picture())[0], wanted.pred_sem_seg.data[0].numpy())
    if variant != "binary":
        np.testing.assert_allclose(model.logits(picture())[0], wanted.seg_logits.data.numpy(), atol=1e-4)
        assert model.classes[:2] == ("road", "sidewalk") and len(model.classes) == 19
        _check_gradient(output, model)
    else:
        assert model.logits(picture()).shape[1] == 2


def _without_sync(network: Any) -> Any:
    from mmengine.model import revert_sync_batchnorm

    return revert_sync_batchnorm(network).eval()


def _check_gradient(output: Path, model: TaskModel) -> None:
    gradient = GradientModel(output)
    rgb = picture(64, 80)
    tensor = np.ascontiguousarray(rgb.transpose(2, 0, 1)[None], np.float32)
    np.testing.assert_allclose(gradient.logits(tensor), model.logits(rgb), atol=1e-4)
    loss, slope = gradient.loss_and_grad(tensor, model.labels(rgb))
    assert loss > 0 and np.abs(slope).max() > 0 and np.isfinite(slope).all()


def test_weights_must_be_this_network_s(tmp_path: Path) -> None:
    from models.zoo.weights import fit

    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
    state = network.state_dict()
    fit(network, {k: v for k, v in state.items() if "batches" not in k} | {"aux.x": torch.ones(1)}, "w", ("aux.",))
    with pytest.raises(ModelError, match=r"w: does not belong .* lacks 0.weight \(1 differ\)"):
        fit(network, {k: v for k, v in state.items() if k != "0.weight"}, "w")
    with pytest.raises(ModelError, match=r"has 7.weight, which the network has not"):
        fit(network, {**state, "7.weight": torch.ones(1)}, "w")
    with pytest.raises(ModelError, match=r"0.weight has shape \[5, 3, 1, 1\]; the network expects \[4, 3, 1, 1\]"):
        fit(network, {**state, "0.weight": torch.ones(5, 3, 1, 1)}, "w")


class Payload:
    """Something that runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return print, ("unpickled",)


def test_checkpoints_are_read_without_running_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from mmengine.logging import HistoryBuffer

    from models.zoo.weights import read_checkpoint, state_of

    path = tmp_path / "c.pth"
    history = HistoryBuffer([1.0, 2.0], [1, 1])
    content = {"state_dict": {"module.a": torch.ones(2)}, "message_hub": {"log_scalars": {"loss": history}}}
    torch.save({**content, "meta": {"seed": np.int64(3), "lr": np.float32(0.1)}}, path)
    read = read_checkpoint(path)
    assert state_of(read, path)["a"].sum() == 2 and read["meta"]["seed"] == 3
    torch.save({"state_dict": {}, "meta": Payload()}, path)
    with pytest.raises(ModelError, match=r"holds a Python object, print; expected tensors"):
        read_checkpoint(path)
    assert "unpickled" not in capsys.readouterr().out
    path.write_bytes(b"nonsense")
    with pytest.raises(ModelError, match=r"c\.pth"):
        read_checkpoint(path)
    with pytest.raises(ModelError, match="no weights in it"):
        state_of({"state_dict": {}, "epoch": 3}, path)
    with pytest.raises(ModelError, match=r"no checkpoint .*expected a \.pth"):
        read_checkpoint(tmp_path / "none.pth")


def test_without_network_the_download_names_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from models.zoo.mmseg import _url, export_mmseg, find_config
    from models.zoo.weights import download

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    said: list[str] = []
    with pytest.raises(ModelError, match=r"cannot download http://127.0.0.1:9/w-0a1b2c3d.pth: .*; give --weights FILE"):
        download("http://127.0.0.1:9/w-0a1b2c3d.pth", "give --weights FILE", said.append)
    assert said == ["downloading http://127.0.0.1:9/w-0a1b2c3d.pth"]
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
    assert _url(find_config(NAMED)).endswith("-d222ffcd.pth")
    with pytest.raises(ModelError, match="no weights are known for this configuration; give --checkpoint FILE"):
        export_mmseg(str(write_config(tmp_path)), None, tmp_path / "o.onnx")


def test_configurations_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    from models.zoo.mmseg import export_mmseg

    weights = save(torch.nn.Conv2d(3, 3, 1), tmp_path / "w.pth")
    broken = tmp_path / "broken.py"
    broken.write_text("model = dict(", encoding="utf-8")
    with pytest.raises(ConfigError, match="not a configuration mmengine can read"):
        export_mmseg(str(broken), weights, tmp_path / "o.onnx")
    broken.write_text("custom_imports = dict(imports=['no_such_package'])", encoding="utf-8")
    with pytest.raises(ToolNotFoundError, match=r"broken needs a package that is not installed: .*no_such_package"):
        export_mmseg(str(broken), weights, tmp_path / "o.onnx")
    broken.write_text("data = 3", encoding="utf-8")
    with pytest.raises(ConfigError, match="has no model"):
        export_mmseg(str(broken), weights, tmp_path / "o.onnx")
    broken.write_text("model = dict(type='NoSuchSegmentor')", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"cannot be built here: .*NoSuchSegmentor"):
        export_mmseg(str(broken), weights, tmp_path / "o.onnx")
    with pytest.raises(ModelError, match="does not belong to this network"):
        export_mmseg(str(write_config(tmp_path)), weights, tmp_path / "o.onnx")
    assert not (tmp_path / "o.onnx").exists()


def test_adaptive_pooling_by_matrices_is_the_operator_s() -> None:
    from models.train.wrappers import AdaptivePool

    for height, width in ((7, 11), (12, 6), (1, 5), (40, 23)):
        x = torch.rand(2, 3, height, width)
        for size in ((1, 1), (2, 2), (3, 6), (6, 3)):
            wanted = torch.nn.functional.adaptive_avg_pool2d(x, size)
            assert torch.allclose(AdaptivePool(size)(x), wanted, atol=1e-6)


@pytest.mark.parametrize("batch_first", [False, True])
def test_attention_in_products_is_torch_s(batch_first: bool) -> None:
    from models.train.wrappers import Attention, make_traceable

    torch.manual_seed(0)
    whole = torch.nn.ModuleDict({"a": torch.nn.MultiheadAttention(12, 3, batch_first=batch_first)}).eval()
    query, key = torch.randn(2, 5, 12), torch.randn(2, 5, 12)
    with torch.no_grad():
        wanted, _ = whole["a"](query, key, key)
        made: Any = make_traceable(whole)["a"]
        assert isinstance(made, Attention)
        assert torch.allclose(made(query, key, key)[0], wanted, atol=1e-6)
        with pytest.raises(ValueError, match="mask"):
            made(query, key, key, attn_mask=torch.zeros(2, 2))


class Branches(torch.nn.Module):
    """Adds features of strides 1 and 32, which only meet where 32 divides the sides."""

    def encode_decode(self, x: Any, metas: Any) -> Any:
        coarse = torch.nn.functional.avg_pool2d(x[:, :2], 32)
        return x[:, :2] + torch.nn.functional.interpolate(coarse, scale_factor=32.0, mode="nearest")


def test_sides_are_padded_only_where_the_network_needs_it() -> None:
    from models.train.wrappers import Segmentor

    network = Segmentor(Branches()).eval()
    x = torch.randn(1, 3, 64, 96)
    wanted = network(x)
    with pytest.raises(RuntimeError):
        network(torch.randn(1, 3, 70, 90))
    assert network.find_divisor((70, 90)) == 32
    assert torch.equal(network(x), wanted)
    assert network(torch.randn(1, 3, 70, 90)).shape == (1, 2, 70, 90)
    assert Segmentor(torch.nn.Identity(), divisor=64).divisor == 64


class Wide(torch.nn.Module):
    """A network with a window that small pictures do not fill."""

    def forward(self, image: Any) -> Any:
        window = torch.nn.functional.avg_pool2d(image[:, :2], 301, stride=64)
        return torch.nn.functional.interpolate(window, size=image.shape[-2:], mode="bilinear") / 255


def test_networks_that_need_large_pictures_are_checked_with_large_ones(tmp_path: Path) -> None:
    from models.train.export import contract
    from models.zoo.verify import verify_segmentation

    made = verify_segmentation(Wide().eval(), tmp_path / "o.onnx", contract(("a", "b")), None, "wide")
    assert made.size is None and made.compared == 2 * 16 * (160 * 224 + 2 * 107 * 139)


class Frozen(torch.nn.Module):
    """A network whose trace remembers the picture's height."""

    def forward(self, image: Any) -> Any:
        logits = torch.cat([image[:, :1], image[:, 1:2]], dim=1) / 255
        return logits * float(image.shape[-2])


def test_an_export_that_answers_otherwise_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    from models.train.export import contract
    from models.zoo.verify import verify_segmentation

    output = tmp_path / "o.onnx"
    with pytest.raises(ModelError, match=r"frozen: ONNX Runtime differs from torch by .*wants --size WxH"):
        verify_segmentation(Frozen().eval(), output, contract(("a", "b")), None, "frozen")
    assert list(tmp_path.iterdir()) == []
    made = verify_segmentation(Frozen().eval(), output, contract(("a", "b")), (64, 96), "frozen")
    assert made.difference <= 1e-4 and made.size == (64, 96) and made.classes == ("a", "b")
    model = TaskModel(output, threads=1)
    assert model.spec.size == (64, 96) and model.logits(picture()).shape == (1, 2, 75, 93)


@pytest.mark.slow
def test_deeplabv3plus_by_name_through_the_command(tmp_path: Path) -> None:
    weights = save(random_network(NAMED), tmp_path / "w.pth", CLASSES=None)
    output = tmp_path / "deeplab.onnx"
    arguments = ["--mmseg", NAMED, "--checkpoint", str(weights), "-o", str(output), "--json"]
    result = CliRunner().invoke(export_command, arguments, catch_exceptions=False)
    event = json.loads(result.stdout)
    assert event["opset"] == 17 and event["difference"] <= 1e-4 and event["size"] is None
    assert event["classes"][0] == "road" and event["classes"][18] == "bicycle"
    model = TaskModel(output, threads=1)
    assert model.logits(picture()).shape == (1, 19, 75, 93)
    _check_gradient(output, model)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mmseg", "a", "--torchvision", "b", "-o", "x.onnx"], "two networks"),
        (["--torchvision", "fcn_resnet50"], "give -o FILE.onnx"),
        (["--torchvision", "fcn_resnet50", "--layer", "x", "-o", "x.onnx"], "--layer does not go with"),
        (["--weights", "w.pth", "-o", "x.onnx"], "--weights belongs to --mmseg or --torchvision"),
        (["--mmseg", "a", "--score-threshold", "0", "-o", "x.onnx"], "is for detectors"),
        (["--mmseg", "a", "--size", "512", "-o", "x.onnx"], "expected WIDTHxHEIGHT"),
    ],
)
def test_usage(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(export_command, arguments)
    assert result.exit_code == 2 and message in result.stderr
