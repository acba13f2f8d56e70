"""Plans: counts of the papers, what expands to what, and what is said of a plan that is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from encoder_bridge.config import CandidateConfig, MapConfig
from encoder_bridge.errors import ConfigError
from sweeps.plan import Plan, is_plan, load_plan, parse_plan, preset_names


def plan(**tables: Any) -> Plan:
    return parse_plan(tables, "p.toml", Path())


def test_the_presets_have_the_papers_counts() -> None:
    assert preset_names() == ["everywhere", "seed000", "seed001"]
    seed001, seed000 = load_plan("seed001"), load_plan("seed000")
    assert seed001.counts() == {"jpeg": 672, "jpeg2000": 352, "jm": 154, "x265": 154, "vvenc": 154}
    assert len(seed001.configs()) == 1486
    assert seed000.counts() == {"jpeg": 44, "jm": 44, "x265": 44, "vvenc": 44}
    assert len(seed000.configs()) == 176
    assert load_plan("everywhere").counts() == dict.fromkeys(["jpeg", "jpeg2000", "x264", "x265", "hm"], 24)


def test_seed_001_codes_what_its_section_iii_says() -> None:
    configs = load_plan("seed001").configs()
    of = {codec: [c for c in configs if c.codec == codec] for codec in ("jpeg", "jpeg2000", "x265", "vvenc")}
    assert {c.scale for c in of["jpeg"]} == {0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0}
    assert {c.scale for c in of["jpeg2000"]} == {1.0}
    assert {c.qp for c in of["x265"]} == set(range(0, 51, 5)) == {c.qp for c in of["vvenc"]}
    assert len({c.qp for c in of["jpeg"]}) == 48 and len({c.qp for c in of["jpeg2000"]}) == 176
    assert {c.preset for c in of["x265"]} == {"slow"} and {c.preset for c in of["vvenc"]} == {"fast"}
    assert all(c.gop == "intra" and c.rdo == "psnr" for c in configs)
    assert sum(c.gray for c in configs) == len(configs) / 2


def test_seed_000_has_the_jpeg_qualities_of_its_table() -> None:
    jpeg = [c for c in load_plan("seed000").configs() if c.codec == "jpeg"]
    assert sorted({c.qp for c in jpeg}) == [5, 7, 10, 15, 20, 25, 30, 35, 50, 70, 90]
    assert {c.scale for c in jpeg} == {0.25, 0.5, 0.75, 1.0} and not any(c.gray for c in jpeg)


def test_a_codecs_own_values_stand_before_the_common_ones() -> None:
    made = plan(
        scales=[0.5, 1.0], codecs={"jpeg": {"qualities": [10, 20]}, "x265": {"qualities": "22-32:5", "scales": 1}}
    )
    assert made.counts() == {"jpeg": 4, "x265": 3}
    assert {c.scale for c in made.configs() if c.codec == "x265"} == {1.0}


def test_blocks_of_one_codec_that_overlap_give_no_run_twice() -> None:
    made = plan(codecs={"x265": [{"qualities": [22, 27]}, {"qualities": [27, 32], "rdo": ["psnr", "map"]}]})
    points = [(c.qp, c.rdo) for c in made.configs()]
    assert points == [(22, "psnr"), (27, "psnr"), (32, "psnr"), (27, "map"), (32, "map")]
    assert plan(codecs={"jpeg": {"qualities": [5, 5, 5]}}).counts() == {"jpeg": 1}


def test_maps_and_candidates_multiply_only_the_modes_that_have_them() -> None:
    made = plan(
        codecs={"x265": {"qualities": 32, "rdo": ["psnr", "map", "ctu", "map+ctu"]}},
        map={"name": ["kl", "learned"], "strength": [0.5, 1.0]},
        ctu={"metric": ["task", "sse"]},
    )
    by_mode = [c.rdo for c in made.configs()]
    assert {mode: by_mode.count(mode) for mode in set(by_mode)} == {"psnr": 1, "map": 4, "ctu": 2, "map+ctu": 8}
    assert MapConfig("kl", 0.5) in {c.map for c in made.configs()}
    assert CandidateConfig(metric="sse") in {c.ctu for c in made.configs()}


def test_the_depth_is_the_inputs_unless_stated() -> None:
    made = plan(codecs={"x265": {"qualities": 32}})
    assert made.configs(8)[0].bit_depth == 8 and made.configs(10)[0].bit_depth == 10
    assert plan(codecs={"x265": {"qualities": 32}}, bit_depth=8).configs(10)[0].bit_depth == 8


def test_rates_beside_qualities() -> None:
    made = plan(codecs={"x265": {"crf": [20, 30], "bitrate": 500}})
    assert [(c.qp, c.crf, c.bitrate) for c in made.configs()] == [
        (None, 20.0, None),
        (None, 30.0, None),
        (None, None, 500),
    ]


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"codecs": {"x256": {}}}, "codecs.x256: unknown codec; expected .*did you mean 'x265'"),
        ({"codecs": {"x265": {"qualites": [1]}}}, "unknown key 'qualites'; .*did you mean 'qualities'"),
        ({"codecs": ["x265"], "scale": 1}, "unknown key 'scale'; .*did you mean 'scales'"),
        ({"codecs": {"x265": {"qualities": [63]}}}, "QP 63 outside 0–51"),
        ({"codecs": {"jpeg": {"qualities": "5-x"}}}, "codecs.jpeg.qualities: .*expected whole numbers"),
        ({"codecs": {"jpeg": {"qualities": 2.5}}}, "qualities = 2.5; expected a whole number"),
        ({"codecs": ["x265"], "gray": "no"}, "^p.toml: gray = 'no'; expected true or false"),
        ({"codecs": {"x265": {"gray": "no"}}}, "^p.toml: codecs.x265.gray = 'no'; expected true or false"),
        ({"codecs": ["x265"], "gray": 1}, "gray = 1; expected true or false"),
        ({"codecs": ["x265"], "gop": "intr"}, "did you mean 'intra'"),
        ({"codecs": ["x265"], "scales": [2]}, "scale 2.0; expected 0 < scale <= 1"),
        ({"codecs": ["x265"], "scales": []}, "expected at least one value"),
        (
            {"codecs": ["x265"], "rdo": "map", "map": {"strenght": 1}},
            "^p.toml: map: unknown key 'strenght'.*'strength'",
        ),
        ({"codecs": ["x265"], "map": {"group": 17}}, "quantisation group 17; expected 16, 32 or 64"),
        ({"codecs": ["x265"], "ctu": {"candidates": "x"}}, "is no candidate"),
        ({"codecs": ["x265"], "inputs": [{"pth": "a"}]}, "^p.toml: inputs: unknown key 'pth'.*'path'"),
        ({"codecs": ["x265"], "inputs": [{"frames": 3}]}, "an input without a path"),
        (
            {"codecs": ["x265"], "inputs": [{"path": "a", "every": 0}]},
            "^p.toml: inputs.every = 0; expected a whole number of at least 1",
        ),
        ({"codecs": ["x265"], "metrics": "sim"}, "did you mean 'ssim'"),
        ({"codecs": ["x265"], "bit_depth": 12}, "bit_depth = 12; expected 8, 10"),
        ({"codecs": {}}, "no codecs; expected a table"),
        ({}, "no codecs; expected a table"),
    ],
)
def test_a_wrong_plan_says_where_and_what(tables: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        plan(**tables)
    assert str(caught.value).startswith("p.toml: ")


def test_a_file_is_toml_or_yaml_and_its_paths_start_beside_it(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(
        'inputs = ["a.mp4", "/b.mp4"]\njudges = "j.onnx"\n[codecs.jpeg]\nqualities = "5-15:5"\n'
    )
    (tmp_path / "p.yaml").write_text("inputs: [a.mp4, /b.mp4]\njudges: j.onnx\ncodecs: {jpeg: {qualities: 5-15:5}}\n")
    toml, yaml = load_plan(str(tmp_path / "p.toml")), load_plan(str(tmp_path / "p.yaml"))
    assert toml.configs() == yaml.configs() and toml.inputs == yaml.inputs and toml.name == "p"
    assert [block.file.path for block in toml.inputs] == [str(tmp_path / "a.mp4"), "/b.mp4"]
    assert toml.judges == (str(tmp_path / "j.onnx"),)


@pytest.mark.parametrize(("name", "text"), [("a.toml", "codecs = ["), ("a.yaml", "codecs: [")])
def test_a_file_that_is_none_of_them(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=r"is no (TOML|YAML)"):
        load_plan(str(tmp_path / name))


def test_what_names_a_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_plan("seed001") and is_plan("x.toml") and is_plan("X.YML") and not is_plan("clip.mp4")
    (tmp_path / "seed001").mkdir()
    assert not is_plan("seed001"), "a folder of that name is an input"
    with pytest.raises(ConfigError, match=r"expected a \.toml or \.yaml file or one of everywhere, seed000, seed001"):
        load_plan("absent.toml")


def test_reading_a_plan_loads_no_network_library(repo_root: Path) -> None:
    code = "import sys, sweeps.plan as p; p.load_plan('seed001').configs(); print([m for m in sys.modules if m in "
    code += "('torch', 'mmseg', 'matplotlib', 'onnxruntime')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=repo_root, check=True)
    assert done.stdout.strip() == "[]"
