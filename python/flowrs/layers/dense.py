"""Fully connected layers."""

from __future__ import annotations

from collections.abc import Callable

from flowrs import scope
from flowrs.array import matmul, reshape
from flowrs.blob import Blob
from flowrs.distribute import Distribute, assert_is_valid_distribute, broadcast
from flowrs.errors import ArgumentError, ArgumentTypeError, ShapeError
from flowrs.initializers import Initializer, zeros_initializer
from flowrs.nn import bias_add
from flowrs.regularizers import Regularizer
from flowrs.trace import current_trace
from flowrs.variables import get_variable

#: An activation: called with a blob and ``name="activation"``.
Activation = Callable[..., Blob]


def dense(
    inputs: Blob,
    units: int,
    activation: Activation | None = None,
    use_bias: bool = True,
    kernel_initializer: Initializer | None = None,
    bias_initializer: Initializer | None = None,
    kernel_regularizer: Regularizer | None = None,
    bias_regularizer: Regularizer | None = None,
    trainable: bool = True,
    name: str = "Dense",
    model_distribute: Distribute | None = None,
) -> Blob:
    """A fully connected layer: ``activation(inputs · weightᵀ + bias)``.

    Args:
        inputs: float32 or float64, shape ``(..., features)``, rank 2 or more.
        units: number of outputs.
        activation: called with the result and ``name="activation"``.
        use_bias: whether a bias is added.
        kernel_initializer: first value of ``<name>-weight``, shape ``(units, features)``; zeros.
        bias_initializer: first value of ``<name>-bias``, shape ``(units,)``; zeros.
        kernel_regularizer: a regularizer of ``flow.regularizers``.
        bias_regularizer: likewise.
        trainable: whether ``minimize`` changes the variables.
        name: name of the layer; no two layers of a job have the same.
        model_distribute: a hint without effect on one device.

    Returns:
        Shape ``(..., units)``.

    Raises:
        SessionError: no job's body is running.
        ArgumentTypeError: the inputs are no blob.
        ShapeError: the rank is below 2.
        VariableError: the job has a layer of this name already.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((4, 3))) -> tp.Numpy:
        ...     return flow.layers.dense(x, 2, kernel_initializer=flow.ones_initializer())
        >>> job(np.ones((4, 3), np.float32)).shape
        (4, 2)
        >>> sorted(flow.get_all_variables())
        ['Dense-bias', 'Dense-weight']
    """
    current_trace("layers.dense")
    if not isinstance(inputs, Blob):
        raise ArgumentTypeError(
            f"layers.dense ({name}): inputs must be a blob, found {type(inputs).__name__}"
        )
    if len(inputs.shape) < 2:
        raise ShapeError(f"layers.dense ({name}): needs rank 2 or more, found {inputs.shape}")
    if type(units) is not int or units <= 0:
        raise ArgumentError(f"layers.dense ({name}): units must be an int above 0, not {units!r}")
    _check_distribute(model_distribute, inputs, name)
    features = inputs.shape[-1]
    matrix = inputs if len(inputs.shape) == 2 else reshape(inputs, [-1, features])
    with scope.namespace(name):
        weight = get_variable(
            "weight",
            shape=(units, features),
            dtype=inputs.dtype,
            initializer=kernel_initializer or zeros_initializer(inputs.dtype),
            regularizer=kernel_regularizer,
            trainable=trainable,
            model_name="weight",
            reuse=False,
        )
        result = matmul(matrix, weight, transpose_b=True, name="matmul")
        if use_bias:
            bias = get_variable(
                "bias",
                shape=(units,),
                dtype=inputs.dtype,
                initializer=bias_initializer or zeros_initializer(inputs.dtype),
                regularizer=bias_regularizer,
                trainable=trainable,
                model_name="bias",
                reuse=False,
            )
            result = bias_add(result, bias, name="bias_add")
        if callable(activation):
            result = activation(result, name="activation")
    if len(inputs.shape) > 2:
        result = reshape(result, [*inputs.shape[:-1], units])
    return result


def _check_distribute(distribute: Distribute | None, inputs: Blob, name: str) -> None:
    hint = broadcast() if distribute is None else distribute
    assert_is_valid_distribute(hint)
    if hint.name == "split" and (hint.axis != 0 or len(inputs.shape) != 2):
        raise ArgumentError(
            f"layers.dense ({name}): {hint} needs axis 0 and inputs of rank 2, found {inputs.shape}"
        )
