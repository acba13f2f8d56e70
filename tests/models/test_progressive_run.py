"""A real, tiny progressive training: it resumes to the same weights, and its set holds what each level learned."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from encoder_bridge.config import CodingConfig
from encoder_bridge.errors import ConfigError
from models.model_set import Configuration, ModelSet
from models.task_model import TaskModel
from models.train.architectures import ARCHITECTURES
from models.train.export import Deployed
from models.train.progressive.plan import Selection, make_plan
from models.train.progressive.run import RunRequest, execute
from models.train.progressive.schedule import ProgressiveSchedule
from models.train.progressive.sgd import Material, Progress, SgdConfig, SgdTrainer

NAMES = ("dark", "bright")
SELECTION = Selection(
    ("x265",), (1.0,), (False,), (0.0, 20.0), ProgressiveSchedule(0, 30, 10, 0.5, 20), separate_epochs=2
)


class Tiny(nn.Module):
    """Two convolutions; a list of logits in training, as the project's networks."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, classes, 1))

    def forward(self, x: torch.Tensor) -> Any:
        logits = self.body(x)
        return [logits] if self.training else logits


if "tiny-progressive" not in ARCHITECTURES:
    ARCHITECTURES.register("tiny-progressive")(Tiny)


class Noisy:
    """Two halves, one brighter than the other; noise grows with the quality parameter."""

    def __init__(self, count: int = 6) -> None:
        rng = np.random.default_rng(0)
        edges = rng.integers(10, 38, count)
        self.labels = [np.tile((np.arange(48) < edge).astype(np.uint8), (40, 1)) for edge in edges]
        self.asked: list[Configuration] = []

    def pictures(self, configuration: Configuration) -> Sequence[Any]:
        self.asked.append(configuration)
        rng = np.random.default_rng(int(configuration.quality))
        noise = 2 + configuration.quality
        pictures = [60 + 120.0 * label[..., None] + rng.normal(0, noise, (40, 48, 3)) for label in self.labels]
        return [np.clip(p, 0, 255).astype(np.uint8) for p in pictures]

    def digest(self) -> str:
        return f"noisy{len(self.labels)}"


