"""From exceptions to exit codes: the frame every command runs in.

Exit codes: 0 success; 2 usage (click's errors and ConfigError: a value the command, the codec or the input does not
accept); 1 every other failure; 130, 143 and 129 after Ctrl-C, SIGTERM and SIGHUP; 141 when the reader of stdout left.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import click

from encoder_bridge.console import Reporter
from encoder_bridge.errors import BridgeError, ConfigError

_HelpShown: type[click.UsageError] = getattr(click.exceptions, "NoArgsIsHelpError", click.exceptions.NoSuchOption)
EXIT_FAILURE, EXIT_USAGE, EXIT_PIPE = 1, 2, 128 + signal.SIGPIPE
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP, raised so that context managers unwind and temporary files go."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def run_cli(command: click.Command, argv: Sequence[str] | None = None, name: str = "mrdo") -> int:
    """Run a click command and turn whatever happens into one line and an exit code (see the module's docstring).

    Args:
        command: the command or group.
        argv: arguments without the program's name; None takes ``sys.argv``.
        name: program name in usage lines.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    restore = {number: _raise_on(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        with command.make_context(name, args[:]) as context:
            command.invoke(context)
        sys.stdout.flush()
        return 0
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        return _exit_code(error, json=_wants_json(args))
    finally:
        for number, handler in restore.items():
            signal.signal(number, handler)


def _raise_on(number: int) -> signal.Handlers:
    """Install a raising handler; a signal ignored by the parent (nohup) stays ignored."""

    def handle(received: int, frame: FrameType | None) -> None:
        signal.signal(received, signal.SIG_IGN)
        raise Terminated(received)

    before = signal.getsignal(number)
    if before is not signal.SIG_IGN:
        signal.signal(number, handle)
    return before  # type: ignore[return-value]


def _wants_json(args: Sequence[str]) -> bool:
    options = args[: args.index("--")] if "--" in args else args
    return "--json" in options


def _exit_code(error: BaseException, json: bool) -> int:
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else EXIT_FAILURE
    if isinstance(error, BrokenPipeError) and _reader_left():
        return EXIT_PIPE
    if os.environ.get("MRDO_DEBUG"):
        traceback.print_exception(error)
    try:
        return _report(error, Reporter(json=json))
    except OSError as failure:  # stdout is gone or full: the error line went to stderr before
        return EXIT_PIPE if failure.errno == errno.EPIPE and _reader_left() else EXIT_FAILURE


def _report(error: BaseException, reporter: Reporter) -> int:
    if isinstance(error, KeyboardInterrupt | click.Abort):
        number = error.number if isinstance(error, Terminated) else signal.SIGINT
        reporter.error("Interrupted", f"interrupted by {signal.Signals(number).name}")
        return 128 + number
    if isinstance(error, _HelpShown):
        error.show()
        return EXIT_USAGE
    if isinstance(error, click.UsageError):
        reporter.error(type(error).__name__, _usage_text(error))
        return EXIT_USAGE
    kind, message = _describe(error)
    reporter.error(kind, " | ".join(line.strip() for line in message.splitlines() if line.strip()))
    return EXIT_USAGE if isinstance(error, ConfigError) else EXIT_FAILURE


def _describe(error: BaseException) -> tuple[str, str]:
    """Kind and message of a failure that is not one of click's usage errors."""
    if isinstance(error, click.ClickException):
        return type(error).__name__, error.format_message()
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        where = f" ({error.filename})" if error.filename else ""
        return "OutputError", f"{os.strerror(error.errno)}{where}; free some space or choose another folder"
    if isinstance(error, BridgeError):
        return type(error).__name__, str(error) or "(no message)"
    if isinstance(error, MemoryError):
        return "MemoryError", "out of memory; use fewer --threads, a smaller --scale or a machine with more memory"
    if isinstance(error, OSError) and error.filename is not None:
        return type(error).__name__, f"{error.filename}: {error.strerror}"
    return type(error).__name__, f"{error} {_place(error)}: a bug in machine-rdo; MRDO_DEBUG=1 shows the traceback"


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"(in {Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""


def _usage_text(error: click.UsageError) -> str:
    message = error.format_message().replace("\n", " ")
    path = error.ctx.command_path if error.ctx else "mrdo"
    return f"{message} See '{path} --help'."


def _reader_left() -> bool:
    """True when stdout or stderr is a pipe nobody reads; then both are sent nowhere, so that nothing more is said."""
    broken = False
    for descriptor in (1, 2):
        poll = select.poll()
        poll.register(descriptor, 0)
        if any(events & select.POLLERR for _, events in poll.poll(0)):
            broken = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    return broken
