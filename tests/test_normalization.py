"""Normalisation layers: their variables, and what train and predict jobs do with them."""

from __future__ import annotations

import numpy as np
import pytest

import flowrs as flow
import flowrs.typing as tp

SHAPE = (6, 3, 4, 5)


def batch(seed, shift=0.0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=SHAPE) + shift).astype(np.float32)


def jobs(**options):
    """A train job and a predict job over one batch normalisation."""

    def layer(x):
        return flow.layers.batch_normalization(x, axis=1, name="bn", **options)

    @flow.global_function(type="train")
    def train(x: tp.Numpy.Placeholder(SHAPE)) -> tp.Numpy:
        y = layer(x)
        weight = flow.get_variable("w", shape=(1,), initializer=flow.ones_initializer())
        rate = flow.optimizer.PiecewiseConstantScheduler([], [0.0])
        flow.optimizer.SGD(rate, momentum=0).minimize(flow.math.reduce_sum(y * weight))
        return y

    @flow.global_function()
    def predict(x: tp.Numpy.Placeholder(SHAPE)) -> tp.Numpy:
        return layer(x)

    return train, predict


def values():
    return {name: variable.numpy() for name, variable in flow.get_all_variables().items()}


def standardized(x, mean, variance, epsilon):
    spread = (slice(None), None, None)
    return (x - mean[spread]) / np.sqrt(variance[spread] + epsilon)


def test_training_uses_the_batch_and_keeps_averages_of_it():
    train, predict = jobs(momentum=0.9, epsilon=1e-3)
    x, z = batch(0), batch(1, shift=2.0)
    exact = x.astype(np.float64)
    mean, variance = exact.mean(axis=(0, 2, 3)), exact.var(axis=(0, 2, 3))

    np.testing.assert_allclose(predict(x), x / np.sqrt(1 + 1e-3), rtol=1e-5)
    np.testing.assert_allclose(train(x), standardized(exact, mean, variance, 1e-3), atol=2e-6)
    state = values()
    np.testing.assert_allclose(state["bn-moving_mean"], 0.1 * mean, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(state["bn-moving_variance"], 0.9 + 0.1 * variance, rtol=1e-6)

    moving = state["bn-moving_mean"], state["bn-moving_variance"]
    np.testing.assert_allclose(predict(z), standardized(z, *moving, 1e-3), rtol=1e-4, atol=1e-5)
    assert all(np.array_equal(values()[name], state[name]) for name in state)


def test_variables_come_in_order_with_their_first_values():
    jobs()
    names = [name for name in flow.get_all_variables() if name.startswith("bn")]
    assert names == ["bn-beta", "bn-gamma", "bn-moving_mean", "bn-moving_variance"]
    firsts = [values()[name].tolist() for name in names]
    assert firsts == [[0.0] * 3, [1.0] * 3, [0.0] * 3, [1.0] * 3]
    trainable = {name: v.trainable for name, v in flow.get_all_variables().items()}
    assert [trainable[name] for name in names] == [True, True, False, False]


def test_names_can_be_given_and_parameters_left_out():
    jobs(center=False, gamma_name="g", moving_mean_name="m", moving_variance_name="v")
    assert {"g", "m", "v"} <= set(flow.get_all_variables())
    assert not [name for name in flow.get_all_variables() if name.startswith("bn")]


@pytest.mark.parametrize("option", [{"training": False}, {"trainable": False}])
def test_averages_are_used_where_the_layer_does_not_train(option):
    train, _ = jobs(epsilon=0.0, **option)
    x = batch(3, shift=1.0)
    np.testing.assert_allclose(train(x), x, rtol=1e-6)
    assert values()["bn-moving_mean"].tolist() == [0.0] * 3


def test_a_large_mean_does_not_destroy_the_variance():
    train, _ = jobs(epsilon=1e-5)
    x = batch(4, shift=1e4)
    exact = x.astype(np.float64)
    mean, variance = exact.mean(axis=(0, 2, 3)), exact.var(axis=(0, 2, 3))
    # The mean itself is rounded to half a unit in the last place of 10,000: 5e-4.
    np.testing.assert_allclose(train(x), standardized(exact, mean, variance, 1e-5), atol=2e-3)
    kept = (values()["bn-moving_variance"] - 0.99) / 0.01
    np.testing.assert_allclose(kept, variance, rtol=1e-3)


def test_the_fused_forms_are_relu_of_the_sum():
    def job_of(layer):
        @flow.global_function()
        def job(x: tp.Numpy.Placeholder(SHAPE), y: tp.Numpy.Placeholder(SHAPE)) -> tp.Numpy:
            return layer(x, y)

        return job

    x, y = batch(5), batch(6)
    plain = x / np.sqrt(np.float32(1.001))
    job = job_of(lambda x, y: flow.layers.batch_normalization_relu(x, axis=1, name="a"))
    np.testing.assert_allclose(job(x, y), np.maximum(plain, 0), rtol=1e-5)
    flow.clear_default_session()
    job = job_of(lambda x, y: flow.layers.batch_normalization_add_relu(x, y, axis=1, name="a"))
    np.testing.assert_allclose(job(x, y), np.maximum(plain + y, 0), rtol=1e-5, atol=1e-6)


def test_group_and_instance_norm_bring_scale_and_shift_for_each_channel():
    @flow.global_function()
    def job(x: tp.Numpy.Placeholder((2, 6, 5))) -> tp.Tuple[tp.Numpy, tp.Numpy]:
        return flow.nn.GroupNorm(x, 3, name="group"), flow.nn.InstanceNorm1d(x, name="instance")

    names = ["group_gamma", "group_beta", "instance_gamma", "instance_beta"]
    assert [v.shape for v in flow.get_all_variables().values()] == [(1, 6, 1)] * 4
    assert list(flow.get_all_variables()) == names
    gamma = np.arange(6, dtype=np.float32).reshape(1, 6, 1)
    flow.load_variables({name: gamma + i for i, name in enumerate(names)})
    x = np.random.default_rng(7).normal(size=(2, 6, 5)).astype(np.float32)
    group, instance = job(x)

    def reference(groups, gamma, beta):
        parts = x.reshape(2, groups, -1).astype(np.float64)
        mean, variance = parts.mean(axis=2, keepdims=True), parts.var(axis=2, keepdims=True)
        return ((parts - mean) / np.sqrt(variance + 1e-5)).reshape(x.shape) * gamma + beta

    np.testing.assert_allclose(group, reference(3, gamma, gamma + 1), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(instance, reference(6, gamma + 2, gamma + 3), rtol=1e-5, atol=1e-5)


def test_nn_batch_normalization_takes_given_statistics():
    @flow.global_function()
    def job(x: tp.Numpy.Placeholder(SHAPE), s: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        return flow.nn.batch_normalization(x, s, s, offset=s, scale=s, variance_epsilon=0.5)

    x, s = batch(8), np.array([1.0, 2.0, 3.0], np.float32)
    spread = s[:, None, None]
    expected = (x - spread) / np.sqrt(spread + 0.5) * spread + spread
    np.testing.assert_allclose(job(x, s), expected, rtol=1e-5, atol=1e-6)
    flow.clear_default_session()

    @flow.global_function()
    def wrong(x: tp.Numpy.Placeholder(SHAPE), s: tp.Numpy.Placeholder((4,))) -> tp.Numpy:
        return flow.nn.batch_normalization(x, s, s)

    with pytest.raises(flow.errors.ShapeError, match=r"variance.*\(4,\).*axis 1"):
        wrong(x, np.zeros(4, np.float32))
