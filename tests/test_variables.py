"""Variables: their names, types and sharing; what may be asked for again, and their handles."""

import numpy as np
import pytest

import flowrs as flow
import flowrs.typing as tp
from flowrs.errors import (
    ArgumentError,
    ArgumentTypeError,
    DTypeError,
    SessionError,
    VariableError,
)
from flowrs.trace import MARKER

DTYPES = [flow.float32, flow.float64, flow.int8, flow.char, flow.int32, flow.int64, flow.uint8]


def define(body, kind="predict"):
    @flow.global_function(kind)
    def job() -> tp.Bundle[tp.Numpy]:
        return body()

    return job


def constant(name, value, *shape, **options):
    initializer = flow.constant_initializer(value)
    return flow.get_variable(name, shape, initializer=initializer, **options)


class TestWhatIsMade:
    @pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3), (2, 1, 4, 1), (0,), (3, 0)])
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_shapes_and_dtypes(self, dtype, shape):
        blobs = []

        def body():
            for given in (shape, list(shape)):
                name = type(given).__name__
                initializer = flow.constant_initializer(3)
                blobs.append(flow.get_variable(name, given, dtype, initializer))
            return blobs[0] if 0 not in shape else None

        job = define(body)
        result = job()
        handle = flow.get_all_variables()["tuple"]
        value = handle.numpy()
        assert (value.shape, value.dtype) == (handle.shape, handle.dtype.numpy)
        assert handle.shape == shape and handle.dtype is dtype and (value == 3).all()
        for blob in blobs:
            assert (blob.shape, blob.dtype) == (shape, dtype)
        if result is not None:
            np.testing.assert_array_equal(result, value)

    def test_the_order_is_that_of_creation(self):
        def body():
            for name in ("z", "a", "m", "a", "b"):
                constant(name, 0, 1)

        define(body)()
        assert list(flow.get_all_variables()) == ["z", "a", "m", "b"]

    def test_by_position(self):
        def body():
            return flow.get_variable(
                *("w", [2], flow.float64, flow.ones_initializer(), None, False, "weight", 5),
                *(None, flow.distribute.broadcast(), True),
            )

        define(body)()
        handle = flow.get_all_variables()["w"]
        assert (handle.name, handle.dtype, handle.trainable) == ("w", flow.float64, False)

    def test_names_have_the_namespaces_before_them(self):
        def body():
            with flow.scope.namespace("a"):
                with flow.scope.namespace("b"):
                    constant("c", 0, 1)
                constant("c", 0, 1)
            constant("c", 0, 1)

        define(body)()
        assert list(flow.get_all_variables()) == ["a-b-c", "a-c", "c"]

    def test_outside_of_jobs(self):
        with pytest.raises(
            SessionError, match=r"flow\.get_variable can only be called inside a jo"
        ):
            constant("w", 0, 1)


class TestHandles:
    def test_values_are_copies_of_this_moment(self):
        job = define(lambda: minimized(), "train")

        def minimized():
            w = constant("w", 5, 2)
            rate = flow.optimizer.PiecewiseConstantScheduler([], [1.0])
            flow.optimizer.SGD(rate, momentum=0).minimize(flow.math.reduce_sum(w))
            return w

        handle = flow.get_all_variables()["w"]
        before = handle.numpy()
        before_too = handle.numpy(rank=0)
        job()
        assert before.tolist() == before_too.tolist() == [5, 5] and handle.numpy().tolist() == [
            4,
            4,
        ]
        before[:] = 100
        assert handle.numpy().tolist() == [4, 4]
        assert repr(handle) == "Variable(w, (2,), oneflow.float32)"

    def test_the_dict_is_a_copy(self):
        define(lambda: constant("w", 0, 1))()
        flow.get_all_variables().clear()
        assert list(flow.get_all_variables()) == ["w"]

    def test_asking_starts_the_session(self):
        ran = []
        define(lambda: ran.append(constant("w", 0, 1)) or ran[0])
        assert ran == []
        flow.get_all_variables()
        flow.get_all_variables()
        assert len(ran) == 1


