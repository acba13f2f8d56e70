"""Machine-aware RDO against PSNR-RDO of the same encoder: every rate point in three arms, then BD-rates."""

from __future__ import annotations

import dataclasses
import filecmp
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from encoder_bridge.config import CodingConfig
from encoder_bridge.errors import PluginError
from models.model_set import SetModel
from rdo_metrics.curve import Method
from sweeps.anchors import Anchor
from sweeps.anchors.runs import anchor_records, kept_or_made
from sweeps.bd import METHOD, BDRow, bd_rows
from sweeps.coding import ANCHOR, NEUTRAL, Coder, arm_name, describe, plain
from sweeps.records import RunRecord, now_iso
from sweeps.run_one import Job, job_key, run_one
from sweeps.store import ResultStore


@dataclass(frozen=True)
class Comparison:
    """Records by arm, in the order of the rate points, and the BD-rate of each test arm over the anchor.

    Attributes:
        arms: arm name → records; "psnr" is the anchor, "neutral" the hooked encoder with nothing to say; other
            encoders come first.
        rows: BD-rates per arm, network and measure; over "psnr", then over each of the other encoders.
    """

    arms: dict[str, list[RunRecord]]
    rows: list[BDRow]


def plan(configs: Sequence[CodingConfig], neutral: bool = True, controls: bool = False) -> list[CodingConfig]:
    """The runs of a comparison: for each test configuration its anchor, its neutral twin, its controls and itself.

    Args:
        configs: test configurations, one a rate point.
        neutral: also run the hooked encoder with a plugin that says nothing, where a test is not the plain encoder.
        controls: also run what tells a metric's gain apart: see ``controls_of``.
    """
    runs: list[CodingConfig] = []
    for config in configs:
        anchor = plain(config)
        twins = [dataclasses.replace(anchor, neutral=True)] if neutral and config != anchor else []
        others = controls_of(config) if controls else []
        runs += [anchor, *twins, *others, config]
    return list(dict.fromkeys(runs))


def controls_of(config: CodingConfig) -> list[CodingConfig]:
    """The same candidates judged by squared error, and the map alone; none without candidates."""
    if config.ctu is None:
        return []
    judged = dataclasses.replace(config.ctu, metric="sse", context=0, internal=True)
    controls = [dataclasses.replace(config, ctu=judged)]
    if config.map is not None:
        controls.append(dataclasses.replace(config, rdo="map", ctu=None))
    return [control for control in controls if control != config]


def compare(
    template: Job,
    configs: Sequence[CodingConfig],
    coder: Coder,
    store: ResultStore,
    bootstrap: int = 1000,
    anchors: Sequence[Anchor] = (),
    method: Method = METHOD,
) -> Iterator[RunRecord | Comparison]:
    """Run what the store does not hold yet; yields each record as it is there, and the comparison at the end.

    Args:
        template: input and judges; its configuration does not count.
        configs: see ``plan``.
        coder, store: where streams and records are kept.
        bootstrap: resamples for confidence intervals.
        anchors: other encoders the arms are compared with as well.
        method: interpolation of the BD-rates, as ``rdo_metrics.bd_rate.bd_rate``.

    Raises:
        PluginError: the neutral arm is not byte-identical to the plain encoder, so no gain could be believed.
        CurveError: no BD-rate at all is defined.
        ConfigError: a set of networks has none for a configuration.
    """
    for config in configs:
        coder.check(template.source, config)
    for config in [*configs, *(config for anchor in anchors for config in anchor.configs)]:
        for judge in template.judges:
            if isinstance(judge, SetModel):
                judge.check(config)
    arms: dict[str, list[RunRecord]] = {}
    plains: dict[str, RunRecord] = {}
    for config in configs:
        job = dataclasses.replace(template, config=config)
        twin = plains.get(_rate_digest(config)) if config.neutral else None
        record = _run(job, twin, coder, store)
        if config.rdo == "psnr" and not config.neutral:
            plains[_rate_digest(config)] = record
        arms.setdefault(arm_name(config), []).append(record)
        yield record
    others: dict[str, list[RunRecord]] = {}
    for anchor in anchors:
        for record in anchor_records(anchor, template, coder, store):
            others.setdefault(anchor.name, []).append(record)
            yield record
    yield Comparison({**others, **arms}, _rows(arms, others, bootstrap, method))


def _rows(
    arms: dict[str, list[RunRecord]], others: dict[str, list[RunRecord]], bootstrap: int, method: Method
) -> list[BDRow]:
    """Every arm over "psnr"; every arm but the neutral one, whose streams are those of "psnr", over other encoders."""
    tests = {name: records for name, records in arms.items() if name != NEUTRAL}
    rows = bd_rows(arms, ANCHOR, bootstrap, method)
    for name, records in others.items():
        rows += bd_rows({name: records, **tests}, name, bootstrap, method)
    return rows


def _rate_digest(config: CodingConfig) -> str:
    return plain(config).digest()


def _run(job: Job, twin: RunRecord | None, coder: Coder, store: ResultStore) -> RunRecord:
    key = job_key(job, coder)
    return kept_or_made(store, key, lambda: run_one(job, coder) if twin is None else _neutral(job, key, twin, coder))


def _neutral(job: Job, key: str, anchor: RunRecord, coder: Coder) -> RunRecord:
    """The neutral twin's record: identical bytes have identical scores, so only its time is new."""
    encoded = coder.encode(job.source, job.config)
    assert anchor.stream is not None
    if not filecmp.cmp(encoded.stream.path, coder.workspace.folder / anchor.stream, shallow=False):
        raise PluginError(
            f"{describe(job.config)}: the hooked encoder with a neutral plugin made another stream than without one; "
            "run: mrdo build x265 --force"
        )
    return dataclasses.replace(
        anchor,
        key=key,
        config=job.config.as_dict(),
        encode_s=encoded.stream.encode_s,
        stream=str(encoded.stream.path.relative_to(coder.workspace.folder)),
        created=now_iso(),
    )
