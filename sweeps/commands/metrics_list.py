"""``mrdo metrics list``: what can be measured here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sweeps.metric_options import metric_weights_option
from sweeps.options import command as new_command
from sweeps.options import json_option, reporter


@new_command("list")
@metric_weights_option
@json_option
def command(metric_weights: Path | None, **options: Any) -> None:
    """Every metric and map: range, direction, smallest picture, what it sees, and whether it can run here."""
    from sweeps.metric_lists import candidate_rows, iqa_rows, map_rows, metrics_tables, object_rows

    say = reporter(options)
    rows = [*iqa_rows(metric_weights), *candidate_rows(), *map_rows(), *object_rows()]
    for row in rows:
        say.event("metric", available=row["missing"] is None, **row)
    say.event("result", metrics=len(rows), available=sum(row["missing"] is None for row in rows))
    for table in metrics_tables(rows):
        say.show(table)
