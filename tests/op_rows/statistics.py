"""Reductions beyond sums, means and maxima."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import flowrs as flow
from flowrs.blob import Blob
from op_rows.draws import Array, Draw, Shape, distinct, nonzero, normal, tied, zeros_among
from op_rows.elementwise import among
from op_rows.row import INTEGERS, Input, Row, label_of

AXES: list[tuple[Shape, Any, bool]] = [
    ((37,), None, False),
    ((4, 6), 0, False),
    ((4, 6), -1, True),
    ((4, 6), None, True),
    ((3, 4, 5), [0, -1], False),
    ((2, 1, 3, 1), [1, 3], True),
    ((59, 301), 1, False),
    ((59, 301), 0, True),
]


def _reference(function: Callable[..., Array], axis: Any, keepdims: bool) -> Callable[..., Array]:
    """A reduction of NumPy's that gives shape (1,) where NumPy gives ()."""
    axes = tuple(axis) if isinstance(axis, list) else axis
    return lambda x: np.atleast_1d(function(x, axis=axes, keepdims=keepdims))


def _norm(x: Array, axis: Any, keepdims: bool) -> Array:
    return np.sqrt(np.sum(np.square(x), axis=axis, keepdims=keepdims))


def _logsumexp(x: Array, axis: Any, keepdims: bool) -> Array:
    return np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))


def _size(x: Array, axis: Any, keepdims: bool) -> Array:
    return 1 + np.max(np.square(x), axis=axis, keepdims=keepdims)


#: Products of these stay in range.
NEAR_ONE = among(-1.125, 0.9375, 1.0, 1.0625)

#: Name, function, reference, draw, and the engine's operations.
FLOAT_REDUCTIONS: list[
    tuple[str, Callable[..., Blob], Callable[..., Array], Draw, tuple[str, ...]]
] = [
    ("reduce_min", flow.math.reduce_min, np.min, distinct, ("reduce_min", "equal")),
    ("reduce_prod", flow.math.reduce_prod, np.prod, NEAR_ONE, ("reduce_prod",)),
    ("reduce_variance", flow.math.reduce_variance, np.var, normal, ("squared_difference",)),
    ("reduce_std", flow.math.reduce_std, np.std, normal, ("sqrt_no_nan",)),
    ("reduce_euclidean_norm", flow.math.reduce_euclidean_norm, _norm, normal, ("sqrt_no_nan",)),
    (
        "reduce_logsumexp",
        flow.math.reduce_logsumexp,
        _logsumexp,
        normal,
        ("finite_or_zero", "reduce_max", "log"),
    ),
]


def _floats() -> list[Row]:
    return [
        Row(
            f"{name}-{label_of(shape)}-{axis}{'-keepdims' if keepdims else ''}",
            lambda x, function=function, axis=axis, keepdims=keepdims: function(
                x, axis=axis, keepdims=keepdims
            ),
            (Input(shape, draw),),
            _reference(reference, axis, keepdims),
            covers,
            units=0 if name == "reduce_min" else 64,
            magnitude=_reference(_size, axis, keepdims),
            gradient_units=256,
        )
        for name, function, reference, draw, covers in FLOAT_REDUCTIONS
        for shape, axis, keepdims in AXES
        # A product of 300 factors leaves the range where differences are good.
        if not (name == "reduce_prod" and shape == (59, 301))
    ]


def _products() -> list[Row]:
    def others(x: Array, dy: Array) -> list[Array]:
        """The gradient of the product along the last axis, from the definition."""
        gradient = np.zeros_like(x)
        for i in range(x.shape[-1]):
            gradient[..., i] = dy * np.delete(x, i, axis=-1).prod(axis=-1)
        return [gradient]

    draws: list[tuple[str, Draw]] = [
        ("none", nonzero),
        ("some", among(0.0, 0.5, 2.0, -1.0)),
        ("each-third", zeros_among),
        ("all", among(0.0)),
    ]
    zeros = [
        Row(
            f"reduce_prod-zeros-{name}",
            lambda x: flow.math.reduce_prod(x, axis=-1),
            (Input((40, 4), draw),),
            lambda x: x.prod(axis=-1),
            ("reduce_prod",),
            units=8,
            gradient=others,
        )
        for name, draw in draws
    ]
    integers = Row(
        "reduce_prod-integers",
        lambda x: flow.math.reduce_prod(x, axis=0),
        (Input((3, 7), tied),),
        lambda x: x.prod(axis=0, dtype=x.dtype),
        ("reduce_prod",),
        INTEGERS,
    )
    least = Row(
        "reduce_min-integers",
        lambda x: flow.math.reduce_min(x, axis=0),
        (Input((3, 7)),),
        lambda x: x.min(axis=0),
        ("reduce_min",),
        INTEGERS,
    )
    return [*zeros, integers, least]


