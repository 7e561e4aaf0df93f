"""Convolutions: functions of ``flow.nn``."""

from __future__ import annotations

from collections.abc import Sequence

from flowrs.blob import Blob
from flowrs.errors import ArgumentError, ShapeError
from flowrs.trace import Attribute, current_trace
from flowrs.window import Layout, Padding, Sizes, Window, place, sizes


def _window(
    function: str,
    layout: Layout,
    shape: Sequence[int],
    filters: Blob,
    strides: Sizes,
    padding: Padding,
    dilations: Sizes | None,
) -> Window:
    rank = layout.spatial + 2
    if len(shape) != rank or len(filters.shape) != rank:
        raise ShapeError(
            f"{function}: input and filters must have rank {rank}, "
            f"found {tuple(shape)} and {filters.shape}"
        )
    return place(
        function,
        layout,
        layout.spatial_sizes(shape),
        layout.spatial_sizes(filters.shape),
        sizes(function, "strides", strides, layout.spatial),
        sizes(function, "dilations", dilations, layout.spatial),
        padding,
    )


def convolution(
    spatial: int,
    input: Blob,  # noqa: A002
    filters: Blob,
    strides: Sizes,
    padding: Padding,
    data_format: str,
    dilations: Sizes | None,
    groups: int,
    name: str | None,
) -> Blob:
    """A convolution over one to three spatial axes."""
    function = f"nn.conv{spatial}d"
    layout = Layout.parse(function, data_format, spatial)
    if type(groups) is not int or groups <= 0:
        raise ArgumentError(f"{function}: groups must be an int above 0, not {groups!r}")
    window = _window(function, layout, input.shape, filters, strides, padding, dilations)
    attributes: dict[str, Attribute] = {
        **window.attributes(),
        "dilations": window.dilations,
        "groups": groups,
    }
    trace = current_trace(function)
    prefix = f"Conv{spatial}d"
    return trace.apply("convolution", [input, filters], attributes, name=name, prefix=prefix)[0]


def conv1d(
    input: Blob,  # noqa: A002
    filters: Blob,
    strides: Sizes,
    padding: Padding,
    data_format: str = "NCW",
    dilations: Sizes | None = None,
    groups: int = 1,
    name: str | None = None,
) -> Blob:
    """Cross-correlation over one spatial axis; arguments as :func:`conv2d`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(
        ...     x: tp.Numpy.Placeholder((1, 1, 4)), w: tp.Numpy.Placeholder((1, 1, 2))
        ... ) -> tp.Numpy:
        ...     return flow.nn.conv1d(x, w, strides=1, padding="VALID")
        >>> job(np.array([[[1, 2, 3, 4]]], np.float32), np.array([[[1, 1]]], np.float32))
        array([[[3., 5., 7.]]], dtype=float32)
    """
    return convolution(1, input, filters, strides, padding, data_format, dilations, groups, name)


def conv2d(
    input: Blob,  # noqa: A002
    filters: Blob,
    strides: Sizes,
    padding: Padding,
    data_format: str = "NCHW",
    dilations: Sizes | None = None,
    groups: int = 1,
    name: str | None = None,
) -> Blob:
    """Cross-correlation of images with filters (no filter is flipped).

    Args:
        input: float32 or float64, ``(batch, channels, height, width)``, or with ``"NHWC"``
            ``(batch, height, width, channels)``.
        filters: of the same dtype, ``(outputs, channels / groups, height, width)``, or with
            ``"NHWC"`` ``(outputs, height, width, channels / groups)``.
        strides: an int, or one for each spatial axis.
        padding: ``"VALID"``: none. ``"SAME"``: output size ``ceil(input / stride)``, the odd
            element in front (as ``"SAME_LOWER"``; ``"SAME_UPPER"`` puts it behind). Or a list with
            an entry for each dimension: an int or a pair (before, after).
        data_format: ``"NCHW"`` or ``"NHWC"``.
        dilations: distance between the elements that a filter looks at; None: 1.
        groups: into how many parts, convolved apart, the channels fall.
        name: name of the operation.

    Returns:
        ``(batch, outputs, height, width)``, or in the order of ``"NHWC"``.

    Raises:
        ArgumentError: an argument is of no known form.
        ShapeError: the shapes do not fit.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(
        ...     x: tp.Numpy.Placeholder((1, 1, 4, 4)), w: tp.Numpy.Placeholder((2, 1, 3, 3))
        ... ) -> tp.Numpy:
        ...     return flow.nn.conv2d(x, w, strides=1, padding="VALID")
        >>> job(np.ones((1, 1, 4, 4), np.float32), np.ones((2, 1, 3, 3), np.float32))[0, 0]
        array([[9., 9.],
               [9., 9.]], dtype=float32)
    """
    return convolution(2, input, filters, strides, padding, data_format, dilations, groups, name)


