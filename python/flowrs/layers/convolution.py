"""Convolution layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowrs import array, scope
from flowrs.blob import Blob
from flowrs.convolution import convolution
from flowrs.errors import ArgumentError, ShapeError
from flowrs.initializers import Initializer, xavier_uniform_initializer, zeros_initializer
from flowrs.layers.dense import Activation
from flowrs.nn import bias_add
from flowrs.variables import get_variable
from flowrs.window import Layout, Padding, Sizes, sizes

if TYPE_CHECKING:
    from flowrs.regularizers import Regularizer


def conv2d(
    inputs: Blob,
    filters: int,
    kernel_size: Sizes = 1,
    strides: Sizes = 1,
    padding: Padding = "VALID",
    data_format: str = "NCHW",
    dilation_rate: Sizes | None = None,
    groups: int = 1,
    activation: Activation | None = None,
    use_bias: bool = True,
    kernel_initializer: Initializer | None = None,
    bias_initializer: Initializer | None = None,
    kernel_regularizer: Regularizer | None = None,
    bias_regularizer: Regularizer | None = None,
    trainable: bool = True,
    name: str = "Conv2d",
    weight_name: str | None = None,
    bias_name: str | None = None,
) -> Blob:
    """A convolution with a bias and an activation.

    Args:
        inputs: float32 or float64, ``(batch, channels, height, width)``, or with ``"NHWC"``
            ``(batch, height, width, channels)``.
        filters: number of output channels.
        kernel_size: an int, or one for each spatial axis.
        strides: an int, or one for each spatial axis.
        padding: as for :func:`flowrs.nn.conv2d`.
        data_format: ``"NCHW"`` or ``"NHWC"``.
        dilation_rate: distance between the elements that a filter looks at; None: 1.
        groups: into how many parts, convolved apart, the channels fall.
        activation: called with the result and ``name="activation"``.
        use_bias: whether ``<name>-bias``, shape ``(filters,)``, is added.
        kernel_initializer: first value of ``<name>-weight``, shape
            ``(filters, channels / groups, height, width)``, or with ``"NHWC"``
            ``(filters, height, width, channels / groups)``; ``xavier_uniform_initializer``.
        bias_initializer: zeros by default.
        kernel_regularizer: a regularizer of ``flow.regularizers``.
        bias_regularizer: likewise.
        trainable: whether ``minimize`` changes the variables.
        name: name of the layer; no two layers of a job have the same.
        weight_name: name of the weight instead of ``<name>-weight``.
        bias_name: name of the bias instead of ``<name>-bias``.

    Raises:
        ArgumentError: an argument is of no known form, or out of range.
        ShapeError: the shapes do not fit.
        VariableError: the job has a layer of this name already.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((1, 1, 28, 28))) -> tp.Numpy:
        ...     return flow.layers.conv2d(x, 32, 5, padding="SAME", activation=flow.nn.relu)
        >>> job(np.ones((1, 1, 28, 28), np.float32)).shape
        (1, 32, 28, 28)
    """
    return _layer(
        2,
        inputs,
        filters,
        kernel_size,
        strides,
        padding,
        data_format,
        dilation_rate,
        groups,
        activation,
        use_bias,
        kernel_initializer,
        bias_initializer,
        kernel_regularizer,
        bias_regularizer,
        trainable,
        name,
        weight_name,
        bias_name,
    )


def conv1d(
    inputs: Blob,
    filters: int,
    kernel_size: Sizes = 1,
    strides: Sizes = 1,
    padding: Padding = "VALID",
    data_format: str = "NCW",
    dilation_rate: Sizes | None = None,
    groups: int = 1,
    activation: Activation | None = None,
    use_bias: bool = True,
    kernel_initializer: Initializer | None = None,
    bias_initializer: Initializer | None = None,
    kernel_regularizer: Regularizer | None = None,
    bias_regularizer: Regularizer | None = None,
    trainable: bool = True,
    name: str = "Conv1d",
    weight_name: str | None = None,
    bias_name: str | None = None,
) -> Blob:
    """As :func:`conv2d` over one spatial axis; ``"NCW"`` or ``"NWC"``.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((1, 3, 8))) -> tp.Numpy:
        ...     return flow.layers.conv1d(x, 4, 3, padding="SAME")
        >>> job(np.ones((1, 3, 8), np.float32)).shape
        (1, 4, 8)
    """
    return _layer(
        1,
        inputs,
        filters,
        kernel_size,
        strides,
        padding,
        data_format,
        dilation_rate,
        groups,
        activation,
        use_bias,
        kernel_initializer,
        bias_initializer,
        kernel_regularizer,
        bias_regularizer,
        trainable,
        name,
        weight_name,
        bias_name,
    )


def conv3d(
    inputs: Blob,
    filters: int,
    kernel_size: Sizes = 1,
    strides: Sizes = 1,
    padding: Padding = "VALID",
    data_format: str = "NCDHW",
    dilation_rate: Sizes | None = None,
    groups: int = 1,
    activation: Activation | None = None,
    use_bias: bool = True,
    kernel_initializer: Initializer | None = None,
    bias_initializer: Initializer | None = None,
    kernel_regularizer: Regularizer | None = None,
    bias_regularizer: Regularizer | None = None,
    trainable: bool = True,
    name: str = "Conv3d",
    weight_name: str | None = None,
    bias_name: str | None = None,
) -> Blob:
    """As :func:`conv2d` over three spatial axes; ``"NCDHW"`` or ``"NDHWC"``.

    The weight has the shape ``(filters, channels / groups, depth, height, width)`` in both.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((1, 3, 8, 8, 8))) -> tp.Numpy:
        ...     return flow.layers.conv3d(x, 4, 3, padding="SAME")
        >>> job(np.ones((1, 3, 8, 8, 8), np.float32)).shape
        (1, 4, 8, 8, 8)
    """
    return _layer(
        3,
        inputs,
        filters,
        kernel_size,
        strides,
        padding,
        data_format,
        dilation_rate,
        groups,
        activation,
        use_bias,
        kernel_initializer,
        bias_initializer,
        kernel_regularizer,
        bias_regularizer,
        trainable,
        name,
        weight_name,
        bias_name,
    )


def _layer(
    spatial: int,
    inputs: Blob,
    filters: int,
    kernel_size: Sizes,
    strides: Sizes,
    padding: Padding,
    data_format: str,
    dilation_rate: Sizes | None,
    groups: int,
    activation: Activation | None,
    use_bias: bool,
    kernel_initializer: Initializer | None,
    bias_initializer: Initializer | None,
    kernel_regularizer: Regularizer | None,
    bias_regularizer: Regularizer | None,
    trainable: bool,
    name: str,
    weight_name: str | None,
    bias_name: str | None,
) -> Blob:
    function = f"layers.conv{spatial}d ({name})"
    layout = Layout.parse(function, data_format, spatial)
    if len(inputs.shape) != spatial + 2:
        raise ShapeError(f"{function}: needs rank {spatial + 2}, found {inputs.shape}")
    channels = inputs.shape[layout.channel_axis]
    for what, number in (("groups", groups), ("filters", filters)):
        if type(number) is not int or number <= 0:
            raise ArgumentError(f"{function}: {what} must be an int above 0, not {number!r}")
    if filters % groups != 0 or channels % groups != 0:
        raise ArgumentError(
            f"{function}: {channels} channels and {filters} filters must fall into {groups} groups"
        )
    kernel = sizes(function, "kernel_size", kernel_size, spatial)
    # The weight of conv3d is stored channels first in both layouts.
    stored_last = layout.channels_last and spatial != 3
    shape = [filters, *kernel, channels // groups] if stored_last else [
        filters, channels // groups, *kernel
    ]  # fmt: skip
    weight = get_variable(
        weight_name or f"{name}-weight",
        shape=shape,
        dtype=inputs.dtype,
        initializer=kernel_initializer or xavier_uniform_initializer(data_format),
        regularizer=kernel_regularizer,
        trainable=trainable,
        model_name="weight",
        reuse=False,
    )
    if layout.channels_last and not stored_last:
        weight = array.transpose(weight, [0, 2, 3, 4, 1])
    result = convolution(
        spatial, inputs, weight, strides, padding, data_format, dilation_rate, groups, name
    )
    if use_bias:
        bias = get_variable(
            bias_name or f"{name}-bias",
            shape=(filters,),
            dtype=inputs.dtype,
            initializer=bias_initializer or zeros_initializer(inputs.dtype),
            regularizer=bias_regularizer,
            trainable=trainable,
            model_name="bias",
            reuse=False,
        )
        result = bias_add(result, bias, data_format, name=f"{name}-bias_add")
    if callable(activation):
        with scope.namespace(name):
            result = activation(result, name="activation")
    return result
