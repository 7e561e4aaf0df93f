"""The leaky relu whose slope is trained."""

from __future__ import annotations

from collections.abc import Sequence

from flowrs import scope
from flowrs.blob import Blob
from flowrs.distribute import Distribute, assert_is_valid_distribute
from flowrs.errors import ArgumentError, ShapeError
from flowrs.initializers import Initializer, zeros_initializer
from flowrs.regularizers import Regularizer
from flowrs.trace import current_trace
from flowrs.variables import get_variable


def prelu(
    inputs: Blob,
    alpha_initializer: Initializer | None = None,
    alpha_regularizer: Regularizer | None = None,
    shared_axes: Sequence[int] | None = None,
    trainable: bool = True,
    name: str = "PRelu",
    model_distribute: Distribute | None = None,
) -> Blob:
    """``inputs`` where they are above 0, else ``alpha * inputs``.

    Args:
        inputs: float32 or float64, shape ``(batch, ...)``, rank 2 or more.
        alpha_initializer: first value of ``<name>-alpha``, of the shape of one example; zeros.
        alpha_regularizer: a regularizer of ``flow.regularizers``.
        shared_axes: axes, the batch's being 0, along which there is one slope: its extent is 1.
        trainable: whether ``minimize`` changes the slopes.
        name: name of the layer; no two layers of a job have the same.
        model_distribute: a hint without effect on one device.

    Raises:
        ShapeError: the rank is below 2.
        ArgumentError: a shared axis is not one of an example.
        VariableError: the job has a layer of this name already.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((1, 2))) -> tp.Numpy:
        ...     return flow.layers.prelu(x, flow.constant_initializer(0.5))
        >>> job(np.array([[-2, 3]], np.float32))
        array([[-1.,  3.]], dtype=float32)
    """
    trace = current_trace("layers.prelu")
    rank = len(inputs.shape)
    if rank < 2:
        raise ShapeError(f"layers.prelu ({name}): needs rank 2 or more, found {inputs.shape}")
    if model_distribute is not None:
        assert_is_valid_distribute(model_distribute)
    shape = list(inputs.shape[1:])
    for axis in shared_axes or ():
        if type(axis) is not int or not 1 <= axis < rank:
            raise ArgumentError(
                f"layers.prelu ({name}): shared_axes must be from 1 to {rank - 1}, found {axis!r}"
            )
        shape[axis - 1] = 1
    with scope.namespace(name):
        alpha = get_variable(
            "alpha",
            shape=shape,
            dtype=inputs.dtype,
            initializer=alpha_initializer or zeros_initializer(inputs.dtype),
            regularizer=alpha_regularizer,
            trainable=trainable,
            reuse=False,
        )
    return trace.apply("prelu", [inputs, alpha], name=name, prefix="PRelu")[0]
