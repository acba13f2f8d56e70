"""Level B without an encoder: candidates judged per second through plugin, socket and host, against the network alone.

    python benchmarks/choose_throughput.py --threads 2 --threads 4

Threads in C ask the shipped plugin about CTU after CTU, three candidates each; the judge of `mrdo encode --rdo ctu`
answers. Every repeat is two runs. The first gives latencies and shares. In the second each batch, once the judge's
network has seen it, goes from a ready NumPy array to the bare ONNX Runtime session once more: that is the tight loop at
the same batch, under the same load of the machine, and its time is taken off the path's before the two are compared.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from encoder_bridge import toolchain
from encoder_bridge.config import Candidate, CandidateConfig
from encoder_bridge.encoder import SideInfo
from encoder_bridge.frames import VideoFormat
from encoder_bridge.host import PluginHost
from encoder_bridge.judging import JudgeStats
from models import default_model_path
from models.task_model import TaskModel, prepare
from rdo_metrics.candidates import make_candidate_metric
from rdo_metrics.candidates.base import Networks
from sweeps.candidates import CandidateJudge

HOOK = Path(toolchain.__file__).parent / "hook"
WIDTH, HEIGHT, CTU = 512, 384, 64


@dataclass
class Network:
    """The driving network.

    Attributes:
        model: runs it.
        paired: run every batch on the bare session as well.
        seconds: spent in ``log_probs`` without that.
        bare_s: spent in the bare session.
    """

    model: TaskModel
    paired: bool = False
    seconds: float = 0.0
    bare_s: float = 0.0

    def log_probs(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See ``TaskModel.log_probs``; timed."""
        start = time.perf_counter()
        answer = self.model.log_probs(rgb)
        self.seconds += time.perf_counter() - start
        if self.paired:
            session, tensor = self.model._session, prepare(rgb, self.model.spec).astype(np.float32, copy=False)
            start = time.perf_counter()
            session.run(None, {session.get_inputs()[0].name: tensor})
            self.bare_s += time.perf_counter() - start
        return answer


@dataclass(frozen=True)
class Turn:
    """One run: seconds, latencies as the encoder's threads saw them, the host's counters, what the network took."""

    wall_s: float
    latency_s: NDArray[np.float64]
    stats: JudgeStats
    network: Network

    @property
    def path_s(self) -> float:
        """Without the bare session."""
        return self.wall_s - self.network.bare_s


def compiled(folder: Path) -> tuple[Path, Path]:
    """The plugin and the driver, built as the toolchain builds them."""
    plugin, driver = folder / "bridge_plugin.so", folder / "choose_driver"
    sources = [HOOK / name for name in toolchain._PLUGIN_SOURCES]
    subprocess.run(["cc", *toolchain._PLUGIN_FLAGS, "-o", plugin, *sources], check=True)
    source = Path(__file__).with_name("choose_driver.c")
    subprocess.run(["cc", "-O2", "-pthread", f"-I{HOOK}", "-o", driver, source, "-ldl"], check=True)
    return plugin, driver


def picture() -> tuple[NDArray[np.uint8], ...]:
    """4:2:0 planes of noise on a ramp."""
    rng = np.random.default_rng(7)
    sizes = ((HEIGHT, WIDTH), (HEIGHT // 2, WIDTH // 2), (HEIGHT // 2, WIDTH // 2))
    return tuple((rng.integers(0, 32, size) + np.linspace(0, 200, size[1])).astype(np.uint8) for size in sizes)


def turn(tools: tuple[Path, Path], network: Network, options: dict[str, Any], threads: int) -> Turn:
    """``calls`` choices from each of ``threads`` threads."""
    candidates = tuple(Candidate(lambda_scale=1 + k / 10) for k in range(options["candidates"]))
    config = CandidateConfig(candidates, metric=options["metric"], context=options["context"])
    metric = make_candidate_metric(config.metric)
    judge = CandidateJudge(metric, config, Networks(log_probs=network.log_probs), VideoFormat(WIDTH, HEIGHT))
    judge.workers = 1  # one session is compared with one session
    original = picture()
    with PluginHost(tools[0], judge=judge, wants_ctus=True) as host:
        for poc in range(threads):
            judge.open(poc, original, None)
            host.publish(poc, SideInfo(candidates=candidates))
        network.seconds = network.bare_s = 0.0
        sizes = map(str, (threads, options["calls"], len(candidates), WIDTH, HEIGHT))
        command: list[str | Path] = [tools[1], tools[0], host.env()["MRDO_PLUGIN_OPTIONS"], *sizes]
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        host.check()
    return Turn(float(lines[0]), np.array(lines[1:], np.float64), host.stats.judging, network)


def row(threads: int, runs: list[Turn], paired: list[Turn]) -> str:
    """One line of the table."""
    values = (
        f"{median(runs, lambda t: t.stats.trials / t.wall_s):.0f}",
        f"{median(paired, lambda t: t.stats.trials / t.network.bare_s):.0f}",
        f"{median(paired, lambda t: t.network.bare_s / t.path_s):.2f}",
        f"{median(paired, lambda t: t.network.seconds / t.path_s):.2f}",
        f"{median(runs, lambda t: t.stats.trials / t.stats.batches):.1f}",
        f"{1e3 * median(runs, lambda t: float(np.percentile(t.latency_s, 50))):.1f}",
        f"{1e3 * median(runs, lambda t: float(np.percentile(t.latency_s, 99))):.1f}",
        f"{100 * median(runs, lambda t: t.network.seconds / t.wall_s):.0f} %",
        f"{100 * median(runs, lambda t: (t.stats.judging_s - t.network.seconds) / t.wall_s):.0f} %",
        f"{100 * median(runs, lambda t: 1 - t.stats.judging_s / t.wall_s):.1f} %",
        f"{1e6 * median(runs, lambda t: t.stats.transport_s / t.stats.calls):.0f}",
    )
    return f"| {threads} | " + " | ".join(values) + " |"


def median(turns: list[Turn], value: Callable[[Turn], float]) -> float:
    """Of a value over turns."""
    return statistics.median(map(value, turns))


HEADINGS = (
    *("threads", "candidates/s", "network alone", "ratio", "ratio of `log_probs`", "candidates a batch"),
    *("p50 ms", "p99 ms", "network", "windows and losses", "judge idle", "transport µs a call"),
)


@click.command()
@click.option("--model", type=click.Path(path_type=Path), default=None, help="Driving network; the default one.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--metric", default="task", show_default=True)
@click.option("--candidates", default=3, show_default=True)
@click.option("--context", default=32, show_default=True)
@click.option("--threads", "threads", multiple=True, type=int, default=(2, 4), show_default=True)
@click.option("--calls", default=200, show_default=True, help="Choices of each thread.")
@click.option("--repeats", default=5, show_default=True)
def main(**options: Any) -> None:
    """Print candidates per second, their ratio to the network alone, latencies and shares of the time."""
    model = TaskModel(options["model"] or default_model_path(), options["device"])
    click.echo("| " + " | ".join(HEADINGS) + " |\n" + "|---" * len(HEADINGS) + "|")
    with tempfile.TemporaryDirectory() as folder:
        tools = compiled(Path(folder))
        for threads in options["threads"]:
            runs, paired = (
                [turn(tools, Network(model, also), options, threads) for _ in range(options["repeats"])]
                for also in (False, True)
            )
            click.echo(row(threads, runs, paired))


if __name__ == "__main__":
    main()
