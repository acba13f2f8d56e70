"""Block metrics against a block's accuracy: correlations by size of block and metric, and time beside the network's.

    python benchmarks/block_metric.py CAMVID -o OUT [--metric block.onnx] > table.md

CAMVID holds val/ and valannot/. Blocks are drawn by the protocol of QoMEX 2023 (k = 10, none with unlabelled pixels).
Coded pictures are kept in OUT and not made again. The tables go to stdout.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from encoder_bridge.config import RunOptions
from encoder_bridge.console import Reporter
from models import block_model_path, default_model_path
from models.block_model import BlockModel
from models.task_model import TaskModel
from sweeps.block_data import SIDES, Maker, Stills, codings
from sweeps.block_evaluation import evaluate, learned, learned_in_windows, psnr_of, speed, ssim_of, table
from sweeps.paramtypes import INTS


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--metric", type=click.Path(path_type=Path), help="A network with maps.  [default: the shipped one]")
@click.option(
    "--model", type=click.Path(path_type=Path), help="Network that is predicted.  [default: the embedded one]"
)
@click.option("--qps", type=INTS, default="22-49:3", show_default=True, help="x265 all-intra.")
@click.option("--jpeg", type=INTS, default=None, help="JPEG qualities, a family of their own.")
@click.option("--preset", default="slow", show_default=True)
@click.option("--step", default=2, show_default=True, help="Every n-th picture.")
@click.option("--count", default=4096, show_default=True, help="Blocks of each size.")
@click.option("--windows/--no-windows", default=True, help="Also show the metric blocks and 32 samples around alone.")
@click.option("--threads", default=2, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path))
def main(
    data: Path,
    metric: Path | None,
    model: Path | None,
    qps: list[int],
    jpeg: list[int] | None,
    preset: str,
    step: int,
    count: int,
    windows: bool,
    threads: int,
    seed: int,
    output: Path,
) -> None:
    """Print both tables in Markdown."""
    driver = TaskModel(model or default_model_path(), threads=threads)
    network = BlockModel(metric or block_model_path(), threads=threads)
    measures = {"learned": learned(network), "PSNR": psnr_of, "SSIM": ssim_of}
    if windows:
        measures["learned, 32 samples of context"] = learned_in_windows(network)
    stills = Stills.of(data / "val", data / "valannot", step)
    maker = Maker(driver, RunOptions(threads=threads), Reporter())
    families = {"x265": codings(qps, preset), **({"jpeg": codings((), "", jpeg=jpeg)} if jpeg else {})}
    for family, ways in families.items():
        held_out = maker.make(stills, ways, output / "val")
        click.echo(f"{family}: {len(held_out.originals)} pictures, {', '.join(w.name for w in ways)}; {count} blocks\n")
        click.echo(table(evaluate(held_out, measures, count, SIDES, seed)) + "\n")
    pair = np.asarray(held_out.originals[0]), np.asarray(held_out.coded(0)[0])
    times = speed(network, driver, pair)
    click.echo(f"| {driver.name} | metric, both pictures | ratio |\n|---|---|---|")
    click.echo(f"| {times.network:.1f} ms a picture | {times.metric:.1f} ms | {times.ratio:.2f} |")


if __name__ == "__main__":
    main()
