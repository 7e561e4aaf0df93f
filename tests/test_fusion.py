"""What the passes fuse, and that fused plans compute what plain ones do."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from op_jobs import ISAS, variable

import flowrs as flow
import flowrs.typing as tp
from flowrs import _flowrs

Array = np.ndarray[Any, np.dtype[Any]]


def graph_of(job: Any) -> Any:
    """The graph of a job, traced for its declared shapes."""
    flow.get_all_variables()
    ((trace, _),) = job.job.traced.values()
    return trace.graph


def steps_of(plan: Any) -> list[str]:
    """Name and kind of each step of a plan, without the places in memory."""
    lines = [line for line in str(plan).splitlines() if line.endswith(")") and " -> (" in line]
    heads = [line.split(" -> (")[0].rpartition(" (")[0] for line in lines]
    return [" ".join(head.split()) for head in heads]


def notes_of(plan: Any) -> list[str]:
    """Why fusions were not made."""
    return [line for line in str(plan).splitlines() if " left " in line]


def fused_in(plan: Any, rule: str) -> list[str]:
    """The nodes that a rule rewrote."""
    return [line.split(": ")[1] for line in str(plan).splitlines() if line.startswith(f"{rule}: ")]


# --- What is fused -----------------------------------------------------------------------------


def constant(rate: float) -> Any:
    return flow.optimizer.PiecewiseConstantScheduler([], [rate])


def mlp_job(optimizer: Callable[[], Any]) -> Any:
    @flow.global_function(type="train")
    def train_job(
        images: tp.Numpy.Placeholder((100, 1, 28, 28)),
        labels: tp.Numpy.Placeholder((100,), flow.int32),
    ) -> tp.Numpy:
        flat = flow.reshape(images, [100, -1])
        hidden = flow.layers.dense(flat, 512, activation=flow.nn.relu, name="dense1")
        logits = flow.layers.dense(hidden, 10, name="dense2")
        loss = flow.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        optimizer().minimize(loss)
        return loss

    return train_job


PLAN_OF_THE_MLP = """\
dense1-activation matmul[transpose_b, +bias +relu]
dense2-bias_add matmul[transpose_b, +bias]
SparseSoftmaxCrossEntropy_0 sparse_softmax_cross_entropy[+gradient of 1]
System-Train-LearningRate-train_job learning_rate
System-Train-TrainStep-train_job-increment step_increment
dense2-bias_add/reduce_sum reduce_sum[axes=[0]]
System-Train-Update-dense2-bias sgd_update[scale=0.01, weight_decay=0]
dense1-activation/relu_gradient matmul[+relu_gradient]
System-Train-Update-dense1-weight matmul_sgd_update[transpose_a, scale=0.01, weight_decay=0]
System-Train-Update-dense2-weight matmul_sgd_update[transpose_a, scale=0.01, weight_decay=0]
dense1-bias_add/reduce_sum reduce_sum[axes=[0]]
System-Train-Update-dense1-bias sgd_update[scale=0.01, weight_decay=0]
"""


def without_schedule(step: str) -> str:
    """A step without the parameters of the learning rate."""
    return step.split("[PiecewiseConstant")[0]


def test_plan_of_the_mlp() -> None:
    job = mlp_job(lambda: flow.optimizer.SGD(constant(0.1), momentum=0))
    plan = graph_of(job).compile()
    assert [without_schedule(step) for step in steps_of(plan)] == PLAN_OF_THE_MLP.splitlines()
    assert notes_of(plan) == []
    assert fused_in(plan, "relu into matmul") == ["dense1-activation"]
    assert fused_in(plan, "matmul into update") == [
        "System-Train-Update-dense1-weight",
        "System-Train-Update-dense2-weight",
    ]


def test_plan_of_the_mlp_without_fusion() -> None:
    job = mlp_job(lambda: flow.optimizer.SGD(constant(0.1), momentum=0))
    plan = graph_of(job).compile(fuse=False)
    kinds = [without_schedule(step).split(" ", 1)[1].split("[")[0] for step in steps_of(plan)]
    # Forward and backward products, but not that of the gradient of the images.
    assert kinds.count("matmul") == 5
    assert kinds.count("bias_add") == 2
    assert kinds.count("relu") == kinds.count("relu_gradient") == 1
    assert kinds.count("sgd_update") == 4
    assert "matmul_sgd_update" not in kinds


def test_optimizers_with_state_take_the_gradient_from_memory() -> None:
    job = mlp_job(lambda: flow.optimizer.Adam(constant(0.1)))
    steps = steps_of(graph_of(job).compile())
    assert sum("adam_update[scale=0.01" in step for step in steps) == 4
    assert not any("matmul_sgd_update" in step for step in steps)
    # An update follows its gradient, while that is in the cache.
    names = [step.split(" ", 1)[0] for step in steps]
    at = names.index("dense2-bias_add/reduce_sum")
    assert names[at + 1] == "System-Train-Update-dense2-bias"


def chain_job(body: Callable[..., Any]) -> Any:
    @flow.global_function()
    def job(x: tp.Numpy.Placeholder((3, 5)), y: tp.Numpy.Placeholder((3, 5))) -> tp.Numpy:
        return body(x, y)

    return job


def test_chains_of_elementwise_operations_are_one_step() -> None:
    job = chain_job(lambda x, y: flow.math.tanh(flow.nn.relu(x + y) * y - 1.0, name="last"))
    (step,) = steps_of(graph_of(job).compile())
    assert step.startswith("last elementwise[instructions=")
    x, y = np.random.default_rng(2).normal(size=(2, 3, 5)).astype(np.float32)
    wanted = np.tanh(np.maximum(x + y, 0) * y - 1)
    np.testing.assert_allclose(job(x, y), wanted, rtol=1e-6, atol=1e-6)


def test_a_step_may_take_in_several_others_but_computes_nothing_twice() -> None:
    def body(x: Any, y: Any) -> Any:
        total = x + y
        return flow.math.tanh(total) * flow.math.exp(total, name="b")

    job = chain_job(body)
    steps = steps_of(graph_of(job).compile())
    assert steps == ["Add_0 add", "Multiply_0 elementwise[instructions=3]"]
    x, y = np.random.default_rng(2).normal(size=(2, 3, 5)).astype(np.float32)
    np.testing.assert_allclose(job(x, y), np.tanh(x + y) * np.exp(x + y), rtol=1e-6)


def test_a_value_that_is_wanted_itself_ends_a_chain() -> None:
    @flow.global_function()
    def job(x: tp.Numpy.Placeholder((3, 5))) -> tuple[tp.Numpy, tp.Numpy]:
        power = flow.math.exp(x, name="a")
        return power, flow.math.tanh(power, name="b")

    plan = graph_of(job).compile()
    assert steps_of(plan) == ["a exp", "b tanh"]
    assert notes_of(plan) == [
        "elementwise chain left b alone: the value between is needed elsewhere"
    ]


def test_a_loss_whose_gradient_is_not_one_number_leaves_it_to_a_second_pass() -> None:
    @flow.global_function(type="train")
    def job(
        x: tp.Numpy.Placeholder((4, 3)),
        labels: tp.Numpy.Placeholder((4,), flow.int32),
        weight: tp.Numpy.Placeholder((4,)),
    ) -> None:
        logits = flow.layers.dense(x, 5, name="dense")
        loss = flow.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        flow.optimizer.SGD(constant(0.1), momentum=0).minimize(loss * weight)

    notes = notes_of(graph_of(job).compile())
    assert [note.split(": ")[1] for note in notes if note.startswith("loss")] == [
        "the gradient of the loss is not one number"
    ]


def test_the_gradient_of_a_sum_of_products_is_the_other_factor() -> None:
    """Neither a repeated 1 nor a product with it is written."""

    @flow.global_function(type="train")
    def job(x: tp.Numpy.Placeholder((4, 3)), t: tp.Numpy.Placeholder((4, 5))) -> None:
        w = flow.get_variable("w", (5, 3), initializer=flow.zeros_initializer())
        loss = flow.math.reduce_sum(flow.matmul(x, w, transpose_b=True) * t)
        flow.optimizer.SGD(constant(1.0), momentum=0).minimize(loss)

    plan = graph_of(job).compile()
    kinds = [step.split(" ")[1].split("[")[0] for step in steps_of(plan)]
    assert sorted(kinds) == ["learning_rate", "matmul_sgd_update", "step_increment"]
    x, t = (
        np.random.default_rng(3).normal(size=size).astype(np.float32) for size in [(4, 3), (4, 5)]
    )
    job(x, t)
    np.testing.assert_allclose(flow.get_all_variables()["w"].numpy(), -t.T @ x, rtol=1e-5)


def test_repeats_along_some_axes_are_part_of_the_operation_that_reads_them() -> None:
    @flow.global_function(type="train")
    def job(x: tp.Numpy.Placeholder((4, 3)), t: tp.Numpy.Placeholder((4,))) -> None:
        w = flow.get_variable("w", (4, 3), initializer=flow.zeros_initializer())
        sums = flow.math.reduce_sum(flow.math.exp(w) * x, axis=[1])
        flow.optimizer.SGD(constant(1.0), momentum=0).minimize(sums * t)

    plan = graph_of(job).compile()
    assert not any("broadcast_to" in step for step in steps_of(plan))
    assert len(fused_in(plan, "repeats within an operation")) == 1
    x, t = (
        np.random.default_rng(3).normal(size=size).astype(np.float32) for size in [(4, 3), (4,)]
    )
    job(x, t)
    np.testing.assert_allclose(
        flow.get_all_variables()["w"].numpy(), -t[:, None] * x / 4, rtol=1e-5
    )


def test_a_repeat_in_a_sum_of_several_is_written() -> None:
    @flow.global_function()
    def job(x: tp.Numpy.Placeholder((3,)), y: tp.Numpy.Placeholder((2, 3))) -> tp.Numpy:
        return flow.math.add_n([flow.broadcast_like(x, y), y])

    kinds = [step.split(" ")[1].split("[")[0] for step in steps_of(graph_of(job).compile())]
    assert kinds == ["broadcast_to", "add_n"]
    x, y = np.arange(3, dtype=np.float32), np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(job(x, y), [[1, 2, 3], [1, 2, 3]])


def test_a_repeated_number_for_each_channel_leaves_channels_last() -> None:
    """The gradient of a mean over space meets that of a relu with its channels last."""

    @flow.global_function(type="train")
    def job(x: tp.Numpy.Placeholder((2, 16, 8, 8))) -> None:
        y = flow.layers.conv2d(x, 32, 3, padding="SAME", name="conv")
        y = flow.nn.relu(flow.layers.conv2d(y, 32, 3, padding="SAME", name="second") + y)
        flow.optimizer.SGD(constant(0.1), momentum=0).minimize(flow.math.reduce_mean(y, [2, 3]))

    steps = steps_of(graph_of(job).compile())
    assert not any(kind in step for step in steps for kind in ("transpose", "broadcast_to")), steps


def test_the_traced_graph_is_left_as_it_is() -> None:
    graph = graph_of(mlp_job(lambda: flow.optimizer.SGD(constant(0.1), momentum=0)))
    before = str(graph)
    graph.compile()
    assert str(graph) == before
    assert "# dense1-matmul\n" in before
    assert "+bias" not in before


# --- What is not ---------------------------------------------------------------------------------


def test_a_product_that_is_wanted_itself_is_not_fused() -> None:
    @flow.global_function()
    def job(x: tp.Numpy.Placeholder((4, 3))) -> tuple[tp.Numpy, tp.Numpy]:
        product = flow.matmul(x, x, transpose_b=True, name="product")
        return product, flow.nn.relu(product, name="activation")

    plan = graph_of(job).compile()
    assert steps_of(plan) == ["product matmul[transpose_b]", "activation relu"]
    assert notes_of(plan) == [
        "relu into matmul left activation alone: the product itself is needed elsewhere"
    ]


def test_ones_that_make_the_shape_of_a_product_stay() -> None:
    @flow.global_function()
    def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        return x * flow.constant(1.0, flow.float32, (2, 3))

    (note,) = notes_of(graph_of(job).compile())
    assert note == "product by 1 left Multiply_0 alone: the ones repeat the factor"
    x = np.arange(3, dtype=np.float32)
    np.testing.assert_array_equal(job(x), [x, x])


def test_a_product_by_one_of_a_variable_that_changes_is_its_old_value() -> None:
    @flow.global_function(type="train")
    def job() -> tp.Numpy:
        w = flow.get_variable("w", (3,), initializer=flow.ones_initializer())
        product = w * 1.0
        flow.optimizer.SGD(constant(0.5), momentum=0).minimize(flow.math.reduce_sum(w))
        return product

    notes = notes_of(graph_of(job).compile())
    assert "product by 1 left Multiply_0 alone: the factor is a variable that is updated" in notes
    np.testing.assert_array_equal(job(), [1, 1, 1])
    np.testing.assert_array_equal(job(), [0.5, 0.5, 0.5])


def test_a_bias_on_another_axis_is_not_fused() -> None:
    @flow.global_function()
    def job(x: tp.Numpy.Placeholder((2, 4, 4)), b: tp.Numpy.Placeholder((4,))) -> tp.Numpy:
        return flow.nn.bias_add(flow.matmul(x, x), b, "NCW")

    kinds = [step.split(" ", 1)[1] for step in steps_of(graph_of(job).compile())]
    assert kinds == ["matmul", "bias_add[axis=1]"]


def test_a_gradient_that_needs_the_weight_is_not_added_to_it_in_place() -> None:
    @flow.global_function(type="train")
    def job() -> None:
        w = flow.get_variable("w", (3, 3), initializer=flow.ones_initializer())
        loss = flow.math.reduce_sum(flow.matmul(w, flow.nn.relu(w)))
        flow.optimizer.SGD(constant(0.1), momentum=0).minimize(loss)

    assert not any("matmul_sgd_update" in step for step in steps_of(graph_of(job).compile()))


def test_gradients_that_need_each_others_weights_are_both_stored() -> None:
    rng = np.random.default_rng(19)
    first = {"a": rng.normal(size=(3, 4)), "b": rng.normal(size=(4, 5))}

    @flow.global_function(type="train")
    def job() -> tp.Numpy:
        product = flow.matmul(variable("a", first["a"]), variable("b", first["b"]))
        loss = flow.math.reduce_sum(product)
        flow.optimizer.SGD(constant(0.5), momentum=0).minimize(loss)
        return loss

    flow.load_variables(first)
    a, b, dy = first["a"], first["b"], np.ones((3, 5))
    np.testing.assert_allclose(job(), [(a @ b).sum()], rtol=1e-13)
    variables = flow.get_all_variables()
    np.testing.assert_allclose(variables["a"].numpy(), a - 0.5 * dy @ b.T, rtol=1e-13)
    np.testing.assert_allclose(variables["b"].numpy(), b - 0.5 * a.T @ dy, rtol=1e-13)


# --- Fused and plain agree -----------------------------------------------------------------------


def random_network(rng: np.random.Generator, dtype: str) -> Any:
    """A train job of a few layers with odd sizes, some of which decline a fusion."""
    flow.clear_default_session()
    batch, features, classes = (int(n) for n in rng.integers(1, 20, size=3))
    widths = [int(n) for n in rng.integers(1, 40, size=rng.integers(0, 4))]
    choices = iter(rng.random(size=40))
    real = getattr(flow, dtype)

    def often(share: float = 0.5) -> bool:
        return next(choices) < share

    def layer(x: Any, units: int, number: int) -> Any:
        shape = (units, x.shape[1]) if (transposed := often()) else (x.shape[1], units)
        weight = variable(f"w{number}", np.zeros(shape, dtype))
        x = flow.matmul(x, weight, transpose_b=transposed, alpha=1.0 if often(0.8) else 0.5)
        if often(0.7):
            x = flow.nn.bias_add(x, variable(f"b{number}", np.zeros(units, dtype)))
        return x

    @flow.global_function(type="train")
    def job(
        x: tp.Numpy.Placeholder((batch, features), real),
        labels: tp.Numpy.Placeholder((batch,), flow.int64),
    ) -> tp.Numpy:
        for number, units in enumerate(widths):
            product = layer(x, units, number)
            x = flow.nn.relu(product) if often(0.7) else product
            if often(0.2):
                x = x + product
            if often(0.2):
                x = flow.reshape(flow.reshape(x, [-1]), [batch, units])
        if often(0.3) and widths:
            square = variable("square", np.zeros((x.shape[1], x.shape[1]), dtype))
            x = flow.matmul(flow.matmul(x, square), square)
        logits = layer(x, classes, len(widths))
        loss = flow.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        loss = flow.math.reduce_mean(loss) if often(0.3) else loss
        rate = constant(0.3)
        rule = next(choices)
        optimizer = (
            flow.optimizer.SGD(rate, momentum=0)
            if rule < 0.6
            else flow.optimizer.SGD(rate, momentum=0.5)
            if rule < 0.8
            else flow.optimizer.Adam(rate, epsilon=0.1)
        )
        optimizer.minimize(loss)
        return loss

    x = rng.normal(size=(batch, features)).astype(dtype)
    return job, [x, rng.integers(0, classes, size=batch)]


def first_values(rng: np.random.Generator, variables: Any) -> dict[str, Array]:
    """Random floats, none below zero where they stand for squares, and steps of zero."""
    values = {}
    for name, dtype, shape in variables:
        value = rng.normal(size=shape) / 2 if dtype.startswith("float") else np.zeros(shape)
        values[name] = (np.abs(value) if name.endswith("-v") else value).astype(dtype)
    return values


def outcome(plan: Any, inputs: list[Array], first: dict[str, Array], steps: int) -> list[Array]:
    """The last results and all variables after a few runs of a plan."""
    natives = []
    for name, dtype, shape in plan.variables:
        natives.append(_flowrs.Variable(name, dtype, shape))
        _flowrs.assign_variables([(natives[-1], first[name])])
    outputs = [np.empty(shape, dtype) for dtype, shape in plan.outputs]
    for _ in range(steps):
        plan.run(inputs, natives, outputs)
    values = [np.empty(native.shape, native.dtype) for native in natives]
    for native, value in zip(natives, values, strict=True):
        native.read_into(value)
    return outputs + values


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 2e-14), ("float32", 1e-5)])
def test_fused_and_plain_plans_of_random_networks_agree(
    dtype: str, tolerance: float, isa: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWRS_ISA", isa)
    rng = np.random.default_rng(17)
    fused_steps = 0
    for _ in range(60):
        job, inputs = random_network(rng, dtype)
        graph = graph_of(job)
        fused, plain = graph.compile(), graph.compile(fuse=False)
        assert fused.variables == plain.variables
        fused_steps += len(steps_of(plain)) - len(steps_of(fused))
        first = first_values(rng, fused.variables)
        results = zip(
            outcome(fused, inputs, first, 3), outcome(plain, inputs, first, 3), strict=True
        )
        for found, expected in results:
            assert np.isfinite(expected).all()
            scale = np.abs(expected).max(initial=1)
            np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale)
    assert fused_steps > 200
