"""Functions on blobs at the top of the API: ``flow.reshape``, ``flow.matmul`` and so on."""

from __future__ import annotations

import math
from collections.abc import Sequence

from flowrs import datatype
from flowrs.blob import Blob
from flowrs.datatype import dtype as DType
from flowrs.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError
from flowrs.trace import current_trace


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
    """
    datatype.check(dtype, "cast")
    if x.dtype is dtype:
        return x
    if dtype in (datatype.record, datatype.tensor_buffer, datatype.float16):
        raise DTypeError(f"cast: no computation is possible in {dtype}")
    trace = current_trace("cast")
    return trace.apply("cast", [x], {"dtype": dtype.name}, name=name, prefix="Cast")[0]


def identity(x: Blob, name: str | None = None) -> Blob:
    """The value itself under another name; nothing is copied."""
    return current_trace("identity").apply("identity", [x], name=name, prefix="Identity")[0]
