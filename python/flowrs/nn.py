"""``flow.nn``: activations, bias, and losses."""

from __future__ import annotations

from flowrs.array import reshape
from flowrs.blob import Blob
from flowrs.convolution import compat_conv2d, conv1d, conv2d, conv2d_transpose, conv3d
from flowrs.errors import ArgumentError, ArgumentTypeError, ShapeError
from flowrs.images import (
    PixelShuffle,
    PixelShufflev2,
)
from flowrs.math import axes_of, relu
from flowrs.normalization import (
    GroupNorm,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
    batch_normalization,
    layer_norm,
    moments,
)
from flowrs.pooling import (
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
)
from flowrs.random import dropout, random_mask_like
from flowrs.trace import current_trace
from flowrs.triangle import tril

__all__ = [
    "GroupNorm",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "PixelShuffle",
    "PixelShufflev2",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_normalization",
    "bias_add",
    "compat_conv2d",
    "conv1d",
    "conv2d",
    "conv2d_transpose",
    "conv3d",
    "dropout",
    "layer_norm",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "moments",
    "random_mask_like",
    "relu",
    "softmax",
    "softmax_cross_entropy_with_logits",
    "sparse_softmax_cross_entropy_with_logits",
    "tril",
]


def bias_add(
    value: Blob, bias: Blob, data_format: str | None = None, name: str | None = None
) -> Blob:
    """Adds a vector along the channel axis.

    Args:
        value: a blob of rank 2 or more.
        bias: a blob of shape ``(channels,)`` and the same dtype.
        data_format: ``"NC..."`` or None: the channels are axis 1; ``"N...C"``: the last axis.
        name: name of the operation.

    Raises:
        ArgumentError: ``data_format`` is not of this form.
        ShapeError: the bias does not fit.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((1, 2)), b: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.nn.bias_add(x, b)
        >>> job(np.zeros((1, 2), np.float32), np.array([1, 2], np.float32))
        array([[1., 2.]], dtype=float32)
    """
    if len(value.shape) < 2:
        raise ShapeError(f"nn.bias_add: needs rank 2 or more, found shape {value.shape}")
    if data_format is None or data_format.startswith("NC"):
        axis = 1
    elif data_format.startswith("N") and data_format.endswith("C"):
        axis = len(value.shape) - 1
    else:
        raise ArgumentError(
            f"nn.bias_add: data_format must be NC..., N...C or None, not {data_format!r}"
        )
    trace = current_trace("nn.bias_add")
    return trace.apply("bias_add", [value, bias], {"axis": axis}, name=name, prefix="BiasAdd")[0]


def softmax(logits: Blob, axis: int | None = None, name: str | None = None) -> Blob:
    """``exp(logits) / sum(exp(logits))`` along an axis, the last one by default.

    Raises:
        ShapeError: the rank is below 2.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((1, 2))) -> tp.Numpy:
        ...     return flow.nn.softmax(x)
        >>> job(np.zeros((1, 2), np.float32))
        array([[0.5, 0.5]], dtype=float32)
    """
    if len(logits.shape) < 2:
        raise ShapeError(f"nn.softmax: needs rank 2 or more, found shape {logits.shape}")
    number = axes_of("nn.softmax", -1 if axis is None else axis, len(logits.shape))[0]
    trace = current_trace("nn.softmax")
    return trace.apply("softmax", [logits], {"axis": number}, name=name, prefix="Softmax")[0]


def sparse_softmax_cross_entropy_with_logits(
    labels: Blob, logits: Blob, name: str | None = None
) -> Blob:
    """``-log(max(softmax(logits)[label], 1e-20))`` for each row. Labels come first.

    Args:
        labels: integers, of the shape of the logits without the last axis, or with a last axis
            of 1, which is dropped. A label that is no class is a RangeError when the job runs,
            and no variable is changed.
        logits: float32 or float64, shape ``(..., classes)``.
        name: name of the operation.

    Returns:
        The losses, of the labels' shape and the logits' dtype.

    Raises:
        ShapeError: the shapes do not fit.
        DTypeError: the labels are no integers, or the logits no floats.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(
        ...     labels: tp.Numpy.Placeholder((1,), dtype=flow.int32),
        ...     logits: tp.Numpy.Placeholder((1, 2)),
        ... ) -> tp.Numpy:
        ...     return flow.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        >>> job(np.array([1], np.int32), np.zeros((1, 2), np.float32)).round(4)
        array([0.6931], dtype=float32)
    """
    function = "nn.sparse_softmax_cross_entropy_with_logits"
    if not isinstance(labels, Blob) or not isinstance(logits, Blob):
        raise ArgumentTypeError(f"{function}: labels and logits must be blobs")
    if len(labels.shape) == len(logits.shape) and labels.shape[-1] == 1:
        labels = reshape(labels, list(labels.shape[:-1]))
    trace = current_trace(function)
    prefix = "SparseSoftmaxCrossEntropy"
    return trace.apply("sparse_softmax_cross_entropy", [labels, logits], name=name, prefix=prefix)[
        0
    ]


def softmax_cross_entropy_with_logits(labels: Blob, logits: Blob, name: str | None = None) -> Blob:
    """``-sum(label * log(max(softmax(logits), 1e-20)))`` for each row.

    Args:
        labels: a distribution over the classes for each row; no gradient flows to it.
        logits: of the same shape and dtype, ``(..., classes)``.
        name: name of the operation.

    Returns:
        The losses, of the shape without the last axis.

    Raises:
        ShapeError: the shapes differ.
        DTypeError: the dtypes differ or are no floats.
    """
    trace = current_trace("nn.softmax_cross_entropy_with_logits")
    prefix = "SoftmaxCrossEntropy"
    return trace.apply("softmax_cross_entropy", [labels, logits], name=name, prefix=prefix)[0]
