"""Functions of ``flow.math`` and ``flow.nn`` at special values, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from op_jobs import ForwardJob, GradientJob
from op_rows.draws import Array
from op_rows.row import Input, Row

import flowrs as flow
import flowrs.typing as tp

INF, NAN = np.inf, np.nan
FLOATS = [np.float32, np.float64]


def run(function: Callable[..., Any], *arrays: Any, dtype: Any = np.float32) -> Array:
    """A function of the API on arrays; what is no array yet becomes one of a dtype."""
    given = [x if isinstance(x, np.ndarray) else np.asarray(x, dtype) for x in arrays]
    return ForwardJob(Row("", function, (), np.asarray, ()), given)()


# --- Special values ----------------------------------------------------------------------------

SPECIAL: list[tuple[Callable[..., Any], list[float], list[float]]] = [
    (flow.math.exp, [-INF, INF, NAN, -1e4, 1e4], [0, INF, NAN, 0, INF]),
    (flow.math.expm1, [-INF, INF, NAN, 0], [-1, INF, NAN, 0]),
    (flow.math.log, [0, -1, INF, NAN], [-INF, NAN, INF, NAN]),
    (flow.math.log1p, [-1, -2, INF, 0], [-INF, NAN, INF, 0]),
    (flow.math.sqrt, [0, -1, INF, NAN], [0, NAN, INF, NAN]),
    (flow.math.rsqrt, [0, INF, -1], [INF, 0, NAN]),
    (flow.math.reciprocal, [0, INF, -INF], [INF, 0, 0]),
    (flow.math.reciprocal_no_nan, [0, INF, -0.5], [0, 0, -2]),
    (flow.math.sigmoid, [-INF, INF, -1e4, 1e4, NAN], [0, 1, 0, 1, NAN]),
    (flow.math.tanh, [-INF, INF, 1e4, NAN], [-1, 1, 1, NAN]),
    (flow.math.softplus, [-INF, INF, -1e4, 1e4], [0, INF, 0, 1e4]),
    (flow.math.log_sigmoid, [-INF, INF, -1e4, 1e4], [-INF, 0, -1e4, 0]),
    (flow.math.erf, [-INF, INF, NAN], [-1, 1, NAN]),
    (flow.math.erfc, [-INF, INF, 9], [2, 0, 0]),
    (flow.math.lgamma, [3, INF, 0], [np.log(2), INF, INF]),
    (flow.math.sign, [-3, 0, NAN, INF], [-1, 0, NAN, 1]),
    (flow.math.rint, [0.5, 1.5, 2.5, -0.5, INF], [0, 2, 2, 0, INF]),
    (flow.math.round, [0.5, 1.5, -1.5], [0, 2, -2]),
    (flow.math.acos, [2, 1], [NAN, 0]),
    (flow.math.acosh, [0.5, 1], [NAN, 0]),
    (flow.math.atanh, [1, -1, 2], [INF, -INF, NAN]),
    (flow.nn.relu6, [-INF, INF, NAN], [0, 6, NAN]),
    (flow.nn.elu, [-INF, INF, -1e4, NAN], [-1, INF, -1, NAN]),
    (flow.nn.leaky_relu, [-INF, INF, NAN], [-INF, INF, NAN]),
    (flow.nn.hardtanh, [-INF, INF, NAN], [-1, 1, NAN]),
    (flow.nn.hardsigmoid, [-INF, INF, NAN], [0, 1, NAN]),
    (flow.nn.mish, [1e4, -1e4, INF, -INF, NAN], [1e4, 0, INF, 0, NAN]),
    (flow.nn.swish, [1e4, -1e4, INF, -INF, NAN], [1e4, 0, INF, 0, NAN]),
    (flow.nn.hardswish, [1e4, -1e4, INF, -INF, NAN], [1e4, 0, INF, 0, NAN]),
    (flow.math.gelu, [1e4, -1e4, INF, -INF, NAN], [1e4, 0, INF, 0, NAN]),
]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("function", "x", "expected"), SPECIAL)
def test_special_values(
    function: Callable[..., Any], x: list[float], expected: list[float], dtype: Any
) -> None:
    found = run(function, x, dtype=dtype)
    assert found.dtype == dtype
    # The table's values are exact but for 9 above the limit of float64's erfc.
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-30)


@pytest.mark.parametrize(
    "function",
    [flow.nn.mish, flow.nn.swish, flow.nn.hardswish, flow.math.gelu, flow.math.softplus,
     flow.nn.relu, flow.nn.elu],
)  # fmt: skip
def test_slopes_at_infinity_are_the_limits(function: Callable[..., Any]) -> None:
    x = np.array([INF, -INF, 1e4, -1e4])
    row = Row("", function, (Input(x.shape),), np.asarray, ())
    slopes = GradientJob(row, [x], np.ones(4)).gradients()[0]
    np.testing.assert_array_equal(slopes, [1, 0, 1, 0])


def test_extrema_hand_nan_on() -> None:
    a, b = [NAN, 1, NAN], [1, NAN, NAN]
    for function in (flow.math.maximum, flow.math.minimum):
        assert np.isnan(run(function, a, b)).all()
    np.testing.assert_array_equal(run(lambda x: flow.clip(x, 0, 1), [NAN, -INF, INF]), [NAN, 0, 1])


# --- Integers ----------------------------------------------------------------------------------


def test_integer_division_and_remainder() -> None:
    a, b = np.array([7, -7, 7, -7, 5], np.int32), np.array([2, 2, -2, -2, 0], np.int32)
    np.testing.assert_array_equal(run(flow.math.divide, a, b), [3, -3, -3, 3, 0])
    np.testing.assert_array_equal(run(flow.math.floordiv, a, b), [3, -4, -4, 3, 0])
    np.testing.assert_array_equal(run(flow.math.mod, a, b), [1, 1, -1, -1, 0])
    least = np.array([-128, -128], np.int8)
    np.testing.assert_array_equal(
        run(flow.math.floordiv, least, np.array([-1, 1], np.int8)), [-128, -128]
    )


def test_int64_is_exact_where_float64_is_not() -> None:
    x = np.array([2**62 + 1, -(2**62) - 1], np.int64)
    np.testing.assert_array_equal(run(lambda x: flow.clip(x, max_value=2**62), x), [2**62, x[1]])
    np.testing.assert_array_equal(run(lambda x: x == 2**62 + 1, x), [1, 0])
    np.testing.assert_array_equal(run(flow.math.abs, x), [2**62 + 1, 2**62 + 1])


@pytest.mark.parametrize(
    "function",
    [flow.math.exp, flow.math.sqrt, flow.math.gelu, flow.nn.hardswish, flow.math.floor],
)
def test_functions_of_floats_refuse_integers(function: Callable[..., Any]) -> None:
    with pytest.raises(flow.errors.DTypeError, match="needs float32 or float64, not int32"):
        run(function, [1], dtype=np.int32)


@pytest.mark.parametrize(
    "function",
    [flow.math.reduce_mean, flow.math.reduce_variance, flow.math.reduce_std,
     flow.math.reduce_euclidean_norm, flow.math.reduce_logsumexp],
)  # fmt: skip
def test_statistics_refuse_integers(function: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="int32"):
        run(function, [1], dtype=np.int32)


# --- Refusals ----------------------------------------------------------------------------------


def test_dtypes_are_not_mixed() -> None:
    a, b = np.zeros(2, np.float32), np.zeros(2, np.float64)
    with pytest.raises(flow.errors.DTypeError, match="float32 and float64"):
        run(flow.math.maximum, a, b)


def test_a_fraction_is_no_integer() -> None:
    x = np.zeros(2, np.int32)
    for function in (lambda x: x > 0.5, lambda x: x % 1.5, lambda x: flow.clip(x, 0.5)):
        with pytest.raises(flow.errors.ArgumentError, match="is no oneflow"):
            run(function, x)
    with pytest.raises(flow.errors.ArgumentError, match="300"):
        run(lambda x: flow.clip(x, max_value=300), np.zeros(2, np.int8))
    with pytest.raises(flow.errors.ArgumentError, match="300"):
        run(lambda x: x > 300, np.zeros(2, np.int8))


@pytest.mark.parametrize("value", [True, "1", None, [1]])
def test_what_is_no_number_is_refused(value: Any) -> None:
    for function in (flow.math.add, flow.math.maximum, flow.math.divide, flow.math.pow):
        with pytest.raises(flow.errors.ArgumentTypeError, match="expected a blob, an int or a fl"):
            run(lambda x, f=function: f(x, value), [1.0])


def test_two_numbers_are_no_blob() -> None:
    with pytest.raises(flow.errors.ArgumentTypeError, match="one of the two must be a blob"):
        run(lambda x: flow.math.add(1, 2), [1.0])


def test_limits_are_needed() -> None:
    with pytest.raises(ValueError, match="min_value, max_value or both"):
        run(flow.clip_by_value, [1.0])
    with pytest.raises(flow.errors.ArgumentError, match="below"):
        run(lambda x: flow.nn.hardtanh(x, 1, 1), [1.0])


def test_an_axis_is_needed_to_normalize() -> None:
    with pytest.raises(TypeError, match="axis"):
        run(flow.math.l2_normalize, [1.0])


def test_short_vectors_are_divided_by_the_root_of_epsilon() -> None:
    found = run(lambda x: flow.math.l2_normalize(x, axis=1), [[0.0, 0.0], [3e-8, 4e-8]])
    np.testing.assert_allclose(found, [[0, 0], [3e-2, 4e-2]], rtol=1e-6)


def test_truth_is_int8() -> None:
    for function in (flow.math.reduce_any, flow.math.reduce_all):
        with pytest.raises(flow.errors.DTypeError, match="int8"):
            run(function, [1.0])


def test_sums_of_lists() -> None:
    x = np.array([1, 2], np.float32)
    np.testing.assert_array_equal(run(lambda x: flow.math.add_n([x]), x), x)
    with pytest.raises(flow.errors.ArgumentError, match="empty"):
        run(lambda x: flow.math.add_n([]), x)
    with pytest.raises(flow.errors.ShapeError, match="one type"):
        run(lambda x, y: flow.math.add_n([x, y]), x, x[:1])


@pytest.mark.parametrize(("coefficients", "expected"), [([], [0, 0]), ([2], [2, 2])])
def test_polynomials_of_low_degree(coefficients: list[float], expected: list[float]) -> None:
    found = run(lambda x: flow.math.polyval(coefficients, x), [INF, 1.0])
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(flow.errors.ArgumentTypeError, match="coeffs"):
        run(lambda x: flow.math.polyval(2, x), [1.0])


def test_lgamma_has_no_gradient() -> None:
    @flow.global_function(type="train")
    def job() -> tp.Numpy:
        w = flow.get_variable("w", (2,), initializer=flow.ones_initializer())
        loss = flow.math.lgamma(w)
        rate = flow.optimizer.PiecewiseConstantScheduler([], [0.1])
        flow.optimizer.SGD(rate).minimize(loss)
        return loss

    with pytest.raises(flow.errors.GraphError, match=r"lgamma .* has no gradient"):
        job()


# --- Blobs as operands -------------------------------------------------------------------------


def test_comparisons_make_blobs_and_blobs_stay_keys() -> None:
    @flow.global_function()
    def job(x: tp.Numpy.Placeholder((2,)), y: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        assert {x: "x", y: "y"}[x] == "x"
        assert (x == "text") is False
        assert (x != None) is True  # noqa: E711
        assert (x == y).dtype is flow.int8
        return x == y

    found = job(np.array([1, 2], np.float32), np.array([1, 3], np.float32))
    np.testing.assert_array_equal(found, [1, 0])
    assert found.dtype == np.int8


def test_elementwise_results_never_have_shape_of_nothing() -> None:
    x = np.ones((2, 3), np.float32)
    for function in (flow.math.reduce_prod, flow.math.reduce_min, flow.math.reduce_logsumexp):
        assert run(function, x).shape == (1,)
        assert run(lambda x, f=function: f(x, keepdims=True), x).shape == (1, 1)


def test_elements_counted_by_a_reduction() -> None:
    counts = []

    def function(x: Any) -> Any:
        for axis in (None, 0, [0, -1]):
            counts.append(flow.math.reduced_shape_elem_cnt(x, axis))
        return x

    run(function, np.ones((2, 3, 5), np.float32))
    assert counts == [30, 2, 10]


# --- prelu -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shared", "shape"), [(None, (3, 4, 5)), ([2, 3], (3, 1, 1)), ((1,), (1, 4, 5))]
)
def test_prelu_has_a_slope_for_each_element_of_an_example(shared: Any, shape: Any) -> None:
    @flow.global_function()
    def job(x: tp.Numpy.Placeholder((2, 3, 4, 5))) -> tp.Numpy:
        slope = flow.constant_initializer(0.25)
        return flow.layers.prelu(x, slope, shared_axes=shared, name="slopes")

    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    np.testing.assert_allclose(job(x), np.where(x > 0, x, 0.25 * x), rtol=1e-6)
    assert {name: v.shape for name, v in flow.get_all_variables().items()} == {
        "slopes-alpha": shape
    }


def test_prelu_refuses_axes_that_are_not_of_an_example() -> None:
    x = np.ones((2, 3), np.float32)
    with pytest.raises(flow.errors.ArgumentError, match="from 1 to 1"):
        run(lambda x: flow.layers.prelu(x, shared_axes=[0]), x)
    with pytest.raises(flow.errors.ShapeError, match="rank 2"):
        run(flow.layers.prelu, x[0])
