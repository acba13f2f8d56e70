"""Answers to local changes: exact where nothing is left out, equal to an emulation that resets all but the window."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import helper

from encoder_bridge.color import planes_to_rgb
from encoder_bridge.errors import ModelError
from models import default_model_path, judge_model_path
from models.local import LocalModel
from models.metadata import ModelOptions
from models.scenes import SceneConfig, SceneSource
from models.task_model import TaskModel

torch = pytest.importorskip("torch")
nn = torch.nn

STATED = {"color": "RGB", "range": "0..1", "mean": "0.5,0.4,0.3", "std": "0.2,0.25,0.3"}


class Residual(nn.Module):
    """The ways of ResNet: stem, overlapping max pooling, a block, dilation, bilinear logits."""

    def __init__(self, align=False):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 7, 2, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        self.one = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.two = nn.Sequential(nn.Conv2d(8, 8, 3, padding=3, dilation=3), nn.BatchNorm2d(8))
        self.down = nn.Conv2d(8, 8, 1, 2)
        self.head = nn.Conv2d(16, 5, 1)
        self.side = nn.Upsample(scale_factor=2, mode="nearest")
        self.up = nn.Upsample(scale_factor=4, mode="bilinear", align_corners=align)

    def forward(self, x):
        x = self.stem(x)
        y = torch.relu(x + self.two(self.one(x)))
        return self.up(self.head(torch.cat([y, self.side(self.down(y))], 1)))


class Mobile(nn.Module):
    """The ways of MobileNet and DeepLab: depthwise, hard swish, squeeze and excite, ASPP with a pooled branch."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.Hardswish())
        self.deep = nn.Sequential(nn.Conv2d(8, 8, 5, 2, 2, groups=8), nn.BatchNorm2d(8), nn.ReLU6())
        self.squeeze, self.excite = nn.AdaptiveAvgPool2d(1), nn.Sequential(nn.Conv2d(8, 8, 1), nn.Hardsigmoid())
        self.rates = nn.ModuleList(nn.Conv2d(8, 4, 3, padding=r, dilation=r) for r in (2, 6))
        self.pool, self.pooled = nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 4, 1)
        self.head = nn.Sequential(nn.BatchNorm2d(12), nn.SiLU(), nn.Conv2d(12, 4, 1))

    def forward(self, x):
        x = self.deep(self.stem(x))
        x = x * self.excite(self.squeeze(x))
        pooled = self.pooled(self.pool(x)).expand(-1, -1, *x.shape[2:])
        return self.head(torch.cat([*(rate(x) for rate in self.rates), pooled], 1))


