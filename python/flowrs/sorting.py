"""Order along an axis: ``flow.sort``, ``flow.argsort``, ``flow.math.top_k``, ``flow.in_top_k``."""

from __future__ import annotations

from flowrs.axes import axis_of
from flowrs.blob import Blob
from flowrs.errors import ArgumentError
from flowrs.trace import Attribute, current_trace


def _order(function: str, x: Blob, axis: int, direction: str) -> dict[str, Attribute]:
    if direction not in ("ASCENDING", "DESCENDING"):
        raise ArgumentError(
            f'{function}: direction must be "ASCENDING" or "DESCENDING", not {direction!r}'
        )
    number = axis_of(function, axis, len(x.shape))
    return {"axis": number, "descending": direction == "DESCENDING"}


def sort(
    input: Blob,  # noqa: A002 - the name is OneFlow's
    axis: int = -1,
    direction: str = "ASCENDING",
    name: str | None = None,
) -> Blob:
    """The elements in order along an axis; NaN counts as greater than any number.

    Args:
        input: a blob of any dtype.
        axis: the axis.
        direction: ``"ASCENDING"`` or ``"DESCENDING"``.
        name: name of the operation.

    Raises:
        ArgumentError: the axis or the direction is not there.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.sort(x, direction="DESCENDING")
        >>> job(np.array([2, 3, 1], np.float32))
        array([3., 2., 1.], dtype=float32)
    """
    attributes = _order("sort", input, axis, direction)
    return current_trace("sort").apply("sort", [input], attributes, name=name, prefix="Sort")[0]


def argsort(
    input: Blob,  # noqa: A002 - the name is OneFlow's
    axis: int = -1,
    direction: str = "ASCENDING",
    name: str | None = None,
) -> Blob:
    """The int32 indices that put the elements in order; of equal ones the first comes first.

    Arguments as for :func:`sort`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.argsort(x)
        >>> job(np.array([2, 3, 1], np.float32))
        array([2, 0, 1], dtype=int32)
    """
    attributes = _order("argsort", input, axis, direction)
    trace = current_trace("argsort")
    return trace.apply("argsort", [input], attributes, name=name, prefix="ArgSort")[0]


def top_k(
    input: Blob,  # noqa: A002 - the name is OneFlow's
    axis: int = -1,
    k: int = 1,
    sorted: bool = True,  # noqa: A002 - the name is OneFlow's
    name: str | None = None,
) -> Blob:
    """The int32 indices of the ``k`` greatest elements along an axis, the greatest first.

    Args:
        input: a blob of any dtype.
        axis: the axis.
        k: how many; all, if there are fewer.
        sorted: whether their order matters; they are in order in any case.
        name: name of the operation.

    Raises:
        ArgumentError: the axis is not there, or ``k`` is below 1.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((4,))) -> tp.Numpy:
        ...     return flow.math.top_k(x, k=2)
        >>> job(np.array([2, 3, 1, 5], np.float32))
        array([3, 1], dtype=int32)
    """
    number = axis_of("math.top_k", axis, len(input.shape))
    if type(k) is not int or k < 1:
        raise ArgumentError(f"math.top_k: k must be an int from 1 on, not {k!r}")
    attributes: dict[str, Attribute] = {"axis": number, "k": min(k, input.shape[number])}
    trace = current_trace("math.top_k")
    return trace.apply("top_k", [input], attributes, name=name, prefix="TopK")[0]


def in_top_k(targets: Blob, predictions: Blob, k: int, name: str | None = None) -> Blob:
    """Whether each target is among the ``k`` greatest predictions of its row, as int8.

    Args:
        targets: class numbers, shape ``(rows,)``. One that is no class gives 0.
        predictions: shape ``(rows, classes)``. A row that holds NaN or an infinity gives 0.
        k: how many count; classes as probable as the last of them count too.
        name: name of the operation.

    Raises:
        ArgumentError: ``k`` is no int, or negative.
        ShapeError: the shapes do not fit.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(
        ...     t: tp.Numpy.Placeholder((2,), dtype=flow.int32), p: tp.Numpy.Placeholder((2, 3))
        ... ) -> tp.Numpy:
        ...     return flow.math.in_top_k(t, p, k=1)
        >>> job(np.array([1, 0], np.int32), np.array([[0, 2, 1], [0, 2, 1]], np.float32))
        array([1, 0], dtype=int8)
    """
    if type(k) is not int or k < 0:
        raise ArgumentError(f"math.in_top_k: k must be an int from 0 on, not {k!r}")
    trace = current_trace("math.in_top_k")
    inputs = [targets, predictions]
    return trace.apply("in_top_k", inputs, {"k": k}, name=name, prefix="InTopK")[0]
