"""Borders: ``flow.pad`` and its kin for images."""

from __future__ import annotations

from collections.abc import Sequence

from flowrs.blob import Blob, Scalar
from flowrs.errors import ArgumentError, ArgumentTypeError, ShapeError
from flowrs.trace import Attribute, current_trace

#: The same on all four sides, or left, right, top and bottom.
Border = int | Sequence[int]


def _pairs(
    function: str, x: Blob, paddings: Sequence[Sequence[int]]
) -> tuple[list[int], list[int]]:
    """What is added before and after in each dimension."""
    if not isinstance(paddings, (list, tuple)) or len(paddings) != len(x.shape):
        raise ArgumentError(
            f"{function}: paddings must have one pair for each dimension of {x.shape}, "
            f"not {paddings!r}"
        )
    for pair in paddings:
        if (
            not isinstance(pair, (list, tuple))
            or len(pair) != 2
            or any(type(count) is not int or count < 0 for count in pair)
        ):
            raise ArgumentError(
                f"{function}: each padding must be a pair of ints from 0 on, not {pair!r}"
            )
    return [before for before, _ in paddings], [after for _, after in paddings]


def _value(function: str, x: Blob, value: Scalar) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ArgumentTypeError(f"{function}: constant_value must be a number, not {value!r}")
    if not x.dtype.is_floating_point:
        # The original cuts the number to an integer; one that is too large would be another.
        whole = int(value)
        bits = 8 * x.dtype.bytes
        low = -(2 ** (bits - 1)) if x.dtype.is_signed else 0
        if not low <= whole < low + 2**bits or int(float(whole)) != whole:
            raise ArgumentError(f"{function}: {value!r} is no value of {x.dtype}")
        return float(whole)
    return float(value)


def pad(
    x: Blob,
    paddings: Sequence[Sequence[int]],
    constant_value: Scalar = 0,
    name: str | None = None,
) -> Blob:
    """A blob with a border of one value.

    Args:
        x: a blob of any dtype.
        paddings: for each dimension how many elements are added before and after.
        constant_value: what they hold.
        name: name of the operation.

    Raises:
        ArgumentError: the paddings do not fit the blob.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((1, 2))) -> tp.Numpy:
        ...     return flow.pad(x, [(1, 0), (0, 2)], constant_value=7)
        >>> job(np.zeros((1, 2), np.float32))
        array([[7., 7., 7., 7.],
               [0., 0., 7., 7.]], dtype=float32)
    """
    before, after = _pairs("pad", x, paddings)
    value = _value("pad", x, constant_value)
    attributes: dict[str, Attribute] = {"before": before, "after": after, "value": value}
    return current_trace("pad").apply("pad", [x], attributes, name=name, prefix="Pad")[0]


def pad_grad(
    x: Blob,
    paddings: Sequence[Sequence[int]],
    constant_value: Scalar = 0,
    name: str | None = None,
) -> Blob:
    """The blob without its border: the gradient of :func:`pad`.

    Raises:
        ArgumentError: the paddings do not fit the blob.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((5,))) -> tp.Numpy:
        ...     return flow.pad_grad(x, [(1, 2)])
        >>> job(np.array([1, 2, 3, 4, 5], np.float32))
        array([2., 3.], dtype=float32)
    """
    before, after = _pairs("pad_grad", x, paddings)
    sizes = [n - b - a for n, b, a in zip(x.shape, before, after, strict=True)]
    if any(size < 0 for size in sizes):
        raise ArgumentError(f"pad_grad: {x.shape} has no border of {paddings!r}")
    attributes: dict[str, Attribute] = {
        "starts": before,
        "sizes": sizes,
        "steps": [1] * len(sizes),
    }
    return current_trace("pad_grad").apply("slice", [x], attributes, name=name, prefix="PadGrad")[0]


