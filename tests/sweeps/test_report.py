"""``mrdo report``: what the page holds, what it escapes, what it refuses. The browser's part is in tests/e2e."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import zlib
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from encoder_bridge.config import Candidate, CandidateConfig, CodingConfig, MapConfig
from encoder_bridge.console import Reporter
from encoder_bridge.decode import write_video
from encoder_bridge.errors import ConfigError, OutputError, StoreError
from models.scenes import SceneConfig, SceneSource
from sweeps.commands.encode import command as encode_command
from sweeps.commands.report import command as report_command
from sweeps.options import coding_config, is_given
from sweeps.records import RunRecord, pack_confusion
from sweeps.report.build import ReportRequest, page_path, write_report
from sweeps.report.cli_line import encode_line
from sweeps.report.datasets import datasets, mean_psnr
from sweeps.report.gallery import GalleryOptions
from sweeps.report.library import Library, open_library
from sweeps.report.shots import choose_shots
from sweeps.store import ResultStore
from sweeps.target.options import single_choice

EVIL = '<script>alert("x")</script>&\'</title>'
QPS = (22, 27, 32, 37)


def record(qp: int, arm: str = "psnr", name: str = "clip", scale: float = 1.0, **more: object) -> RunRecord:
    """A made-up run of two frames; a machine-aware one costs 10 % less at the same accuracy."""
    config = CodingConfig(qp=qp, scale=scale)
    if arm != "psnr":
        config = dataclasses.replace(config, rdo="map", map=MapConfig(arm))
    bits = round(80_000 * 2 ** ((22 - qp) / 6) * scale * (1 if arm == "psnr" else 0.9))
    right = round(1000 - 8 * (qp - 20) / scale)
    confusion = np.array([[[right, 1000 - right], [1000 - right, right]]] * 2)
    network = str(more.pop("network", "net"))
    fields: dict[str, object] = {
        "key": f"{name}-{arm}-{qp}-{scale}",
        "config": config.as_dict(),
        "input": {"digest": f"d-{name}", "name": name, "width": 64, "height": 48, "frames": 2, "fps": "25"},
        "build": {"name": "x265", "version": "3.5", "abi": 1, "patch": "aa"},
        "models": {network: "0" * 64},
        "bits": bits,
        "frames": 2,
        "bpp": bits / (2 * 64 * 48),
        "encode_s": 1.0 if arm == "psnr" else 1.5,
        "psnr": {"y": 50 - qp / 2},
        "scores": {network: {"agreement": right / 1000, "miou_pseudo": right / (2000 - right), "miou_labels": None}},
        "frame_bits": [bits // 2, bits - bits // 2],
        "frame_psnr": [50 - qp / 2] * 2,
        "confusion": {network: {"pseudo": pack_confusion(confusion)}},
    }
    return RunRecord(**{**fields, **more})  # type: ignore[arg-type]


def store(folder: Path, *records: RunRecord) -> Path:
    with ResultStore(folder) as opened:
        for one in records:
            opened.append(one)
    return folder


def both_arms(**more: object) -> list[RunRecord]:
    return [record(qp, arm, **more) for arm in ("psnr", "learned") for qp in QPS]  # type: ignore[arg-type]


def make(stores: list[Path], output: Path, **more: object) -> str:
    def unopened(path: str) -> SceneSource:
        raise AssertionError(path)

    options = {"bootstrap": 20, "open_path": unopened, **more}
    write_report(ReportRequest(stores, output, **options), Reporter(json=True))  # type: ignore[arg-type]
    return (output / "index.html").read_text()


class Page(HTMLParser):
    """Elements and attributes of a page; contents of its JSON blocks."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.json: dict[str, str] = {}
        self._inside: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = dict(attrs).get("id") if tag == "script" else tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside in ("data", "gallery"):
            self.json[self._inside] = data
        elif self._inside not in ("style", None) or data.strip():
            self.words.append(data)


