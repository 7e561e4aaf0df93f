"""``flow.nn``: activations, bias, and losses."""

from __future__ import annotations

from flowrs.activations import (
    elu,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    mish,
    relu6,
    swish,
)
from flowrs.blob import Blob
from flowrs.convolution import compat_conv2d, conv1d, conv2d, conv2d_transpose, conv3d
from flowrs.criteria import (
    BCELoss,
    BCEWithLogitsLoss,
    KLDivLoss,
    L1Loss,
    MarginRankingLoss,
    MSELoss,
    TripletMarginLoss,
)
from flowrs.cross_entropy import (
    logsoftmax,
    sigmoid_cross_entropy_with_logits,
    softmax,
    softmax_cross_entropy_with_logits,
    sparse_cross_entropy,
    sparse_softmax_cross_entropy_with_logits,
)
from flowrs.errors import ArgumentError, ShapeError
from flowrs.images import (
    PixelShuffle,
    PixelShufflev2,
)
from flowrs.math import relu
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
    "BCELoss",
    "BCEWithLogitsLoss",
    "GroupNorm",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "KLDivLoss",
    "L1Loss",
    "MSELoss",
    "MarginRankingLoss",
    "PixelShuffle",
    "PixelShufflev2",
    "TripletMarginLoss",
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
    "elu",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "layer_norm",
    "leaky_relu",
    "logsoftmax",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "mish",
    "moments",
    "random_mask_like",
    "relu",
    "relu6",
    "sigmoid_cross_entropy_with_logits",
    "softmax",
    "softmax_cross_entropy_with_logits",
    "sparse_cross_entropy",
    "sparse_softmax_cross_entropy_with_logits",
    "swish",
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
