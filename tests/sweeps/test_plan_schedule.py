"""Keys, order and limits of a sweep's runs."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoder_bridge.encoders import ENCODERS
from encoder_bridge.errors import ConfigError, StoreError
from encoder_bridge.frames import VideoFormat
from models import default_model_path
from models.model_set import Configuration, SetModel, write_index
from models.scenes import SceneConfig, SceneSource
from sweeps.driving.batch import output_names
from sweeps.driving.bench import Bench, Setup
from sweeps.driving.drive import Limit
from sweeps.driving.keys import KeyMaker, template
from sweeps.driving.ledger import BadInput, KnownInput
from sweeps.driving.schedule import Schedule, planned_keys, read_saved, save
from sweeps.labels import OwnLabels
from sweeps.plan import InputFile, Plan, parse_plan
from sweeps.records import run_key
from sweeps.run_one import Job, job_key


def plan(**tables: Any) -> Plan:
    return parse_plan(tables, "p", Path())


def known(number: int, labels: str | None = None) -> KnownInput:
    file = InputFile(f"{number}.mp4", f"{number}.mp4")
    return KnownInput(file, f"s{number}", f"{number:064}", VideoFormat(64, 64), 3, labels)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(Setup(str(tmp_path)))


def test_a_template_gives_the_key_of_run_key() -> None:
    (config,) = plan(codecs={"x265": {"qualities": 32, "rdo": "map", "extra": ["--no-sao"]}}).configs()
    build = ENCODERS.get("dummy")().build_info(config)
    made = template(config, build.key(), {"net": "a" * 64}, metrics=["ssim"])
    for digest in ("b" * 64, "file of another kind"):
        assert made.key(digest) == run_key(config, digest, build, {"net": "a" * 64}, metrics=["ssim"])
        labelled = {"net": "a" * 64, "(labels)": "c" * 64}
        assert made.key(digest, "c" * 64) == run_key(config, digest, build, labelled, metrics=["ssim"])


def test_a_sweep_finds_the_records_of_a_comparison(bench: Bench) -> None:
    (config,) = plan(codecs={"dummy": {"qualities": 20}}).configs()
    source = SceneSource(SceneConfig(64, 48, 2, seed=1))
    labels = OwnLabels(source)
    job = Job(source, "scene", config, bench.judges(False), labels)
    key = KeyMaker(bench).template(config, False).key(source.digest(), labels.digest())
    assert key == job_key(job, bench.coder(config))


def test_plain_coding_comes_first_and_codecs_are_mixed(bench: Bench) -> None:
    made = plan(codecs={"dummy": {"qualities": "1-20", "rdo": ["psnr", "map"]}, "jpeg": {"qualities": "1-20"}})
    runs = list(Schedule(made, [known(1), known(2)], KeyMaker(bench)))
    assert len(runs) == len({run.key for run in runs}) == 2 * 60
    assert [run.input.file.name for run in runs] == ["1.mp4"] * 60 + ["2.mp4"] * 60
    modes = [run.config.rdo for run in runs[:60]]
    assert modes == ["psnr"] * 40 + ["map"] * 20
    codecs = [run.config.codec for run in runs[:40]]
    assert sum(a != b for a, b in itertools.pairwise(codecs)) > 8


def test_what_is_saved_gives_the_same_keys(bench: Bench, tmp_path: Path) -> None:
    made = plan(codecs={"dummy": {"qualities": "1-5"}, "jpeg": {"gray": [False, True]}})
    bad = BadInput(InputFile("x", "x"), "absent:x", {"type": "DecodeError", "message": "gone"})
    ten = dataclasses.replace(known(3), format=VideoFormat(64, 64, bit_depth=10))
    schedule = Schedule(
        plan(codecs={"dummy": {"qualities": "1-5"}}), [known(1), known(2, "l" * 64), ten, bad], KeyMaker(bench)
    )
    save(tmp_path, "p", 2, schedule.saved())
    assert list(planned_keys(read_saved(tmp_path))) == [(run.config.codec, run.key) for run in schedule]
    assert len({run.key for run in schedule}) == len(schedule) == 20
    assert schedule.counts() == {"dummy": 20} and made.counts() == {"dummy": 5, "jpeg": 12}


def test_a_folder_without_a_sweep(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="expected the folder of a sweep"):
        read_saved(tmp_path)
    (tmp_path / "sweep.json").write_text("{}")
    with pytest.raises(StoreError, match="damaged"):
        read_saved(tmp_path)


def test_limits() -> None:
    assert not Limit().exceeded(10**6, 1)
    assert Limit.parse("0").exceeded(1, 100) and not Limit.parse("2").exceeded(2, 100)
    assert Limit.parse("5%").exceeded(6, 100) and not Limit.parse("5%").exceeded(5, 100)
    for text in ("-1", "x", "200%", "1.5"):
        with pytest.raises(ConfigError, match="expected a number of failures"):
            Limit.parse(text)


def test_outputs_mirror_the_inputs() -> None:
    files = [InputFile(name, name) for name in ("a.mp4", "d/a.mp4", "b.mkv", "b.avi")]
    assert list(output_names(files, "x265", None).values()) == ["a.mp4", "d/a.mp4", "b.mkv.mp4", "b.avi.mp4"]
    assert output_names(files[:1], "jpeg", None) == {files[0]: "a.mkv"}
    assert output_names(files[:1], "x265", ".hevc") == {files[0]: "a.hevc"}
    with pytest.raises(ConfigError, match=r"--suffix '.264' for x265; expected one of .mp4"):
        output_names(files, "x265", ".264")


def test_grey_and_colour_networks_of_a_set_are_different_judges(tmp_path: Path) -> None:
    """Their reference labels lie in one workspace and must not be taken for each other's."""
    (tmp_path / "a.onnx").write_bytes(default_model_path().read_bytes())
    write_index(tmp_path, {Configuration(): "a.onnx", Configuration(gray=True): "a.onnx"})
    assert SetModel(tmp_path).digest() != SetModel(tmp_path, gray=True).digest()
    assert np.array_equal(SetModel(tmp_path).labels(np.zeros((32, 32, 3), np.uint8)).shape, (1, 32, 32))
