"""Functions of one blob, element by element: ``flow.math.exp`` and the like."""

from __future__ import annotations

from flowrs.blob import Blob
from flowrs.trace import current_trace


def _unary(function: str, op: str, prefix: str, x: Blob, name: str | None) -> Blob:
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
    return _unary("exp", "exp", "Exp", x, name)


def abs(x: Blob, name: str | None = None) -> Blob:  # noqa: A001 - the name is OneFlow's
    """``|x|``; integers too. The gradient at 0 is 0."""
    return _unary("abs", "abs", "Abs", x, name)


def acos(x: Blob, name: str | None = None) -> Blob:
    """The inverse cosine, from 0 to pi; NaN outside of [-1, 1]."""
    return _unary("acos", "acos", "Acos", x, name)


def acosh(x: Blob, name: str | None = None) -> Blob:
    """The inverse hyperbolic cosine; NaN below 1."""
    return _unary("acosh", "acosh", "Acosh", x, name)


def asin(x: Blob, name: str | None = None) -> Blob:
    """The inverse sine, from -pi/2 to pi/2; NaN outside of [-1, 1]."""
    return _unary("asin", "asin", "Asin", x, name)


def asinh(x: Blob, name: str | None = None) -> Blob:
    """The inverse hyperbolic sine."""
    return _unary("asinh", "asinh", "Asinh", x, name)


def atan(x: Blob, name: str | None = None) -> Blob:
    """The inverse tangent, from -pi/2 to pi/2."""
    return _unary("atan", "atan", "Atan", x, name)


def atanh(x: Blob, name: str | None = None) -> Blob:
    """The inverse hyperbolic tangent; NaN outside of [-1, 1]."""
    return _unary("atanh", "atanh", "Atanh", x, name)


def ceil(x: Blob, name: str | None = None) -> Blob:
    """The next integer above, as a float. The gradient is 0."""
    return _unary("ceil", "ceil", "Ceil", x, name)


def cos(x: Blob, name: str | None = None) -> Blob:
    """The cosine of an angle in radians."""
    return _unary("cos", "cos", "Cos", x, name)


def cosh(x: Blob, name: str | None = None) -> Blob:
    """The hyperbolic cosine."""
    return _unary("cosh", "cosh", "Cosh", x, name)


def erf(x: Blob, name: str | None = None) -> Blob:
    """The error function, ``2 / sqrt(pi)`` times the integral of ``exp(-t²)`` from 0 to x."""
    return _unary("erf", "erf", "Erf", x, name)


def erfc(x: Blob, name: str | None = None) -> Blob:
    """``1 - erf(x)``, with all digits where that is close to 0."""
    return _unary("erfc", "erfc", "Erfc", x, name)


def expm1(x: Blob, name: str | None = None) -> Blob:
    """``exp(x) - 1``, with all digits where ``x`` is close to 0."""
    return _unary("expm1", "expm1", "Expm1", x, name)


def floor(x: Blob, name: str | None = None) -> Blob:
    """The next integer below, as a float. The gradient is 0."""
    return _unary("floor", "floor", "Floor", x, name)


def gelu(x: Blob, name: str | None = None) -> Blob:
    """``x * (1 + erf(x / sqrt(2))) / 2``.

    The Gaussian error linear unit, not its approximation by tanh.
    """
    return _unary("gelu", "gelu", "Gelu", x, name)


def lgamma(x: Blob, name: str | None = None) -> Blob:
    """The logarithm of the gamma function's absolute value.

    It has no gradient: asking is a GraphError.
    """
    return _unary("lgamma", "lgamma", "Lgamma", x, name)


def log(x: Blob, name: str | None = None) -> Blob:
    """The natural logarithm: ``-inf`` at 0 and NaN below."""
    return _unary("log", "log", "Log", x, name)


def log1p(x: Blob, name: str | None = None) -> Blob:
    """``log(1 + x)``, with all digits where ``x`` is close to 0."""
    return _unary("log1p", "log1p", "Log1p", x, name)


