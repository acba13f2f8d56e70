"""A metric that misbehaves, in a package or a network, ends `mrdo encode` with one clear line and leaves nothing."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import pytest

from encoder_bridge.decode import write_video
from encoder_bridge.encoder import BuildInfo
from models import default_model_path
from models.scenes import SceneConfig, SceneSource

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnx.parser")

PLACE = r"frame [01], CTU at \d+,\d+ \(\d+x\d+\)"
THEIRS = {".ses"}
"""What ONNX Runtime writes into the system's temporary folder when it is imported."""
PACKAGE = '''
"""Squared error, and in one place something else."""
import os, sys, time
import numpy as np
from rdo_metrics.candidates import sse

WRONG = {
    "nan": lambda right: right * np.nan,
    "one too few": lambda right: right[:-1],
    "one for all": lambda right: right.sum(),
    "words": lambda right: ["good", "bad"],
    "none": lambda right: None,
    "throw": lambda right: {}["layer4"],
    "exit": lambda right: (_ for _ in ()).throw(SystemExit(0)),
    "lines": lambda right: (_ for _ in ()).throw(ValueError("first line\\nsecond line")),
    "stall": lambda right: time.sleep(3600),
}
where, _, how = os.environ["WRONG"].partition(":")

def wrong(right):
    print("wrong at", time.time(), file=sys.stderr, flush=True)
    return WRONG[how](right)

if where == "import":
    wrong(np.zeros(2))

class Metric(sse.SseMetric):
    context = 8

    def __init__(self):
        if where == "new":
            wrong(np.zeros(2))

    def distortions(self, batch):
        right = super().distortions(batch)
        if where == "batch":
            return wrong(right)
        return [wrong(a) if where == "choice" and c.frame.index else a for c, a in zip(batch, right)]

    def picture(self, frame):
        right = super().picture(frame)
        return wrong(right) if where == "picture" and frame.index else right
'''


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "scene.y4m"
    write_video(SceneSource(SceneConfig(160, 96, 4, Fraction(25), seed=4)), path)
    return path


@dataclass
class Run:
    """`mrdo encode` in a world of its own: every folder it may leave something in is empty before."""

    folder: Path
    clip: Path

    def __post_init__(self) -> None:
        for name in ("out", "work", "tmp"):
            (self.folder / name).mkdir()

    def start(self, *args: object, **env: object) -> subprocess.Popen[str]:
        words = ("encode", self.clip, "-o", self.folder / "out" / "a.mp4", "--workdir", self.folder / "work")
        fast = ("--qp", 34, "--preset", "superfast", "--matrix", "bt601", "--rdo", "ctu")
        command = [sys.executable, "-m", "sweeps.cli", *map(str, (*words, *fast, *args))]
        world = {**os.environ, "TMPDIR": str(self.folder / "tmp"), **{k: str(v) for k, v in env.items()}}
        return subprocess.Popen(command, env=world, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def fails(self, *args: object, code: int = 1, within: float = 10, **env: object) -> str:
        """The one error line of a run, which must leave nothing behind."""
        return self.failed(self.start(*args, **env), code, within)

    def failed(self, process: subprocess.Popen[str], code: int, within: float) -> str:
        """As ``fails``; the limit is in seconds from the fault on, for this machine may be slow to get there."""
        try:
            stdout, stderr = process.communicate(timeout=120)
        finally:
            process.kill()
        ended = time.time()
        assert (process.returncode, stdout) == (code, ""), stderr
        assert "Traceback" not in stderr and "a bug in machine-rdo" not in stderr, stderr
        errors = [line for line in stderr.splitlines() if line.lower().startswith("error")]
        assert len(errors) == 1 and stderr.rstrip().endswith(errors[0]), stderr
        faults = [float(line.split()[-1]) for line in stderr.splitlines() if line.startswith("wrong at")]
        assert not faults or ended - faults[0] < within
        self.assert_nothing_left()
        return errors[0].removeprefix("error: ")

    def assert_nothing_left(self) -> None:
        left = [path for name in ("out", "work", "tmp") for path in (self.folder / name).iterdir()]
        assert [path for path in left if path.name not in THEIRS] == []
        assert self.encoders() == []

    def encoders(self) -> list[int]:
        """Processes that run in this world and encode."""
        mine, found = f"TMPDIR={self.folder / 'tmp'}\0".encode(), []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mine in (path / "environ").read_bytes() and b"--input" in (path / "cmdline").read_bytes():
                    found.append(int(path.name))
        return found


@pytest.fixture
def run(tmp_path: Path, clip: Path, x265_hooked: BuildInfo) -> Run:
    return Run(tmp_path, clip)


@pytest.fixture
def odd(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """ "place:fault" -> environment in which an installed package offers the metric ``odd``."""
    site = tmp_path / "site"
    info = site / "odd_metrics-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "odd_metrics.py").write_text(PACKAGE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd-metrics\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[machine_rdo.candidate_metrics]\nodd = odd_metrics:Metric\n")
    return lambda wrong: {"PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]), "WRONG": wrong}


ODD = ("--metric", "odd")


def test_a_metric_of_another_package_is_found(run: Run, odd: Callable[[str], dict[str, str]]):
    process = run.start(*ODD, **odd("nowhere:nan"))
    assert process.communicate(timeout=120) and process.returncode == 0
    assert [path.name for path in (run.folder / "out").iterdir()] == ["a.mp4"]


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("nan", "nan"),
        ("one too few", "expected as many"),
        ("one for all", "expected as many"),
        ("words", "ValueError"),
        ("throw", "KeyError: 'layer4'"),
        ("exit", "SystemExit"),
        ("lines", "first line | second line"),
    ],
)
def test_wrong_answer(how: str, says: str, run: Run, odd: Callable[[str], dict[str, str]]):
    error = run.fails(*ODD, **odd(f"choice:{how}"))
    assert re.match(rf"PluginError: .*{PLACE}", error) and says in error


