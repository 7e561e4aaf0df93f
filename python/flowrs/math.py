"""``flow.math``: arithmetic, comparisons and reductions on blobs."""

from __future__ import annotations

from collections.abc import Sequence

from flowrs.array import broadcast_to_compatible_with
from flowrs.blob import Blob, Scalar
from flowrs.errors import ArgumentError, ArgumentTypeError
from flowrs.indexing import (
    unsorted_batch_segment_sum,
    unsorted_segment_sum,
    unsorted_segment_sum_like,
)
from flowrs.sorting import in_top_k, top_k
from flowrs.trace import Attribute, current_trace
from flowrs.triangle import tril

#: An axis, several of them, or None for all.
Axes = int | Sequence[int] | None


def _binary(op: str, prefix: str, x: Blob | Scalar, y: Blob | Scalar, name: str | None) -> Blob:
    """An operation of two blobs, one of which may be a Python number."""
    trace = current_trace(f"math.{op}")
    if isinstance(x, Blob):
        a, b = x, _operand(op, y, like=x)
    elif isinstance(y, Blob):
        a, b = _operand(op, x, like=y), y
    else:
        raise ArgumentTypeError(
            f"math.{op}: one of the two must be a blob, found {type(x).__name__} "
            f"and {type(y).__name__}"
        )
    return trace.apply(op, [a, b], name=name, prefix=prefix)[0]


def _operand(op: str, value: Blob | Scalar, like: Blob) -> Blob:
    if isinstance(value, Blob):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ArgumentTypeError(
            f"math.{op}: expected a blob, an int or a float, found {type(value).__name__}"
        )
    if not like.dtype.is_floating_point and value != int(value):
        raise ArgumentError(
            f"math.{op}: {value} is no {like.dtype}; cast the blob to a float first"
        )
    return like.trace.constant(value, like.dtype, (1,))


def add(x: Blob | Scalar, y: Blob | Scalar, name: str | None = None) -> Blob:
    """``x + y`` with NumPy's broadcasting.

    Args:
        x: a blob, or a Python number.
        y: a blob of the same dtype, or a Python number, which is cast to the blob's dtype.
        name: name of the operation.

    Raises:
        ShapeError: the shapes cannot be broadcast together.
        DTypeError: the dtypes differ.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.math.add(x, 1)
        >>> job(np.array([1, 2], np.float32))
        array([2., 3.], dtype=float32)
    """
    return _binary("add", "Add", x, y, name)


def subtract(x: Blob | Scalar, y: Blob | Scalar, name: str | None = None) -> Blob:
    """``x - y`` with NumPy's broadcasting; arguments as for :func:`add`."""
    return _binary("subtract", "Subtract", x, y, name)


def multiply(x: Blob | Scalar, y: Blob | Scalar, name: str | None = None) -> Blob:
    """``x * y`` with NumPy's broadcasting; arguments as for :func:`add`."""
    return _binary("multiply", "Multiply", x, y, name)


def divide(x: Blob | Scalar, y: Blob | Scalar, name: str | None = None) -> Blob:
    """``x / y`` with NumPy's broadcasting; arguments as for :func:`add`.

    As in the original, dividing a float blob by the Python number 0 gives 0, and a Python number
    divided by a float blob gives 0 where the blob is 0. Integers are divided towards zero.
    """
    if isinstance(x, Blob) and not isinstance(y, Blob) and x.dtype.is_floating_point:
        return multiply(x, 1.0 / y if y != 0 else 0.0, name)
    if not isinstance(x, Blob) and isinstance(y, Blob) and y.dtype.is_floating_point:
        trace = current_trace("math.divide")
        reciprocal = trace.apply("reciprocal_no_nan", [y], prefix="Reciprocal_no_nan")[0]
        return multiply(x, reciprocal, name)
    return _binary("divide", "Divide", x, y, name)


