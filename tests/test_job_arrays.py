"""What jobs take and give: annotations, results without one, layouts and dtypes of arrays."""

from __future__ import annotations

import gc
import os
import pickle
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Dict, List, Tuple

import numpy as np
import pytest

import flowrs as flow
import flowrs.typing as tp
from flowrs.errors import (
    ArgumentError,
    ArgumentTypeError,
    DTypeError,
    GraphError,
    SessionError,
    ShapeError,
    UnsupportedError,
)
from flowrs.results import LocalBlob

X = tp.Numpy.Placeholder((2, 3))
x23 = np.arange(6, dtype=np.float32).reshape(2, 3)


def zeros(name, *shape):
    return flow.get_variable(name, shape, initializer=flow.zeros_initializer())


class TestParameters:
    def test_nested_tuples_take_tuples_and_lists(self):
        @flow.global_function()
        def job(
            a: Tuple[X, Tuple[tp.Numpy.Placeholder((1,), flow.int32), X]], b: X
        ) -> Tuple[tp.Numpy, tp.Numpy, tp.Numpy]:
            first, (second, third) = a
            assert isinstance(a, tuple)
            return first - b, second, third

        one = np.array([7], np.int32)
        for passed in ((x23, (one, x23 + 1)), [x23, [one, x23 + 1]]):
            first, second, third = job(passed, x23 * 2)
            np.testing.assert_array_equal(first, -x23)
            np.testing.assert_array_equal(second, one)
            np.testing.assert_array_equal(third, x23 + 1)
        with pytest.raises(ArgumentTypeError, match=r"job job, argument a: expected a tuple of 2"):
            job((x23,), x23)
        with pytest.raises(ShapeError, match=r"argument a\[1\]\[1\]: expected shape \(2, 3\)"):
            job((x23, (one, one.astype(np.float32))), x23)

    def test_positional_only(self):
        @flow.global_function()
        def job(x: X, /) -> tp.Numpy:
            return x + 1

        np.testing.assert_array_equal(job(x23), x23 + 1)

    def test_no_parameters(self):
        @flow.global_function()
        def job() -> tp.Numpy:
            return zeros("w", 2)

        np.testing.assert_array_equal(job(), [0, 0])

    def test_blobs_show_what_was_declared(self):
        seen = []

        @flow.global_function()
        def job(x: X, y: tp.Numpy.Placeholder((5,), flow.int64)) -> None:
            seen.extend([x, y])

        job(x23, np.zeros(5, np.int64))
        x, y = seen
        assert (x.shape, x.dtype, x.is_dynamic) == ((2, 3), flow.float32, False)
        assert (y.shape, y.dtype, y.job_name) == ((5,), flow.int64, "job")
        assert (x.op_name, y.op_name) == ("Input_0", "Input_1")
        assert x.logical_blob_name == "Input_0/out"
        assert repr(x) == "Blob(Input_0, (2, 3), oneflow.float32)"

    def test_the_global_names_of_a_module_in_text_annotations(self):
        module = {}
        source = """
            from __future__ import annotations
            import flowrs as flow
            import flowrs.typing as tp
            SIZE = 4
            @flow.global_function()
            def job(x: tp.Numpy.Placeholder((SIZE,))) -> tp.Tuple[tp.Numpy, tp.Numpy]:
                return x, x * 2
        """
        exec(textwrap.dedent(source), module)
        one, two = module["job"](np.ones(4, np.float32))
        assert (one.sum(), two.sum()) == (4, 8)

    def test_the_local_names_of_a_function_in_text_annotations(self):
        size = 5

        @flow.global_function()
        def job(x: tp.Numpy.Placeholder((size,))) -> tp.Numpy:
            return x

        assert job(np.ones(5, np.float32)).shape == (5,)

    def test_annotations_that_name_nothing(self):
        with pytest.raises(ArgumentError, match=r"job job: an annotation cannot be read.*nowhere"):

            @flow.global_function()
            def job(x: nowhere.Placeholder((1,))) -> None:  # noqa: F821
                pass

    @pytest.mark.parametrize("annotation", [tp.Numpy, tp.ListNumpy, int, np.ndarray, "1"])
    def test_invalid_annotations(self, annotation):
        def job(x):
            return x

        job.__annotations__["x"] = annotation
        with pytest.raises(UnsupportedError, match="job job, parameter x: invalid parameter"):
            flow.global_function()(job)

    def test_what_a_signature_must_not_have(self):
        def none(x):
            return x

        def star(*x: X):
            return x

        def stars(**x: X):
            return x

        def keyword(*, x: X):
            return x

        with pytest.raises(UnsupportedError, match="none, parameter x: all parameters"):
            flow.global_function()(none)
        for function in (star, stars, keyword):
            with pytest.raises(ArgumentTypeError, match=f"job {function.__name__}, parameter x"):
                flow.global_function()(function)

    @pytest.mark.parametrize("shape", [(0,), (-1, 2), (1.0,), (True,), (2**63,), ("3",)])
    def test_dimensions_that_are_none(self, shape):
        def job(x):
            return x

        job.__annotations__["x"] = tp.Numpy.Placeholder(shape)
        with pytest.raises(ArgumentTypeError, match="parameter x: each dimension"):
            flow.global_function()(job)

    def test_placeholders_take_tuples_and_dtypes(self):
        with pytest.raises(ArgumentTypeError, match="shape should be a tuple, list found"):
            tp.Numpy.Placeholder([2, 3])
        with pytest.raises(DTypeError, match=r"ListNumpy\.Placeholder: expected a dtype"):
            tp.ListNumpy.Placeholder((2,), dtype=np.float32)

    @pytest.mark.parametrize("dtype", [flow.float16, flow.record, flow.tensor_buffer])
    def test_dtypes_without_computation(self, dtype):
        def job(x):
            return x

        job.__annotations__["x"] = tp.Numpy.Placeholder((1,), dtype)
        with pytest.raises(DTypeError, match=f"parameter x: no computation is possible in {dtype}"):
            flow.global_function()(job)

    def test_the_number_and_kind_of_arguments(self):
        @flow.global_function()
        def job(x: X, y: X) -> None:
            pass

        with pytest.raises(ArgumentTypeError, match=r"takes 2 arguments \(x, y\), found 1"):
            job(x23)
        with pytest.raises(ArgumentTypeError, match="positional arguments only, found y"):
            job(x23, y=x23)
        with pytest.raises(
            ArgumentTypeError, match="argument y: expected a NumPy array, found lis"
        ):
            job(x23, x23.tolist())


