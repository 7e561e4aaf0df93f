"""What the op table does not say of array functions: errors, constants, and assignments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flowrs as flow
import flowrs.typing as tp
from flowrs import errors
from flowrs.blob import Blob

Array = np.ndarray[Any, np.dtype[Any]]


def result_of(body: Callable[[], Any]) -> Any:
    """What a job with this body and no arguments returns."""
    flow.clear_default_session()

    @flow.global_function()
    def job() -> tp.Numpy:
        return body()

    return job()


def plan_of(job: Any) -> list[str]:
    """The steps of a job's plan."""
    flow.get_all_variables()
    ((trace, _),) = job.job.traced.values()
    return [line for line in str(trace.graph.compile()).splitlines() if " -> (" in line]


# --- Indices that are out of range -------------------------------------------------------------


def embedding_job() -> Any:
    """A train job whose loss does not leave it, with a variable besides the embedding."""

    @flow.global_function(type="train")
    def job(
        ids: tp.Numpy.Placeholder((3,), flow.int32), x: tp.Numpy.Placeholder((3, 2))
    ) -> tp.Numpy:
        table = flow.get_variable("table", (5, 2), initializer=flow.ones_initializer())
        weight = flow.get_variable("weight", (2, 2), initializer=flow.ones_initializer())
        rows = flow.gather(table, ids, name="lookup")
        loss = flow.math.reduce_sum(rows + flow.matmul(x, weight))
        rate = flow.optimizer.PiecewiseConstantScheduler([], [1.0])
        flow.optimizer.SGD(rate, momentum=0).minimize(loss)
        return x

    return job


@pytest.mark.parametrize(("bad", "position"), [(5, 1), (-1, 1), (2**31 - 1, 1), (-(2**31), 1)])
def test_index_out_of_range_is_named_and_changes_nothing(bad: int, position: int) -> None:
    job = embedding_job()
    x = np.ones((3, 2), np.float32)
    with pytest.raises(errors.RangeError) as caught:
        job(np.array([0, bad, 4], np.int32), x)
    message = str(caught.value)
    assert "lookup" in message
    assert f"index {bad} at position {position} is out of range: 0 to 4 are possible" in message
    for name, variable in flow.get_all_variables().items():
        if not name.startswith("System"):
            np.testing.assert_array_equal(variable.numpy(), 1)


def test_a_valid_index_trains_after_an_invalid_one() -> None:
    job = embedding_job()
    x = np.ones((3, 2), np.float32)
    with pytest.raises(errors.RangeError):
        job(np.array([0, 9, 4], np.int32), x)
    job(np.array([0, 4, 4], np.int32), x)
    table = flow.get_all_variables()["table"].numpy()
    np.testing.assert_array_equal(table[:, 0], [0, 1, 1, 1, -1])


@pytest.mark.parametrize(
    ("function", "prefix"),
    [
        (lambda x, i: flow.gather(x, i), "Gather_0"),
        (lambda x, i: flow.gather_nd(x, flow.expand_dims(i, -1)), "GatherNd_0"),
        (lambda x, i: flow.scatter_nd(flow.expand_dims(i, -1), x, [3, 2]), "ScatterNd_0"),
        (
            lambda x, i: flow.tensor_scatter_nd_add(x, flow.expand_dims(i, -1), x),
            "TensorScatterNdAdd_0",
        ),
        (
            lambda x, i: flow.tensor_scatter_nd_update(x, flow.expand_dims(i, -1), x),
            "TensorScatterNdUpdate_0",
        ),
        (lambda x, i: flow.unsorted_segment_sum(x, i, 3), "UnsortedSegmentSum_0"),
        (
            lambda x, i: flow.dim_gather(x, 0, flow.stack([i, i], 1)),
            "DimGather_0",
        ),
        (lambda x, i: flow.one_hot(i, 3, dtype=flow.float32), "OneHot_0"),
    ],
)
def test_every_operation_with_indices_names_a_bad_one(
    function: Callable[[Blob, Blob], Blob], prefix: str
) -> None:
    @flow.global_function()
    def job(x: tp.Numpy.Placeholder((3, 2)), i: tp.Numpy.Placeholder((3,), flow.int64)) -> tp.Numpy:
        return function(x, i)

    x = np.ones((3, 2), np.float32)
    with pytest.raises(errors.RangeError, match=f"{prefix}.*index 3 .*0 to 2 are possible"):
        job(x, np.array([0, 1, 3]))
    with pytest.raises(errors.RangeError, match=f"{prefix}.*index -1 "):
        job(x, np.array([-1, 1, 3]))


