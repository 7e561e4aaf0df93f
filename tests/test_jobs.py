"""Jobs: shapes that differ by call, several jobs of a session, what bodies may do, and settings."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import flowrs as flow
import flowrs.typing as tp
from flowrs.errors import (
    ArgumentError,
    ArgumentTypeError,
    GraphError,
    SessionError,
    ShapeError,
    UnsupportedError,
    VariableError,
)

X = tp.Numpy.Placeholder((2, 3))
ROWS = tp.Numpy.Placeholder((None, 3))
x23 = np.arange(6, dtype=np.float32).reshape(2, 3)


def zeros(name, *shape, **options):
    return flow.get_variable(name, shape, initializer=flow.zeros_initializer(), **options)


def sgd(rate=0.1, momentum=0.0):
    return flow.optimizer.SGD(
        flow.optimizer.PiecewiseConstantScheduler([], [rate]), momentum=momentum
    )


class TestShapesThatDiffer:
    def test_a_body_runs_once_for_each_shape(self):
        shapes = []

        @flow.global_function()
        def job(x: ROWS) -> tp.Numpy:
            shapes.append(x.shape)
            return flow.layers.dense(x, 2, kernel_initializer=flow.ones_initializer())

        for rows in (4, 1, 4, 7, 1):
            np.testing.assert_array_equal(
                job(np.ones((rows, 3), np.float32)), np.full((rows, 2), 3)
            )
        assert shapes == [(1, 3), (4, 3), (7, 3)]
        assert list(flow.get_all_variables()) == ["Dense-weight", "Dense-bias"]
        with pytest.raises(ShapeError, match=r"expected shape \(None, 3\), found \(4, 2\)"):
            job(np.ones((4, 2), np.float32))
        with pytest.raises(ShapeError, match=r"found shape \(0, 3\): there is nothing"):
            job(np.ones((0, 3), np.float32))

    def test_names_are_the_same_in_each_trace(self):
        names = []

        @flow.global_function()
        def job(x: ROWS) -> tp.Numpy:
            a, b = flow.nn.relu(x), flow.nn.relu(x)
            names.append((x.op_name, a.op_name, b.op_name))
            return a + b

        for rows in (2, 3):
            job(np.ones((rows, 3), np.float32))
        assert names == [("Input_0", "Relu_0", "Relu_1")] * 3

    def test_training_goes_on_over_all_sizes(self):
        @flow.global_function(type="train")
        def job(x: ROWS) -> tp.Numpy:
            w = zeros("w", 3)
            loss = flow.math.reduce_sum(x * w, axis=1)
            sgd(1.0, momentum=0.5).minimize(loss)
            return loss

        expected_w, expected_v = np.zeros(3), np.zeros(3)
        for rows in (2, 4, 2, 1):
            x = np.full((rows, 3), rows, np.float32)
            np.testing.assert_array_equal(job(x), x @ expected_w)
            expected_v = 0.5 * expected_v - x.mean(axis=0)
            expected_w = expected_w + expected_v
        variables = {name: v.numpy() for name, v in flow.get_all_variables().items()}
        np.testing.assert_array_equal(variables["w"], expected_w)
        np.testing.assert_array_equal(variables["w-momentum"], expected_v)
        assert variables["System-Train-TrainStep-job"].tolist() == [4]

    def test_a_trace_for_other_shapes_leaves_pythons_random_alone(self):
        drawn = []

        @flow.global_function()
        def job(x: ROWS) -> tp.Numpy:
            drawn.append(random.random())
            return x

        random.seed(5)
        job(np.ones((1, 3), np.float32))
        state = random.getstate()
        job(np.ones((2, 3), np.float32))
        assert random.getstate() == state and len(drawn) == 2

    def test_variables_must_not_depend_on_a_free_dimension(self):
        @flow.global_function()
        def job(x: ROWS) -> tp.Numpy:
            return zeros("w", x.shape[0])

        with pytest.raises(VariableError, match=r"w is .*\(1,\) in job job.*\(2,\) for other inp"):
            job(np.ones((2, 3), np.float32))
        assert job(np.ones((1, 3), np.float32)).shape == (1,)

    def test_variables_must_be_the_same_for_all_shapes(self):
        @flow.global_function()
        def job(x: ROWS) -> tp.Numpy:
            return zeros(f"w{x.shape[0]}", 1)

        with pytest.raises(VariableError, match="creates variable w2 only for some input shapes"):
            job(np.ones((2, 3), np.float32))
        assert list(flow.get_all_variables()) == ["w1"]

    def test_lists_may_be_smaller(self):
        dynamic = []

        @flow.global_function()
        def job(x: tp.ListNumpy.Placeholder((4, 3))) -> tp.ListNumpy:
            y = x * 2
            dynamic.append((x.is_dynamic, y.is_dynamic, y.shape))
            return y

        for shape in ((4, 3), (2, 3), (1, 1), (2, 6)):
            array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
            [result] = job([array])
            np.testing.assert_array_equal(result, array * 2)
        assert dynamic[1:] == [(True, True, (2, 3)), (True, True, (1, 1)), (True, True, (2, 6))]
        for wrong in ((5, 3), (12,), (0, 3)):
            with pytest.raises(ShapeError, match=r"argument x\[0\]"):
                job([np.zeros(wrong, np.float32)])
        for wrong in (x23, [x23, x23], []):
            with pytest.raises(ArgumentTypeError, match="expected a list of one array"):
                job(wrong)

    def test_a_dynamic_result_needs_a_list(self):
        @flow.global_function()
        def job(x: tp.ListNumpy.Placeholder((4, 3))) -> tp.Numpy:
            return flow.nn.relu(x)

        with pytest.raises(GraphError, match=r"Relu_0 has a dynamic shape.*tp\.ListNumpy"):
            job([np.zeros((4, 3), np.float32)])

    def test_the_mean_of_a_dynamic_loss_is_over_its_first_axis(self):
        @flow.global_function(type="train")
        def job(x: tp.ListNumpy.Placeholder((4, 3))) -> tp.ListNumpy:
            loss = x * zeros("w", 1)
            sgd(1.0).minimize(loss)
            return loss

        job([np.ones((2, 3), np.float32)])
        assert flow.get_all_variables()["w"].numpy().tolist() == [-3.0]


class TestSeveralJobs:
    def test_they_share_variables(self):
        def network(x):
            return flow.layers.dense(x, 2, name="d", kernel_initializer=flow.ones_initializer())

        @flow.global_function(type="train")
        def train(x: X) -> tp.Numpy:
            loss = flow.math.reduce_sum(network(x))
            sgd(1.0).minimize(loss)
            return loss

        @flow.global_function()
        def predict(x: X) -> tp.Numpy:
            return network(x)

        before = predict(x23)
        np.testing.assert_array_equal(before, np.repeat(x23.sum(axis=1, keepdims=True), 2, axis=1))
        assert train(x23).tolist() == [before.sum()]
        weight, bias = np.ones((2, 3)) - x23.sum(axis=0), np.full(2, -2)
        np.testing.assert_array_equal(predict(x23), x23 @ weight.T + bias)
        assert train(x23).tolist() == [(x23 @ weight.T + bias).sum()]
        assert list(flow.get_all_variables()) == [
            "d-weight",
            "d-bias",
            "System-Train-TrainStep-train",
        ]

    def test_each_train_job_has_its_step(self):
        @flow.global_function(type="train")
        def first() -> None:
            sgd(1.0).minimize(zeros("w", 1))

        @flow.global_function(type="train")
        def second() -> None:
            sgd(1.0).minimize(zeros("w", 1))

        for job in (first, first, second):
            job()
        values = {name: v.numpy().tolist() for name, v in flow.get_all_variables().items()}
        assert values == {
            "w": [-3],
            "System-Train-TrainStep-first": [2],
            "System-Train-TrainStep-second": [1],
        }

    def test_bodies_run_in_order_at_the_first_call_of_any(self):
        order = []

        @flow.global_function()
        def one(x: X) -> tp.Numpy:
            order.append("one")
            return x

        @flow.global_function()
        def two(x: X) -> tp.Numpy:
            order.append("two")
            zeros("from-two", 1)
            return x

        assert order == []
        two(x23)
        one(x23)
        assert order == ["one", "two"]
        assert list(flow.get_all_variables()) == ["from-two"]

    def test_the_second_of_two_with_one_name_counts(self):
        @flow.global_function()
        def job(x: X) -> tp.Numpy:
            zeros("old", 1)
            return x

        old = job

        @flow.global_function()
        def job(x: X) -> tp.Numpy:
            return x + 1

        np.testing.assert_array_equal(job(x23), x23 + 1)
        with pytest.raises(SessionError, match=r"job job was replaced by another.*under its name"):
            old(x23)
        assert flow.get_all_variables() == {}

    def test_no_job_can_be_defined_when_the_session_runs(self):
        @flow.global_function()
        def first(x: X) -> tp.Numpy:
            return x

        first(x23)
        with pytest.raises(SessionError, match=r"job second cannot be defined.*clear_default_ses"):

            @flow.global_function()
            def second(x: X) -> tp.Numpy:
                return x

        np.testing.assert_array_equal(first(x23), x23)

    def test_a_cleared_session_is_new(self):
        @flow.global_function()
        def job(x: X) -> tp.Numpy:
            return x + zeros("w", 3)

        job(x23)
        kept = flow.get_all_variables()["w"]
        old = job
        flow.clear_default_session()
        with pytest.raises(SessionError, match="no job is defined"):
            flow.get_all_variables()
        with pytest.raises(SessionError, match="job job belongs to a session that was cleared"):
            old(x23)
        assert kept.numpy().tolist() == [0, 0, 0]

        @flow.global_function()
        def job(x: X) -> tp.Numpy:
            return x + flow.get_variable("w", (1,), initializer=flow.ones_initializer())

        np.testing.assert_array_equal(job(x23), x23 + 1)

    def test_the_train_jobs_initializer_counts(self):
        @flow.global_function()
        def predict() -> tp.Numpy:
            return zeros("w", 2)

        @flow.global_function(type="train")
        def train() -> None:
            sgd().minimize(flow.get_variable("w", (2,), initializer=flow.ones_initializer()))

        assert predict().tolist() == [1, 1]

    def test_blobs_of_another_job(self):
        kept = []

        @flow.global_function()
        def one(x: X) -> tp.Numpy:
            kept.append(x)
            return x

        def add(x):
            return x + kept[0]

        def give(x):
            return kept[0]

        def minimize(x):
            sgd().minimize(kept[0])
            return x

        for make, what in ((add, "add"), (give, "job two, result"), (minimize, "job two, minimi")):

            @flow.global_function(type="train" if make is minimize else "predict")
            def two(x: X) -> tp.Numpy:
                return make(x)  # noqa: B023 - it runs before the next turn

            with pytest.raises(
                GraphError, match=f"{what}.*: Input_0 belongs to job one, and job t"
            ):
                two(x23)
            kept.clear()


class TestThreads:
    def test_calls_take_turns(self):
        bodies = []

        @flow.global_function(type="train")
        def train(x: ROWS) -> tp.Numpy:
            bodies.append(x.shape)
            w = zeros("w", 3)
            sgd(1.0).minimize(flow.math.reduce_sum(w))
            return flow.math.reduce_sum(x * w, axis=1)

        def step(number):
            rows = 1 + number % 3
            result = train(np.ones((rows, 3), np.float32))
            assert result.shape == (rows,) and len(set(result)) == 1
            return result[0]

        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(step, range(60)))
        assert sorted(results, reverse=True) == [-3 * step for step in range(60)]
        assert sorted(bodies) == [(1, 3), (2, 3), (3, 3)]
        values = [v.numpy().tolist() for v in flow.get_all_variables().values()]
        assert values == [[-60, -60, -60], [60]]


class TestBodies:
    def test_jobs_are_not_called_in_bodies(self):
        @flow.global_function()
        def inner(x: X) -> tp.Numpy:
            return x

        @flow.global_function()
        def outer(x: X) -> tp.Numpy:
            return inner(x)

        with pytest.raises(SessionError, match=r"job inner can only be called outside.*job outer"):
            outer(x23)

    @pytest.mark.parametrize(
        "use",
        [
            flow.get_all_variables,
            flow.clear_default_session,
            lambda: flow.load_variables({}),
            lambda: flow.checkpoint.save("nowhere"),
            lambda: flow.global_function()(lambda: None),
        ],
    )
    def test_sessions_are_not_used_in_bodies(self, use):
        @flow.global_function()
        def job(x: X) -> tp.Numpy:
            use()
            return x

        with pytest.raises(SessionError, match="outside of jobs: the body of job job"):
            job(x23)

    def test_a_body_that_raises_leaves_the_session_usable(self):
        broken = [True]

        @flow.global_function()
        def other(x: X) -> tp.Numpy:
            return x + zeros("w", 3)

        @flow.global_function()
        def job(x: X) -> tp.Numpy:
            with flow.scope.namespace("inner"):
                zeros("v", 3)
                if broken:
                    raise KeyError("mine")
            return x

        for _ in range(2):
            with pytest.raises(KeyError, match="mine"):
                job(x23)
        with pytest.raises(KeyError, match="mine"):
            flow.get_all_variables()
        assert flow.config.machine_num(1)
        broken.clear()
        np.testing.assert_array_equal(job(x23), x23)
        assert sorted(flow.get_all_variables()) == ["inner-v", "w"]

    def test_no_variable_is_left_over_by_a_body_that_raised(self):
        def define(body):
            @flow.global_function()
            def job(x: X) -> tp.Numpy:
                return body(x)

            return job

        def broken(x):
            return x + zeros("lost", 3) + zeros("unfit", 5)

        with pytest.raises(ShapeError, match="add"):
            define(broken)(x23)
        define(lambda x: x + zeros("lost", 2, 3))(x23)
        assert {n: v.shape for n, v in flow.get_all_variables().items()} == {"lost": (2, 3)}

    def test_a_body_that_raises_for_other_shapes(self):
        @flow.global_function()
        def job(x: ROWS) -> tp.Numpy:
            if x.shape[0] == 3:
                raise ValueError("not three")
            return x + zeros("w", 3)

        with pytest.raises(ValueError, match="not three"):
            job(np.ones((3, 3), np.float32))
        np.testing.assert_array_equal(job(x23), x23)

    def test_what_minimize_needs(self):
        @flow.global_function()
        def predict(x: X) -> tp.Numpy:
            sgd().minimize(x * zeros("w", 3))
            return x

        with pytest.raises(GraphError, match="job predict is a predict job and cannot call minimi"):
            predict(x23)
        flow.clear_default_session()

        @flow.global_function(type="train")
        def train(x: X) -> tp.Numpy:
            return x * zeros("w", 3)

        with pytest.raises(GraphError, match="train is a train job, but its body never calls min"):
            train(x23)
        with pytest.raises(GraphError, match="minimize can only be called inside a Job Function"):
            sgd().minimize(None)

    def test_minimize_trains_what_is_there_and_the_last_call_counts(self):
        @flow.global_function(type="train")
        def job() -> None:
            w, v = zeros("w", 1), zeros("v", 1)
            sgd(5.0).minimize(w + v)
            sgd(1.0).minimize(w)
            late = zeros("late", 1)
            frozen = zeros("frozen", 1, trainable=False)
            sgd(1.0).minimize(w + 2 * frozen)
            assert late.shape == frozen.shape

        job()
        values = {n: v.numpy().tolist() for n, v in flow.get_all_variables().items()}
        assert values["w"] == [-1] and values["v"] == values["late"] == values["frozen"] == [0]

    def test_a_loss_needs_a_variable_that_is_trained(self):
        @flow.global_function(type="train")
        def job(x: X) -> None:
            zeros("w", 1)
            sgd().minimize(x)

        with pytest.raises(GraphError, match="Input_0 depends on no trainable variable"):
            job(x23)

    def test_names_are_not_used_twice(self):
        @flow.global_function()
        def job(x: X) -> tp.Numpy:
            return flow.nn.relu(flow.nn.relu(x, name="same"), name="same")

        with pytest.raises(GraphError, match="already something named same in this job"):
            job(x23)

    def test_values_are_not_known_in_bodies(self):
        @flow.global_function()
        def job(x: X) -> tp.Numpy:
            return np.exp(x)

        with pytest.raises((UnsupportedError, TypeError)):
            job(x23)


class TestFunctionConfig:
    def test_it_is_copied_when_the_job_is_defined(self):
        config = flow.FunctionConfig()
        config.default_initializer_conf({"constant_conf": {"value": 3.0}})

        @flow.global_function(function_config=config)
        def job() -> tp.Numpy:
            return flow.get_variable("w", (1,))

        config.default_initializer_conf({"constant_conf": {"value": 4.0}})
        assert job().tolist() == [3.0]

    def test_the_older_form_is_a_predict_job(self, capsys):
        @flow.global_function(flow.function_config())
        def job(x: X) -> tp.Numpy:
            return x

        assert "deprecated" in capsys.readouterr().err
        np.testing.assert_array_equal(job(x23), x23)

    def test_positional_form(self):
        @flow.global_function("train", flow.ExecutionConfig())
        def job() -> None:
            sgd().minimize(zeros("w", 1))

        assert job() is None

    @pytest.mark.parametrize("kind", ["training", "", None, 3])
    def test_the_type_of_job(self, kind):
        with pytest.raises(ArgumentError, match='type must be "train" or "predict"'):
            flow.global_function(kind)

    def test_parentheses_are_needed(self):
        with pytest.raises(ArgumentError, match=r"write @flow\.global_function\(\) with paren"):

            @flow.global_function
            def job(x: X) -> tp.Numpy:
                return x

    def test_other_objects(self):
        with pytest.raises(ArgumentTypeError, match=r"expected a flow\.FunctionConfig"):
            flow.global_function("train", {"default_data_type": flow.float32})
        with pytest.raises(ArgumentTypeError, match="a job is a function"):
            flow.global_function()(X)
