"""Rows for convolutions, pools, normalisation and dropout."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import flowrs as flow
from flowrs.blob import Blob
from op_rows.draws import Array, Shape, distinct, normal, tied
from op_rows.row import Input, Row

Pairs = list[tuple[int, int]]


# --- What NumPy says ---------------------------------------------------------------------------


def first(array: Array, channels_last: bool) -> Array:
    """Channels on axis 1."""
    return np.moveaxis(array, -1, 1) if channels_last else array


def last(array: Array, channels_last: bool) -> Array:
    """The inverse of ``first``."""
    return np.moveaxis(array, 1, -1) if channels_last else array


def pairs_of(padding: Any, sizes: Sequence[int], extents: Sequence[int], strides: Any) -> Pairs:
    """Padding before and behind each spatial axis."""
    if not isinstance(padding, str):
        spatial = padding[2:] if padding[1] in (0, (0, 0)) else padding[1:-1]
        return [(p, p) if isinstance(p, int) else tuple(p) for p in spatial]
    if padding == "VALID":
        return [(0, 0)] * len(sizes)
    pairs = []
    for size, extent, stride in zip(sizes, extents, strides, strict=True):
        need = max(0, (math.ceil(size / stride) - 1) * stride + extent - size)
        half, rest = need // 2, need - need // 2
        pairs.append((half, rest) if padding == "SAME_UPPER" else (rest, half))
    return pairs


def spatial_list(value: int | Sequence[int], spatial: int) -> list[int]:
    return [value] * spatial if isinstance(value, int) else list(value)


class Convolution:
    """A convolution as a sum over the taps of its kernel."""

    def __init__(
        self,
        x: Shape,
        w: Shape,
        strides: Any = 1,
        padding: Any = "VALID",
        data_format: str = "NCHW",
        dilations: Any = None,
        groups: int = 1,
    ) -> None:
        self.spatial = len(x) - 2
        self.channels_last = data_format.endswith("C")
        self.arguments = (strides, padding, data_format, dilations, groups)
        self.groups = groups
        self.strides = spatial_list(strides, self.spatial)
        self.dilations = spatial_list(1 if dilations is None else dilations, self.spatial)
        sizes = x[1:-1] if self.channels_last else x[2:]
        self.kernel = w[1:-1] if self.channels_last else w[2:]
        extents = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]
        self.pads = pairs_of(padding, sizes, extents, self.strides)
        self.outputs = [
            (size + sum(pad) - extent) // stride + 1
            for size, pad, extent, stride in zip(
                sizes, self.pads, extents, self.strides, strict=True
            )
        ]
        self.x, self.w = x, w

    def taps(self) -> Any:
        """Each tap, and the part of the padded input that it sees."""
        for tap in itertools.product(*map(range, self.kernel)):
            yield (
                tap,
                tuple(
                    slice(t * d, t * d + (n - 1) * s + 1, s)
                    for t, d, n, s in zip(
                        tap, self.dilations, self.outputs, self.strides, strict=True
                    )
                ),
            )

    def __call__(self, x: Array, w: Array) -> Array:
        x, w = first(x, self.channels_last), first(w, self.channels_last)
        x = np.pad(x, [(0, 0), (0, 0), *self.pads])
        x = x.reshape(x.shape[0], self.groups, -1, *x.shape[2:])
        w = w.reshape(self.groups, -1, *w.shape[1:])
        total = sum(
            np.einsum("ngi...,goi->ngo...", x[(..., *where)], w[(..., *tap)])
            for tap, where in self.taps()
        )
        total = total.reshape(x.shape[0], -1, *self.outputs)
        return last(total, self.channels_last)

    def transposed(self, y: Array, w: Array) -> Array:
        """What gives ``y`` spread over the input: the transpose of the convolution."""
        y, w = first(y, self.channels_last), first(w, self.channels_last)
        shape = first(np.empty(self.x), self.channels_last).shape
        sizes = [n + sum(pad) for n, pad in zip(shape[2:], self.pads, strict=True)]
        x = np.zeros((*shape[:2], *sizes))
        for tap, where in self.taps():
            x[(..., *where)] += np.einsum("no...,oi->ni...", y, w[(..., *tap)])
        inner = tuple(slice(a, a + n) for (a, _), n in zip(self.pads, shape[2:], strict=True))
        return last(x[(..., *inner)], self.channels_last)


# --- Convolutions ------------------------------------------------------------------------------

CONVOLUTIONS: list[Convolution] = [
    Convolution((2, 1, 5, 5), (3, 1, 3, 3)),
    Convolution((1, 1, 1, 1), (1, 1, 1, 1)),
    Convolution((2, 3, 7, 6), (4, 3, 3, 2), 2, "SAME"),
    Convolution((2, 3, 7, 6), (4, 3, 2, 3), (2, 1), "SAME_UPPER"),
    Convolution((2, 3, 7, 6), (4, 3, 2, 3), 2, "SAME_LOWER"),
    Convolution((2, 3, 7, 6), (4, 3, 3, 3), 1, [0, 0, (2, 1), (0, 2)]),
    Convolution((2, 2, 9, 8), (3, 2, 3, 3), 1, "SAME", dilations=2),
    Convolution((2, 2, 9, 11), (3, 2, 3, 2), (2, 3), [0, 0, 2, 1], dilations=(2, 3)),
    Convolution((2, 4, 6, 5), (6, 2, 3, 3), 1, "SAME", groups=2),
    Convolution((2, 6, 6, 5), (3, 2, 1, 1), groups=3),
    Convolution((2, 5, 8, 7), (5, 1, 3, 3), 1, "SAME", groups=5),
    Convolution((2, 4, 8, 7), (8, 1, 3, 3), 2, "SAME", groups=4),
    Convolution((3, 16, 5, 5), (33, 16, 1, 1)),
    Convolution((2, 8, 14, 14), (19, 8, 5, 5), 1, "SAME"),
    Convolution((2, 5, 5, 3), (4, 3, 2, 3), 1, "SAME", "NHWC"),
    Convolution((2, 7, 6, 4), (6, 3, 3, 2), 2, [0, (1, 0), 1, 0], "NHWC", groups=2),
    Convolution((2, 7, 6, 5), (5, 3, 3, 1), 1, "SAME", "NHWC", groups=5),
    Convolution((2, 3, 9), (4, 3, 4), 2, "SAME", "NCW"),
    Convolution((2, 9, 3), (4, 3, 3), 1, [0, (2, 0), 0], "NWC", dilations=2),
    Convolution((1, 2, 4, 5, 6), (3, 2, 2, 3, 2), (1, 2, 1), "SAME", "NCDHW"),
    Convolution((1, 4, 5, 4, 2), (3, 2, 3, 2, 2), 1, "SAME", "NDHWC"),
    Convolution((1, 4, 3, 4, 3), (4, 2, 2, 2, 2), 1, "VALID", "NCDHW", groups=2),
]


def _label(case: Convolution) -> str:
    strides, padding, data_format, dilations, groups = case.arguments
    shapes = "x".join(map(str, case.x)) + "*" + "x".join(map(str, case.w))
    return f"{data_format}-{shapes}-s{strides}-{padding}-d{dilations}-g{groups}".replace(" ", "")


def _convolution_row(case: Convolution) -> Row:
    function = {1: flow.nn.conv1d, 2: flow.nn.conv2d, 3: flow.nn.conv3d}[case.spatial]
    depth = math.prod(case.kernel) * case.x[-1 if case.channels_last else 1]
    return Row(
        f"convolution-{_label(case)}",
        lambda x, w: function(x, w, *case.arguments),
        (Input(case.x), Input(case.w)),
        case,
        ("convolution",),
        units=2 + math.sqrt(depth),
        magnitude=lambda x, w: case(np.abs(x), np.abs(w)),
        gradient_units=256,
    )


def _fused_convolution_row(data_format: str, relu: bool) -> Row:
    channels_last = data_format == "NHWC"
    x = (2, 6, 5, 3) if channels_last else (2, 3, 6, 5)
    w = (4, 3, 3, 3)
    case = Convolution(x, w, 1, "SAME", data_format)

    def function(x: Blob, w: Blob, b: Blob) -> Blob:
        y = flow.nn.bias_add(flow.nn.conv2d(x, w, *case.arguments), b, data_format)
        return flow.nn.relu(y) if relu else y

    def reference(x: Array, w: Array, b: Array) -> Array:
        y = case(x, w) + (b if channels_last else b[:, None, None])
        return np.maximum(y, 0) if relu else y

    return Row(
        f"convolution+bias{'+relu' * relu}-{data_format}",
        function,
        (Input(x), Input(w), Input((4,))),
        reference,
        ("convolution", "bias_add", "relu") if relu else ("convolution", "bias_add"),
        units=8,
        magnitude=lambda x, w, b: case(np.abs(x), np.abs(w)) + 3,
        gradient_units=256,
    )


def _transposed_row(case: Convolution) -> Row:
    strides, padding, data_format, dilations, _ = case.arguments
    y = case(np.zeros(case.x), np.zeros(case.w)).shape
    return Row(
        f"conv2d_transpose-{_label(case)}",
        lambda y, w: flow.nn.conv2d_transpose(
            y, w, list(case.x), strides, padding, data_format, dilations=dilations
        ),
        (Input(y), Input(case.w)),
        case.transposed,
        ("convolution_input_gradient",),
        units=2 + math.sqrt(math.prod(case.w)),
        magnitude=lambda y, w: case.transposed(np.abs(y), np.abs(w)),
        gradient_units=256,
    )


# --- Pools -------------------------------------------------------------------------------------


class Pool:
    """A pool that looks at each window by itself."""

    def __init__(
        self,
        x: Shape,
        window: Any,
        strides: Any,
        padding: Any = "VALID",
        data_format: str = "NCHW",
        ceil_mode: bool = False,
    ) -> None:
        self.x = x
        self.spatial = len(x) - 2
        self.channels_last = data_format.endswith("C")
        self.arguments = (window, strides, padding, data_format, ceil_mode)
        self.window = spatial_list(window, self.spatial)
        self.strides = spatial_list(strides, self.spatial)
        sizes = x[1:-1] if self.channels_last else x[2:]
        self.pads = pairs_of(padding, sizes, self.window, self.strides)
        more = [s - 1 if ceil_mode and not isinstance(padding, str) else 0 for s in self.strides]
        self.outputs = [
            (size + sum(pad) - k + s + extra) // s
            for size, pad, k, s, extra in zip(
                sizes, self.pads, self.window, self.strides, more, strict=True
            )
        ]

    def windows(self, x: Array) -> Any:
        """Each output position, and the part of the input that its window sees."""
        for position in itertools.product(*map(range, self.outputs)):
            where = []
            for p, k, s, (before, _), size in zip(
                position, self.window, self.strides, self.pads, x.shape[2:], strict=True
            ):
                start = p * s - before
                where.append(slice(max(start, 0), min(start + k, size)))
            yield position, tuple(where)

    def apply(self, x: Array, reduce: Callable[..., Array]) -> Array:
        x = first(x, self.channels_last)
        y = np.empty((*x.shape[:2], *self.outputs))
        axes = tuple(range(2, x.ndim))
        for position, where in self.windows(x):
            y[(..., *position)] = reduce(x[(..., *where)], axis=axes)
        return last(y, self.channels_last)

    def first_maxima(self, x: Array, dy: Array) -> Array:
        """The gradient of the maxima: each goes to the first of the largest elements."""
        x, dy = first(x, self.channels_last), first(dy, self.channels_last)
        dx = np.zeros_like(x)
        for position, where in self.windows(x):
            part = x[(..., *where)]
            for n, c in itertools.product(*map(range, x.shape[:2])):
                index = np.unravel_index(part[n, c].argmax(), part.shape[2:])
                dx[(n, c, *where)][index] += dy[(n, c, *position)]
        return last(dx, self.channels_last)


POOLS: list[Pool] = [
    Pool((2, 3, 4, 6), 2, 2),
    Pool((1, 1, 1, 1), 1, 1),
    Pool((2, 3, 7, 5), 2, 2, "SAME"),
    Pool((2, 3, 7, 6), (3, 2), (2, 3), "SAME_UPPER"),
    Pool((2, 3, 7, 6), 3, 1, "SAME_LOWER"),
    Pool((2, 3, 7, 6), 3, 2, [0, 0, 1, (0, 1)]),
    Pool((2, 3, 8, 7), 3, 2, [0, 0, (1, 0), 1], ceil_mode=True),
    Pool((2, 5, 9, 33), 2, 2),
    Pool((1, 2, 20, 20), 17, 3),
    Pool((2, 6, 5, 3), 2, 2, "SAME", "NHWC"),
    Pool((2, 7, 6, 19), 3, 2, [0, 1, 1, 0], "NHWC", ceil_mode=True),
    Pool((1, 2, 4, 5, 6), 2, 2, "SAME", "NCDHW"),
    Pool((1, 4, 5, 4, 3), (2, 3, 2), (1, 2, 2), "VALID", "NDHWC"),
]


def _pool_rows(case: Pool) -> list[Row]:
    shape = "x".join(map(str, case.x))
    window, strides, padding, data_format, ceil_mode = case.arguments
    label = f"{data_format}-{shape}-k{window}-s{strides}-{padding}-{ceil_mode}".replace(" ", "")
    maximum, average = (
        (flow.nn.max_pool2d, flow.nn.avg_pool2d)
        if case.spatial == 2
        else (flow.nn.max_pool3d, flow.nn.avg_pool3d)
    )
    return [
        Row(
            f"max_pool-{label}",
            lambda x: maximum(x, *case.arguments),
            (Input(case.x, distinct),),
            lambda x: case.apply(x, np.max),
            ("max_pool",),
        ),
        Row(
            f"max_pool-ties-{label}",
            lambda x: maximum(x, *case.arguments),
            (Input(case.x, tied),),
            lambda x: case.apply(x, np.max),
            ("max_pool",),
            gradient=lambda x, dy: [case.first_maxima(x, dy)],
        ),
        Row(
            f"avg_pool-{label}",
            lambda x: average(x, *case.arguments),
            (Input(case.x),),
            lambda x: case.apply(x, np.mean),
            ("avg_pool",),
            units=4,
            magnitude=lambda x: case.apply(np.abs(x), np.mean),
        ),
    ]


# --- Normalisation -----------------------------------------------------------------------------


def far_away(rng: np.random.Generator, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """Numbers about 10,000: their variance is lost where squares are subtracted."""
    return (rng.normal(size=shape) + 1e4).astype(dtype)


def positive(rng: np.random.Generator, shape: Shape, dtype: np.dtype[Any]) -> Array:
    return rng.uniform(0.5, 2.0, size=shape).astype(dtype)


def _standardized(x: Array, axes: tuple[int, ...], epsilon: float) -> Array:
    mean, variance = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)
    return (x - mean) / np.sqrt(variance + epsilon)


def _spread(x: Array, axes: tuple[int, ...]) -> Array:
    """Size of the terms of a standardized value: what the mean's own rounding is relative to."""
    return np.abs(x).max(axis=axes, keepdims=True) / x.std(axis=axes, keepdims=True) + np.abs(
        _standardized(x, axes, 0.0)
    )


