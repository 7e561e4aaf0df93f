"""Functions of two blobs, element by element, with NumPy's broadcasting; and limits.

Where two arguments are equal, they share the gradient of their maximum or minimum evenly.
"""

from __future__ import annotations

from collections.abc import Sequence

from flowrs.blob import Blob, Scalar
from flowrs.errors import ArgumentError, ArgumentTypeError
from flowrs.trace import current_trace
from flowrs.unary import square


def _binary(
    function: str, op: str, prefix: str, x: Blob | Scalar, y: Blob | Scalar, name: str | None
) -> Blob:
    """An operation of two blobs, one of which may be a Python number."""
    trace = current_trace(f"math.{function}")
    if isinstance(x, Blob):
        a, b = x, _operand(function, y, like=x)
    elif isinstance(y, Blob):
        a, b = _operand(function, x, like=y), y
    else:
        raise ArgumentTypeError(
            f"math.{function}: one of the two must be a blob, found {type(x).__name__} "
            f"and {type(y).__name__}"
        )
    return trace.apply(op, [a, b], name=name, prefix=prefix)[0]


def _operand(function: str, value: Blob | Scalar, like: Blob) -> Blob:
    if isinstance(value, Blob):
        return value
    _number(function, value, like)
    return like.trace.constant(value, like.dtype, (1,))


