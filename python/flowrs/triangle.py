"""Triangles and diagonals of matrices: ``flow.math.tril`` and ``flow.diag``."""

from __future__ import annotations

from flowrs.blob import Blob, Scalar
from flowrs.errors import ArgumentTypeError, ShapeError
from flowrs.trace import Attribute, current_trace


def tril(x: Blob, diagonal: int = 0, fill_value: Scalar = 0, name: str | None = None) -> Blob:
    """The elements with ``column <= row + diagonal`` of the matrices in the last two axes.

    Args:
        x: a blob of rank 2 or more, of any dtype.
        diagonal: 0: up to the main diagonal; greater: further to the right.
        fill_value: what stands in place of the other elements.
        name: name of the operation.

    Raises:
        ShapeError: the rank is below 2.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2, 2))) -> tp.Numpy:
        ...     return flow.math.tril(x, fill_value=-1)
        >>> job(np.ones((2, 2), np.float32))
        array([[ 1., -1.],
               [ 1.,  1.]], dtype=float32)
    """
    if type(diagonal) is not int:
        raise ArgumentTypeError(f"math.tril: diagonal must be an int, not {diagonal!r}")
    attributes: dict[str, Attribute] = {"diagonal": diagonal, "fill_value": float(fill_value)}
    return current_trace("math.tril").apply("tril", [x], attributes, name=name, prefix="Tril")[0]


def diag(input: Blob, diagonal: int = 0, name: str | None = None) -> Blob:  # noqa: A002
    """The diagonal of a matrix; or of a vector, the square matrix that has it as diagonal.

    Args:
        input: a blob of rank 1 or 2, of any dtype.
        diagonal: 0: the main one; greater: that many further to the right; less: further down.
        name: name of the operation.

    Raises:
        ShapeError: the rank is another one, or the matrix has no such diagonal.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.diag(x, diagonal=1)
        >>> job(np.array([1, 2], np.float32))
        array([[0., 1., 0.],
               [0., 0., 2.],
               [0., 0., 0.]], dtype=float32)
    """
    if type(diagonal) is not int:
        raise ArgumentTypeError(f"diag: diagonal must be an int, not {diagonal!r}")
    trace = current_trace("diag")
    attributes: dict[str, Attribute] = {"offset": diagonal}
    if len(input.shape) == 1:
        size = input.shape[0] + abs(diagonal)
        attributes["shape"] = [size, size]
        return trace.apply("diagonal_matrix", [input], attributes, name=name, prefix="Diag")[0]
    if len(input.shape) != 2 or not -input.shape[0] < diagonal < input.shape[1]:
        raise ShapeError(f"diag: {input.shape} has no diagonal {diagonal}")
    return trace.apply("diagonal", [input], attributes, name=name, prefix="Diag")[0]