def _along(vector: Array, axis: int, rank: int) -> Array:
    shape = [1] * rank
    shape[axis] = -1
    return vector.reshape(shape)


def _batch_norm_rows(x: Shape, axis: int, draw: Any = normal) -> list[Row]:
    rank, channels, epsilon = len(x), (x[axis],), 1e-3
    others = tuple(i for i in range(rank) if i != axis)
    label = f"{'x'.join(map(str, x))}-axis{axis}-{draw.__name__}"
    attributes: dict[str, Any] = {"axis": axis, "epsilon": epsilon}

    def batch(x: Blob, gamma: Blob, beta: Blob) -> Blob:
        return x.trace.apply("batch_norm", [x, gamma, beta], attributes, prefix="BatchNorm")[0]

    def fixed(x: Blob, *rest: Blob) -> Blob:
        return x.trace.apply("batch_norm_fixed", [x, *rest], attributes, prefix="BatchNorm")[0]

    def fixed_reference(x: Array, *parameters: Array) -> Array:
        gamma, beta, mean, variance = (_along(p, axis, rank) for p in parameters)
        return (x - mean) / np.sqrt(variance + epsilon) * gamma + beta

    return [
        Row(
            f"batch_norm-{label}",
            batch,
            (Input(x, draw), Input(channels), Input(channels)),
            lambda x, gamma, beta: (
                _standardized(x, others, epsilon) * _along(gamma, axis, rank)
                + _along(beta, axis, rank)
            ),
            ("batch_norm",),
            units=16,
            magnitude=lambda x, gamma, beta: (
                (_spread(x, others) + 1) * np.abs(_along(gamma, axis, rank))
                + np.abs(_along(beta, axis, rank))
            ),
            gradient_units=4096 if draw is normal else 65536,
        ),
        Row(
            f"batch_norm_fixed-{label}",
            fixed,
            (
                Input(x),
                Input(channels),
                Input(channels),
                Input(channels, differentiable=False),
                Input(channels, positive, differentiable=False),
            ),
            fixed_reference,
            ("batch_norm_fixed",),
            units=16,
            magnitude=lambda x, gamma, beta, mean, variance: (
                (np.abs(x) + np.abs(_along(mean, axis, rank)))
                / np.sqrt(_along(variance, axis, rank))
                * np.abs(_along(gamma, axis, rank))
                + np.abs(_along(beta, axis, rank))
            ),
            gradient_units=1024,
        ),
    ]