def test_a_target_that_is_no_class_is_in_no_top_k() -> None:
    @flow.global_function()
    def job(t: tp.Numpy.Placeholder((3,), flow.int32), p: tp.Numpy.Placeholder((3, 2))) -> tp.Numpy:
        return flow.in_top_k(t, p, 2)

    found = job(np.array([2, -1, 1], np.int32), np.ones((3, 2), np.float32))
    np.testing.assert_array_equal(found, [0, 0, 1])


def test_nan_is_sorted_behind_all_numbers() -> None:
    @flow.global_function()
    def job(x: tp.Numpy.Placeholder((4,))) -> tuple[tp.Numpy, tp.Numpy, tp.Numpy]:
        return flow.sort(x), flow.argsort(x), flow.math.top_k(x, k=2)

    ordered, indices, top = job(np.array([np.nan, np.inf, -np.inf, 1], np.float32))
    np.testing.assert_array_equal(ordered, [-np.inf, 1, np.inf, np.nan])
    np.testing.assert_array_equal(indices, [2, 3, 1, 0])
    np.testing.assert_array_equal(top, [0, 1])


# --- Arguments that are refused ----------------------------------------------------------------

REFUSED: list[tuple[str, type[Exception], Callable[[Blob, Blob], Any]]] = [
    ("transpose without perm", errors.ArgumentError, lambda x, i: flow.transpose(x)),
    ("transpose with a short perm", errors.ArgumentError, lambda x, i: flow.transpose(x, [0])),
    ("transpose twice the same", errors.ArgumentError, lambda x, i: flow.transpose(x, [0, 0])),
    ("conjugate", errors.UnsupportedError, lambda x, i: flow.transpose(x, [1, 0], True)),
    ("concat of nothing", errors.ArgumentError, lambda x, i: flow.concat([])),
    ("concat without inputs", errors.ArgumentError, lambda x, i: flow.concat()),
    ("concat on no axis", errors.ArgumentError, lambda x, i: flow.concat([x, x], 2)),
    ("concat of shapes", errors.ShapeError, lambda x, i: flow.concat([x, flow.zeros((4, 3))])),
    ("concat of dtypes", errors.DTypeError, lambda x, i: flow.concat([i, flow.zeros((3,))])),
    ("stack of numbers", errors.ArgumentTypeError, lambda x, i: flow.stack([x, 1])),
    ("stack of nothing", errors.ArgumentError, lambda x, i: flow.stack([])),
    ("stack of shapes", errors.ShapeError, lambda x, i: flow.stack([x, flow.zeros((3,))])),
    ("squeeze of extent 4", errors.ArgumentError, lambda x, i: flow.squeeze(x, [1])),
    ("squeeze with an int", errors.ArgumentTypeError, lambda x, i: flow.squeeze(x, 1)),
    ("expand_dims too far", errors.ArgumentError, lambda x, i: flow.expand_dims(x, 3)),
    ("expand to fewer axes", errors.ArgumentError, lambda x, i: flow.expand(x, [4])),
    ("expand of a new -1", errors.ArgumentError, lambda x, i: flow.expand(x, [-1, 3, 4])),
    ("expand of extent 4", errors.ShapeError, lambda x, i: flow.expand(x, [3, 8])),
    ("broadcast_like", errors.ShapeError, lambda x, i: flow.broadcast_like(i, x)),
    (
        "broadcast_to_compatible_with",
        errors.ShapeError,
        lambda x, i: flow.math.broadcast_to_compatible_with(x, [i]),
    ),
    ("reshape_like", errors.ShapeError, lambda x, i: flow.reshape_like(x, i)),
    ("slice with a short begin", errors.ArgumentError, lambda x, i: flow.slice(x, [0], [1, 1])),
    ("slice begin", errors.ArgumentError, lambda x, i: flow.slice(x, [3, 0], [1, 1])),
    ("slice size", errors.ArgumentError, lambda x, i: flow.slice(x, [1, 0], [3, 1])),
    ("slice size 0", errors.ArgumentError, lambda x, i: flow.slice(x, [1, 0], [0, 1])),
    ("slice_v2 step", errors.ArgumentError, lambda x, i: flow.slice_v2(x, [(0, 1, 0)])),
    ("slice_v2 start", errors.ArgumentError, lambda x, i: flow.slice_v2(x, [(3, None, 1)])),
    ("slice_v2 stop", errors.ArgumentError, lambda x, i: flow.slice_v2(x, [(0, 4, 1)])),
    ("slice_v2 too many", errors.ArgumentError, lambda x, i: flow.slice_v2(i, [(0, 1, 1)] * 2)),
    ("slice_v2 pair", errors.ArgumentError, lambda x, i: flow.slice_v2(i, [(0, 1)])),
    ("slice_update", errors.ShapeError, lambda x, i: flow.slice_update(x, x, [(0, 1, 1)])),
    ("reverse", errors.ArgumentError, lambda x, i: flow.reverse(x, 2)),
    ("pad", errors.ArgumentError, lambda x, i: flow.pad(x, [(1, 1)])),
    ("negative pad", errors.ArgumentError, lambda x, i: flow.pad(x, [(1, -1), (0, 0)])),
    ("pad value", errors.ArgumentError, lambda x, i: flow.pad(i, [(1, 1)], 2**40)),
    ("pad_grad", errors.ArgumentError, lambda x, i: flow.pad_grad(x, [(2, 2), (0, 0)])),
    ("zero_pad2d of a matrix", errors.ShapeError, lambda x, i: flow.zero_pad2d(x, 1)),
    (
        "reflection_pad2d",
        errors.ArgumentError,
        lambda x, i: flow.reflection_pad2d(flow.zeros((1, 1, 3, 4)), [0, 0, 3, 0]),
    ),
    (
        "padding of three",
        errors.ArgumentError,
        lambda x, i: flow.replication_pad2d(flow.zeros((1, 1, 3, 4)), [0, 0, 3]),
    ),
    ("gather with floats", errors.DTypeError, lambda x, i: flow.gather(x, x)),
    ("gather axis", errors.ArgumentError, lambda x, i: flow.gather(x, i, axis=2)),
    (
        "gather axis in the batch",
        errors.ArgumentError,
        lambda x, i: flow.gather(x, i, axis=0, batch_dims=1),
    ),
    ("gather batch", errors.ShapeError, lambda x, i: flow.gather(x, flow.range(4), batch_dims=1)),
    ("gather_nd", errors.ShapeError, lambda x, i: flow.gather_nd(x, i)),
    ("scatter_nd", errors.ShapeError, lambda x, i: flow.scatter_nd(i, x, [3])),
    ("dim_gather", errors.ShapeError, lambda x, i: flow.dim_gather(x, 0, i)),
    ("segments", errors.ArgumentError, lambda x, i: flow.unsorted_segment_sum(x, i, 0)),
    ("segment ids", errors.ShapeError, lambda x, i: flow.unsorted_segment_sum(x, i, 3, axis=1)),
    ("one_hot without dtype", errors.ArgumentError, lambda x, i: flow.one_hot(i, 3)),
    ("one_hot depth", errors.ArgumentError, lambda x, i: flow.one_hot(i, 0, dtype=flow.float)),
    (
        "one_hot axis",
        errors.ArgumentError,
        lambda x, i: flow.one_hot(i, 3, axis=2, dtype=flow.float),
    ),
    ("where without y", errors.ArgumentTypeError, lambda x, i: flow.where(i, x)),
    ("where with a float", errors.DTypeError, lambda x, i: flow.where(x, x, x)),
    ("where alone", errors.UnsupportedError, lambda x, i: flow.where(i)),
    ("argwhere", errors.UnsupportedError, lambda x, i: flow.argwhere(i)),
    ("nonzero", errors.UnsupportedError, lambda x, i: flow.nonzero(i)),
    (
        "masked_fill with a larger mask",
        errors.ShapeError,
        lambda x, i: flow.masked_fill(flow.zeros((1,)), i, 1),
    ),
    ("sort direction", errors.ArgumentError, lambda x, i: flow.sort(x, direction="UP")),
    ("sort axis", errors.ArgumentError, lambda x, i: flow.argsort(x, axis=-3)),
    ("top_k", errors.ArgumentError, lambda x, i: flow.math.top_k(x, k=0)),
    ("in_top_k", errors.ShapeError, lambda x, i: flow.in_top_k(flow.range(4), x, 1)),
    ("tril of a vector", errors.ShapeError, lambda x, i: flow.math.tril(i)),
    ("diag", errors.ShapeError, lambda x, i: flow.diag(x, 4)),
    ("constant without dtype", errors.ArgumentError, lambda x, i: flow.constant(1)),
    ("constant of text", errors.ArgumentTypeError, lambda x, i: flow.constant("1", flow.float)),
    ("constant too large", errors.ArgumentError, lambda x, i: flow.constant(300, flow.int8)),
    ("constant in float16", errors.DTypeError, lambda x, i: flow.constant(1, flow.float16)),
    ("empty range", errors.ArgumentError, lambda x, i: flow.range(3, 3)),
    ("range in steps of 0", errors.ArgumentError, lambda x, i: flow.range(3, 5, 0)),
    ("range of floats", errors.ArgumentTypeError, lambda x, i: flow.range(3.0)),
    ("range beyond int8", errors.ArgumentError, lambda x, i: flow.range(0, 200, dtype=flow.int8)),
    ("assign to a value", errors.GraphError, lambda x, i: flow.assign(x, x)),
    (
        "upsample by 0",
        errors.ArgumentError,
        lambda x, i: flow.layers.upsample_2d(flow.zeros((1, 1, 2, 2)), 0),
    ),
    ("upsample a matrix", errors.ShapeError, lambda x, i: flow.layers.upsample_2d(x)),
    (
        "interpolate integers",
        errors.DTypeError,
        lambda x, i: flow.layers.upsample_2d(
            flow.zeros((1, 1, 2, 2), flow.int32), interpolation="bilinear"
        ),
    ),
    (
        "PixelShuffle",
        errors.ShapeError,
        lambda x, i: flow.nn.PixelShuffle(flow.zeros((1, 6, 2, 2)), 2),
    ),
]