def same_padding(
    x: Blob,
    padding: str,
    data_format: str,
    kernel_size: Sequence[int],
    strides: Sequence[int],
    dilation_rate: Sequence[int],
    name: str | None = None,
) -> Blob:
    """Zeros around images such that a window of the given kind gives ``ceil(size / stride)``.

    Args:
        x: images, one to three spatial axes.
        padding: ``"SAME_LOWER"``: an odd zero lies before, ``"SAME_UPPER"``: behind.
        data_format: such as ``"NCHW"`` or ``"NHWC"``.
        kernel_size: sizes of the window.
        strides: its steps.
        dilation_rate: distance of its elements.
        name: name of the operation.

    Raises:
        ArgumentError: an argument does not fit the others.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((1, 1, 1, 2))) -> tp.Numpy:
        ...     return flow.same_padding(x, "SAME_LOWER", "NCHW", [2, 2], [1, 1], [1, 1])
        >>> job(np.array([[[[1, 2]]]], np.float32))[0, 0]
        array([[0., 0., 0.],
               [0., 1., 2.]], dtype=float32)
    """
    rank = len(x.shape)
    first = 1 if data_format.endswith("C") else 2
    lists = [list(kernel_size), list(strides), list(dilation_rate)]
    if padding not in ("SAME_LOWER", "SAME_UPPER") or any(len(e) != rank - 2 for e in lists):
        raise ArgumentError(
            f'same_padding: needs "SAME_LOWER" or "SAME_UPPER" and {rank - 2} sizes, strides and '
            f"dilations for {x.shape}, found {padding!r}, {lists}"
        )
    paddings = [(0, 0)] * rank
    for axis, (kernel, stride, dilation) in enumerate(zip(*lists, strict=True), first):
        size = x.shape[axis]
        reach = (kernel - 1) * dilation + 1
        needed = max((-(-size // stride) - 1) * stride + reach - size, 0)
        small, large = needed // 2, needed - needed // 2
        paddings[axis] = (large, small) if padding == "SAME_LOWER" else (small, large)
    return pad(x, paddings, name=name)


def _border(function: str, x: Blob, padding: Border) -> list[int]:
    """Left, right, top and bottom."""
    if len(x.shape) != 4:
        raise ShapeError(f"{function}: needs shape (N, C, H, W), found {x.shape}")
    sides = [padding] * 4 if isinstance(padding, int) else padding
    if (
        not isinstance(sides, (list, tuple))
        or len(sides) != 4
        or any(type(side) is not int or side < 0 for side in sides)
    ):
        raise ArgumentError(
            f"{function}: padding must be an int, or left, right, top and bottom, from 0 on, "
            f"not {padding!r}"
        )
    return list(sides)


def constant_pad2d(
    x: Blob, padding: Border, constant_value: Scalar = 0, name: str | None = None
) -> Blob:
    """Images of shape (N, C, H, W) with a border of one value.

    Args:
        x: a blob of any dtype.
        padding: the width of the border, or a list of left, right, top and bottom.
        constant_value: what the border holds.
        name: name of the operation.

    Raises:
        ArgumentError: ``padding`` is not of this form.
        ShapeError: the rank is not 4.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((1, 1, 1, 1))) -> tp.Numpy:
        ...     return flow.constant_pad2d(x, [1, 0, 0, 1], 5)
        >>> job(np.zeros((1, 1, 1, 1), np.float32))[0, 0]
        array([[5., 0.],
               [5., 5.]], dtype=float32)
    """
    left, right, top, bottom = _border("constant_pad2d", x, padding)
    return pad(x, [(0, 0), (0, 0), (top, bottom), (left, right)], constant_value, name)


def zero_pad2d(x: Blob, padding: Border, name: str | None = None) -> Blob:
    """Images with a border of zeros; arguments as for :func:`constant_pad2d`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((1, 1, 1, 2))) -> tp.Numpy:
        ...     return flow.zero_pad2d(x, [1, 0, 0, 1])
        >>> job(np.array([[[[1, 2]]]], np.float32))[0, 0]
        array([[0., 1., 2.],
               [0., 0., 0.]], dtype=float32)
    """
    return constant_pad2d(x, padding, 0, name)


def reflection_pad2d(x: Blob, padding: Border, name: str | None = None) -> Blob:
    """Images that go on mirrored beyond their edges; the edge itself is not repeated.

    Args:
        x: a blob of shape (N, C, H, W), of any dtype.
        padding: the width of the border, or a list of left, right, top and bottom; less than the
            image's size.
        name: name of the operation.

    Raises:
        ArgumentError: ``padding`` is not of this form, or too large.
        ShapeError: the rank is not 4.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((1, 1, 1, 3))) -> tp.Numpy:
        ...     return flow.reflection_pad2d(x, [2, 1, 0, 0])
        >>> job(np.array([[[[1, 2, 3]]]], np.float32))[0, 0]
        array([[3., 2., 1., 2., 3., 2.]], dtype=float32)
    """
    left, right, top, bottom = border = _border("reflection_pad2d", x, padding)
    if max(left, right) >= x.shape[3] or max(top, bottom) >= x.shape[2]:
        raise ArgumentError(
            f"reflection_pad2d: a border must be narrower than the image: {border} around {x.shape}"
        )
    attributes: dict[str, Attribute] = {"padding": border}
    trace = current_trace("reflection_pad2d")
    prefix = "Reflection_Pad2d"
    return trace.apply("reflection_pad2d", [x], attributes, name=name, prefix=prefix)[0]


def replication_pad2d(x: Blob, padding: Border, name: str | None = None) -> Blob:
    """Images whose edges are repeated outwards; arguments as for :func:`constant_pad2d`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((1, 1, 1, 3))) -> tp.Numpy:
        ...     return flow.replication_pad2d(x, [2, 1, 0, 0])
        >>> job(np.array([[[[1, 2, 3]]]], np.float32))[0, 0]
        array([[1., 1., 1., 2., 3., 3.]], dtype=float32)
    """
    attributes: dict[str, Attribute] = {"padding": _border("replication_pad2d", x, padding)}
    trace = current_trace("replication_pad2d")
    prefix = "Replication_Pad2d"
    return trace.apply("replication_pad2d", [x], attributes, name=name, prefix=prefix)[0]