def _resident_bytes():
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class TestResults:
    def returned(self, annotation, make):
        def job(x):
            return make(x)

        job.__annotations__.update({"x": X, "return": annotation})
        flow.clear_default_session()
        return flow.global_function()(job)(x23)

    def test_none(self):
        assert self.returned(None, lambda x: None) is None

    def test_numpy_is_a_fresh_array(self):
        @flow.global_function()
        def job(x: X) -> tp.Numpy:
            return x

        first = job(x23)
        second = job(x23 + 1)
        assert type(first) is np.ndarray and first.flags.owndata and first.flags.writeable
        np.testing.assert_array_equal(first, x23)
        np.testing.assert_array_equal(second, x23 + 1)
        assert not np.shares_memory(first, x23)

    def test_large_arrays_are_fresh_too(self):
        """Their memory comes back to the job when no array needs it any more."""
        large = np.zeros((1 << 19,), np.float32)

        @flow.global_function()
        def job(x: tp.Numpy.Placeholder(large.shape)) -> tp.Numpy:
            return x + 1

        job(large)
        first, second = job(large), job(large + 1)
        assert type(first) is np.ndarray and first.flags.writeable and first.flags.c_contiguous
        np.testing.assert_array_equal(first, 1)
        np.testing.assert_array_equal(second, 2)
        address, view = first.ctypes.data, first[5:7]
        del first
        third = job(large + 2)
        np.testing.assert_array_equal(view, 1, "a view keeps the memory")
        assert third.ctypes.data not in (address, second.ctypes.data)
        del view
        third[:] = 7
        fourth = job(large + 3)
        assert fourth.ctypes.data == address, "nobody looked at it any more"
        for array, value in [(second, 2), (third, 7), (fourth, 4)]:
            np.testing.assert_array_equal(array, value)
        flow.clear_default_session()
        del job
        gc.collect()
        np.testing.assert_array_equal(fourth, 4)

    def test_memory_that_waits_for_calls_has_a_bound(self):
        """256 MB of all jobs together: those of many lengths are not all kept."""

        @flow.global_function()
        def job(x: tp.ListNumpy.Placeholder((1 << 25,))) -> tp.ListNumpy:
            return x + 1

        before = _resident_bytes()
        for length in range((1 << 24) - 40, 1 << 24):
            array = np.zeros((length,), np.float32)
            job([array])
            job([array])
        del array
        assert _resident_bytes() - before < 400 << 20

    def test_large_arrays_of_threads_are_their_own(self):
        large = np.zeros((1 << 18,), np.float32)

        @flow.global_function()
        def job(x: tp.Numpy.Placeholder(large.shape)) -> tp.Numpy:
            return x + 1

        job(large)

        def differences(number):
            kept = []
            for step in range(50):
                kept = [*kept[-2:], (job(large + number + step), number + step + 1)]
                yield from (array for array, value in kept if (array != value).any())

        with ThreadPoolExecutor(4) as pool:
            assert not any(pool.map(lambda number: list(differences(number)), range(0, 4000, 1000)))

    def test_list_numpy_is_a_list_of_one(self):
        result = self.returned(tp.ListNumpy, lambda x: x + 1)
        assert type(result) is list and len(result) == 1
        np.testing.assert_array_equal(result[0], x23 + 1)

    def test_nested_structures(self):
        annotation = Tuple[tp.Numpy, List[Dict[str, tp.Numpy]], tp.Tuple[tp.ListNumpy]]
        one, rest, (last,) = self.returned(
            annotation, lambda x: (x, [{"a": x + 1}, {}, {"b": x, "c": x * 2}], (x - 1,))
        )
        np.testing.assert_array_equal(one, x23)
        assert [sorted(part) for part in rest] == [["a"], [], ["b", "c"]]
        np.testing.assert_array_equal(rest[0]["a"], x23 + 1)
        np.testing.assert_array_equal(rest[2]["c"], x23 * 2)
        np.testing.assert_array_equal(last[0], x23 - 1)

    @pytest.mark.parametrize(
        ("annotation", "make", "message"),
        [
            (None, lambda x: x, "says None, the body returns Blob"),
            (tp.Numpy, lambda x: None, r"says tp\.Numpy, the body returns None"),
            (tp.Numpy, lambda x: (x,), r"says tp\.Numpy, the body returns tuple"),
            (Tuple[tp.Numpy, tp.Numpy], lambda x: (x,), "says a tuple of 2"),
            (Tuple[tp.Numpy], lambda x: [x], "says a tuple of 1, the body returns list"),
            (List[tp.Numpy], lambda x: (x,), "says a list, the body returns tuple"),
            (Dict[str, tp.Numpy], lambda x: {1: x}, "says a dict with keys of type str"),
            (List[tp.Numpy], lambda x: [x, None], r"says tp\.Numpy, the body returns None"),
            (tp.Bundle[tp.Numpy], lambda x: [x, 3], "a job returns blobs.*not int"),
        ],
    )
    def test_what_does_not_fit(self, annotation, make, message):
        with pytest.raises(GraphError, match=f"job job: .*{message}"):
            self.returned(annotation, make)

    @pytest.mark.parametrize(
        "annotation",
        [
            *(int, np.ndarray, list, dict, tuple, List, Dict, Tuple),
            *(Tuple[tp.Numpy, ...], List[int], Dict[str, int], X),
            *(tp.Bundle, tp.Callback, tp.Bundle[int], tp.Callback[tp.Bundle[tp.Numpy]]),
            *(tp.Callback[tp.Callback[tp.Numpy]], List[tp.Bundle[tp.Numpy]]),
        ],
    )
    def test_invalid_annotations(self, annotation):
        with pytest.raises(UnsupportedError, match="job job: invalid return annotation"):
            self.returned(annotation, lambda x: x)

    def test_bundles_have_any_structure(self):
        bundle = tp.Bundle[tp.Numpy]
        np.testing.assert_array_equal(self.returned(bundle, lambda x: x), x23)
        result = self.returned(bundle, lambda x: {"a": [x, (x + 1, {})], 3: x})
        assert sorted(result, key=str) == [3, "a"]
        np.testing.assert_array_equal(result["a"][1][0], x23 + 1)
        lists = self.returned(tp.Bundle[tp.ListNumpy], lambda x: (x, x))
        assert [len(part) for part in lists] == [1, 1]

    @pytest.mark.parametrize(
        ("annotation", "make", "expected"),
        [
            (tp.Numpy, lambda x: x, x23.tolist()),
            (Tuple[tp.Numpy, tp.Numpy], lambda x: (x, x), (x23.tolist(),) * 2),
            (None, lambda x: None, None),
        ],
    )
    def test_callbacks(self, annotation, make, expected):
        seen = []
        register = self.returned(tp.Callback[annotation], make)
        assert seen == []
        register(seen.append)
        [found] = seen
        if isinstance(found, tuple):
            assert tuple(part.tolist() for part in found) == expected
        else:
            assert (found if found is None else found.tolist()) == expected

    def test_a_callback_runs_before_sync_returns(self):
        seen = []

        @flow.global_function()
        def job(x: X) -> tp.Callback[tp.Numpy]:
            return x

        for number in range(3):
            job(x23 + number)(lambda array: seen.append(array[0, 0]))
        flow.sync_default_session()
        assert seen == [0, 1, 2]

    def test_the_same_blob_and_parameters_twice(self):
        results = self.returned(Tuple[tp.Numpy, tp.Numpy, tp.Numpy], lambda x: (x, x, x + 1))
        np.testing.assert_array_equal(results[0], results[1])
        assert not np.shares_memory(results[0], results[1])
        np.testing.assert_array_equal(results[2], x23 + 1)

    def test_a_variable_is_returned_as_it_was_before_the_step(self):
        @flow.global_function(type="train")
        def job() -> tp.Numpy:
            w = flow.get_variable("w", (2,), initializer=flow.constant_initializer(5))
            rate = flow.optimizer.PiecewiseConstantScheduler([], [1.0])
            flow.optimizer.SGD(rate, momentum=0).minimize(flow.math.reduce_sum(w))
            return w

        assert job().tolist() == [5, 5]
        assert job().tolist() == [4, 4]
        assert flow.get_all_variables()["w"].numpy().tolist() == [3, 3]


