"""Curves of one input, or of all inputs together: bits and what networks see summed over all their frames."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rdo_metrics.accuracy import ACCURACY_METRICS
from sweeps.bd import PSNR_NETWORK
from sweeps.records import RunRecord, pack_confusion, rate_point, unpack_confusion
from sweeps.report.cli_line import encode_line
from sweeps.report.library import Library, Run, Series
from sweeps.tables import MEASURE_NAMES, kbit_s

MOST_INPUTS = 40
"""More inputs than this are shown together only."""
_ACCURACIES = ("agreement", "miou_pseudo", "miou_labels")


@dataclass
class DataSet:
    """What is drawn in one set of panels.

    Attributes:
        name: of the input, or how many there are.
        inputs: ``RunRecord.input`` of each.
        curves: series → runs from scale to scale, rates descending; of several inputs, runs of pooled records.
        notes: what was left out.
    """

    name: str
    inputs: list[dict[str, Any]]
    curves: dict[Series, list[Run]]
    notes: list[str] = field(default_factory=list)

    @property
    def unit(self) -> str:
        """Kilobits a second for video of one rate, else bits a pixel of the input."""
        video = all(int(i.get("frames", 0)) > 1 for i in self.inputs)
        return "kbit/s" if video and len({str(i.get("fps")) for i in self.inputs}) == 1 else "bpp"

    @property
    def frames(self) -> int:
        """Frames of all inputs."""
        return sum(int(i.get("frames", 0)) for i in self.inputs)


def datasets(library: Library) -> list[DataSet]:
    """All inputs together, where there are several, then each of them unless they are too many."""
    singles = [
        DataSet(str(library.inputs[digest].get("name", "input")), [library.inputs[digest]], _listed(arms))
        for digest, arms in library.runs.items()
    ]
    if len(singles) == 1:
        return singles
    return [_pooled(library), *(singles if len(singles) <= MOST_INPUTS else [])]


def _listed(arms: Mapping[Series, Mapping[Any, Run]]) -> dict[Series, list[Run]]:
    return {series: list(points.values()) for series, points in arms.items()}


def _pooled(library: Library) -> DataSet:
    """Points that every input has; what one of them lacks is counted in a note."""
    curves: dict[Series, list[Run]] = {}
    left = 0
    for series in library.series:
        per_input = [arms.get(series, {}) for arms in library.runs.values()]
        points = list(dict.fromkeys(point for points in per_input for point in points))
        whole = [point for point in points if all(point in points for points in per_input)]
        left += len(points) - len(whole)
        if whole:
            curves[series] = [_pool([points[point] for points in per_input]) for point in whole]
    count = len(library.runs)
    note = f"{left} rate points that not every one of the {count} inputs has are left out where all are shown together"
    return DataSet(f"all {count} inputs", list(library.inputs.values()), curves, [note] if left else [])


def _pool(runs: Sequence[Run]) -> Run:
    """One run whose frames are those of all runs."""
    records = [run.record for run in runs]
    first = records[0]
    samples = sum(_samples(record) for record in records)
    confusion = _pooled_confusion(records)
    luma = [value for record in records for value in record.frame_psnr]
    times = {name: sum(getattr(r, name) for r in records) for name in ("encode_s", "map_s", "first_pass_s", "judge_s")}
    record = RunRecord(
        key=first.key,
        config=first.config,
        input={**first.input, "frames": sum(r.frames for r in records)},
        build=first.build,
        models=first.models,
        bits=sum(r.bits for r in records),
        frames=sum(r.frames for r in records),
        bpp=sum(r.bits for r in records) / samples if samples else 0.0,
        psnr={"y": mean_psnr(luma)} if luma else {},
        scores={network: _scores(kinds) for network, kinds in confusion.items()},
        frame_bits=[bits for r in records for bits in r.frame_bits],
        frame_psnr=luma,
        confusion=confusion,
        created=first.created,
        **times,
    )
    return Run(record, runs[0].config, runs[0].folder)


def _samples(record: RunRecord) -> int:
    return record.frames * int(record.input.get("width", 0)) * int(record.input.get("height", 0))


def mean_psnr(values: Sequence[float]) -> float:
    """PSNR in dB of the mean squared error over frames of these PSNRs; infinite where all are."""
    error = float(np.mean(10 ** (-np.asarray(values) / 10)))
    return -10 * math.log10(error) if error > 0 else math.inf


def _pooled_confusion(records: Sequence[RunRecord]) -> dict[str, dict[str, str]]:
    """Of the networks and kinds that every record has."""
    pooled: dict[str, dict[str, str]] = {}
    for network, kinds in records[0].confusion.items():
        shared = [kind for kind in kinds if all(kind in r.confusion.get(network, {}) for r in records)]
        arrays = {kind: [unpack_confusion(r.confusion[network][kind]) for r in records] for kind in shared}
        fitting = {kind: a for kind, a in arrays.items() if len({array.shape[1:] for array in a}) == 1}
        if fitting:
            pooled[network] = {kind: pack_confusion(np.concatenate(a)) for kind, a in fitting.items()}
    return pooled


def _scores(kinds: Mapping[str, str]) -> dict[str, float | None]:
    sums = {kind: unpack_confusion(text).sum(axis=0, dtype=np.int64) for kind, text in kinds.items()}
    named = {"agreement": ("agreement", "pseudo"), "miou_pseudo": ("miou", "pseudo"), "miou_labels": ("miou", "labels")}
    return {
        name: ACCURACY_METRICS.get(metric).compute(sums[kind]) if kind in sums else None
        for name, (metric, kind) in named.items()
    }


def panels(dataset: DataSet) -> list[dict[str, str]]:
    """The measures there are, the driving network's first, luma PSNR last: {"network", "metric", "title"}."""
    runs = [run for curve in dataset.curves.values() for run in curve]
    networks = dict.fromkeys(network for run in runs for network in run.record.scores)
    found = [
        {"network": network, "metric": metric, "title": MEASURE_NAMES[metric]}
        for network in networks
        for metric in _ACCURACIES
        if any(run.record.scores.get(network, {}).get(metric) is not None for run in runs)
    ]
    if any(value_of(run.record, PSNR_NETWORK, "psnr_y") is not None for run in runs):
        found.append({"network": PSNR_NETWORK, "metric": "psnr_y", "title": "PSNR-Y, dB"})
    return found