@pytest.mark.parametrize(
    ("error", "function"),
    [pytest.param(error, function, id=name) for name, error, function in REFUSED],
)
def test_arguments_that_do_not_fit_are_refused(
    error: type[Exception], function: Callable[[Blob, Blob], Any]
) -> None:
    def body() -> Blob:
        x = flow.constant_like(flow.zeros((3, 4)), 1)
        function(x, flow.zeros((3,), dtype=flow.int32))
        return x

    with pytest.raises(error):
        result_of(body)


# --- Constants ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (lambda: flow.constant(2, flow.int8, (2,)), np.array([2, 2], np.int8)),
        (lambda: flow.constant(2.5, flow.double, [1, 2]), np.array([[2.5, 2.5]])),
        (lambda: flow.constant(-1, flow.float32), np.array(-1, np.float32)),
        (lambda: flow.constant_scalar(3, flow.int64), np.array([3])),
        (lambda: flow.zeros((2, 1)), np.zeros((2, 1), np.float32)),
        (lambda: flow.ones([2], flow.uint8), np.ones(2, np.uint8)),
        (lambda: flow.zeros_like(flow.ones([2], flow.int32)), np.zeros(2, np.int32)),
        (lambda: flow.ones_like(flow.ones([2]), dtype=flow.int8), np.ones(2, np.int8)),
        (lambda: flow.range(4), np.arange(4)),
        (lambda: flow.range(2, 7, 2, dtype=flow.int32), np.array([2, 4, 6], np.int32)),
        (lambda: flow.range(5, -1, delta=-2, dtype=flow.float), np.array([5, 3, 1], np.float32)),
        (lambda: flow.elem_cnt(flow.zeros((2, 3))), np.array([6], np.int32)),
        (lambda: flow.elem_cnt(flow.zeros((2, 3)), flow.float), np.array([6], np.float32)),
    ],
)
def test_constants(body: Callable[[], Blob], expected: Array) -> None:
    found = result_of(body)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "function",
    [
        flow.identity,
        flow.parallel_cast,
        flow.hierarchical_parallel_cast,
        flow.cast_to_current_logical_view,
        flow.cast_to_static_shape,
        flow.amp_white_identity,
    ],
)
def test_hints_change_nothing(function: Callable[[Blob], Blob]) -> None:
    np.testing.assert_array_equal(result_of(lambda: function(flow.range(3))), [0, 1, 2])


