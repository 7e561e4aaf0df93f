"""Elements by their indices: ``flow.gather``, ``flow.where``, ``flow.one_hot`` and so on.

An index that is out of range is a RangeError when the job runs; no variable has changed then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from flowrs import datatype
from flowrs.axes import axis_of
from flowrs.blob import Blob, Scalar
from flowrs.datatype import dtype as DType
from flowrs.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError, UnsupportedError
from flowrs.trace import Attribute, current_trace


def gather(
    params: Blob,
    indices: Blob,
    validate_indices: object = None,
    axis: int | None = None,
    batch_dims: int = 0,
    name: str | None = None,
) -> Blob:
    """The slices of ``params`` along an axis that the indices name: an embedding lookup.

    The gradient adds up the gradients of slices that were taken more than once, in their order.

    Args:
        params: a blob of any dtype.
        indices: integers from 0 on, below the extent of the axis.
        validate_indices: has no effect: indices are looked at in any case.
        axis: the axis; None: ``batch_dims``.
        batch_dims: how many leading dimensions ``params`` and ``indices`` have in common.
        name: name of the operation.

    Returns:
        A blob whose shape is that of ``params`` with the other dimensions of ``indices`` in place
        of the axis.

    Raises:
        ArgumentError: there is no such axis, or it is one of the common dimensions.
        ShapeError: the common dimensions differ.
        RangeError: when the job runs: an index is out of range.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(
        ...     table: tp.Numpy.Placeholder((3, 2)), i: tp.Numpy.Placeholder((2,), dtype=flow.int32)
        ... ) -> tp.Numpy:
        ...     return flow.gather(table, i)
        >>> job(np.arange(6, dtype=np.float32).reshape(3, 2), np.array([2, 0], np.int32))
        array([[4., 5.],
               [0., 1.]], dtype=float32)
    """
    rank = len(params.shape)
    if type(batch_dims) is not int or not 0 <= batch_dims < max(rank, 1):
        raise ArgumentError(
            f"gather: batch_dims must be an int from 0 to {rank - 1}, not {batch_dims!r}"
        )
    number = axis_of("gather", batch_dims if axis is None else axis, rank)
    attributes: dict[str, Attribute] = {"axis": number, "batch_dims": batch_dims}
    trace = current_trace("gather")
    return trace.apply("gather", [params, indices], attributes, name=name, prefix="Gather")[0]


def gather_nd(params: Blob, indices: Blob, name: str | None = None) -> Blob:
    """The slices of ``params`` that tuples of indices name.

    Args:
        params: a blob of any dtype.
        indices: integers; each row of the last dimension is an index into the leading dimensions of
            ``params``.
        name: name of the operation.

    Returns:
        A blob of shape ``indices.shape[:-1] + params.shape[indices.shape[-1]:]``.

    Raises:
        ShapeError: the rows of ``indices`` are longer than ``params`` has dimensions.
        RangeError: when the job runs: an index is out of range.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(
        ...     x: tp.Numpy.Placeholder((2, 2)), i: tp.Numpy.Placeholder((2, 2), dtype=flow.int32)
        ... ) -> tp.Numpy:
        ...     return flow.gather_nd(x, i)
        >>> job(np.array([[1, 2], [3, 4]], np.float32), np.array([[0, 1], [1, 0]], np.int32))
        array([2., 3.], dtype=float32)
    """
    trace = current_trace("gather_nd")
    return trace.apply("gather_nd", [params, indices], name=name, prefix="GatherNd")[0]


def scatter_nd(indices: Blob, updates: Blob, shape: Sequence[int], name: str | None = None) -> Blob:
    """Zeros to which slices are added where tuples of indices say.

    Args:
        indices: integers; each row of the last dimension is an index into the leading dimensions of
            the result.
        updates: the slices, of shape ``indices.shape[:-1] + shape[indices.shape[-1]:]``.
        shape: shape of the result.
        name: name of the operation.

    Raises:
        ShapeError: the shapes do not fit.
        RangeError: when the job runs: an index is out of range.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(
        ...     i: tp.Numpy.Placeholder((3, 1), dtype=flow.int32), u: tp.Numpy.Placeholder((3,))
        ... ) -> tp.Numpy:
        ...     return flow.scatter_nd(i, u, shape=[4])
        >>> job(np.array([[3], [1], [3]], np.int32), np.array([1, 2, 4], np.float32))
        array([0., 2., 0., 5.], dtype=float32)
    """
    if not isinstance(shape, (list, tuple)) or any(type(n) is not int or n < 0 for n in shape):
        raise ArgumentError(f"scatter_nd: shape must be a list of ints from 0 on, not {shape!r}")
    trace = current_trace("scatter_nd")
    attributes: dict[str, Attribute] = {"shape": list(shape)}
    inputs = [indices, updates]
    return trace.apply("scatter_nd", inputs, attributes, name=name, prefix="ScatterNd")[0]


def tensor_scatter_nd_update(
    params: Blob, indices: Blob, updates: Blob, name: str | None = None
) -> Blob:
    """A copy of ``params`` with the slices replaced that tuples of indices name.

    Where a slice is named more than once, the last one stays. The gradient flows to ``params``
    where it was not replaced, and to every update.

    Args:
        params: a blob of any dtype.
        indices: as for :func:`scatter_nd`.
        updates: as for :func:`scatter_nd`.
        name: name of the operation.

    Raises:
        ShapeError: the shapes do not fit.
        RangeError: when the job runs: an index is out of range.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(
        ...     x: tp.Numpy.Placeholder((3,)),
        ...     i: tp.Numpy.Placeholder((1, 1), dtype=flow.int32),
        ...     u: tp.Numpy.Placeholder((1,)),
        ... ) -> tp.Numpy:
        ...     return flow.tensor_scatter_nd_update(x, i, u)
        >>> job(np.zeros(3, np.float32), np.array([[2]], np.int32), np.array([7], np.float32))
        array([0., 0., 7.], dtype=float32)
    """
    op, prefix = "tensor_scatter_nd_update", "TensorScatterNdUpdate"
    return current_trace(op).apply(op, [params, indices, updates], name=name, prefix=prefix)[0]


def tensor_scatter_nd_add(
    params: Blob, indices: Blob, updates: Blob, name: str | None = None
) -> Blob:
    """A copy of ``params`` with ``updates`` added; see :func:`tensor_scatter_nd_update`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(
        ...     x: tp.Numpy.Placeholder((3,)),
        ...     index: tp.Numpy.Placeholder((2, 1), flow.int32),
        ...     y: tp.Numpy.Placeholder((2,)),
        ... ) -> tp.Numpy:
        ...     return flow.tensor_scatter_nd_add(x, index, y)
        >>> x = np.array([1, 2, 3], np.float32)
        >>> index = np.array([[0], [0]], np.int32)
        >>> y = np.array([10, 20], np.float32)
        >>> job(x, index, y)
        array([31.,  2.,  3.], dtype=float32)
    """
    op, prefix = "tensor_scatter_nd_add", "TensorScatterNdAdd"
    return current_trace(op).apply(op, [params, indices, updates], name=name, prefix=prefix)[0]


def dim_gather(
    input: Blob,  # noqa: A002 - the name is OneFlow's
    dim: int,
    index: Blob,
    name: str | None = None,
) -> Blob:
    """Elements along a dimension, each with an index of its own.

    Args:
        input: a blob of any dtype.
        dim: the dimension.
        index: integers; of the shape of ``input`` but for ``dim``.
        name: name of the operation.

    Returns:
        A blob of the shape of ``index``; with ``dim`` 0 it holds
        ``input[index[i, j], j]`` at ``(i, j)``.

    Raises:
        ArgumentError: there is no such dimension.
        ShapeError: the shapes do not fit.
        RangeError: when the job runs: an index is out of range.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(
        ...     x: tp.Numpy.Placeholder((2, 2)), i: tp.Numpy.Placeholder((2, 1), dtype=flow.int32)
        ... ) -> tp.Numpy:
        ...     return flow.dim_gather(x, 1, i)
        >>> job(np.array([[1, 2], [3, 4]], np.float32), np.array([[1], [0]], np.int32))
        array([[2.],
               [3.]], dtype=float32)
    """
    number = axis_of("dim_gather", dim, len(input.shape))
    trace = current_trace("dim_gather")
    inputs = [input, index]
    return trace.apply("dim_gather", inputs, {"dim": number}, name=name, prefix="DimGather")[0]


def _segment_sum(
    function: str,
    inputs: list[Blob],
    axis: int,
    batch_dims: int,
    num_segments: int,
    name: str | None,
) -> Blob:
    if type(num_segments) is not int or num_segments < 1:
        raise ArgumentError(f"{function}: num_segments must be an int from 1 on: {num_segments!r}")
    attributes: dict[str, Attribute] = {
        "axis": axis,
        "batch_dims": batch_dims,
        "num_segments": num_segments,
    }
    trace, prefix = current_trace(function), "UnsortedSegmentSum"
    return trace.apply("unsorted_segment_sum", inputs, attributes, name=name, prefix=prefix)[0]


def unsorted_segment_sum(
    data: Blob, segment_ids: Blob, num_segments: int, axis: int = 0, name: str | None = None
) -> Blob:
    """Sums of the slices along an axis that belong to the same segment.

    Args:
        data: a blob of any dtype.
        segment_ids: for each slice the number of its segment; the shape of ``data`` from the axis
            on begins with its shape.
        num_segments: how many segments there are; one without slices is 0.
        axis: the axis.
        name: name of the operation.

    Raises:
        ArgumentError: there is no such axis, or ``num_segments`` is below 1.
        ShapeError: the shapes do not fit.
        RangeError: when the job runs: a number is none of a segment.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(
        ...     x: tp.Numpy.Placeholder((3,)), i: tp.Numpy.Placeholder((3,), dtype=flow.int32)
        ... ) -> tp.Numpy:
        ...     return flow.math.unsorted_segment_sum(x, i, num_segments=3)
        >>> job(np.array([1, 2, 4], np.float32), np.array([2, 0, 2], np.int32))
        array([2., 0., 5.], dtype=float32)
    """
    function = "math.unsorted_segment_sum"
    number = axis_of(function, axis, len(data.shape))
    return _segment_sum(function, [data, segment_ids], number, 0, num_segments, name)


def unsorted_segment_sum_like(
    data: Blob, segment_ids: Blob, like: Blob, axis: int = 0, name: str | None = None
) -> Blob:
    """:func:`unsorted_segment_sum` with as many segments as ``like`` has slices along the axis.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(
        ...     x: tp.Numpy.Placeholder((3,)),
        ...     ids: tp.Numpy.Placeholder((3,), flow.int32),
        ...     like: tp.Numpy.Placeholder((2,)),
        ... ) -> tp.Numpy:
        ...     return flow.unsorted_segment_sum_like(x, ids, like)
        >>> x = np.array([1, 2, 3], np.float32)
        >>> ids = np.array([0, 1, 0], np.int32)
        >>> like = np.zeros(2, np.float32)
        >>> job(x, ids, like)
        array([4., 2.], dtype=float32)
    """
    function = "math.unsorted_segment_sum_like"
    number = axis_of(function, axis, len(data.shape))
    segments = like.shape[axis_of(function, number, len(like.shape))]
    return _segment_sum(function, [data, segment_ids], number, 0, segments, name)


def unsorted_batch_segment_sum(
    data: Blob, segment_ids: Blob, num_segments: int, name: str | None = None
) -> Blob:
    """:func:`unsorted_segment_sum` along the last dimension of the ids, for each batch on its own.

    Args:
        data: a blob whose shape begins with that of ``segment_ids``.
        segment_ids: for each slice of a batch the number of its segment.
        num_segments: how many segments there are.
        name: name of the operation.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(
        ...     x: tp.Numpy.Placeholder((1, 3)), ids: tp.Numpy.Placeholder((1, 3), flow.int32)
        ... ) -> tp.Numpy:
        ...     return flow.unsorted_batch_segment_sum(x, ids, 2)
        >>> job(np.array([[1, 2, 3]], np.float32), np.array([[0, 1, 0]], np.int32))
        array([[4., 2.]], dtype=float32)
    """
    function = "math.unsorted_batch_segment_sum"
    batch = len(segment_ids.shape) - 1
    if not 0 <= batch < len(data.shape):
        raise ShapeError(
            f"{function}: segment ids of shape {segment_ids.shape} do not fit data of shape "
            f"{data.shape}"
        )
    return _segment_sum(function, [data, segment_ids], batch, batch, num_segments, name)


def one_hot(
    indices: Blob,
    depth: int,
    on_value: Scalar = 1,
    off_value: Scalar = 0,
    axis: int = -1,
    dtype: DType | None = None,
    name: str | None = None,
) -> Blob:
    """Indices as vectors: one value at the index, another elsewhere.

    Args:
        indices: integers from 0 on, below ``depth``.
        depth: length of the vectors.
        on_value: what stands at the index.
        off_value: what stands elsewhere.
        axis: where the new dimension goes; -1: behind the others.
        dtype: element type; must be given.
        name: name of the operation.

    Raises:
        ArgumentError: no dtype, or ``depth`` or ``axis`` is out of range.
        RangeError: when the job runs: an index is out of range.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(i: tp.Numpy.Placeholder((2,), dtype=flow.int32)) -> tp.Numpy:
        ...     return flow.one_hot(i, depth=3, dtype=flow.float32)
        >>> job(np.array([2, 0], np.int32))
        array([[0., 0., 1.],
               [1., 0., 0.]], dtype=float32)
    """
    if dtype is None:
        raise ArgumentError("one_hot: a dtype is needed, such as dtype=flow.float32")
    datatype.check(dtype, "one_hot")
    if dtype in (datatype.record, datatype.tensor_buffer, datatype.float16):
        raise DTypeError(f"one_hot: no computation is possible in {dtype}")
    if type(depth) is not int or depth < 1:
        raise ArgumentError(f"one_hot: depth must be an int from 1 on, not {depth!r}")
    cast = float if dtype.is_floating_point else int
    attributes: dict[str, Attribute] = {
        "depth": depth,
        "axis": axis_of("one_hot", axis, len(indices.shape) + 1),
        "on_value": float(cast(on_value)),
        "off_value": float(cast(off_value)),
        "dtype": dtype.name,
    }
    trace = current_trace("one_hot")
    return trace.apply("one_hot", [indices], attributes, name=name, prefix="OneHot")[0]


def where(
    condition: Blob, x: Blob | None = None, y: Blob | None = None, name: str | None = None
) -> Blob:
    """The elements of ``x`` where the condition is not 0, else those of ``y``.

    Args:
        condition: integers, such as a comparison gives.
        x: a blob; the three are broadcast as in NumPy.
        y: a blob of the dtype of ``x``.
        name: name of the operation.

    Raises:
        UnsupportedError: neither ``x`` nor ``y`` is given: the result's shape would depend on what
            the condition holds.
        ShapeError: the shapes cannot be broadcast together.
        DTypeError: the dtypes of ``x`` and ``y`` differ, or the condition is a float.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(
        ...     c: tp.Numpy.Placeholder((2,), dtype=flow.int32), x: tp.Numpy.Placeholder((2,))
        ... ) -> tp.Numpy:
        ...     return flow.where(c, x, flow.zeros_like(x))
        >>> job(np.array([1, 0], np.int32), np.array([5, 6], np.float32))
        array([5., 0.], dtype=float32)
    """
    if x is None and y is None:
        return argwhere(condition)
    if x is None or y is None:
        raise ArgumentTypeError("where: x and y go together: give both of them")
    trace = current_trace("where")
    return trace.apply("where", [condition, x, y], name=name, prefix="Where")[0]


def masked_fill(x: Blob, mask: Blob, value: Scalar, name: str | None = None) -> Blob:
    """A copy of ``x`` with a number where the mask is not 0.

    Args:
        x: a blob of any dtype.
        mask: integers, of a shape that can be broadcast to that of ``x``.
        value: the number.
        name: name of the operation.

    Raises:
        ShapeError: the mask cannot be broadcast to the shape of ``x``.
        ArgumentError: the dtype of ``x`` does not hold the number.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(
        ...     x: tp.Numpy.Placeholder((2,)), m: tp.Numpy.Placeholder((2,), dtype=flow.int8)
        ... ) -> tp.Numpy:
        ...     return flow.masked_fill(x, m, -1)
        >>> job(np.array([5, 6], np.float32), np.array([0, 1], np.int8))
        array([ 5., -1.], dtype=float32)
    """
    trace = current_trace("masked_fill")
    number = trace.constant(value, x.dtype, (1,))
    filled = trace.apply("where", [mask, number, x], name=name, prefix="MaskedFill")[0]
    if filled.shape != x.shape:
        raise ShapeError(
            f"masked_fill: a mask of shape {mask.shape} cannot be broadcast to {x.shape}"
        )
    return filled


def argwhere(condition: Blob, dtype: DType | None = None, name: str | None = None) -> NoReturn:
    """The positions of what is not 0: not possible here.

    Raises:
        UnsupportedError: always.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.math.not_equal(x, 0)
        >>> np.argwhere(job(np.array([0, 5, 7], np.float32)))
        array([[1],
               [2]])
    """
    raise UnsupportedError(
        "argwhere: its shape would depend on what the blob holds, and all shapes are known before "
        "a job runs: return the blob and use numpy.argwhere, or choose elements with flow.where or "
        "flow.masked_fill"
    )


def nonzero(a: Blob, name: str | None = None) -> NoReturn:
    """The positions of what is not 0: not possible here; see :func:`argwhere`.

    Raises:
        UnsupportedError: always.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.math.not_equal(x, 0)
        >>> np.nonzero(job(np.array([0, 5, 7], np.float32)))
        (array([1, 2]),)
    """
    argwhere(a, name=name)
