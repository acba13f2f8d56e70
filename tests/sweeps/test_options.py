from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from encoder_bridge.config import Candidate, CandidateConfig, CodingConfig, MapConfig, RunOptions
from encoder_bridge.errors import ConfigError
from encoder_bridge.frames import VideoFormat
from encoder_bridge.source_base import RawSpec
from sweeps import options as opt
from sweeps.paramtypes import (
    format_candidates,
    parse_candidates,
    parse_floats,
    parse_format,
    parse_ints,
    parse_modes,
    parse_names,
    parse_triple,
)

T = Callable[[dict[str, Any]], Any]


def build(arguments: list[str], make: T, lists: bool = False) -> Any:
    """What ``make`` returns for a command line of a command that has all options."""
    result: list[Any] = []

    @opt.command("probe")
    @opt.input_options
    @opt.coding_options(lists=lists)
    @(opt.compared_map_options if lists else opt.map_options)
    @opt.candidate_options
    @opt.model_options
    @opt.run_options
    def probe(**options: Any) -> None:
        result.append(make(options))

    with probe.make_context("probe", ["clip.mp4", *arguments]) as context:
        probe.invoke(context)
    return result[0]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("22", (22,)),
        ("32,22, 27", (22, 27, 32)),
        ("22-47:5", (22, 27, 32, 37, 42, 47)),
        ("22-25", (22, 23, 24, 25)),
        ("22-30:5,51", (22, 27, 51)),
        ("30,30", (30,)),
    ],
)
def test_lists_of_qps(text: str, values: tuple[int, ...]) -> None:
    assert parse_ints(text) == values


@pytest.mark.parametrize("text", ["", "a", "22,", "47-22", "22-47:0", "0-999999", "22.5", "22--", "1e3"])
def test_bad_lists_say_what_is_expected(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_ints(text)


def test_other_values() -> None:
    assert parse_floats("28.5,23") == (23.0, 28.5)
    assert parse_triple("0.5") == (0.5, 0.5, 0.5)
    assert parse_triple("0.485,0.456,0.406") == (0.485, 0.456, 0.406)
    assert parse_format("i420") == ("420", 8)
    assert parse_format("yuv422p10le") == ("422", 10)
    assert parse_names("sky, road") == ("sky", "road")
    for bad in (lambda: parse_triple("1,2"), lambda: parse_names("sky"), lambda: parse_format("rgb24")):
        with pytest.raises(ValueError, match="expected"):
            bad()


def test_defaults_are_those_of_the_design() -> None:
    assert build([], opt.coding_config) == CodingConfig(qp=32, rdo="map", map=MapConfig())
    assert build([], opt.run_opts) == RunOptions()
    assert build([], opt.raw_spec) is None


def test_every_coding_and_map_option_arrives() -> None:
    line = "--codec vvenc --preset fast --gop lowdelay --crf 28.5 --scale 0.5 --bit-depth 10 --extra=--b"
    line += " --map both --strength 0.5 --tau 0.2 --sigma 2 --clip 6 --group 64 --weights --no-qp-map --map-interval 4"
    words = ["--extra", "--a 1", *line.split()]
    spec = MapConfig("both", 0.5, 0.2, 2.0, 6.0, 64, True, False, 4)
    expected = CodingConfig(
        "vvenc", "fast", "lowdelay", None, 28.5, None, 0.5, 10, "map", spec, None, False, ("--a", "1", "--b")
    )
    assert build(words, opt.coding_config) == expected


def test_depth_follows_the_input() -> None:
    ten = VideoFormat(64, 64, bit_depth=10)
    assert build([], lambda o: opt.coding_config(o, ten)).bit_depth == 10
    assert build(["--bit-depth", "8"], lambda o: opt.coding_config(o, ten)).bit_depth == 8


def test_a_list_of_rate_points_becomes_configurations() -> None:
    assert [c.qp for c in build([], opt.coding_configs, lists=True)] == [22, 27, 32, 37, 42, 47]
    assert [c.qp for c in build(["--qps", "30-32"], opt.coding_configs, lists=True)] == [30, 31, 32]
    assert [c.crf for c in build(["--crf", "28,23"], opt.coding_configs, lists=True)] == [23.0, 28.0]
    assert [c.bitrate for c in build(["--bitrate", "500"], opt.coding_configs, lists=True)] == [500]


def test_rate_points_are_the_codecs_own() -> None:
    jpeg = build(["--codec", "jpeg"], opt.coding_configs, lists=True)
    assert [config.qp for config in jpeg] == [5, 10, 18, 30, 50, 75]
    assert build(["--codec", "jpeg2000"], opt.coding_config).qp == 50


def test_sizes_and_grey() -> None:
    line = ["--qps", "30,40", "--scales", "1,0.5", "--gray"]
    configs = build(line, opt.coding_configs, lists=True)
    assert [(c.scale, c.qp) for c in configs] == [(0.5, 30), (0.5, 40), (1.0, 30), (1.0, 40)]
    assert all(config.gray for config in configs)
    assert not build(["--color"], opt.coding_config).gray
    assert build(["--gray"], opt.coding_config).digest() != build([], opt.coding_config).digest()
    with pytest.raises(ConfigError, match=r"scale 1\.5"):
        build(["--scale", "1.5"], opt.coding_config)


def test_two_kinds_of_rate_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"--qp and --crf; expected one"):
        build(["--qp", "3", "--crf", "4"], opt.coding_config)


