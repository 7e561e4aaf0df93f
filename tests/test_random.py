"""Dropout and random values: their odds, their seeds, and that they can be had again."""

from __future__ import annotations

import random

import numpy as np
import pytest

import flowrs as flow
import flowrs.typing as tp
from flowrs import _flowrs

SHAPE = (50, 40)
ONES = np.ones(SHAPE, np.float32)


def dropout_job(rate=0.25, **options):
    @flow.global_function(type="train")
    def job(x: tp.Numpy.Placeholder(SHAPE)) -> tp.Numpy:
        weight = flow.get_variable("w", shape=SHAPE, initializer=flow.ones_initializer())
        y = flow.nn.dropout(x * weight, rate, **options)
        rate_of_change = flow.optimizer.PiecewiseConstantScheduler([], [1.0])
        flow.optimizer.SGD(rate_of_change, momentum=0).minimize(flow.math.reduce_sum(y))
        return y

    return job


def test_elements_are_dropped_with_the_given_odds_and_the_rest_scaled():
    y = dropout_job(0.25)(ONES)
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    # 2,000 draws: within five standard deviations of the expected share.
    assert abs((y == 0).mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / y.size)


def test_the_gradient_is_dropped_with_the_same_mask():
    y = dropout_job(0.5)(ONES)
    np.testing.assert_array_equal(flow.get_all_variables()["w"].numpy(), 1 - y)


def test_each_call_has_a_mask_of_its_own():
    job = dropout_job(0.5, seed=3, name="drop")
    masks = [job(ONES) != 0 for _ in range(3)]
    assert (masks[0] != masks[1]).any()
    assert (masks[1] != masks[2]).any()


def masks_of(calls, **options):
    job = dropout_job(0.5, **options)
    flow.get_all_variables()
    return [(job(ONES) == 0).tobytes() for _ in range(calls)]


def again(**options):
    flow.clear_default_session()
    return masks_of(2, **options)


def test_a_seed_gives_the_same_masks_and_another_seed_others():
    first = masks_of(2, seed=7, name="drop")
    assert again(seed=7, name="drop") == first
    assert again(seed=8, name="drop") != first
    assert again(seed=7, name="other") != first


def test_without_a_seed_it_comes_from_pythons_random_module():
    random.seed(11)
    first = masks_of(2)
    random.seed(11)
    assert again() == first
    assert again() != first


def test_the_sessions_random_seed_goes_before_pythons():
    flow.config.random_seed(5)
    first = masks_of(2)
    assert again() == first
    flow.config.random_seed(6)
    assert again() != first


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_masks_are_the_same_for_every_number_of_threads(threads):
    before = _flowrs.threads()
    try:
        flow.config.cpu_threads(1)
        first = masks_of(2, seed=1, name="drop")
        flow.config.cpu_threads(threads)
        assert again(seed=1, name="drop") == first
    finally:
        flow.config.cpu_threads(before)


def test_a_resumed_job_goes_on_with_the_masks_it_would_have_had(tmp_path):
    job = dropout_job(0.5, seed=1, name="drop")
    for _ in range(2):
        job(ONES)
    flow.checkpoint.save(tmp_path / "snapshot")
    uninterrupted = [job(ONES).tobytes() for _ in range(3)]
    flow.clear_default_session()
    job = dropout_job(0.5, seed=1, name="drop")
    flow.load_variables(flow.checkpoint.get(tmp_path / "snapshot"))
    assert [job(ONES).tobytes() for _ in range(3)] == uninterrupted


def test_predict_jobs_and_a_rate_of_zero_leave_the_value_alone():
    @flow.global_function()
    def job(x: tp.Numpy.Placeholder(SHAPE)) -> tp.Tuple[tp.Numpy, tp.Numpy]:
        return flow.nn.dropout(x, 0.5), flow.nn.dropout(x, 0)

    for result in job(ONES):
        np.testing.assert_array_equal(result, ONES)


@pytest.mark.parametrize(
    "arguments",
    [{"rate": 1.0}, {"rate": -0.1}, {"rate": 0.5, "noise_shape": (1,)}, {"rate": 0.5, "seed": 1}],
)
def test_arguments_that_mean_nothing_are_refused(arguments):
    job = dropout_job(**arguments)
    with pytest.raises(flow.errors.ArgumentError, match="dropout"):
        job(ONES)


def test_coins_and_bernoulli_follow_their_probabilities_and_the_call():
    @flow.global_function()
    def job(p: tp.Numpy.Placeholder((4000,))) -> tp.Tuple[tp.Numpy, tp.Numpy]:
        return flow.random.bernoulli(p, seed=2), flow.random.CoinFlip(4000, 3, 0.2)

    p = np.repeat(np.array([0, 0.5, 0.9, 1], np.float32), 1000)
    drawn, coins = job(p)
    shares = drawn.reshape(4, 1000).mean(axis=1)
    assert drawn.dtype == np.float32
    assert (shares[0], shares[3]) == (0, 1)
    assert abs(shares[1] - 0.5) < 0.08
    assert abs(shares[2] - 0.9) < 0.05
    assert coins.dtype == np.int8
    assert abs(coins.mean() - 0.2) < 0.04
    assert (job(p)[1] != coins).any()


def test_masks_and_coins_refuse_impossible_odds():
    @flow.global_function()
    def job() -> tp.Numpy:
        return flow.random.CoinFlip(3, probability=1.5)

    with pytest.raises(flow.errors.ArgumentError, match=r"probability.*1\.5"):
        job()
