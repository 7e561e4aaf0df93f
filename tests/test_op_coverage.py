"""The op table is complete, and what it says of itself is true."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from op_jobs import ForwardJob, GradientJob, ops_of
from op_table import TABLE, Row
from test_optimizers import COVERED

from flowrs import _flowrs

#: Operations whose results are random or go to variables, and the files that test them.
ELSEWHERE = {
    "moving_average": "test_normalization.py",
    "random_mask": "test_random.py",
    "random_uniform": "test_random.py",
}


def test_every_registered_operation_is_covered() -> None:
    covered = {op for row in TABLE for op in row.covers} | COVERED | set(ELSEWHERE)
    missing = set(_flowrs.op_names()) - covered
    assert not missing, (
        f"no row of tests/op_table.py covers {', '.join(sorted(missing))}: add one for each"
    )


def test_names_of_rows_are_unique() -> None:
    assert [name for name, count in Counter(row.name for row in TABLE).items() if count > 1] == []


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in TABLE])
def test_row_uses_the_operations_that_it_says_it_covers(row: Row) -> None:
    arrays = row.arrays(row.dtypes[-1])
    forward = ForwardJob(row, arrays)
    weights = np.ones_like(forward())
    used = ops_of(forward.job)
    if row.differentiable:
        backward = GradientJob(row, arrays, weights)
        backward.loss()
        used |= ops_of(backward.job)
    assert set(row.covers) <= used