def test_identity_n_gives_names_to_all() -> None:
    def body() -> Blob:
        first, second = flow.identity_n([flow.range(2), flow.ones((1,))], name="pair")
        assert (first.op_name, second.op_name) == ("pair_0", "pair_1")
        return first

    np.testing.assert_array_equal(result_of(body), [0, 1])


# --- Views, and blobs that are returned as they are --------------------------------------------


def test_views_copy_nothing() -> None:
    @flow.global_function()
    def job(x: tp.Numpy.Placeholder((1, 6))) -> tp.Numpy:
        y = flow.nn.relu(x)
        y = flow.expand_dims(flow.squeeze(y), 1)
        y = flow.flatten(flow.reshape(y, [2, 3]))
        return flow.nn.relu(flow.reshape_like(y, x))

    assert len(plan_of(job)) == 2


def test_one_input_is_concatenated_by_returning_it() -> None:
    def body() -> Blob:
        x = flow.zeros((2,))
        assert flow.concat([x]) is x
        assert flow.concat(values=x) is x
        return x

    np.testing.assert_array_equal(result_of(body), [0, 0])


# --- Assignments -------------------------------------------------------------------------------


def held(name: str, value: float, **keywords: Any) -> Blob:
    return flow.get_variable(name, (2,), initializer=flow.constant_initializer(value), **keywords)


