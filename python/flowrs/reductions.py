"""Reductions over axes. There is no shape ``()``: what has no axes left has shape ``(1,)``."""

from __future__ import annotations

import math
from collections.abc import Sequence

from flowrs.arithmetic import add, clip_by_value, multiply, not_equal, squared_difference, subtract
from flowrs.blob import Blob
from flowrs.errors import ArgumentError, ArgumentTypeError, DTypeError
from flowrs.trace import Attribute, current_trace
from flowrs.unary import exp, log, rsqrt, square

#: An axis, several of them, or None for all.
Axes = int | Sequence[int] | None


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
    function: str,
    op: str,
    prefix: str,
    x: Blob,
    axis: Axes,
    keepdims: bool,
    name: str | None = None,
) -> Blob:
    trace = current_trace(f"math.{function}")
    axes = axes_of(f"math.{function}", axis, len(x.shape))
    attributes: dict[str, Attribute] = {"axes": axes, "keepdims": bool(keepdims)}
    return trace.apply(op, [x], attributes, name=name, prefix=prefix)[0]


def _need_float(function: str, x: Blob) -> None:
    current_trace(f"math.{function}")
    if not x.dtype.is_floating_point:
        raise DTypeError(f"math.{function}: needs a float blob, found {x.dtype}; cast it first")


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
    return _reduce("reduce_sum", "reduce_sum", "ReduceSum", input_tensor, axis, keepdims, name)


def reduce_mean(
    input_blob: Blob, axis: Axes = None, keepdims: bool = False, name: str | None = None
) -> Blob:
    """The mean over axes: the sum times one over the count; arguments as :func:`reduce_sum`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2, 2))) -> tp.Numpy:
        ...     return flow.math.reduce_mean(x, axis=1)
        >>> job(np.array([[1, 2], [3, 4]], np.float32))
        array([1.5, 3.5], dtype=float32)
    """
    _need_float("reduce_mean", input_blob)
    total = _reduce("reduce_mean", "reduce_sum", "ReduceMean", input_blob, axis, keepdims)
    count = reduced_shape_elem_cnt(input_blob, axis)
    return multiply(total, 1.0 / count if count else float("nan"), name)


def reduce_max(x: Blob, axis: Axes = None, keepdims: bool = False, name: str | None = None) -> Blob:
    """The maximum over axes, arguments as :func:`reduce_sum`; equal maxima share the gradient.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2, 2))) -> tp.Numpy:
        ...     return flow.math.reduce_max(x, axis=1)
        >>> job(np.array([[1, 2], [3, 4]], np.float32))
        array([2., 4.], dtype=float32)
    """
    return _reduce("reduce_max", "reduce_max", "ReduceMax", x, axis, keepdims, name)


def reduce_min(
    input_tensor: Blob, axis: Axes = None, keepdims: bool = False, name: str | None = None
) -> Blob:
    """The minimum over axes, arguments as :func:`reduce_sum`; equal minima share the gradient.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2, 2))) -> tp.Numpy:
        ...     return flow.math.reduce_min(x, axis=1)
        >>> job(np.array([[1, 2], [3, 4]], np.float32))
        array([1., 3.], dtype=float32)
    """
    return _reduce("reduce_min", "reduce_min", "ReduceMin", input_tensor, axis, keepdims, name)


#: The original computes these in two stages on several devices.
two_stage_reduce_max = reduce_max
two_stage_reduce_min = reduce_min


def reduce_prod(
    input_tensor: Blob, axis: Axes = None, keepdims: bool = False, name: str | None = None
) -> Blob:
    """The product over axes, arguments as :func:`reduce_sum`.

    The gradient is that of the product where elements are 0 too.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2, 2))) -> tp.Numpy:
        ...     return flow.math.reduce_prod(x, axis=1)
        >>> job(np.array([[1, 2], [3, 4]], np.float32))
        array([ 2., 12.], dtype=float32)
    """
    return _reduce("reduce_prod", "reduce_prod", "ReduceProd", input_tensor, axis, keepdims, name)


def reduce_any(x: Blob, axis: Axes = None, keepdims: bool = False, name: str | None = None) -> Blob:
    """Whether any element is different from 0: int8, 1 or 0; axes as in :func:`reduce_sum`.

    Args:
        x: int8, as comparisons give.
        axis: the axes to reduce over; None: all.
        keepdims: keep them with extent 1.
        name: name of the operation.

    Raises:
        DTypeError: the blob is not int8.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2, 2))) -> tp.Numpy:
        ...     return flow.math.reduce_any(x > 2, axis=1)
        >>> job(np.array([[1, 2], [3, 4]], np.float32))
        array([0, 1], dtype=int8)
    """
    truth = _truth("reduce_any", x)
    return _reduce("reduce_any", "reduce_max", "ReduceAny", truth, axis, keepdims, name)


def reduce_all(x: Blob, axis: Axes = None, keepdims: bool = False, name: str | None = None) -> Blob:
    """Whether all elements are different from 0; arguments as for :func:`reduce_any`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2, 2))) -> tp.Numpy:
        ...     return flow.math.reduce_all(x > 2, axis=1)
        >>> job(np.array([[1, 2], [3, 4]], np.float32))
        array([0, 1], dtype=int8)
    """
    truth = _truth("reduce_all", x)
    return _reduce("reduce_all", "reduce_min", "ReduceAll", truth, axis, keepdims, name)


