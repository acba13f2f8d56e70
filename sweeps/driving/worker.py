"""What workers do: walk an input once, label it, code and score a point, score a kept stream again."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from encoder_bridge.config import CodingConfig
from encoder_bridge.encoder import Bitstream, BuildInfo
from encoder_bridge.encoders import ENCODERS
from encoder_bridge.errors import ToolNotFoundError
from sweeps.coding import Encoded
from sweeps.driving.bench import Bench, Digested, Setup, Silent, bench_of
from sweeps.driving.keys import more_of
from sweeps.driving.ledger import KnownInput, know
from sweeps.heads import Head
from sweeps.plan.inputs import InputFile
from sweeps.pseudo import pseudo_labels
from sweeps.records import RunRecord, run_key
from sweeps.run_one import score_stream


@dataclass(frozen=True)
class Point:
    """A run as it travels to a worker.

    Attributes:
        key: of the record.
        input: what is coded.
        config: how.
    """

    key: str
    input: KnownInput
    config: CodingConfig


@dataclass(frozen=True)
class KeptStream:
    """The stream of an earlier run and what it cost: the fields of that run's record.

    Attributes:
        stream: path from the results' folder.
        bits, frames, encode_s, first_pass_s, map_s, judge_s, build: as in ``RunRecord``.
    """

    stream: str
    bits: int
    frames: int
    encode_s: float
    first_pass_s: float
    map_s: float
    judge_s: float
    build: Mapping[str, Any]

    @staticmethod
    def of(record: Head) -> KeptStream:
        """The stream of a record that has one."""
        return KeptStream(**{field.name: getattr(record, field.name) for field in fields(KeptStream)})

    def encoded(self, folder: Path, codec: str) -> Encoded:
        """As ``Coder.encode`` returned it."""
        stream = Bitstream(folder / self.stream, codec, self.bits, self.frames, self.encode_s)
        build = BuildInfo(self.build["name"], self.build["version"], "", True, self.build["abi"], self.build["patch"])
        judging = {"judge_s": self.judge_s} if self.judge_s else {}
        return Encoded(stream, build, self.first_pass_s, self.map_s, judging)


def know_input(file: InputFile) -> dict[str, Any]:
    """What the ledger keeps of an input."""
    return know(file)


def label_input(setup: Setup, item: KnownInput, gray: bool) -> None:
    """The reference labels that the judges give an input, into the workspace."""
    bench = bench_of(setup)
    source = Digested(bench.source(item.file, item.signature), item.digest)
    for network in bench.judges(gray):
        pseudo_labels(source, network, bench.workspace, Silent())


def run_point(setup: Setup, point: Point) -> RunRecord:
    """Encode, decode, score. Raises what any of these raises, and where this worker would not do what was planned."""
    began = time.monotonic()
    bench = bench_of(setup)
    job = bench.job(point.input.file, point.input.signature, point.input.digest, point.config)
    coder = bench.coder(point.config)
    _verify(bench, point)
    encoded = coder.encode(job.source, job.config)
    try:
        record = score_stream(point.key, job, encoded, coder, began, bench.metrics)
    except Exception:
        if setup.keep == "none":
            drop_stream(encoded.stream.path)
        raise
    return record if setup.keep == "all" else _without_stream(record, encoded.stream.path, point.config)


def rescore_point(setup: Setup, point: Point, kept: KeptStream) -> RunRecord:
    """Score a kept stream with other networks; nothing is encoded."""
    began = time.monotonic()
    bench = bench_of(setup)
    job = bench.job(point.input.file, point.input.signature, point.input.digest, point.config)
    encoded = kept.encoded(Path(setup.folder), ENCODERS.get(point.config.codec).codec)
    return score_stream(point.key, job, encoded, bench.coder(point.config), began, bench.metrics)


def drop_stream(path: Path) -> None:
    """Delete a stream and what is noted beside it."""
    path.unlink(missing_ok=True)
    path.with_suffix(".json").unlink(missing_ok=True)


def _without_stream(record: RunRecord, path: Path, config: CodingConfig) -> RunRecord:
    """A plain stream may be another run's first pass and goes at the sweep's end; a guided one goes now."""
    if config.rdo != "psnr":
        drop_stream(path)
    return replace(record, stream=None)


def _verify(bench: Bench, point: Point) -> None:
    """ToolNotFoundError where this machine's encoder or networks are not those of the plan."""
    item, config = point.input, point.config
    build = ENCODERS.get(config.codec)().build_info(config)
    models = bench.models(config, config.gray or item.gray, item.labels)
    if run_key(config, item.digest, build, models, **more_of(bench.setup)) != point.key:
        raise ToolNotFoundError(
            f"worker on {socket.gethostname()}: {config.codec} {build.version} or the networks differ from those of "
            "the machine that drives the sweep; run on both: mrdo doctor"
        )
