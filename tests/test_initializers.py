"""Initializers: their draws against a restatement of the rules, their seeds and their refusals."""

import math

import numpy as np
import pytest

import flowrs as flow
import flowrs.typing as tp
from flowrs import initializers
from flowrs.errors import ArgumentError, ArgumentTypeError, UnsupportedError, VariableError

FLOATS = [flow.float32, flow.float64]
SHAPES = [(3, 4), (7,), (2, 3, 4, 5), (1, 1), (0, 3), (100, 101)]


def drawn(initializer, shape, dtype=flow.float32, seed=5, name="w"):
    """The first value of a variable."""
    flow.clear_default_session()

    @flow.global_function()
    def job() -> tp.Numpy:
        return flow.get_variable(name, shape, dtype, initializer, random_seed=seed)

    return flow.get_all_variables()[name].numpy()


# The rules, written down a second time.


def slices(shape, item_size, most_bytes=32 << 20):
    """Numbers of elements that are drawn at a time: whole blocks of the last axes."""
    most = most_bytes // item_size
    block, axis = 1, len(shape) - 1
    while axis > 0 and block * shape[axis] <= most:
        block *= shape[axis]
        axis -= 1
    for _ in range(math.prod(shape[:axis])):
        left = shape[axis]
        while left:
            count = min(max(most // block, 1), left)
            yield count * block
            left -= count


def restated(draw, shape, dtype, seed=5, most_bytes=32 << 20):
    """Values of ``draw(generator, count)`` for one slice after the other."""
    generator = np.random.default_rng(seed)
    parts = [
        np.asarray(draw(generator, count)).astype(dtype.numpy)
        for count in slices(shape, dtype.bytes, most_bytes)
        if count
    ]
    return np.concatenate([np.empty(0, dtype.numpy), *parts]).reshape(shape)


def uniform(low, high):
    return lambda generator, count: generator.uniform(low, np.nextafter(high, np.inf), count)


def normal(mean, deviation):
    return lambda generator, count: generator.normal(mean, deviation, count)


def truncated(mean, deviation):
    def draw(generator, count):
        kept = np.empty(0)
        while len(kept) < count:
            more = generator.normal(mean, deviation, int((count - len(kept)) * 1.2))
            more = more[np.abs(more - mean) < 2 * deviation]
            kept = np.concatenate([kept, more[: count - len(kept)]])
        return kept

    return draw


def scaled(scale, fan, distribution):
    variance = scale / fan
    return {
        "random_uniform": uniform(-math.sqrt(3 * variance), math.sqrt(3 * variance)),
        "random_normal": normal(0, math.sqrt(variance)),
        "truncated_normal": truncated(0, math.sqrt(variance) / 0.87962566103423978),
    }[distribution]


def fans(shape):
    """Fan in and out of the default path of the original, whatever the data format is."""
    return math.prod(shape[1:]), shape[0] * math.prod(shape[1:-1])


DRAWS = {
    "uniform": (flow.random_uniform_initializer(), uniform(0, 1)),
    "uniform -3 5": (flow.random_uniform_initializer(-3, 5.5), uniform(-3, 5.5)),
    "uniform at a point": (flow.random_uniform_initializer(2, 2), uniform(2, 2)),
    "normal": (flow.random_normal_initializer(), normal(0, 1)),
    "normal 3 0.1": (flow.random_normal_initializer(3, 0.1), normal(3, 0.1)),
    "truncated": (flow.truncated_normal(0.1), truncated(0, 0.1)),
    "truncated with mean": (flow.truncated_normal_initializer(5.0, 0.5), truncated(5, 0.5)),
    "zeros": (flow.zeros_initializer(), lambda generator, count: np.zeros(count)),
    "ones": (flow.ones_initializer(), lambda generator, count: np.ones(count)),
    "constant": (
        flow.constant_initializer(0.1),
        lambda generator, count: np.full(count, 0.1),
    ),
}


class TestDraws:
    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize("dtype", FLOATS)
    @pytest.mark.parametrize("case", DRAWS)
    def test_plain_distributions(self, case, dtype, shape):
        initializer, draw = DRAWS[case]
        found = drawn(initializer, shape, dtype)
        assert found.dtype == dtype.numpy
        np.testing.assert_array_equal(found, restated(draw, shape, dtype))

    @pytest.mark.parametrize(
        "distribution", ["random_uniform", "random_normal", "truncated_normal"]
    )
    @pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg"])
    @pytest.mark.parametrize("shape", [(3, 4), (8, 3, 5, 2), (5, 2, 3), (6, 1, 2, 2, 3)])
    @pytest.mark.parametrize("data_format", ["", "NCHW", "NHWC"])
    def test_variance_scaling(self, distribution, mode, shape, data_format):
        initializer = flow.variance_scaling_initializer(2.5, mode, distribution, data_format)
        fan_in, fan_out = fans(shape)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]
        expected = restated(scaled(2.5, fan, distribution), shape, flow.float32)
        np.testing.assert_array_equal(drawn(initializer, shape), expected)

    @pytest.mark.parametrize(
        ("make", "scale", "mode", "distribution"),
        [
            (flow.variance_scaling_initializer, 1.0, 0, "truncated_normal"),
            (flow.glorot_uniform_initializer, 1.0, None, "random_uniform"),
            (flow.xavier_uniform_initializer, 1.0, None, "random_uniform"),
            (flow.glorot_normal_initializer, 1.0, None, "random_normal"),
            (flow.xavier_normal_initializer, 1.0, None, "random_normal"),
        ],
    )
    def test_defaults_of_scaled_initializers(self, make, scale, mode, distribution):
        shape = (32, 1, 5, 5)
        fan = sum(fans(shape)) / 2 if mode is None else fans(shape)[mode]
        expected = restated(scaled(scale, fan, distribution), shape, flow.float32)
        np.testing.assert_array_equal(drawn(make(), shape), expected)
        np.testing.assert_array_equal(drawn(make(data_format="NCHW"), shape), expected)

    @pytest.mark.parametrize(
        ("shape", "data_format", "fan_in", "fan_out"),
        [
            ((6, 4), "NCHW", 4, 6),
            ((8, 3, 5, 2), "NCHW", 30, 80),
            ((8, 5, 2, 3), "NHWC", 30, 80),
            ((8, 3, 7), "NCW", 21, 56),
        ],
    )
    @pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg"])
    @pytest.mark.parametrize("distribution", ["random_normal", "random_uniform"])
    def test_kaiming_fans(self, distribution, mode, shape, data_format, fan_in, fan_out):
        initializer = flow.kaiming_initializer(
            shape, distribution, mode, nonlinearity="relu", data_format=data_format
        )
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]
        deviation = math.sqrt(2.0) / math.sqrt(fan)
        limit = math.sqrt(3.0) * deviation
        draw = normal(0, deviation) if "normal" in distribution else uniform(-limit, limit)
        np.testing.assert_array_equal(
            drawn(initializer, shape), restated(draw, shape, flow.float32)
        )

    @pytest.mark.parametrize(
        ("nonlinearity", "slope", "gain"),
        [
            ("tanh", 0.0, 5 / 3),
            ("sigmoid", 0.0, 1.0),
            ("relu", 0.0, math.sqrt(2)),
            ("leaky_relu", 0.0, math.sqrt(2)),
            ("leaky_relu", 0.2, math.sqrt(2 / 1.04)),
        ],
    )
    def test_kaiming_gains(self, nonlinearity, slope, gain):
        shape = (16, 25)
        initializer = flow.kaiming_initializer(
            shape, nonlinearity=nonlinearity, negative_slope=slope
        )
        found = drawn(initializer, shape, flow.float64)
        expected = restated(normal(0, gain / 5), shape, flow.float64)
        np.testing.assert_allclose(found, expected, rtol=1e-14)

    def test_what_truncation_does(self):
        values = drawn(flow.truncated_normal(0.5), (1000, 100), flow.float64)
        assert np.abs(values).max() < 1.0 and np.abs(values).max() > 0.99
        assert values.std() == pytest.approx(0.5 * 0.8796, rel=0.01)
        assert not drawn(flow.truncated_normal(0.0), (3,)).any()