def value_of(record: RunRecord, network: str, metric: str) -> float | None:
    """A measure of a record; None where it has none, or an infinite one."""
    value = record.psnr.get("y") if network == PSNR_NETWORK else record.scores.get(network, {}).get(metric)
    return value if value is not None and math.isfinite(value) else None


def curves_data(
    dataset: DataSet, series: Sequence[Series], models: Mapping[str, str | None]
) -> list[list[dict[str, Any]]]:
    """``point_data`` of every operating point of every series, a series without any among them."""
    shown = panels(dataset)
    return [[point_data(dataset, run, shown, models) for run in dataset.curves.get(s, [])] for s in series]


def point_data(
    dataset: DataSet, run: Run, shown: Sequence[Mapping[str, str]], models: Mapping[str, str | None]
) -> dict[str, Any]:
    """JSON-ready numbers of one operating point, values as in ``shown``, and the line that makes its stream."""
    record = run.record
    rate = kbit_s(record) if dataset.unit == "kbit/s" else record.bpp
    driver = next(iter(record.scores), None)
    name = str(record.input.get("name", "INPUT")) if len(dataset.inputs) == 1 else "INPUT"
    return {
        "point": rate_point(record.config),
        "scale": run.config.scale,
        "rate": rate,
        "bpp": record.bpp,
        "bits": record.bits,
        "encode_s": record.encode_s,
        "all_s": record.encode_s + record.map_s + record.first_pass_s,
        "values": [value_of(record, p["network"], p["metric"]) for p in shown],
        "line": encode_line(run.config, name, model=None if driver is None else models.get(driver)),
    }