def _layer_norm_row(x: Shape, begin: int, draw: Any = normal) -> Row:
    axes, epsilon = tuple(range(begin, len(x))), 1e-5
    parameters = x[begin:]
    return Row(
        f"layer_norm-{'x'.join(map(str, x))}-from{begin}-{draw.__name__}",
        lambda x, gamma, beta: flow.nn.layer_norm(
            x, gamma, beta, begin_norm_axis=begin, begin_params_axis=begin, epsilon=epsilon
        ),
        (Input(x, draw), Input(parameters), Input(parameters)),
        lambda x, gamma, beta: _standardized(x, axes, epsilon) * gamma + beta,
        ("layer_norm",),
        units=16,
        magnitude=lambda x, gamma, beta: (_spread(x, axes) + 1) * np.abs(gamma) + np.abs(beta),
        gradient_units=4096 if draw is normal else 65536,
    )


def _group_norm_row(x: Shape, groups: int, function: Callable[..., Blob], name: str) -> Row:
    def reference(x: Array) -> Array:
        parts = x.reshape(x.shape[0], groups, -1)
        return _standardized(parts, (2,), 1e-5).reshape(x.shape)

    return Row(
        f"{name}-{'x'.join(map(str, x))}",
        function,
        (Input(x),),
        reference,
        ("layer_norm",),
        units=64,
        magnitude=lambda x: np.abs(reference(x)) + 1,
        gradient_units=4096,
    )