def test_map_options_without_a_map_are_refused_not_ignored() -> None:
    assert build(["--rdo", "psnr"], opt.coding_config) == CodingConfig(qp=32)
    with pytest.raises(ConfigError, match=r"--strength with --rdo psnr"):
        build(["--rdo", "psnr", "--strength", "1.0"], opt.coding_config)


def test_raw_input_and_colour() -> None:
    line = ["--size", "64x48", "--format", "yuv420p10le", "--fps", "29.97", "--matrix", "bt709", "--range", "full"]
    assert build(line, opt.raw_spec) == RawSpec(64, 48, "420", 10, Fraction(30000, 1001), "bt709", "full")
    assert build(["--format", "yuv444p"], opt.source_options).chroma == "444"


def test_run_options() -> None:
    line = ["--threads", "2", "--timeout", "9", "--device", "cuda", "--workdir", "w"]
    assert build(line, opt.run_opts) == RunOptions(2, 9.0, "cuda", Path("w"))
    with pytest.raises(ConfigError, match="--timeout 0"):
        build(["--timeout", "0"], opt.run_opts)


@pytest.mark.parametrize(
    "line", [["--size", "64"], ["--qp", "x"], ["--gop", "open"], ["--group", "8"], ["--std", "1,2"], ["--fps", "-1"]]
)
def test_values_that_cannot_be_read_are_usage_errors(line: list[str]) -> None:
    with pytest.raises(click.UsageError) as caught:
        build(line, dict)
    assert line[0] in caught.value.format_message()


def test_help_has_headings_and_defaults() -> None:
    @opt.command("probe")
    @opt.coding_options()
    @opt.map_options
    def probe(**options: Any) -> None:
        """Help."""

    text = CliRunner().invoke(probe, ["--help"]).output
    assert text.index("Coding:") < text.index("--preset") < text.index("Machine-aware RDO:") < text.index("--strength")
    assert "[default: slow]" in text
    assert "[default: 8.0]" in text


@pytest.mark.parametrize(
    ("text", "candidates"),
    [
        ("0", (Candidate(),)),
        ("0,-3,+3", (Candidate(), Candidate(-3), Candidate(3))),
        (" 0 , 0x0.8 ,0x1.25", (Candidate(), Candidate(0, 0.8), Candidate(0, 1.25))),
        ("-1.5x2@16,+2@64", (Candidate(-1.5, 2, 16), Candidate(2, 1, 64))),
    ],
)
def test_candidates_are_read_and_written(text: str, candidates: tuple[Candidate, ...]) -> None:
    assert parse_candidates(text) == candidates
    assert parse_candidates(format_candidates(candidates)) == candidates


