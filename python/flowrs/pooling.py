"""Pools: functions of ``flow.nn``."""

from __future__ import annotations

from typing import NoReturn

from flowrs.blob import Blob
from flowrs.errors import ShapeError, UnsupportedError
from flowrs.trace import Attribute, current_trace
from flowrs.window import Layout, Padding, Sizes, place, sizes


def _pool(
    kind: str,
    spatial: int,
    input: Blob,  # noqa: A002
    ksize: Sizes | None,
    strides: Sizes | None,
    padding: Padding,
    data_format: str,
    ceil_mode: bool,
    name: str | None,
) -> Blob:
    function = f"nn.{kind}_pool{spatial}d"
    layout = Layout.parse(function, data_format, spatial)
    if len(input.shape) != spatial + 2:
        raise ShapeError(f"{function}: needs rank {spatial + 2}, found {input.shape}")
    window = sizes(function, "ksize", ksize, spatial)
    placed = place(
        function,
        layout,
        layout.spatial_sizes(input.shape),
        window,
        sizes(function, "strides", strides, spatial),
        [1] * spatial,
        padding,
        ceil_mode,
    )
    attributes: dict[str, Attribute] = {**placed.attributes(), "window": window}
    prefix = f"{kind.capitalize()}Pool{spatial}D"
    trace = current_trace(function)
    return trace.apply(f"{kind}_pool", [input], attributes, name=name, prefix=prefix)[0]


def max_pool2d(
    input: Blob,  # noqa: A002
    ksize: Sizes,
    strides: Sizes,
    padding: Padding,
    data_format: str = "NCHW",
    ceil_mode: bool = False,
    name: str | None = None,
) -> Blob:
    """The maximum of each window.

    The gradient goes to the first of equal maxima, in the order of the window's rows.

    Args:
        input: float32 or float64, ``(batch, channels, height, width)``, or with ``"NHWC"``
            ``(batch, height, width, channels)``.
        ksize: size of the window, an int or one for each spatial axis.
        strides: an int, or one for each spatial axis.
        padding: as for :func:`flowrs.nn.conv2d`; padding is never the maximum.
        data_format: ``"NCHW"`` or ``"NHWC"``.
        ceil_mode: with a list as padding, whether a last window may reach over the edge.
        name: name of the operation.

    Raises:
        ArgumentError: an argument is of no known form.
        ShapeError: the window does not fit.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((1, 1, 2, 4))) -> tp.Numpy:
        ...     return flow.nn.max_pool2d(x, 2, 2, "VALID")
        >>> job(np.arange(8, dtype=np.float32).reshape(1, 1, 2, 4))
        array([[[[5., 7.]]]], dtype=float32)
    """
    return _pool("max", 2, input, ksize, strides, padding, data_format, ceil_mode, name)


def avg_pool2d(
    input: Blob,  # noqa: A002
    ksize: Sizes,
    strides: Sizes,
    padding: Padding,
    data_format: str = "NCHW",
    ceil_mode: bool = False,
    name: str | None = None,
) -> Blob:
    """The mean of the elements of each window that lie inside; arguments as :func:`max_pool2d`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((1, 1, 2, 2))) -> tp.Numpy:
        ...     return flow.nn.avg_pool2d(x, 2, 2, "VALID")
        >>> job(np.array([[[[1, 2], [3, 4]]]], np.float32))
        array([[[[2.5]]]], dtype=float32)
    """
    return _pool("avg", 2, input, ksize, strides, padding, data_format, ceil_mode, name)


def max_pool3d(
    input: Blob,  # noqa: A002
    ksize: Sizes,
    strides: Sizes,
    padding: Padding,
    data_format: str = "NCDHW",
    ceil_mode: bool = False,
    name: str | None = None,
) -> Blob:
    """The maximum of each window over three axes; arguments as :func:`max_pool2d`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((1, 1, 2, 2, 2))) -> tp.Numpy:
        ...     return flow.nn.max_pool3d(x, 2, 2, "VALID")
        >>> job(np.arange(8, dtype=np.float32).reshape(1, 1, 2, 2, 2))
        array([[[[[7.]]]]], dtype=float32)
    """
    return _pool("max", 3, input, ksize, strides, padding, data_format, ceil_mode, name)


def avg_pool3d(
    input: Blob,  # noqa: A002
    ksize: Sizes,
    strides: Sizes,
    padding: Padding,
    data_format: str = "NCDHW",
    ceil_mode: bool = False,
    name: str | None = None,
) -> Blob:
    """The mean of each window over three axes; arguments as :func:`avg_pool2d`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((1, 1, 2, 2, 2))) -> tp.Numpy:
        ...     return flow.nn.avg_pool3d(x, 2, 2, "VALID")
        >>> job(np.arange(8, dtype=np.float32).reshape(1, 1, 2, 2, 2))
        array([[[[[3.5]]]]], dtype=float32)
    """
    return _pool("avg", 3, input, ksize, strides, padding, data_format, ceil_mode, name)


def max_pool1d(*arguments: object, **keywords: object) -> NoReturn:
    """Is not there, as in the original.

    Raises:
        UnsupportedError: always; a window of height 1 does the same.

    Example:
        >>> import flowrs as flow
        >>> try:
        ...     flow.nn.max_pool1d()
        ... except flow.errors.UnsupportedError as error:
        ...     print(error)
        nn.max_pool1d: use max_pool2d over an axis of size 1
    """
    raise UnsupportedError("nn.max_pool1d: use max_pool2d over an axis of size 1")


def avg_pool1d(*arguments: object, **keywords: object) -> NoReturn:
    """Is not there, as in the original.

    Raises:
        UnsupportedError: always; a window of height 1 does the same.

    Example:
        >>> import flowrs as flow
        >>> try:
        ...     flow.nn.avg_pool1d()
        ... except flow.errors.UnsupportedError as error:
        ...     print(error)
        nn.avg_pool1d: use avg_pool2d over an axis of size 1
    """
    raise UnsupportedError("nn.avg_pool1d: use avg_pool2d over an axis of size 1")
