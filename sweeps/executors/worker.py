"""What a worker process does to itself before its first task: its cores, its temporary files, its output, its end."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_LONGEST = 64
LOG = "log"
CORES = "MRDO_WORKER_CORES"
"""Variable with the numbers of a worker's cores."""


def share() -> int:
    """CPU cores the calling thread may use: how many threads an encoder or a network should have there."""
    return len(os.sched_getaffinity(0))


def shares(workers: int, cores: int | None = None) -> list[list[int]]:
    """The cores of each of ``workers``: ``cores`` each or an even share; shared only where there are too few."""
    here = sorted(os.sched_getaffinity(0))
    width = min(len(here), cores or max(1, len(here) // workers))
    return [[here[(worker * width + i) % len(here)] for i in range(width)] for worker in range(workers)]


def variables(cores: Sequence[int], folder: Path, gpu: int | None) -> dict[str, str]:
    """Environment of a worker: threads of numerical libraries, its temporary folder, its GPU (None hides them all)."""
    threads = dict.fromkeys(_THREAD_VARIABLES, str(len(cores)))
    threads[CORES] = ",".join(map(str, cores))
    return {**threads, "TMPDIR": str(folder), "CUDA_VISIBLE_DEVICES": "" if gpu is None else str(gpu)}


def settle(cores: Sequence[int], folder: Path) -> None:
    """Confine this process to its cores and its folder, whose former contents go, and send its output to a file there.

    Progress bars and messages of a worker would garble those of the driver.
    """
    os.sched_setaffinity(0, cores)
    renew(folder)
    tempfile.tempdir = str(folder)
    null, log = os.open(os.devnull, os.O_RDONLY), os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(descriptor, target)
    os.close(null)
    os.close(log)


def scratch_of(wanted: Path | None) -> Path:
    """The folder for temporary files, empty: a new one, or ``wanted``.

    Where the latter's name is too long for the sockets that encoders with our plugin talk through, it is one of the
    system's folder whose name it determines, so that the next to ask for it finds what a killed driver left.
    """
    if wanted is None:
        return Path(tempfile.mkdtemp(prefix="mrdo-"))
    folder = wanted.absolute()
    if len(str(folder)) > _LONGEST:
        folder = Path(tempfile.gettempdir()) / f"mrdo-{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"
    renew(folder)
    return folder


def renew(folder: Path) -> None:
    """Make ``folder`` empty and this user's own."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)


def last_words(folder: Path, lines: int = 3) -> str:
    """The end of what a worker wrote, on one line; empty where it was silent."""
    try:
        text = (folder / LOG).read_bytes()[-4096:].decode(errors="replace")
    except OSError:
        return ""
    return " | ".join(line.strip() for line in text.splitlines()[-lines:] if line.strip())


def end_with_parent() -> None:
    """SIGTERM for this process when the one that started it is gone."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)