@pytest.mark.parametrize("how", ["nan", "one too few", "throw"])
def test_wrong_answer_beside_a_map(how: str, run: Run, odd: Callable[[str], dict[str, str]]):
    error = run.fails(*ODD, "--rdo", "map+ctu", "--map-interval", 4, **odd(f"choice:{how}"))
    assert re.match(rf"PluginError: .*{PLACE}", error)


@pytest.mark.parametrize(("how", "says"), [("one too few", "answered"), ("none", "TypeError")])
def test_wrong_number_of_answers(how: str, says: str, run: Run, odd: Callable[[str], dict[str, str]]):
    error = run.fails(*ODD, **odd(f"batch:{how}"))
    assert re.match(rf"PluginError: .*{PLACE}", error) and says in error


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("nan", "nan"),
        ("words", "TypeError"),
        ("throw", "layer4"),
        ("exit", "SystemExit"),
    ],
)
def test_wrong_distortion_of_a_picture(how: str, says: str, run: Run, odd: Callable[[str], dict[str, str]]):
    error = run.fails(*ODD, **odd(f"picture:{how}"))
    assert re.match(r"PluginError: .*frame 1\b", error) and says in error


@pytest.mark.parametrize("place", ["import", "new"])
@pytest.mark.parametrize("how", ["throw", "exit"])
def test_a_metric_that_cannot_be_made(place: str, how: str, run: Run, odd: Callable[[str], dict[str, str]]):
    error = run.fails(*ODD, **odd(f"{place}:{how}"))
    assert "odd" in error and ("layer4" if how == "throw" else "SystemExit") in error


def test_a_broken_package_does_not_hurt_who_does_not_use_it(run: Run, odd: Callable[[str], dict[str, str]]):
    process = run.start("--metric", "ssim", **odd("import:throw"))
    assert process.communicate(timeout=120) and process.returncode == 0


@pytest.mark.parametrize(("place", "rdo"), [("choice", "ctu"), ("choice", "map+ctu"), ("picture", "ctu")])
def test_stall(place: str, rdo: str, run: Run, odd: Callable[[str], dict[str, str]]):
    error = run.fails(*ODD, "--rdo", rdo, "--timeout", 3, within=3 + 5, **odd(f"{place}:stall"))
    assert re.match(rf"PluginError: .*{PLACE if place == 'choice' else 'frame 1'}", error) and "3." in error


@pytest.mark.parametrize("place", ["choice", "picture"])
def test_interrupt_while_a_metric_stalls(place: str, run: Run, odd: Callable[[str], dict[str, str]]):
    process = run.start(*ODD, **odd(f"{place}:stall"))
    assert process.stderr is not None
    while not process.stderr.readline().startswith("wrong at"):
        assert process.poll() is None
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert run.failed(process, 130, 10).startswith("Interrupted")
    assert time.monotonic() - began < 10