class TestIntegers:
    @pytest.mark.parametrize("dtype", [flow.int8, flow.uint8, flow.int32, flow.int64])
    def test_uniform_leaves_the_end_out(self, dtype):
        initializer = flow.random_uniform_initializer(3, 7, dtype=flow.int32)
        found = drawn(initializer, (50, 20), dtype)
        expected = np.random.default_rng(5).integers(3, 7, 1000).reshape(50, 20)
        assert found.dtype == dtype.numpy and set(found.ravel()) == {3, 4, 5, 6}
        np.testing.assert_array_equal(found, expected)

    def test_the_initializers_dtype_says_which_rule(self):
        integers = drawn(flow.random_uniform_initializer(0, 3, flow.int64), (500,), flow.float32)
        assert set(integers) == {0.0, 1.0, 2.0}
        cut = drawn(flow.random_uniform_initializer(0, 3), (500,), flow.int32)
        np.testing.assert_array_equal(cut, restated(uniform(0, 3), (500,), flow.int32))

    def test_constants(self):
        for value, dtype in ((7, flow.int32), (-3, flow.int8), (2**40, flow.int64)):
            found = drawn(flow.constant_initializer(value, dtype=dtype), (3,), dtype)
            assert found.tolist() == [value] * 3
        assert drawn(flow.zeros_initializer(), (2,), flow.int32).tolist() == [0, 0]
        assert drawn(flow.ones_initializer(), (2,), flow.uint8).tolist() == [1, 1]
        assert drawn(flow.constant_initializer(255), (2,), flow.uint8).tolist() == [255, 255]
        assert drawn(flow.ones_initializer(flow.int64), (2,), flow.float64).tolist() == [1, 1]
        assert drawn(flow.constant_initializer(2.7, flow.int32), (1,), flow.int32).tolist() == [2]

    def test_values_that_do_not_fit(self):
        for initializer, dtype in (
            (flow.constant_initializer(300, flow.int32), flow.int8),
            (flow.constant_initializer(-1, flow.int32), flow.uint8),
            (flow.constant_initializer(math.nan), flow.int32),
        ):
            with pytest.raises(VariableError, match=r"variable w: .*cannot draw oneflow\..*\(3,\)"):
                drawn(initializer, (3,), dtype)

    def test_dtypes_of_constants(self):
        for dtype in (flow.uint8, flow.float16, flow.record):
            with pytest.raises(UnsupportedError, match=f"constant_initializer: {dtype} is not sup"):
                flow.constant_initializer(1, dtype)


