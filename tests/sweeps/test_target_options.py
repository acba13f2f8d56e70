"""What ``mrdo encode`` is told of a target, and what it refuses before any work."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from encoder_bridge.config import CodingConfig
from encoder_bridge.decode import write_video
from encoder_bridge.encoder import quality_of
from encoder_bridge.errors import BridgeError, ConfigError
from models.scenes import SceneConfig, SceneSource
from sweeps.commands.encode import command
from sweeps.target.options import parse_scales, parse_search_modes
from sweeps.target.probing import SCALES, Space


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "scene.y4m"
    write_video(SceneSource(SceneConfig(96, 64, 3, seed=4)), path)
    return path


def refusal(clip: Path, tmp_path: Path, *args: str) -> str:
    done = CliRunner().invoke(command, [str(clip), "-o", str(tmp_path / "out.mp4"), *args])
    assert isinstance(done.exception, BridgeError), (done.output, done.exception)
    assert not any(tmp_path.iterdir())
    return str(done.exception)


def test_auto_stands_for_the_scales_of_the_paper_and_the_cheap_modes() -> None:
    assert parse_scales("auto") == SCALES == (0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
    assert parse_scales("0.5,1,0.5") == (0.5, 1.0)
    assert parse_search_modes("auto") == ("psnr", "map") and parse_search_modes("ctu") == ("ctu",)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--scale", "auto"), "--scale 0.25,0.375"),
        (("--rdo", "psnr,map"), "--rdo psnr,map without --target-accuracy"),
        (("--max-probes", "4"), "--max-probes without --target-accuracy"),
        (("--target-accuracy", "95"), "target accuracy 95; expected between 0 and 1"),
        (("--target-accuracy", "0.9", "--qp", "30"), "--qp with --target-accuracy"),
        (("--target-accuracy", "0.9", "--scale", "0.5,2"), "scale 2"),
        (("--target-accuracy", "0.9", "--tolerance", "0"), "tolerance 0"),
        (("--target-accuracy", "0.9", "--shortfall", "0.02"), "between 0 and the tolerance, 0.01"),
        (("--shortfall", "0"), "--shortfall without --target-accuracy"),
        (("--target-accuracy", "0.9", "--shot-threshold", "200"), "shot threshold 200"),
        (("--target-accuracy", "0.9", "--rdo", "psnr", "--map", "kl"), "--map with --rdo psnr"),
        (("--target-accuracy", "0.9", "--inspect", "there"), "--inspect with --target-accuracy"),
        (("--target-accuracy", "0.9", "--codec", "h265"), "h265"),
    ],
)
def test_contradictions_are_refused_with_what_was_expected(
    args: tuple[str, ...], said: str, clip: Path, tmp_path: Path
) -> None:
    assert said in refusal(clip, tmp_path, *args)


@pytest.mark.parametrize("codec", ["x265", "vvenc", "jpeg", "jpeg2000"])
def test_points_run_from_fine_to_coarse_on_the_codecs_own_scale(codec: str) -> None:
    preset = {"x265": "slow", "vvenc": "slow"}.get(codec, "slow")
    space = Space({"psnr": CodingConfig(codec, preset, qp=quality_of(codec).default)}, (0.5, 1.0))
    points, quality = space.points(), quality_of(codec)
    line = [point for point in points if point.scale == 1]
    assert [p.qp for p in line] == sorted({p.qp for p in line}) and len(line) > 50
    values = [p.quality for p in line]
    assert values == sorted(values, reverse=quality.finer == "higher")
    assert space.config(line[3]).qp == line[3].quality and space.config(points[0]).scale == 0.5


def test_scales_beyond_the_input_are_refused() -> None:
    with pytest.raises(ConfigError, match="scale 0"):
        Space({"psnr": CodingConfig(qp=30)}, (0.0, 1.0)).points()
