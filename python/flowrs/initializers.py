"""Initial values of variables: what each initializer draws, and with which numbers.

Values are drawn by ``numpy.random.default_rng(seed)`` in double precision, in the order of the
elements and in slices of at most 32 MiB, so that the same seed gives the same bits as in the
original.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from flowrs import datatype
from flowrs.datatype import dtype as DType
from flowrs.errors import ArgumentError, ArgumentTypeError, UnsupportedError

if TYPE_CHECKING:
    # Loading numpy.random takes a while: only the first variable needs it.
    from numpy.random import Generator

Array = npt.NDArray[Any]

#: Standard deviation of a standard normal variable that is cut at two standard deviations.
TRUNCATED_DEVIATION = 0.87962566103423978
_SLICE_BYTES = 32 << 20


class Initializer:
    """How a variable gets its first value."""

    def draw(self, shape: tuple[int, ...], dtype: DType, seed: int) -> Array:
        """The first value of a variable of this shape and dtype."""
        generator = np.random.default_rng(seed)
        values = np.empty(math.prod(shape), dtype.numpy)
        sampler = self.sampler(shape, dtype)
        start = 0
        for length in _slice_lengths(shape, dtype.bytes):
            with np.errstate(over="ignore"):
                values[start : start + length] = sampler(generator, length)
            start += length
        return values.reshape(shape)

    def sampler(self, shape: tuple[int, ...], dtype: DType) -> Sampler:
        """The function that draws the next numbers."""
        raise NotImplementedError


class Sampler:
    """Draws ``count`` numbers from a generator."""

    def __call__(self, generator: Generator, count: int) -> Array | float | int:
        """The next numbers, or one that stands for all."""
        raise NotImplementedError


def _slice_lengths(shape: tuple[int, ...], item_size: int) -> Iterator[int]:
    """Lengths of the slices in which a variable is drawn: whole units along one axis."""
    most = max(_SLICE_BYTES // item_size, 1)
    total = math.prod(shape)
    unit, axis = 1, len(shape) - 1
    while axis > 0 and unit * shape[axis] <= most:
        unit *= shape[axis]
        axis -= 1
    extent = shape[axis] if shape else 1
    if total == 0:
        return
    for _ in range(total // (unit * extent)):
        remaining = extent
        while remaining > 0:
            units = min(max(most // unit, 1), remaining)
            yield units * unit
            remaining -= units


@dataclass(eq=False)
class _Constant(Initializer, Sampler):
    value: float | int

    def sampler(self, shape: tuple[int, ...], dtype: DType) -> Sampler:
        return self

    def __call__(self, generator: Generator, count: int) -> float | int:
        return self.value


@dataclass(eq=False)
class _Uniform(Initializer, Sampler):
    minimum: float
    maximum: float

    def sampler(self, shape: tuple[int, ...], dtype: DType) -> Sampler:
        return self

    def __call__(self, generator: Generator, count: int) -> Array:
        end = float(np.nextafter(self.maximum, math.inf))
        return generator.uniform(self.minimum, end, count)


@dataclass(eq=False)
class _UniformInteger(Initializer, Sampler):
    minimum: int
    maximum: int

    def sampler(self, shape: tuple[int, ...], dtype: DType) -> Sampler:
        return self

    def __call__(self, generator: Generator, count: int) -> Array:
        return generator.integers(self.minimum, self.maximum, count)


@dataclass(eq=False)
class _Normal(Initializer, Sampler):
    mean: float
    deviation: float

    def sampler(self, shape: tuple[int, ...], dtype: DType) -> Sampler:
        return self

    def __call__(self, generator: Generator, count: int) -> Array:
        return generator.normal(self.mean, self.deviation, count)


@dataclass(eq=False)
class _TruncatedNormal(Initializer, Sampler):
    mean: float
    deviation: float

    def sampler(self, shape: tuple[int, ...], dtype: DType) -> Sampler:
        return self

    def __call__(self, generator: Generator, count: int) -> Array:
        if self.deviation == 0:
            return np.full(count, self.mean)
        values = np.empty(count)
        filled = 0
        while filled < count:
            drawn = generator.normal(self.mean, self.deviation, max(int((count - filled) * 1.2), 1))
            kept = drawn[np.abs(drawn - self.mean) < 2 * self.deviation][: count - filled]
            values[filled : filled + len(kept)] = kept
            filled += len(kept)
        return values


@dataclass(eq=False)
class _VarianceScaling(Initializer):
    scale: float
    mode: str
    distribution: str

    def sampler(self, shape: tuple[int, ...], dtype: DType) -> Sampler:
        scale = self.scale / _fan(shape, self.mode)
        if self.distribution == "random_uniform":
            limit = math.sqrt(3.0 * scale)
            return _Uniform(-limit, limit)
        if self.distribution == "random_normal":
            return _Normal(0.0, math.sqrt(scale))
        return _TruncatedNormal(0.0, math.sqrt(scale) / TRUNCATED_DEVIATION)


@dataclass(eq=False)
class _Empty(Initializer):
    def draw(self, shape: tuple[int, ...], dtype: DType, seed: int) -> Array:
        return np.zeros(shape, dtype.numpy)


def _fan(shape: tuple[int, ...], mode: str) -> float:
    """Fan of a weight, as OneFlow 0.4's default path computes it for every data format."""
    fan_in = math.prod(shape[1:])
    fan_out = shape[0] * math.prod(shape[1:-1]) if shape else 1
    return max(1.0, {"fan_in": fan_in, "fan_out": fan_out}.get(mode, (fan_in + fan_out) / 2))


