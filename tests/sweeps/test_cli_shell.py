import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

import sweeps.cli

REPO = Path(sweeps.cli.__file__).parents[1]

COMMAND = """
import sys, time
from pathlib import Path
import click
from encoder_bridge import errors
from encoder_bridge.console import Reporter
from encoder_bridge.shell import run_cli

@click.command()
@click.argument("what")
@click.option("--json", "as_json", is_flag=True)
def command(what, as_json):
    reporter = Reporter(json=as_json)
    reporter.event("point", qp=1)
    folder = Path(sys.argv[-1]) if what == "wait" else None
    if what == "wait":
        marker = Path(__file__).with_name("temporary")
        marker.touch()
        try:
            with reporter.task("waiting", 10) as advance:
                advance(1)
                print("started", file=sys.stderr, flush=True)
                time.sleep(60)
        finally:
            marker.unlink()
    if what == "disk":
        with open("/dev/full", "w") as file:
            file.write("x" * 10 ** 6)
    if what == "bug":
        {}["missing"]
    if what == "memory":
        raise MemoryError
    if what == "pipe":
        for number in range(100000):
            click.echo("line")
    if hasattr(errors, what):
        raise getattr(errors, what)("first line\\nsecond line")

sys.exit(run_cli(command))
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "command.py"
    path.write_text(COMMAND)
    return path


def run(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {k: v for k, v in os.environ.items() if k != "MRDO_DEBUG"} | {"PYTHONPATH": str(REPO)} | environment
    words = tuple(str(word) for word in words)
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=REPO, env=variables)


def mrdo(*words: str) -> subprocess.CompletedProcess[str]:
    return run("-m", "sweeps.cli", *words)


@pytest.mark.parametrize(
    ("what", "code", "start"),
    [
        ("nothing", 0, ""),
        ("EncoderTimeout", 1, "error: TypeError"),
        ("PluginError", 1, "error: PluginError: first line | second line\n"),
        ("ToolNotFoundError", 1, "error: ToolNotFoundError: first line"),
        ("OutputError", 1, "error: OutputError: first line"),
        ("ConfigError", 2, "error: ConfigError: first line"),
        ("disk", 1, "error: OutputError: No space left on device"),
        ("memory", 1, "error: MemoryError: out of memory"),
        ("bug", 1, "error: KeyError: 'missing' (in command.py:"),
    ],
)
def test_every_failure_is_one_line_and_a_code(script: Path, what: str, code: int, start: str) -> None:
    done = run(script, what)
    assert done.returncode == code
    assert done.stderr.startswith(start)
    assert done.stderr.count("\n") == (0 if code == 0 else 1)
    assert done.stdout == ""


def test_json_failure_is_an_event_and_stdout_stays_pure(script: Path) -> None:
    done = run(script, "PluginError", "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events == [
        {"event": "point", "qp": 1},
        {"event": "error", "type": "PluginError", "message": "first line | second line"},
    ]


def test_debug_shows_the_traceback(script: Path) -> None:
    assert "Traceback" in run(script, "bug", MRDO_DEBUG="1").stderr
    assert "Traceback" not in run(script, "bug").stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_interrupt_unwinds_and_says_so(script: Path, number: signal.Signals, code: int) -> None:
    process = subprocess.Popen(
        [sys.executable, str(script), "wait", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # nohup has it ignored
        env=os.environ | {"PYTHONPATH": str(REPO)},
    )
    assert process.stderr is not None
    while "started" not in process.stderr.readline():
        pass
    assert script.with_name("temporary").exists()
    began = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate()
    assert process.returncode == code
    assert time.monotonic() - began < 5
    assert not script.with_name("temporary").exists()
    assert err.splitlines()[-1] == f"error: Interrupted: interrupted by {number.name}"
    assert "stopped at 1/10" in err
    assert json.loads(out.splitlines()[-1])["type"] == "Interrupted"


def test_reader_that_leaves_causes_no_noise(script: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, str(script), "pipe"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(REPO)},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 141


def test_full_stdout_is_an_error(script: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, str(script), "nothing", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(REPO)},
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: OutputError: No space left")


def test_root_help_and_version() -> None:
    done = mrdo("--help")
    assert done.returncode == 0
    for name in ("doctor", "build", "decode"):
        assert f"\n  {name} " in done.stdout
    assert mrdo("--version").stdout.startswith("mrdo 0.")
    assert mrdo().returncode == 2


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, sweeps.cli\n"
        "from encoder_bridge.shell import run_cli\n"
        "run_cli(sweeps.cli.cli, ['--help'])\n"
        "heavy = {'torch', 'onnxruntime', 'matplotlib', 'scipy', 'cv2', 'av', 'numpy', 'mmseg', 'rich'}\n"
        "sys.stderr.write(','.join(sorted(heavy & set(sys.modules))))\n"
    )
    assert run("-c", code).stderr == ""


@pytest.mark.parametrize(
    "words", [("enocde",), ("doctor", "--nonsense"), ("decode",), ("decode", "absent.mp4", "-o", "x.y4m")]
)
def test_usage_errors_exit_2_with_one_line(words: tuple[str, ...]) -> None:
    done = mrdo(*words, "--json")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert [json.loads(line)["event"] for line in done.stdout.splitlines()] == ["error"]


def test_every_offered_command_has_help() -> None:
    offered = sweeps.cli.cli.list_commands(None)  # type: ignore[arg-type]
    assert {"doctor", "build", "decode"} <= set(offered)
    for name in offered:
        done = CliRunner().invoke(sweeps.cli.cli, [name, "--help"], prog_name="mrdo")
        assert done.exit_code == 0, name
        assert done.output.startswith(f"Usage: mrdo {name} ")


def test_doctor_reports_tools_as_events() -> None:
    done = mrdo("doctor", "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    tools = {event["name"]: event for event in events if event["event"] == "tool"}
    assert tools["python"]["ok"] is True
    assert {"onnxruntime", "default network", "cmake", "cache folder"} <= set(tools)
    for tool in tools.values():
        assert {"name", "path", "version", "hooked", "abi", "ok", "advice"} <= set(tool)
        assert tool["ok"] or tool["advice"], tool
    missing = [name for name, tool in tools.items() if tool["needed"] and not tool["ok"]]
    assert events[-1] == {"event": "result", "ok": not missing, "missing": missing}
    assert done.returncode == (1 if missing else 0)


def test_decode_writes_what_the_library_decodes(tmp_path: Path) -> None:
    import av
    import numpy as np

    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(3):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 60 * number, np.uint8), "rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    done = mrdo("decode", str(path), "-o", str(tmp_path / "out.yuv"), "--json")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.yuv").stat().st_size == 3 * 64 * 48 * 3 // 2
    assert json.loads(done.stdout)["frames"] == 3
    bad = mrdo("decode", str(path), "-o", str(tmp_path / "absent" / "out.yuv"))
    assert bad.returncode == 1
    assert bad.stderr.startswith("error: OutputError: ")