def _shared_evenly(x: Array, dy: Array) -> list[Array]:
    """The gradient of a minimum over the last axis of which equal elements have equal shares."""
    mask = (x == x.min(axis=-1, keepdims=True)).astype(x.dtype)
    return [mask * (dy / mask.sum(axis=-1))[..., None]]


def _truth() -> list[Row]:
    return [
        Row(
            f"{name}-{axis}{'-keepdims' if keepdims else ''}",
            lambda x, function=function, axis=axis, keepdims=keepdims: function(
                x, axis=axis, keepdims=keepdims
            ),
            (Input((5, 3), among(0, 0, 2, -128)),),
            _reference(reference, axis, keepdims),
            covers,
            ("int8",),
            "int8",
        )
        for name, function, reference, covers in [
            ("reduce_any", flow.math.reduce_any, np.any, ("not_equal", "reduce_max")),
            ("reduce_all", flow.math.reduce_all, np.all, ("not_equal", "reduce_min")),
        ]
        for axis in (None, 0, 1)
        for keepdims in (False, True)
    ]


def _special() -> list[Row]:
    ties = Row(
        "reduce_min-ties",
        lambda x: flow.math.reduce_min(x, axis=-1),
        (Input((9, 6), tied),),
        lambda x: x.min(axis=-1),
        ("reduce_min", "equal"),
        gradient=_shared_evenly,
    )
    # A large mean costs no digits.
    far = Row(
        "reduce_variance-far-from-zero",
        lambda x: flow.math.reduce_variance(x + 10000, axis=-1),
        (Input((9, 64), among(-1.0, 0.0, 0.5, 2.0)),),
        lambda x: x.var(axis=-1),
        ("squared_difference",),
        units=64,
        magnitude=lambda x: 1 + 0 * x[:, 0],
        gradient=lambda x, dy: [dy[:, None] * 2 * (x - x.mean(axis=-1, keepdims=True)) / 64],
        gradient_units=4096,
    )
    flat = [
        Row(
            f"{name}-of-equal-elements",
            lambda x, function=function: function(x, axis=-1),
            (Input((4, 8), among(0.0)),),
            lambda x: 0 * x[:, 0],
            ("sqrt_no_nan",),
            gradient=lambda x, dy: [0 * x],
        )
        for name, function in [
            ("reduce_std", flow.math.reduce_std),
            ("reduce_euclidean_norm", flow.math.reduce_euclidean_norm),
        ]
    ]
    huge = Row(
        "reduce_logsumexp-huge",
        lambda x: flow.math.reduce_logsumexp(x, axis=-1),
        (Input((9, 7), among(1e4, -1e4, 0.0, 9999.0)),),
        lambda x: x.max(axis=-1) + np.log(np.exp(x - x.max(axis=-1, keepdims=True)).sum(axis=-1)),
        ("finite_or_zero",),
        units=8,
        magnitude=lambda x: 1 + np.abs(x).max(axis=-1),
        gradient=lambda x, dy: [
            dy[:, None]
            * np.exp(x - x.max(axis=-1, keepdims=True))
            / np.exp(x - x.max(axis=-1, keepdims=True)).sum(axis=-1, keepdims=True)
        ],
        gradient_units=64,
    )
    normalized = [
        Row(
            f"l2_normalize-{label_of(shape)}-{axis}",
            lambda x, axis=axis: flow.math.l2_normalize(x, axis=axis),
            (Input(shape),),
            lambda x, axis=axis: x / np.sqrt(np.square(x).sum(axis=axis, keepdims=True)),
            ("clip_min", "rsqrt"),
            units=64,
            gradient_units=256,
        )
        for shape, axis in [((4, 6), 1), ((4, 6), 0), ((2, 3, 4), -2)]
    ]
    return [ties, far, *flat, huge, *normalized]


ROWS: list[Row] = [*_floats(), *_products(), *_truth(), *_special()]