class Shuffled(nn.Module):
    """Average pooling at the border, transposed convolution, pixel shuffle, gates, slopes; logits at full size."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.PReLU(6), nn.AvgPool2d(3, 2, 1, False, False))
        self.second = nn.Sequential(nn.Conv2d(6, 16, 3, 2, 1), nn.ELU())
        self.gate = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.Sigmoid())
        self.shuffle, self.back = nn.PixelShuffle(2), nn.ConvTranspose2d(4, 6, 4, 2, 1)
        self.last = nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, x):
        x = self.second(self.first(x))
        a, b = torch.split(x * self.gate(x), [8, 8], 1)
        y = self.shuffle(torch.cat([b - 0.5 * a, a / (1.5 + b.abs())], 1))
        return self.last(torch.nn.functional.leaky_relu(self.back(y), 0.1))


NETWORKS = {"residual": Residual, "corners": lambda: Residual(True), "mobile": Mobile, "shuffled": Shuffled}
SPATIAL = (nn.Conv2d, nn.ConvTranspose2d, nn.MaxPool2d, nn.AvgPool2d, nn.Upsample)


def state(path: Path, **more: str) -> Path:
    model = onnx.load(str(path))
    helper.set_model_props(model, {f"mrdo.{key}": value for key, value in {**STATED, **more}.items()})
    onnx.save(model, str(path))
    return path


def exported(name: str, path: Path):
    """The network in PyTorch, in a random state with live normalisation, and its file."""
    torch.manual_seed(3)
    network = NETWORKS[name]()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
    network.eval()
    axes = {"image": {0: "N", 2: "H", 3: "W"}, "logits": {0: "N", 2: "h", 3: "w"}}
    torch.onnx.export(
        network, torch.zeros(1, 3, 64, 96), str(path), input_names=["image"], output_names=["logits"],
        dynamic_axes=axes, opset_version=17, dynamo=False,
    )  # fmt: skip
    return network, state(path)


@pytest.fixture(scope="module", params=NETWORKS)
def made(request, tmp_path_factory):
    network, path = exported(request.param, tmp_path_factory.mktemp("local") / f"{request.param}.onnx")
    return request.param, network, path, LocalModel(path, threads=1)


@pytest.fixture(scope="module")
def default() -> LocalModel:
    return LocalModel(default_model_path(), threads=1)


def scene(height=144, width=208, seed=3):
    source = SceneSource(SceneConfig(width, height, 1, seed=seed))
    return planes_to_rgb(next(iter(source)).planes, source.format)


def changed(rgb, box, seed=0, count=2):
    """``count`` pictures that differ from ``rgb`` inside ``box``: blurred and noisy."""
    x, y, width, height = box
    out = np.repeat(rgb[None], count, axis=0)
    rng = np.random.default_rng(seed)
    for index, picture in enumerate(out):
        part = cv2.GaussianBlur(rgb, (0, 0), 1.5 + index)[y : y + height, x : x + width].astype(np.int64)
        picture[y : y + height, x : x + width] = np.clip(part + rng.integers(-9, 10, part.shape), 0, 255)
    return out


def cut(pictures, box):
    x, y, width, height = box
    return pictures[..., y : y + height, x : x + width, :]


def padded(pictures, stride):
    height, width = pictures.shape[-3:-1]
    return np.pad(pictures, ((0, 0), (0, -height % stride), (0, -width % stride), (0, 0)), mode="edge")


def whole_answer(path, pictures, stride):
    height, width = pictures.shape[1:3]
    return TaskModel(path, threads=1).logits(padded(pictures, stride))[:, :, :height, :width]


def emulated(network, base, pictures, box):
    """Whole pictures through the network, everything outside the window reset to the base's after each step.

    All but the first, at strides below 4: those are computed for the surroundings, too.
    """
    early = {m for name in ("stem", "first") for m in getattr(network, name, nn.Identity()).modules()}
    x, y, width, height = box
    kept: list = []
    taken: list = []

    def tensor(rgb):
        mean, std = (torch.tensor([float(v) for v in STATED[k].split(",")]).view(3, 1, 1) for k in ("mean", "std"))
        return (torch.from_numpy(np.ascontiguousarray(rgb)).permute(0, 3, 1, 2).float() / 255 - mean) / std

    def keep(module, _, answer):
        kept.append(answer)

    def reset(module, _, answer):
        known = kept[len(taken)]
        taken.append(module)
        if module in early and base.shape[0] // answer.shape[2] < 4:
            return answer
        out = known.expand_as(answer).clone()
        if isinstance(module, SPATIAL) and answer.shape[2] > 1:
            s = base.shape[0] // answer.shape[2]
            inside = (..., slice(y // s, (y + height) // s), slice(x // s, (x + width) // s))
            out[inside] = answer[inside]
        return out

    def run(hook, rgb):
        watched = (*SPATIAL, nn.AdaptiveAvgPool2d)
        handles = [m.register_forward_hook(hook) for m in network.modules() if isinstance(m, watched)]
        with torch.no_grad():
            answer = network(tensor(rgb))
        for handle in handles:
            handle.remove()
        return answer

    run(keep, base[None])
    return run(reset, pictures)


# ---------------------------------------------------------------- exactness


def test_an_unchanged_window_has_the_answer_of_the_whole(made):
    _, _, path, model = made
    rgb = scene()
    begun = model.begin(rgb)
    whole = whole_answer(path, rgb[None], model.stride)[0]
    box = (64, 32, 96, 64)
    (answer,) = model.logits([(begun, box, cut(rgb[None], box), box)])
    np.testing.assert_allclose(answer[0], whole[:, 32:96, 64:160], atol=1e-4)
    np.testing.assert_allclose(np.exp(begun.log_probs).sum(axis=0), 1, atol=1e-5)
    np.testing.assert_allclose(begun.log_probs, whole - np.logaddexp.reduce(whole, axis=0), atol=1e-4)


@pytest.mark.parametrize("size", [(128, 192), (150, 197)])
def test_a_window_of_the_whole_picture_has_its_answer(made, size):
    name, _, path, model = made
    if name == "mobile":
        pytest.skip("its pooled branches are frozen")
    rgb = scene(160, 224)[: size[0], : size[1]]
    box = (0, 0, size[1], size[0])
    other = changed(rgb, (40, 24, 80, 60))
    (answer,) = model.logits([(model.begin(rgb), box, other, box)])
    wanted = whole_answer(path, other, model.stride)
    assert np.abs(answer - wanted).max() <= 1e-4 * max(np.abs(wanted).max(), 1)
    assert np.abs(wanted - whole_answer(path, rgb[None], model.stride)).max() > 0.01


@pytest.mark.parametrize("box", [(64, 32, 96, 64), (0, 0, 64, 64), (144, 80, 64, 64), (0, 64, 208, 32)])
def test_a_changed_window_is_what_resetting_the_rest_gives(made, box):
    name, network, _, model = made
    rgb = scene()
    pictures = changed(rgb, box)
    wanted = emulated(network, rgb, pictures, box)
    if wanted.shape[2:] != rgb.shape[:2]:
        size = rgb.shape[0] // wanted.shape[2]
        kept = emulated(network, rgb, rgb[None], box)
        difference = torch.zeros_like(wanted)
        inside = (
            ...,
            slice(box[1] // size, (box[1] + box[3]) // size),
            slice(box[0] // size, (box[0] + box[2]) // size),
        )
        difference[inside] = (wanted - kept)[inside]
        wanted = nn.functional.interpolate(kept + difference, size=rgb.shape[:2], mode="bilinear", align_corners=False)
    (answer,) = model.logits([(model.begin(rgb), box, cut(pictures, box), box)])
    x, y, width, height = box
    seen = wanted[:, :, y : y + height, x : x + width].numpy()
    assert np.abs(answer - seen).max() <= 1e-3 * np.abs(seen).max()
    base = emulated(network, rgb, rgb[None], box)
    assert name == "mobile" or np.abs(seen - base[:, :, y : y + height, x : x + width].numpy()).max() > 0.01


def test_a_part_is_a_part_of_the_answer(default):
    rgb = scene()
    begun, box, part = default.begin(rgb), (32, 0, 128, 128), (56, 40, 72, 60)
    pictures = cut(changed(rgb, box), box)
    (whole,) = default.logits([(begun, box, pictures, box)])
    (answer,) = default.logits([(begun, box, pictures, part)])
    np.testing.assert_allclose(answer, whole[:, :, 40:100, 24:96], atol=1e-4)


def test_windows_between_multiples_of_the_stride_are_extended_by_the_base(default):
    rgb = scene(150, 200)
    begun = default.begin(rgb)
    inner, outer = (70, 90, 50, 60), (64, 64, 64, 86)
    pictures = changed(rgb, inner)
    answers = default.logits([(begun, box, cut(pictures, box), (70, 90, 40, 40)) for box in (inner, outer)])
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-5)


def test_items_are_answered_as_if_alone(default):
    frames = [default.begin(scene(seed=seed)) for seed in (1, 2)]
    boxes = [(0, 0, 128, 128), (64, 0, 128, 128), (64, 32, 96, 96)]
    items = [
        (begun, box, cut(changed(scene(seed=seed), box, seed), box), box)
        for begun, seed in zip(frames, (1, 2), strict=True)
        for box in boxes
    ]
    together = default.log_probs(items)
    for item, answer in zip(items, together, strict=True):
        np.testing.assert_array_equal(answer, default.log_probs([item])[0])
        np.testing.assert_allclose(np.exp(answer).sum(axis=1), 1, atol=1e-5)


# ---------------------------------------------------------------- what is left out


def test_the_error_falls_with_the_margin_and_is_far_below_a_crops(default):
    rgb = scene(288, 352)
    begun, task = default.begin(rgb), TaskModel(default_model_path(), threads=1)
    errors, crops, moves = [], [], []
    for rect in ((128, 128, 64, 64), (192, 64, 64, 64), (64, 192, 64, 64)):
        pictures = changed(rgb, rect, count=1)
        x, y, width, height = rect
        true = task.logits(pictures)[0, :, y : y + height, x : x + width]
        moves.append(np.abs(true - begun.logits[:, y : y + height, x : x + width]).mean())
        boxes = [default.window(rect, margin, (288, 352)) for margin in (0, 32, 64)]
        answers = default.logits([(begun, box, cut(pictures, box), rect) for box in boxes])
        errors.append([np.abs(answer[0] - true).mean() for answer in answers])
        left, top, *_ = boxes[1]
        crop = task.logits(cut(pictures, boxes[1]))[0, :, y - top : y - top + height, x - left : x - left + width]
        crops.append(np.abs(crop - true).mean())
    none, some, more = np.mean(errors, axis=0)
    assert none > some > more
    assert some <= 0.3 and some < np.mean(moves) / 3 and some < np.mean(crops) / 3


def test_frozen_operators_are_named_and_leave_a_good_answer():
    model = LocalModel(judge_model_path(), threads=1)
    assert sorted({name.split()[0] for name in model.frozen}) == ["AveragePool", "GlobalAveragePool"]
    rgb, rect = scene(288, 352), (128, 128, 64, 64)
    begun, pictures = model.begin(rgb), changed(rgb, (128, 128, 64, 64), count=1)
    box = model.window(rect, 32, (288, 352))
    (answer,) = model.logits([(begun, box, cut(pictures, box), rect)])
    true = TaskModel(judge_model_path(), threads=1).logits(pictures)[0, :, 128:192, 128:192]
    moved = np.abs(true - begun.logits[:, 128:192, 128:192]).mean()
    assert np.abs(answer[0] - true).mean() < min(moved / 2, 0.3)


# ---------------------------------------------------------------- windows and inputs


@pytest.mark.parametrize("margin", [0, 16, 32, 100])
@pytest.mark.parametrize("size", [(352, 480), (360, 480), (100, 70)])
def test_windows_are_aligned_lie_in_the_picture_and_hold_their_box(default, margin, size):
    for x in range(0, size[1], 64):
        for y in range(0, size[0], 64):
            box = (x, y, min(64, size[1] - x), min(64, size[0] - y))
            left, top, width, height = default.window(box, margin, size)
            assert left % 32 == top % 32 == 0 and min(left, top) >= 0
            for start, length, limit in ((left, width, size[1]), (top, height, size[0])):
                assert start + length == limit or (start + length < limit and length % 32 == 0)
            assert left <= max(x - margin, 0) and min(x + box[2] + margin, size[1]) <= left + width
            assert top <= max(y - margin, 0) and min(y + box[3] + margin, size[0]) <= top + height


@pytest.mark.parametrize(("layout", "color"), [("NHWC", "RGB"), ("NCHW", "BGR"), ("NHWC", "BGR")])
def test_any_layout_and_order_of_the_input(tmp_path, layout, color):
    _, path = exported("residual", tmp_path / "n.onnx")
    if layout == "NHWC":
        model = onnx.load(str(path))
        dims = [("N", 0), ("H", 0), ("W", 0), ("", 3)]
        image = helper.make_tensor_value_info("picture", onnx.TensorProto.FLOAT, [n or v for n, v in dims])
        del model.graph.input[:]
        model.graph.input.append(image)
        model.graph.node.insert(0, helper.make_node("Transpose", ["picture"], ["image"], perm=[0, 3, 1, 2]))
        onnx.save(model, str(path))
    state(path, color=color, layout=layout)
    model, rgb, box = LocalModel(path, threads=1), scene(128, 128), (0, 0, 128, 128)
    pictures = changed(rgb, (32, 32, 64, 64))
    (answer,) = model.logits([(model.begin(rgb), box, pictures, box)])
    np.testing.assert_allclose(answer, whole_answer(path, pictures, 8), atol=1e-4)


@pytest.mark.parametrize(
    ("box", "shape", "told"),
    [
        ((0, 0, 64, 64), (2, 64, 32, 3), "expected"),
        ((160, 96, 64, 64), (2, 64, 64, 3), "inside"),
        ((-32, 0, 64, 64), (2, 64, 64, 3), "inside"),
    ],
)
def test_windows_that_are_none_are_refused(default, box, shape, told):
    with pytest.raises(ModelError, match=told):
        default.logits([(default.begin(scene()), box, np.zeros(shape, np.uint8), box)])
    with pytest.raises(ModelError, match="expected"):
        default.begin(np.zeros((2, 64, 64, 3), np.uint8))


def test_options_override_the_file(tmp_path):
    _, path = exported("residual", tmp_path / "n.onnx")
    rgb, box, options = scene(64, 64), (0, 0, 64, 64), ModelOptions(std=(1.0, 1.0, 1.0), mean=(0.0, 0.0, 0.0))
    model = LocalModel(path, options=options)
    other = changed(rgb, box)
    (answer,) = model.logits([(model.begin(rgb), box, other, box)])
    np.testing.assert_allclose(answer, TaskModel(path, options=options).logits(other), atol=1e-4)
