"""Regularizers, weight decay, clipping and added losses against rules written out in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from op_rows.draws import Array

import flowrs as flow
import flowrs.typing as tp
from flowrs.optimizer import LearningRateScheduler, Optimizer

RATE = 0.05
BATCH = 4
#: Weights of both signs and a zero, where the pull of l1 is 0.
WEIGHTS = np.array([[0.5, -2.0, 0.0], [1.0, 0.25, -0.75]])
BIAS = np.array([0.0, -1.5])

Make = Callable[[LearningRateScheduler], Optimizer]


def constant(rate: float = RATE) -> LearningRateScheduler:
    """The same rate at each step."""
    return flow.optimizer.PiecewiseConstantScheduler([], [rate])


def sgd(rate: LearningRateScheduler) -> Optimizer:
    return flow.optimizer.SGD(rate, momentum=0)


def train(make: Make, steps: int = 3, **regularizers: Any) -> tuple[list[Array], dict[str, Array]]:
    """Trains a dense layer in float64; returns the losses and the variables."""

    @flow.global_function(type="train")
    def job(x: tp.Numpy.Placeholder((BATCH, 3), dtype=flow.float64)) -> tp.Numpy:
        y = flow.layers.dense(x, 2, name="layer", **regularizers)
        loss = flow.math.reduce_sum(y * y, axis=1)
        make(constant()).minimize(loss)
        return loss

    flow.load_variables({"layer-weight": WEIGHTS, "layer-bias": BIAS})
    losses = [job(inputs(step)) for step in range(steps)]
    values = {name: blob.numpy() for name, blob in flow.get_all_variables().items()}
    return losses, values


def inputs(step: int) -> Array:
    return np.random.default_rng(step).normal(size=(BATCH, 3))


def gradients(w: Array, b: Array, step: int) -> tuple[Array, Array]:
    """Gradients of the mean over the batch of ``sum(y²)``."""
    x = inputs(step)
    dy = 2 * (x @ w.T + b) / BATCH
    return dy.T @ x, dy.sum(axis=0)


def single(rate: float) -> float:
    """A rate as it is used: rounded to float32."""
    return float(np.float32(rate))


def pull(w: Array, l1: float, l2: float) -> Array:
    return l1 * np.sign(w) + l2 * w


# --- Regularizers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("regularizer", "l1", "l2"),
    [
        (flow.regularizers.l1(0.3), 0.3, 0.0),
        (flow.regularizers.l2(0.2), 0.0, 0.2),
        (flow.regularizers.l1_l2(0.3, 0.2), 0.3, 0.2),
        (flow.regularizers.l1(), 0.01, 0.0),
        (flow.regularizers.l2(), 0.0, 0.01),
        (flow.regularizers.l1_l2(), 0.01, 0.01),
    ],
)
def test_the_pull_is_added_to_the_gradient_of_the_mean(
    regularizer: Any, l1: float, l2: float
) -> None:
    plain, _ = train(sgd, steps=1)
    flow.clear_default_session()
    losses, values = train(sgd, kernel_regularizer=regularizer, bias_regularizer=regularizer)
    np.testing.assert_array_equal(losses[0], plain[0])
    w, b = WEIGHTS, BIAS
    for step in range(3):
        gw, gb = gradients(w, b, step)
        w, b = (
            w - single(RATE) * (gw + pull(w, l1, l2)),
            b - single(RATE) * (gb + pull(b, l1, l2)),
        )
    np.testing.assert_allclose(values["layer-weight"], w, rtol=1e-12)
    np.testing.assert_allclose(values["layer-bias"], b, rtol=1e-12)


def test_a_variable_has_its_own_regularizer() -> None:
    @flow.global_function(type="train")
    def job() -> tp.Numpy:
        ones = flow.ones_initializer()
        free = flow.get_variable("free", (2,), initializer=ones)
        held = flow.get_variable(
            "held", (2,), initializer=ones, regularizer=flow.regularizers.l2(0.5)
        )
        loss = flow.math.reduce_sum(free + held)
        sgd(constant(1.0)).minimize(loss)
        return loss

    job()
    values = flow.get_all_variables()
    np.testing.assert_array_equal(values["free"].numpy(), [0, 0])
    np.testing.assert_array_equal(values["held"].numpy(), [-0.5, -0.5])


def test_momentum_takes_the_pull_in() -> None:
    def make(rate: LearningRateScheduler) -> Optimizer:
        return flow.optimizer.SGD(rate, momentum=0.9)

    _, values = train(make, kernel_regularizer=flow.regularizers.l2(0.2))
    w, b, vw, vb = WEIGHTS, BIAS, np.zeros_like(WEIGHTS), np.zeros_like(BIAS)
    for step in range(3):
        gw, gb = gradients(w, b, step)
        vw = 0.9 * vw - single(RATE) * (gw + 0.2 * w)
        vb = 0.9 * vb - single(RATE) * gb
        w, b = w + vw, b + vb
    np.testing.assert_allclose(values["layer-weight"], w, rtol=1e-12)
    np.testing.assert_allclose(values["layer-bias"], b, rtol=1e-12)


def test_only_regularizers_are_taken() -> None:
    @flow.global_function()
    def job() -> tp.Numpy:
        return flow.get_variable("w", (2,), initializer=flow.ones_initializer(), regularizer=0.01)

    with pytest.raises(flow.errors.ArgumentTypeError, match=r"variable w.*l1_l2"):
        job()
    with pytest.raises(flow.errors.ArgumentError, match="finite"):
        flow.regularizers.l2(float("inf"))


# --- Weight decay ------------------------------------------------------------------------------


def decays(rule: str, **options: Any) -> Make:
    def make(rate: LearningRateScheduler) -> Optimizer:
        if rule == "adam":
            return flow.optimizer.AdamW(rate, epsilon=1e-3, **options)
        return flow.optimizer.SGDW(rate, momentum=0.9 if rule == "momentum" else 0, **options)

    return make


def decayed(rule: str, decay_w: float, decay_b: float) -> tuple[Array, Array]:
    """Three steps of a rule with weight decay."""
    rate = single(RATE)
    values, decay = [WEIGHTS, BIAS], (decay_w, decay_b)
    m = [np.zeros_like(value) for value in values]
    v = [np.zeros_like(value) for value in values]
    for step in range(3):
        for i, g in enumerate(gradients(values[0], values[1], step)):
            w = values[i]
            if rule == "sgd":
                values[i] = w - rate * (g + decay[i] * w)
            elif rule == "momentum":
                m[i] = 0.9 * m[i] - rate * g
                values[i] = w + m[i] - rate * decay[i] * w
            else:
                m[i] = 0.9 * m[i] + (1 - 0.9) * g
                v[i] = 0.999 * v[i] + (1 - 0.999) * g * g
                values[i] = w - rate * (m[i] / (np.sqrt(v[i]) + 1e-3) + decay[i] * w)
    return values[0], values[1]


@pytest.mark.parametrize("rule", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize(
    ("options", "decay_w", "decay_b"),
    [
        ({}, 0.0, 0.0),
        ({"weight_decay": 0.3}, 0.3, 0.3),
        ({"weight_decay": 0.3, "weight_decay_includes": "weight"}, 0.3, 0.0),
        ({"weight_decay": 0.3, "weight_decay_excludes": ["xyz", "bias$"]}, 0.3, 0.0),
        ({"weight_decay": 0.3, "weight_decay_includes": ["^bias", "nothing"]}, 0.0, 0.0),
        ({"weight_decay": 0.3, "weight_decay_excludes": []}, 0.3, 0.3),
        ({"weight_decay_includes": "weight"}, 0.0, 0.0),
    ],
)
def test_decay_holds_for_the_variables_that_pass_the_filter(
    rule: str, options: dict[str, Any], decay_w: float, decay_b: float
) -> None:
    _, values = train(decays(rule, **options))
    w, b = decayed(rule, decay_w, decay_b)
    np.testing.assert_allclose(values["layer-weight"], w, rtol=1e-9)
    np.testing.assert_allclose(values["layer-bias"], b, rtol=1e-9)


@pytest.mark.parametrize("optimizer", [flow.optimizer.SGDW, flow.optimizer.AdamW])
def test_filters_that_cannot_be_meant_are_refused(optimizer: Any) -> None:
    def make(**options: Any) -> Optimizer:
        return optimizer(constant(), weight_decay=0.1, **options)

    with pytest.raises(flow.errors.ArgumentError, match="not both"):
        make(weight_decay_includes="a", weight_decay_excludes="b")
    with pytest.raises(flow.errors.ArgumentError, match="regular expression"):
        make(weight_decay_includes="(")
    with pytest.raises(flow.errors.ArgumentError, match="finite"):
        optimizer(constant(), weight_decay=float("nan"))


# --- Clipping ----------------------------------------------------------------------------------


@pytest.mark.parametrize("clip_norm", [0.1, 1.0, 1000.0])
@pytest.mark.parametrize("regularizer", [None, flow.regularizers.l2(0.2)])
def test_gradients_are_shortened_together(clip_norm: float, regularizer: Any) -> None:
    def make(rate: LearningRateScheduler) -> Optimizer:
        clipping = flow.optimizer.grad_clipping.by_global_norm(clip_norm)
        return flow.optimizer.SGD(rate, momentum=0, grad_clipping=clipping)

    _, values = train(make, kernel_regularizer=regularizer)
    w, b = WEIGHTS, BIAS
    for step in range(3):
        gw, gb = gradients(w, b, step)
        if regularizer is not None:
            gw = gw + 0.2 * w
        norm = np.sqrt(np.square(gw).sum() + np.square(gb).sum())
        factor = min(1.0, clip_norm / norm)
        w, b = w - single(RATE) * factor * gw, b - single(RATE) * factor * gb
    np.testing.assert_allclose(values["layer-weight"], w, rtol=1e-12)
    np.testing.assert_allclose(values["layer-bias"], b, rtol=1e-12)


def test_clipping_spans_dtypes_and_leaves_zero_gradients_alone() -> None:
    @flow.global_function(type="train")
    def job(
        x: tp.Numpy.Placeholder((1,)), y: tp.Numpy.Placeholder((1,), dtype=flow.float64)
    ) -> tp.Numpy:
        a = flow.get_variable("a", (1,), initializer=flow.ones_initializer())
        ones = flow.ones_initializer(flow.float64)
        b = flow.get_variable("b", (1,), dtype=flow.float64, initializer=ones)
        loss = a * x + flow.cast(b * y, flow.float32)
        clipping = flow.optimizer.grad_clipping.by_global_norm(1)
        flow.optimizer.SGD(constant(1.0), momentum=0, grad_clipping=clipping).minimize(loss)
        return loss

    job(np.array([0], np.float32), np.array([0.0]))
    assert flow.get_all_variables()["a"].numpy() == 1
    job(np.array([3], np.float32), np.array([4.0]))
    values = flow.get_all_variables()
    np.testing.assert_allclose(values["a"].numpy(), [1 - 0.6], rtol=1e-6)
    np.testing.assert_allclose(values["b"].numpy(), [1 - 0.8], rtol=1e-6)


@pytest.mark.parametrize("norm", [0, -1.0, float("nan"), float("inf"), "1", True])
def test_a_norm_that_cannot_be_meant_is_refused(norm: Any) -> None:
    with pytest.raises(flow.errors.ArgumentError, match="clip_norm"):
        flow.optimizer.grad_clipping.by_global_norm(norm)
    with pytest.raises(flow.errors.ArgumentTypeError, match="by_global_norm"):
        flow.optimizer.SGD(constant(), grad_clipping=norm)


# --- Losses without an optimizer object --------------------------------------------------------


def configured(conf: dict[str, Any], rate: float = RATE) -> Any:
    config = flow.FunctionConfig()
    config.train.primary_lr(rate)
    config.train.model_update_conf(conf)
    return config


def train_added(config: Any) -> dict[str, Array]:
    """As ``train``, with ``add_loss`` in the place of an optimizer."""

    @flow.global_function("train", config)
    def job(x: tp.Numpy.Placeholder((BATCH, 3), dtype=flow.float64)) -> tp.Numpy:
        y = flow.layers.dense(x, 2, name="layer")
        loss = flow.math.reduce_sum(y * y, axis=1)
        flow.losses.add_loss(loss)
        return loss

    flow.load_variables({"layer-weight": WEIGHTS, "layer-bias": BIAS})
    for step in range(3):
        job(inputs(step))
    return {name: blob.numpy() for name, blob in flow.get_all_variables().items()}


@pytest.mark.parametrize(
    ("conf", "make"),
    [
        ({"naive_conf": {}}, sgd),
        (
            {"momentum_conf": {"beta": 0.8}},
            lambda rate: flow.optimizer.SGD(rate, momentum=0.8),
        ),
        ({"momentum_conf": {}}, lambda rate: flow.optimizer.SGD(rate)),
        ({"adam_conf": {"epsilon": 1e-3}}, lambda rate: flow.optimizer.Adam(rate, epsilon=1e-3)),
        (
            {
                "adam_conf": {"beta1": 0.8, "do_bias_correction": True},
                "weight_decay_conf": {"weight_decay_rate": 0.1, "excludes": {"pattern": ["bias"]}},
            },
            lambda rate: flow.optimizer.AdamW(
                rate,
                beta1=0.8,
                do_bias_correction=True,
                weight_decay=0.1,
                weight_decay_excludes="bias",
            ),
        ),
        (
            {"naive_conf": {}, "clip_conf": {"clip_by_global_norm": {"clip_norm": 0.5}}},
            lambda rate: flow.optimizer.SGD(
                rate,
                momentum=0,
                grad_clipping=flow.optimizer.grad_clipping.by_global_norm(0.5),
            ),
        ),
        (
            {
                "naive_conf": {},
                "learning_rate_decay": {"cosine_conf": {"decay_batches": 4, "alpha": 0.1}},
                "warmup_conf": {"linear_conf": {"warmup_batches": 2, "start_multiplier": 0.5}},
            },
            lambda rate: flow.optimizer.SGD(
                flow.optimizer.CosineScheduler(
                    RATE, 4, 0.1, warmup=flow.optimizer.warmup.linear(2, 0.5)
                ),
                momentum=0,
            ),
        ),
        (
            {
                "naive_conf": {},
                "learning_rate_decay": {
                    "piecewise_constant_conf": {"boundaries": [0], "values": [0.1, 0.01]}
                },
            },
            lambda rate: flow.optimizer.SGD(
                flow.optimizer.PiecewiseConstantScheduler([0], [0.1, 0.01]), momentum=0
            ),
        ),
    ],
)
def test_an_added_loss_is_trained_as_the_configuration_says(
    conf: dict[str, Any], make: Make
) -> None:
    _, expected = train(make)
    flow.clear_default_session()
    found = train_added(configured(conf))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


def test_added_losses_are_added_up() -> None:
    @flow.global_function("train", configured({"naive_conf": {}}, rate=1.0))
    def job() -> tp.Numpy:
        w = flow.get_variable("w", (2,), initializer=flow.ones_initializer())
        flow.losses.add_loss(w * 2)
        flow.losses.add_loss(w * 3)
        return w

    job()
    # The sum of both, divided by the number of elements of one.
    np.testing.assert_array_equal(flow.get_all_variables()["w"].numpy(), [-1.5, -1.5])


def test_a_loss_is_added_to_those_of_minimize() -> None:
    @flow.global_function("train")
    def job() -> tp.Numpy:
        w = flow.get_variable("w", (1,), initializer=flow.ones_initializer())
        sgd(constant(1.0)).minimize(w * 2)
        flow.losses.add_loss(w * 3)
        return w

    job()
    np.testing.assert_array_equal(flow.get_all_variables()["w"].numpy(), [-4])


def test_the_configuration_was_copied() -> None:
    config = configured({"naive_conf": {}}, rate=1.0)

    @flow.global_function("train", config)
    def job() -> tp.Numpy:
        w = flow.get_variable("w", (1,), initializer=flow.ones_initializer())
        flow.losses.add_loss(w)
        return w

    config.train.primary_lr(7.0)
    job()
    np.testing.assert_array_equal(flow.get_all_variables()["w"].numpy(), [0])


@pytest.mark.parametrize("missing", ["primary_lr", "model_update_conf"])
def test_what_the_configuration_lacks_is_named(missing: str) -> None:
    config = flow.FunctionConfig()
    if missing == "primary_lr":
        config.train.model_update_conf({"naive_conf": {}})
    else:
        config.train.primary_lr(0.1)

    @flow.global_function("train", config)
    def job() -> tp.Numpy:
        w = flow.get_variable("w", (1,), initializer=flow.ones_initializer())
        flow.losses.add_loss(w)
        return w

    with pytest.raises(flow.errors.ArgumentError, match=f"job job .*{missing}"):
        job()


@pytest.mark.parametrize(
    ("conf", "error", "words"),
    [
        ({}, flow.errors.ArgumentError, "naive_conf"),
        ({"naive_conf": {}, "adam_conf": {}}, flow.errors.ArgumentError, "give one of"),
        ({"naive_conf": {"beta": 1}}, flow.errors.ArgumentError, "beta"),
        ({"naive": {}}, flow.errors.ArgumentError, "'naive' is not known"),
        ({"lars_conf": {}}, flow.errors.UnsupportedError, "lars_conf"),
        ({"momentum_conf": {"beta": 2}}, flow.errors.ArgumentError, "momentum"),
        ({"naive_conf": {}, "warmup_conf": {"linear_conf": {}}}, flow.errors.ArgumentError, "miss"),
        ([], flow.errors.ArgumentTypeError, "dict"),
    ],
)
def test_a_wrong_configuration_is_refused_at_once(
    conf: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        flow.FunctionConfig().train.model_update_conf(conf)


def test_losses_are_added_in_train_jobs_only_and_must_fit() -> None:
    @flow.global_function()
    def predict() -> tp.Numpy:
        w = flow.get_variable("w", (1,), initializer=flow.ones_initializer())
        flow.losses.add_loss(w)
        return w

    with pytest.raises(flow.errors.GraphError, match="predict job"):
        predict()
    flow.clear_default_session()

    @flow.global_function("train", configured({"naive_conf": {}}))
    def mixed() -> tp.Numpy:
        w = flow.get_variable("w", (2,), initializer=flow.ones_initializer())
        flow.losses.add_loss(w)
        flow.losses.add_loss(flow.math.reduce_sum(w))
        return w

    with pytest.raises(flow.errors.GraphError, match="one shape"):
        mixed()
