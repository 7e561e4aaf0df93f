"""`layers.dense` with its names and variables, and arithmetic of blobs with blobs and numbers."""

import operator

import numpy as np
import pytest

import flowrs as flow
import flowrs.typing as tp
from flowrs.errors import (
    ArgumentError,
    ArgumentTypeError,
    DTypeError,
    SessionError,
    ShapeError,
    VariableError,
)

x43 = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)


def run(body, *arrays):
    """Runs a body once on arrays."""
    flow.clear_default_session()

    def job(values):
        return body(*values)

    placeholders = tuple(
        tp.Numpy.Placeholder(array.shape, flow_dtype(array.dtype)) for array in arrays
    )
    job.__annotations__.update({"values": tp.Tuple[placeholders], "return": tp.Bundle[tp.Numpy]})
    return flow.global_function()(job)(arrays)


def flow_dtype(dtype):
    return next(d for d in flow.dtypes() if d.name == dtype.name and d is not flow.char)


class TestDense:
    @pytest.mark.parametrize("shape", [(4, 3), (1, 1), (2, 4, 3), (2, 1, 3, 5), (1, 2, 3, 4, 5)])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("use_bias", [True, False])
    def test_values_and_variables(self, use_bias, dtype, shape):
        x = np.random.default_rng(1).normal(size=shape).astype(dtype)
        normal = flow.random_normal_initializer()
        result = run(
            lambda x: flow.layers.dense(
                x,
                6,
                use_bias=use_bias,
                kernel_initializer=normal,
                bias_initializer=normal,
                name="d",
            ),
            x,
        )
        variables = {name: v.numpy() for name, v in flow.get_all_variables().items()}
        assert list(variables) == ["d-weight", "d-bias"][: 1 + use_bias]
        weight, bias = variables["d-weight"], variables.get("d-bias", np.zeros(6))
        assert weight.shape == (6, shape[-1]) and bias.shape == (6,)
        assert result.shape == (*shape[:-1], 6)
        assert result.dtype == weight.dtype == dtype
        rtol = 1e-5 if dtype == np.float32 else 1e-12
        np.testing.assert_allclose(result, x @ weight.T + bias, rtol=rtol, atol=rtol)

    def test_defaults(self):
        result = run(lambda x: flow.layers.dense(x, 2), x43)
        assert result.tolist() == np.zeros((4, 2)).tolist()
        shapes = {name: v.shape for name, v in flow.get_all_variables().items()}
        assert shapes == {"Dense-weight": (2, 3), "Dense-bias": (2,)}
        assert all(not v.numpy().any() and v.trainable for v in flow.get_all_variables().values())

    def test_names_inside(self):
        seen = {}

        def activation(blob, name):
            seen.update(input=blob.op_name, name=name, shape=blob.shape)
            result = flow.nn.relu(blob, name=name)
            seen["output"] = result.op_name
            return result

        def body(x):
            with flow.scope.namespace("net"):
                y = flow.layers.dense(x, 2, activation=activation, name="d")
                plain = flow.layers.dense(x, 2, use_bias=False, name="e")
                return [y, plain], seen.update(plain=plain.op_name)

        run(lambda x: body(x)[0], x43)
        assert seen == {
            "input": "net-d-bias_add",
            "name": "activation",
            "shape": (4, 2),
            "output": "net-d-activation",
            "plain": "net-e-matmul",
        }
        assert list(flow.get_all_variables()) == ["net-d-weight", "net-d-bias", "net-e-weight"]

    def test_activations(self):
        ones = flow.ones_initializer()

        def body(x):
            dense = flow.layers.dense
            return [
                dense(x, 2, flow.nn.relu, kernel_initializer=ones, name="a"),
                dense(x, 2, lambda y, name: y * 2, kernel_initializer=ones, name="b"),
                dense(x, 2, "ignored", kernel_initializer=ones, name="c"),
                dense(
                    flow.reshape(x, [2, 2, 3]), 2, flow.nn.relu, kernel_initializer=ones, name="d"
                ),
            ]

        relu, doubled, plain, folded = run(body, x43)
        expected = np.repeat(x43.sum(axis=1, keepdims=True), 2, axis=1)
        np.testing.assert_allclose(plain, expected, rtol=1e-6)
        np.testing.assert_array_equal(relu, np.maximum(plain, 0))
        np.testing.assert_array_equal(doubled, plain * 2)
        np.testing.assert_array_equal(folded, relu.reshape(2, 2, 2))

    def test_layers_that_are_not_trained(self):
        @flow.global_function("train")
        def job(x: tp.Numpy.Placeholder((4, 3))) -> None:
            y = flow.layers.dense(x, 3, trainable=False, name="fixed")
            y = flow.layers.dense(x + y, 2, name="trained")
            rate = flow.optimizer.PiecewiseConstantScheduler([], [1.0])
            flow.optimizer.SGD(rate, momentum=0).minimize(y)

        job(x43)
        changed = {name for name, v in flow.get_all_variables().items() if v.numpy().any()}
        assert changed == {"trained-weight", "trained-bias", "System-Train-TrainStep-job"}

    def test_two_of_one_name(self):
        def body(x):
            return flow.layers.dense(flow.layers.dense(x, 3, name="d"), 3, name="d")

        with pytest.raises(VariableError) as caught:
            run(body, x43)
        assert "variable 'd-weight' already exists, getting the same variable is not allowed " in (
            str(caught.value)
        )

    def test_distribution_hints(self):
        for hint in (flow.distribute.auto(), flow.distribute.broadcast(), flow.distribute.split(0)):
            assert run(
                lambda x: flow.layers.dense(x, 2, model_distribute=hint),  # noqa: B023
                x43,
            ).shape == (4, 2)
        for hint in (flow.distribute.split(1), flow.distribute.split(0)):
            with pytest.raises(ArgumentError, match=r"layers\.dense \(Dense\): distribute\.split"):
                run(
                    lambda x: flow.layers.dense(x, 2, model_distribute=hint),  # noqa: B023
                    x43[None],
                )
        with pytest.raises(ArgumentTypeError, match=r"flow\.distribute hint"):
            run(lambda x: flow.layers.dense(x, 2, model_distribute="split"), x43)

    @pytest.mark.parametrize("units", [0, -1, 2.0, None, "2", True])
    def test_what_is_no_number_of_units(self, units):
        with pytest.raises(ArgumentError, match=r"layers\.dense \(d\): units must be an int above"):
            run(lambda x: flow.layers.dense(x, units, name="d"), x43)

    def test_inputs_that_cannot_be(self):
        with pytest.raises(ShapeError, match=r"\(d\): needs rank 2 or more, found \(4,\)"):
            run(lambda x: flow.layers.dense(x, 2, name="d"), x43[:, 0].copy())
        with pytest.raises(ArgumentTypeError, match="must be a blob, found ndarray"):
            run(lambda x: flow.layers.dense(x43, 2, name="d"), x43)
        with pytest.raises(DTypeError, match=r"matmul \(d-matmul\).*int32"):
            run(lambda x: flow.layers.dense(x, 2, name="d"), np.ones((2, 3), np.int32))
        with pytest.raises(SessionError, match=r"flow\.layers\.dense can only be called inside"):
            flow.layers.dense(x43, 2)


