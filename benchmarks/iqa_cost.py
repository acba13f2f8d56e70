"""CPU milliseconds a picture of every image quality metric that can run here, one thread, by picture size.

    python benchmarks/iqa_cost.py > table.md

Processor time, not wall time, so that other work on the machine changes it little.
"""

from __future__ import annotations

import time
from pathlib import Path

import click
import cv2
import numpy as np

from rdo_metrics.iqa import IQA_METRICS, IqaMetric, make_iqa_metric, missing_of

SIZES = ((32, 32), (64, 64), (128, 128), (360, 480))


def cost(metric: IqaMetric, size: tuple[int, int], samples: int) -> float | None:
    """Milliseconds a picture, the least of three runs; None where it is too small."""
    if min(size) < metric.info.min_side:
        return None
    count = max(1, samples // (size[0] * size[1]))
    noise = np.random.default_rng(0).integers(0, 256, (count, *size), dtype=np.uint8)
    originals = np.stack([cv2.GaussianBlur(picture, (0, 0), 1.5) for picture in noise])
    coded = np.stack([cv2.GaussianBlur(picture, (0, 0), 2.0) for picture in noise])
    metric.scores(originals[:1], coded[:1])
    seconds = []
    for _ in range(3):
        start = time.process_time()
        metric.scores(originals, coded)
        seconds.append(time.process_time() - start)
    return 1000 * min(seconds) / count


@click.command()
@click.option("--metric-weights", type=click.Path(path_type=Path), help="Folder with the weights of lpips and dists.")
@click.option("--samples", default=1 << 18, help="Luma samples scored at a time.")
def main(metric_weights: Path | None, samples: int) -> None:
    """Print the table."""
    import torch

    torch.set_num_threads(1)
    click.echo("| metric | " + " | ".join(f"{width}×{height}" for height, width in SIZES) + " |")
    click.echo("|---" * (len(SIZES) + 1) + "|")
    for name in IQA_METRICS.names():
        # VMAF is another program, whose time is not this process's.
        if missing_of(name, metric_weights) is None and not IQA_METRICS.get(name).info.video:
            metric = make_iqa_metric(name, weights=metric_weights)
            values = [cost(metric, size, samples) for size in SIZES]
            click.echo(f"| {name} | " + " | ".join("NaN" if v is None else f"{v:.2f}" for v in values) + " |")


if __name__ == "__main__":
    main()
