"""Every differentiable row of the op table, backward.

The gradient of a loss, projected on a random direction, must be the slope of the loss along that
direction; in float64, where differences are good to nine digits. Where a row gives its gradient as
a formula (at kinks and limits), all elements are compared with that.
"""

from __future__ import annotations

import numpy as np
import pytest
from op_jobs import ISAS, GradientJob
from op_table import TABLE, Array, Row

import flowrs as flow

ROWS = [pytest.param(row, id=row.name) for row in TABLE if row.differentiable]

#: Step of the differences: the cut-off error is its square, the rounding error 1e-16 over it.
STEP = 1e-5


def narrow_arrays(row: Row) -> list[Array]:
    """Inputs whose floats are exact in float32, so that both dtypes can have the same."""
    return row.arrays("float32" if "float32" in row.dtypes else row.dtypes[0])


def widened(arrays: list[Array]) -> list[Array]:
    """The same values with all floats in float64."""
    return [array.astype(np.float64) if array.dtype.kind == "f" else array for array in arrays]


def weights_for(row: Row, arrays: list[Array]) -> Array:
    """Random factors of the elements of the result."""
    shape = row.reference(*widened(arrays)).shape
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def gradients(row: Row, dtype: str) -> list[Array]:
    """The gradients in a dtype, for the same inputs whatever the dtype."""
    arrays = narrow_arrays(row)
    weights = weights_for(row, arrays)
    if dtype == "float64":
        arrays, weights = widened(arrays), weights.astype(np.float64)
    return GradientJob(row, arrays, weights).gradients()


def check(row: Row, found: Array, expected: Array) -> None:
    """Compares a gradient with a better one, element by element."""
    allowed = row.gradient_units * np.finfo(found.dtype).eps * np.abs(expected).max(initial=0)
    assert (np.abs(found - expected) <= allowed).all()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("row", ROWS)
def test_gradient_is_the_slope_of_the_loss(
    row: Row, isa: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWRS_ISA", isa)
    arrays = widened(narrow_arrays(row))
    weights = weights_for(row, arrays).astype(np.float64)
    job = GradientJob(row, arrays, weights)
    found = job.gradients()
    for i, gradient in zip(row.differentiable, found, strict=True):
        assert gradient.shape == arrays[i].shape
        assert gradient.dtype == np.float64
    if row.gradient is not None:
        for gradient, expected in zip(found, row.gradient(*arrays, weights), strict=True):
            check(row, gradient, expected)
        return
    rng = np.random.default_rng(2)
    directions = {i: rng.normal(size=arrays[i].shape) for i in row.differentiable}

    def loss(distance: float) -> float:
        moved = list(arrays)
        for i, direction in directions.items():
            moved[i] = arrays[i] + distance * direction
        return job.loss(moved)

    slope = (loss(STEP) - loss(-STEP)) / (2 * STEP)
    terms = [(g * d).ravel() for g, d in zip(found, directions.values(), strict=True)]
    projection = np.concatenate(terms)
    # The losses are of the order of 1, and rounded before they are subtracted.
    rounding = np.finfo(np.float64).eps / STEP
    assert abs(projection.sum() - slope) <= 1e-7 * np.abs(projection).sum() + rounding


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("row", ROWS)
def test_float32_gradient_is_the_rounded_float64_one(
    row: Row, isa: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWRS_ISA", isa)
    for found, exact in zip(gradients(row, "float32"), gradients(row, "float64"), strict=True):
        assert found.dtype == np.float32
        check(row, found, exact)


@pytest.mark.parametrize("row", ROWS)
def test_bits_are_the_same_for_every_number_of_threads(row: Row) -> None:
    arrays = narrow_arrays(row)
    job = GradientJob(row, arrays, weights_for(row, arrays))
    results = []
    for number in (1, 3, 8):
        flow.config.cpu_threads(number)
        results.append([gradient.tobytes() for gradient in job.gradients()])
    assert results[0] == results[1] == results[2]
