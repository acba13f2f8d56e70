"""``mrdo train progressive`` and networks looked up by configuration, from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from encoder_bridge.encoder import BuildInfo
from encoder_bridge.errors import ConfigError
from models.model_set import ModelSet, SetModel
from models.train.architectures import ARCHITECTURES
from sweeps.coded import members, parse_coded
from sweeps.commands.score import command as score
from sweeps.commands.train_progressive import command, parse_qualities

SIZE = (112, 96)


def tiny(classes: int) -> Any:
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, classes, 1))

        def forward(self, x: Any) -> Any:
            return [self.body(x)] if self.training else self.body(x)

    return Net()


if "tiny-command" not in ARCHITECTURES:
    ARCHITECTURES.register("tiny-command")(tiny)


def events(*arguments: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(command, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_plan_is_the_papers() -> None:
    rows = events("--plan")
    assert rows[-1]["trainings"] == 60
    assert rows[-1]["epochs"] == 4278
    assert rows[-1]["configurations"] == 1486
    assert sum(row["event"] == "training" for row in rows) == 61


@pytest.mark.parametrize(("speed", "epochs"), [("0.085", 22), ("0.045", 40), ("0.025", 72)])
def test_plan_of_a_part(speed: str, epochs: int) -> None:
    given = ["--codec", "x265", "--qualities", "0:50:5", "--scales", "1.0", "--color", "color"]
    rows = events("--plan", *given, "--p-inf", "60", "--epochs", "200", "--speed", speed)
    assert [row.get("epochs") for row in rows] == [epochs, epochs]


@pytest.mark.parametrize(
    ("text", "levels"),
    [("0:50:25", (0, 25, 50)), ("22,27.5", (22, 27.5)), ("100:90:-5", (100, 95, 90)), ("5:5:1", (5,)), (None, ())],
)
def test_qualities(text: str | None, levels: tuple[float, ...]) -> None:
    assert parse_qualities(text) == levels


@pytest.mark.parametrize("text", ["", "a", "0:50", "0:50:0", "0:50:-5", "1:2:3:4"])
def test_bad_qualities(text: str) -> None:
    with pytest.raises(ConfigError, match="expected FIRST:LAST:STEP"):
        parse_qualities(text)


def test_schedule_options_need_one_codec() -> None:
    with pytest.raises(ConfigError, match="--speed without a single --codec"):
        CliRunner().invoke(command, ["--plan", "--speed", "0.1"], catch_exceptions=False)


def test_coded_says_how() -> None:
    config = parse_coded("x265:32:0.5")
    assert (config.codec, config.qp, config.scale) == ("x265", 32, 0.5)
    assert parse_coded("vvenc:20").scale == 1
    for text in ("x265", ":3", "x265:a", "x265:1:2:3"):
        with pytest.raises(ConfigError, match="expected CODEC:QP"):
            parse_coded(text)
    with pytest.raises(ConfigError, match="scale 2"):
        parse_coded("x265:3:2")


@pytest.mark.slow
def test_a_set_is_trained_and_judges(tmp_path: Path, x265_hooked: BuildInfo) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    for name in ("train", "trainannot"):
        (tmp_path / name).mkdir()
    for index in range(4):
        label = np.tile((np.arange(SIZE[0]) < rng.integers(30, 80)).astype(np.uint8), (SIZE[1], 1))
        picture = 60 + 120 * label[..., None] + rng.normal(0, 8, (SIZE[1], SIZE[0], 3))
        cv2.imwrite(str(tmp_path / "train" / f"{index}.png"), np.clip(picture, 0, 255).astype(np.uint8))
        cv2.imwrite(str(tmp_path / "trainannot" / f"{index}.png"), label)
    torch.save(tiny(2).state_dict(), tmp_path / "init.pt")
    out = tmp_path / "robust"
    given = ["--data", str(tmp_path), "--init", str(tmp_path / "init.pt"), "--arch", "tiny-command", "-o", str(out)]
    given += ["--codec", "x265", "--qualities", "20,40", "--speed", "0.3", "--epochs", "9", "--step", "20"]
    given += ["--p-inf", "60", "--scales", "1.0,0.875", "--gray-epochs", "1", "--preset", "ultrafast", "--crop", "64"]
    rows = events(*given, "--classes", "dark,bright", "--threads", "1")
    networks = ModelSet(out / "networks")
    assert rows[-1]["networks"] == str(out / "networks")
    names = {path.stem for path in networks.files.values()}
    coded = {f"x265_q{q}{s}{g}" for q in (20, 40) for s in ("", "_s0.875") for g in ("", "_gray")}
    assert names == coded | {"pristine", "pristine_gray", "s0.875", "s0.875_gray"}
    judge = SetModel(out / "networks", threads=1)
    with pytest.raises(ConfigError, match="give --coded"):
        members([judge], None)
    clip = str(tmp_path / "train")
    asked = [clip, clip, "--judge", str(out / "networks"), "--labels", str(tmp_path / "trainannot"), "--json"]
    result = CliRunner().invoke(score, [*asked, "--coded", "x265:37:0.875"], catch_exceptions=False)
    scores = json.loads(result.stdout.splitlines()[-1])["scores"]
    assert set(scores) == {"segmentation", "robust"}
    assert scores["segmentation"]["agreement"] == 1.0, "the driver sees the same video twice"
    assert 0 <= scores["robust"]["agreement"] <= 1
