"""An encoder process with or without the plugin host beside it: what every driver does alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from encoder_bridge import toolchain
from encoder_bridge.atomic import replacing
from encoder_bridge.config import CodingConfig, RunOptions
from encoder_bridge.encoder import Bitstream, BuildInfo, Judge, SideInfo
from encoder_bridge.errors import EncoderError, EncoderTimeout, PluginError
from encoder_bridge.host import EXIT_STATUS, PluginHost
from encoder_bridge.process import Buffer, PipeResult, run_piped
from encoder_bridge.wire import GROUP_CTU
from encoder_bridge.workfiles import WorkFiles

Publish = Callable[[int, SideInfo | None], None]
"""Tells the plugin about a frame by its display index; must be called before the encoder can ask about it."""
Feed = Callable[[Publish], Iterator[Buffer]]
"""Makes what an encoder reads on its standard input or in its input file, and publishes every frame once."""


@dataclass(frozen=True)
class HostedResult:
    """What a finished encoder left.

    Attributes:
        stderr: the end of its messages; those on its standard output, too, where it works with files.
        written: bytes of the stream.
        seconds: wall time.
        frames: that were fed.
    """

    stderr: str
    written: int
    seconds: float
    frames: int

    def verify(self, command: Sequence[str]) -> None:
        """EncoderError where frames went in and nothing came out."""
        if self.frames and not self.written:
            raise EncoderError(command, 0, self.stderr, reason=f"read {self.frames} frames and wrote no stream")


@dataclass(frozen=True)
class HostedRun:
    """One run of an encoder; the plugin host runs beside it for any rdo but "psnr", and for the neutral arm.

    Attributes:
        command: program and arguments.
        build: the program.
        config, options: of the run.
        judge: who answers for candidates and hears of finished frames; without a host it hears nothing. One that has a
            method ``finished`` gets the host's counters at the end (``host.StatsListener``).
        quant_group: see ``PluginHost``.
        fatal: see ``run_piped``.
        files: for a program that reads and writes files. They are all there, and every frame is published, before it
            starts.
    """

    command: Sequence[str]
    build: BuildInfo
    config: CodingConfig
    options: RunOptions
    judge: Judge | None = None
    quant_group: int = 0
    fatal: Sequence[str] = ()
    files: WorkFiles | None = None

    def __call__(self, feed: Feed, sink: BinaryIO) -> HostedResult:
        """Run to the end. Raises EncoderError, EncoderTimeout, PluginError, OutputError, ToolNotFoundError."""
        if not self.config.needs_plugin:
            counter = _Counter(None)
            return counter.result(self._run(counter, feed, sink))
        with PluginHost(
            toolchain.plugin_path(self.build).absolute(),
            quant_group=self.quant_group,
            judge=self.judge,
            wants_ctus=self.judge is not None,
            judge_timeout_s=self.options.timeout_s,
        ) as host:
            return self._beside(host, feed, sink)

    def write(self, feed: Feed, output: Path, codec: str) -> Bitstream:
        """The stream of a program that writes it on its standard output; the file appears when it is finished."""
        with replacing(output) as temporary, temporary.open("wb") as sink:
            result = self(feed, sink)
            result.verify(self.command)
        return Bitstream(output, codec, result.written * 8, result.frames, result.seconds)

    def _beside(self, host: PluginHost, feed: Feed, sink: BinaryIO) -> HostedResult:
        counter = _Counter(host)
        try:
            return counter.result(self._run(counter, feed, sink, host.env(), lambda: _alive(host)))
        except EncoderTimeout:
            raise
        except EncoderError as error:
            host.check()
            if error.returncode == EXIT_STATUS:
                raise PluginError(self._plugin_message(error)) from error
            raise

    def _run(
        self,
        counter: _Counter,
        feed: Feed,
        sink: BinaryIO,
        env: dict[str, str] | None = None,
        alive: Callable[[], object] = lambda: None,
    ) -> PipeResult:
        buffers = counter.finishing(feed(counter.publish))
        limits: dict[str, Any] = {"env": env, "timeout_s": self.options.timeout_s, "fatal": self.fatal}
        if self.files is None:
            return run_piped(self.command, buffers, sink, alive=alive, **limits)
        files = self.files
        files.fill(buffers)
        files.prepare(counter.frames)
        done = run_piped(self.command, (), None, cwd=files.folder, alive=lambda: (alive(), files.written()), **limits)
        return replace(done, written=files.deliver(sink))

    def _plugin_message(self, error: EncoderError) -> str:
        said = [line.partition("mrdo: error:")[2].strip() for line in error.stderr_tail if "mrdo: error:" in line]
        return f"{self.build.name} stopped because of its plugin: {said[-1] if said else error}"


def quant_group(config: CodingConfig) -> int:
    """Side of a quantisation group for ``PluginHost``: the map's, a CTU where only candidates change a QP, else 0."""
    if config.map is not None and config.map.qp_map:
        return config.map.group
    varies = config.ctu is not None and any(candidate.delta_qp for candidate in config.ctu.candidates)
    return GROUP_CTU if varies else 0


@dataclass
class _Counter:
    host: PluginHost | None
    frames: int = 0

    def publish(self, index: int, side: SideInfo | None) -> None:
        self.frames += 1
        if self.host is not None:
            self.host.publish(index, side)

    def finishing(self, feed: Iterator[Buffer]) -> Iterator[Buffer]:
        yield from feed
        if self.host is not None:
            self.host.finish(self.frames)

    def result(self, done: PipeResult) -> HostedResult:
        return HostedResult(done.stderr, done.written, done.seconds, self.frames)


def _alive(host: PluginHost) -> object:
    host.check()
    return host.progress()
