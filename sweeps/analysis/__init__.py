"""Tables and figures of a store's records: those of seed 001 and 000, and machine-aware RDO over plain.

A table takes any iterable of ``RunRecord`` (or a ``SweepData``, made once for several tables) and a ``Question``; it
returns a ``Table`` with ``console()``, ``markdown()``, ``csv()`` and ``to_json()``. A number that is undefined is a
reason, never a number.
"""

from sweeps.analysis.constraints import table_vi
from sweeps.analysis.criteria import table_vii
from sweeps.analysis.curves import rd_curves
from sweeps.analysis.data import Question, SweepData
from sweeps.analysis.iso import iso_table
from sweeps.analysis.matrix import gains_by_input, table_v
from sweeps.analysis.rdo import rdo_table
from sweeps.analysis.series import Series
from sweeps.analysis.study import table_ii
from sweeps.analysis.table import Cell, Row, Table
from sweeps.table_names import METRICS

__all__ = [
    "METRICS",
    "Cell",
    "Question",
    "Row",
    "Series",
    "SweepData",
    "Table",
    "gains_by_input",
    "iso_table",
    "rd_curves",
    "rdo_table",
    "table_ii",
    "table_v",
    "table_vi",
    "table_vii",
]
