"""Optimizers against update rules written out in NumPy, and what ``minimize`` trains."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from op_jobs import ops_of, variable
from op_table import Array

import flowrs as flow
import flowrs.typing as tp
from flowrs.optimizer import LearningRateScheduler, Optimizer

BATCH, FEATURES, OUTPUTS = 4, 3, 5
STEPS = 5
RATE = 0.05


def constant(rate: float) -> LearningRateScheduler:
    """The same rate at each step."""
    return flow.optimizer.PiecewiseConstantScheduler([], [rate])


def single(rate: float) -> float:
    """A rate as it is used: rounded to float32."""
    return float(np.float32(rate))


# --- Update rules ------------------------------------------------------------------------------

State = dict[str, Array]


def sgd(w: Array, g: Array, slots: State, rate: float, step: int) -> Array:
    return w - rate * g


def momentum(w: Array, g: Array, slots: State, rate: float, step: int) -> Array:
    slots["momentum"] = 0.9 * slots["momentum"] - rate * g
    return w + slots["momentum"]


def adam(w: Array, g: Array, slots: State, rate: float, step: int) -> Array:
    slots["m"] = 0.9 * slots["m"] + (1 - 0.9) * g
    slots["v"] = 0.99 * slots["v"] + (1 - 0.99) * g * g
    return w - rate * slots["m"] / (np.sqrt(slots["v"]) + 1e-3)


def corrected_adam(w: Array, g: Array, slots: State, rate: float, step: int) -> Array:
    t = step + 1
    return adam(w, g, slots, rate * math.sqrt(1 - 0.99**t) / (1 - 0.9**t), step)


@dataclass(frozen=True)
class Rule:
    """An optimizer, its update in NumPy, its slots, and the engine's operations behind it."""

    name: str
    make: Callable[..., Optimizer]
    update: Callable[[Array, Array, State, float, int], Array]
    slots: tuple[str, ...]
    covers: tuple[str, ...]


ADAM = {"beta1": 0.9, "beta2": 0.99, "epsilon": 1e-3}
RULES = [
    Rule(
        "sgd",
        lambda rate, **more: flow.optimizer.SGD(rate, momentum=0, **more),
        sgd,
        (),
        ("sgd_update", "learning_rate", "step_increment"),
    ),
    Rule(
        "momentum",
        lambda rate, **more: flow.optimizer.SGD(rate, momentum=0.9, **more),
        momentum,
        ("momentum",),
        ("momentum_update",),
    ),
    Rule(
        "adam",
        lambda rate, **more: flow.optimizer.Adam(rate, **ADAM, **more),
        adam,
        ("m", "v"),
        ("adam_update",),
    ),
    Rule(
        "adam-bias-correction",
        lambda rate, **more: flow.optimizer.Adam(rate, do_bias_correction=True, **ADAM, **more),
        corrected_adam,
        ("m", "v"),
        ("adam_update",),
    ),
]

#: What the op table need not cover.
COVERED = {op for rule in RULES for op in rule.covers}


# --- Losses, and the gradient scale that their shape brings --------------------------------------


@dataclass(frozen=True)
class Loss:
    """Losses of ``y = x @ w``, their gradient to y, and the number that ``minimize`` divides by."""

    name: str
    make: Callable[[Any], Any]
    gradient: Callable[[Array], Array]
    count: int


LOSSES = [
    Loss(
        "of-each-row",
        lambda y: flow.math.reduce_sum(y * y, axis=1),
        lambda y: 2 * y,
        BATCH,
    ),
    Loss("of-each-element", lambda y: y * y, lambda y: 2 * y, BATCH * OUTPUTS),
    Loss("sum", lambda y: flow.math.reduce_sum(y * y), lambda y: 2 * y, 1),
    Loss(
        "mean",
        lambda y: flow.math.reduce_mean(y * y),
        lambda y: 2 * y / (BATCH * OUTPUTS),
        1,
    ),
    Loss("several", lambda y: [y * y, y * 3.0], lambda y: 2 * y + 3, BATCH * OUTPUTS),
]


