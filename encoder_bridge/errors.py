"""The error taxonomy. A message gives the value, what was expected and the command that fixes it, where one does."""

from __future__ import annotations

import signal
from collections.abc import Sequence

_TAIL_LINES = 12


class BridgeError(Exception):
    """Root of every error a user can cause or meet; the command line prints it as one line and exits 1."""


class ConfigError(BridgeError, ValueError):
    """A setting is outside what the codec, the input or the command accepts."""


class ToolNotFoundError(BridgeError, FileNotFoundError):
    """An external program is missing; the message names the command that brings it."""


class BuildError(BridgeError):
    """Fetching, patching or compiling an encoder failed."""


class DecodeError(BridgeError):
    """An input or a stream could not be read as video."""


class OutputError(BridgeError, OSError):
    """An output could not be written: folder missing or read-only, disk full."""


class PluginError(BridgeError):
    """The plugin, its host or the connection between them failed, so the encode was stopped."""


class DeviceError(BridgeError):
    """A device was asked for that is not here."""


class ModelError(BridgeError, ValueError):
    """A network file is corrupt or does not have the shape a task needs."""


class MetricInputError(BridgeError, ValueError):
    """A metric was given arrays it is not defined on."""


class CurveError(BridgeError, ValueError):
    """A rate-accuracy curve does not support the comparison asked for."""


class StoreError(BridgeError):
    """The result store is damaged or in use."""


class EncoderError(BridgeError):
    """An encoder process failed.

    Args:
        command: the command line that was run.
        returncode: exit status; negative means killed by that signal (as in ``subprocess``).
        stderr: what the encoder wrote; its last lines are shown.
    """

    def __init__(self, command: Sequence[str], returncode: int, stderr: str, reason: str = "") -> None:
        self.command = list(command)
        self.returncode = returncode
        self.stderr_tail = stderr.strip().splitlines()[-_TAIL_LINES:]
        how = reason or _describe_exit(returncode)
        tail = " | ".join(line.strip() for line in self.stderr_tail if line.strip()) or "(no output)"
        super().__init__(f"{self.command[0]} {how}: {tail} [command: {' '.join(self.command)}]")


class EncoderTimeout(EncoderError):
    """An encoder made no progress within the time allowed and was killed."""


def _describe_exit(returncode: int) -> str:
    if returncode >= 0:
        return f"exited with status {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    return f"was killed by {name}"
