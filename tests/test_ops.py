"""Every row of the op table, forward, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from op_jobs import ISAS, ForwardJob
from op_table import TABLE, Array, Row

import flowrs as flow

ROWS = [pytest.param(row, id=row.name) for row in TABLE]
CASES = [
    pytest.param(row, dtype, id=f"{row.name}-{dtype}") for row in TABLE for dtype in row.dtypes
]


def in_double(array: Array) -> Array:
    """Floats as native float64, integers as they are."""
    native = array.dtype.newbyteorder("=")
    return array.astype(np.float64 if native.kind == "f" else native)


def check(row: Row, dtype: str, arrays: list[Array], found: Array) -> None:
    """Compares a result with the reference."""
    exact = [in_double(array) for array in arrays]
    with np.errstate(all="ignore"):
        reference = row.reference(*exact)
        expected = reference.astype(row.output or dtype)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    if row.units == 0 or expected.dtype.kind != "f":
        np.testing.assert_array_equal(found, expected)
        return
    limits = np.finfo(expected.dtype)
    magnitude = np.abs(reference) if row.magnitude is None else row.magnitude(*exact)
    allowed = row.units * limits.eps * magnitude + limits.tiny
    error = np.abs(found.astype(np.float64) - reference)
    assert np.isfinite(found).all()
    assert (error <= allowed).all(), (
        f"off by up to {np.max(error / allowed):.3g} times the {row.units} units allowed"
    )


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("row", "dtype"), CASES)
def test_result_is_that_of_numpy(
    row: Row, dtype: str, isa: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWRS_ISA", isa)
    arrays = row.arrays(dtype)
    check(row, dtype, arrays, ForwardJob(row, arrays)())


@pytest.mark.parametrize("row", ROWS)
def test_bits_are_the_same_for_every_number_of_threads(row: Row) -> None:
    job = ForwardJob(row, row.arrays(row.dtypes[0]))
    results = []
    for number in (1, 3, 8):
        flow.config.cpu_threads(number)
        results.append(job().tobytes())
    assert results[0] == results[1] == results[2]


def test_a_job_runs_again_with_other_arrays() -> None:
    row = next(row for row in TABLE if row.name == "matmul+bias+relu-5,7,3")
    job = ForwardJob(row, row.arrays("float32"))
    first = job()
    job.arrays = [-array for array in job.arrays]
    check(row, "float32", job.arrays, job())
    job.arrays = [-array for array in job.arrays]
    np.testing.assert_array_equal(job(), first)