def data(dtype: str) -> tuple[Array, Array]:
    """Inputs x for each step, and the first w."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(STEPS, BATCH, FEATURES)).astype(dtype)
    return x, rng.normal(size=(FEATURES, OUTPUTS)).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_weights_and_slots_follow_the_rule(rule: Rule, loss: Loss, dtype: str) -> None:
    x, w = data(dtype)

    @flow.global_function(type="train")
    def job(
        x: tp.Numpy.Placeholder((BATCH, FEATURES), getattr(flow, dtype)),
    ) -> tp.Numpy:
        y = flow.matmul(x, variable("w", w))
        rule.make(constant(RATE)).minimize(loss.make(y))
        return y

    flow.load_variables({"w": w})
    expected = w.astype(np.float64)
    slots = {name: np.zeros_like(expected) for name in rule.slots}
    tolerance = 3e-5 if dtype == "float32" else 1e-13
    for step in range(STEPS):
        y = x[step].astype(np.float64) @ expected
        np.testing.assert_allclose(job(x[step]), y, rtol=tolerance, atol=tolerance)
        gradient = x[step].T.astype(np.float64) @ loss.gradient(y) / loss.count
        expected = rule.update(expected, gradient, slots, single(RATE), step)
        variables = flow.get_all_variables()
        assert set(variables) == {
            "w",
            "System-Train-TrainStep-job",
            *(f"w-{name}" for name in rule.slots),
        }
        found = variables["w"].numpy()
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
        for name, slot in slots.items():
            found = variables[f"w-{name}"].numpy()
            np.testing.assert_allclose(found, slot, rtol=tolerance, atol=tolerance)
        counted = variables["System-Train-TrainStep-job"].numpy()
        np.testing.assert_array_equal(counted, np.array([step + 1], np.int64))
    assert set(rule.covers) <= ops_of(job)


@pytest.mark.parametrize("rows", [BATCH, 1, 3])
def test_dynamic_loss_is_divided_by_its_rows_alone(rows: int) -> None:
    x, w = data("float64")

    @flow.global_function(type="train")
    def job(
        x: tp.ListNumpy.Placeholder((BATCH, FEATURES), flow.float64),
    ) -> tp.ListNumpy:
        y = flow.matmul(x, variable("w", w))
        flow.optimizer.SGD(constant(RATE), momentum=0).minimize(y * y)
        return y

    flow.load_variables({"w": w})
    batch = x[0][:rows]
    (y,) = job([batch])
    np.testing.assert_allclose(y, batch @ w, rtol=1e-13)
    expected = w - single(RATE) * batch.T @ (2 * y) / rows
    np.testing.assert_allclose(flow.get_all_variables()["w"].numpy(), expected, rtol=1e-13)


def after_one_step(**scaling: Any) -> Array:
    """The weights after one step of Adam."""
    x, w = data("float32")
    flow.clear_default_session()

    @flow.global_function(type="train")
    def job(x: tp.Numpy.Placeholder((BATCH, FEATURES))) -> None:
        y = flow.matmul(x, variable("w", w))
        flow.optimizer.Adam(constant(RATE), **scaling).minimize(y)

    flow.load_variables({"w": w})
    job(x[0])
    return flow.get_all_variables()["w"].numpy()


def test_static_loss_scale_has_no_effect() -> None:
    plain = after_one_step()
    assert not np.array_equal(plain, data("float32")[1])
    np.testing.assert_array_equal(after_one_step(loss_scale_factor=1024.0), plain)
    policy = flow.optimizer.loss_scale.static_loss_scale(8.0)
    np.testing.assert_array_equal(after_one_step(loss_scale_policy=policy), plain)


# --- Schedules ---------------------------------------------------------------------------------


def rates(scheduler: LearningRateScheduler, steps: int, first: int = 0) -> Array:
    """The rates of the steps from ``first`` on, as the changes of a weight of slope 1 show them."""
    flow.clear_default_session()
    zero = np.zeros(1)

    @flow.global_function(type="train")
    def job() -> tp.Numpy:
        w = variable("w", zero)
        flow.optimizer.SGD(scheduler, momentum=0).minimize(flow.math.reduce_sum(w))
        return w

    flow.load_variables({"System-Train-TrainStep-job": np.array([first])})
    found = []
    for _ in range(steps):
        flow.load_variables({"w": zero})
        job()
        found.append(-flow.get_all_variables()["w"].numpy()[0])
    return np.array(found)


def close_to_single(found: Array, expected: list[float]) -> None:
    """Compares rates, which are float32, with formulas in double."""
    np.testing.assert_array_equal(found, found.astype(np.float32))
    np.testing.assert_allclose(found, expected, rtol=1.2e-7, atol=1e-12)


def test_piecewise_constant_includes_its_boundaries() -> None:
    scheduler = flow.optimizer.PiecewiseConstantScheduler([2, 5], [0.3, 0.2, 0.1])
    expected = [single(rate) for rate in [0.3] * 3 + [0.2] * 3 + [0.1] * 2]
    np.testing.assert_array_equal(rates(scheduler, 8), expected)


def test_cosine_falls_to_alpha_and_stays_there() -> None:
    def cosine(step: int) -> float:
        return 0.3 * (0.75 * 0.5 * (1 + math.cos(math.pi * min(step, 6) / 6)) + 0.25)

    found = rates(flow.optimizer.CosineScheduler(0.3, 6, alpha=0.25), 9)
    close_to_single(found, [cosine(step) for step in range(9)])
    assert found[6] == found[8]
    found = rates(flow.optimizer.CosineScheduler(0.3, 6), 8)
    assert found[6] == found[7] == 0


def test_linear_warmup_precedes_a_schedule_that_counts_its_steps() -> None:
    ramp = flow.optimizer.warmup.linear(4, 0.25)
    found = rates(flow.optimizer.CosineScheduler(0.4, 8, warmup=ramp), 8)
    ramped = [0.4 * (0.25 + 0.75 * step / 4) for step in range(4)]
    decayed = [0.2 * (1 + math.cos(math.pi * step / 8)) for step in range(4, 8)]
    close_to_single(found, ramped + decayed)
    ramp = flow.optimizer.warmup.linear(2, 0)
    found = rates(flow.optimizer.PiecewiseConstantScheduler([2], [0.5, 0.125], ramp), 5)
    close_to_single(found, [0, 0.25, 0.5, 0.125, 0.125])


def test_schedules_go_on_from_a_restored_step() -> None:
    scheduler = flow.optimizer.PiecewiseConstantScheduler([10**12], [0.5, 0.25])
    found = rates(scheduler, 3, first=10**12 - 1)
    np.testing.assert_array_equal(found, [0.5, 0.5, 0.25])


@pytest.mark.parametrize("rate", [math.nan, math.inf, -math.inf])
def test_rates_that_are_no_numbers_are_refused(rate: float) -> None:
    with pytest.raises(flow.errors.ArgumentError, match="finite"):
        flow.optimizer.PiecewiseConstantScheduler([], [rate])
    with pytest.raises(flow.errors.ArgumentError, match="finite"):
        flow.optimizer.CosineScheduler(rate, 10)


def test_a_rate_beyond_float32_stops_the_step_before_anything_changes() -> None:
    @flow.global_function(type="train")
    def job() -> None:
        w = flow.get_variable("w", (2,), initializer=flow.ones_initializer())
        optimizer = flow.optimizer.SGD(
            flow.optimizer.PiecewiseConstantScheduler([0], [0.5, 1e39]), momentum=0
        )
        optimizer.minimize(flow.math.reduce_sum(w))

    job()
    with pytest.raises(flow.errors.RangeError, match="learning rate is inf at step 1"):
        job()
    variables = flow.get_all_variables()
    np.testing.assert_array_equal(variables["w"].numpy(), [0.5, 0.5])
    np.testing.assert_array_equal(variables["System-Train-TrainStep-job"].numpy(), [1])


# --- What is trained ---------------------------------------------------------------------------


def ones(name: str, trainable: bool = True) -> Any:
    """A variable of two ones."""
    return flow.get_variable(name, (2,), initializer=flow.ones_initializer(), trainable=trainable)


def values() -> dict[str, list[float]]:
    """All variables but the step."""
    return {
        name: handle.numpy().tolist()
        for name, handle in flow.get_all_variables().items()
        if not name.startswith("System-")
    }


KEPT, MOVED, SLOT = [1.0, 1.0], [0.5, 0.5], [-0.5, -0.5]


def sum_of(*blobs: Any) -> Any:
    """A loss of slope 1 in each element."""
    total = blobs[0]
    for blob in blobs[1:]:
        total = total + blob
    return flow.math.reduce_sum(total)


def optimizer(**more: Any) -> Optimizer:
    """Momentum with a rate of 1/2."""
    return flow.optimizer.SGD(constant(0.5), momentum=0.5, **more)


def test_variables_that_are_not_trainable_stay() -> None:
    @flow.global_function(type="train")
    def job() -> None:
        optimizer().minimize(sum_of(ones("a"), ones("b", trainable=False)))

    job()
    assert values() == {"a": MOVED, "a-momentum": SLOT, "b": KEPT}


@pytest.mark.parametrize("lazy", [False, True])
def test_only_the_named_variables_are_trained(lazy: bool) -> None:
    names = ["b", "c", "nothing"]

    @flow.global_function(type="train")
    def job() -> None:
        loss = sum_of(ones("a"), ones("b"), ones("c", trainable=False))
        optimizer(variables=(lambda: names) if lazy else names).minimize(loss)

    job()
    assert values() == {"a": KEPT, "b": MOVED, "b-momentum": SLOT, "c": KEPT}


def test_variables_made_after_minimize_stay() -> None:
    @flow.global_function(type="train")
    def job() -> tp.Numpy:
        a = ones("a")
        optimizer().minimize(sum_of(a))
        return a + ones("late")

    job()
    assert values() == {"a": MOVED, "a-momentum": SLOT, "late": KEPT}


def test_variables_without_influence_get_no_slots() -> None:
    @flow.global_function(type="train")
    def job() -> tp.Numpy:
        a, idle = ones("a"), ones("idle")
        optimizer().minimize(sum_of(a))
        return a * idle

    job()
    assert values() == {"a": MOVED, "a-momentum": SLOT, "idle": KEPT}


def test_the_last_minimize_counts() -> None:
    @flow.global_function(type="train")
    def job() -> None:
        a, b = ones("a"), ones("b")
        flow.optimizer.Adam(constant(1.0)).minimize(sum_of(a))
        optimizer().minimize(sum_of(b))

    job()
    assert values() == {"a": KEPT, "b": MOVED, "b-momentum": SLOT}


def test_results_show_variables_as_they_were_before_the_update() -> None:
    @flow.global_function(type="train")
    def job() -> tuple[tp.Numpy, tp.Numpy, tp.Numpy]:
        a = ones("a")
        optimizer().minimize(sum_of(a))
        return a, flow.identity(a), a + a

    first = job()
    assert [array.tolist() for array in first] == [KEPT, KEPT, [2.0, 2.0]]
    assert [array.tolist() for array in job()] == [MOVED, MOVED, KEPT]
    assert [array.tolist() for array in first] == [KEPT, KEPT, [2.0, 2.0]]


def test_a_variable_that_is_used_twice_gets_both_gradients() -> None:
    @flow.global_function(type="train")
    def job() -> None:
        a = ones("a")
        optimizer().minimize(flow.math.reduce_sum(a * a) + flow.math.reduce_sum(a * 0.5))

    job()
    assert values()["a"] == [-0.25, -0.25]


def test_jobs_share_weights_but_count_their_own_steps() -> None:
    @flow.global_function(type="train")
    def first() -> None:
        flow.optimizer.SGD(constant(0.5), momentum=0).minimize(sum_of(ones("a")))

    @flow.global_function(type="train")
    def second() -> None:
        flow.optimizer.SGD(constant(0.25), momentum=0).minimize(sum_of(ones("a")))

    first()
    second()
    second()
    variables = flow.get_all_variables()
    np.testing.assert_array_equal(variables["a"].numpy(), [0.0, 0.0])
    np.testing.assert_array_equal(variables["System-Train-TrainStep-first"].numpy(), [1])
    np.testing.assert_array_equal(variables["System-Train-TrainStep-second"].numpy(), [2])


def test_a_failing_step_changes_nothing() -> None:
    @flow.global_function(type="train")
    def job(labels: tp.Numpy.Placeholder((3,), flow.int32)) -> tp.Numpy:
        logits = flow.get_variable("w", (3, 4), initializer=flow.random_normal_initializer())
        loss = flow.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        optimizer().minimize(loss)
        return loss

    job(np.array([0, 1, 3], np.int32))
    before = {name: handle.numpy() for name, handle in flow.get_all_variables().items()}
    with pytest.raises(flow.errors.RangeError, match="label 4 at position 1"):
        job(np.array([0, 4, 3], np.int32))
    for name, handle in flow.get_all_variables().items():
        np.testing.assert_array_equal(handle.numpy(), before[name])
    job(np.array([0, 1, 3], np.int32))
    assert flow.get_all_variables()["System-Train-TrainStep-job"].numpy().tolist() == [2]