OPERATORS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
SHAPES = [((4, 3), (4, 3)), ((4, 3), (3,)), ((4, 1), (1, 3)), ((2, 1, 3), (4, 1)), ((1,), (2, 2))]


class TestOperators:
    @pytest.mark.parametrize("symbol", OPERATORS)
    @pytest.mark.parametrize(("first", "second"), SHAPES)
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_two_blobs(self, dtype, first, second, symbol):
        generator = np.random.default_rng(2)
        a = generator.normal(size=first).astype(dtype)
        b = generator.normal(size=second).astype(dtype)
        function = OPERATORS[symbol]
        result = run(function, a, b)
        assert result.dtype == dtype
        np.testing.assert_array_equal(result, function(a, b))

    @pytest.mark.parametrize("symbol", OPERATORS)
    @pytest.mark.parametrize("number", [3, -2, 0.1, 1e-3, np.float64(2.5)])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_a_number_is_cast_to_the_blobs_dtype(self, dtype, number, symbol):
        function = OPERATORS[symbol]
        left, right = run(lambda x: [function(x, number), function(number, x)], x43.astype(dtype))
        cast = dtype(number)
        x = x43.astype(dtype)
        rtol = 4 * np.finfo(dtype).eps
        assert left.dtype == right.dtype == dtype
        np.testing.assert_allclose(left, function(x, cast), rtol=rtol)
        np.testing.assert_allclose(right, function(cast, x), rtol=rtol)

    def test_integers(self):
        x = np.array([-7, -1, 0, 1, 7], np.int32)
        y = np.array([2, 2, 2, 2, -2], np.int32)
        total, product, scaled, less = run(lambda x, y: [x + y, x * y, 3 * x, x - 10], x, y)
        for found, expected in ((total, x + y), (product, x * y), (scaled, 3 * x), (less, x - 10)):
            assert found.dtype == np.int32
            np.testing.assert_array_equal(found, expected)

    def test_integers_are_divided_towards_zero(self):
        x = np.array([-7, -1, 0, 1, 7, 5], np.int32)
        y = np.array([2, 2, 3, -2, -2, 0], np.int32)
        blobs, right, left = run(lambda x, y: [x / y, x / 2, 7 / x], x, y)
        assert blobs.tolist() == [-3, 0, 0, 0, -3, 0]
        assert right.tolist() == [-3, 0, 0, 0, 3, 2]
        assert left.tolist() == [-1, -7, 0, 7, 1, 1]

    def test_division_by_zero(self):
        x = np.array([-2, 0, 4, np.inf], np.float32)
        zero = np.zeros(4, np.float32)
        by_number, of_number, blobs = run(lambda x, y: [x / 0, 3 / x, x / y], x, zero)
        assert by_number[:3].tolist() == [0, 0, 0] and np.isnan(by_number[3])
        assert of_number.tolist() == [-1.5, 0, 0.75, 0]
        with np.errstate(divide="ignore", invalid="ignore"):
            np.testing.assert_array_equal(blobs, x / zero)
        assert run(lambda x: [x / 0.0, flow.math.divide(x, 0)], x[:3].copy())[0].tolist() == [0] * 3

    def test_named_functions_are_the_operators(self):
        y = x43 + 3
        results = run(
            lambda x, y: [
                *(
                    flow.math.add(x, y, name="a"),
                    flow.math.subtract(x, y),
                    flow.math.multiply(x, 2),
                ),
                *(flow.math.divide(x, y), flow.math.subtract(1, y), flow.math.divide(2, y)),
            ],
            x43,
            y,
        )
        expected = [x43 + y, x43 - y, x43 * 2, x43 / y, 1 - y, 2 / y]
        for found, wanted in zip(results, expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=3e-7)

    def test_names(self):
        names = []

        def body(x):
            for blob in (x + x, x + 1, 1 - x, x * x, x / x):
                names.append(blob.op_name)
            return x

        run(body, x43)
        assert names == ["Add_0", "Add_1", "Subtract_0", "Multiply_0", "Divide_0"]

    def test_augmented_assignment_binds_another_blob(self):
        def body(x):
            y = x
            y += 1
            assert y is not x
            return [x, y]

        first, second = run(body, x43)
        np.testing.assert_array_equal(first, x43)
        np.testing.assert_array_equal(second, x43 + 1)

    def test_blobs_are_true(self):
        np.testing.assert_array_equal(run(lambda x: x if x else x + 1, x43), x43)

    @pytest.mark.parametrize("other", ["1", None, [1], x43, True, 1j])
    def test_what_is_no_operand(self, other):
        for body in (lambda x: x + other, lambda x: other * x):
            with pytest.raises(ArgumentTypeError, match="expected a blob, an int or a float"):
                run(body, x43)

    def test_numbers_that_the_dtype_does_not_hold(self):
        x = np.ones(3, np.int8)
        for number in (200, -129, 10**30):
            with pytest.raises(ArgumentError, match=rf"{number} is no value of oneflow\.int8"):
                run(lambda x: x + number, x)  # noqa: B023 - it runs before the next turn
        with pytest.raises(ArgumentError, match="cast the blob to a float first"):
            run(lambda x: x * 0.5, x)
        assert run(lambda x: x * 2.0, x).tolist() == [2, 2, 2]
        with pytest.raises(ArgumentError, match=r"is no value of oneflow\.float32"):
            run(lambda x: x + 10**400, x43)

    def test_dtypes_that_differ(self):
        with pytest.raises(DTypeError, match=r"add \(Add_0\): .*float32.*float64"):
            run(operator.add, x43, x43.astype(np.float64))
        with pytest.raises(DTypeError, match=r"multiply \(Multiply_0\): .*int32.*float32"):
            run(operator.mul, np.ones((4, 3), np.int32), x43)

    def test_shapes_that_cannot_be_broadcast(self):
        with pytest.raises(ShapeError, match=r"divide \(Divide_0\): .*\[4, 3\].*\[2, 3\]"):
            run(operator.truediv, x43, x43[:2].copy())

    def test_outside_of_jobs(self):
        with pytest.raises(SessionError, match=r"flow\.math\.add can only be called inside a job"):
            flow.math.add(1, 2)
