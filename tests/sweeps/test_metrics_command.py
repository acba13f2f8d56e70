"""``mrdo metrics list`` and ``mrdo score --metric``."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from encoder_bridge.errors import ConfigError, MetricInputError, ToolNotFoundError
from rdo_metrics.candidates import CANDIDATE_METRICS
from rdo_metrics.iqa import IQA_METRICS, make_iqa_metric, missing_of
from rdo_metrics.maps import MAPS
from sweeps.cli import cli
from sweeps.metric_lists import candidate_rows, iqa_rows, map_rows
from sweeps.metric_scores import QualityWatch


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), catch_exceptions=False)


def events(*arguments: str) -> list[dict]:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_list_has_every_registered_name_once():
    found = events("metrics", "list")
    names = {family: [e["name"] for e in found if e.get("family") == family] for family in ("iqa", "candidate", "map")}
    assert names == {"iqa": IQA_METRICS.names(), "candidate": CANDIDATE_METRICS.shown(), "map": MAPS.shown()}
    assert found[-1]["event"] == "result" and found[-1]["metrics"] == len(found) - 1
    assert found[-1]["available"] == sum(e["available"] for e in found[:-1])


def test_an_event_says_what_a_metric_is():
    by_name = {e["name"]: e for e in events("metrics", "list") if e.get("family") == "iqa"}
    gmsd = by_name["gmsd"]
    assert (gmsd["range"], gmsd["higher_is_better"], gmsd["min_side"], gmsd["color"]) == ([0, 0.5], False, 6, "luma")
    assert by_name["lpips"]["range"] == [0, None] and by_name["lpips"]["weights"][0].startswith("vgg16")
    assert all((e["missing"] is None) == e["available"] for e in by_name.values())


def test_the_table_says_what_is_missing_and_what_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MRDO_VMAF", "/bin/true")
    text = run("metrics", "list", "--metric-weights", str(tmp_path)).stdout
    assert re.search(r"^dists +0 to 2 +lower +16 +luma as RGB +learned +no", text, re.M)
    assert re.search(r"^lpips: vgg16.*curl -fL", text, re.M) and "imageio-ffmpeg" in text
    assert re.search(r"^task-flip +log probs, local ", text, re.M)
    assert re.search(r"^attribution +network, first pass, gradient ", text, re.M)
    monkeypatch.setitem(sys.modules, "piq", None)
    assert "machine-rdo[iqa]" in run("metrics", "list").stdout


def test_rows_say_what_a_judge_or_a_map_needs():
    assert next(row for row in candidate_rows() if row["name"] == "fisher")["needs"] == ["log_probs", "signed_grad"]
    needs = {row["name"]: row["needs"] for row in map_rows()}
    assert needs["kl"] == ["network", "first_pass"] and needs["learned"] == []
    assert all(row["what"] and not row["what"].endswith(".") for row in [*candidate_rows(), *map_rows()])
    assert all(row["paper"] for row in iqa_rows())


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Three moving pictures as PNG, and H.264 of them at a low rate."""
    folder = tmp_path_factory.mktemp("pair")
    (folder / "original").mkdir()
    y, x = np.mgrid[:96, :128]
    with av.open(str(folder / "coded.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "38", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for i in range(3):
            grey = 120 + 60 * np.sin((x + 3 * i) / 7) * np.cos(y / 5) + 30 * (((x + i) // 16 + y // 16) % 2)
            rgb = np.stack([grey, grey * 0.9, grey * 0.8 + 20], axis=2).clip(0, 255).astype(np.uint8)
            assert cv2.imwrite(str(folder / "original" / f"{i}.png"), rgb[..., ::-1])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode())
    return folder / "original", folder / "coded.mp4"


def luma_of(options: dict, name: str) -> np.ndarray:
    from encoder_bridge.sources import open_source

    source = open_source(name, **options)
    return np.stack([frame.planes[0] for frame in source])


def test_score_gives_the_metrics_of_the_luma_planes(pair: tuple[Path, Path]):
    pytest.importorskip("piq")
    names = ["psnr", "ssim", "gmsd", "ms-ssim"]
    wanted = [part for name in [*names, "ssim"] for part in ("--metric", name)]
    result = events("score", str(pair[0]), str(pair[1]), "--fps", "25", *wanted)[-1]
    assert list(result["metrics"]) == names
    original, coded = luma_of({"fps": 25}, str(pair[0])), luma_of({}, str(pair[1]))
    for name in names:
        expected = make_iqa_metric(name).scores(original, coded)
        assert result["metrics"][name]["frames"] == pytest.approx(expected, abs=1e-6)
        assert result["metrics"][name]["mean"] == pytest.approx(expected.mean(), abs=1e-6)
    # The video's PSNR is of its mean squared error, which weighs bad frames more.
    assert result["metrics"]["psnr"]["mean"] - 0.5 < result["psnr"]["y"] <= result["metrics"]["psnr"]["mean"]
    assert [result["metrics"][name]["higher_is_better"] for name in names] == [True, True, False, True]


def test_score_shows_a_table_and_says_nothing_of_metrics_without_the_option(pair: tuple[Path, Path]):
    pytest.importorskip("piq")
    text = run("score", str(pair[0]), str(pair[1]), "--frames", "1", "--metric", "gmsd", "--metric", "psnr").stdout
    assert re.search(r"^gmsd +lower +0\.\d{4} +0\.\d{4} +0\.\d{4}", text, re.M)
    assert re.search(r"^psnr dB +higher ", text, re.M)
    plain = events("score", str(pair[0]), str(pair[1]), "--frames", "1")[-1]
    assert plain["metrics"] == {}


def test_score_with_vmaf(pair: tuple[Path, Path]):
    if missing_of("vmaf") is not None:
        pytest.skip(str(missing_of("vmaf")))
    found = events("score", str(pair[0]), str(pair[1]), "--metric", "vmaf")[-1]["metrics"]["vmaf"]
    assert len(found["frames"]) == 3 and 0 < found["mean"] < 100


def test_what_cannot_be_scored_is_refused_before_the_work(pair: tuple[Path, Path], tmp_path: Path):
    with pytest.raises(ConfigError, match="known: dists"):
        run("score", str(pair[0]), str(pair[1]), "--metric", "sharpness")
    pytest.importorskip("piq")
    with pytest.raises(ToolNotFoundError, match="curl"):
        run("score", str(pair[0]), str(pair[1]), "--metric", "lpips", "--metric-weights", str(tmp_path))


def test_small_frames_have_no_score_and_no_frames_no_mean():
    pytest.importorskip("piq")
    small = np.zeros((20, 20), np.uint8)
    with QualityWatch([make_iqa_metric("ms-ssim"), make_iqa_metric("psnr")], 8) as watch:
        watch.add(small, small)
        found = watch.results()
    assert np.isnan(found["ms-ssim"].mean) and np.isnan(found["ms-ssim"].frames).all()
    assert found["psnr"].frames == [80.0]
    with QualityWatch([make_iqa_metric("psnr")], 8) as watch:
        assert np.isnan(watch.results()["psnr"].mean)
    with QualityWatch([make_iqa_metric("psnr")], 8) as watch, pytest.raises(MetricInputError, match="expected"):
        watch.add(small, small[:10])
        watch.results()