def _normalization() -> list[Row]:
    rows = []
    for x, axis in [((6, 3), 1), ((4, 3, 5, 2), 1), ((4, 5, 2, 3), 3), ((2, 7, 1, 1), 1)]:
        rows += _batch_norm_rows(x, axis)
    rows += [
        row for row in _batch_norm_rows((8, 3, 20, 20), 1, far_away) if "fixed" not in row.name
    ]
    rows += [
        _layer_norm_row((4, 6), 1),
        _layer_norm_row((3, 2, 5), 1),
        _layer_norm_row((3, 2, 5), 2),
    ]
    rows.append(_layer_norm_row((5, 400), 1, far_away))
    rows.append(
        _group_norm_row(
            (2, 6, 3, 4), 3, lambda x: flow.nn.GroupNorm(x, 3, affine=False), "GroupNorm"
        )
    )
    for rank, function in enumerate(
        (flow.nn.InstanceNorm1d, flow.nn.InstanceNorm2d, flow.nn.InstanceNorm3d), 1
    ):
        shape = (2, 3, *(4, 5, 2)[:rank])

        def plain(x: Blob, function: Callable[..., Blob] = function) -> Blob:
            return function(x, affine=False)

        rows.append(_group_norm_row(shape, 3, plain, f"InstanceNorm{rank}d"))
    return rows