def _number(function: str, value: object, like: Blob) -> None:
    """Raises an error where a value is no number of a blob's dtype."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ArgumentTypeError(
            f"math.{function}: expected a blob, an int or a float, found {type(value).__name__}"
        )
    whole = isinstance(value, int) or value.is_integer()
    if not like.dtype.is_floating_point and not whole:
        raise ArgumentError(
            f"math.{function}: {value} is no {like.dtype}; cast the blob to a float first"
        )


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
    return _binary("add", "add", "Add", x, y, name)


def subtract(x: Blob | Scalar, y: Blob | Scalar, name: str | None = None) -> Blob:
    """``x - y`` with NumPy's broadcasting; arguments as for :func:`add`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,)), y: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.math.subtract(x, y)
        >>> job(np.array([1, 5], np.float32), np.array([3, 2], np.float32))
        array([-2.,  3.], dtype=float32)
    """
    return _binary("subtract", "subtract", "Subtract", x, y, name)


def multiply(x: Blob | Scalar, y: Blob | Scalar, name: str | None = None) -> Blob:
    """``x * y`` with NumPy's broadcasting; arguments as for :func:`add`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,)), y: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.math.multiply(x, y)
        >>> job(np.array([1, 5], np.float32), np.array([3, 2], np.float32))
        array([ 3., 10.], dtype=float32)
    """
    return _binary("multiply", "multiply", "Multiply", x, y, name)


def divide(x: Blob | Scalar, y: Blob | Scalar, name: str | None = None) -> Blob:
    """``x / y`` with NumPy's broadcasting; arguments as for :func:`add`.

    As in the original, dividing a float blob by the Python number 0 gives 0, and a Python number
    divided by a float blob gives 0 where the blob is 0. Integers are divided towards zero, and
    give 0 where ``y`` is 0.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(
        ...     x: tp.Numpy.Placeholder((2,), flow.int32),
        ...     y: tp.Numpy.Placeholder((2,), flow.int32),
        ... ) -> tp.Numpy:
        ...     return flow.math.divide(x, y)
        >>> job(np.array([-7, 7], np.int32), np.array([2, 2], np.int32))
        array([-3,  3], dtype=int32)
    """
    if isinstance(x, Blob) and not isinstance(y, Blob) and x.dtype.is_floating_point:
        _number("divide", y, x)
        return multiply(x, 1.0 / y if y != 0 else 0.0, name)
    if not isinstance(x, Blob) and isinstance(y, Blob) and y.dtype.is_floating_point:
        _number("divide", x, y)
        trace = current_trace("math.divide")
        reciprocal = trace.apply("reciprocal_no_nan", [y], prefix="ReciprocalNoNan")[0]
        return multiply(x, reciprocal, name)
    return _binary("divide", "divide", "Divide", x, y, name)


def mod(x: Blob | Scalar, y: Blob | Scalar, name: str | None = None) -> Blob:
    """What :func:`floordiv` leaves: it has the sign of ``y``. Integers give 0 where ``y`` is 0.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,), dtype=flow.int32)) -> tp.Numpy:
        ...     return flow.math.mod(x, 3)
        >>> job(np.array([-1, 3, 4], np.int32))
        array([2, 0, 1], dtype=int32)
    """
    return _binary("mod", "floor_mod", "Mod", x, y, name)


def floordiv(x: Blob | Scalar, y: Blob | Scalar, name: str | None = None) -> Blob:
    """``floor(x / y)``; integers give 0 where ``y`` is 0. The gradient is 0.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,)), y: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.math.floordiv(x, y)
        >>> job(np.array([-7, 7], np.float32), np.array([2, 2], np.float32))
        array([-4.,  3.], dtype=float32)
    """
    return _binary("floordiv", "floor_divide", "FloorDiv", x, y, name)


def maximum(x: Blob | Scalar, y: Blob | Scalar, name: str | None = None) -> Blob:
    """The greater of both, NaN where either is; arguments as for :func:`add`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,)), y: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.math.maximum(x, y)
        >>> job(np.array([1, 5], np.float32), np.array([3, 2], np.float32))
        array([3., 5.], dtype=float32)
    """
    return _binary("maximum", "maximum", "Maximum", x, y, name)


def minimum(x: Blob | Scalar, y: Blob | Scalar, name: str | None = None) -> Blob:
    """The lesser of both, NaN where either is; arguments as for :func:`add`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,)), y: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.math.minimum(x, y)
        >>> job(np.array([1, 5], np.float32), np.array([3, 2], np.float32))
        array([1., 2.], dtype=float32)
    """
    return _binary("minimum", "minimum", "Minimum", x, y, name)


def squared_difference(x: Blob | Scalar, y: Blob | Scalar, name: str | None = None) -> Blob:
    """``(x - y)²``; arguments as for :func:`add`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,)), y: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.math.squared_difference(x, y)
        >>> job(np.array([1, 5], np.float32), np.array([3, 2], np.float32))
        array([4., 9.], dtype=float32)
    """
    return _binary("squared_difference", "squared_difference", "SquaredDifference", x, y, name)


def pow(  # noqa: A001 - the name is OneFlow's
    x: Blob, y: Blob | Scalar, name: str | None = None
) -> Blob:
    """``x`` to the power of ``y``.

    Where ``x`` is not above 0, no gradient flows to ``y``.

    Args:
        x: float32 or float64.
        y: a blob of the same dtype, or a Python number.
        name: name of the operation.

    Raises:
        DTypeError: the dtypes differ or are no floats.
        ShapeError: the shapes cannot be broadcast together.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.math.pow(x, 3)
        >>> job(np.array([2, -1], np.float32))
        array([ 8., -1.], dtype=float32)
    """
    if isinstance(y, Blob) or not isinstance(x, Blob):
        return _binary("pow", "pow", "Pow", x, y, name)
    _number("pow", y, x)
    if y == 2:
        return square(x, name)
    trace = current_trace("math.pow")
    return trace.apply("scalar_pow", [x], {"exponent": float(y)}, name=name, prefix="Pow")[0]


def atan2(x: Blob | Scalar, y: Blob | Scalar, name: str | None = None) -> Blob:
    """The angle of the point ``(y, x)``, from -pi to pi: ``x`` is the ordinate.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,)), y: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.math.atan2(x, y)
        >>> job(np.array([1, -1], np.float32), np.array([1, 0], np.float32)).round(4)
        array([ 0.7854, -1.5708], dtype=float32)
    """
    return _binary("atan2", "atan2", "Atan2", x, y, name)


def xdivy(x: Blob | Scalar, y: Blob | Scalar, name: str | None = None) -> Blob:
    """``x / y``, and 0 where ``x`` is 0, whatever ``y`` is; so is the gradient if both are.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,)), y: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.math.xdivy(x, y)
        >>> job(np.array([0, 1], np.float32), np.array([0, 2], np.float32))
        array([0. , 0.5], dtype=float32)
    """
    return _binary("xdivy", "xdivy", "Xdivy", x, y, name)


def xlogy(x: Blob | Scalar, y: Blob | Scalar, name: str | None = None) -> Blob:
    """``x * log(y)``, and 0 where ``x`` is 0, whatever ``y``; so is the gradient if both are.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,)), y: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.math.xlogy(x, y)
        >>> job(np.array([0, 1], np.float32), np.array([0, 2], np.float32)).round(4)
        array([0.    , 0.6931], dtype=float32)
    """
    return _binary("xlogy", "xlogy", "Xlogy", x, y, name)


def equal(x: Blob | Scalar, y: Blob | Scalar, name: str | None = None) -> Blob:
    """Whether ``x == y``: int8, 1 or 0; arguments as for :func:`add`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.math.equal(x, 1)
        >>> job(np.array([1, 2, np.nan], np.float32))
        array([1, 0, 0], dtype=int8)
    """
    return _binary("equal", "equal", "Equal", x, y, name)


def not_equal(x: Blob | Scalar, y: Blob | Scalar, name: str | None = None) -> Blob:
    """Whether ``x != y``: int8, 1 or 0; arguments as for :func:`add`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,)), y: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.math.not_equal(x, y)
        >>> job(np.array([1, 2, 3], np.float32), np.array([2, 2, 2], np.float32))
        array([1, 0, 1], dtype=int8)
    """
    return _binary("not_equal", "not_equal", "NotEqual", x, y, name)


def less(x: Blob | Scalar, y: Blob | Scalar, name: str | None = None) -> Blob:
    """Whether ``x < y``: int8, 1 or 0; arguments as for :func:`add`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,)), y: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.math.less(x, y)
        >>> job(np.array([1, 2, 3], np.float32), np.array([2, 2, 2], np.float32))
        array([1, 0, 0], dtype=int8)
    """
    return _binary("less", "less", "Less", x, y, name)


def less_equal(x: Blob | Scalar, y: Blob | Scalar, name: str | None = None) -> Blob:
    """Whether ``x <= y``: int8, 1 or 0; arguments as for :func:`add`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,)), y: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.math.less_equal(x, y)
        >>> job(np.array([1, 2, 3], np.float32), np.array([2, 2, 2], np.float32))
        array([1, 1, 0], dtype=int8)
    """
    return _binary("less_equal", "less_equal", "LessEqual", x, y, name)


def greater(x: Blob | Scalar, y: Blob | Scalar, name: str | None = None) -> Blob:
    """Whether ``x > y``: int8, 1 or 0; arguments as for :func:`add`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,)), y: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.math.greater(x, y)
        >>> job(np.array([1, 2, 3], np.float32), np.array([2, 2, 2], np.float32))
        array([0, 0, 1], dtype=int8)
    """
    return _binary("greater", "greater", "Greater", x, y, name)


def greater_equal(x: Blob | Scalar, y: Blob | Scalar, name: str | None = None) -> Blob:
    """Whether ``x >= y``: int8, 1 or 0; arguments as for :func:`add`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,)), y: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.math.greater_equal(x, y)
        >>> job(np.array([1, 2, 3], np.float32), np.array([2, 2, 2], np.float32))
        array([0, 1, 1], dtype=int8)
    """
    return _binary("greater_equal", "greater_equal", "GreaterEqual", x, y, name)


def logical_and(x: Blob | Scalar, y: Blob | Scalar, name: str | None = None) -> Blob:
    """Whether both are different from 0: int8, 1 or 0; arguments as for :func:`add`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,)), y: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.math.logical_and(x, y)
        >>> job(np.array([0, 1, 2], np.float32), np.array([1, 0, 3], np.float32))
        array([0, 0, 1], dtype=int8)
    """
    return _binary("logical_and", "logical_and", "LogicalAnd", x, y, name)


def add_n(inputs: Sequence[Blob], name: str | None = None) -> Blob:
    """The sum of all blobs of a list, in one pass over memory.

    Args:
        inputs: one or more blobs of one shape and dtype.
        name: name of the operation.

    Returns:
        The sum; the blob itself where it is the only one.

    Raises:
        ArgumentError: the list is empty.
        ShapeError: the shapes or dtypes differ.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.math.add_n([x, x, x])
        >>> job(np.array([1, 2], np.float32))
        array([3., 6.], dtype=float32)
    """
    blobs = [inputs] if isinstance(inputs, Blob) else list(inputs)
    if not blobs:
        raise ArgumentError("math.add_n: the list is empty")
    if len(blobs) == 1:
        return blobs[0]
    return current_trace("math.add_n").apply("add_n", blobs, name=name, prefix="AddN")[0]


def clip_by_value(
    values: Blob,
    min_value: Scalar | None = None,
    max_value: Scalar | None = None,
    name: str | None = None,
) -> Blob:
    """``values`` within limits; the gradient flows where they are within, limits included.

    Args:
        values: a blob of any numeric dtype.
        min_value: what is less becomes this; None: no limit.
        max_value: what is greater becomes this, even ``min_value``; None: no limit.
        name: name of the operation.

    Raises:
        ArgumentError: there is no limit at all, or a limit is no value of the dtype.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.clip_by_value(x, -1, 1)
        >>> job(np.array([-3, 0.5, 2], np.float32))
        array([-1. ,  0.5,  1. ], dtype=float32)
    """
    limits = {
        key: _limit(key, value, values)
        for key, value in (("min", min_value), ("max", max_value))
        if value is not None
    }
    if not limits:
        raise ArgumentError("clip_by_value: give min_value, max_value or both")
    op = "clip" if len(limits) == 2 else f"clip_{next(iter(limits))}"
    trace = current_trace("clip_by_value")
    return trace.apply(op, [values], limits, name=name, prefix="ClipByValue")[0]


def _limit(key: str, value: Scalar, values: Blob) -> Scalar:
    _number("clip_by_value", value, values)
    if values.dtype.is_floating_point:
        return float(value)
    # The kernel's number wraps around where the dtype does not hold it.
    whole, least, greatest = int(value), *_ends(values)
    if not least <= whole <= greatest:
        raise ArgumentError(f"clip_by_value: {key}_value {value} is no value of {values.dtype}")
    return whole


def _ends(values: Blob) -> tuple[int, int]:
    bits = 8 * values.dtype.bytes - values.dtype.is_signed
    return (-(1 << bits) if values.dtype.is_signed else 0), (1 << bits) - 1


def polyval(coeffs: Sequence[Blob | Scalar], x: Blob, name: str | None = None) -> Blob:
    """The polynomial with these coefficients, the highest power first, at ``x``.

    Args:
        coeffs: numbers, or blobs that can be broadcast to ``x``; none: the result is 0.
        x: a blob.
        name: name of the last operation.

    Raises:
        ArgumentTypeError: ``coeffs`` is no list.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.math.polyval([1, 0, -1], x)
        >>> job(np.array([2, 3], np.float32))
        array([3., 8.], dtype=float32)
    """
    if not isinstance(coeffs, (list, tuple)):
        raise ArgumentTypeError(f"math.polyval: coeffs must be a list, not {type(coeffs).__name__}")
    trace = current_trace("math.polyval")
    result = trace.constant(0, x.dtype, x.shape)
    for position, coefficient in enumerate(coeffs):
        last = position == len(coeffs) - 1
        if position:
            result = multiply(result, x)
        result = add(result, coefficient, name if last else None)
    return result
