"""The whole command line with a codec that needs no program: encode, decode, compare, grey, several sizes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.command import Mrdo

from encoder_bridge.decode import decode_stream
from encoder_bridge.encoders import ENCODERS
from encoder_bridge.errors import ConfigError
from models.scenes import SceneConfig, SceneSource

SIZE = (96, 80)


@pytest.fixture(autouse=True)
def _bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing installed, nothing built."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("MRDO_CACHE", str(tmp_path / "cache"))
    for name in ("MRDO_X265", "MRDO_X265_HOOKED"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from encoder_bridge.decode import write_video

    path = tmp_path_factory.mktemp("clips") / "scene.y4m"
    write_video(SceneSource(SceneConfig(*SIZE, 3, seed=2)), path)
    return path


def test_encode_and_decode(mrdo: Mrdo, clip: Path, tmp_path: Path) -> None:
    code, _, errors = mrdo("encode", clip, "--codec", "dummy", "--qp", 10, "--rdo", "psnr", "-o", tmp_path / "out.mkv")
    assert code == 0, errors
    code, _, errors = mrdo("decode", tmp_path / "out.mkv", "-o", tmp_path / "back.y4m")
    assert code == 0, errors
    pairs = zip(decode_stream(clip), decode_stream(tmp_path / "back.y4m"), strict=True)
    assert all(np.abs(a.planes[0].astype(int) - b.planes[0]).max() <= 1 for a, b in pairs)


@pytest.mark.parametrize(
    ("codec", "suffix"), [("dummy", "mkv"), ("jpeg", "mjpeg"), ("jpeg", "mp4"), ("jpeg2000", "j2k")]
)
def test_grey_and_half_the_size(mrdo: Mrdo, codec: str, suffix: str, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / f"out.{suffix}"
    code, _, errors = mrdo("encode", clip, "--codec", codec, "--gray", "--scale", 0.375, "--rdo", "psnr", "-o", out)
    assert code == 0, errors
    fmt = decode_stream(out).format
    assert (fmt.width, fmt.height, fmt.chroma) == (36, 30, "400")


def test_compare_over_sizes(mrdo: Mrdo, clip: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "map.npy", np.random.default_rng(1).random((3, 5, 6), np.float32))
    words = ("--codec", "dummy", "--qps", "4,16,24,34", "--scales", "0.5,1", "--map", tmp_path / "map.npy")
    code, told, errors = mrdo("compare", clip, *words, "--bootstrap", 10, "--json", "-o", tmp_path / "out")
    assert code == 0, errors
    events = [json.loads(line) for line in told.splitlines()]
    points = [event for event in events if event["event"] == "point"]
    assert {(point["scale"], point["qp"]) for point in points} == {(s, q) for s in (0.5, 1.0) for q in (4, 16, 24, 34)}
    bits = {(p["scale"], p["qp"]): p["bits"] for p in points if p["rdo"] == "psnr"}
    assert bits[0.5, 4] < bits[1.0, 4] and bits[1.0, 34] < bits[1.0, 4]
    assert any(event["event"] == "bd_rate" and event["arm"] == "neutral" and not event["value"] for event in events)


def test_a_config_error_comes_before_any_work(mrdo: Mrdo, clip: Path, tmp_path: Path) -> None:
    for words, said in (
        (("--codec", "jpeg", "--qp", 0), "quality 0 outside 1–100 (higher is finer)"),
        (("--codec", "jpeg2000", "--qp", 501), "compression ratio 501 outside 0–500"),
        (("--codec", "jpeg2000", "--rdo", "map"), "no region of interest"),
        (("--codec", "jpeg", "--gop", "lowdelay"), "gop 'lowdelay'; expected intra"),
        (("--codec", "jpeg", "--crf", 20), "no constant rate factor or bit rate; expected --qp, its quality"),
        (("--codec", "jpeg", "--rdo", "ctu"), "rdo 'ctu'; expected psnr or map"),
        (("--codec", "jpeg", "--bit-depth", 10), "bit depth 10; expected 8, as with --bit-depth 8"),
    ):
        rdo = () if "--rdo" in words else ("--rdo", "psnr")
        code, _, errors = mrdo("encode", clip, *words, *rdo, "-o", tmp_path / "out.mkv")
        assert code == 2 and said in errors, errors
        assert not (tmp_path / "out.mkv").exists()


def test_it_is_there_and_not_named() -> None:
    assert "dummy" in ENCODERS
    with pytest.raises(ConfigError) as caught:
        ENCODERS.get("nothing")
    assert "x265" in str(caught.value) and "jpeg2000" in str(caught.value) and "dummy" not in str(caught.value)