def _moments() -> list[Row]:
    return [
        Row(
            f"moments-{number}-{axes}",
            lambda x, axes=axes, number=number: flow.nn.moments(x, list(axes))[number],
            (Input((3, 4, 5)),),
            lambda x, axes=axes, reference=reference: reference(x, axis=axes),
            ("reduce_sum",),
            units=16,
            magnitude=lambda x, axes=axes: np.ones_like(x.mean(axis=axes)),
            gradient_units=256,
        )
        for axes in ((1,), (0, 2))
        for number, reference in enumerate((np.mean, np.var))
    ]


def _dropout() -> list[Row]:
    """Dropout with a mask from elsewhere: what is random has a test file of its own."""

    def mask(rng: np.random.Generator, shape: Shape, dtype: np.dtype[Any]) -> Array:
        return rng.integers(0, 2, size=shape).astype(dtype)

    def function(x: Blob, mask: Blob) -> Blob:
        return x.trace.apply("dropout", [x, mask], {"scale": 4.0}, prefix="Dropout")[0]

    inputs = (Input((7, 41)), Input((7, 41), mask, "int8"))
    return [Row("dropout", function, inputs, lambda x, mask: x * mask * 4.0, ("dropout",))]


ROWS: list[Row] = [
    *(_convolution_row(case) for case in CONVOLUTIONS),
    *(
        _fused_convolution_row(layout, relu)
        for layout in ("NCHW", "NHWC")
        for relu in (False, True)
    ),
    *(_transposed_row(case) for case in CONVOLUTIONS if case.spatial == 2 and case.groups == 1),
    *(row for case in POOLS for row in _pool_rows(case)),
    *_normalization(),
    *_moments(),
    *_dropout(),
]
