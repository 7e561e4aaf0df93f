"""Functions of one blob, element by element: ``flow.math.exp`` and the like."""

from __future__ import annotations

from flowrs.blob import Blob
from flowrs.trace import current_trace


def unary(function: str, op: str, prefix: str, x: Blob, name: str | None) -> Blob:
    """Applies an operation of one input for a function of ``flow.math``."""
    return current_trace(f"math.{function}").apply(op, [x], name=name, prefix=prefix)[0]


def exp(x: Blob, name: str | None = None) -> Blob:
    """The number e to the power of each element.

    Args:
        x: float32 or float64, of any shape.
        name: name of the operation.

    Returns:
        A blob of the same shape and dtype.

    Raises:
        DTypeError: the elements are integers.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.math.exp(x)
        >>> job(np.array([0, -np.inf], np.float32))
        array([1., 0.], dtype=float32)
    """
    return unary("exp", "exp", "Exp", x, name)


def abs(x: Blob, name: str | None = None) -> Blob:  # noqa: A001 - the name is OneFlow's
    """``|x|``; integers too. The gradient at 0 is 0.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.math.abs(x)
        >>> job(np.array([-1, 0, 2], np.float32))
        array([1., 0., 2.], dtype=float32)
    """
    return unary("abs", "abs", "Abs", x, name)


def ceil(x: Blob, name: str | None = None) -> Blob:
    """The next integer above, as a float. The gradient is 0.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.math.ceil(x)
        >>> job(np.array([-0.5, 1.2], np.float32))
        array([-0.,  2.], dtype=float32)
    """
    return unary("ceil", "ceil", "Ceil", x, name)


def erf(x: Blob, name: str | None = None) -> Blob:
    """The error function, ``2 / sqrt(pi)`` times the integral of ``exp(-t²)`` from 0 to x.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.math.erf(x)
        >>> job(np.array([0, 1], np.float32)).round(4)
        array([0.    , 0.8427], dtype=float32)
    """
    return unary("erf", "erf", "Erf", x, name)


def erfc(x: Blob, name: str | None = None) -> Blob:
    """``1 - erf(x)``, with all digits where that is close to 0.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.math.erfc(x)
        >>> job(np.array([0, 1], np.float32)).round(4)
        array([1.    , 0.1573], dtype=float32)
    """
    return unary("erfc", "erfc", "Erfc", x, name)


def expm1(x: Blob, name: str | None = None) -> Blob:
    """``exp(x) - 1``, with all digits where ``x`` is close to 0.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.math.expm1(x)
        >>> job(np.array([0, 1], np.float32)).round(4)
        array([0.    , 1.7183], dtype=float32)
    """
    return unary("expm1", "expm1", "Expm1", x, name)


def floor(x: Blob, name: str | None = None) -> Blob:
    """The next integer below, as a float. The gradient is 0.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.math.floor(x)
        >>> job(np.array([-0.5, 1.2], np.float32))
        array([-1.,  1.], dtype=float32)
    """
    return unary("floor", "floor", "Floor", x, name)


def gelu(x: Blob, name: str | None = None) -> Blob:
    """``x * (1 + erf(x / sqrt(2))) / 2``.

    The Gaussian error linear unit, not its approximation by tanh.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.math.gelu(x)
        >>> job(np.array([-1, 0, 1], np.float32)).round(4)
        array([-0.1587,  0.    ,  0.8413], dtype=float32)
    """
    return unary("gelu", "gelu", "Gelu", x, name)


def lgamma(x: Blob, name: str | None = None) -> Blob:
    """The logarithm of the gamma function's absolute value.

    It has no gradient: asking is a GraphError.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.math.lgamma(x)
        >>> job(np.array([0.5, 1, 4], np.float32)).round(4)
        array([0.5724, 0.    , 1.7918], dtype=float32)
    """
    return unary("lgamma", "lgamma", "Lgamma", x, name)


def log(x: Blob, name: str | None = None) -> Blob:
    """The natural logarithm: ``-inf`` at 0 and NaN below.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.math.log(x)
        >>> job(np.array([1, 10], np.float32)).round(4)
        array([0.    , 2.3026], dtype=float32)
    """
    return unary("log", "log", "Log", x, name)


def log1p(x: Blob, name: str | None = None) -> Blob:
    """``log(1 + x)``, with all digits where ``x`` is close to 0.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.math.log1p(x)
        >>> job(np.array([0, 1], np.float32)).round(4)
        array([0.    , 0.6931], dtype=float32)
    """
    return unary("log1p", "log1p", "Log1p", x, name)


def log_sigmoid(x: Blob, name: str | None = None) -> Blob:
    """``-log(1 + exp(-x))``, which is finite for every finite ``x``.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.math.log_sigmoid(x)
        >>> job(np.array([-1, 0, 1], np.float32)).round(4)
        array([-1.3133, -0.6931, -0.3133], dtype=float32)
    """
    return unary("log_sigmoid", "log_sigmoid", "LogSigmoid", x, name)


def negative(x: Blob, name: str | None = None) -> Blob:
    """``-x``; integers too.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.math.negative(x)
        >>> job(np.array([-1, 0, 2], np.float32))
        array([ 1., -0., -2.], dtype=float32)
    """
    return unary("negative", "negative", "Negative", x, name)