def _truth(function: str, x: Blob) -> Blob:
    current_trace(f"math.{function}")
    if x.dtype.name != "int8":
        raise DTypeError(
            f"math.{function}: needs int8, found {x.dtype}; compare it with something first"
        )
    return not_equal(x, 0)


def reduce_variance(
    input_tensor: Blob, axis: Axes = None, keepdims: bool = False, name: str | None = None
) -> Blob:
    """The mean squared distance from the mean; arguments as for :func:`reduce_sum`.

    The distances are squared, not the elements, so a mean that is large costs no digits.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((4,))) -> tp.Numpy:
        ...     return flow.math.reduce_variance(x)
        >>> job(np.array([10001, 9999, 10001, 9999], np.float32))
        array([1.], dtype=float32)
    """
    _need_float("reduce_variance", input_tensor)
    mean = reduce_mean(input_tensor, axis, keepdims=True)
    return reduce_mean(squared_difference(input_tensor, mean), axis, keepdims, name)


def reduce_std(
    input_tensor: Blob, axis: Axes = None, keepdims: bool = False, name: str | None = None
) -> Blob:
    """The root of :func:`reduce_variance`; where it is 0, the gradient is 0 too.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2, 2))) -> tp.Numpy:
        ...     return flow.math.reduce_std(x, axis=1)
        >>> job(np.array([[1, 2], [3, 4]], np.float32))
        array([0.5, 0.5], dtype=float32)
    """
    _need_float("reduce_std", input_tensor)
    return _root("reduce_std", reduce_variance(input_tensor, axis, keepdims), name)


def reduce_euclidean_norm(
    input_tensor: Blob, axis: Axes = None, keepdims: bool = False, name: str | None = None
) -> Blob:
    """The root of the sum of squares; where it is 0, the gradient is 0 too.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2, 2))) -> tp.Numpy:
        ...     return flow.math.reduce_euclidean_norm(x, axis=1)
        >>> job(np.array([[3, 4], [0, 2]], np.float32))
        array([5., 2.], dtype=float32)
    """
    _need_float("reduce_euclidean_norm", input_tensor)
    total = reduce_sum(square(input_tensor), axis, keepdims)
    return _root("reduce_euclidean_norm", total, name)


def _root(function: str, x: Blob, name: str | None) -> Blob:
    return current_trace(f"math.{function}").apply("sqrt_no_nan", [x], name=name, prefix="Sqrt")[0]


def reduce_logsumexp(
    input_tensor: Blob, axis: Axes = None, keepdims: bool = False, name: str | None = None
) -> Blob:
    """``log(sum(exp(x)))`` without overflow; arguments as for :func:`reduce_sum`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.math.reduce_logsumexp(x)
        >>> job(np.array([1e4, -1e4], np.float32))
        array([10000.], dtype=float32)
    """
    _need_float("reduce_logsumexp", input_tensor)
    trace = current_trace("math.reduce_logsumexp")
    top = reduce_max(input_tensor, axis, keepdims=True)
    shift = trace.apply("finite_or_zero", [top], prefix="Shift")[0]
    total = reduce_sum(exp(subtract(input_tensor, shift)), axis, keepdims)
    if shift.shape != total.shape:
        shift = trace.apply("reshape", [shift], {"shape": list(total.shape)}, prefix="Reshape")[0]
    return add(log(total), shift, name)


def reduced_shape_elem_cnt(input_blob: Blob, axis: Axes = None) -> int:
    """How many elements a reduction over axes makes one of: the product of their extents.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2, 3, 4))) -> None:
        ...     print(flow.math.reduced_shape_elem_cnt(x, axis=[0, 2]))
        >>> job(np.zeros((2, 3, 4), np.float32))
        8
    """
    axes = axes_of("math.reduced_shape_elem_cnt", axis, len(input_blob.shape))
    return math.prod(input_blob.shape[number] for number in axes)


def l2_normalize(
    input: Blob,  # noqa: A002 - the name is OneFlow's
    axis: Axes = None,
    epsilon: float = 1e-12,
    name: str | None = None,
) -> Blob:
    """``x / sqrt(max(sum(x²), epsilon))`` along an axis.

    Args:
        input: float32 or float64.
        axis: the axis along which vectors lie; it must be given.
        epsilon: vectors shorter than its root are divided by its root.
        name: name of the operation.

    Raises:
        ArgumentTypeError: the axis is None.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((1, 2))) -> tp.Numpy:
        ...     return flow.math.l2_normalize(x, axis=1)
        >>> job(np.array([[3, 4]], np.float32))
        array([[0.6, 0.8]], dtype=float32)
    """
    if axis is None:
        raise ArgumentTypeError("math.l2_normalize: the axis must be given")
    _need_float("l2_normalize", input)
    total = reduce_sum(square(input), axis, keepdims=True)
    return multiply(input, rsqrt(clip_by_value(total, min_value=epsilon)), name)


def argmax(
    input: Blob,  # noqa: A002 - the name is OneFlow's
    axis: int = -1,
    name: str | None = None,
) -> Blob:
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
