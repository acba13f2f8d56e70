"""Dask clusters that belong to one sweep: worker processes of this machine, or jobs of a batch system."""

from __future__ import annotations

import importlib
import logging
import shutil
import signal
from pathlib import Path
from typing import Any

from encoder_bridge.errors import ConfigError, ToolNotFoundError
from sweeps.executors import dask_worker
from sweeps.executors import worker as worker_side
from sweeps.executors.base import ExecutorOptions

JOB_SYSTEMS = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "lsf": "LSFCluster",
    "sge": "SGECluster",
    "moab": "MoabCluster",
    "oar": "OARCluster",
    "htcondor": "HTCondorCluster",
}
_OURS = {
    "distributed.scheduler.worker-saturation": 1.0,  # one task a worker: no other is blamed for its end
    "distributed.scheduler.allowed-failures": 0,  # the executor itself begins a lost task again
    "distributed.nanny.pre-spawn-environ": {},
    "distributed.scheduler.work-stealing": False,
    "distributed.admin.large-graph-warning-threshold": "1GB",
}


_LOCAL = {
    # A nanny that could not start its worker again is taken away, and another put in its place by the executor.
    "distributed.deploy.lost-worker-timeout": "10s",
    # A result that a worker took with it is asked for so long before its task is done again.
    "distributed.comm.timeouts.connect": "10s",
}


def _packages(*names: str) -> list[Any]:
    """Packages that are untyped, slow to import and may be missing."""
    return [importlib.import_module(name) for name in names]


def silence() -> None:
    """Dask tells its own news on stderr, among the driver's progress; what matters comes back as outcomes."""
    _packages("distributed")  # makes its loggers
    for name in [name for name in logging.root.manager.loggerDict if name.split(".")[0] == "distributed"]:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def own_settings(scratch: Path | None) -> Any:
    """Context in which Dask is set up as a cluster of ours wants it; one of this machine has a ``scratch``."""
    (dask,) = _packages("dask")
    local = {} if scratch is None else {**_LOCAL, "temporary-directory": str(scratch / "dask")}
    return dask.config.set({**_OURS, **local})


def local_cluster(options: ExecutorOptions, scratch: Path) -> Any:
    """Scheduler in this process, workers in processes of their own, one task each: a ``LocalCluster`` with places."""
    (distributed,) = _packages("distributed")
    workers = options.workers or worker_side.share()
    cores = worker_side.shares(workers, options.cores)
    spec = {
        slot: {"cls": distributed.Nanny, "options": _worker(options, cores[slot], slot, scratch)}
        for slot in range(workers)
    }
    scheduler = {
        "host": "127.0.0.1",
        "port": 0,
        "protocol": "tcp://",
        "dashboard": False,
        "dashboard_address": "127.0.0.1:0",
    }
    for last in (False, False, True):
        try:
            return distributed.SpecCluster(
                workers=spec,
                scheduler={"cls": distributed.Scheduler, "options": scheduler},
                silence_logs=logging.CRITICAL,
                name=f"mrdo-{scratch.name}",
            )
        except RuntimeError as error:
            if last:
                cause = error.__cause__ or error
                raise ToolNotFoundError(f"Dask workers cannot be started on this machine: {cause}") from error
    return None


def _worker(options: ExecutorOptions, cores: list[int], slot: int, scratch: Path) -> dict[str, Any]:
    gpu = slot if slot < options.gpus else None
    folder = scratch / f"{slot}"
    return {
        "nthreads": 1,
        "memory_limit": 0,
        "host": "127.0.0.1",
        "protocol": "tcp://",
        "dashboard": False,
        "local_directory": str(scratch / "dask"),
        "resources": {} if gpu is None else {"GPU": 1},
        "env": worker_side.variables(cores, folder, gpu),
        "preload": [dask_worker.__name__],
        "silence_logs": logging.CRITICAL,
    }


def job_cluster(options: ExecutorOptions) -> Any:
    """Workers as jobs, one task each, asked for through dask-jobqueue; its own settings file counts.

    Raises ConfigError for an unknown system or setting, ToolNotFoundError where jobs cannot be submitted here.
    """
    dask_jobqueue = _jobqueue()
    if options.cluster not in JOB_SYSTEMS:
        raise ConfigError(f"--cluster {options.cluster}; known: {', '.join(JOB_SYSTEMS)}")
    kind = getattr(dask_jobqueue, JOB_SYSTEMS[options.cluster])
    submit = kind.job_cls.submit_command.split()[0]
    if shutil.which(submit) is None:
        raise ToolNotFoundError(f"{options.cluster}: no {submit} here; start on a node that submits jobs")
    try:
        cluster = kind(**_job(options))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"--cluster {options.cluster}: {error}") from error
    jobs = options.workers or 1
    cluster.adapt(minimum_jobs=jobs, maximum_jobs=jobs)  # a job that ends is asked for again
    return cluster


def _jobqueue() -> Any:
    """The package, which takes Ctrl-C for itself when it is imported: it would end a sweep without a word."""
    before = signal.getsignal(signal.SIGINT)
    try:
        return _packages("dask_jobqueue")[0]
    finally:
        signal.signal(signal.SIGINT, before)


def _job(options: ExecutorOptions) -> dict[str, Any]:
    """Arguments of a job; those of the user go before ours."""
    cores = options.cores or 1
    ours: dict[str, Any] = {"cores": 1, "processes": 1, "memory": "4GB"}
    if options.cluster in ("slurm",):
        ours["job_cpu"] = cores
    ours["job_script_prologue"] = [f"export OMP_NUM_THREADS={cores}"]
    if options.gpus:
        ours["worker_extra_args"] = ["--resources", "GPU=1"]
    return {**ours, **dict(options.cluster_options)}