@pytest.mark.parametrize("text", ["", "x", "0,", "0x", "3@", "0@16x2", "qp:3", "0x1e9", "0@12", "60", "0x-1", "1.2.3"])
def test_bad_candidates_say_what_is_expected(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_candidates(text)
    with pytest.raises(click.UsageError, match="expected"):
        build(["--rdo", "ctu", "--candidates", text], opt.coding_config)


def test_every_candidate_option_arrives() -> None:
    line = (
        "--rdo map+ctu --candidates 0,-2x0.9 --metric ssim --metric-context 24 --metric-share 0.4 --guard 1.5 "
        "--splits 32 --judge-all"
    )
    config = build([*line.split(), "--map", "both"], opt.coding_config)
    spec = CandidateConfig((Candidate(), Candidate(-2, 0.9)), "ssim", 24, 32, 0.4, 1.5, judge_all=True)
    assert config == CodingConfig(qp=32, rdo="map+ctu", map=MapConfig("both"), ctu=spec)


def test_the_context_is_the_metrics_own_unless_said() -> None:
    assert build(["--rdo", "ctu"], opt.coding_config).ctu == CandidateConfig()
    assert build(["--rdo", "ctu", "--metric", "sse"], opt.coding_config).ctu.context == 0
    assert build(["--rdo", "ctu", "--metric", "sse", "--metric-context", "8"], opt.coding_config).ctu.context == 8
    with pytest.raises(ConfigError, match=r"unknown candidate metric 'nose'; known: .*sse"):
        build(["--rdo", "ctu", "--metric", "nose"], opt.coding_config)


def test_inside_the_encoder_there_is_only_squared_error() -> None:
    inside = build(["--rdo", "ctu", "--metric-inside"], opt.coding_config).ctu
    assert inside.internal and inside.metric == "sse"
    with pytest.raises(ConfigError, match="'task' inside the encoder"):
        build(["--rdo", "ctu", "--metric-inside", "--metric", "task"], opt.coding_config)


def test_options_of_the_other_kind_are_refused_not_ignored() -> None:
    with pytest.raises(ConfigError, match=r"--metric, --splits with --rdo map; expected --rdo ctu, map\+ctu or no"):
        build(["--metric", "sse", "--splits", "16"], opt.coding_config)
    with pytest.raises(ConfigError, match=r"--strength with --rdo ctu; expected --rdo map, map\+ctu or no"):
        build(["--rdo", "ctu", "--strength", "1"], opt.coding_config)


@pytest.mark.parametrize(
    "line", [["--guard", "0.5"], ["--metric-share", "-1"], ["--metric-share", "nan"], ["--metric-share", "2"]]
)
def test_candidate_options_out_of_range(line: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"expected (at least|0 to 1)"):
        build(["--rdo", "ctu", *line], opt.coding_config)


def test_the_first_candidate_has_nothing_to_keep() -> None:
    with pytest.raises(ConfigError, match="first candidate"):
        build(["--rdo", "ctu", "--candidates", "0=,+3"], opt.coding_config)
    kept = build(["--rdo", "ctu", "--candidates", "+3,0=,-3x0.8@16="], opt.coding_config).ctu.candidates
    assert kept == (Candidate(3), Candidate(keep=True), Candidate(-3, 0.8, 16, True))
    assert format_candidates(kept) == "+3,0=,-3x0.8@16="


def test_several_modes_are_one_comparison() -> None:
    assert parse_modes("psnr, map,map+ctu,map") == ("psnr", "map", "map+ctu")
    with pytest.raises(ValueError, match="psnr, map"):
        parse_modes("psnr,best")
    line = ["--qps", "30,32", "--rdo", "psnr,map,map+ctu", "--strength", "0.5", "--metric", "sse"]
    configs = build(line, opt.coding_configs, lists=True)
    assert [(c.rdo, c.qp) for c in configs] == [("map", 30), ("map", 32), ("map+ctu", 30), ("map+ctu", 32)]
    assert all(c.map.strength == 0.5 for c in configs) and [c.ctu is not None for c in configs] == [0, 0, 1, 1]
    assert [c.rdo for c in build(["--rdo", "psnr", "--qps", "32"], opt.coding_configs, lists=True)] == ["psnr"]
    with pytest.raises(ConfigError, match=r"--metric with --rdo psnr,map; expected"):
        build(["--rdo", "psnr,map", "--metric", "sse"], opt.coding_configs, lists=True)
