"""The element types: singletons that know their NumPy type and their name in checkpoints."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from flowrs.errors import DTypeError


class dtype:  # noqa: N801 - the name is OneFlow's
    """An element type, such as ``flow.float32``.

    Attributes:
        name: the name that computations know it by, such as ``"float32"``.
        kind: the name in the ``meta`` file of a checkpoint, such as ``"kFloat"``.
        is_signed: whether values may be negative.
        is_floating_point: whether values are floating point numbers.
        is_complex: always false.
        bytes: size of an element, 0 where elements have no fixed size.
    """

    __slots__ = ("_numpy", "bytes", "is_floating_point", "is_signed", "kind", "label", "name")

    is_complex = False

    def __init__(self, label: str, name: str, numpy: npt.DTypeLike | None, kind: str) -> None:
        self.label = label
        self.name = name
        self.kind = kind
        self._numpy: np.dtype[Any] | None = None if numpy is None else np.dtype(numpy)
        code = "" if self._numpy is None else self._numpy.kind
        self.bytes = 0 if self._numpy is None else self._numpy.itemsize
        self.is_floating_point = code == "f"
        self.is_signed = code in ("f", "i")

    @property
    def numpy(self) -> np.dtype[Any]:
        """The NumPy type.

        Raises:
            DTypeError: the type has none.
        """
        if self._numpy is None:
            raise DTypeError(f"{self} has no NumPy type")
        return self._numpy

    def __repr__(self) -> str:
        return f"oneflow.{self.label}"

    def __reduce__(self) -> str:
        return self.label if self.label != "of_record" else "record"


char = dtype("char", "int8", np.int8, "kChar")
float32 = dtype("float32", "float32", np.float32, "kFloat")
float64 = dtype("float64", "float64", np.float64, "kDouble")
int8 = dtype("int8", "int8", np.int8, "kInt8")
int32 = dtype("int32", "int32", np.int32, "kInt32")
int64 = dtype("int64", "int64", np.int64, "kInt64")
uint8 = dtype("uint8", "uint8", np.uint8, "kUInt8")
record = dtype("of_record", "record", None, "kOFRecord")
float16 = dtype("float16", "float16", np.float16, "kFloat16")
tensor_buffer = dtype("tensor_buffer", "tensor_buffer", None, "kTensorBuffer")

_ALL = (
    char, float32, float64, int8, int32, int64, uint8, record, float16, tensor_buffer,
)  # fmt: skip
#: The types that a NumPy type or a name in a graph is looked up among: int8 comes before char.
_LOOKED_UP = (float32, float64, int8, int32, int64, uint8, float16)


def dtypes() -> list[dtype]:
    """All element types.

    Example:
        >>> import flowrs as flow
        >>> flow.float32 in flow.dtypes()
        True
    """
    return list(_ALL)


def convert_oneflow_dtype_to_numpy_dtype(oneflow_dtype: dtype) -> np.dtype[Any]:
    """The NumPy type of an element type.

    Raises:
        DTypeError: the type is ``record`` or ``tensor_buffer``, which have none.

    Example:
        >>> import flowrs as flow
        >>> flow.convert_oneflow_dtype_to_numpy_dtype(flow.double)
        dtype('float64')
    """
    return oneflow_dtype.numpy


def from_numpy(numpy: np.dtype[Any], what: str) -> dtype:
    """The element type of a NumPy type in either byte order; ``what`` is named in the error."""
    native = numpy.newbyteorder("=")
    for candidate in _LOOKED_UP:
        if candidate.numpy == native:
            return candidate
    raise DTypeError(
        f"{what}: {numpy} is no element type of flowrs: convert it to one of "
        f"{', '.join(str(candidate.numpy) for candidate in _LOOKED_UP)}"
    )


def from_name(name: str) -> dtype:
    """The element type of a value in a graph."""
    for candidate in _LOOKED_UP:
        if candidate.name == name:
            return candidate
    raise DTypeError(f"there is no element type {name}")


def from_kind(kind: str, what: str) -> dtype:
    """The element type with this name in a checkpoint; ``what`` is named in the error."""
    for candidate in _ALL:
        if candidate.kind == kind:
            return candidate
    raise DTypeError(f"{what}: {kind} is no element type of this API")


def check(value: object, what: str) -> dtype:
    """Returns ``value`` if it is an element type."""
    if not isinstance(value, dtype):
        raise DTypeError(f"{what}: expected a dtype such as flow.float32, found {value!r}")
    return value


def check_computable(value: object, what: str) -> dtype:
    """Returns ``value`` if it is an element type that jobs can compute with."""
    found = check(value, what)
    if found in (record, tensor_buffer, float16):
        raise DTypeError(
            f"{what}: no computation is possible in {found}: use float32, float64, int8, int32, "
            "int64 or uint8"
        )
    return found
