"""Normalisation: functions of ``flow.nn``."""

from __future__ import annotations

import math as scalar_math
from collections.abc import Sequence

from flowrs import math
from flowrs.array import reshape
from flowrs.blob import Blob
from flowrs.errors import ArgumentError, ShapeError
from flowrs.initializers import Initializer, ones_initializer, zeros_initializer
from flowrs.reductions import axes_of
from flowrs.trace import Attribute, current_trace
from flowrs.variables import get_variable


def moments(
    x: Blob, axes: Sequence[int], keepdims: bool = False, name: str | None = None
) -> tuple[Blob, Blob]:
    """Mean and biased variance over axes; the variance is that of the differences to the mean.

    Args:
        x: float32 or float64.
        axes: the axes to average over.
        keepdims: keep them with extent 1.
        name: name of the variance's operation.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2, 2))) -> tp.Tuple[tp.Numpy, tp.Numpy]:
        ...     return flow.nn.moments(x, [1])
        >>> job(np.array([[1, 3], [2, 2]], np.float32))
        (array([2., 2.], dtype=float32), array([1., 0.], dtype=float32))
    """
    axes = list(axes)
    mean = math.reduce_mean(x, axes, keepdims=True)
    difference = math.subtract(x, mean)
    variance = math.reduce_mean(math.multiply(difference, difference), axes, keepdims, name)
    return (mean if keepdims else reshape(mean, list(variance.shape))), variance


def batch_normalization(
    x: Blob,
    mean: Blob,
    variance: Blob,
    offset: Blob | None = None,
    scale: Blob | None = None,
    variance_epsilon: float = 1e-5,
    axis: int = 1,
    name: str | None = None,
) -> Blob:
    """``(x - mean) / sqrt(variance + variance_epsilon) * scale + offset`` with given statistics.

    Args:
        x: float32 or float64.
        mean: one element for each position on ``axis``, or of the rank of ``x``.
        variance: likewise.
        offset: likewise, or None for 0.
        scale: likewise, or None for 1.
        variance_epsilon: keeps the divisor from 0.
        axis: the axis of the statistics.
        name: name of the last operation.

    Raises:
        ShapeError: a shape does not fit.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(
        ...     x: tp.Numpy.Placeholder((1, 2)),
        ...     mean: tp.Numpy.Placeholder((2,)),
        ...     variance: tp.Numpy.Placeholder((2,)),
        ... ) -> tp.Numpy:
        ...     return flow.nn.batch_normalization(x, mean, variance)
        >>> x = np.array([[1, 6]], np.float32)
        >>> mean = np.array([1, 2], np.float32)
        >>> variance = np.array([1, 4], np.float32)
        >>> job(x, mean, variance).round(4)
        array([[0., 2.]], dtype=float32)
    """
    number = axes_of("nn.batch_normalization", axis, len(x.shape))[0]

    def spread(what: str, blob: Blob) -> Blob:
        if len(blob.shape) == len(x.shape):
            return blob
        if blob.shape != (x.shape[number],):
            raise ShapeError(
                f"nn.batch_normalization: {what} of shape {blob.shape} does not fit axis {axis} "
                f"of {x.shape}"
            )
        shape = [1] * len(x.shape)
        shape[number] = x.shape[number]
        return reshape(blob, shape)

    factor = math.rsqrt(math.add(spread("variance", variance), variance_epsilon))
    if scale is not None:
        factor = math.multiply(factor, spread("scale", scale))
    centred = math.subtract(x, spread("mean", mean))
    if offset is None:
        return math.multiply(centred, factor, name)
    return math.add(math.multiply(centred, factor), spread("offset", offset), name)


def layer_norm(
    inputs: Blob,
    gamma: Blob | None = None,
    beta: Blob | None = None,
    begin_norm_axis: int = 1,
    begin_params_axis: int = -1,
    epsilon: float = 1e-5,
    name: str | None = None,
) -> Blob:
    """Normalises over the axes from ``begin_norm_axis`` on, then scales and shifts.

    Args:
        inputs: float32 or float64.
        gamma: the scale, of the shape ``inputs.shape[begin_params_axis:]``; None: 1.
        beta: the shift, likewise; None: 0.
        begin_norm_axis: the first axis that is averaged over.
        begin_params_axis: the first axis of the parameters.
        epsilon: keeps the divisor from 0.
        name: name of the operation.

    Raises:
        ShapeError: a parameter does not fit.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((1, 2))) -> tp.Numpy:
        ...     return flow.nn.layer_norm(x)
        >>> job(np.array([[1, 3]], np.float32)).round(4)
        array([[-1.,  1.]], dtype=float32)
    """
    rank = len(inputs.shape)
    begin = axes_of("nn.layer_norm", begin_norm_axis, rank)[0]
    first = axes_of("nn.layer_norm", begin_params_axis, rank)[0]
    shape = inputs.shape[first:]
    rows = scalar_math.prod(inputs.shape[:begin])
    return _normalize("LayerNorm", inputs, gamma, beta, shape, rows, 1, epsilon, name)


