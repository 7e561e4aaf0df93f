"""Activations with parameters or kinks. At a kink the gradient is that of the flatter side."""

from __future__ import annotations

from flowrs.blob import Blob
from flowrs.errors import ArgumentError
from flowrs.trace import Attribute, current_trace


def _activation(
    op: str, prefix: str, x: Blob, name: str | None, attributes: dict[str, Attribute] | None = None
) -> Blob:
    return current_trace(f"nn.{op}").apply(op, [x], attributes, name=name, prefix=prefix)[0]


def leaky_relu(x: Blob, alpha: float = 0.2, name: str | None = None) -> Blob:
    """``x`` where it is above 0, else ``alpha * x``.

    Args:
        x: float32 or float64.
        alpha: the slope of the negative side.
        name: name of the operation.

    Raises:
        DTypeError: the elements are integers.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.nn.leaky_relu(x, alpha=0.5)
        >>> job(np.array([-2, 3], np.float32))
        array([-1.,  3.], dtype=float32)
    """
    return _activation("leaky_relu", "LeakyRelu", x, name, {"alpha": float(alpha)})


def elu(x: Blob, alpha: float = 1.0, name: str | None = None) -> Blob:
    """``x`` where it is above 0, else ``alpha * (exp(x) - 1)``; arguments as :func:`leaky_relu`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.nn.elu(x)
        >>> job(np.array([-1, 0, 2], np.float32)).round(4)
        array([-0.6321,  0.    ,  2.    ], dtype=float32)
    """
    return _activation("elu", "Elu", x, name, {"alpha": float(alpha)})


def relu6(x: Blob, name: str | None = None) -> Blob:
    """``min(max(x, 0), 6)``.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.nn.relu6(x)
        >>> job(np.array([-1, 3, 9], np.float32))
        array([0., 3., 6.], dtype=float32)
    """
    return _activation("relu6", "Relu6", x, name)


def hardtanh(x: Blob, min_val: float = -1.0, max_val: float = 1.0, name: str | None = None) -> Blob:
    """``min(max(x, min_val), max_val)``; the gradient flows strictly between the two.

    Raises:
        ArgumentError: ``min_val`` is not below ``max_val``.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.nn.hardtanh(x)
        >>> job(np.array([-2, 0.5, 2], np.float32))
        array([-1. ,  0.5,  1. ], dtype=float32)
    """
    if not min_val < max_val:
        raise ArgumentError(
            f"nn.hardtanh: min_val must be below max_val, found {min_val!r} and {max_val!r}"
        )
    limits: dict[str, Attribute] = {"min_val": float(min_val), "max_val": float(max_val)}
    return _activation("hardtanh", "Hardtanh", x, name, limits)


def hardsigmoid(x: Blob, name: str | None = None) -> Blob:
    """``min(max(x / 6 + 0.5, 0), 1)``.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.nn.hardsigmoid(x)
        >>> job(np.array([-3, 0, 3], np.float32))
        array([0. , 0.5, 1. ], dtype=float32)
    """
    return _activation("hardsigmoid", "Hardsigmoid", x, name)


def hardswish(x: Blob, name: str | None = None) -> Blob:
    """``x * min(max(x + 3, 0), 6) / 6``.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.nn.hardswish(x)
        >>> job(np.array([-3, 0, 3], np.float32))
        array([0., 0., 3.], dtype=float32)
    """
    return _activation("hardswish", "Hardswish", x, name)


def swish(x: Blob, beta: float = 1.0, name: str | None = None) -> Blob:
    """``x * sigmoid(beta * x)``.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.nn.swish(x)
        >>> job(np.array([-1, 0, 1], np.float32)).round(4)
        array([-0.2689,  0.    ,  0.7311], dtype=float32)
    """
    return _activation("swish", "Swish", x, name, {"beta": float(beta)})


def mish(x: Blob, name: str | None = None) -> Blob:
    """``x * tanh(log(1 + exp(x)))``.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.nn.mish(x)
        >>> job(np.array([-1, 0, 1], np.float32)).round(4)
        array([-0.3034,  0.    ,  0.8651], dtype=float32)
    """
    return _activation("mish", "Mish", x, name)