class TestFutures:
    def future(self, make=lambda x: x):
        @flow.global_function()
        def job(x: X):
            return make(x)

        return job(x23)

    def test_get_gives_the_structure_once(self):
        future = self.future(lambda x: {"a": x, "b": [x + 1, (x,)]})
        result = future.get()
        assert isinstance(result["a"], LocalBlob)
        np.testing.assert_array_equal(result["b"][0].numpy(), x23 + 1)
        np.testing.assert_array_equal(result["b"][1][0].numpy_list()[0], x23)
        with pytest.raises(SessionError, match="taken already"):
            future.get()

    def test_async_get(self):
        seen = []
        future = self.future(lambda x: [x, x])
        future.async_get(seen.append)
        [[one, two]] = seen
        np.testing.assert_array_equal(one.numpy(), two.numpy())
        with pytest.raises(SessionError, match="taken already"):
            future.async_get(seen.append)

    def test_a_local_blob_is_as_good_as_its_array(self):
        local = self.future().get()
        assert local.numpy() is local.ndarray() is local.numpy_list()[0] is local.ndarray_list()[0]
        assert (local.is_dynamic, local.parallel_num()) == (False, 1)
        assert local.shape == (2, 3) and local.mean() == 2.5 and len(local) == 2
        np.testing.assert_array_equal(1 - local * 2, 1 - x23 * 2)
        np.testing.assert_array_equal(local + local, x23 + x23)
        np.testing.assert_array_equal(local @ x23.T, x23 @ x23.T)
        np.testing.assert_array_equal((local > 2) & (local != 4), (x23 > 2) & (x23 != 4))
        np.testing.assert_array_equal(np.exp(local), np.exp(x23))
        assert [row.sum() for row in local] == [3, 12] and 4 in local
        assert str(local) == str(x23) and repr(local) == repr(x23)
        assert f"{local[1, 2]:.1f}" == "5.0" and divmod(local, 2)[1].sum() == 3
        local[0] = 9
        assert local[0].tolist() == [9, 9, 9]

    def test_numbers(self):
        @flow.global_function()
        def job(x: X):
            return flow.math.reduce_sum(x)

        local = job(x23).get()
        assert local.shape == (1,) and bool(local)
        assert (int(local), float(local), complex(local)) == (15, 15.0, 15 + 0j)

    def test_copies_of_a_local_blob_are_copies(self):
        local = self.future().get()
        copied = np.array(local)
        copied[0, 0] = 100
        assert local.numpy()[0, 0] == 0
        assert np.shares_memory(np.asarray(local), local.numpy())
        assert np.asarray(local, np.float64).dtype == np.float64
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(local)).numpy(), x23)


