"""Seconds and memory of drawing 4096 blocks of each size from 176 × 500 pictures of 2048×1024, as QoMEX 2023 does.

    python benchmarks/block_sampling.py > table.md

The label maps are generated when they are asked for, as a study reads them from disk: 88,000 of them would be 172 GiB.
"""

from __future__ import annotations

import resource
import time

import click
import numpy as np
from numpy.typing import NDArray

from rdo_metrics.block_sampling import BINS, BlockSampler, Population
from sweeps.paramtypes import SIZE


class LabelMaps:
    """Agreement of smooth random label maps: blobs that grow with the configuration, in another place each."""

    def __init__(self, size: tuple[int, int], configurations: int, seed: int = 0) -> None:
        import cv2

        width, height = size
        rng = np.random.default_rng(seed)
        rough = cv2.GaussianBlur(rng.standard_normal((height // 8, width // 8)).astype(np.float32), (0, 0), 6)
        smooth = np.asarray(cv2.resize(rough, (width, height), interpolation=cv2.INTER_LINEAR))
        order = np.argsort(np.argsort(smooth, axis=None)).reshape(height, width)
        self._levels = (order * 255 // order.size).astype(np.uint8)
        self._configurations = configurations

    def agreement(self, picture: int, configuration: int) -> NDArray[np.bool_]:
        """True in all of the picture for the finest configuration, in a third for the coarsest."""
        threshold = 255 - 170 * configuration / max(self._configurations - 1, 1)
        place = (picture * 131 % self._levels.shape[0], (picture * 257 + configuration * 67) % self._levels.shape[1])
        return np.roll(self._levels, place, axis=(0, 1)) < threshold

    def labelled(self, picture: int) -> NDArray[np.bool_]:
        """All but the lowest tenth, the car the camera is in."""
        known = np.ones(self._levels.shape, np.bool_)
        known[-known.shape[0] // 10 :] = False
        return known


@click.command()
@click.option("--pictures", default=500, show_default=True)
@click.option("--configurations", default=176, show_default=True)
@click.option("--size", type=SIZE, default="2048x1024", show_default=True)
@click.option("--count", default=4096, show_default=True, help="Blocks of each size.")
def main(pictures: int, configurations: int, size: tuple[int, int], count: int) -> None:
    """Print a table in Markdown."""
    maps = LabelMaps(size, configurations)
    population = Population(pictures, configurations, maps.agreement, maps.labelled)
    click.echo("| block | seconds | blocks in the fullest and emptiest tenth of accuracies | peak memory so far |")
    click.echo("|---|---|---|---|")
    for side in (32, 64, 128):
        began = time.perf_counter()
        blocks = BlockSampler(population, side).draw(count)
        seconds = time.perf_counter() - began
        bins = np.bincount([min(int(block.accuracy * BINS), BINS - 1) for block in blocks], minlength=BINS)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        click.echo(f"| {side}×{side} | {seconds:.0f} | {bins.max()}, {bins.min()} | {peak:.0f} MiB |")


if __name__ == "__main__":
    main()
