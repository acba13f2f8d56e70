"""What a command says and where: progress and notes on stderr, tables or NDJSON on stdout.

Only the command line uses this module; libraries take a ``Reporter``'s callables and print nothing themselves.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from encoder_bridge.plainjson import json_line

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress

PLAIN_INTERVAL_S = 5.0
"""Without a terminal a task writes at most one line per this many seconds, and a last one."""

Advance = Callable[[int], None]


class Reporter:
    """Output of one command. Safe to use from several threads.

    Args:
        json: NDJSON events on stdout and nothing else there; False shows tables instead.
    """

    def __init__(self, json: bool = False) -> None:
        from rich.console import Console

        self.json = json
        self._out = Console(soft_wrap=False)
        self._err = Console(stderr=True, highlight=False)
        self._lock = threading.RLock()
        self._open_tasks = 0
        self._progress: Progress | None = None

    def task(self, label: str, total: int | None) -> AbstractContextManager[Advance]:
        """A step with progress.

        Args:
            label: what is being done, for example ``encode QP 32``.
            total: number of units, None where it is not known.

        Returns:
            A context whose value is called with the number of units just finished. On a terminal it drives a bar with
            ETA. Otherwise lines: an outermost task always writes a last one, a nested one only if it took long.
        """
        live = self._err.is_terminal and not self._err.is_dumb_terminal
        return self._bar(label, total) if live else self._lines(label, total)

    def note(self, text: str) -> None:
        """A line on stderr."""
        self._say(text)

    def warn(self, text: str) -> None:
        """A line on stderr that starts with ``warning:``."""
        self._say(f"warning: {text}", "yellow")

    def error(self, kind: str, message: str) -> None:
        """``error: kind: message`` on stderr, and an ``error`` event."""
        self._say(f"error: {kind}: {message}", "bold red")
        self.event("error", type=kind, message=message)

    def event(self, kind: str, **fields: Any) -> None:
        """One JSON object with ``event`` = kind on stdout, flushed; nothing unless ``json``. NaN and ±inf are null."""
        if not self.json:
            return
        line = json_line({"event": kind, **fields})
        with self._lock, self._paused():
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    def show(self, renderable: RenderableType) -> None:
        """A table or text on stdout, as wide as the terminal, plain when piped; nothing when ``json``.

        A string is shown as it is, without markup.
        """
        from rich.text import Text

        if self.json:
            return
        renderable = Text(renderable) if isinstance(renderable, str) else renderable
        with self._lock, self._paused():
            if self._out.is_terminal:
                self._out.print(renderable)
            else:
                _print_full_width(renderable)
            sys.stdout.flush()

    def _say(self, text: str, style: str | None = None) -> None:
        from rich.text import Text

        with self._lock:
            if self._err.is_terminal:
                self._err.print(Text(text, style=style or ""))
            else:
                sys.stderr.write(text + "\n")
                sys.stderr.flush()

    @contextmanager
    def _paused(self) -> Iterator[None]:
        """Take the bars off the screen while stdout is written to the same terminal."""
        if self._progress is None or not self._out.is_terminal:
            yield
            return
        self._progress.stop()
        try:
            yield
        finally:
            self._progress.start()

    @contextmanager
    def _bar(self, label: str, total: int | None) -> Iterator[Advance]:
        with self._lock:
            progress = self._progress = self._progress or _new_progress(self._err)
            if self._open_tasks == 0:
                progress.start()
            outermost = self._open_tasks == 0
            self._open_tasks += 1
            bar = progress.add_task(label, total=total)
        meter = _Meter(label, total)

        def advance(units: int = 1) -> None:
            meter.add(units)
            progress.update(bar, completed=meter.done)

        try:
            yield advance
            meter.finished = True
        finally:
            with self._lock:
                progress.remove_task(bar)
                self._open_tasks -= 1
                if self._open_tasks == 0:
                    progress.stop()
                    self._progress = None
            if outermost:
                self._say(meter.last_line(), "dim")

    @contextmanager
    def _lines(self, label: str, total: int | None) -> Iterator[Advance]:
        with self._lock:
            outermost = self._open_tasks == 0
            self._open_tasks += 1
        meter = _Meter(label, total)

        def advance(units: int = 1) -> None:
            meter.add(units)
            if meter.due():
                self._say(meter.line())

        try:
            yield advance
            meter.finished = True
        finally:
            with self._lock:
                self._open_tasks -= 1
            if outermost or meter.spoke:
                self._say(meter.last_line())


class _Meter:
    """Counts units and words them."""

    def __init__(self, label: str, total: int | None) -> None:
        self.label, self.total, self.done = label, total, 0
        self.spoke = self.finished = False
        self._start = self._last = time.monotonic()
        self._lock = threading.Lock()

    def add(self, units: int) -> None:
        with self._lock:
            self.done += units

    def due(self) -> bool:
        """True once per interval."""
        with self._lock:
            now = time.monotonic()
            if now - self._last < PLAIN_INTERVAL_S or self.done == self.total:
                return False
            self._last, self.spoke = now, True
            return True

    def line(self) -> str:
        seconds = time.monotonic() - self._start
        text = f"{self.label}: {self._count()}"
        if self.total and self.done:
            left = seconds * (self.total - self.done) / self.done
            text += f" ({100 * self.done // self.total} %), {clock(left)} left"
        return text

    def last_line(self) -> str:
        seconds = time.monotonic() - self._start
        count = self._count() if self.finished else f"stopped at {self._count()}"
        return f"{self.label}: {count} in {clock(seconds)}"

    def _count(self) -> str:
        return f"{self.done}/{self.total}" if self.total else str(self.done)


def clock(seconds: float) -> str:
    """Seconds for people: ``0.8 s``, ``42 s``, ``3:07 min``, ``2:05 h``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d} min"
    return f"{minutes // 60}:{minutes % 60:02d} h"


def _new_progress(console: Console) -> Progress:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=None), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TextColumn("ETA"), TimeRemainingColumn())
    return Progress(*columns, *times, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)


def _print_full_width(renderable: RenderableType) -> None:
    """A file or pipe has no width: never fold a table into it."""
    from rich.console import Console

    wide = Console(width=10_000)
    width = max(80, wide.measure(renderable).maximum)
    Console(width=width, no_color=True, highlight=False).print(renderable, crop=False)
