"""Larger images: ``flow.layers.upsample_2d`` and ``flow.nn.PixelShuffle``."""

from __future__ import annotations

from collections.abc import Sequence

from flowrs.array import reshape, transpose
from flowrs.blob import Blob
from flowrs.errors import ArgumentError, ShapeError
from flowrs.trace import Attribute, current_trace


def upsample_2d(
    x: Blob,
    size: int | Sequence[int] = (2, 2),
    data_format: str = "NCHW",
    interpolation: str = "nearest",
    name: str = "Upsample2D",
) -> Blob:
    """Images enlarged by whole factors.

    Args:
        x: a blob of rank 4; float32 or float64 where it is interpolated.
        size: how many times as many rows and columns, or one factor for both.
        data_format: ``"NCHW"`` or ``"NHWC"``.
        interpolation: ``"nearest"`` repeats each pixel; ``"bilinear"`` goes evenly from the middle
            of one pixel to that of the next.
        name: name of the operation.

    Raises:
        ArgumentError: an argument is not of this form.
        ShapeError: the rank is not 4.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((1, 1, 1, 2))) -> tp.Numpy:
        ...     return flow.layers.upsample_2d(x, size=(1, 2), interpolation="bilinear")
        >>> job(np.array([[[[0, 4]]]], np.float32))[0, 0]
        array([[0., 1., 3., 4.]], dtype=float32)
    """
    function = "layers.upsample_2d"
    scales = [size, size] if isinstance(size, int) else size
    if (
        not isinstance(scales, (list, tuple))
        or len(scales) != 2
        or any(type(scale) is not int or scale < 1 for scale in scales)
    ):
        raise ArgumentError(f"{function}: size must be one or two ints from 1 on, not {size!r}")
    if data_format not in ("NCHW", "NHWC"):
        raise ArgumentError(
            f'{function}: data_format must be "NCHW" or "NHWC", not {data_format!r}'
        )
    if interpolation not in ("nearest", "bilinear"):
        raise ArgumentError(
            f'{function}: interpolation must be "nearest" or "bilinear", not {interpolation!r}'
        )
    attributes: dict[str, Attribute] = {
        "scales": list(scales),
        "interpolation": interpolation,
        "channels_last": data_format == "NHWC",
    }
    trace = current_trace(function)
    return trace.apply("upsample", [x], attributes, name=name, prefix="Upsample2D")[0]


def PixelShuffle(input: Blob, upscale_factor: int, name: str | None = None) -> Blob:  # noqa: A002, N802
    """Channels as pixels: (N, C * r * r, H, W) becomes (N, C, H * r, W * r).

    Args:
        input: a blob of rank 4, of any dtype.
        upscale_factor: r.
        name: name of the operation.

    Raises:
        ArgumentError: the factor is no int above 0.
        ShapeError: the channels are no multiple of its square.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((1, 4, 1, 1))) -> tp.Numpy:
        ...     return flow.nn.PixelShuffle(x, 2)
        >>> job(np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1))[0, 0]
        array([[0., 1.],
               [2., 3.]], dtype=float32)
    """
    return PixelShufflev2(input, upscale_factor, upscale_factor, name)


def PixelShufflev2(  # noqa: N802
    input: Blob,  # noqa: A002
    h_upscale_factor: int,
    w_upscale_factor: int,
    name: str | None = None,
) -> Blob:
    """:func:`PixelShuffle` with a factor for the rows and one for the columns.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((1, 2, 1, 2))) -> tp.Numpy:
        ...     return flow.nn.PixelShufflev2(x, 2, 1)
        >>> job(np.array([[[[1, 2]], [[3, 4]]]], np.float32))[0, 0]
        array([[1., 2.],
               [3., 4.]], dtype=float32)
    """
    rows, columns = h_upscale_factor, w_upscale_factor
    if any(type(factor) is not int or factor < 1 for factor in (rows, columns)):
        raise ArgumentError(
            f"nn.PixelShuffle: factors must be ints above 0, not {rows!r} and {columns!r}"
        )
    if len(input.shape) != 4 or input.shape[1] % (rows * columns) != 0:
        raise ShapeError(
            f"nn.PixelShuffle: needs shape (N, C, H, W) with a multiple of {rows * columns} "
            f"channels, found {input.shape}"
        )
    batch, channels, height, width = input.shape
    channels //= rows * columns
    split = reshape(input, [batch, channels, rows, columns, height, width])
    mixed = transpose(split, [0, 1, 4, 2, 5, 3])
    return reshape(mixed, [batch, channels, height * rows, width * columns], name=name)