class TestSlices:
    @pytest.mark.parametrize("case", ["uniform -3 5", "normal 3 0.1", "truncated"])
    @pytest.mark.parametrize(
        ("shape", "most_bytes"),
        [
            ((5, 7), 64),
            ((5, 7), 4 * 7),
            ((3, 40), 64),
            ((4, 3, 5), 80),
            ((1000,), 404),
            ((2, 3), 1),
        ],
    )
    def test_small_slices(self, case, shape, most_bytes, monkeypatch):
        monkeypatch.setattr(initializers, "_SLICE_BYTES", most_bytes)
        initializer, draw = DRAWS[case]
        most = max(most_bytes, 4)
        expected = restated(draw, shape, flow.float32, most_bytes=most)
        np.testing.assert_array_equal(drawn(initializer, shape), expected)
        assert max(slices(shape, 4, most)) * 4 <= most

    def test_a_variable_of_more_than_32_mib(self):
        shape = (2100, 4099)
        lengths = list(slices(shape, 4))
        assert lengths == [2046 * 4099, 54 * 4099] and 4 * math.prod(shape) > 32 << 20
        expected = restated(truncated(0, 0.1), shape, flow.float32, seed=11)
        np.testing.assert_array_equal(drawn(flow.truncated_normal(0.1), shape, seed=11), expected)
        at_once = truncated(0, 0.1)(np.random.default_rng(11), math.prod(shape))
        assert not np.array_equal(at_once.astype(np.float32).reshape(shape), expected)