class TestInputs:
    def identity(self, dtype, shape=(2, 3)):
        def job(x):
            return x

        job.__annotations__.update({"x": tp.Numpy.Placeholder(shape, dtype), "return": tp.Numpy})
        flow.clear_default_session()
        return flow.global_function()(job)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64, np.uint8])
    def test_any_memory_layout(self, dtype):
        flow_dtype = next(d for d in flow.dtypes() if d.name == np.dtype(dtype).name)
        job = self.identity(flow_dtype, (4, 6))
        base = np.arange(24, dtype=dtype).reshape(4, 6)
        padded = np.zeros((8, 12), dtype)
        padded[::2, ::2] = base
        misaligned = np.frombuffer(b"\0" + base.tobytes(), np.uint8)[1:].view(dtype).reshape(4, 6)
        read_only = base.copy()
        read_only.setflags(write=False)
        layouts = {
            "C": base,
            "Fortran": np.asfortranarray(base),
            "strided": padded[::2, ::2],
            "negative strides": base[::-1, ::-1].copy()[::-1, ::-1],
            "byte-swapped": base.astype(base.dtype.newbyteorder()),
            "read-only": read_only,
            "misaligned": misaligned,
            "subclass": base.view(np.matrix) if base.ndim == 2 else base,
        }
        for name, array in layouts.items():
            np.testing.assert_array_equal(job(array), base, err_msg=name)
        if np.dtype(dtype).itemsize > 1:
            assert not misaligned.flags.aligned

    def test_a_later_call_checks_as_the_first_one(self):
        job = self.identity(flow.float32)
        for _ in range(2):
            np.testing.assert_array_equal(job(x23), x23)
        for array in (
            x23.astype(np.float64),
            np.asfortranarray(x23),
            x23.astype(">f4"),
            x23.view(np.matrix),
        ):
            np.testing.assert_array_equal(job(array), x23)
            np.testing.assert_array_equal(job(x23), x23)
        for wrong in (x23[:1], x23.reshape(6), x23.reshape(3, 2)):
            with pytest.raises(ShapeError, match=r"argument x: expected shape \(2, 3\)"):
                job(wrong)
        for wrong in (x23.tolist(), memoryview(x23), None):
            with pytest.raises(ArgumentTypeError, match="expected a NumPy array"):
                job(wrong)
        for arguments in ((), (x23, x23)):
            with pytest.raises(ArgumentTypeError, match=r"takes 1 arguments \(x\), found"):
                job(*arguments)
        with pytest.raises(ArgumentTypeError, match="takes positional arguments only"):
            job(x=x23)
        np.testing.assert_array_equal(job(x23), x23)
        flow.clear_default_session()
        with pytest.raises(SessionError, match="belongs to a session that was cleared"):
            job(x23)

    def test_later_results_are_fresh_arrays(self):
        job = self.identity(flow.float32)
        first, second, third = job(x23), job(x23 + 1), job(x23 + 2)
        second += 1
        np.testing.assert_array_equal(first, x23)
        np.testing.assert_array_equal(second, x23 + 2)
        np.testing.assert_array_equal(third, x23 + 2)

    def test_broadcast_and_memory_mapped_arrays(self, tmp_path):
        job = self.identity(flow.float32)
        np.testing.assert_array_equal(
            job(np.broadcast_to(np.float32(3), (2, 3))), np.full((2, 3), 3)
        )
        np.save(tmp_path / "x.npy", x23)
        np.testing.assert_array_equal(job(np.load(tmp_path / "x.npy", mmap_mode="r")), x23)

    def test_scalars(self):
        job = self.identity(flow.float64, ())
        misaligned = np.frombuffer(b"\0" + np.float64(1.5).tobytes(), np.uint8)[1:].view(np.float64)
        for array in (np.array(1.5), np.array(1.5, ">f8"), misaligned.reshape(())):
            result = job(array)
            assert result.shape == () and result == 1.5

    def test_inputs_are_left_as_they_are(self):
        job = self.identity(flow.float32)
        array = x23.copy()
        result = job(array)
        result += 1
        np.testing.assert_array_equal(array, x23)

    @pytest.mark.parametrize(
        ("found", "wanted"),
        [
            *(("f2", "f4"), ("f8", "f4"), ("f4", "f8"), ("g", "f4"), (">f8", "f4")),
            *(("i1", "f4"), ("u8", "f4"), ("i8", "f8"), ("?", "f4"), (">i4", "f8")),
            *(("i8", "i4"), ("u8", "i8"), ("i4", "u1"), ("i8", "i1"), ("u1", "i1"), ("?", "i4")),
        ],
    )
    def test_conversions_that_keep_values(self, found, wanted):
        flow_dtype = next(d for d in flow.dtypes() if d.bytes and d.numpy == np.dtype(wanted))
        array = np.array([[0, 1, 2], [3, 100, 127]]).astype(found)
        result = self.identity(flow_dtype)(array)
        assert result.dtype == np.dtype(wanted)
        np.testing.assert_array_equal(result, array.astype(wanted))

    def test_floats_that_are_too_large_become_infinite(self):
        result = self.identity(flow.float32, (3,))(np.array([1e300, -1e300, np.nan]))
        assert result[0] == np.inf and result[1] == -np.inf and np.isnan(result[2])

    @pytest.mark.parametrize(
        ("values", "wanted", "message"),
        [
            (np.array([1.0, 2.0]), flow.int32, "found float64: fractions would be lost"),
            (np.array([1.0, 2.0], np.float16), flow.int64, "found float16: fractions"),
            (np.array([0, 2**31]), flow.int32, "values from 0 to 2147483648, which do not fit"),
            (np.array([-1, 0]), flow.uint8, "values from -1 to 0, which do not fit"),
            (np.array([0, 2**63], np.uint64), flow.int64, "to 9223372036854775808, which do no"),
            (np.array([0, 128], np.uint8), flow.int8, "values from 0 to 128, which do not fit"),
            (np.array([1j, 2]), flow.float32, "found complex128"),
            (np.array([1.0, None]), flow.float32, "found object"),
            (np.array(["1", "2"]), flow.float32, "found <U1"),
            (np.array(["2020", "2021"], "M8[Y]"), flow.int64, "found datetime64"),
            (np.zeros(2, [("a", "f4")]), flow.float32, "which is no real number type"),
        ],
    )
    def test_conversions_that_would_lose_values(self, values, wanted, message):
        job = self.identity(wanted, (2,))
        with pytest.raises(DTypeError, match=f"job job, argument x: expected.*{message}"):
            job(values)
        assert job(np.ones(2, np.int8)).tolist() == [1, 1]