def _number(what: str, value: object, least: float = -math.inf) -> float:
    """``value`` as a float, if it is a finite number and not below ``least``."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise ArgumentTypeError(f"{what} must be a number, not {value!r}")
    if not (math.isfinite(value) and value >= least):
        raise ArgumentError(f"{what} must be finite and not below {least}, found {value!r}")
    return float(value)


def _check_data_format(data_format: str) -> None:
    if not isinstance(data_format, str):
        raise ArgumentTypeError(f"data_format: expected text, found {data_format!r}")
    channels_last = data_format.startswith("N") and data_format.endswith("C")
    if data_format != "" and not data_format.startswith("NC") and not channels_last:
        raise ArgumentError(f"data_format: expected NC..., N...C or '', found {data_format!r}")


def constant_initializer(value: float | int = 0, dtype: DType = datatype.float32) -> Initializer:
    """Every element is ``value``.

    Raises:
        UnsupportedError: ``dtype`` is neither a float (32 or 64 bits) nor int8, int32 or int64.

    Example:
        >>> import flowrs as flow
        >>> flow.constant_initializer(2.0).draw((2,), flow.float32, seed=0)
        array([2., 2.], dtype=float32)
    """
    if dtype in (datatype.float32, datatype.float64):
        return _Constant(float(value))
    if dtype in (datatype.int8, datatype.int32, datatype.int64):
        return _Constant(int(value))
    raise UnsupportedError(
        f"constant_initializer: {dtype} is not supported; leave dtype out, a variable's own counts"
    )


def zeros_initializer(dtype: DType = datatype.float32) -> Initializer:
    """Every element is 0.

    Example:
        >>> import flowrs as flow
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job() -> None:
        ...     flow.get_variable("w", (2,), initializer=flow.zeros_initializer())
        >>> flow.get_all_variables()["w"].numpy()
        array([0., 0.], dtype=float32)
    """
    return constant_initializer(0, dtype)


def ones_initializer(dtype: DType = datatype.float32) -> Initializer:
    """Every element is 1.

    Example:
        >>> import flowrs as flow
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job() -> None:
        ...     flow.get_variable("w", (2,), initializer=flow.ones_initializer())
        >>> flow.get_all_variables()["w"].numpy()
        array([1., 1.], dtype=float32)
    """
    return constant_initializer(1, dtype)


def random_uniform_initializer(
    minval: float | int = 0, maxval: float | int = 1, dtype: DType = datatype.float32
) -> Initializer:
    """Uniform from ``minval`` to ``maxval``; an integer ``dtype`` leaves ``maxval`` out.

    Raises:
        ArgumentError: ``minval`` is above ``maxval``, or a bound is not finite; for integers, there
            is no number from ``minval`` to below ``maxval``.

    Example:
        >>> import flowrs as flow
        >>> values = flow.random_uniform_initializer(-1, 1).draw((9,), flow.float32, seed=0)
        >>> bool((abs(values) <= 1).all())
        True
    """
    function = "random_uniform_initializer"
    minimum, maximum = (
        _number(f"{function}: minval", minval),
        _number(f"{function}: maxval", maxval),
    )
    if minimum > maximum:
        raise ArgumentError(f"{function}: minval {minval} is above maxval {maxval}")
    if datatype.check(dtype, function).is_floating_point:
        return _Uniform(minimum, maximum)
    if int(minval) == int(maxval):
        raise ArgumentError(f"{function}: no integer lies from {minval} to below {maxval}")
    return _UniformInteger(int(minval), int(maxval))


def random_normal_initializer(
    mean: float = 0.0, stddev: float = 1.0, seed: None = None, dtype: None = None
) -> Initializer:
    """Normal with the given mean and standard deviation.

    Raises:
        ArgumentError: ``seed`` or ``dtype`` is given; give the seed to ``flow.get_variable``. Or a
            number is not finite, or the deviation negative.

    Example:
        >>> import flowrs as flow
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job() -> None:
        ...     flow.get_variable("w", (3, 2), initializer=flow.random_normal_initializer())
        >>> flow.get_all_variables()["w"].numpy().shape
        (3, 2)
    """
    if seed is not None or dtype is not None:
        raise ArgumentError(
            "random_normal_initializer: seed and dtype must be None; "
            "flow.get_variable takes random_seed and dtype"
        )
    function = "random_normal_initializer"
    return _Normal(_number(f"{function}: mean", mean), _number(f"{function}: stddev", stddev, 0.0))


def truncated_normal(stddev: float = 1.0) -> Initializer:
    """Normal with mean 0; what lies two or more standard deviations away is drawn again.

    Raises:
        ArgumentError: the deviation is negative or not finite.

    Example:
        >>> import flowrs as flow
        >>> bool((abs(flow.truncated_normal(0.1).draw((1000,), flow.float32, 0)) < 0.2).all())
        True
    """
    return _TruncatedNormal(0.0, _number("truncated_normal: stddev", stddev, 0.0))


def truncated_normal_initializer(mean: float = 0.0, stddev: float = 1.0) -> Initializer:
    """Normal; what lies two or more standard deviations from the mean is drawn again.

    Raises:
        ArgumentError: a number is not finite, or the deviation negative.

    Example:
        >>> import flowrs as flow
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job() -> None:
        ...     flow.get_variable("w", (3, 2), initializer=flow.truncated_normal_initializer())
        >>> flow.get_all_variables()["w"].numpy().shape
        (3, 2)
    """
    function = "truncated_normal_initializer"
    return _TruncatedNormal(
        _number(f"{function}: mean", mean), _number(f"{function}: stddev", stddev, 0.0)
    )


def variance_scaling_initializer(
    scale: float = 1.0,
    mode: str = "fan_in",
    distribution: str = "truncated_normal",
    data_format: str = "",
) -> Initializer:
    """Variance ``scale / fan``, with the fan of OneFlow 0.4: ``fan_in`` is the product of all
    dimensions but the first, ``fan_out`` the first times all but the first and the last,
    ``fan_avg`` their mean, whatever ``data_format`` is.

    Raises:
        ArgumentError: ``mode``, ``distribution`` or ``data_format`` is unknown.

    Example:
        >>> import flowrs as flow
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job() -> None:
        ...     flow.get_variable("w", (3, 2), initializer=flow.variance_scaling_initializer())
        >>> flow.get_all_variables()["w"].numpy().shape
        (3, 2)
    """  # noqa: D205
    if mode not in ("fan_in", "fan_out", "fan_avg"):
        raise ArgumentError(
            f"variance_scaling_initializer: mode must be fan_in, fan_out or fan_avg, not {mode!r}"
        )
    if distribution not in ("truncated_normal", "random_normal", "random_uniform"):
        raise ArgumentError(
            "variance_scaling_initializer: distribution must be truncated_normal, random_normal "
            f"or random_uniform, not {distribution!r}"
        )
    _check_data_format(data_format)
    factor = _number("variance_scaling_initializer: scale", scale, 0.0)
    return _VarianceScaling(factor, mode, distribution)


def glorot_uniform_initializer(data_format: str = "") -> Initializer:
    """Uniform with variance ``2 / (fan_in + fan_out)``.

    Example:
        >>> import flowrs as flow
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job() -> None:
        ...     flow.get_variable("w", (3, 2), initializer=flow.glorot_uniform_initializer())
        >>> flow.get_all_variables()["w"].numpy().shape
        (3, 2)
    """
    return variance_scaling_initializer(1.0, "fan_avg", "random_uniform", data_format)


def glorot_normal_initializer(data_format: str = "") -> Initializer:
    """Normal with variance ``2 / (fan_in + fan_out)``.

    Example:
        >>> import flowrs as flow
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job() -> None:
        ...     flow.get_variable("w", (3, 2), initializer=flow.glorot_normal_initializer())
        >>> flow.get_all_variables()["w"].numpy().shape
        (3, 2)
    """
    return variance_scaling_initializer(1.0, "fan_avg", "random_normal", data_format)


xavier_uniform_initializer = glorot_uniform_initializer
xavier_normal_initializer = glorot_normal_initializer


def kaiming_initializer(
    shape: Sequence[int],
    distribution: str = "random_normal",
    mode: str = "fan_in",
    nonlinearity: str | None = "leaky_relu",
    negative_slope: float = 0.0,
    data_format: str = "NCHW",
) -> Initializer:
    """Standard deviation ``gain / sqrt(fan)`` for a weight of the given shape.

    The gain is 5/3 for tanh, 1 for sigmoid, sqrt(2) for relu and
    ``sqrt(2 / (1 + negative_slope**2))`` for leaky_relu (He et al., 2015).

    Raises:
        ArgumentError: the shape has fewer than two dimensions, or a word is unknown.

    Example:
        >>> import flowrs as flow
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job() -> None:
        ...     flow.get_variable("w", (3, 2), initializer=flow.kaiming_initializer((3, 2)))
        >>> flow.get_all_variables()["w"].numpy().shape
        (3, 2)
    """
    if not isinstance(shape, tuple) or len(shape) < 2:
        raise ArgumentError(
            f"kaiming_initializer: shape must be a tuple of two or more sizes, not {shape!r}"
        )
    gains = {
        "tanh": 5.0 / 3.0,
        "sigmoid": 1.0,
        "relu": math.sqrt(2.0),
        "leaky_relu": math.sqrt(2.0 / (1.0 + negative_slope**2)),
    }
    if nonlinearity not in gains:
        raise ArgumentError(
            f"kaiming_initializer: nonlinearity must be one of {', '.join(gains)}, "
            f"not {nonlinearity!r}"
        )
    if mode not in ("fan_in", "fan_out", "fan_avg"):
        raise ArgumentError(
            f"kaiming_initializer: mode must be fan_in, fan_out or fan_avg, not {mode!r}"
        )
    _check_data_format(data_format)
    spatial = shape[2:] if data_format.startswith("NC") else shape[1:-1]
    fan_in = math.prod(shape[1:])
    fan_out = shape[0] * math.prod(spatial) if len(shape) > 2 else shape[0]
    fan = {"fan_in": fan_in, "fan_out": fan_out}.get(mode, (fan_in + fan_out) / 2)
    deviation = gains[nonlinearity] / math.sqrt(fan)
    if distribution == "random_normal":
        return _Normal(0.0, deviation)
    if distribution == "random_uniform":
        return _Uniform(-math.sqrt(3.0) * deviation, math.sqrt(3.0) * deviation)
    raise ArgumentError(
        f"kaiming_initializer: distribution must be random_normal or random_uniform, "
        f"not {distribution!r}"
    )


def empty_initializer(dtype: DType = datatype.float32) -> Initializer:
    """Leaves the variable as it is made: zero.

    Example:
        >>> import flowrs as flow
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job() -> None:
        ...     flow.get_variable("w", (3, 2), initializer=flow.empty_initializer())
        >>> flow.get_all_variables()["w"].numpy().shape
        (3, 2)
    """
    return _Empty()


#: What the original's configuration files call the initializers, and their numbers.
_CONFIGURED: dict[str, tuple[Callable[..., Initializer], dict[str, str]]] = {
    "constant_conf": (constant_initializer, {"value": "value"}),
    "constant_int_conf": (constant_initializer, {"value": "value"}),
    "random_uniform_conf": (random_uniform_initializer, {"min": "minval", "max": "maxval"}),
    "random_normal_conf": (random_normal_initializer, {"mean": "mean", "std": "stddev"}),
    "truncated_normal_conf": (truncated_normal_initializer, {"mean": "mean", "std": "stddev"}),
    "empty_conf": (empty_initializer, {}),
}


def from_conf(conf: Mapping[str, Mapping[str, Any]]) -> Initializer:
    """The initializer that ``FunctionConfig.default_initializer_conf`` describes.

    Raises:
        ArgumentError: the kind, or one of its numbers, is not known.
    """
    function = "FunctionConfig.default_initializer_conf"
    if not isinstance(conf, Mapping) or len(conf) != 1:
        raise ArgumentError(f"{function}: expected a dict with one kind, found {conf!r}")
    [(kind, numbers)] = conf.items()
    if kind not in _CONFIGURED or not isinstance(numbers, Mapping):
        raise ArgumentError(
            f"{function}: expected a dict for one of {', '.join(_CONFIGURED)}, found {conf!r}"
        )
    make, names = _CONFIGURED[kind]
    unknown = [name for name in numbers if name not in names]
    if unknown:
        raise ArgumentError(
            f"{function}: {kind} has {', '.join(names) or 'no numbers'}, found {unknown[0]!r}"
        )
    return make(**{names[name]: number for name, number in numbers.items()})
