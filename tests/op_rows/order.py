"""Ordering elements."""

from __future__ import annotations

import numpy as np

import flowrs as flow
from flowrs.blob import Blob
from op_rows.draws import Array, Shape, distinct, normal, tied
from op_rows.moves import Reference, index_input, integers
from op_rows.row import FLOATS, Input, Row, label_of


def _key(x: Array, descending: bool) -> Array:
    wide = x.astype(np.float64)
    return -wide if descending else wide


def _orders() -> list[Row]:
    rows = []
    cases: list[tuple[Shape, int]] = [
        ((9,), -1),
        ((1,), 0),
        ((4, 9), 1),
        ((9, 4), 0),
        ((2, 7, 3), -2),
        ((0, 3), 1),
        ((3, 6000), 1),
        ((301, 40), 0),
    ]
    for shape, axis in cases:
        for direction in ("ASCENDING", "DESCENDING"):
            down = direction == "DESCENDING"
            label = f"{label_of(shape)}-{axis}-{direction.lower()}"

            def order(x: Array, axis: int = axis, down: bool = down) -> Array:
                return np.argsort(_key(x, down), axis=axis, kind="stable").astype(np.int32)

            def sort(x: Array, axis: int = axis, order: Reference = order) -> Array:
                return np.take_along_axis(x, order(x), axis)

            def sorted_blob(x: Blob, axis: int = axis, direction: str = direction) -> Blob:
                return flow.sort(x, axis, direction)

            def order_blob(x: Blob, axis: int = axis, direction: str = direction) -> Blob:
                return flow.argsort(x, axis, direction)

            name = f"sort-{label}"
            covers = ("sort", "argsort", "dim_scatter_add")
            rows += [
                Row(name, sorted_blob, (Input(shape, distinct),), sort, covers),
                Row(
                    f"{name}-tied",
                    sorted_blob,
                    (Input(shape, tied),),
                    sort,
                    ("sort",),
                    integers((Input(shape),)),
                ),
            ]
            rows += [
                Row(
                    f"argsort-{label}-{draw.__name__}",
                    order_blob,
                    (Input(shape, draw),),
                    order,
                    ("argsort",),
                    FLOATS + integers((Input(shape),)),
                    output="int32",
                )
                for draw in (normal, tied)
            ]
    for shape, axis, k in [
        ((9,), -1, 1),
        ((4, 9), -1, 3),
        ((4, 9), -1, 9),
        ((9, 4), 0, 2),
        ((2, 7, 3), 1, 5),
        ((0, 3), 1, 2),
        ((40, 1000), 1, 5),
    ]:
        rows += [
            Row(
                f"top_k-{label_of(shape)}-{axis}-{k}-{draw.__name__}",
                lambda x, axis=axis, k=k: flow.math.top_k(x, axis, k),
                (Input(shape, draw),),
                lambda x, axis=axis, k=k: np.take(
                    np.argsort(_key(x, True), axis=axis, kind="stable"), range(k), axis
                ),
                ("top_k",),
                FLOATS + integers((Input(shape),)),
                output="int32",
            )
            for draw in (normal, tied)
        ]

    def in_top(t: Array, x: Array, k: int) -> Array:
        chosen = np.take_along_axis(x, t[:, None].astype(np.int64), 1)
        return (x > chosen).sum(axis=1) < k

    rows += [
        Row(
            f"in_top_k-{label_of(shape)}-{k}-{dtype}",
            lambda t, x, k=k: flow.in_top_k(t, x, k),
            (index_input(shape[:1], shape[1], dtype), Input(shape, tied)),
            lambda t, x, k=k: in_top(t, x, k),
            ("in_top_k",),
            output="int8",
        )
        for shape, k in [((6, 5), 1), ((6, 5), 3), ((1, 1), 1), ((0, 5), 2), ((900, 40), 5)]
        for dtype in ("int32", "int64")
    ]
    return rows


ROWS: list[Row] = [
    *_orders(),
]
