"""Metrics for detection, faces and plates on generated data: the table of all tasks (``mrdo train objects``).

    python benchmarks/object_metrics.py OUT [--pictures 1.0] [--seed 0]

Everything is kept in OUT; run again, it prints at once. On two cores about 25 minutes of CPU time.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from encoder_bridge.console import Reporter
from sweeps.commands.train_objects import score_table
from sweeps.object_plan import ObjectRequest
from sweeps.object_training import run_objects


def main() -> None:
    """Run the chain for all tasks and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pictures", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    say = Reporter()
    results = run_objects(ObjectRequest(given.out, pictures=given.pictures, seed=given.seed), say)
    assert results is not None
    for task, found in results.items():
        say.show(score_table(task, found))


if __name__ == "__main__":
    main()