def log_sigmoid(x: Blob, name: str | None = None) -> Blob:
    """``-log(1 + exp(-x))``, which is finite for every finite ``x``."""
    return _unary("log_sigmoid", "log_sigmoid", "LogSigmoid", x, name)


def negative(x: Blob, name: str | None = None) -> Blob:
    """``-x``; integers too."""
    return _unary("negative", "negative", "Negative", x, name)


def reciprocal(x: Blob, name: str | None = None) -> Blob:
    """``1 / x``, infinite at 0."""
    return _unary("reciprocal", "reciprocal", "Reciprocal", x, name)


def reciprocal_no_nan(x: Blob, name: str | None = None) -> Blob:
    """``1 / x``, and 0 at 0, where the gradient is 0 too."""
    return _unary("reciprocal_no_nan", "reciprocal_no_nan", "ReciprocalNoNan", x, name)


def rint(x: Blob, name: str | None = None) -> Blob:
    """The nearest integer as a float, the even one of two. The gradient is 0."""
    return _unary("rint", "rint", "Rint", x, name)


def round(x: Blob, name: str | None = None) -> Blob:  # noqa: A001 - the name is OneFlow's
    """The nearest integer as a float, the even one of two, as :func:`rint`."""
    return _unary("round", "rint", "Round", x, name)


def rsqrt(x: Blob, name: str | None = None) -> Blob:
    """``1 / sqrt(x)``."""
    return _unary("rsqrt", "rsqrt", "Rsqrt", x, name)


def sigmoid(x: Blob, name: str | None = None) -> Blob:
    """``1 / (1 + exp(-x))``, without overflow."""
    return _unary("sigmoid", "sigmoid", "Sigmoid", x, name)


def sigmoid_v2(x: Blob, name: str | None = None) -> Blob:
    """Another name of :func:`sigmoid`."""
    return _unary("sigmoid_v2", "sigmoid", "SigmoidV2", x, name)


def sign(x: Blob, name: str | None = None) -> Blob:
    """1, 0 or -1; integers too. The gradient is 0."""
    return _unary("sign", "sign", "Sign", x, name)


def sin(x: Blob, name: str | None = None) -> Blob:
    """The sine of an angle in radians."""
    return _unary("sin", "sin", "Sin", x, name)


def sinh(x: Blob, name: str | None = None) -> Blob:
    """The hyperbolic sine."""
    return _unary("sinh", "sinh", "Sinh", x, name)


def softplus(x: Blob, name: str | None = None) -> Blob:
    """``log(1 + exp(x))``, without overflow."""
    return _unary("softplus", "softplus", "Softplus", x, name)


def sqrt(x: Blob, name: str | None = None) -> Blob:
    """The square root; NaN below 0. The gradient at 0 is infinite."""
    return _unary("sqrt", "sqrt", "Sqrt", x, name)


def square(x: Blob, name: str | None = None) -> Blob:
    """``x * x``; integers too."""
    return _unary("square", "square", "Square", x, name)


def tan(x: Blob, name: str | None = None) -> Blob:
    """The tangent of an angle in radians."""
    return _unary("tan", "tan", "Tan", x, name)


def tanh(x: Blob, name: str | None = None) -> Blob:
    """The hyperbolic tangent."""
    return _unary("tanh", "tanh", "Tanh", x, name)


def tanh_v2(x: Blob, name: str | None = None) -> Blob:
    """Another name of :func:`tanh`."""
    return _unary("tanh_v2", "tanh", "TanhV2", x, name)


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
    return _unary("relu", "relu", "Relu", x, name)


def sigmoid_grad(y: Blob, dy: Blob, name: str | None = None) -> Blob:
    """``dy * y * (1 - y)``: the gradient of a sigmoid from its result and the result's gradient."""
    trace = current_trace("math.sigmoid_grad")
    return trace.apply("sigmoid_grad", [y, dy], name=name, prefix="SigmoidGrad")[0]


def gelu_grad(x: Blob, dy: Blob, name: str | None = None) -> Blob:
    """The gradient of :func:`gelu` from its argument and the result's gradient."""
    trace = current_trace("math.gelu_grad")
    return trace.apply("gelu_grad", [x, dy], name=name, prefix="GeluGrad")[0]
