"""Picking and writing elements by indices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import flowrs as flow
from flowrs.blob import Blob
from op_rows.draws import Array, Shape, labels, tied
from op_rows.moves import index_input, integers, moves
from op_rows.row import FLOATS, INTEGERS, Input, Row, label_of


def _gathered(params: Array, indices: Array, axis: int, batch_dims: int) -> Array:
    wide = indices.astype(np.int64)
    if batch_dims == 0:
        return np.take(params, wide, axis=axis)
    batches = [
        _gathered(p, i, axis - 1, batch_dims - 1) for p, i in zip(params, indices, strict=True)
    ]
    return np.stack(batches)


def _gathers() -> list[Row]:
    cases: list[tuple[Shape, Shape, int | None, int]] = [
        ((7,), (5,), None, 0),
        ((7, 3), (5,), 0, 0),
        ((7, 3), (2, 4), 0, 0),
        ((3, 7), (5,), 1, 0),
        ((2, 3, 7), (4, 2), -1, 0),
        ((2, 7, 3), (1,), 1, 0),
        ((1, 4), (6,), 0, 0),
        ((7, 3), (0,), 0, 0),
        ((2, 7), (2, 5), None, 1),
        ((2, 7, 3), (2, 5), None, 1),
        ((2, 3, 7, 2), (2, 3, 4), None, 2),
        ((2, 3, 7, 2), (2, 4), 2, 1),
        ((500, 37), (40, 9), 0, 0),
        ((31, 1), (9000,), 0, 0),
    ]
    rows = []
    for params, indices, axis, batch_dims in cases:
        number = batch_dims if axis is None else axis % len(params)
        rows += moves(
            f"gather-{label_of(params, indices)}-{axis}-{batch_dims}",
            lambda p, i, axis=axis, batch=batch_dims: flow.gather(
                p, i, axis=axis, batch_dims=batch
            ),
            (Input(params), index_input(indices, params[number])),
            lambda p, i, axis=number, batch=batch_dims: _gathered(p, i, axis, batch),
            "gather",
            ("unsorted_segment_sum",),
            gradient_units=512,
        )
    rows += [
        Row(
            f"gather-{dtype}",
            flow.gather,
            (Input((7, 3)), index_input((5,), 7, dtype)),
            lambda p, i: _gathered(p, i, 0, 0),
            ("gather", "unsorted_segment_sum"),
        )
        for dtype in INTEGERS
    ]
    return rows


def _summed(data: Array, ids: Array, segments: int, axis: int) -> Array:
    moved = data.reshape(*data.shape[:axis], ids.size, *data.shape[axis + ids.ndim :])
    total = np.zeros((*moved.shape[:axis], segments, *moved.shape[axis + 1 :]), data.dtype)
    key = (slice(None),) * axis
    for number, segment in enumerate(ids.ravel()):
        total[(*key, segment)] += moved[(*key, number)]
    return total


def _segment_sums() -> list[Row]:
    cases: list[tuple[Shape, Shape, int, int]] = [
        ((6,), (6,), 4, 0),
        ((6, 3), (6,), 9, 0),
        ((3, 6), (6,), 4, 1),
        ((3, 6), (6,), 4, -1),
        ((2, 3, 6, 2), (3, 6), 5, 1),
        ((0, 3), (0,), 4, 0),
        ((1000, 40), (1000,), 700, 0),
        ((5000,), (5000,), 7, 0),
    ]
    rows = []
    for data, ids, segments, axis in cases:
        number = axis % len(data)
        count = int(np.prod(ids))

        def function(x: Blob, i: Blob, segments: int = segments, axis: int = axis) -> Blob:
            return flow.unsorted_segment_sum(x, i, segments, axis)

        def reference(x: Array, i: Array, segments: int = segments, axis: int = number) -> Array:
            return _summed(x, i, segments, axis)

        inputs = (Input(data), index_input(ids, segments))
        name = f"unsorted_segment_sum-{label_of(data, ids)}-{segments}-{axis}"
        rows += [
            Row(
                name,
                function,
                inputs,
                reference,
                ("unsorted_segment_sum", "gather"),
                units=max(count, 1),
                magnitude=lambda x, i, reference=reference: reference(np.abs(x), i),
            ),
            Row(
                f"{name}-integers",
                function,
                inputs,
                reference,
                ("unsorted_segment_sum",),
                integers(inputs),
            ),
        ]
    return [
        *rows,
        Row(
            "unsorted_segment_sum_like",
            lambda x, i, like: flow.math.unsorted_segment_sum_like(x, i, like, axis=1),
            (Input((2, 6)), index_input((6,), 4), Input((2, 4), differentiable=False)),
            lambda x, i, like: _summed(x, i, 4, 1),
            ("unsorted_segment_sum",),
            units=6,
            magnitude=lambda x, i, like: _summed(np.abs(x), i, 4, 1),
        ),
        Row(
            "unsorted_batch_segment_sum",
            lambda x, i: flow.math.unsorted_batch_segment_sum(x, i, 4),
            (Input((2, 6, 3)), index_input((2, 6), 4)),
            lambda x, i: np.stack([_summed(a, b, 4, 0) for a, b in zip(x, i, strict=True)]),
            ("unsorted_segment_sum", "gather"),
            units=6,
            magnitude=lambda x, i: np.stack(
                [_summed(np.abs(a), b, 4, 0) for a, b in zip(x, i, strict=True)]
            ),
        ),
    ]


def _tuples(limits: Sequence[int], unique: bool = False) -> Callable[..., Array]:
    """Index tuples into dimensions of these sizes, the last place among them."""

    def draw(rng: np.random.Generator, shape: Shape, dtype: np.dtype[Any]) -> Array:
        total = int(np.prod(limits))
        count = int(np.prod(shape[:-1]))
        chosen = rng.choice(total, count, replace=not unique)
        chosen[:1] = total - 1
        if unique:
            chosen = np.unique(chosen)
            rest = np.setdiff1d(np.arange(total), chosen)
            chosen = np.concatenate([chosen, rest])[:count]
        places = np.stack(np.unravel_index(chosen, limits), axis=-1) if limits else chosen
        return places.reshape(shape).astype(dtype)

    return draw


def _entries(indices: Array) -> Any:
    return tuple(np.moveaxis(indices.astype(np.int64), -1, 0))


def _added(params: Array, indices: Array, updates: Array) -> Array:
    total = params.copy()
    np.add.at(total, _entries(indices), updates)
    return total


def _replaced(params: Array, indices: Array, updates: Array) -> Array:
    changed = params.copy()
    slices = updates.reshape(-1, *params.shape[indices.shape[-1] :])
    for place, update in zip(indices.reshape(-1, indices.shape[-1]), slices, strict=True):
        changed[tuple(place)] = update
    return changed


def _tuple_rows() -> list[Row]:
    rows = []
    cases: list[tuple[Shape, Shape]] = [
        ((7,), (4, 1)),
        ((5, 3), (4, 1)),
        ((5, 3), (2, 3, 2)),
        ((5, 3), (2, 2)),
        ((2, 3, 4), (5, 2)),
        ((1, 3, 1), (1, 3)),
        ((3, 4), (0, 1)),
        ((90, 3, 40), (70, 1)),
    ]
    for params, indices in cases:
        depth = indices[-1]
        limits = params[:depth]
        slices = (*indices[:-1], *params[depth:])
        label = label_of(params, indices)
        index = Input(indices, _tuples(limits), "int32", differentiable=False)
        only = Input(indices, _tuples(limits, unique=True), "int64", differentiable=False)
        rows += moves(
            f"gather_nd-{label}",
            flow.gather_nd,
            (Input(params), index),
            lambda p, i: p[_entries(i)],
            "gather_nd",
            ("scatter_nd",),
            gradient_units=128,
        )
        add_units = max(int(np.prod(indices[:-1])), 1)
        scattered = (index, Input(slices))
        rows += [
            Row(
                f"scatter_nd-{label}{suffix}",
                lambda i, u, shape=params: flow.scatter_nd(i, u, list(shape)),
                scattered,
                lambda i, u, shape=params: _added(np.zeros(shape, u.dtype), i, u),
                ("scatter_nd",),
                dtypes,
                units=add_units,
                magnitude=lambda i, u, shape=params: _added(np.zeros(shape), i, np.abs(u)),
            )
            for suffix, dtypes in (("", FLOATS), ("-integers", integers(scattered)))
        ]
        rows += [
            Row(
                f"tensor_scatter_nd_add-{label}{suffix}",
                flow.tensor_scatter_nd_add,
                (Input(params), index, Input(slices)),
                _added,
                ("tensor_scatter_nd_add",),
                dtypes,
                units=add_units + 1,
                magnitude=lambda p, i, u: _added(np.abs(p), i, np.abs(u)),
            )
            for suffix, dtypes in (("", FLOATS), ("-integers", integers(scattered)))
        ]
        rows.append(
            Row(
                f"tensor_scatter_nd_update-{label}",
                flow.tensor_scatter_nd_update,
                (Input(params), only, Input(slices)),
                _replaced,
                ("tensor_scatter_nd_update", "gather_nd"),
            )
        )
        rows.append(
            Row(
                f"tensor_scatter_nd_update-{label}-integers",
                flow.tensor_scatter_nd_update,
                (Input(params), index, Input(slices)),
                _replaced,
                ("tensor_scatter_nd_update",),
                integers(scattered),
            )
        )
    in_place = Row(
        "tensor_scatter_nd_add-in-place",
        lambda p, i, u: flow.tensor_scatter_nd_add(p + 1, i, u) * 2,
        (Input((5, 3)), Input((4, 1), _tuples((5,)), "int32"), Input((4, 3))),
        lambda p, i, u: 2 * _added(p + 1, i, u),
        ("tensor_scatter_nd_add",),
        units=6,
        magnitude=lambda p, i, u: 2 * _added(np.abs(p) + 1, i, np.abs(u)),
    )
    return [*rows, in_place]


def _dim_gather() -> list[Row]:
    cases: list[tuple[Shape, int, Shape]] = [
        ((7,), 0, (5,)),
        ((7, 3), 0, (2, 3)),
        ((3, 7), 1, (3, 9)),
        ((3, 7), -1, (3, 1)),
        ((2, 5, 3), 1, (2, 4, 3)),
        ((2, 5, 3), 1, (2, 0, 3)),
        ((5, 700), 0, (30, 700)),
    ]
    rows = []
    for shape, dim, indices in cases:
        rows += moves(
            f"dim_gather-{label_of(shape, indices)}-{dim}",
            lambda x, i, dim=dim: flow.dim_gather(x, dim, i),
            (Input(shape), index_input(indices, shape[dim])),
            lambda x, i, dim=dim: np.take_along_axis(x, i.astype(np.int64), dim),
            "dim_gather",
            ("dim_scatter_add",),
            gradient_units=64,
        )
    return rows


def _one_hot() -> list[Row]:
    types = {name: getattr(flow, name) for name in FLOATS + INTEGERS}

    def reference(i: Array, axis: int, on: float, off: float, dtype: str) -> Array:
        hot = np.arange(5) == i[..., None]
        return np.moveaxis(np.where(hot, on, off), -1, axis).astype(dtype)

    cases: list[tuple[Shape, int, float, float, str]] = [
        ((7,), -1, 1, 0, "float32"),
        ((7,), 0, 1, 0, "float64"),
        ((2, 3), 1, 0.5, -2, "float32"),
        ((2, 3), -3, 1, 0, "float32"),
        ((2, 3), -1, 7, -1, "int8"),
        ((2, 1, 3), 2, 7, 1, "uint8"),
        ((4,), -1, 2, 0, "int32"),
        ((4,), -1, 2, 0, "int64"),
        ((0,), -1, 1, 0, "float32"),
        ((9000,), -1, 1, 0, "float32"),
        ((9, 900), 1, 1, 0, "float32"),
    ]
    return [
        Row(
            f"one_hot-{label_of(shape)}-{axis}-{on}-{off}-{dtype}",
            lambda i, axis=axis, on=on, off=off, dtype=dtype: flow.one_hot(
                i, 5, on, off, axis, types[dtype]
            ),
            (Input(shape, labels(5)),),
            lambda i, axis=axis, on=on, off=off, dtype=dtype: reference(i, axis, on, off, dtype),
            ("one_hot",),
            integers((Input(shape),)),
            output=dtype,
        )
        for shape, axis, on, off, dtype in cases
    ]


def _choices() -> list[Row]:
    cases: list[tuple[Shape, Shape, Shape]] = [
        ((7,), (7,), (7,)),
        ((3, 1), (1, 5), (3, 5)),
        ((5,), (3, 5), (1,)),
        ((3, 5), (1,), (5,)),
        ((0, 3), (3,), (1,)),
        ((131, 257), (131, 257), (257,)),
    ]
    rows = []
    for c, x, y in cases:
        for dtype in ("int8", "int64"):
            rows += moves(
                f"where-{label_of(c, x, y)}-{dtype}",
                flow.where,
                (Input(c, tied, dtype, differentiable=False), Input(x), Input(y)),
                lambda c, x, y: np.where(c != 0, x, y),
                "where",
                gradient_units=64,
            )
    for mask in [(3, 5), (5,), (3, 1), (1,)]:
        rows += moves(
            f"masked_fill-{label_of(mask)}",
            lambda x, mask: flow.masked_fill(x, mask, 3),
            (Input((3, 5)), Input(mask, tied, "int32", differentiable=False)),
            lambda x, mask: np.where(mask != 0, x.dtype.type(3), x),
            "where",
        )
    return rows


ROWS: list[Row] = [
    *_gathers(),
    *_segment_sums(),
    *_tuple_rows(),
    *_dim_gather(),
    *_one_hot(),
    *_choices(),
]