def test_the_page_tells_bd_rate_interval_and_time(tmp_path: Path):
    text = make([store(tmp_path / "s", *both_arms())], tmp_path / "out")
    page = Page(text)
    words = " ".join(" ".join(page.words).split())
    assert words.count("−10.0 %") >= 2 and "[−10.0, −10.0]" in words
    assert "encode time ×1.50" in words and "bits at equal mIoU, pseudo-GT of net" in words
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["index.html"]


def test_curves_hold_every_point_with_the_line_that_codes_it(tmp_path: Path):
    page = Page(make([store(tmp_path / "s", *both_arms())], tmp_path / "out"))
    data = json.loads(page.json["data"])
    (one,) = data["sets"]
    assert [series["label"] for series in data["series"]] == ["x265 PSNR-RDO", "x265 map:learned"]
    assert one["unit"] == "kbit/s" and [panel["metric"] for panel in one["panels"]] == [
        "agreement",
        "miou_pseudo",
        "psnr_y",
    ]
    point = next(p for p in one["curves"][0] if p["point"] == "QP 32")
    bits = record(32).bits
    assert point["bits"] == bits and point["rate"] == pytest.approx(bits / 2 * 25 / 1000)
    assert point["values"] == pytest.approx([0.904, 904 / 1096, 34.0])
    assert point["line"] == "mrdo encode clip --qp 32 --rdo psnr -o out.mp4"