@pytest.fixture
def init(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    torch.save({"average": Tiny(2).state_dict()}, tmp_path / "checkpoint.pt")
    return tmp_path / "checkpoint.pt"


def request(init: Path, out: Path, strategy: str = "progressive", **changes: Any) -> RunRequest:
    sgd = SgdConfig(NAMES, lr=0.1, batch=2, crop=32, class_power=0.0)
    plan = make_plan(SELECTION, strategy)
    return dataclasses.replace(RunRequest(plan, "tiny-progressive", init, out, sgd, strategy), **changes)


def silent(event: dict[str, Any]) -> None:
    """No one listens."""


def weights(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    return {p.stem: torch.load(p, weights_only=True) for p in sorted((folder / "weights").rglob("*.pt"))}


def test_each_level_gets_a_network_in_the_set(init: Path, tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    source = Noisy()
    outcome = execute(request(init, tmp_path / "out"), source, events.append)
    runs = ProgressiveSchedule(0, 30, 10, 0.5, 20).runs
    assert outcome.folder is not None
    assert outcome.epochs == {"color/x265/1": sum(count for level, count in runs if level <= 20)}
    assert [c.quality for c in source.asked] == [level for level, count in runs if level <= 20 for _ in range(count)]
    networks = ModelSet(outcome.folder)
    assert sorted(path.stem for path in networks.files.values()) == ["pristine", "x265_q0", "x265_q20"]
    model = TaskModel(networks.for_config(CodingConfig(qp=20)), threads=1)
    trained = Tiny(2)
    trained.load_state_dict(weights(tmp_path / "out")["x265_q20"])
    picture = source.pictures(Configuration())[0]
    pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float()
    expected = Deployed(trained).eval()(pixels)
    assert np.abs(model.logits(picture) - expected.detach().numpy()).max() < 1e-4
    losses = outcome.losses["color/x265/1"]
    assert losses[-1][-1] < losses[0][0]


def test_killed_and_started_again_it_comes_to_the_same_weights(init: Path, tmp_path: Path) -> None:
    execute(request(init, tmp_path / "whole"), Noisy(), silent)

    class Killed(Exception):
        pass

    def stop(event: dict[str, Any]) -> None:
        if event["event"] == "epoch":
            raise Killed

    again = request(init, tmp_path / "parts")
    for _ in range(3):  # an epoch each, the last one before its weights are kept
        with pytest.raises(Killed):
            execute(again, Noisy(), stop)
    assert execute(again, Noisy(), silent).folder is not None
    for name, state in weights(tmp_path / "whole").items():
        for key, value in weights(tmp_path / "parts")[name].items():
            assert torch.equal(value, state[key]), (name, key)


def test_what_is_finished_is_not_trained_again(init: Path, tmp_path: Path) -> None:
    first = execute(request(init, tmp_path / "out"), Noisy(), silent)
    events: list[dict[str, Any]] = []
    second = execute(request(init, tmp_path / "out"), Noisy(), events.append)
    assert events == []
    assert second == first


def test_no_time_no_set_but_it_goes_on(init: Path, tmp_path: Path) -> None:
    outcome = execute(request(init, tmp_path / "out", minutes=0.0), Noisy(), silent)
    assert outcome.folder is None
    assert execute(request(init, tmp_path / "out"), Noisy(), silent).folder is not None


def test_separate_trainings_start_from_pristine_and_stop_by_themselves(init: Path, tmp_path: Path) -> None:
    sgd = SgdConfig(NAMES, crop=32, lr=1e-12, class_power=0.0, patience=1, tolerance=0.5)
    plan = make_plan(dataclasses.replace(SELECTION, separate_epochs=9), "separate")
    outcome = execute(request(init, tmp_path / "out", "separate", sgd=sgd, plan=plan), Noisy(), silent)
    assert outcome.epochs == {"separate/x265_q0": 2, "separate/x265_q20": 2}, "a rate of nothing improves nothing"
    assert outcome.folder is not None
    assert len(ModelSet(outcome.folder)) == 3


def test_augmentation_makes_one_network_for_all(init: Path, tmp_path: Path) -> None:
    plan = make_plan(dataclasses.replace(SELECTION, augmentation_epochs=2), "augmentation")
    outcome = execute(request(init, tmp_path / "out", "augmentation", plan=plan), Noisy(), silent)
    assert outcome.folder is not None
    networks = ModelSet(outcome.folder)
    assert networks.for_config(CodingConfig(qp=0)) == networks.for_config(CodingConfig(qp=20))
    assert outcome.epochs == {"augmentation/color": 2}


def test_another_request_in_the_same_folder_is_refused(init: Path, tmp_path: Path) -> None:
    execute(request(init, tmp_path / "out", minutes=0.0), Noisy(), silent)
    with pytest.raises(ConfigError, match="begun with another data"):
        execute(request(init, tmp_path / "out"), Noisy(5), silent)
    with pytest.raises(ConfigError, match="begun with another strategy, plan"):
        execute(request(init, tmp_path / "out", "separate"), Noisy(), silent)


def test_unfit_checkpoints_are_refused(init: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        execute(request(tmp_path / "none.pt", tmp_path / "out"), Noisy(), silent)
    torch.save({"average": {"x": torch.zeros(1)}}, init)
    with pytest.raises(ConfigError, match="not the weights of tiny-progressive with 2 classes"):
        execute(request(init, tmp_path / "out2"), Noisy(), silent)
    init.write_bytes(b"text")
    with pytest.raises(ConfigError, match="not readable"):
        execute(request(init, tmp_path / "out3"), Noisy(), silent)


def test_rate_falls_over_a_leg_and_is_reset_with_the_level() -> None:
    source, config = Noisy(4), SgdConfig(NAMES, crop=32, class_power=0.0)
    trainer = SgdTrainer(Tiny(2), config, source.labels, torch.device("cpu"))
    material = Material((source.pictures(Configuration()),), source.labels)

    def rate(position: tuple[int, int]) -> float:
        trainer.epoch(material, (0, 0, position[0]), position)
        return float(trainer.optimiser.param_groups[0]["lr"])

    assert rate((0, 2)) == pytest.approx(config.lr)
    assert rate((1, 2)) == pytest.approx(config.lr * 0.5**0.9)
    assert rate((0, 1)) == pytest.approx(config.lr)


@pytest.mark.parametrize(
    ("losses", "converged"),
    [([1.0], False), ([1.0, 0.5, 0.25], False), ([1.0, 0.5, 0.5, 0.51], True), ([0.5, 0.6, 0.4], False)],
)
def test_convergence_is_a_loss_that_no_longer_falls(losses: list[float], converged: bool) -> None:
    assert Progress(losses).converged(patience=2, tolerance=0.01) is converged
