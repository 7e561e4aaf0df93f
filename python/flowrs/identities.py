"""Functions that give what they take: placement and precision mean nothing on one CPU."""

from __future__ import annotations

from collections.abc import Sequence

from flowrs.blob import Blob
from flowrs.errors import ArgumentTypeError
from flowrs.trace import current_trace


def identity(x: Blob, name: str | None = None) -> Blob:
    """The value itself under another name; nothing is copied.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.identity(x)
        >>> job(np.array([1, 2], np.float32))
        array([1., 2.], dtype=float32)
    """
    return current_trace("identity").apply("identity", [x], name=name, prefix="Identity")[0]


def identity_n(inputs: Sequence[Blob], name: str | None = None) -> list[Blob]:
    """The values of several blobs under other names; nothing is copied.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.identity_n([x, x])[1]
        >>> job(np.array([1, 2], np.float32))
        array([1., 2.], dtype=float32)
    """
    if not isinstance(inputs, (list, tuple)):
        raise ArgumentTypeError(f"identity_n: expected a list of blobs, not {inputs!r}")
    base = current_trace("identity_n").short_name("IdentityN") if name is None else name
    return [identity(x, f"{base}_{number}") for number, x in enumerate(inputs)]


def parallel_cast(
    input: Blob,  # noqa: A002 - the name is OneFlow's
    name: str | None = None,
    distribute: object = None,
    gradient_distribute: object = None,
) -> Blob:
    """The value itself: a placement hint has no effect on one device.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.parallel_cast(x, distribute=flow.distribute.broadcast())
        >>> job(np.array([1, 2], np.float32))
        array([1., 2.], dtype=float32)
    """
    return identity(input, name)


def hierarchical_parallel_cast(
    input: Blob,  # noqa: A002 - the name is OneFlow's
    parallel_distribution: object = None,
    gradient_mode: object = None,
    gradient_parallel_distribution: object = None,
    name: str | None = None,
) -> Blob:
    """The value itself: a placement hint has no effect on one device.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.hierarchical_parallel_cast(x, ["B"])
        >>> job(np.array([1, 2], np.float32))
        array([1., 2.], dtype=float32)
    """
    return identity(input, name)


def cast_to_current_logical_view(x: Blob) -> Blob:
    """The value itself: there is one view of it only.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.cast_to_current_logical_view(x)
        >>> job(np.array([1, 2], np.float32))
        array([1., 2.], dtype=float32)
    """
    return identity(x)


def cast_to_static_shape(x: Blob, name: str | None = None) -> Blob:
    """The value itself: the shape is known when a job runs.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.cast_to_static_shape(x)
        >>> job(np.array([1, 2], np.float32))
        array([1., 2.], dtype=float32)
    """
    return identity(x, name)


def amp_white_identity(x: Blob, name: str | None = None) -> Blob:
    """The value itself: there is no automatic mixed precision.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.amp_white_identity(x)
        >>> job(np.array([1, 2], np.float32))
        array([1., 2.], dtype=float32)
    """
    return identity(x, name)