def test_nothing_in_the_page_leads_outside(tmp_path: Path):
    text = make([store(tmp_path / "s", *both_arms())], tmp_path / "out")
    page = Page(text)
    links = [(tag, name, value) for tag, attrs in page.tags for name, value in attrs.items() if name in ("src", "href")]
    assert links and all(str(value).startswith("#") for _, _, value in links)
    assert not [tag for tag, _ in page.tags if tag in ("link", "iframe", "object", "embed", "base", "form")]
    # The one address is the name of SVG's vocabulary, which nobody fetches.
    assert set(re.findall(r"https?://[^\"'\s)]+", text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|WebSocket|import\(", text)
    (policy,) = [a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy and policy.startswith("default-src 'none'") and "unsafe" not in policy


def test_names_are_text_wherever_they_come_from(tmp_path: Path):
    evil = both_arms(name=EVIL, network=EVIL)
    failed = record(42, name=EVIL, status="error", error={"type": "EncoderError", "message": EVIL}, key="failed")
    text = make([store(tmp_path / "s", *evil, failed)], tmp_path / "out")
    page = Page(text)
    assert len([tag for tag, _ in page.tags if tag == "script"]) == 3
    assert text.count("alert(") == text.count("alert(&#34;x") + text.count('alert(\\"x')
    assert EVIL in " ".join(page.words) and json.loads(page.json["data"])["sets"][0]["name"] == EVIL
    assert "<" not in page.json["data"]


def test_failures_and_undefined_rates_are_told(tmp_path: Path):
    failed = record(47, "learned", status="error", error={"type": "EncoderTimeout", "message": "stalled"}, key="failed")
    far = [record(qp, "learned") for qp in (60, 61, 62)]
    plain = [record(qp) for qp in QPS]
    damaged = store(tmp_path / "s", *plain, *far, failed)
    with (damaged / "results.jsonl").open("a") as file:
        file.write("no record\n")
    words = " ".join(" ".join(Page(make([damaged], tmp_path / "out")).words).split())
    assert "1 of 8 runs failed" in words and "EncoderTimeout: stalled" in words
    assert "mrdo encode clip --qp 47 --rdo map --map learned --model net.onnx -o out.mp4" in words
    assert "BD-rates are undefined" in words and "of their metric range" in words
    assert "results.jsonl:9" in words


def test_a_failed_run_that_was_repeated_is_no_failure(tmp_path: Path):
    failed = record(32, status="error", error={"type": "EncoderError", "message": "x"}, key="other judges")
    assert open_library([store(tmp_path / "s", failed, *both_arms())]).failures == []


def test_several_sizes_are_one_curve_and_a_table_says_what_they_bring(tmp_path: Path):
    records = [record(qp, scale=scale) for scale in (0.5, 1.0) for qp in QPS]
    page = Page(make([store(tmp_path / "s", *records)], tmp_path / "out"))
    (curve,) = json.loads(page.json["data"])["sets"][0]["curves"]
    assert sorted({point["scale"] for point in curve}) == [0.5, 1.0] and len(curve) == 8
    assert "What a choice of size brings" in " ".join(page.words)


def test_inputs_are_pooled_over_their_frames(tmp_path: Path):
    records = [*both_arms(name="a"), *both_arms(name="b"), record(47, name="b")]
    library = open_library([store(tmp_path / "s", *records)])
    together, first, second = datasets(library)
    assert (together.name, first.name, second.name) == ("all 2 inputs", "a", "b")
    runs = next(runs for series, runs in together.curves.items() if series.plain)
    assert [run.record.frames for run in runs] == [4] * 4 and runs[0].record.bits == 2 * record(22).bits
    assert runs[0].record.scores["net"]["agreement"] == pytest.approx(record(22).scores["net"]["agreement"])
    assert together.notes and together.notes[0].startswith("1 rate points")


def test_two_stores_join_and_arms_of_one_name_are_told_apart(tmp_path: Path):
    strong = [dataclasses.replace(r, config={**r.config, "map": {**r.config["map"], "strength": 2.0}}, key=r.key + "s")
              for r in both_arms()[4:]]  # fmt: skip
    library = open_library([store(tmp_path / "a", *both_arms()), store(tmp_path / "b", *strong)])
    assert [series.label for series in library.series] == [
        "x265 PSNR-RDO",
        "x265 map:learned (strength 1.0)",
        "x265 map:learned (strength 2.0)",
    ]


def test_neutral_arms_are_a_note(tmp_path: Path):
    twins = [dataclasses.replace(r, key=r.key + "n", config={**r.config, "neutral": True}) for r in both_arms()[:4]]
    text = make([store(tmp_path / "s", *both_arms(), *twins)], tmp_path / "out")
    words = " ".join(" ".join(Page(text).words).split())
    assert "with nothing to tell, the hooked x265 made streams of the plain encoder" in words
    assert "neutral" not in [s["arm"] for s in json.loads(Page(text).json["data"])["series"]]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [("absent", "no such store"), ("empty", "holds no results.jsonl"), ("blank", "holds no record"), ("bad", "failed")],
)
def test_stores_that_hold_nothing(wrong: str, says: str, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "blank").mkdir()
    (tmp_path / "blank" / "results.jsonl").touch()
    store(tmp_path / "bad", record(22, status="error", error={"type": "X", "message": "y"}))
    with pytest.raises(StoreError, match=says):
        make([tmp_path / wrong], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_outputs_that_cannot_be(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file"):
        page_path(tmp_path / "file")
    with pytest.raises(OutputError, match="does not exist"):
        page_path(tmp_path / "no" / "such" / "folder")
    assert page_path(tmp_path / "one.html") == tmp_path / "one.html"
    with pytest.raises(ConfigError, match=r"--anchor vtm.*x265"):
        make([store(tmp_path / "s", *both_arms())], tmp_path / "out", anchor="vtm")


def test_streams_that_were_not_kept_are_a_note(tmp_path: Path):
    page = Page(make([store(tmp_path / "s", *both_arms())], tmp_path / "out"))
    assert page.json["gallery"] == "null"
    assert "There are no pictures in this report." in " ".join(page.words)


def test_frames_are_spread_over_inputs_or_over_time():
    def inputs(count: int, frames: int) -> dict[str, dict[str, int]]:
        return {str(k): {"width": 8, "height": 8, "frames": frames} for k in range(count)}

    assert [shot.index for shot in choose_shots(inputs(1, 100), 4)] == [12, 37, 62, 87]
    assert [(shot.digest, shot.index) for shot in choose_shots(inputs(10, 1), 2)] == [("2", 0), ("7", 0)]
    assert len(choose_shots(inputs(3, 9), 4)) == 4 and len(choose_shots(inputs(1, 2), 9)) == 2
    assert choose_shots({"x": {}}, 4) == []


def test_mean_psnr_is_that_of_the_mean_error():
    assert mean_psnr([30.0, 30.0]) == pytest.approx(30.0)
    assert mean_psnr([20.0, np.inf]) == pytest.approx(20 + 10 * np.log10(2))
    assert mean_psnr([np.inf]) == np.inf


CONFIGS = [
    CodingConfig(qp=32),
    CodingConfig(codec="x264", preset="fast", gop="lowdelay", crf=23.5),
    CodingConfig(bitrate=1_234_567, scale=0.75, bit_depth=10, gray=True, extra=("--no-sao", "--rd", "4")),
    CodingConfig(codec="jpeg", preset="none", qp=10),
    CodingConfig(qp=37, rdo="map", map=MapConfig("kl", 0.5, 0.1, 2.0, 6.0, 16, True, False, 4, 3)),
    CodingConfig(
        qp=37,
        rdo="map+ctu",
        map=MapConfig("learned"),
        ctu=CandidateConfig(
            (Candidate(-3.0), Candidate(0.0, 0.8, 16, True)),
            "task",
            32,
            splits=32,
            share=0.5,
            guard=3.0,
            judge_all=True,
        ),
    ),
    CodingConfig(qp=37, rdo="ctu", ctu=CandidateConfig(metric="sse", internal=True)),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.codec}-{config.rdo}")
def test_the_line_codes_what_the_configuration_says(config: CodingConfig):
    import shlex

    words = shlex.split(encode_line(config, "my clip.y4m"))
    assert words[:3] == ["mrdo", "encode", "my clip.y4m"]
    with encode_command.make_context("encode", words[2:]) as context:
        assert coding_config(single_choice(context.params, is_given)) == config


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A store of real streams, JPEG with and without a map, and the video it is of."""
    from sweeps.commands.compare import command as compare_command

    folder = tmp_path_factory.mktemp("coded")
    clip = folder / "scene.y4m"
    write_video(SceneSource(SceneConfig(112, 80, 3, Fraction(25), seed=4)), clip)
    args = [str(clip), "--codec", "jpeg", "--qps", "10,30,60,85", "--bootstrap", "10", "-o", str(folder / "store")]
    done = CliRunner().invoke(compare_command, [*args, "--no-neutral", "--json"])
    assert done.exit_code == 0, done.output
    return folder / "store", clip


def report(*args: object) -> list[dict[str, object]]:
    done = CliRunner().invoke(report_command, [*map(str, args), "--bootstrap", "10", "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def gallery_of(path: Path) -> dict[str, dict[str, dict[str, object]]]:
    gallery: dict[str, dict[str, dict[str, object]]] = json.loads(Page(path.read_text()).json["gallery"])
    return gallery


def test_pictures_labels_and_maps_are_those_of_the_streams(coded: tuple[Path, Path], tmp_path: Path):
    folder, clip = coded
    (result,) = report(folder, "-o", tmp_path / "r.html", "--original", clip, "--frames", 2)
    assert result["streams_shown"] == 8 and result["frames_shown"] == 2
    gallery = gallery_of(tmp_path / "r.html")
    machine = next(k for k, stream in enumerate(gallery["streams"]) if not stream["plain"])  # type: ignore[index]
    view = gallery["views"][f"{machine}|0"]
    data = base64.b64decode(str(view["picture"]).partition(",")[2])
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape == (80, 112, 3)
    (labels,) = view["labels"].values()  # type: ignore[attr-defined]
    assert len(zlib.decompress(base64.b64decode(labels))) == 112 * 80
    assert np.shape(view["qp"]["rows"]) == (5, 7) and np.shape(view["weight"]["rows"]) == (5, 7)  # type: ignore[index]
    assert view["difference"] and 0 < view["agreement"]["segmentation"] <= 1  # type: ignore[index,operator]
    plain = next(k for k, stream in enumerate(gallery["streams"]) if stream["plain"])  # type: ignore[index]
    assert "qp" not in gallery["views"][f"{plain}|0"]
    assert "as saved beside the streams" in (tmp_path / "r.html").read_text()


def test_maps_are_computed_again_where_they_were_not_kept(coded: tuple[Path, Path], tmp_path: Path):
    import shutil

    folder, clip = coded
    copy = shutil.copytree(folder, tmp_path / "copy")
    shutil.rmtree(copy / "maps")
    before = sorted(path.name for path in copy.rglob("*"))
    report(folder, "-o", tmp_path / "a.html", "--original", clip, "--frames", 1)
    report(copy, "-o", tmp_path / "b.html", "--original", clip, "--frames", 1)
    kept, again = gallery_of(tmp_path / "a.html"), gallery_of(tmp_path / "b.html")
    grids = [[v["qp"]["rows"] for v in g["views"].values() if "qp" in v] for g in (kept, again)]  # type: ignore[index]
    assert grids[0] == grids[1] and len(grids[0]) == 4
    assert "computed again for this page" in (tmp_path / "b.html").read_text()
    assert sorted(path.name for path in copy.rglob("*")) == before


def test_without_the_original_there_are_pictures_but_no_differences(coded: tuple[Path, Path], tmp_path: Path):
    report(coded[0], "-o", tmp_path / "r.html", "--frames", 1)
    gallery = gallery_of(tmp_path / "r.html")
    assert gallery["shots"][0]["picture"] is None  # type: ignore[index]
    assert all(view["difference"] is None and view["picture"] for view in gallery["views"].values())
    assert "no original of scene.y4m" in (tmp_path / "r.html").read_text()


def test_another_video_is_not_taken_for_the_original(coded: tuple[Path, Path], tmp_path: Path):
    other = tmp_path / "other.y4m"
    write_video(SceneSource(SceneConfig(112, 80, 3, Fraction(25), seed=5)), other)
    done = CliRunner().invoke(report_command, [str(coded[0]), "-o", str(tmp_path / "r.html"), "--original", str(other)])
    assert done.exit_code == 0 and "its samples are none of those that were coded" in done.stderr


@pytest.mark.parametrize("budget", [0.1, 12])
def test_the_budget_holds(budget: float, coded: tuple[Path, Path], tmp_path: Path):
    folder, clip = coded
    report(folder, "-o", tmp_path / "r.html", "--original", clip, "--frames", 3, "--budget", budget)
    text = (tmp_path / "r.html").read_text()
    pictures = sum(map(len, re.findall(r'"(data:image/webp;base64,[^"]+)"', text)))
    assert 0 < pictures <= budget * 1e6
    assert ("streams are not shown" in text) == (len(gallery_of(tmp_path / "r.html")["streams"]) < 8)


def test_a_broken_stream_is_a_note(coded: tuple[Path, Path], tmp_path: Path):
    import shutil

    copy = shutil.copytree(coded[0], tmp_path / "copy")
    stream = next((copy / "streams").glob("*.mjpeg"))
    stream.write_bytes(b"nonsense")
    (result,) = report(copy, "-o", tmp_path / "r.html", "--frames", 1)
    assert result["streams_shown"] == 7 and "not shown:" in (tmp_path / "r.html").read_text()


def test_no_pictures_when_none_are_wanted(coded: tuple[Path, Path], tmp_path: Path):
    (result,) = report(coded[0], "-o", tmp_path / "r.html", "--frames", 0)
    assert result["streams_shown"] == 0 and result["bytes"] < 200_000  # type: ignore[operator]
    assert GalleryOptions().frames == 4 and Library([]).networks == {}
