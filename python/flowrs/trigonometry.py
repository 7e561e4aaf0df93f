"""Trigonometric and hyperbolic functions, element by element: part of ``flow.math``."""

from __future__ import annotations

from flowrs.blob import Blob
from flowrs.unary import unary


def acos(x: Blob, name: str | None = None) -> Blob:
    """The inverse cosine, from 0 to pi; NaN outside of [-1, 1].

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.math.acos(x)
        >>> job(np.array([-1, 0, 1], np.float32)).round(4)
        array([3.1416, 1.5708, 0.    ], dtype=float32)
    """
    return unary("acos", "acos", "Acos", x, name)


def acosh(x: Blob, name: str | None = None) -> Blob:
    """The inverse hyperbolic cosine; NaN below 1.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.math.acosh(x)
        >>> job(np.array([1, 2], np.float32)).round(4)
        array([0.   , 1.317], dtype=float32)
    """
    return unary("acosh", "acosh", "Acosh", x, name)


def asin(x: Blob, name: str | None = None) -> Blob:
    """The inverse sine, from -pi/2 to pi/2; NaN outside of [-1, 1].

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.math.asin(x)
        >>> job(np.array([-1, 0, 1], np.float32)).round(4)
        array([-1.5708,  0.    ,  1.5708], dtype=float32)
    """
    return unary("asin", "asin", "Asin", x, name)


def asinh(x: Blob, name: str | None = None) -> Blob:
    """The inverse hyperbolic sine.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.math.asinh(x)
        >>> job(np.array([-1, 0, 1], np.float32)).round(4)
        array([-0.8814,  0.    ,  0.8814], dtype=float32)
    """
    return unary("asinh", "asinh", "Asinh", x, name)


def atan(x: Blob, name: str | None = None) -> Blob:
    """The inverse tangent, from -pi/2 to pi/2.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.math.atan(x)
        >>> job(np.array([-1, 0, 1], np.float32)).round(4)
        array([-0.7854,  0.    ,  0.7854], dtype=float32)
    """
    return unary("atan", "atan", "Atan", x, name)


def atanh(x: Blob, name: str | None = None) -> Blob:
    """The inverse hyperbolic tangent; NaN outside of [-1, 1].

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.math.atanh(x)
        >>> job(np.array([0, 0.5], np.float32)).round(4)
        array([0.    , 0.5493], dtype=float32)
    """
    return unary("atanh", "atanh", "Atanh", x, name)


def cos(x: Blob, name: str | None = None) -> Blob:
    """The cosine of an angle in radians.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.math.cos(x)
        >>> job(np.array([0, 1], np.float32)).round(4)
        array([1.    , 0.5403], dtype=float32)
    """
    return unary("cos", "cos", "Cos", x, name)


def cosh(x: Blob, name: str | None = None) -> Blob:
    """The hyperbolic cosine.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.math.cosh(x)
        >>> job(np.array([0, 1], np.float32)).round(4)
        array([1.    , 1.5431], dtype=float32)
    """
    return unary("cosh", "cosh", "Cosh", x, name)


def sin(x: Blob, name: str | None = None) -> Blob:
    """The sine of an angle in radians.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.math.sin(x)
        >>> job(np.array([0, 1], np.float32)).round(4)
        array([0.    , 0.8415], dtype=float32)
    """
    return unary("sin", "sin", "Sin", x, name)


def sinh(x: Blob, name: str | None = None) -> Blob:
    """The hyperbolic sine.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.math.sinh(x)
        >>> job(np.array([0, 1], np.float32)).round(4)
        array([0.    , 1.1752], dtype=float32)
    """
    return unary("sinh", "sinh", "Sinh", x, name)


def tan(x: Blob, name: str | None = None) -> Blob:
    """The tangent of an angle in radians.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.math.tan(x)
        >>> job(np.array([0, 1], np.float32)).round(4)
        array([0.    , 1.5574], dtype=float32)
    """
    return unary("tan", "tan", "Tan", x, name)


def tanh(x: Blob, name: str | None = None) -> Blob:
    """The hyperbolic tangent.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.math.tanh(x)
        >>> job(np.array([-1, 0, 1], np.float32)).round(4)
        array([-0.7616,  0.    ,  0.7616], dtype=float32)
    """
    return unary("tanh", "tanh", "Tanh", x, name)


def tanh_v2(x: Blob, name: str | None = None) -> Blob:
    """Another name of :func:`tanh`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((3,))) -> tp.Numpy:
        ...     return flow.math.tanh_v2(x)
        >>> job(np.array([-1, 0, 1], np.float32)).round(4)
        array([-0.7616,  0.    ,  0.7616], dtype=float32)
    """
    return unary("tanh_v2", "tanh", "TanhV2", x, name)
