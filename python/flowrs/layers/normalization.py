"""Normalisation layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowrs import math as nn_math
from flowrs import nn
from flowrs.blob import Blob
from flowrs.errors import ArgumentError
from flowrs.initializers import Initializer, ones_initializer, zeros_initializer
from flowrs.reductions import axes_of
from flowrs.trace import Attribute, current_trace
from flowrs.variables import get_variable

if TYPE_CHECKING:
    from flowrs.regularizers import Regularizer


def _parameter(
    name: str,
    shape: tuple[int, ...],
    x: Blob,
    initializer: Initializer,
    regularizer: Regularizer | None = None,
    trainable: bool = True,
) -> Blob:
    return get_variable(
        name,
        shape=shape,
        dtype=x.dtype,
        initializer=initializer,
        regularizer=regularizer,
        trainable=trainable,
        reuse=False,
    )


def batch_normalization(
    inputs: Blob,
    axis: int = -1,
    momentum: float = 0.99,
    epsilon: float = 0.001,
    center: bool = True,
    scale: bool = True,
    beta_initializer: Initializer | None = None,
    gamma_initializer: Initializer | None = None,
    beta_regularizer: Regularizer | None = None,
    gamma_regularizer: Regularizer | None = None,
    moving_mean_initializer: Initializer | None = None,
    moving_variance_initializer: Initializer | None = None,
    trainable: bool = True,
    training: bool = True,
    name: str = "BatchNorm",
    gamma_name: str | None = None,
    beta_name: str | None = None,
    moving_mean_name: str | None = None,
    moving_variance_name: str | None = None,
) -> Blob:
    """Batch normalisation with moving averages of the batches' statistics.

    A train job (with ``training`` and ``trainable``) uses the mean and the biased variance of the
    batch and updates the averages: ``average = momentum * average + (1 - momentum) * batch``. A
    predict job uses the averages.

    Args:
        inputs: float32 or float64.
        axis: the axis of the channels.
        momentum: share of an average that is kept.
        epsilon: keeps the divisor from 0.
        center: whether ``<name>-beta`` is added.
        scale: whether ``<name>-gamma`` is multiplied by.
        beta_initializer: zeros by default.
        gamma_initializer: ones by default.
        beta_regularizer: a regularizer of ``flow.regularizers``.
        gamma_regularizer: likewise.
        moving_mean_initializer: of ``<name>-moving_mean``; zeros by default.
        moving_variance_initializer: of ``<name>-moving_variance``; ones by default.
        trainable: whether ``minimize`` changes beta and gamma, and batches change the averages.
        training: false: use the averages in train jobs too.
        name: name of the layer.
        gamma_name: full name of the variable instead of ``<name>-gamma``.
        beta_name: likewise.
        moving_mean_name: likewise.
        moving_variance_name: likewise.

    Returns:
        Of the shape of ``inputs``.

    Raises:
        ArgumentError: an argument is out of range.
        VariableError: the job has a layer of this name already.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((4, 2))) -> tp.Numpy:
        ...     return flow.layers.batch_normalization(x, epsilon=0.0)
        >>> job(np.ones((4, 2), np.float32))[0]
        array([1., 1.], dtype=float32)
    """
    function = f"layers.batch_normalization ({name})"
    number = axes_of(function, axis, len(inputs.shape))[0]
    if not 0 <= momentum <= 1:
        raise ArgumentError(f"{function}: momentum must be from 0 to 1, not {momentum!r}")
    trace = current_trace("layers.batch_normalization")
    shape = (inputs.shape[number],)
    zeros, ones = zeros_initializer(inputs.dtype), ones_initializer(inputs.dtype)

    def variable(
        full: str | None, suffix: str, first: Initializer, regularizer: Regularizer | None, on: bool
    ) -> Blob:
        return _parameter(full or f"{name}-{suffix}", shape, inputs, first, regularizer, on)

    beta = (
        variable(beta_name, "beta", beta_initializer or zeros, beta_regularizer, trainable)
        if center
        else trace.constant(0, inputs.dtype, shape)
    )
    gamma = (
        variable(gamma_name, "gamma", gamma_initializer or ones, gamma_regularizer, trainable)
        if scale
        else trace.constant(1, inputs.dtype, shape)
    )
    mean = variable(moving_mean_name, "moving_mean", moving_mean_initializer or zeros, None, False)
    variance = variable(
        moving_variance_name, "moving_variance", moving_variance_initializer or ones, None, False
    )
    attributes: dict[str, Attribute] = {"axis": number, "epsilon": float(epsilon)}
    if not (trace.is_train_job and training and trainable):
        values = [inputs, gamma, beta, mean, variance]
        return trace.apply("batch_norm_fixed", values, attributes, name=name, prefix="BatchNorm")[0]
    values = [inputs, gamma, beta]
    result, *statistics = trace.apply(
        "batch_norm", values, attributes, name=name, prefix="BatchNorm"
    )
    for average, batch in zip((mean, variance), statistics, strict=True):
        label = f"System-Train-Update-{average.op_name}"
        trace.apply_named("moving_average", [average, batch], {"momentum": float(momentum)}, label)
    return result


def batch_normalization_relu(
    inputs: Blob,
    axis: int = -1,
    momentum: float = 0.99,
    epsilon: float = 0.001,
    center: bool = True,
    scale: bool = True,
    beta_initializer: Initializer | None = None,
    gamma_initializer: Initializer | None = None,
    beta_regularizer: Regularizer | None = None,
    gamma_regularizer: Regularizer | None = None,
    moving_mean_initializer: Initializer | None = None,
    moving_variance_initializer: Initializer | None = None,
    trainable: bool = True,
    training: bool = True,
    name: str = "BatchNorm",
    gamma_name: str | None = None,
    beta_name: str | None = None,
    moving_mean_name: str | None = None,
    moving_variance_name: str | None = None,
) -> Blob:
    """``relu(batch_normalization(inputs))``; arguments as :func:`batch_normalization`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((1, 2))) -> tp.Numpy:
        ...     return flow.layers.batch_normalization_relu(x, epsilon=0.0)
        >>> job(np.array([[-1, 2]], np.float32))
        array([[0., 2.]], dtype=float32)
    """
    normalized = batch_normalization(
        inputs,
        axis,
        momentum,
        epsilon,
        center,
        scale,
        beta_initializer,
        gamma_initializer,
        beta_regularizer,
        gamma_regularizer,
        moving_mean_initializer,
        moving_variance_initializer,
        trainable,
        training,
        name,
        gamma_name,
        beta_name,
        moving_mean_name,
        moving_variance_name,
    )
    return nn.relu(normalized, name=f"{name}-relu")


def batch_normalization_add_relu(
    inputs: Blob,
    addend: Blob | None = None,
    axis: int = -1,
    momentum: float = 0.99,
    epsilon: float = 0.001,
    center: bool = True,
    scale: bool = True,
    beta_initializer: Initializer | None = None,
    gamma_initializer: Initializer | None = None,
    beta_regularizer: Regularizer | None = None,
    gamma_regularizer: Regularizer | None = None,
    moving_mean_initializer: Initializer | None = None,
    moving_variance_initializer: Initializer | None = None,
    trainable: bool = True,
    training: bool = True,
    name: str = "BatchNorm",
    gamma_name: str | None = None,
    beta_name: str | None = None,
    moving_mean_name: str | None = None,
    moving_variance_name: str | None = None,
) -> Blob:
    """``relu(batch_normalization(inputs) + addend)``, where ``addend`` may be None.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((1, 2))) -> tp.Numpy:
        ...     return flow.layers.batch_normalization_add_relu(x, x, epsilon=0.0)
        >>> job(np.array([[-1, 2]], np.float32))
        array([[0., 4.]], dtype=float32)
    """
    normalized = batch_normalization(
        inputs,
        axis,
        momentum,
        epsilon,
        center,
        scale,
        beta_initializer,
        gamma_initializer,
        beta_regularizer,
        gamma_regularizer,
        moving_mean_initializer,
        moving_variance_initializer,
        trainable,
        training,
        name,
        gamma_name,
        beta_name,
        moving_mean_name,
        moving_variance_name,
    )
    if addend is not None:
        normalized = nn_math.add(normalized, addend, name=f"{name}-add")
    return nn.relu(normalized, name=f"{name}-relu")


def layer_norm(
    inputs: Blob,
    center: bool = True,
    scale: bool = True,
    trainable: bool = True,
    begin_norm_axis: int = 1,
    begin_params_axis: int = -1,
    epsilon: float = 1e-5,
    name: str = "LayerNorm",
) -> Blob:
    """Layer normalisation with its parameters.

    Args:
        inputs: float32 or float64.
        center: whether ``<name>-beta`` is added; zeros at first.
        scale: whether ``<name>-gamma`` is multiplied by; ones at first.
        trainable: whether ``minimize`` changes the variables.
        begin_norm_axis: the first axis that is averaged over.
        begin_params_axis: the first axis of the parameters' shape.
        epsilon: keeps the divisor from 0.
        name: name of the layer.

    Returns:
        Of the shape of ``inputs``.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((1, 2))) -> tp.Numpy:
        ...     return flow.layers.layer_norm(x, epsilon=0.0)
        >>> job(np.array([[1, 3]], np.float32))
        array([[-1.,  1.]], dtype=float32)
    """
    first = axes_of(f"layers.layer_norm ({name})", begin_params_axis, len(inputs.shape))[0]
    shape = inputs.shape[first:]
    beta = gamma = None
    if center:
        zeros = zeros_initializer(inputs.dtype)
        beta = _parameter(f"{name}-beta", shape, inputs, zeros, None, trainable)
    if scale:
        ones = ones_initializer(inputs.dtype)
        gamma = _parameter(f"{name}-gamma", shape, inputs, ones, None, trainable)
    return nn.layer_norm(inputs, gamma, beta, begin_norm_axis, begin_params_axis, epsilon, name)