def _normalize(
    prefix: str,
    x: Blob,
    gamma: Blob | None,
    beta: Blob | None,
    shape: Sequence[int],
    rows: int,
    repeat: int,
    epsilon: float,
    name: str | None,
) -> Blob:
    """Normalises ``rows`` equal pieces of ``x``; parameters of ``shape`` repeat in a pattern."""
    trace = current_trace(f"nn.{prefix}")
    for what, blob in (("gamma", gamma), ("beta", beta)):
        if blob is not None and blob.shape != tuple(shape):
            raise ShapeError(f"{prefix}: {what} has shape {blob.shape}, expected {tuple(shape)}")
    scale = trace.constant(1, x.dtype, tuple(shape)) if gamma is None else gamma
    shift = trace.constant(0, x.dtype, tuple(shape)) if beta is None else beta
    attributes: dict[str, Attribute] = {"rows": rows, "repeat": repeat, "epsilon": float(epsilon)}
    inputs = [x, scale, shift]
    return trace.apply("layer_norm", inputs, attributes, name=name, prefix=prefix)[0]


def GroupNorm(  # noqa: N802 - the name is OneFlow's
    x: Blob,
    num_groups: int = 32,
    eps: float = 1e-5,
    affine: bool = True,
    name: str | None = None,
) -> Blob:
    """Normalises each sample's channels (axis 1) in ``num_groups`` groups.

    With ``affine``, variables ``<name>_gamma`` and ``<name>_beta`` of shape ``(1, channels, 1)``
    scale and shift each channel.

    Raises:
        ShapeError: the rank is below 3.
        ArgumentError: the channels do not fall into the groups.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((1, 2, 1))) -> tp.Numpy:
        ...     return flow.nn.GroupNorm(x, 1, affine=False)
        >>> job(np.array([[[1], [3]]], np.float32)).round(4)
        array([[[-1.],
                [ 1.]]], dtype=float32)
    """
    if len(x.shape) < 3:
        raise ShapeError(f"nn.GroupNorm: needs rank 3 or more, found {x.shape}")
    if type(num_groups) is not int or num_groups <= 0 or x.shape[1] % num_groups != 0:
        raise ArgumentError(
            f"nn.GroupNorm: {x.shape[1]} channels do not fall into {num_groups!r} groups"
        )
    return _grouped("GroupNorm", x, num_groups, eps, affine, name)


def InstanceNorm1d(  # noqa: N802
    x: Blob, eps: float = 1e-5, affine: bool = True, name: str | None = None
) -> Blob:
    """Normalises each channel of each sample, rank 3; parameters as :func:`GroupNorm`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((1, 1, 2))) -> tp.Numpy:
        ...     return flow.nn.InstanceNorm1d(x, affine=False)
        >>> job(np.array([[[1, 3]]], np.float32)).round(4)
        array([[[-1.,  1.]]], dtype=float32)
    """
    return _instance(1, x, eps, affine, name)


def InstanceNorm2d(  # noqa: N802
    x: Blob, eps: float = 1e-5, affine: bool = True, name: str | None = None
) -> Blob:
    """Normalises each channel of each sample, rank 4; parameters as :func:`GroupNorm`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((1, 1, 1, 2))) -> tp.Numpy:
        ...     return flow.nn.InstanceNorm2d(x, affine=False)
        >>> job(np.array([[[[1, 3]]]], np.float32)).round(4)
        array([[[[-1.,  1.]]]], dtype=float32)
    """
    return _instance(2, x, eps, affine, name)


def InstanceNorm3d(  # noqa: N802
    x: Blob, eps: float = 1e-5, affine: bool = True, name: str | None = None
) -> Blob:
    """Normalises each channel of each sample, rank 5; parameters as :func:`GroupNorm`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((1, 1, 1, 1, 2))) -> tp.Numpy:
        ...     return flow.nn.InstanceNorm3d(x, affine=False)
        >>> job(np.array([[[[[1, 3]]]]], np.float32)).round(4)
        array([[[[[-1.,  1.]]]]], dtype=float32)
    """
    return _instance(3, x, eps, affine, name)


def _instance(spatial: int, x: Blob, eps: float, affine: bool, name: str | None) -> Blob:
    function = f"InstanceNorm{spatial}d"
    if len(x.shape) != spatial + 2:
        raise ShapeError(f"nn.{function}: needs rank {spatial + 2}, found {x.shape}")
    return _grouped(function, x, x.shape[1], eps, affine, name)


def _grouped(prefix: str, x: Blob, groups: int, eps: float, affine: bool, name: str | None) -> Blob:
    trace = current_trace(f"nn.{prefix}")
    own = trace.short_name(prefix) if name is None else name
    shape = (1, x.shape[1], 1)
    gamma = beta = None
    if affine:
        gamma = _parameter(f"{own}_gamma", shape, x, ones_initializer(x.dtype))
        beta = _parameter(f"{own}_beta", shape, x, zeros_initializer(x.dtype))
    rows, repeat = x.shape[0] * groups, scalar_math.prod(x.shape[2:])
    return _normalize(prefix, x, gamma, beta, shape, rows, repeat, eps, own)


def _parameter(name: str, shape: tuple[int, ...], x: Blob, initializer: Initializer) -> Blob:
    return get_variable(name, shape=shape, dtype=x.dtype, initializer=initializer, reuse=False)
