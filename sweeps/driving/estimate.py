"""What a plan will take: seconds and bytes, from records of the same codecs or from a few probe encodes."""

from __future__ import annotations

import dataclasses
import math
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from encoder_bridge.config import CodingConfig
from encoder_bridge.encoder import quality_of
from encoder_bridge.errors import BridgeError
from encoder_bridge.frames import FrameSource
from encoder_bridge.transform import slice_source
from sweeps.driving.bench import Bench
from sweeps.heads import Head
from sweeps.plan import InputFile, Plan
from sweeps.records import RunRecord, config_of
from sweeps.run_one import Job, score_stream
from sweeps.workspace import Workspace

_PROBE_FRAMES = 2
_LOOKED_AT = 20
RECORDS, PROBES = "records", "probes"


@dataclass(frozen=True)
class Extent:
    """How much video there is.

    Attributes:
        inputs: number of files.
        samples: luma samples of all their frames together.
        exact: every input was opened, none taken to be like the others.
    """

    inputs: int
    samples: float
    exact: bool


@dataclass(frozen=True)
class Rate:
    """What a run costs.

    Attributes:
        coding_s, scoring_s: seconds for each luma sample of what is coded, and of the input.
        bpp: bits a coded luma sample by quality on the QP scale: [(QP, bits)], ascending.
        source: "records" or "probes".
    """

    coding_s: float
    scoring_s: float
    bpp: tuple[tuple[float, float], ...]
    source: str

    def seconds(self, config: CodingConfig, samples: float) -> float:
        """Of one configuration over inputs of ``samples``."""
        return samples * (self.coding_s * config.scale**2 + self.scoring_s)

    def size(self, config: CodingConfig, samples: float) -> float:
        """Bytes of its streams; log-linear between the qualities that are known, level beyond them."""
        at = step_of(config)
        below = max((point for point in self.bpp if point[0] <= at), default=self.bpp[0])
        above = min((point for point in self.bpp if point[0] >= at), default=self.bpp[-1])
        share = 0.0 if above[0] == below[0] else (at - below[0]) / (above[0] - below[0])
        bits = math.exp((1 - share) * math.log(below[1]) + share * math.log(above[1]))
        return samples * config.scale**2 * bits / 8


def step_of(config: CodingConfig) -> float:
    """Where a configuration lies on the QP scale; a middle place for what has no fixed quality."""
    return 32.0 if config.qp is None else quality_of(config.codec).to_qp(max(config.qp, 1))


def extent_of(files: Sequence[InputFile]) -> Extent:
    """How much there is, from the first inputs where there are many. Raises what opening the first one raises."""
    chosen = files[:_LOOKED_AT]
    samples, opened = 0.0, 0
    for number, file in enumerate(chosen):
        try:
            source = file.open()
        except BridgeError:
            if number == 0:
                raise
            continue
        count = source.frame_count if source.frame_count is not None else sum(1 for _ in source)
        samples += count * source.format.width * source.format.height
        opened += 1
    return Extent(len(files), samples * len(files) / opened, opened == len(files))


@dataclass
class _Sum:
    """Runs of one kind added up."""

    samples: float = 0.0
    area: float = 0.0
    coding: float = 0.0
    scoring: float = 0.0
    bits: dict[float, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, config: CodingConfig, record: Head | RunRecord, samples: float) -> None:
        """One run over ``samples`` luma samples of input."""
        area, coding = samples * config.scale**2, record.encode_s + record.map_s + record.first_pass_s
        self.samples += samples
        self.area += area
        self.coding += coding
        self.scoring += max(0.0, record.seconds - coding)
        self.bits[step_of(config)].append(record.bits / area)

    def rate(self, source: str) -> Rate:
        """Their means."""
        bpp = tuple((step, sum(values) / len(values)) for step, values in sorted(self.bits.items()))
        return Rate(self.coding / self.area, self.scoring / self.samples, bpp, source)


def recorded_rates(records: Iterable[Head]) -> dict[tuple[str, str], Rate]:
    """(codec, RDO mode) → what finished runs took."""
    sums: dict[tuple[str, str], _Sum] = defaultdict(_Sum)
    for record in records:
        if record.status == "ok" and record.bits:
            config = config_of(record)
            samples = record.frames * record.input["width"] * record.input["height"]
            sums[config.codec, config.rdo].add(config, record, samples)
    return {kind: total.rate(RECORDS) for kind, total in sums.items()}


def probed_rates(
    plan: Plan, bench: Bench, file: InputFile, known: Mapping[tuple[str, str], Rate], absent: Iterable[str]
) -> dict[tuple[str, str], Rate]:
    """Rates of the kinds of runs that no record tells of: two frames each, at the ends and the middle of quality."""
    kinds: dict[tuple[str, str], list[CodingConfig]] = defaultdict(list)
    source = slice_source(file.open(), 0, _PROBE_FRAMES)
    for config in plan.configs(source.format.bit_depth):
        if (config.codec, config.rdo) not in known and config.codec not in absent:
            kinds[config.codec, config.rdo].append(dataclasses.replace(config, scale=1.0))
    with tempfile.TemporaryDirectory(prefix="mrdo-") as folder:
        return {kind: _probe(configs, bench, source, Path(folder)) for kind, configs in kinds.items()}


def _probe(configs: Sequence[CodingConfig], bench: Bench, source: FrameSource, folder: Path) -> Rate:
    ordered = sorted(dict.fromkeys(configs), key=step_of)
    total = _Sum()
    for config in dict.fromkeys([ordered[0], ordered[len(ordered) // 2], ordered[-1]]):
        record = _probe_run(config, bench, source, folder)
        total.add(config, record, record.frames * source.format.width * source.format.height)
    return total.rate(PROBES)


def _probe_run(config: CodingConfig, bench: Bench, source: FrameSource, folder: Path) -> RunRecord:
    coder = bench.coder(config, Workspace(folder))
    job = Job(source, "probe", config, bench.judges(config.gray or source.format.chroma == "400"))
    began = time.monotonic()
    return score_stream("probe", job, coder.encode(source, config), coder, began, bench.metrics)
