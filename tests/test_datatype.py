"""Element types: what they are called, how they print, and what they know."""

import copy
import pickle

import numpy as np
import pytest

import flowrs as flow
from flowrs import datatype
from flowrs.errors import DTypeError

# Names in flow, how it prints, the NumPy type, its name in a checkpoint.
TYPES = [
    (["char"], "char", np.int8, "kChar"),
    (["float", "float32"], "float32", np.float32, "kFloat"),
    (["double", "float64"], "float64", np.float64, "kDouble"),
    (["int8"], "int8", np.int8, "kInt8"),
    (["int", "int32"], "int32", np.int32, "kInt32"),
    (["long", "int64"], "int64", np.int64, "kInt64"),
    (["uint8"], "uint8", np.uint8, "kUInt8"),
    (["record"], "of_record", None, "kOFRecord"),
    (["half", "float16"], "float16", np.float16, "kFloat16"),
    (["tensor_buffer"], "tensor_buffer", None, "kTensorBuffer"),
]


@pytest.mark.parametrize(("names", "printed", "numpy", "kind"), TYPES)
def test_each(names, printed, numpy, kind):
    types = {id(getattr(flow, name)): getattr(flow, name) for name in names}
    [(_, dtype)] = types.items()
    assert isinstance(dtype, flow.dtype)
    assert repr(dtype) == str(dtype) == f"{dtype}" == f"oneflow.{printed}"
    assert dtype.kind == kind and not dtype.is_complex
    if numpy is None:
        assert dtype.bytes == 0
        for convert in (flow.convert_oneflow_dtype_to_numpy_dtype, lambda dtype: dtype.numpy):
            with pytest.raises(DTypeError, match=f"oneflow.{printed} has no NumPy type"):
                convert(dtype)
        return
    assert flow.convert_oneflow_dtype_to_numpy_dtype(dtype) == numpy
    assert dtype.bytes == np.dtype(numpy).itemsize
    assert dtype.is_floating_point == np.issubdtype(numpy, np.floating)
    assert dtype.is_signed == (np.dtype(numpy).kind in "fi")


def test_all_are_listed():
    listed = flow.dtypes()
    assert [dtype.kind for dtype in listed] == [kind for *_, kind in TYPES]
    assert len(set(listed)) == len(listed) == 10
    listed.clear()
    assert len(flow.dtypes()) == 10
    assert not hasattr(flow, "bool")


def test_they_are_single_objects():
    for dtype in flow.dtypes():
        assert pickle.loads(pickle.dumps(dtype)) is dtype
        assert copy.copy(dtype) is dtype and copy.deepcopy(dtype) is dtype
    assert flow.int8 != flow.char and len({flow.float, flow.float32, flow.half}) == 2


def test_looking_up():
    for dtype in flow.dtypes():
        assert datatype.from_kind(dtype.kind, "here") is dtype
        if dtype not in (flow.char, flow.record, flow.tensor_buffer):
            assert datatype.from_numpy(dtype.numpy, "here") is dtype
            assert datatype.from_numpy(dtype.numpy.newbyteorder(), "here") is dtype
            assert datatype.from_name(dtype.name) is dtype
    for lookup, value in (
        (datatype.from_kind, "kBool"),
        (datatype.from_numpy, np.dtype(bool)),
        (datatype.from_numpy, np.dtype("c8")),
    ):
        with pytest.raises(DTypeError, match=f"here: {value} is no element type"):
            lookup(value, "here")


@pytest.mark.parametrize("value", [np.float32, np.dtype("f4"), "float32", None, float, 2])
def test_what_is_none(value):
    with pytest.raises(DTypeError, match=r"here: expected a dtype such as flow\.float32"):
        datatype.check(value, "here")