BLOCK = {
    "right": "loss = ReduceMean <axes = [1, 2, 3], keepdims = 0> (square)",
    "nan": """
        none = Sub (square, square)  nan = Div (none, none)  loss = ReduceMean <axes = [1, 2, 3], keepdims = 0> (nan)
    """,
    "a number a channel": "loss = ReduceMean <axes = [2, 3], keepdims = 0> (square)",
    "a number for all": "loss = ReduceMean <axes = [0, 1, 2, 3], keepdims = 0> (square)",
    "a fixed reshape": "shape = Constant <value_ints = [7, 11]> ()  loss = Reshape (square, shape)",
    # Five candidates: 0 / 0 for them, 1 / 1 for the six tiles of a picture.
    "nan for candidates": """
        shape = Shape <start = 0, end = 1> (square)  five = Constant <value_ints = [5]> ()  rest = Mod (shape, five)
        zero = Constant <value_ints = [0]> ()  other = Greater (rest, zero)  one = Cast <to = 1> (other)
        bad = Div (one, one)  mean = ReduceMean <axes = [1, 2, 3], keepdims = 0> (square)  loss = Mul (mean, bad)
    """,
    "one image": "loss = Sub (square, difference)",
    "one image, nan": "none = Sub (square, square)  loss = Div (none, none)",
    "one image, no map": "loss = ReduceMean <axes = [1, 2, 3], keepdims = 0> (square)",
}
FIVE = ("--candidates", "0,-1,+1,0x0.8,0x1.2", "--metric-context", 0)


def network(path: Path, body: str, images: int, stated: bool = True) -> Path:
    """A network of one or two images, that begins with the square of their difference."""
    kind = onnx.TensorProto.FLOAT
    names = ["original", "coded", "third"][:images]
    head = ", ".join(f"float[N, 3, H, W] {name}" for name in names)
    first, second = (names * 2)[:2]
    text = f"""<ir_version: 8, opset_import: ["" : 17]> metric ({head}) => (float loss) {{
        difference = Sub ({first}, {second})  square = Mul (difference, difference)  {body} }}"""
    model = onnx.parser.parse_model(text)
    loss = onnx.helper.make_tensor_value_info("loss", kind, ["N", 3, "H", "W"] if "Reduce" not in body else ["N"])
    model.graph.output[0].CopyFrom(loss)
    told = {"layout": "NCHW", "color": "RGB", "range": "0..255", "mean": "0,0,0", "std": "1,1,1"} if stated else {}
    onnx.helper.set_model_props(model, {f"mrdo.{name}": value for name, value in told.items()})
    onnx.save(model, str(path))
    return path


def test_a_network_of_this_make_judges(run: Run):
    path = network(run.folder / "metric.onnx", BLOCK["right"], 2)
    process = run.start("--metric", path, *FIVE)
    assert process.communicate(timeout=120) and process.returncode == 0


@pytest.mark.parametrize(
    ("how", "images", "says"),
    [
        ("nan", 2, r"PluginError: .*frame 0\b.*metric.onnx: gives NaN"),
        ("nan for candidates", 2, rf"PluginError: .*{PLACE}.*metric.onnx: gives NaN"),
        (
            "a number a channel",
            2,
            r"PluginError: .*frame 0\b.*metric.onnx: output of shape \(6, 3\); expected one number",
        ),
        ("a number for all", 2, r"PluginError: .*frame 0\b.*metric.onnx: output of shape .*; expected one number"),
        ("a fixed reshape", 2, r"PluginError: .*frame 0\b.*metric.onnx: failed on inputs of shape"),
        ("one image, nan", 1, r"PluginError: .*frame 0\b.*metric.onnx: gives NaN"),
        ("one image, no map", 1, r"ModelError: .*metric.onnx: no feature map"),
        ("right", 3, r"MetricInputError: .*metric.onnx: 3 inputs"),
    ],
    ids=lambda value: value if value in BLOCK else "",
)
def test_wrong_network(how: str, images: int, says: str, run: Run):
    assert re.match(says, run.fails("--metric", network(run.folder / "metric.onnx", BLOCK[how], images), *FIVE))


def test_network_that_does_not_state_its_input(run: Run):
    path = network(run.folder / "metric.onnx", BLOCK["right"], 2, stated=False)
    assert re.match(r"ModelError: .*metric.onnx: the file does not state its input", run.fails("--metric", path))


@pytest.mark.parametrize("content", [None, b"", b"not a network", "half"], ids=["missing", "empty", "text", "half"])
@pytest.mark.parametrize("rdo", ["ctu", "map+ctu"])
def test_metric_file_that_is_no_network(content: bytes | str | None, rdo: str, run: Run):
    path = run.folder / "metric.onnx"
    if content == "half":
        whole = default_model_path().read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif content is not None:
        path.write_bytes(content)  # type: ignore[arg-type]
    assert re.match(r"ModelError: .*metric\.onnx", run.fails("--metric", path, "--rdo", rdo))
