"""Reductions over axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import flowrs as flow
from flowrs.blob import Blob
from op_rows.draws import LAYOUTS, Array, Draw, Shape, distinct, extreme, normal, tied
from op_rows.row import FLOATS, INTEGERS, Input, Row, label_of

REDUCTIONS: list[tuple[Shape, Any]] = [
    ((1,), None),
    ((37,), None),
    ((37,), 0),
    ((4, 6), -1),
    ((4, 6), 0),
    ((4, 6), None),
    ((4, 6), [0, 1]),
    ((4, 6), []),
    ((3, 4, 5), [0, -1]),
    ((3, 4, 5), 1),
    ((3, 4, 5), (-3, -2)),
    ((2, 1, 3, 1), [1, 3]),
    ((2, 3, 2, 1, 4), [-1, 1, 3]),
    ((259, 301), 0),
    ((259, 301), 1),
    ((259, 301), None),
]


def _reduced(function: Callable[..., Array], axis: Any, keepdims: bool) -> Callable[..., Array]:
    """A reduction of NumPy's that gives shape (1,) where NumPy gives ()."""
    axes = tuple(axis) if isinstance(axis, (list, tuple)) else axis

    def reference(x: Array) -> Array:
        return np.atleast_1d(function(x, axis=axes, keepdims=keepdims))

    return reference


def _sum(x: Array, axis: Any, keepdims: bool) -> Array:
    return np.sum(x, axis=axis, keepdims=keepdims, dtype=x.dtype)


def _reductions() -> list[Row]:
    rows = []
    for shape, axis in REDUCTIONS:
        for keepdims in (False, True):
            label = f"{label_of(shape)}-{axis}{'-keepdims' if keepdims else ''}"
            arguments = {"axis": axis, "keepdims": keepdims}
            total = _reduced(_sum, axis, keepdims)

            def reduce(function: Any, arguments: Any = arguments) -> Callable[..., Blob]:
                return lambda x: function(x, **arguments)

            def size(x: Array, total: Any = total) -> Array:
                return total(np.abs(x))

            def mean_size(x: Array, axis: Any = axis, keepdims: bool = keepdims) -> Array:
                return _reduced(np.mean, axis, keepdims)(np.abs(x))

            rows += [
                Row(
                    f"reduce_sum-{label}",
                    reduce(flow.math.reduce_sum),
                    (Input(shape),),
                    total,
                    ("reduce_sum",),
                    units=8,
                    magnitude=size,
                ),
                Row(
                    f"reduce_mean-{label}",
                    reduce(flow.math.reduce_mean),
                    (Input(shape),),
                    _reduced(np.mean, axis, keepdims),
                    ("reduce_sum", "multiply"),
                    units=8,
                    magnitude=mean_size,
                ),
                Row(
                    f"reduce_max-{label}",
                    reduce(flow.math.reduce_max),
                    (Input(shape, distinct),),
                    _reduced(np.max, axis, keepdims),
                    ("reduce_max", "equal", "cast"),
                ),
            ]
    return rows + _special_reductions()


def _shared_evenly(x: Array, dy: Array) -> list[Array]:
    """The gradient of a maximum over the last axis of which equal elements have equal shares."""
    mask = (x == x.max(axis=-1, keepdims=True)).astype(x.dtype)
    return [mask * (dy / mask.sum(axis=-1))[..., None]]


def _special_reductions() -> list[Row]:
    last = {"axis": -1}
    rows = [
        Row(
            f"{name}-integers",
            lambda x, function=function: function(x, axis=1),
            (Input((5, 43), draw),),
            lambda x, reference=reference: reference(x, axis=1, keepdims=False),
            (name,),
            INTEGERS,
        )
        for name, function, draw, reference in [
            ("reduce_sum", flow.math.reduce_sum, normal, _sum),
            ("reduce_max", flow.math.reduce_max, tied, np.max),
        ]
    ]
    for layout in LAYOUTS:
        rows.append(
            Row(
                f"reduce_sum-{layout.__name__}",
                lambda x: flow.math.reduce_sum(x, axis=1),
                (Input((6, 5), layout=layout),),
                lambda x: x.sum(axis=1),
                ("reduce_sum", "broadcast_to"),
                units=8,
                magnitude=lambda x: np.abs(x).sum(axis=1),
            )
        )
    return [
        *rows,
        Row(
            "reduce_sum-of-nothing",
            lambda x: flow.math.reduce_sum(x, **last),
            (Input((3, 0)),),
            lambda x: np.zeros(3),
            ("reduce_sum",),
        ),
        Row(
            "reduce_sum-without-rows",
            lambda x: flow.math.reduce_sum(x, **last),
            (Input((0, 3)),),
            lambda x: np.zeros(0),
            ("reduce_sum",),
        ),
        Row(
            "reduce_max-without-rows",
            lambda x: flow.math.reduce_max(x, **last),
            (Input((0, 3)),),
            lambda x: np.zeros(0),
            ("reduce_max",),
        ),
        Row(
            "reduce_max-ties",
            lambda x: flow.math.reduce_max(x, **last),
            (Input((7, 9), tied),),
            lambda x: x.max(axis=-1),
            ("reduce_max", "equal", "cast", "divide"),
            gradient=_shared_evenly,
        ),
        Row(
            "reduce_max-extreme",
            lambda x: flow.math.reduce_max(x, **last),
            (Input((50, 5), extreme, differentiable=False),),
            lambda x: x.max(axis=-1),
            ("reduce_max",),
        ),
    ]


def _argmax() -> list[Row]:
    cases: list[tuple[Shape, int, Draw]] = [
        ((1,), 0, distinct),
        ((37,), -1, distinct),
        ((4, 6), -1, distinct),
        ((4, 6), 0, distinct),
        ((3, 4, 5), -2, tied),
        ((2, 3, 2, 1, 4), 1, tied),
        ((2, 3, 1), -1, normal),
        ((0, 3), -1, normal),
        ((301, 259), -1, tied),
        ((301, 259), 0, tied),
    ]
    rows = [
        Row(
            f"argmax-{label_of(shape)}-{axis}-{draw.__name__}",
            lambda x, axis=axis: flow.math.argmax(x, axis=axis),
            (Input(shape, draw),),
            lambda x, axis=axis: np.atleast_1d(np.argmax(x, axis=axis)),
            ("argmax",),
            FLOATS + INTEGERS if draw is tied and len(shape) > 2 else FLOATS,
            output="int32",
        )
        for shape, axis, draw in cases
    ]
    first_nan = Row(
        "argmax-extreme",
        flow.math.argmax,
        (Input((50, 5), extreme),),
        lambda x: np.argmax(x, axis=-1),
        ("argmax",),
        output="int32",
    )
    return [*rows, first_nan]


ROWS: list[Row] = [*_reductions(), *_argmax()]