def relu(x: Blob, name: str | None = None) -> Blob:
    """``max(x, 0)``; the gradient is passed where the result is positive.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.math.relu(x)
        >>> job(np.array([-1, 0, 2], np.float32))
        array([0., 0., 2.], dtype=float32)
    """
    return current_trace("nn.relu").apply("relu", [x], name=name, prefix="Relu")[0]


def axes_of(function: str, axis: Axes, rank: int) -> list[int]:
    """The axes that ``axis`` means, none of them negative, in ascending order.

    Raises:
        ArgumentError: an axis is not there, or is named twice.
    """
    if axis is None:
        return list(range(rank))
    if isinstance(axis, bool) or not isinstance(axis, (int, list, tuple)):
        raise ArgumentTypeError(
            f"{function}: axis must be an int, a list of ints or None, not {axis!r}"
        )
    axes = [axis] if isinstance(axis, int) else list(axis)
    for number in axes:
        if type(number) is not int or not -rank <= number < rank:
            raise ArgumentError(
                f"{function}: axis {number!r} is out of range for {rank} dimensions"
            )
    normal = sorted(number % rank for number in axes)
    if len(set(normal)) != len(normal):
        raise ArgumentError(f"{function}: axis {axis!r} names an axis twice")
    return normal


def _reduce(
    op: str, prefix: str, x: Blob, axis: Axes, keepdims: bool, name: str | None
) -> tuple[Blob, list[int]]:
    trace = current_trace(f"math.{op}")
    axes = axes_of(f"math.{op}", axis, len(x.shape))
    attributes: dict[str, Attribute] = {"axes": axes, "keepdims": bool(keepdims)}
    return trace.apply(op, [x], attributes, name=name, prefix=prefix)[0], axes


def reduce_sum(
    input_tensor: Blob, axis: Axes = None, keepdims: bool = False, name: str | None = None
) -> Blob:
    """The sum over axes.

    Args:
        input_tensor: a blob of any numeric dtype.
        axis: the axes to sum over; None: all.
        keepdims: keep them with extent 1. Otherwise they are dropped, and a result without axes
            has shape ``(1,)``.
        name: name of the operation.

    Raises:
        ArgumentError: an axis is not there.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2, 3))) -> tp.Numpy:
        ...     return flow.math.reduce_sum(x, axis=1)
        >>> job(np.ones((2, 3), np.float32))
        array([3., 3.], dtype=float32)
    """
    return _reduce("reduce_sum", "ReduceSum", input_tensor, axis, keepdims, name)[0]


def reduce_mean(
    input_blob: Blob, axis: Axes = None, keepdims: bool = False, name: str | None = None
) -> Blob:
    """The mean over axes: the sum times one over the count; arguments as :func:`reduce_sum`."""
    if not input_blob.dtype.is_floating_point:
        raise ArgumentTypeError(
            f"math.reduce_mean: needs a float blob, found {input_blob.dtype}; cast it first"
        )
    total, axes = _reduce("reduce_sum", "ReduceMean", input_blob, axis, keepdims, None)
    count = 1
    for number in axes:
        count *= input_blob.shape[number]
    return multiply(total, 1.0 / count if count else float("nan"), name)


def reduce_max(x: Blob, axis: Axes = None, keepdims: bool = False, name: str | None = None) -> Blob:
    """The maximum over axes, arguments as :func:`reduce_sum`; equal maxima share the gradient."""
    return _reduce("reduce_max", "ReduceMax", x, axis, keepdims, name)[0]


def argmax(input: Blob, axis: int = -1, name: str | None = None) -> Blob:  # noqa: A002
    """The int32 position of the first maximum along an axis, which is dropped.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2, 3))) -> tp.Numpy:
        ...     return flow.math.argmax(x)
        >>> job(np.array([[1, 3, 2], [5, 4, 5]], np.float32))
        array([1, 0], dtype=int32)
    """
    number = axes_of("math.argmax", int(axis), len(input.shape))[0]
    trace = current_trace("math.argmax")
    return trace.apply("argmax", [input], {"axis": number}, name=name, prefix="ArgMax")[0]
