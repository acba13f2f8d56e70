"""Ways to run tasks: here, in local processes, on a Dask cluster. Taking the registry from here registers them all."""

from sweeps.executors import dask, inline, processes
from sweeps.executors.base import EXECUTORS, Executor, ExecutorOptions, Outcome, Task, open_executor

__all__ = [
    "EXECUTORS",
    "Executor",
    "ExecutorOptions",
    "Outcome",
    "Task",
    "dask",
    "inline",
    "open_executor",
    "processes",
]