def reciprocal(x: Blob, name: str | None = None) -> Blob:
    """``1 / x``, infinite at 0.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.math.reciprocal(x)
        >>> job(np.array([1, 2, 4], np.float32))
        array([1.  , 0.5 , 0.25], dtype=float32)
    """
    return unary("reciprocal", "reciprocal", "Reciprocal", x, name)


def reciprocal_no_nan(x: Blob, name: str | None = None) -> Blob:
    """``1 / x``, and 0 at 0, where the gradient is 0 too.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.math.reciprocal_no_nan(x)
        >>> job(np.array([0, 2, 4], np.float32))
        array([0.  , 0.5 , 0.25], dtype=float32)
    """
    return unary("reciprocal_no_nan", "reciprocal_no_nan", "ReciprocalNoNan", x, name)


def rint(x: Blob, name: str | None = None) -> Blob:
    """The nearest integer as a float, the even one of two. The gradient is 0.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.math.rint(x)
        >>> job(np.array([0.5, 1.5, 2.4], np.float32))
        array([0., 2., 2.], dtype=float32)
    """
    return unary("rint", "rint", "Rint", x, name)


def round(x: Blob, name: str | None = None) -> Blob:  # noqa: A001 - the name is OneFlow's
    """The nearest integer as a float, the even one of two, as :func:`rint`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.math.round(x)
        >>> job(np.array([0.5, 1.5, 2.4], np.float32))
        array([0., 2., 2.], dtype=float32)
    """
    return unary("round", "rint", "Round", x, name)


def rsqrt(x: Blob, name: str | None = None) -> Blob:
    """``1 / sqrt(x)``.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.math.rsqrt(x)
        >>> job(np.array([1, 2, 4], np.float32)).round(4)
        array([1.    , 0.7071, 0.5   ], dtype=float32)
    """
    return unary("rsqrt", "rsqrt", "Rsqrt", x, name)


def sigmoid(x: Blob, name: str | None = None) -> Blob:
    """``1 / (1 + exp(-x))``, without overflow.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.math.sigmoid(x)
        >>> job(np.array([-1, 0, 1], np.float32)).round(4)
        array([0.2689, 0.5   , 0.7311], dtype=float32)
    """
    return unary("sigmoid", "sigmoid", "Sigmoid", x, name)


def sigmoid_v2(x: Blob, name: str | None = None) -> Blob:
    """Another name of :func:`sigmoid`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.math.sigmoid_v2(x)
        >>> job(np.array([-1, 0, 1], np.float32)).round(4)
        array([0.2689, 0.5   , 0.7311], dtype=float32)
    """
    return unary("sigmoid_v2", "sigmoid", "SigmoidV2", x, name)


def sign(x: Blob, name: str | None = None) -> Blob:
    """1, 0 or -1; integers too. The gradient is 0.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.math.sign(x)
        >>> job(np.array([-3, 0, 0.5], np.float32))
        array([-1.,  0.,  1.], dtype=float32)
    """
    return unary("sign", "sign", "Sign", x, name)


def softplus(x: Blob, name: str | None = None) -> Blob:
    """``log(1 + exp(x))``, without overflow.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.math.softplus(x)
        >>> job(np.array([-1, 0, 1], np.float32)).round(4)
        array([0.3133, 0.6931, 1.3133], dtype=float32)
    """
    return unary("softplus", "softplus", "Softplus", x, name)


def sqrt(x: Blob, name: str | None = None) -> Blob:
    """The square root; NaN below 0. The gradient at 0 is infinite.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.math.sqrt(x)
        >>> job(np.array([1, 4, 9], np.float32))
        array([1., 2., 3.], dtype=float32)
    """
    return unary("sqrt", "sqrt", "Sqrt", x, name)


def square(x: Blob, name: str | None = None) -> Blob:
    """``x * x``; integers too.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.math.square(x)
        >>> job(np.array([-1, 2, 3], np.float32))
        array([1., 4., 9.], dtype=float32)
    """
    return unary("square", "square", "Square", x, name)


def relu(x: Blob, name: str | None = None) -> Blob:
    """``max(x, 0)``; integers too. The gradient is passed where the result is positive.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.math.relu(x)
        >>> job(np.array([-1, 0, 2], np.float32))
        array([0., 0., 2.], dtype=float32)
    """
    return unary("relu", "relu", "Relu", x, name)


def sigmoid_grad(y: Blob, dy: Blob, name: str | None = None) -> Blob:
    """``dy * y * (1 - y)``: the gradient of a sigmoid from its result and the result's gradient.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(y: tp.Numpy.Placeholder((2,)), dy: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.math.sigmoid_grad(y, dy)
        >>> job(np.array([0.5, 0.9], np.float32), np.ones(2, np.float32)).round(4)
        array([0.25, 0.09], dtype=float32)
    """
    trace = current_trace("math.sigmoid_grad")
    return trace.apply("sigmoid_grad", [y, dy], name=name, prefix="SigmoidGrad")[0]


def gelu_grad(x: Blob, dy: Blob, name: str | None = None) -> Blob:
    """The gradient of :func:`gelu` from its argument and the result's gradient.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,)), dy: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.math.gelu_grad(x, dy)
        >>> job(np.array([-1, 0, 1], np.float32), np.ones(3, np.float32)).round(4)
        array([-0.0833,  0.5   ,  1.0833], dtype=float32)
    """
    trace = current_trace("math.gelu_grad")
    return trace.apply("gelu_grad", [x, dy], name=name, prefix="GeluGrad")[0]