def conv3d(
    input: Blob,  # noqa: A002
    filters: Blob,
    strides: Sizes,
    padding: Padding,
    data_format: str = "NCDHW",
    dilations: Sizes | None = None,
    groups: int = 1,
    name: str | None = None,
) -> Blob:
    """Cross-correlation over three spatial axes; arguments as :func:`conv2d`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(
        ...     x: tp.Numpy.Placeholder((1, 1, 4, 4, 4)), w: tp.Numpy.Placeholder((2, 1, 3, 3, 3))
        ... ) -> tp.Numpy:
        ...     return flow.nn.conv3d(x, w, strides=1, padding="SAME")
        >>> job(np.ones((1, 1, 4, 4, 4), np.float32), np.ones((2, 1, 3, 3, 3), np.float32)).shape
        (1, 2, 4, 4, 4)
    """
    return convolution(3, input, filters, strides, padding, data_format, dilations, groups, name)


def compat_conv2d(
    input: Blob,  # noqa: A002
    filters: Blob,
    strides: Sizes,
    padding: Padding,
    data_format: str = "NCHW",
    dilations: Sizes | None = None,
    groups: int = 1,
    name: str | None = None,
) -> Blob:
    """:func:`conv2d` in which ``"SAME"`` puts the odd element of the padding behind.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(
        ...     x: tp.Numpy.Placeholder((1, 1, 4, 4)), w: tp.Numpy.Placeholder((2, 1, 3, 3))
        ... ) -> tp.Numpy:
        ...     return flow.nn.compat_conv2d(x, w, strides=2, padding="SAME")
        >>> job(np.ones((1, 1, 4, 4), np.float32), np.ones((2, 1, 3, 3), np.float32)).shape
        (1, 2, 2, 2)
    """
    if isinstance(padding, str) and padding.upper() == "SAME":
        padding = "SAME_UPPER"
    return conv2d(input, filters, strides, padding, data_format, dilations, groups, name)


def conv2d_transpose(
    value: Blob | None = None,
    filter: Blob | None = None,  # noqa: A002
    output_shape: Sequence[int] | None = None,
    strides: Sizes | None = None,
    padding: Padding = "VALID",
    data_format: str = "NCHW",
    name: str | None = None,
    input: Blob | None = None,  # noqa: A002
    filters: Blob | None = None,
    dilations: Sizes | None = None,
) -> Blob:
    """The transpose of :func:`conv2d`: spreads each input element over a window of the output.

    Args:
        value: float32 or float64, ``(batch, channels, height, width)`` (or ``"NHWC"``).
        filter: ``(channels, outputs, height, width)``; with ``"NHWC"``
            ``(channels, height, width, outputs)``.
        output_shape: shape of the result; a ``conv2d`` from it with the same arguments has the
            shape of ``value``.
        strides: an int, or one for each spatial axis.
        padding: as for :func:`conv2d`, of the convolution that is transposed.
        data_format: ``"NCHW"`` or ``"NHWC"``.
        name: name of the operation.
        input: another name of ``value``.
        filters: another name of ``filter``.
        dilations: as for :func:`conv2d`.

    Raises:
        ArgumentError: an argument is missing, or given under both of its names.
        ShapeError: the shapes do not fit.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(
        ...     x: tp.Numpy.Placeholder((1, 1, 2, 2)), w: tp.Numpy.Placeholder((1, 1, 2, 2))
        ... ) -> tp.Numpy:
        ...     return flow.nn.conv2d_transpose(x, w, [1, 1, 4, 4], strides=2)
        >>> x = np.array([[[[1, 2], [3, 4]]]], np.float32)
        >>> w = np.ones((1, 1, 2, 2), np.float32)
        >>> job(x, w)[0, 0]
        array([[1., 1., 2., 2.],
               [1., 1., 2., 2.],
               [3., 3., 4., 4.],
               [3., 3., 4., 4.]], dtype=float32)
    """
    function = "nn.conv2d_transpose"
    x = _either(function, "value", value, "input", input)
    weight = _either(function, "filter", filter, "filters", filters)
    if output_shape is None:
        raise ArgumentError(f"{function}: output_shape is needed")
    layout = Layout.parse(function, data_format, 2)
    stride = sizes(function, "strides", strides, 2)
    window = _window(function, layout, output_shape, weight, stride, padding, dilations)
    attributes: dict[str, Attribute] = {
        **window.attributes(),
        "dilations": window.dilations,
        "groups": 1,
        "input_shape": list(output_shape),
    }
    trace = current_trace(function)
    return trace.apply(
        "convolution_input_gradient", [x, weight], attributes, name=name, prefix="Deconv"
    )[0]


def _either(function: str, one: str, a: Blob | None, other: str, b: Blob | None) -> Blob:
    given = [blob for blob in (a, b) if blob is not None]
    if len(given) != 1:
        raise ArgumentError(f"{function}: give either {one} or {other}")
    return given[0]
