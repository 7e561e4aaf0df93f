"""Losses at the ends of their range, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from op_jobs import ForwardJob, GradientJob
from op_rows.draws import Array
from op_rows.row import Input, Row

import flowrs as flow
import flowrs.typing as tp

INF = np.inf


def run(function: Callable[..., Any], *arrays: Any) -> Array:
    """A function of the API on arrays; what is no array yet becomes float32."""
    given = [np.asarray(array, getattr(array, "dtype", np.float32)) for array in arrays]
    row = Row("", function, (), np.asarray, ())
    return ForwardJob(row, given)()


def gradient(function: Callable[..., Any], *arrays: Sequence[float]) -> Array:
    """The gradient of the sum of a function of float64 arrays to the first of them."""
    given = [np.asarray(array, np.float64) for array in arrays]
    inputs = tuple(Input(array.shape, differentiable=i == 0) for i, array in enumerate(given))
    row = Row("", function, inputs, np.asarray, ())
    return GradientJob(row, given, np.ones((1,))).gradients()[0]


# --- Limits ------------------------------------------------------------------------------------

LOGITS = [1e4, 1e4, -1e4, -1e4, INF, -INF, INF, -INF, 0.0]
LABELS = [1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0]
LOSSES = [0.0, 1e4, 1e4, 0.0, 0.0, 0.0, INF, INF, np.log(2)]
SLOPES = [0.0, 1.0, -1.0, 0.0, 0.0, 0.0, 1.0, -1.0, -0.5]


def sigmoid_cross_entropy(logits: Any, labels: Any) -> Any:
    return flow.nn.sigmoid_cross_entropy_with_logits(labels, logits)


def bce_with_logits(logits: Any, labels: Any) -> Any:
    return flow.nn.BCEWithLogitsLoss(logits, labels, reduction="none")


def bce_with_pos_weight(logits: Any, labels: Any) -> Any:
    one = flow.math.exp(labels * 0)
    return flow.nn.BCEWithLogitsLoss(logits, labels, pos_weight=one, reduction="none")


@pytest.mark.parametrize("function", [sigmoid_cross_entropy, bce_with_logits, bce_with_pos_weight])
def test_binary_losses_of_extreme_logits_are_their_limits(function: Callable[..., Any]) -> None:
    np.testing.assert_allclose(run(function, LOGITS, LABELS), LOSSES, rtol=1e-6)
    np.testing.assert_allclose(gradient(function, LOGITS, LABELS), SLOPES, rtol=1e-12)


def test_certain_predictions_cost_nothing_or_everything() -> None:
    def loss(x: Any, t: Any) -> Any:
        return flow.nn.BCELoss(x, t, reduction="none")

    predictions, targets = [0.0, 1.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0]
    np.testing.assert_array_equal(run(loss, predictions, targets), [0, 0, INF, INF])
    np.testing.assert_array_equal(gradient(loss, predictions, targets), [1, -1, -INF, INF])


def test_what_has_probability_zero_adds_nothing_to_the_divergence() -> None:
    def loss(x: Any, t: Any) -> Any:
        return flow.nn.KLDivLoss(x, t, reduction="none")

    def log_loss(x: Any, t: Any) -> Any:
        return flow.nn.KLDivLoss(x, t, log_target=True, reduction="none")

    scores = [-INF, -1.0, -1.0]
    np.testing.assert_allclose(run(loss, scores, [0, 0, 1]), [0, 0, 1])
    np.testing.assert_allclose(gradient(loss, scores, [0, 0, 1]), [0, 0, -1])
    np.testing.assert_allclose(run(log_loss, scores, [-INF, -INF, 0]), [0, 0, 1])
    np.testing.assert_allclose(gradient(log_loss, scores, [-INF, -INF, 0]), [0, 0, -1])


def test_a_hidden_class_has_log_probability_minus_infinity() -> None:
    found = run(flow.nn.logsoftmax, [[0.0, -INF, 0.0], [1e4, -1e4, 0.0]])
    np.testing.assert_allclose(found, [[-np.log(2), -INF, -np.log(2)], [0, -2e4, -1e4]], rtol=1e-6)


def test_an_infinite_logit_is_certain() -> None:
    logits = [[INF, 0.0, -INF], [INF, INF, 0.0]]
    np.testing.assert_array_equal(run(flow.nn.softmax, logits), [[1, 0, 0], [0.5, 0.5, 0]])
    found = run(flow.nn.logsoftmax, logits)
    np.testing.assert_allclose(found, [[0, -INF, -INF], [-np.log(2), -np.log(2), -INF]])

    labels = np.array([0, 1], np.int32)
    loss = run(flow.nn.sparse_softmax_cross_entropy_with_logits, labels, logits)
    np.testing.assert_allclose(loss, [0, np.log(2)], rtol=1e-6)


def test_logsumexp_of_infinite_elements() -> None:
    def reduce(x: Any) -> Any:
        return flow.math.reduce_logsumexp(x, axis=1)

    found = run(reduce, [[-INF, -INF], [INF, 0], [-INF, 1]])
    np.testing.assert_array_equal(found, [-INF, INF, 1])


# --- Forms and refusals ------------------------------------------------------------------------

X = np.full((2, 3), 0.5, np.float32)

TWO_INPUTS: list[Callable[..., Any]] = [
    flow.nn.MSELoss,
    flow.nn.L1Loss,
    flow.nn.BCELoss,
    flow.nn.BCEWithLogitsLoss,
    flow.nn.KLDivLoss,
]


@pytest.mark.parametrize("function", TWO_INPUTS)
def test_reduced_losses_have_shape_one(function: Callable[..., Any]) -> None:
    for reduction, shape in [("none", (2, 3)), ("mean", (1,)), ("sum", (1,))]:
        found = run(lambda x, t, r=reduction: function(x, t, reduction=r), X, X)
        assert found.shape == shape
    assert run(function, X, X).shape == (1,)


@pytest.mark.parametrize("function", [*TWO_INPUTS, flow.smooth_l1_loss])
def test_shapes_must_be_the_same(function: Callable[..., Any]) -> None:
    with pytest.raises(flow.errors.ShapeError, match=r"\(2, 3\)"):
        run(function, X, X[:1])


@pytest.mark.parametrize("function", TWO_INPUTS)
def test_an_unknown_reduction_is_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(flow.errors.ArgumentError, match="average"):
        run(lambda x, t: function(x, t, reduction="average"), X, X)


def test_weights_must_fit() -> None:
    wide = np.ones((4, 2, 3), np.float32)
    with pytest.raises(flow.errors.ShapeError, match="weight"):
        run(lambda x, t, w: flow.nn.BCELoss(x, t, weight=w), X, X, wide)
    with pytest.raises(flow.errors.ShapeError, match="pos_weight"):
        run(lambda x, t, w: flow.nn.BCEWithLogitsLoss(x, t, pos_weight=w), X, X, wide)
    with pytest.raises(flow.errors.ShapeError, match="target"):
        run(flow.nn.MarginRankingLoss, X, X, wide)


def test_triplets_are_not_swapped_and_norms_are_convex() -> None:
    with pytest.raises(flow.errors.UnsupportedError, match="swap"):
        run(lambda a, b, c: flow.nn.TripletMarginLoss(a, b, c, swap=True), X, X, X)
    with pytest.raises(flow.errors.ArgumentError, match="p must"):
        run(lambda a, b, c: flow.nn.TripletMarginLoss(a, b, c, p=0.5), X, X, X)
    with pytest.raises(flow.errors.ArgumentError, match="beta"):
        run(lambda a, b: flow.smooth_l1_loss(a, b, beta=-1), X, X)


def test_the_name_is_that_of_the_result() -> None:
    names = []

    @flow.global_function()
    def job(x: tp.Numpy.Placeholder((2, 3))) -> tp.Numpy:
        result = flow.nn.MSELoss(x, x, name="mean")
        names.append(result.op_name)
        names.append(flow.nn.L1Loss(x, x, reduction="none", name="elements").op_name)
        return result

    job(X)
    assert names == ["mean", "elements"]


def test_a_label_that_is_no_class_changes_nothing() -> None:
    @flow.global_function(type="train")
    def job(labels: tp.Numpy.Placeholder((2,), dtype=flow.int32)) -> tp.Numpy:
        w = flow.get_variable("w", (2, 3), initializer=flow.constant_initializer(0.25))
        loss = flow.nn.sparse_cross_entropy(labels, w)
        rate = flow.optimizer.PiecewiseConstantScheduler([], [0.1])
        flow.optimizer.SGD(rate, momentum=0).minimize(loss)
        return loss

    np.testing.assert_allclose(job(np.array([0, 2], np.int32)), np.log([4, 4]), rtol=1e-6)
    before = flow.get_all_variables()["w"].numpy()
    for wrong in (3, -1):
        with pytest.raises(flow.errors.RangeError, match=f"label {wrong} at position 1"):
            job(np.array([0, wrong], np.int32))
    np.testing.assert_array_equal(flow.get_all_variables()["w"].numpy(), before)
