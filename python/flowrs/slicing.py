"""Parts of blobs: ``flow.slice``, ``flow.slice_v2``, ``flow.slice_update``, ``flow.reverse``."""

from __future__ import annotations

import builtins
from collections.abc import Sequence

from flowrs.axes import axes_of, axis_of
from flowrs.blob import Blob
from flowrs.errors import ArgumentError, ShapeError
from flowrs.trace import Attribute, current_trace

#: Start, stop and step of one dimension; None as in Python's slices.
Range = tuple[int | None, int | None, int | None]


def slice(  # noqa: A001 - the name is OneFlow's
    x: Blob,
    begin: Sequence[int | None],
    size: Sequence[int | None],
    name: str | None = None,
) -> Blob:
    """A block of a blob.

    Args:
        x: a blob of any dtype.
        begin: the first element in each dimension; None: 0; negative: counted from the end.
        size: the number of elements in each dimension; -1 or None: all that follow.
        name: name of the operation.

    Raises:
        ArgumentError: the block does not lie within the blob.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3, 4))) -> tp.Numpy:
        ...     return flow.slice(x, begin=[None, 1], size=[2, -1])
        >>> job(np.arange(12, dtype=np.float32).reshape(3, 4))
        array([[1., 2., 3.],
               [5., 6., 7.]], dtype=float32)
    """
    for what, given in (("begin", begin), ("size", size)):
        if not isinstance(given, (list, tuple)) or len(given) != len(x.shape):
            raise ArgumentError(
                f"slice: {what} must have one entry for each dimension of {x.shape}, not {given!r}"
            )
    starts, sizes = [], []
    for axis, (first, count, extent) in enumerate(zip(begin, size, x.shape, strict=True)):
        if first is not None and (type(first) is not int or not -extent <= first < extent):
            raise ArgumentError(
                f"slice: begin {first!r} is out of range for dimension {axis} of {x.shape}"
            )
        start = (first or 0) % max(extent, 1)
        wanted = extent - start if count in (None, -1) else count
        if type(wanted) is not int or not 0 < wanted <= extent - start:
            raise ArgumentError(
                f"slice: size {count!r} is out of range for dimension {axis} of {x.shape} from "
                f"{start} on"
            )
        starts.append(start)
        sizes.append(wanted)
    attributes = {"starts": starts, "sizes": sizes, "steps": [1] * len(starts)}
    return current_trace("slice").apply("slice", [x], attributes, name=name, prefix="Slice")[0]


def _part(function: str, x: Blob, slices: Sequence[Range]) -> dict[str, list[int]]:
    """Starts, sizes and steps of what Python's slices would take of a blob."""
    if not isinstance(slices, (list, tuple)) or len(slices) > len(x.shape):
        raise ArgumentError(
            f"{function}: the slices must be a list of at most {len(x.shape)} tuples (start, stop, "
            f"step), not {slices!r}"
        )
    part: dict[str, list[int]] = {"starts": [], "sizes": [], "steps": []}
    whole: Range = (None, None, None)
    for axis, extent in enumerate(x.shape):
        given = slices[axis] if axis < len(slices) else whole
        if (
            not isinstance(given, (list, tuple))
            or len(given) != 3
            or any(entry is not None and type(entry) is not int for entry in given)
        ):
            raise ArgumentError(
                f"{function}: a slice must be (start, stop, step) of ints or None, not {given!r}"
            )
        start, stop, step = given
        if step == 0:
            raise ArgumentError(f"{function}: the step of dimension {axis} must not be 0")
        if start is not None and not -extent <= start < extent:
            raise ArgumentError(
                f"{function}: start {start} is out of range for dimension {axis} of {x.shape}"
            )
        if stop is not None and not -extent - 1 <= stop <= extent:
            raise ArgumentError(
                f"{function}: stop {stop} is out of range for dimension {axis} of {x.shape}"
            )
        taken = range(*builtins.slice(start, stop, step).indices(extent))
        part["starts"].append(taken.start if taken else 0)
        part["sizes"].append(len(taken))
        part["steps"].append(taken.step)
    return part


def slice_v2(x: Blob, slice_tup_list: Sequence[Range], name: str | None = None) -> Blob:
    """What Python's slices would take.

    Args:
        x: a blob of any dtype.
        slice_tup_list: for each dimension (start, stop, step), with None as in Python; a shorter
            list leaves the last dimensions whole. Steps may be negative.
        name: name of the operation.

    Raises:
        ArgumentError: a start or stop is out of range, or a step is 0.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((5,))) -> tp.Numpy:
        ...     return flow.slice_v2(x, [(None, None, -2)])
        >>> job(np.arange(5, dtype=np.float32))
        array([4., 2., 0.], dtype=float32)
    """
    attributes: dict[str, Attribute] = {**_part("slice_v2", x, slice_tup_list)}
    trace = current_trace("slice_v2")
    return trace.apply("slice", [x], attributes, name=name, prefix="Slice_v2")[0]


def slice_update(
    x: Blob, update: Blob, slice_tup_list: Sequence[Range], name: str | None = None
) -> Blob:
    """A copy of ``x`` in which a part is replaced.

    Args:
        x: a blob of any dtype.
        update: what the part becomes, of its shape and the dtype of ``x``.
        slice_tup_list: the part, as for :func:`slice_v2`.
        name: name of the operation.

    Raises:
        ArgumentError: the slices are out of range.
        ShapeError: ``update`` does not have the part's shape.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((4,)), u: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.slice_update(x, u, [(1, 3, 1)])
        >>> job(np.zeros(4, np.float32), np.ones(2, np.float32))
        array([0., 1., 1., 0.], dtype=float32)
    """
    part = _part("slice_update", x, slice_tup_list)
    if tuple(part["sizes"]) != update.shape:
        raise ShapeError(
            f"slice_update: the slices take {tuple(part['sizes'])} of {x.shape}, and the update "
            f"has shape {update.shape}"
        )
    attributes: dict[str, Attribute] = {"starts": part["starts"], "steps": part["steps"]}
    trace = current_trace("slice_update")
    return trace.apply("slice_update", [x, update], attributes, name=name, prefix="SliceUpdate")[0]


def reverse(input: Blob, axis: int | Sequence[int], name: str | None = None) -> Blob:  # noqa: A002
    """The elements in the opposite order along one or several axes.

    Raises:
        ArgumentError: an axis is not there.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2, 2))) -> tp.Numpy:
        ...     return flow.reverse(x, axis=-1)
        >>> job(np.array([[1, 2], [3, 4]], np.float32))
        array([[2., 1.],
               [4., 3.]], dtype=float32)
    """
    rank = len(input.shape)
    if isinstance(axis, int):
        axes = [axis_of("reverse", axis, rank)]
    else:
        axes = axes_of("reverse", axis, rank)
    last = [max(extent - 1, 0) for extent in input.shape]
    attributes: dict[str, Attribute] = {
        "starts": [last[i] if i in axes else 0 for i in range(rank)],
        "sizes": list(input.shape),
        "steps": [-1 if i in axes else 1 for i in range(rank)],
    }
    trace = current_trace("reverse")
    return trace.apply("slice", [input], attributes, name=name, prefix="Reverse")[0]