class TestSeeds:
    def values(self, names=("a", "b"), jobs=1, seeds=None):
        flow.clear_default_session()
        initializer = flow.random_normal_initializer()
        for number in range(jobs):

            def body() -> None:
                for name in names:
                    flow.get_variable(
                        name, (8,), initializer=initializer, random_seed=(seeds or {}).get(name)
                    )

            body.__name__ = f"job{number}"
            flow.global_function()(body)
        return {name: v.numpy().tobytes() for name, v in flow.get_all_variables().items()}

    def test_a_given_seed_is_the_generators(self):
        found = self.values(seeds={"a": 3, "b": 2**70})
        for name, seed in (("a", 3), ("b", 2**70)):
            expected = np.random.default_rng(seed).normal(0, 1, 8).astype(np.float32)
            assert found[name] == expected.tobytes()

    def test_without_a_seed_values_differ_each_time(self):
        values = {value for _ in range(3) for value in self.values().values()}
        assert len(values) == 6

    def test_the_sessions_seed_and_the_name_decide(self):
        flow.config.random_seed(1)
        first = self.values()
        assert first["a"] != first["b"]
        assert self.values() == first
        assert self.values(names=("b", "c", "a"))["a"] == first["a"]
        flow.config.random_seed(2)
        second = self.values()
        assert {second["a"], second["b"]}.isdisjoint({first["a"], first["b"]})
        flow.config.random_seed(None)
        assert self.values()["a"] not in (first["a"], second["a"])

    def test_a_given_seed_counts_before_the_sessions(self):
        flow.config.random_seed(1)
        one = self.values(seeds={"a": 3})
        flow.config.random_seed(2)
        two = self.values(seeds={"a": 3})
        assert one["a"] == two["a"] and one["b"] != two["b"]

    def test_the_namespace_is_part_of_the_name(self):
        flow.config.random_seed(1)
        plain = self.values(names=("n-a", "a"))
        flow.clear_default_session()

        @flow.global_function()
        def job() -> None:
            with flow.scope.namespace("n"):
                flow.get_variable("a", (8,), initializer=flow.random_normal_initializer())

        found = flow.get_all_variables()["n-a"].numpy().tobytes()
        assert found == plain["n-a"] != plain["a"]

    def test_one_variable_of_two_jobs_has_one_value(self):
        assert len(self.values(names=("a",), jobs=2)) == 1

    def test_the_seed_of_either_job_counts(self):
        def body(seed):
            return flow.get_variable(
                "a", (8,), initializer=flow.random_normal_initializer(), random_seed=seed
            )

        for seeds in ((3, None), (None, 3), (3, 3)):
            flow.clear_default_session()

            @flow.global_function()
            def one() -> tp.Numpy:
                return body(seeds[0])  # noqa: B023 - it runs before the next turn

            @flow.global_function()
            def two() -> tp.Numpy:
                return body(seeds[1])  # noqa: B023 - it runs before the next turn

            expected = np.random.default_rng(3).normal(0, 1, 8).astype(np.float32)
            np.testing.assert_array_equal(one(), expected)
            np.testing.assert_array_equal(two(), expected)

    @pytest.mark.parametrize("seed", [-1, 1.5, "1", True])
    def test_what_is_no_seed(self, seed):
        with pytest.raises(ArgumentError, match="variable a: random_seed must be an int from 0"):
            self.values(seeds={"a": seed})

    def test_pythons_and_numpys_own_generators_are_left_alone(self):
        np.random.seed(3)
        before = np.random.get_state()[1].tobytes()
        self.values()
        assert np.random.get_state()[1].tobytes() == before


