"""Blocks and scores that others have recorded, in the files of QoMEX 2023's own data set."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from encoder_bridge.errors import MetricInputError
from rdo_metrics.correlation import Correlation
from sweeps.study.samples import Sample

_SCORES = re.compile(r"^(\d+)x\1_metrics\.json$")
_ACCURACY = "acc"


@dataclass(frozen=True)
class Heading:
    """A recorded metric; see ``sweeps.study.measures.Measure``."""

    name: str
    title: str
    kind: str = "quality"


@dataclass(frozen=True)
class Recorded:
    """Recorded blocks of one size.

    Attributes:
        sample: accuracies and scores.
        headings: the metrics, in the order of the file.
        published: metric → its published correlations, with ``count`` 0; empty where there are none.
    """

    sample: Sample
    headings: tuple[Heading, ...]
    published: Mapping[str, Correlation]


def is_recorded(folder: Path) -> bool:
    """Whether a folder holds ``32x32_metrics.json`` or one of another size."""
    return folder.is_dir() and any(_SCORES.match(path.name) for path in folder.iterdir())


def read_recorded(folder: Path) -> list[Recorded]:
    """All sizes of a folder, smallest first: ``NxN_metrics.json``, ``NxN_blocks.json`` and ``NxN_correlation.json``.

    The first gives for each block an accuracy "acc" and the metrics' scores, the second its picture, configuration,
    place and size; without it every block counts as a picture of its own. The third is optional as well.

    Raises MetricInputError for a file that is none of these.
    """
    sides = sorted(int(found[1]) for path in folder.iterdir() if (found := _SCORES.match(path.name)))
    return [_read(folder, side) for side in sides]


def _read(folder: Path, side: int) -> Recorded:
    path = folder / f"{side}x{side}_metrics.json"
    table = _json(path)
    try:
        names = [name for name in next(iter(table.values())) if name != _ACCURACY]
        accuracy = np.array([row[_ACCURACY] for row in table.values()], np.float64)
        values = {name: np.array([row[name] for row in table.values()], np.float64) for name in names}
    except (StopIteration, KeyError, TypeError, ValueError, AttributeError) as error:
        raise MetricInputError(f"{path}: {error!r}; expected for each block acc and the same metrics") from error
    pictures, configurations = _places(folder / f"{side}x{side}_blocks.json", list(table))
    sample = Sample("recorded network", side, accuracy, pictures, configurations, values=values)
    headings = tuple(Heading(name, name.replace("_", "-")) for name in names)
    return Recorded(sample, headings, _published(folder / f"{side}x{side}_correlation.json"))


def _places(path: Path, blocks: list[str]) -> tuple[Any, Any]:
    """Numbers of pictures and of configurations."""
    if not path.exists():
        return np.arange(len(blocks)), np.zeros(len(blocks), np.int64)
    table = _json(path)
    try:
        pictures, configurations = ([repr(table[block][column]) for block in blocks] for column in (0, 1))
    except (KeyError, IndexError, TypeError) as error:
        raise MetricInputError(f"{path}: {error!r}; expected picture and configuration of every block") from error
    first, second = (np.unique(column, return_inverse=True)[1] for column in (pictures, configurations))
    return first, second


def _published(path: Path) -> dict[str, Correlation]:
    if not path.exists():
        return {}
    try:
        rows = {
            metric: [abs(float(np.ravel(found[name])[0])) for name in ("SROC", "PLCC", "KROCC")]
            for metric, found in _json(path).items()
        }
    except (KeyError, TypeError, ValueError) as error:
        raise MetricInputError(f"{path}: {error!r}; expected SROC, PLCC and KROCC of every metric") from error
    return {metric: Correlation(srocc, plcc, krocc, 0) for metric, (srocc, plcc, krocc) in rows.items()}


def _json(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MetricInputError(f"{path}: {error}; expected a JSON table") from error
    if not isinstance(table, dict):
        raise MetricInputError(f"{path}: a {type(table).__name__}; expected a JSON object")
    return table
