"""Variables inside jobs, and loading their values."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from flowrs import datatype, regularizers
from flowrs.blob import Blob
from flowrs.datatype import dtype as DType
from flowrs.errors import ArgumentError, ArgumentTypeError, VariableError
from flowrs.initializers import Initializer
from flowrs.regularizers import Regularizer
from flowrs.trace import VariableSpec, current_trace


def get_variable(
    name: str,
    shape: Sequence[int] | None = None,
    dtype: DType = datatype.float32,
    initializer: Initializer | None = None,
    regularizer: Regularizer | None = None,
    trainable: bool | None = None,
    model_name: str | None = None,
    random_seed: int | None = None,
    parallel_distribution: object = None,
    distribute: object = None,
    reuse: bool = True,
) -> Blob:
    """The variable of this name; all jobs of the session share it.

    Args:
        name: its name within the namespaces of the block; without ``/``.
        shape: extent of each dimension.
        dtype: element type.
        initializer: draws the first value.
        regularizer: a pull towards zero that is added to the gradient: ``flow.regularizers``.
        trainable: whether ``minimize`` changes it; None means yes.
        model_name: a remark without effect.
        random_seed: seed of the initializer; None: derived from ``flow.config.random_seed``, or
            drawn anew.
        parallel_distribution: has no effect on one device.
        distribute: has no effect on one device.
        reuse: whether the name may be used again in the same job; all other arguments are then
            ignored.

    Raises:
        SessionError: no job's body is running.
        VariableError: the name is used already and ``reuse`` is false, or the variable differs
            from that of another job.
        ArgumentError: the shape, the initializer or the name is missing or cannot be used.

    Example:
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job() -> tp.Numpy:
        ...     return flow.get_variable("w", shape=(2,), initializer=flow.ones_initializer())
        >>> job()
        array([1., 1.], dtype=float32)
    """
    trace = current_trace("get_variable")
    if name is None:
        raise ArgumentTypeError("get_variable: a name is needed")
    full = trace.full_name(name, "get_variable")
    if full in trace.blobs:
        if not reuse:
            raise VariableError(
                f"variable {full!r} already exists, getting the same variable is not allowed "
                "when param reuse is False; give one of the two layers another name"
            )
        return trace.blobs[full]
    first_value = initializer or trace.default_initializer
    if not isinstance(first_value, Initializer):
        raise ArgumentError(
            f"variable {full}: an initializer is needed, such as flow.zeros_initializer(), "
            f"found {first_value!r}"
        )
    datatype.check_computable(dtype, f"variable {full}")
    return trace.variable(
        VariableSpec(
            full,
            _shape(shape, full),
            dtype,
            first_value,
            trainable=trainable is None or bool(trainable),
            random_seed=_seed(random_seed, full),
            regularizer=regularizers.check(regularizer, f"variable {full}"),
        )
    )


def _shape(shape: Sequence[int] | None, name: str) -> tuple[int, ...]:
    if not isinstance(shape, (list, tuple)):
        raise ArgumentTypeError(f"variable {name}: shape must be a list or tuple, not {shape!r}")
    if not all(type(extent) is int and 0 <= extent <= sys.maxsize for extent in shape):
        raise ArgumentError(f"variable {name}: shape must hold sizes from 0 on, not {shape!r}")
    return tuple(shape)


def _seed(seed: int | None, name: str) -> int | None:
    if seed is not None and (type(seed) is not int or seed < 0):
        raise ArgumentError(f"variable {name}: random_seed must be an int from 0 on, not {seed!r}")
    return seed
