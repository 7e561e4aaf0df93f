"""Statistics, histograms and comparisons of tensors, against NumPy on whole arrays."""

import math

import numpy as np
import pytest

from flowrs.formats.statistics import compare, describe, histogram
from flowrs.formats.tensors import BFLOAT16, TYPES, Tensor, pieces

RANDOM = np.random.default_rng(5)
#: More than one piece.
MANY = 600_000


def tensor(array, element_type=None):
    array = np.asarray(array)
    found = element_type or next(
        one for one in TYPES if one.stored == array.dtype and one is not BFLOAT16
    )
    return Tensor("w", found, array.shape, lambda: array)


@pytest.mark.parametrize(
    "array",
    [
        RANDOM.standard_normal(MANY).astype(np.float32),
        RANDOM.standard_normal(MANY) * 1e-3 + 1e6,
        RANDOM.standard_normal((700, 900)).astype(np.float16).T,
        RANDOM.integers(-(2**62), 2**62, MANY),
        RANDOM.integers(0, 2, MANY).astype(bool),
        np.array(-2.5),
        np.array([1e308, -1e308]),
    ],
    ids=["float32", "offset", "transposed", "int64", "bool", "scalar", "extreme"],
)
def test_moments_are_those_of_the_whole_array(array):
    found = describe(tensor(array))
    with np.errstate(over="ignore"):
        mean, deviation = array.mean(dtype=np.float64), array.std(dtype=np.float64)
    assert (found.elements, found.finite) == (array.size, array.size)
    assert (found.minimum, found.maximum) == (array.min().item(), array.max().item())
    assert found.mean == pytest.approx(float(mean), rel=1e-12, abs=1e-12 * abs(float(array.max())))
    assert found.deviation == pytest.approx(float(deviation), rel=1e-6)
    assert found.zeros == array.size - np.count_nonzero(array)


def test_what_is_not_finite_is_counted_and_left_out():
    array = np.array([0, -0.0, 1, np.nan, np.nan, np.inf, -np.inf, -np.inf, 3], np.float32)
    found = describe(tensor(array))
    assert (found.elements, found.finite, found.nan, found.infinite) == (9, 4, 2, 3)
    assert (found.zeros, found.minimum, found.maximum, found.mean) == (2, 0, 3, 1)
    only_nan = describe(tensor(np.full(3, np.nan)))
    assert only_nan.mean is only_nan.minimum is only_nan.deviation is None and only_nan.nan == 3
    assert describe(tensor(np.empty((0, 2)))).elements == 0


def test_bfloat16_counts_as_the_numbers_that_it_means():
    floats = np.array([1.5, -3, np.inf, np.nan], np.float32)
    stored = (floats.view(np.uint32) >> 16).astype(np.uint16)
    found = describe(tensor(stored, BFLOAT16))
    assert (found.minimum, found.maximum, found.nan, found.infinite) == (-3, 1.5, 1, 1)


def test_histograms_count_every_finite_number_once():
    array = RANDOM.standard_normal(MANY).astype(np.float32)
    array[:3] = np.nan, np.inf, -np.inf
    one = tensor(array)
    found = histogram(one, describe(one), 16)
    finite = array[np.isfinite(array)].astype(np.float64)
    expected, edges = np.histogram(finite, 16)
    assert found.counts == expected.tolist() and sum(found.counts) == MANY - 3
    assert np.allclose(found.edges, edges, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("array", "counts"),
    [
        (np.full(5, 2.0), [5]),
        (np.empty(0), []),
        (np.array([np.nan]), []),
        (np.array([-1.7e308, 0, 1.7e308]), [1, 0, 1, 1]),
        (np.array([False, True, True]), [1, 0, 0, 2]),
        (np.array([0, 5e-324]), [2]),
    ],
    ids=["constant", "empty", "nan", "extreme", "bool", "subnormal"],
)
def test_histograms_of_few_numbers(array, counts):
    one = tensor(array)
    found = histogram(one, describe(one), 4)
    assert found.counts == counts
    assert len(found.edges) == (len(counts) + 1 if counts else 0)


def test_changes_are_measured_over_all_pieces():
    first = RANDOM.standard_normal((700, 900)).astype(np.float32)
    second = first.copy()
    second[3, 5] += 0.5
    second[699, 899] -= 2
    found = compare(tensor(first), tensor(second))
    assert (found.elements, found.changed, found.special) == (first.size, 2, 0)
    assert found.largest == float(np.abs(second.astype(float) - first).max())
    assert found.relative == found.largest / np.abs(first).max()
    assert compare(tensor(first), tensor(second), tolerance=1).changed == 1
    # Whatever the order in memory.
    assert compare(tensor(first), tensor(np.asfortranarray(second))) == found


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([np.nan, np.inf, -np.inf], [np.nan, np.inf, -np.inf], (0, 0, 0)),
        ([np.nan, 1.0], [1.0, np.nan], (2, 2, 0)),
        ([np.inf, 0.0], [-np.inf, 1.0], (2, 2 - 1, 1)),
        ([0.0], [-0.0], (0, 0, 0)),
        ([2**60], [2**60 + 1], (1, 0, 1)),
        ([True, False], [True, True], (1, 0, 1)),
        ([1 + 1j], [1 + 2j], (1, 0, 1)),
        ([], [], (0, 0, 0)),
    ],
)
def test_special_values(first, second, expected):
    found = compare(tensor(first), tensor(second))
    assert (found.changed, found.special, found.largest) == expected


def test_relative_change_without_a_magnitude():
    assert compare(tensor([0.0]), tensor([1.0])).relative is None
    assert compare(tensor([0.0]), tensor([0.0])).relative == 0


def test_types_may_differ():
    assert compare(tensor(np.float32([1, 2])), tensor(np.array([1, 2]))).changed == 0
    assert compare(tensor(np.float32([0.1])), tensor(np.array([0.1]))).largest < 1e-8


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<u2"])
def test_pieces_are_the_elements_in_row_major_order(order, dtype):
    array = np.arange(600_000).reshape(300, 2, 1000).astype(dtype, order=order)[:, ::-1]
    element_type = next(one for one in TYPES if one.stored == array.dtype.newbyteorder("<"))
    parts = [np.array(piece) for piece in pieces(array, element_type)]
    assert all(part.dtype == element_type.stored for part in parts)
    assert max(part.nbytes for part in parts) <= 1 << 20
    assert np.array_equal(np.concatenate(parts), array.ravel())


def test_deviation_does_not_overflow():
    found = describe(tensor(np.array([1e308, -1e308] * MANY)))
    assert found.mean == 0 and found.deviation == math.inf
