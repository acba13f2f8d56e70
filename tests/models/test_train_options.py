"""Optimisers, schedules, resuming, starting weights and logs of a training: real and tiny."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from encoder_bridge.errors import ConfigError, ModelError
from models.cli import train as train_command
from models.task_model import TaskModel

torch = pytest.importorskip("torch")
pytest.importorskip("mmseg")
NAMES = ("dark", "bright")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures dark on one side and bright on the other."""
    root = tmp_path_factory.mktemp("halves")
    rng = np.random.default_rng(0)
    for part, count in (("rgb", 4), ("ids", 4)):
        (root / part).mkdir()
        for index in range(count):
            label = np.zeros((64, 80), np.uint8)
            label[:, 30 + 5 * index :] = 1
            picture = 40 + 160 * label[..., None] + rng.integers(-20, 21, (64, 80, 3))
            cv2.imwrite(str(root / part / f"{index}.png"), picture.astype(np.uint8) if part == "rgb" else label)
    return root


def config(folders: Path, **changes: Any) -> Any:
    from models.train.trainer import TrainConfig

    given = {"arch": "fpn-r18", "steps": 6, "batch": 2, "crop": 64, "classes": NAMES, "warmup": 2, **changes}
    return TrainConfig(data="", images=str(folders / "rgb"), labels=str(folders / "ids"), **given)


def trainer(settings: Any, out: Path, **changes: Any) -> Any:
    from models.train.trainer import LoopOptions, Trainer

    return Trainer(settings, LoopOptions(out=out, threads=1, **changes))


def test_schedules_rise_and_fall_as_stated(folders: Path) -> None:
    from models.train.optim import learning_rate

    poly = config(folders, steps=102, warmup=2, lr=0.1, schedule="poly", power=0.9)
    assert [learning_rate(poly, s) for s in (0, 1, 2)] == pytest.approx([0.05, 0.1, 0.1])
    assert learning_rate(poly, 52) == pytest.approx(0.1 * 0.5**0.9)
    assert learning_rate(poly, 102) == 0
    cosine = config(folders, steps=102, warmup=2, lr=0.1)
    assert learning_rate(cosine, 52) == pytest.approx(0.1 * (0.01 + 0.99 * 0.5))
    assert learning_rate(cosine, 102) == pytest.approx(0.001)
    assert all(math.isfinite(learning_rate(poly, s)) for s in range(120))


def test_setting_refusals(folders: Path) -> None:
    for changes, message in (
        ({"optimizer": "lion"}, "optimizer 'lion'"),
        ({"schedule": "step"}, "expected one of adamw, sgd and one of cosine, poly"),
        ({"scenes": 0.5}, "CamVid's classes"),
    ):
        with pytest.raises(ConfigError, match=message):
            config(folders, **changes)


@pytest.mark.slow
@pytest.mark.parametrize("amp", [False, True])
def test_sgd_stopped_and_resumed_ends_at_the_same_weights(folders: Path, tmp_path: Path, amp: bool) -> None:
    settings = config(folders, optimizer="sgd", schedule="poly", lr=0.05, weight_decay=5e-4, bf16=amp)
    whole = trainer(settings, tmp_path / "whole")
    assert isinstance(whole.optimiser, torch.optim.SGD) and whole.optimiser.defaults["momentum"] == 0.9
    whole.run()

    class Stopped(Exception):
        pass

    def stop(event: dict[str, Any]) -> None:
        if event["event"] == "step" and event["step"] == 4:
            raise Stopped

    with pytest.raises(Stopped):
        trainer(settings, tmp_path / "parts", save_every=3, report=stop).run()
    resumed = trainer(settings, tmp_path / "parts", resume=True)
    assert resumed.step == 3
    resumed.run()
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name
    for name, value in whole.average.state_dict().items():
        assert torch.equal(value, resumed.average.state_dict()[name]), name
    other = trainer(config(folders, optimizer="sgd", lr=0.05, seed=1, bf16=amp), tmp_path / "other")
    other.run()
    assert any(not torch.equal(v, other.network.state_dict()[k]) for k, v in whole.network.state_dict().items())
    with pytest.raises(ConfigError, match="optimizer is adamw, the checkpoint has sgd"):
        trainer(config(folders), tmp_path / "whole", resume=True)