class TestAskingAgain:
    def test_all_other_arguments_are_ignored(self):
        def body():
            first = constant("w", 3, 2)
            again = flow.get_variable("w", (5, 5), flow.int64, random_seed=9)
            assert again is first
            return again

        assert define(body)().tolist() == [3, 3]

    def test_without_reuse(self):
        def body():
            constant("w", 3, 2)
            return constant("w", 3, 2, reuse=False)

        with pytest.raises(VariableError, match=r"variable 'w' already exists.*reuse is False"):
            define(body)()

    def test_without_reuse_in_another_job(self):
        for name in ("one", "two"):

            def body() -> tp.Numpy:
                return constant("w", 3, 2, reuse=False)

            body.__name__ = name
            job = flow.global_function()(body)
        assert job().tolist() == [3, 3]
        assert list(flow.get_all_variables()) == ["w"]


class TestRefusals:
    @pytest.mark.parametrize(
        "name", ["a/b", "/", "nul\0", ".", "..", MARKER, "x" * 256, "ä" * 128, "\ud800"]
    )
    def test_names_that_no_checkpoint_could_hold(self, name, tmp_path):
        with pytest.raises(ArgumentError, match="no checkpoint could hold it"):
            define(lambda: constant(name, 0, 1))()

    @pytest.mark.parametrize("name", [".a", "...", "x" * 255, "größe 1", "a-b_c.d", "a:b*?\\"])
    def test_names_that_a_checkpoint_can_hold(self, name, tmp_path):
        define(lambda: constant(name, 4, 1))()
        flow.checkpoint.save(tmp_path / "snapshot")
        flow.load_variables({name: np.zeros(1, np.float32)})
        flow.load_variables(flow.load(tmp_path / "snapshot"), strict=True)
        assert flow.get_all_variables()[name].numpy() == 4

    def test_the_names_of_slots_count_too(self):
        def body():
            rate = flow.optimizer.PiecewiseConstantScheduler([], [1.0])
            flow.optimizer.SGD(rate, momentum=0.9).minimize(constant("x" * 250, 0, 1))

        with pytest.raises(ArgumentError, match="no checkpoint could hold it"):
            define(body, "train")()

    @pytest.mark.parametrize("name", [None, "", 3, b"w"])
    def test_what_is_no_name(self, name):
        with pytest.raises(ArgumentTypeError, match="get_variable: "):
            define(lambda: constant(name, 0, 1))()

    @pytest.mark.parametrize("shape", [None, 3, "2", np.array([2])])
    def test_what_is_no_shape(self, shape):
        with pytest.raises(ArgumentTypeError, match="variable w: shape must be a list or tuple"):
            define(lambda: flow.get_variable("w", shape, initializer=flow.zeros_initializer()))()

    @pytest.mark.parametrize("shape", [(-1,), (1.0,), (True,), (None, 2), (2**64,)])
    def test_what_is_no_size(self, shape):
        with pytest.raises(ArgumentError, match="variable w: shape must hold sizes from 0 on"):
            define(lambda: flow.get_variable("w", shape, initializer=flow.zeros_initializer()))()

    @pytest.mark.parametrize(
        "dtype", [flow.float16, flow.record, flow.tensor_buffer, None, np.float32, "float32"]
    )
    def test_what_is_no_dtype(self, dtype):
        with pytest.raises(DTypeError, match=r"variable w: (no computation|expected a dtype)"):
            define(lambda: constant("w", 0, 1, dtype=dtype))()

    @pytest.mark.parametrize("initializer", [None, 0.5, flow.zeros_initializer, np.zeros(1)])
    def test_what_is_no_initializer(self, initializer):
        with pytest.raises(ArgumentError, match=r"variable w: an initializer is needed"):
            define(lambda: flow.get_variable("w", (1,), initializer=initializer))()