class TestRefusals:
    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: flow.random_uniform_initializer(2, 1), "minval 2 is above maxval 1"),
            (lambda: flow.random_uniform_initializer(0, math.inf), "maxval must be finite"),
            (lambda: flow.random_uniform_initializer(math.nan, 1), "minval must be finite"),
            (lambda: flow.random_uniform_initializer(1, 1, flow.int32), "no integer lies from 1"),
            (lambda: flow.random_normal_initializer(0, -1), "stddev must be finite and not below"),
            (lambda: flow.random_normal_initializer(math.nan), "mean must be finite"),
            (lambda: flow.random_normal_initializer(seed=1), "seed and dtype must be None"),
            (lambda: flow.random_normal_initializer(dtype=flow.float32), "get_variable takes rand"),
            (lambda: flow.truncated_normal(math.nan), "stddev must be finite"),
            (lambda: flow.truncated_normal(-0.1), "stddev must be finite and not below 0"),
            (lambda: flow.truncated_normal_initializer(math.inf, 1), "mean must be finite"),
            (lambda: flow.variance_scaling_initializer(-1), "scale must be finite and not below"),
            (lambda: flow.variance_scaling_initializer(1, "fan"), "mode must be fan_in.*'fan'"),
            (lambda: flow.variance_scaling_initializer(1, "fan_in", "normal"), "not 'normal'"),
            (lambda: flow.glorot_uniform_initializer("CHW"), "data_format: expected NC"),
            (lambda: flow.kaiming_initializer((3,)), r"two or more sizes, not \(3,\)"),
            (lambda: flow.kaiming_initializer([3, 4]), "shape must be a tuple"),
            (lambda: flow.kaiming_initializer((3, 4), "normal"), "distribution must be random_no"),
            (lambda: flow.kaiming_initializer((3, 4), mode="in"), "mode must be fan_in"),
            (lambda: flow.kaiming_initializer((3, 4), nonlinearity=None), "nonlinearity must be"),
            (lambda: flow.kaiming_initializer((3, 4), nonlinearity="gelu"), "one of tanh.*'gelu'"),
        ],
    )
    def test_values(self, make, message):
        with pytest.raises(ArgumentError, match=message):
            make()

    def test_types(self):
        for make in (
            lambda: flow.truncated_normal("0.1"),
            lambda: flow.random_normal_initializer(mean=None),
            lambda: flow.random_uniform_initializer(0, True),
            lambda: flow.glorot_normal_initializer(None),
        ):
            with pytest.raises(ArgumentTypeError):
                make()

    def test_they_are_made_outside_of_jobs(self):
        assert isinstance(flow.truncated_normal(0.1), initializers.Initializer)
        assert drawn(flow.empty_initializer(), (2, 2)).shape == (2, 2)


class TestConfigured:
    """``FunctionConfig.default_initializer_conf``: for variables that are given no initializer."""

    @pytest.mark.parametrize(
        ("conf", "same"),
        [
            ({"constant_conf": {"value": 2.5}}, flow.constant_initializer(2.5)),
            (
                {"random_uniform_conf": {"min": -1, "max": 1}},
                flow.random_uniform_initializer(-1, 1),
            ),
            (
                {"random_normal_conf": {"mean": 1, "std": 0.1}},
                flow.random_normal_initializer(1, 0.1),
            ),
            ({"truncated_normal_conf": {"std": 0.1}}, flow.truncated_normal(0.1)),
            ({"empty_conf": {}}, flow.zeros_initializer()),
        ],
    )
    def test_kinds(self, conf, same):
        expected = drawn(same, (4, 4))
        flow.clear_default_session()
        config = flow.FunctionConfig()
        config.default_initializer_conf(conf)

        @flow.global_function(function_config=config)
        def job() -> tp.Tuple[tp.Numpy, tp.Numpy]:
            given = flow.get_variable("given", (1,), initializer=flow.ones_initializer())
            return flow.get_variable("w", (4, 4), random_seed=5), given

        found, given = job()
        np.testing.assert_array_equal(found, expected)
        assert given.tolist() == [1]

    @pytest.mark.parametrize(
        "conf", [{}, None, {"msra_conf": {}}, {"constant_conf": 3}, {"constant_conf": {"vale": 3}}]
    )
    def test_what_is_not_known(self, conf):
        with pytest.raises(ArgumentError, match=r"FunctionConfig\.default_initializer_conf"):
            flow.FunctionConfig().default_initializer_conf(conf)