def test_reads_see_the_value_before_the_assignment() -> None:
    @flow.global_function()
    def job(x: tp.Numpy.Placeholder((2,))) -> tuple[tp.Numpy, tp.Numpy]:
        variable = held("v", 5)
        flow.assign(variable, x)
        return variable, variable * 2

    for previous, new in [(5, 1), (1, 2), (2, 3)]:
        plain, doubled = job(np.full(2, new, np.float32))
        np.testing.assert_array_equal(plain, [previous] * 2)
        np.testing.assert_array_equal(doubled, [2 * previous] * 2)
        np.testing.assert_array_equal(flow.get_all_variables()["v"].numpy(), [new] * 2)


def test_variables_can_change_places() -> None:
    @flow.global_function()
    def job() -> tp.Numpy:
        a, b = held("a", 1), held("b", 2)
        flow.assign(a, b)
        flow.assign(b, a)
        flow.assign(held("c", 3), flow.reshape(flow.reshape(a, [1, 2]), [2]))
        return flow.concat([a, b, held("c", 3)])

    np.testing.assert_array_equal(job(), [1, 1, 2, 2, 3, 3])
    np.testing.assert_array_equal(job(), [2, 2, 1, 1, 1, 1])
    np.testing.assert_array_equal(job(), [1, 1, 2, 2, 2, 2])


def test_a_variable_assigned_to_itself_stays() -> None:
    @flow.global_function()
    def job() -> tp.Numpy:
        variable = held("v", 5)
        flow.assign(variable, flow.identity(variable))
        return variable

    np.testing.assert_array_equal(job(), [5, 5])
    np.testing.assert_array_equal(job(), [5, 5])


def test_a_train_job_keeps_an_average_of_its_weights() -> None:
    @flow.global_function(type="train")
    def job() -> tp.Numpy:
        weight = held("weight", 4)
        average = held("average", 0, trainable=False)
        flow.assign(average, average * 0.5 + weight * 0.5)
        loss = flow.math.reduce_sum(weight)
        rate = flow.optimizer.PiecewiseConstantScheduler([], [1.0])
        flow.optimizer.SGD(rate, momentum=0).minimize(loss)
        return average

    seen = [job()[0] for _ in range(3)]
    assert seen == [0, 2, 2.5]
    assert flow.get_all_variables()["weight"].numpy()[0] == 1


def test_a_failed_call_assigns_nothing() -> None:
    @flow.global_function()
    def job(ids: tp.Numpy.Placeholder((1,), flow.int32)) -> tp.Numpy:
        variable = held("v", 5)
        flow.assign(variable, variable + 1)
        return flow.gather(variable, ids)

    with pytest.raises(errors.RangeError):
        job(np.array([2], np.int32))
    np.testing.assert_array_equal(flow.get_all_variables()["v"].numpy(), [5, 5])
    job(np.array([1], np.int32))
    np.testing.assert_array_equal(flow.get_all_variables()["v"].numpy(), [6, 6])


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (lambda: flow.zeros((3,)), errors.ShapeError),
        (lambda: flow.zeros((2,), flow.int32), errors.ShapeError),
    ],
)
def test_a_variable_keeps_its_type(value: Callable[[], Blob], error: type[Exception]) -> None:
    with pytest.raises(error, match="cannot become"):
        result_of(lambda: flow.assign(held("v", 5), value()))


def test_two_layers_without_a_name_collide() -> None:
    def body() -> Blob:
        once = flow.layers.upsample_2d(flow.zeros((1, 1, 2, 2)))
        return flow.layers.upsample_2d(once)

    with pytest.raises(errors.GraphError, match="Upsample2D"):
        result_of(body)
