"""Constants of a job: ``flow.constant``, ``flow.zeros``, ``flow.range`` and so on."""

from __future__ import annotations

import builtins
from collections.abc import Sequence

import numpy as np

from flowrs import datatype
from flowrs.blob import Blob, Scalar
from flowrs.datatype import dtype as DType
from flowrs.errors import ArgumentError, ArgumentTypeError, DTypeError
from flowrs.trace import current_trace


def _filled(
    function: str,
    value: Scalar,
    dtype: DType | None,
    shape: Sequence[int],
    name: str | None,
) -> Blob:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ArgumentTypeError(f"{function}: value must be an int or a float, not {value!r}")
    if dtype is None:
        raise ArgumentError(f"{function}: a dtype is needed, such as flow.float32")
    _check_computable(function, dtype)
    if not isinstance(shape, (list, tuple)) or any(type(n) is not int or n < 0 for n in shape):
        raise ArgumentError(f"{function}: shape must be a list of ints from 0 on, not {shape!r}")
    return current_trace(function).constant(value, dtype, tuple(shape), name)


def _check_computable(function: str, dtype: DType) -> None:
    datatype.check(dtype, function)
    if dtype in (datatype.record, datatype.tensor_buffer, datatype.float16):
        raise DTypeError(f"{function}: no computation is possible in {dtype}")


def constant(
    value: Scalar,
    dtype: DType | None = None,
    shape: Sequence[int] | None = None,
    name: str | None = None,
) -> Blob:
    """A blob that holds one number everywhere.

    Args:
        value: the number; cut towards zero for an integer dtype.
        dtype: element type; must be given.
        shape: extents; None: a single element without dimensions.
        name: name of the operation.

    Raises:
        ArgumentError: no dtype, or the dtype does not hold the number.

    Example:
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job() -> tp.Numpy:
        ...     return flow.constant(2.5, flow.float32, shape=(3,))
        >>> job()
        array([2.5, 2.5, 2.5], dtype=float32)
    """
    return _filled("constant", value, dtype, () if shape is None else shape, name)


def constant_scalar(value: Scalar, dtype: DType | None = None, name: str | None = None) -> Blob:
    """A blob of shape ``(1,)``; arguments as for :func:`constant`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return x + flow.constant_scalar(2, flow.float32)
        >>> job(np.array([1, 2], np.float32))
        array([3., 4.], dtype=float32)
    """
    return _filled("constant_scalar", value, dtype, (1,), name)


def constant_like(
    like: Blob, value: Scalar, dtype: DType | None = None, name: str | None = None
) -> Blob:
    """A blob of the shape of ``like`` that holds one number everywhere.

    Args:
        like: a blob.
        value: the number.
        dtype: element type; None: that of ``like``.
        name: name of the operation.

    Raises:
        ArgumentError: the dtype does not hold the number.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.constant_like(x, 3, dtype=flow.int32)
        >>> job(np.zeros(2, np.float32))
        array([3, 3], dtype=int32)
    """
    chosen = like.dtype if dtype is None else dtype
    blob = _filled("constant_like", value, chosen, like.shape, name)
    blob.is_dynamic = like.is_dynamic
    return blob


def zeros(shape: Sequence[int], dtype: DType = datatype.float32, name: str | None = None) -> Blob:
    """A blob of zeros.

    Example:
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job() -> tp.Numpy:
        ...     return flow.zeros((2,), dtype=flow.int32)
        >>> job()
        array([0, 0], dtype=int32)
    """
    return _filled("zeros", 0, dtype, shape, name)


def ones(shape: Sequence[int], dtype: DType = datatype.float32, name: str | None = None) -> Blob:
    """A blob of ones; arguments as for :func:`zeros`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return x + flow.ones([2])
        >>> job(np.array([1, 2], np.float32))
        array([2., 3.], dtype=float32)
    """
    return _filled("ones", 1, dtype, shape, name)


def zeros_like(like: Blob, dtype: DType | None = None, name: str | None = None) -> Blob:
    """Zeros of the shape of ``like``; arguments as for :func:`constant_like`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.zeros_like(x)
        >>> job(np.array([1, 2], np.float32))
        array([0., 0.], dtype=float32)
    """
    return constant_like(like, 0, dtype, name)


def ones_like(like: Blob, dtype: DType | None = None, name: str | None = None) -> Blob:
    """Ones of the shape of ``like``; arguments as for :func:`constant_like`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.ones_like(x)
        >>> job(np.array([1, 2], np.float32))
        array([1., 1.], dtype=float32)
    """
    return constant_like(like, 1, dtype, name)


def range(  # noqa: A001 - the name is OneFlow's
    start: int,
    limit: int | None = None,
    delta: int = 1,
    dtype: DType = datatype.int64,
    name: str | None = None,
) -> Blob:
    """The integers from ``start`` on, up to but without ``limit``.

    Args:
        start: the first one; the limit if there is no ``limit``, and 0 is the first.
        limit: where they end.
        delta: their distance; may be negative.
        dtype: element type.
        name: name of the operation.

    Raises:
        ArgumentError: there are none, or the dtype does not hold them.

    Example:
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job() -> tp.Numpy:
        ...     return flow.range(1, 8, 3)
        >>> job()
        array([1, 4, 7])
    """
    first, end = (0, start) if limit is None else (start, limit)
    if any(type(number) is not int for number in (first, end, delta)):
        raise ArgumentTypeError(
            f"range: start, limit and delta must be ints, not {start!r}, {limit!r}, {delta!r}"
        )
    _check_computable("range", dtype)
    if delta == 0 or not builtins.range(first, end, delta):
        raise ArgumentError(f"range: there is no integer from {first} to {end} in steps of {delta}")
    numbers = builtins.range(first, end, delta)
    trace = current_trace("range")
    full = trace.full_name(name, "Range")
    for number in (numbers[0], numbers[-1]):
        try:
            fits = int(np.array(number).astype(dtype.numpy)) == number
        except OverflowError:
            fits = False
        if not fits:
            raise ArgumentError(f"{full}: {number} is no value of {dtype}")
    array = np.arange(first, end, delta, dtype=np.int64).astype(dtype.numpy)
    return trace.blob(trace.graph.constant(full, dtype.name, list(array.shape), array), full)
