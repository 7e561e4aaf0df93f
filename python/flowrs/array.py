"""Functions on blobs at the top of the API: ``flow.reshape``, ``flow.matmul`` and so on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from flowrs import datatype
from flowrs.axes import axes_of, axis_of
from flowrs.blob import Blob
from flowrs.datatype import dtype as DType
from flowrs.errors import (
    ArgumentError,
    ArgumentTypeError,
    DTypeError,
    ShapeError,
    UnsupportedError,
)
from flowrs.trace import Attribute, current_trace


def reshape(x: Blob, shape: Sequence[int], name: str | None = None) -> Blob:
    """The same elements under another shape; nothing is copied.

    Args:
        x: a blob.
        shape: the sizes; at most one may be -1 and is then what is left.
        name: name of the operation.

    Raises:
        ShapeError: the number of elements would change.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2, 3))) -> tp.Numpy:
        ...     return flow.reshape(x, [3, -1])
        >>> job(np.zeros((2, 3), np.float32)).shape
        (3, 2)
    """
    if not isinstance(shape, (list, tuple)) or any(type(extent) is not int for extent in shape):
        raise ArgumentTypeError(f"reshape: shape must be a list of ints, not {shape!r}")
    wanted = list(shape)
    if wanted.count(-1) > 1 or any(extent < -1 or extent == 0 for extent in wanted):
        raise ShapeError(
            f"reshape: sizes must be positive, and at most one -1; found {tuple(shape)}"
        )
    if -1 in wanted:
        known = -math.prod(wanted)
        if math.prod(x.shape) % known != 0:
            raise ShapeError(f"reshape: cannot give {x.shape} the shape {tuple(shape)}")
        wanted[wanted.index(-1)] = math.prod(x.shape) // known
    trace = current_trace("reshape")
    return trace.apply("reshape", [x], {"shape": wanted}, name=name, prefix="Reshape")[0]


def flatten(
    input: Blob,  # noqa: A002 - the name is OneFlow's
    start_dim: int = 0,
    end_dim: int = -1,
    name: str | None = None,
) -> Blob:
    """Joins the axes from ``start_dim`` to ``end_dim``, both included, into one.

    Raises:
        ArgumentError: an axis is not there, or ``start_dim`` is negative or behind ``end_dim``.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2, 3, 4))) -> tp.Numpy:
        ...     return flow.flatten(x, 1)
        >>> job(np.zeros((2, 3, 4), np.float32)).shape
        (2, 12)
    """
    rank = len(input.shape)
    end = end_dim + rank if end_dim < 0 else end_dim
    if not 0 <= start_dim <= end < rank:
        raise ArgumentError(
            f"flatten: start_dim {start_dim} and end_dim {end_dim} are no range of axes of "
            f"{input.shape}"
        )
    joined = math.prod(input.shape[start_dim : end + 1])
    shape = [*input.shape[:start_dim], joined, *input.shape[end + 1 :]]
    trace = current_trace("flatten")
    return trace.apply("reshape", [input], {"shape": shape}, name=name, prefix="Flatten")[0]


def reshape_like(x: Blob, like: Blob, name: str | None = None) -> Blob:
    """The elements of ``x`` under the shape of ``like``; nothing is copied.

    Raises:
        ShapeError: the number of elements would change.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(
        ...     x: tp.Numpy.Placeholder((4,)), like: tp.Numpy.Placeholder((2, 2))
        ... ) -> tp.Numpy:
        ...     return flow.reshape_like(x, like)
        >>> job(np.array([1, 2, 3, 4], np.float32), np.zeros((2, 2), np.float32))
        array([[1., 2.],
               [3., 4.]], dtype=float32)
    """
    trace, attributes = current_trace("reshape_like"), {"shape": list(like.shape)}
    return trace.apply("reshape", [x], attributes, name=name, prefix="ReshapeLike")[0]


def dynamic_reshape(x: Blob, shape: Sequence[int], name: str | None = None) -> Blob:
    """:func:`reshape` under the name that the original has for shapes known late.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((4,))) -> tp.Numpy:
        ...     return flow.dynamic_reshape(x, [-1, 2])
        >>> job(np.array([1, 2, 3, 4], np.float32))
        array([[1., 2.],
               [3., 4.]], dtype=float32)
    """
    return reshape(x, shape, name)


def squeeze(
    input: Blob,  # noqa: A002 - the name is OneFlow's
    axis: Sequence[int] | None = None,
    name: str | None = None,
) -> Blob:
    """The blob without axes of extent 1; nothing is copied.

    Args:
        input: a blob.
        axis: the axes to drop; None: all that have extent 1. A blob of which no axis would be left
            keeps one.
        name: name of the operation.

    Raises:
        ArgumentError: an axis is not there, or has another extent.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((1, 3, 1))) -> tp.Numpy:
        ...     return flow.squeeze(x, [0])
        >>> job(np.zeros((1, 3, 1), np.float32)).shape
        (3, 1)
    """
    extents = input.shape
    if axis is None:
        dropped = [i for i, extent in enumerate(extents) if extent == 1]
    else:
        dropped = axes_of("squeeze", axis, len(extents))
    if any(extents[i] != 1 for i in dropped):
        raise ArgumentError(f"squeeze: not all of the axes {axis} of {extents} have extent 1")
    shape = [extent for i, extent in enumerate(extents) if i not in dropped] or [1]
    trace = current_trace("squeeze")
    return trace.apply("reshape", [input], {"shape": shape}, name=name, prefix="Squeeze")[0]


def expand_dims(input: Blob, axis: int, name: str | None = None) -> Blob:  # noqa: A002
    """The blob with a new axis of extent 1; nothing is copied.

    Args:
        input: a blob.
        axis: where the axis is in the result.
        name: name of the operation.

    Raises:
        ArgumentError: there is no such place.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2, 3))) -> tp.Numpy:
        ...     return flow.expand_dims(x, -1)
        >>> job(np.zeros((2, 3), np.float32)).shape
        (2, 3, 1)
    """
    shape = list(input.shape)
    shape.insert(axis_of("expand_dims", axis, len(shape) + 1), 1)
    trace = current_trace("expand_dims")
    return trace.apply("reshape", [input], {"shape": shape}, name=name, prefix="ExpandDims")[0]


def transpose(
    a: Blob,
    perm: Sequence[int] | None = None,
    conjugate: bool = False,
    batch_axis_non_change: bool = False,
    name: str | None = None,
) -> Blob:
    """The blob with its axes in another order.

    Args:
        a: a blob of any dtype.
        perm: for each axis of the result the axis of ``a`` that it is; must be given.
        conjugate: must be false.
        batch_axis_non_change: has no effect.
        name: name of the operation.

    Raises:
        ArgumentError: ``perm`` is missing, or no order of the axes.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2, 3))) -> tp.Numpy:
        ...     return flow.transpose(x, perm=[1, 0])
        >>> job(np.zeros((2, 3), np.float32)).shape
        (3, 2)
    """
    if conjugate:
        raise UnsupportedError("transpose: there are no complex blobs to conjugate")
    rank = len(a.shape)
    if not isinstance(perm, (list, tuple)) or len(perm) != rank:
        raise ArgumentError(
            f"transpose: perm must be a list with each axis of {a.shape}, not {perm!r}"
        )
    order = axes_of("transpose", perm, rank)
    trace = current_trace("transpose")
    return trace.apply("transpose", [a], {"perm": order}, name=name, prefix="Transpose")[0]


def concat(
    inputs: Sequence[Blob] | Blob | None = None,
    axis: int = 0,
    max_dim_size: int | None = None,
    name: str | None = None,
    values: Sequence[Blob] | Blob | None = None,
) -> Blob:
    """Blobs joined along an axis.

    Args:
        inputs: blobs of one dtype, whose shapes differ along the axis only. A single one is
            returned as it is.
        axis: the axis.
        max_dim_size: has no effect.
        name: name of the operation.
        values: the old name of ``inputs``.

    Raises:
        ArgumentError: there are no blobs, or there is no such axis.
        ShapeError: the shapes do not fit.
        DTypeError: the dtypes differ.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2, 1))) -> tp.Numpy:
        ...     return flow.concat([x, x + 1], axis=1)
        >>> job(np.zeros((2, 1), np.float32))
        array([[0., 1.],
               [0., 1.]], dtype=float32)
    """
    given = values if inputs is None else inputs
    blobs = [given] if isinstance(given, Blob) else given
    if not isinstance(blobs, (list, tuple)) or not blobs:
        raise ArgumentError(f"concat: inputs must be a list of blobs, not {given!r}")
    if not all(isinstance(blob, Blob) for blob in blobs):
        raise ArgumentTypeError(f"concat: expected a list of blobs, not {given!r}")
    number = axis_of("concat", axis, len(blobs[0].shape))
    if len(blobs) == 1:
        return blobs[0]
    trace = current_trace("concat")
    return trace.apply("concat", blobs, {"axis": number}, name=name, prefix="Concat")[0]


def stack(inputs: Sequence[Blob] | Blob, axis: int = 0, name: str | None = None) -> Blob:
    """Blobs of one shape joined along a new axis.

    Args:
        inputs: blobs of one shape and dtype.
        axis: where the new axis is in the result.
        name: name of the operation.

    Raises:
        ArgumentError: there are no blobs, or there is no such place.
        ShapeError: the shapes differ.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.stack([x, x + 1], axis=1)
        >>> job(np.zeros(2, np.float32))
        array([[0., 1.],
               [0., 1.]], dtype=float32)
    """
    blobs = [inputs] if isinstance(inputs, Blob) else list(inputs)
    if not blobs:
        raise ArgumentError("stack: there must be at least one blob")
    if not all(isinstance(blob, Blob) for blob in blobs):
        raise ArgumentTypeError(f"stack: expected a list of blobs, not {inputs!r}")
    if any(blob.shape != blobs[0].shape for blob in blobs):
        shapes = ", ".join(str(blob.shape) for blob in blobs)
        raise ShapeError(f"stack: all shapes must be the same, found {shapes}")
    number = axis_of("stack", axis, len(blobs[0].shape) + 1)
    if len(blobs) == 1:
        return expand_dims(blobs[0], number, name=name)
    return concat([expand_dims(blob, number) for blob in blobs], number, name=name)


def _broadcast(function: str, x: Blob, shape: Sequence[int], name: str | None, prefix: str) -> Blob:
    trace = current_trace(function)
    return trace.apply("broadcast_to", [x], {"shape": list(shape)}, name=name, prefix=prefix)[0]


def expand(x: Blob, expand_size: Sequence[int], name: str | None = None) -> Blob:
    """The blob repeated along axes of extent 1, and along new leading axes.

    Args:
        x: a blob of any dtype.
        expand_size: extents of the result; -1: that of ``x``.
        name: name of the operation.

    Raises:
        ArgumentError: an extent is missing, or -1 where ``x`` has no axis.
        ShapeError: an axis of another extent would be repeated.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2, 1))) -> tp.Numpy:
        ...     return flow.expand(x, [3, -1, 4])
        >>> job(np.zeros((2, 1), np.float32)).shape
        (3, 2, 4)
    """
    if not isinstance(expand_size, (list, tuple)) or any(type(n) is not int for n in expand_size):
        raise ArgumentTypeError(f"expand: expand_size must be a list of ints, not {expand_size!r}")
    missing = len(expand_size) - len(x.shape)
    if missing < 0 or any(n < 0 and (n != -1 or i < missing) for i, n in enumerate(expand_size)):
        raise ArgumentError(f"expand: {tuple(expand_size)} gives no extents for {x.shape}")
    own = [1] * missing + list(x.shape)
    shape = [mine if n == -1 else n for n, mine in zip(expand_size, own, strict=True)]
    return _broadcast("expand", x, shape, name, "Expand")


def broadcast_like(
    x: Blob, like: Blob, broadcast_axes: Sequence[int] | None = None, name: str | None = None
) -> Blob:
    """The blob repeated to the shape of another.

    Args:
        x: a blob of any dtype.
        like: a blob of the shape wanted.
        broadcast_axes: the axes of ``like`` that ``x`` does not have; None: the leading ones.
        name: name of the operation.

    Raises:
        ArgumentError: there is no such axis.
        ShapeError: the shapes do not fit.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,)), y: tp.Numpy.Placeholder((2, 3))) -> tp.Numpy:
        ...     return flow.broadcast_like(x, y, broadcast_axes=[1])
        >>> job(np.array([1, 2], np.float32), np.zeros((2, 3), np.float32))
        array([[1., 1., 1.],
               [2., 2., 2.]], dtype=float32)
    """
    rank = len(like.shape)
    if broadcast_axes and len(x.shape) < rank:
        axes = axes_of("broadcast_like", broadcast_axes, rank)
        if len(x.shape) + len(axes) != rank:
            raise ShapeError(
                f"broadcast_like: {x.shape} with new axes {axes} has not the rank of {like.shape}"
            )
        own = iter(x.shape)
        x = reshape(x, [1 if axis in axes else next(own) for axis in range(rank)])
    return _broadcast("broadcast_like", x, like.shape, name, "BroadcastLike")


def broadcast_to_compatible_with(
    x: Blob, compatible: Sequence[Blob], name: str | None = None
) -> Blob:
    """The blob repeated to the shape that it and others have when they are broadcast together.

    Args:
        x: a blob of any dtype.
        compatible: other blobs.
        name: name of the operation.

    Raises:
        ShapeError: the shapes cannot be broadcast together.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2, 1)), y: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.math.broadcast_to_compatible_with(x, [y])
        >>> job(np.zeros((2, 1), np.float32), np.zeros(3, np.float32)).shape
        (2, 3)
    """
    function = "math.broadcast_to_compatible_with"
    if not isinstance(compatible, (list, tuple)):
        raise ArgumentTypeError(f"{function}: expected a list of blobs, not {compatible!r}")
    shapes = [x.shape, *(blob.shape for blob in compatible)]
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        text = ", ".join(map(str, shapes))
        raise ShapeError(f"{function}: {text} cannot be broadcast together") from None
    return _broadcast(function, x, shape, name, "BroadcastToCompatibleWith")


def matmul(
    a: Blob,
    b: Blob,
    transpose_a: bool = False,
    transpose_b: bool = False,
    alpha: float = 1.0,
    name: str | None = None,
) -> Blob:
    """``alpha * op(a) * op(b)``, where ``op`` transposes the last two axes if asked to.

    Args:
        a: rank 2 or more.
        b: of the same rank and dtype, with equal leading axes; or a matrix for an ``a`` of higher
            rank, which is then multiplied with each matrix of ``a``.
        transpose_a: transpose the matrices of ``a``; not where only ``a`` has leading axes.
        transpose_b: transpose the matrices of ``b``.
        alpha: factor of the product.
        name: name of the operation.

    Raises:
        ShapeError: the shapes do not fit.
        DTypeError: the dtypes differ or are no floats.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(a: tp.Numpy.Placeholder((2, 3)), b: tp.Numpy.Placeholder((2, 3))) -> tp.Numpy:
        ...     return flow.matmul(a, b, transpose_b=True)
        >>> job(np.ones((2, 3), np.float32), np.ones((2, 3), np.float32))
        array([[3., 3.],
               [3., 3.]], dtype=float32)
    """
    trace = current_trace("matmul")
    if len(a.shape) < 2 or len(b.shape) < 2:
        raise ShapeError(f"matmul: both must have rank 2 or more, found {a.shape} and {b.shape}")
    shape = a.shape
    stacked = len(a.shape) > len(b.shape)
    if stacked:
        if len(b.shape) != 2 or transpose_a:
            raise ShapeError(
                f"matmul: {a.shape} x {b.shape}: where only a has leading axes, b must be a "
                "matrix and a is not transposed"
            )
        a = reshape(a, [-1, shape[-1]])
    attributes = {
        "transpose_a": bool(transpose_a),
        "transpose_b": bool(transpose_b),
        "alpha": float(alpha),
    }
    product = trace.apply("matmul", [a, b], attributes, name=name, prefix="Matmul")[0]
    return reshape(product, [*shape[:-1], product.shape[-1]]) if stacked else product


def cast(x: Blob, dtype: DType, name: str | None = None) -> Blob:
    """The elements converted to another dtype; floats are cut towards zero for integers.

    A cast to the dtype that ``x`` has returns ``x``.

    Raises:
        DTypeError: ``dtype`` is none that can be computed with.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.cast(x, flow.int32)
        >>> job(np.array([1.7, -1.7], np.float32))
        array([ 1, -1], dtype=int32)
    """
    datatype.check(dtype, "cast")
    if x.dtype is dtype:
        return x
    if dtype in (datatype.record, datatype.tensor_buffer, datatype.float16):
        raise DTypeError(f"cast: no computation is possible in {dtype}")
    trace = current_trace("cast")
    return trace.apply("cast", [x], {"dtype": dtype.name}, name=name, prefix="Cast")[0]


def elem_cnt(inputs: Blob, dtype: DType | None = None, name: str | None = None) -> Blob:
    """The number of elements of a blob, as a blob of shape ``(1,)``; int32 if no dtype is given.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2, 3))) -> tp.Numpy:
        ...     return flow.elem_cnt(x)
        >>> job(np.zeros((2, 3), np.float32))
        array([6], dtype=int32)
    """
    chosen = datatype.int32 if dtype is None else datatype.check(dtype, "elem_cnt")
    return current_trace("elem_cnt").constant(math.prod(inputs.shape), chosen, (1,), name)


def assign(ref: Blob, value: Blob, dtype: DType | None = None, name: str | None = None) -> None:
    """Sets a variable at each call of the job.

    Whatever reads the variable in the same call sees the value that it had before.

    Args:
        ref: a variable, from :func:`flowrs.get_variable`.
        value: what it becomes, of the same shape and dtype.
        dtype: must be None or that of the variable.
        name: name of the operation.

    Raises:
        GraphError: ``ref`` is no variable.
        ShapeError: the shapes or dtypes differ.

    Example:
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job() -> tp.Numpy:
        ...     count = flow.get_variable("count", (1,), initializer=flow.zeros_initializer())
        ...     flow.assign(count, count + 1)
        ...     return count
        >>> job(), job()
        (array([0.], dtype=float32), array([1.], dtype=float32))
    """
    trace = current_trace("assign")
    if dtype is not None and dtype is not ref.dtype:
        raise DTypeError(f"assign: {ref.op_name} is {ref.dtype} and cannot become {dtype}")
    # A copy: the value may be a variable itself, which another update changes first.
    attributes: dict[str, Attribute] = {"shape": list(value.shape)}
    moment = trace.apply("broadcast_to", [value], attributes, prefix="AssignedValue")[0]
    trace.apply("assign", [ref, moment], name=name, prefix="Assign")
