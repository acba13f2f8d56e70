"""The batch encoder: every video of a tree into the same place of another tree, with one configuration."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from encoder_bridge.config import CodingConfig
from encoder_bridge.encoders import ENCODERS
from encoder_bridge.errors import ConfigError
from encoder_bridge.mux import BARE, CONTAINERS
from sweeps.driving.bench import Bench, Setup, bench_of
from sweeps.driving.keys import template
from sweeps.driving.ledger import SeenInput
from sweeps.driving.schedule import Run
from sweeps.encoding import encode_file
from sweeps.executors.base import Task
from sweeps.plan import InputFile
from sweeps.records import RunRecord
from sweeps.run_one import key_models
from sweeps.session import Once
from sweeps.store import ResultStore
from sweeps.workspace import Workspace

BYTES = "bytes"
"""Extra field of a batch's records: size of the file; ``bits`` are those of the bare stream."""
_IN_MP4 = ("hevc", "h264", "vvc")


@dataclass(frozen=True)
class Errand:
    """A video as it travels to a worker.

    Attributes:
        key: of the record.
        input: what is coded.
        config: how; its depth is the input's where ``own_depth``.
        output: from the results' folder.
        own_depth: see there.
    """

    key: str
    input: SeenInput
    config: CodingConfig
    output: str
    own_depth: bool


def output_names(files: Sequence[InputFile], codec: str, suffix: str | None) -> dict[InputFile, str]:
    """Where each video goes, as a path from the results' folder; two that differ in their ending alone keep it.

    Raises:
        ConfigError: a suffix that cannot hold the codec.
    """
    kind = ENCODERS.get(codec).codec
    ending = suffix or (".mp4" if kind in _IN_MP4 else ".mkv")
    if ending.lower() not in CONTAINERS and BARE.get(ending.lower()) != kind:
        bare = [name for name, of in BARE.items() if of == kind]
        raise ConfigError(f"--suffix {ending!r} for {codec}; expected one of {', '.join([*CONTAINERS, *bare])}")
    short = {file: str(Path(file.name).with_suffix(ending)) for file in files}
    uses = Counter(short.values())
    return {file: name if uses[name] == 1 else file.name + ending for file, name in short.items()}


class BatchPlans:
    """One run for each video; see ``drive.Plans``.

    Args:
        config: how they are coded.
        inputs: the videos.
        bench: knows the networks that count.
        outputs: where they go: part of the key, as a video may be wanted in two places.
    """

    def __init__(
        self, config: CodingConfig, inputs: Sequence[SeenInput], bench: Bench, outputs: Mapping[InputFile, str]
    ) -> None:
        build = ENCODERS.get(config.codec)().build_info(config).key()
        self._template = template(config, build, key_models(config, (), *bench.makers_of(config), None))
        self._config, self._inputs, self._outputs = config, inputs, outputs

    def __len__(self) -> int:
        return len(self._inputs)

    def __iter__(self) -> Iterator[Run]:
        for item in self._inputs:
            yield Run(self._template.key(self._digest(item)), item, self._config)

    def counts(self) -> dict[str, int]:
        """See ``drive.Plans``."""
        return {self._config.codec: len(self)}

    def saved(self) -> dict[str, object]:
        """What ``schedule.planned_keys`` reads."""
        rows = [{"name": i.file.name, "digest": self._digest(i), "labels": None, "group": "all"} for i in self._inputs]
        return {"inputs": rows, "groups": {"all": [[self._config.codec, self._template.plain]]}}

    def _digest(self, item: SeenInput) -> str:
        return f"file {item.signature} to {self._outputs[item.file]}"


@dataclass(frozen=True)
class Encoding:
    """The work of a batch; see ``drive.Work``.

    Attributes:
        setup: how runs are made.
        outputs: where the videos go.
        own_depth: code at the depth of each input.
    """

    setup: Setup
    outputs: Mapping[InputFile, str]
    own_depth: bool

    def stands(self, run: Run, store: ResultStore) -> bool:
        """Whether the file is there as it was written."""
        record, path = store.get(run.key), Path(self.setup.folder) / self.outputs[run.input.file]
        return record is not None and path.is_file() and path.stat().st_size == record.extra.get(BYTES)

    def possible(self, run: Run) -> bool:
        """Always."""
        return True

    def before(self, missing: Sequence[Run]) -> list[Task]:
        """Nothing."""
        return []

    def task(self, run: Run) -> Task:
        """Code one video."""
        errand = Errand(run.key, run.input, run.config, self.outputs[run.input.file], self.own_depth)
        return Task(run.key, encode_errand, (self.setup, errand), gpu=self.setup.device == "cuda")


def encode_errand(setup: Setup, errand: Errand) -> RunRecord:
    """Code a video into its place. Raises what ``encode_file`` raises."""
    began = time.monotonic()
    bench, file = bench_of(setup), errand.input.file
    source = Once(bench.source(file, errand.input.signature))
    config = replace(errand.config, bit_depth=source.format.bit_depth) if errand.own_depth else errand.config
    output = Path(setup.folder) / errand.output
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mrdo-", dir=setup.workdir) as folder:
        encoded = encode_file(source, config, bench.coder(config, Workspace(Path(folder))), output)
    stream, fmt = encoded.stream, source.format
    return RunRecord(
        key=errand.key,
        config=config.as_dict(),
        input={
            "digest": errand.input.signature,
            "name": file.name,
            "width": fmt.width,
            "height": fmt.height,
            "frames": stream.frames,
            "fps": str(fmt.fps),
        },
        build=encoded.build.key(),
        bits=stream.bits,
        frames=stream.frames,
        bpp=stream.bits / (stream.frames * fmt.width * fmt.height),
        encode_s=stream.encode_s,
        map_s=encoded.map_s,
        first_pass_s=encoded.first_pass_s,
        judge_s=encoded.judge_s,
        stream=errand.output,
        seconds=time.monotonic() - began,
        extra={BYTES: output.stat().st_size},
    )
