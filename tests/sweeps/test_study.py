"""``mrdo metrics correlate`` and what it is made of."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from encoder_bridge.config import RunOptions
from encoder_bridge.console import Reporter
from encoder_bridge.errors import BridgeError, ConfigError, MetricInputError, ModelError
from models import default_model_path
from models.model_set import Configuration, SetModel, write_index
from models.task_model import TaskModel
from rdo_metrics.block_sampling import Block
from rdo_metrics.candidates.base import Networks
from sweeps.anchors.clip import embedded_clip
from sweeps.coding import Coder
from sweeps.commands.metrics_correlate import command
from sweeps.labels import OwnLabels
from sweeps.study.catalogue import Catalogue
from sweeps.study.coded import CodedPictures, EveryNth
from sweeps.study.measures import MapMeasure
from sweeps.study.plan import configurations, label
from sweeps.study.recorded import is_recorded, read_recorded
from sweeps.study.samples import Answers
from sweeps.study.scores import Scorer
from sweeps.study.study import Request, run_study
from sweeps.study.table import Bootstrap, finding, markdown
from sweeps.study.views import View, choice
from sweeps.workspace import Workspace

EXCERPT = Path(__file__).parents[1] / "rdo_metrics" / "data" / "qomex2023_excerpt.json"
CODED = ["embedded", "--frames", "2", "--codecs", "jpeg", "--qualities", "3,10,60", "--scales", "0.5,1"]
QUICK = [*CODED, "--side", "16,32", "--count", "60", "--bootstrap", "20"]


@pytest.fixture(scope="module")
def driver() -> TaskModel:
    return TaskModel(default_model_path(), threads=1)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def made(workspace: Path) -> CodedPictures:
    clip = embedded_clip(3)
    coder = Coder(Workspace(workspace), RunOptions(threads=1), Reporter())
    configs = configurations(["jpeg"], (0.5, 1.0), qualities=(3, 12, 70))
    return CodedPictures(clip, configs, coder, OwnLabels(clip))


def view_of(made: CodedPictures, picture: int, index: int) -> View:
    return View(picture, made.configs[index], 1.0, made.originals()[picture], made.picture(index, picture))


def test_the_default_configurations_are_those_of_table_i():
    found = configurations()
    assert len(found) == 88 and len(set(map(label, found))) == 88
    assert {c.scale for c in found} == {0.25, 0.5, 0.75, 1.0} and {c.gop for c in found} == {"intra"}
    assert [c.qp for c in found if c.codec == "x265" and c.scale == 1] == list(range(0, 51, 5))
    assert [c.qp for c in found if c.codec == "jpeg"][:11] == [5, 7, 10, 15, 20, 25, 30, 35, 50, 70, 90]
    assert {c.preset for c in found if c.codec == "x265"} == {"slow"}
    assert configurations(["vvenc"], [1.0], qps=[32])[0].preset == "fast"


@pytest.mark.parametrize(
    "wrong",
    [{"codecs": ["x999"]}, {"codecs": []}, {"qps": [99]}, {"qualities": [0]}, {"scales": [1.5]}, {"scales": []}],
)
def test_configurations_that_cannot_be_are_refused(wrong: dict[str, Any]):
    with pytest.raises(ConfigError):
        configurations(**wrong)


def test_every_nth_picture_keeps_its_samples_and_gets_a_name_of_its_own():
    clip = embedded_clip(5)
    some = EveryNth(clip, 2)
    frames = list(some)
    assert [frame.index for frame in frames] == [0, 1, 2] and some.frame_count == 3
    np.testing.assert_array_equal(frames[2].planes[0], list(clip)[4].planes[0])
    assert some.digest() != clip.digest() == EveryNth(clip, 1).digest()
    with pytest.raises(ConfigError):
        EveryNth(clip, 0)


def test_windows_are_of_one_size_and_show_the_coded_surroundings(made: CodedPictures):
    view = view_of(made, 0, 1)
    frame = view.frame(Networks())
    height, width = view.size
    shapes = set()
    for x, y in [(0, 0), (13, 7), (width - 32, height - 32), (101, 55)]:
        found = choice(frame, Block(0, 1, x, y, 32, 0.5), 16)
        shapes.add((found.window.width, found.window.height))
        inside = found.place
        assert 0 <= inside.x <= found.window.width - 32 and 0 <= inside.y <= found.window.height - 32
        assert found.window.x + found.window.width <= width and found.window.y + found.window.height <= height
        np.testing.assert_array_equal(found.windows_rgb()[0], view.coded[found.window.luma])
        np.testing.assert_array_equal(found.original_rgb(), view.original[found.window.luma])
    assert shapes == {(72, 72)}


def test_pictures_are_decoded_at_the_size_of_the_originals(made: CodedPictures):
    errors = []
    for index in range(len(made.configs)):
        pictures = made.pictures(index)
        assert pictures.shape == made.originals().shape and pictures.dtype == np.uint8
        errors.append(float(np.square(pictures.astype(float) - made.originals()).mean()))
    # jpeg 3, 12, 70 at half size, then at full size
    assert errors[0] > errors[1] > errors[2] and errors[3] > errors[4] > errors[5] and errors[5] < errors[2]


def test_accuracies_are_those_of_the_networks_labels(made: CodedPictures, driver: TaskModel):
    answers = Answers(made, driver)
    sample = answers.image_sample()
    assert len(sample.accuracy) == 18 and sample.level == "image"
    index = int(np.flatnonzero((sample.picture == 2) & (sample.configuration == 4))[0])
    coded = driver.labels(made.picture(4, 2))[0]
    assert sample.accuracy[index] == pytest.approx((coded == driver.labels(made.originals()[2])[0]).mean())
    truth = made.truth_labels()
    against = Answers(made, driver, "labels").image_sample()
    known = truth[2] < len(driver.classes)
    assert against.accuracy[index] == pytest.approx((coded == truth[2])[known].mean())
    assert len(answers.image_sample(2).accuracy) == 12


def test_blocks_have_no_unlabelled_pixel_and_their_own_accuracy(made: CodedPictures, driver: TaskModel):
    answers = Answers(made, driver)
    sample = answers.block_sample(16, 80, seed=2)
    assert sum(sample.bins()) == 80 and len(sample.blocks) == 80
    for block, accuracy in zip(sample.blocks, sample.accuracy, strict=True):
        assert answers.agreement(block.picture, block.configuration)[block.place].mean() == pytest.approx(accuracy)
        assert answers.known(block.picture)[block.place].all()
    assert np.mean([block.accuracy for block in answers.random_blocks(16, 80)]) > np.mean(sample.accuracy)


def test_an_oracle_correlates_perfectly_and_beats_every_quality_metric(
    made: CodedPictures, driver: TaskModel, tmp_path: Path
):
    pytest.importorskip("piq")
    pseudo = made.pseudo(driver)

    def wrong(view: View) -> Any:
        seen = driver.labels(view.coded)[0]
        return (seen != pseudo[view.picture]).astype(np.float32)

    measures = [*Catalogue(driver).chosen(["psnr", "qp"]), MapMeasure("oracle", wrong, "oracle", "machine")]
    request = Request(sides=(16, 32), count=80, bootstrap=Bootstrap(n=30))
    study = run_study(made, [driver], measures, request, tmp_path)
    rows = {(row.level, row.metric): row for row in study.rows}
    for level in ("image", "16", "32"):
        assert rows[level, "oracle"].found.srocc == pytest.approx(1, abs=1e-6), level
        assert rows[level, "oracle"].found.count == (18 if level == "image" else 80)
    assert rows["16", "oracle"].over_best == pytest.approx(1 - rows["16", "psnr"].found.srocc)
    assert (rows["16", "oracle"].over_best_interval or (0, 0))[0] > 0
    assert rows["16", "psnr"].over_best == 0
    lines = finding(study.rows, driver.name)
    assert len(lines) == 3 and "above it: oracle 1.000" in lines[1]
    assert markdown(study.rows, driver.name).count("\n") == 4
    kept = json.loads((tmp_path / "table.json").read_text())
    assert len(kept["rows"]) == 9 and kept["published_best"]["128"]["srocc"] == 0.3276
    assert [sum(s["accuracy_bins"]) for s in kept["samples"]] == [18, 80, 80]
    with np.load(tmp_path / f"values-{driver.name}-32.npz") as values:
        np.testing.assert_array_equal(values["metric oracle"], study.sample(driver.name, 32).values["oracle"])


def test_a_set_of_networks_answers_with_that_of_the_configuration(
    made: CodedPictures, driver: TaskModel, tmp_path: Path
):
    shutil.copy(default_model_path(), tmp_path / "a.onnx")
    write_index(
        tmp_path,
        {Configuration(): "a.onnx", **{Configuration("jpeg", 12.0, scale): "a.onnx" for scale in (0.5, 1.0)}},
    )
    member = SetModel(tmp_path)
    made.check([member])
    np.testing.assert_array_equal(
        Answers(made, member).image_sample().accuracy, Answers(made, driver).image_sample().accuracy
    )
    write_index(tmp_path, {Configuration(): "a.onnx", Configuration("jpeg", 12.0, 1.0): "a.onnx"})
    with pytest.raises(ConfigError, match=r"no network for jpeg_q3_s0\.5"):
        made.check([SetModel(tmp_path)])


def test_values_are_kept_and_only_what_is_missing_is_measured(made: CodedPictures, driver: TaskModel, tmp_path: Path):
    asked: list[int] = []

    def counted(view: View) -> Any:
        asked.append(view.picture)
        return view.squared_error

    def filled(identity: str) -> dict[str, np.ndarray]:
        sample = Answers(made, driver).block_sample(16, 40)
        Scorer(made, tmp_path).fill([sample], [MapMeasure("error", counted, identity, "machine")])
        return sample.values

    first = filled("one")
    before, asked[:] = len(asked), []
    np.testing.assert_array_equal(filled("one")["error"], first["error"])
    assert before > 0 and asked == []
    next(iter(tmp_path.glob("*.npy"))).unlink()
    np.testing.assert_array_equal(filled("one")["error"], first["error"])
    assert 0 < len(asked) < before
    filled("another")
    assert len(asked) > before


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments))


def events(*arguments: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(command, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_the_command_writes_table_and_pictures_and_repeats_nothing(tmp_path: Path):
    pytest.importorskip("piq")
    chosen = ["--metric", "psnr,ms-ssim,learned-picture,map-learned,qp", "-o", str(tmp_path)]
    rows = events(*QUICK, *chosen)
    found = {(row["level"], row["metric"]): row for row in rows if row["event"] == "correlation"}
    assert len(found) == 15 and rows[-1]["event"] == "result"
    assert all(0 <= row["srocc"] <= 1 for row in found.values() if row["metric"] != "ms-ssim")
    assert found["16", "ms-ssim"]["srocc"] is None and found["16", "ms-ssim"]["srocc_ci"] is None
    assert found["image", "ms-ssim"]["srocc"] > 0.3
    assert found["32", "learned-picture"]["srocc"] > found["32", "psnr"]["srocc"]
    for name in ("densities", "histograms", "examples", "scatter"):
        picture = cv2.imread(str(tmp_path / f"{name}.png"))
        assert picture is not None and picture.shape[1] > 600 and picture.std() > 10
    kept = [*(tmp_path / "streams").iterdir(), *(tmp_path / "labels").iterdir(), *(tmp_path / "scores").iterdir()]
    times = {path: path.stat().st_mtime_ns for path in kept}
    assert len(times) > 20
    (tmp_path / "table.json").unlink()
    again = events(*QUICK, *chosen, "--no-figures")
    assert [row for row in again if row["event"] == "correlation"] == [
        row for row in rows if row["event"] == "correlation"
    ]
    assert {path: path.stat().st_mtime_ns for path in kept} == times and (tmp_path / "table.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--metric", "psnrr"], "unknown metric 'psnrr'"),
        (["--codecs", "x999"], "unknown encoder 'x999'"),
        (["--qualities", "3,900", "--metric", "qp"], "quality 900 outside"),
        (["--labels", "nowhere", "--metric", "qp"], "nowhere"),
        (["--metric", "qp", "--together", "50"], "50 pictures drawn together"),
    ],
)
def test_what_cannot_be_studied_is_said_in_a_line(arguments: list[str], message: str, tmp_path: Path):
    result = run(*QUICK, *arguments, "-o", str(tmp_path / "out"))
    assert isinstance(result.exception, BridgeError), result.exception
    assert message in str(result.exception)
    assert not (tmp_path / "out" / "table.json").exists()


@pytest.mark.parametrize(("side", "said"), [("0,32", "at least 1"), ("2", "at least 4"), ("400", "at most 288")])
def test_sides_of_blocks_are_refused_before_a_network_is_opened(side: str, said: str, tmp_path: Path):
    result = run(*CODED, "--side", side, "--model", "nowhere.onnx", "-o", str(tmp_path / "out"))
    assert said in str(result.exception) + result.output
    assert list(tmp_path.iterdir()) == []


def test_missing_labels_are_refused_before_anything_is_coded(tmp_path: Path, driver: TaskModel):
    clip = embedded_clip(2)
    coder = Coder(Workspace(tmp_path), RunOptions(threads=1), Reporter())
    unlabelled = CodedPictures(clip, configurations(["jpeg"], (1.0,), qualities=(12,)), coder, None)
    with pytest.raises(ConfigError, match="--labels DIR"):
        run_study(unlabelled, [driver], [], Request((16,), 60, "labels"), tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_labels_must_fit_the_pictures(made: CodedPictures, driver: TaskModel):
    bare = CodedPictures(made.source, made.configs, made.coder)
    with pytest.raises(ConfigError, match="give --labels"):
        Answers(bare, driver, "labels")
    with pytest.raises(ConfigError, match="2 label images"):
        CodedPictures(made.source, made.configs, made.coder, made.truth, step=2).truth_labels()
    assert Answers(bare, driver).population().labelled is None


def test_machine_metrics_need_logits(tmp_path: Path, driver: TaskModel):
    with pytest.raises((ModelError, ConfigError)):
        Catalogue(driver).make(str(tmp_path / "absent.onnx"))
    assert {"psnr", "attribution", "kl", "learned", "features", "dct-ratio", "fisher", "qp"} <= set(
        Catalogue(driver).names()
    )


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """The excerpt in the files of the data set."""
    for side, found in json.loads(EXCERPT.read_text())["sizes"].items():
        columns = {name: [math.nan if v is None else v for v in column] for name, column in found["scores"].items()}
        rows = {str(i): {name: column[i] for name, column in columns.items()} for i in range(len(columns["acc"]))}
        (tmp_path / f"{side}x{side}_metrics.json").write_text(json.dumps(rows))
        numbers = {
            name: {"PLCC": math.nan, "SROC": math.nan, "KROCC": math.nan}
            if values[0] is None
            else dict(zip(("PLCC", "SROC", "KROCC"), ([-v, 0.5] for v in values), strict=True))
            for name, values in found["correlations"].items()
        }
        (tmp_path / f"{side}x{side}_correlation.json").write_text(json.dumps(numbers))
    return tmp_path


def test_recorded_scores_are_correlated_as_they_are(recorded: Path, tmp_path: Path):
    assert is_recorded(recorded) and not is_recorded(EXCERPT.parent)
    rows = events(str(recorded), "--bootstrap", "10", "-o", str(tmp_path / "out"))
    assert sum(row["event"] == "correlation" for row in rows) == 36
    assert rows[-1]["largest_difference"] < 1e-8
    assert next(r["srocc"] for r in rows if r.get("metric") == "MS_SSIM") is None


def test_damaged_records_are_an_error(recorded: Path):
    (recorded / "32x32_correlation.json").write_text('{"PSNR": 3}')
    with pytest.raises(MetricInputError, match="expected SROC"):
        read_recorded(recorded)
    (recorded / "32x32_metrics.json").write_text('{"0": {"acc": 1}, "1": {"PSNR": 2}}')
    with pytest.raises(MetricInputError, match="32x32_metrics"):
        read_recorded(recorded)
    (recorded / "32x32_metrics.json").write_text("[")
    with pytest.raises(MetricInputError, match="JSON"):
        read_recorded(recorded)


def test_the_published_table_comes_out_of_the_command(camvid: Path, tmp_path: Path):
    folder = camvid.parent / "qomex2023"
    if not folder.is_dir():
        pytest.skip("the blocks of QoMEX 2023 are not here")
    rows = events(str(folder), "--bootstrap", "10", "-o", str(tmp_path))
    assert rows[-1]["largest_difference"] < 1e-12