@pytest.mark.slow
def test_init_starts_from_a_checkpoint_and_keeps_what_fits(folders: Path, tmp_path: Path) -> None:
    first = trainer(config(folders, steps=2), tmp_path / "a")
    first.run()
    file = tmp_path / "a" / "checkpoint.pt"
    events: list[dict[str, Any]] = []
    same = trainer(config(folders, init=str(file)), tmp_path / "b", report=events.append)
    for name, value in first.average.state_dict().items():
        assert torch.equal(value, same.network.state_dict()[name]), name
    assert events == [{"event": "init", "weights": str(file), "fresh": []}]
    more = trainer(
        config(folders, init=str(file), classes=("a", "b", "c"), seed=5), tmp_path / "c", report=events.append
    )
    assert {k.rpartition(".")[0] for k in events[-1]["fresh"]} == {"head.conv_seg"}
    stem = "backbone.stem.0.weight"
    assert torch.equal(first.average.state_dict()[stem], more.network.state_dict()[stem])
    with pytest.raises(ConfigError, match="weights of another network"):
        trainer(config(folders, init=str(file), arch="ddrnet-16"), tmp_path / "d")
    with pytest.raises(ModelError, match="no checkpoint"):
        trainer(config(folders, init=str(tmp_path / "none.pt")), tmp_path / "e")


def test_event_log_is_read_back_and_superseded(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from models.train.log import EventLog

    def step(log: Any, number: int, loss: float) -> None:
        log({"event": "step", "step": number, "of": 9, "loss": loss, "lr": 0.5, "s": 1.0})

    log = EventLog(tmp_path)
    for number in range(1, 6):
        step(log, number, float(number))
    log({"event": "validation", "step": 5, "miou": 0.25, "accuracy": 0.75, "iou": {"Sky": 0.125}})
    log({"event": "init", "weights": "x", "fresh": []})
    log.close()
    resumed = EventLog(tmp_path)
    for number in range(4, 7):
        step(resumed, number, 10.0 * number)
    resumed.close()
    read = EventAccumulator(str(tmp_path))
    read.Reload()
    assert {"train/loss", "train/lr", "validation/miou", "validation/accuracy", "iou/Sky"} <= set(
        read.Tags()["scalars"]
    )
    assert [(e.step, e.value) for e in read.Scalars("train/loss")] == [
        (1, 1),
        (2, 2),
        (3, 3),
        (4, 40),
        (5, 50),
        (6, 60),
    ]
    assert EventLog(tmp_path / "unused").close() is None and not (tmp_path / "unused").exists()


@pytest.mark.slow
def test_command_trains_with_named_folders_sgd_and_logs(folders: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "out"
    arguments = ["--images", str(folders / "rgb"), "--labels", str(folders / "ids"), "--classes", "dark,bright"]
    arguments += ["--val-images", str(folders / "rgb"), "--val-labels", str(folders / "ids"), "--steps", "3"]
    arguments += ["--optimizer", "sgd", "--schedule", "poly", "--no-amp", "--batch", "2", "--crop", "64"]
    arguments += ["-o", str(out), "--threads", "1", "--eval-every", "3"]
    result = CliRunner().invoke(train_command, arguments, catch_exceptions=False)
    assert result.exit_code == 0 and "mIoU" in result.stdout
    assert TaskModel(out / "network.onnx").classes == NAMES
    card = (out / "network.md").read_text(encoding="utf-8")
    assert "SGD (momentum 0.9) 0.01, weight decay 0.0005, polynomial decay 0.9 over 3 steps" in card
    assert "Semantic FPN (arXiv 1901.02446) on a ResNet-18" in card and "pretrained" not in card
    read = EventAccumulator(str(out / "log"))
    read.Reload()
    assert [e.step for e in read.Scalars("train/loss")] == [1, 2, 3]
    assert [e.step for e in read.Scalars("iou/bright")] == [3]


def test_cuda_is_refused_where_it_is_not(folders: Path, tmp_path: Path) -> None:
    from encoder_bridge.errors import DeviceError

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(DeviceError, match="use --device cpu"):
        trainer(config(folders), tmp_path, device="cuda")
