"""Moving, picking and ordering elements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import flowrs as flow
from flowrs.blob import Blob
from op_rows.draws import LAYOUTS, Array, Shape, distinct, labels, normal, tied
from op_rows.row import FLOATS, INTEGERS, Input, Row, label_of

Function = Callable[..., Blob]
Reference = Callable[..., Array]


def _integers(inputs: tuple[Input, ...]) -> tuple[str, ...]:
    """The integer dtypes; what is empty comes as a variable, which cannot be uint8."""
    return INTEGERS[:3] if any(0 in item.shape for item in inputs) else INTEGERS


def _moves(
    name: str,
    function: Function,
    inputs: tuple[Input, ...],
    reference: Reference,
    op: str,
    gradient: tuple[str, ...] = (),
    gradient_units: float = 8,
) -> list[Row]:
    """A row with floats, which are differentiated, and one with integers."""
    covers = (op, *gradient)
    return [
        Row(name, function, inputs, reference, covers, gradient_units=gradient_units),
        Row(f"{name}-integers", function, inputs, reference, (op,), _integers(inputs)),
    ]


def _index(shape: Shape, limit: int, dtype: str = "int32") -> Input:
    return Input(shape, labels(limit), dtype, differentiable=False)


# --- Shapes ------------------------------------------------------------------------------------


def _transpose() -> list[Row]:
    cases: list[tuple[Shape, list[int]]] = [
        ((7,), [0]),
        ((3, 5), [1, 0]),
        ((3, 5), [-1, 0]),
        ((1, 5), [1, 0]),
        ((0, 3), [1, 0]),
        ((2, 3, 4), [2, 0, 1]),
        ((2, 3, 4), [0, 2, 1]),
        ((2, 3, 4), [0, 1, 2]),
        ((2, 1, 3, 1, 2), [4, 1, 2, 3, 0]),
        ((131, 257), [1, 0]),
        ((2, 17, 33, 5), [0, 2, 3, 1]),
    ]
    rows = []
    for shape, perm in cases:
        rows += _moves(
            f"transpose-{label_of(shape)}-{perm}",
            lambda x, perm=perm: flow.transpose(x, perm),
            (Input(shape),),
            lambda x, perm=perm: x.transpose(perm),
            "transpose",
        )
    rows += [
        Row(
            f"transpose-{layout.__name__}",
            lambda x: flow.transpose(x, (1, 0)),
            (Input((6, 5), layout=layout),),
            lambda x: x.T,
            ("transpose",),
        )
        for layout in LAYOUTS
    ]
    return rows


def _joins() -> list[Row]:
    cases: list[tuple[list[Shape], int]] = [
        ([(3,), (4,)], 0),
        ([(2, 3), (2, 1), (2, 4)], 1),
        ([(2, 3), (2, 1)], -1),
        ([(2, 3, 4), (5, 3, 4)], 0),
        ([(2, 1, 4, 3), (2, 2, 4, 3)], -3),
        ([(0, 3), (2, 3)], 0),
        ([(67, 140, 3), (67, 91, 3)], 1),
    ]
    rows = []
    for shapes, axis in cases:
        rows += _moves(
            f"concat-{label_of(*shapes)}-{axis}",
            lambda *blobs, axis=axis: flow.concat(list(blobs), axis),
            tuple(Input(shape) for shape in shapes),
            lambda *arrays, axis=axis: np.concatenate(arrays, axis),
            "concat",
            ("slice",),
        )
    for axis in (0, 1, -1, -3):
        rows += _moves(
            f"stack-{axis}",
            lambda *blobs, axis=axis: flow.stack(list(blobs), axis),
            (Input((2, 3)), Input((2, 3)), Input((2, 3))),
            lambda *arrays, axis=axis: np.stack(arrays, axis),
            "concat",
            ("slice",),
        )
    return [
        *rows,
        Row(
            "concat-with-itself",
            lambda x: flow.concat(values=[x, x * 2, x], axis=1),
            (Input((2, 3)),),
            lambda x: np.concatenate([x, 2 * x, x], 1),
            ("concat",),
        ),
        Row(
            "concat-of-one",
            lambda x: flow.concat([x]) + 1,
            (Input((2, 3)),),
            lambda x: x + 1,
            ("add",),
        ),
        Row(
            "stack-of-one",
            lambda x: flow.stack([x], 1),
            (Input((2, 3)),),
            lambda x: x[:, None],
            ("reshape",),
        ),
    ]


def _views() -> list[Row]:
    cases: list[tuple[str, Function, Shape, Reference]] = [
        ("squeeze", flow.squeeze, (1, 3, 1, 2), lambda x: x.reshape(3, 2)),
        ("squeeze-all", flow.squeeze, (1, 1), lambda x: x.reshape(1)),
        ("squeeze-one", lambda x: flow.squeeze(x, [-2]), (1, 3, 1, 2), lambda x: x[:, :, 0]),
        ("squeeze-two", lambda x: flow.squeeze(x, (0, 2)), (1, 3, 1, 2), lambda x: x[0, :, 0]),
        ("expand_dims-0", lambda x: flow.expand_dims(x, 0), (2, 3), lambda x: x[None]),
        ("expand_dims--1", lambda x: flow.expand_dims(x, -1), (2, 3), lambda x: x[..., None]),
        ("expand_dims--3", lambda x: flow.expand_dims(x, -3), (2, 3), lambda x: x[None]),
        ("dynamic_reshape", lambda x: flow.dynamic_reshape(x, [6]), (2, 3), lambda x: x.ravel()),
    ]
    rows = []
    for name, function, shape, reference in cases:
        rows += _moves(name, function, (Input(shape),), reference, "reshape")
    return [
        *rows,
        Row(
            "reshape_like",
            flow.reshape_like,
            (Input((2, 6)), Input((3, 4), differentiable=False)),
            lambda x, like: x.reshape(3, 4),
            ("reshape",),
        ),
    ]


def _repeats() -> list[Row]:
    rows = []
    cases: list[tuple[str, Function, Shape, Shape]] = [
        ("expand", lambda x: flow.expand(x, [3, 4]), (1, 4), (3, 4)),
        ("expand-keeps", lambda x: flow.expand(x, [2, -1, 5]), (3, 1), (2, 3, 5)),
        ("expand-large", lambda x: flow.expand(x, (131, 257)), (131, 1), (131, 257)),
        ("expand-nothing", lambda x: flow.expand(x, [-1, -1]), (3, 2), (3, 2)),
    ]
    for name, function, shape, wanted in cases:
        rows += _moves(
            name,
            function,
            (Input(shape),),
            lambda x, wanted=wanted: np.broadcast_to(x, wanted),
            "broadcast_to",
            gradient_units=64,
        )
    like = Input((2, 3, 4), differentiable=False)
    return [
        *rows,
        Row(
            "broadcast_like",
            flow.broadcast_like,
            (Input((3, 1)), like),
            lambda x, like: np.broadcast_to(x, like.shape),
            ("broadcast_to",),
        ),
        Row(
            "broadcast_like-axes",
            lambda x, like: flow.broadcast_like(x, like, [0, -1]),
            (Input((3,)), like),
            lambda x, like: np.broadcast_to(x[:, None], like.shape),
            ("broadcast_to", "reshape"),
        ),
        Row(
            "broadcast_like-axes-kept",
            lambda x, like: flow.broadcast_like(x, like, (1,)),
            (Input((2, 1, 4)), like),
            lambda x, like: np.broadcast_to(x, like.shape),
            ("broadcast_to",),
        ),
        Row(
            "broadcast_to_compatible_with",
            lambda x, *others: flow.broadcast_to_compatible_with(x, list(others)),
            (Input((3, 1)), like, Input((1, 4), differentiable=False)),
            lambda x, *others: np.broadcast_arrays(x, *others)[0],
            ("broadcast_to",),
        ),
    ]


# --- Parts -------------------------------------------------------------------------------------


def _slices() -> list[Row]:
    full = (None, None, None)
    blocks: list[tuple[Shape, list[Any], list[Any], tuple[slice, ...]]] = [
        ((7,), [2], [3], (slice(2, 5),)),
        ((3, 4), [None, 1], [2, -1], (slice(0, 2), slice(1, 4))),
        ((3, 4), [-2, -4], [1, None], (slice(1, 2), slice(0, 4))),
        ((3, 1, 5), [0, 0, 2], [3, 1, 2], (slice(0, 3), slice(0, 1), slice(2, 4))),
        ((131, 257), [1, 3], [130, 200], (slice(1, 131), slice(3, 203))),
    ]
    rows = []
    for shape, begin, size, key in blocks:
        rows += _moves(
            f"slice-{label_of(shape)}-{begin}-{size}",
            lambda x, begin=begin, size=size: flow.slice(x, begin, size),
            (Input(shape),),
            lambda x, key=key: x[key],
            "slice",
            ("pad",),
        )
    stepped: list[tuple[Shape, list[Any]]] = [
        ((9,), [(1, 8, 3)]),
        ((9,), [(None, None, -2)]),
        ((9,), [(-2, 1, -3)]),
        ((4, 5), [(None, None, 2), (3, None, -1)]),
        ((4, 5), [(2, 3, 2)]),
        ((4, 5), [full, (-5, -1, 2)]),
        ((2, 4, 3), [full, (3, -5, -1)]),
        ((4, 5), [(2, 2, 1)]),
        ((4, 1, 6), [(-1, None, -1), (-1, None, -1), (5, 0, -2)]),
        ((131, 257), [(None, None, -3), (None, None, 2)]),
        ((66000,), [(None, None, -1)]),
    ]
    for shape, slices in stepped:
        key = tuple(slice(*part) for part in slices)
        # Where all steps are 1 and something is left, the gradient is a border of zeros.
        rows += _moves(
            f"slice_v2-{label_of(shape)}-{slices}",
            lambda x, slices=slices: flow.slice_v2(x, slices),
            (Input(shape),),
            lambda x, key=key: x[key],
            "slice",
            ("slice_scatter",),
        )
        part = np.zeros(shape, bool)[key].shape
        rows += _moves(
            f"slice_update-{label_of(shape)}-{slices}",
            lambda x, update, slices=slices: flow.slice_update(x, update, slices),
            (Input(shape), Input(part)),
            lambda x, update, key=key: _with(x, key, update),
            "slice_update",
            ("slice",),
        )
    rows.append(
        Row(
            "slice_update-in-place",
            lambda x, update: flow.slice_update(x + 1, update, [(1, 3, 1)]) * 2,
            (Input((4, 3)), Input((2, 3))),
            lambda x, update: 2 * _with(x + 1, (slice(1, 3),), update),
            ("slice_update",),
        )
    )
    for shape, axis in [
        ((4, 5), 0),
        ((4, 5), -1),
        ((2, 3, 4), [0, -1]),
        ((3, 1), [1]),
        ((0, 2), 0),
    ]:
        rows += _moves(
            f"reverse-{label_of(shape)}-{axis}",
            lambda x, axis=axis: flow.reverse(x, axis),
            (Input(shape),),
            lambda x, axis=axis: np.flip(x, axis),
            "slice",
            ("slice_scatter",),
        )
    return rows


def _with(array: Array, key: Any, update: Array) -> Array:
    changed = array.copy()
    changed[key] = update
    return changed


def _pads() -> list[Row]:
    rows = []
    cases: list[tuple[Shape, list[tuple[int, int]], int]] = [
        ((5,), [(2, 3)], 0),
        ((2, 3), [(0, 0), (0, 0)], 5),
        ((2, 3), [(1, 0), (0, 2)], 7),
        ((2, 1, 3), [(0, 1), (2, 0), (0, 0)], 1),
        ((0, 3), [(1, 1), (0, 1)], 4),
        ((2, 3, 4, 5), [(0, 0), (0, 0), (1, 2), (2, 1)], 0),
        ((2, 9, 40, 33), [(0, 0), (1, 1), (0, 1), (0, 0)], 3),
    ]
    for shape, paddings, value in cases:
        rows += _moves(
            f"pad-{label_of(shape)}-{paddings}-{value}",
            lambda x, paddings=paddings, value=value: flow.pad(x, paddings, value),
            (Input(shape),),
            lambda x, paddings=paddings, value=value: np.pad(x, paddings, constant_values=value),
            "pad",
            ("slice",),
        )
    images: Shape = (2, 3, 4, 5)
    sides = [(0, 0), (0, 0), (3, 1), (1, 2)]
    border = [1, 2, 3, 1]
    named: list[tuple[str, Function, Reference, str]] = [
        ("zero_pad2d", lambda x: flow.zero_pad2d(x, border), lambda x: np.pad(x, sides), "pad"),
        (
            "constant_pad2d",
            lambda x: flow.constant_pad2d(x, border, 3),
            lambda x: np.pad(x, sides, constant_values=3),
            "pad",
        ),
        (
            "reflection_pad2d",
            lambda x: flow.reflection_pad2d(x, border),
            lambda x: np.pad(x, sides, "reflect"),
            "reflection_pad2d",
        ),
        (
            "replication_pad2d",
            lambda x: flow.replication_pad2d(x, border),
            lambda x: np.pad(x, sides, "edge"),
            "replication_pad2d",
        ),
    ]
    for name, function, reference, op in named:
        gradient = ("slice",) if op == "pad" else (f"{op}_gradient",)
        rows += _moves(name, function, (Input(images),), reference, op, gradient)
    one: Shape = (1, 2, 33, 65)
    all_sides = [(0, 0), (0, 0), (2, 2), (2, 2)]
    rows += [
        Row(
            "reflection_pad2d-large",
            lambda x: flow.reflection_pad2d(x, 2),
            (Input(one),),
            lambda x: np.pad(x, all_sides, "reflect"),
            ("reflection_pad2d_gradient",),
        ),
        Row(
            "replication_pad2d-beyond-the-size",
            lambda x: flow.replication_pad2d(x, 2),
            (Input((3, 2, 1, 1)),),
            lambda x: np.pad(x, all_sides, "edge"),
            ("replication_pad2d_gradient",),
            gradient_units=32,
        ),
        Row(
            "pad_grad",
            lambda x: flow.pad_grad(x, [(1, 0), (2, 1)]),
            (Input((4, 7)),),
            lambda x: x[1:, 2:-1],
            ("slice",),
        ),
        Row(
            "same_padding-lower",
            lambda x: flow.same_padding(x, "SAME_LOWER", "NCHW", [4, 3], [1, 2], [1, 1]),
            (Input((1, 2, 5, 6)),),
            lambda x: np.pad(x, [(0, 0), (0, 0), (2, 1), (1, 0)]),
            ("pad",),
        ),
        Row(
            "same_padding-upper",
            lambda x: flow.same_padding(x, "SAME_UPPER", "NHWC", [4, 2], [1, 1], [1, 2]),
            (Input((1, 5, 6, 2)),),
            lambda x: np.pad(x, [(0, 0), (1, 2), (1, 1), (0, 0)]),
            ("pad",),
        ),
    ]
    return rows


# --- Indices -----------------------------------------------------------------------------------


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
        rows += _moves(
            f"gather-{label_of(params, indices)}-{axis}-{batch_dims}",
            lambda p, i, axis=axis, batch=batch_dims: flow.gather(
                p, i, axis=axis, batch_dims=batch
            ),
            (Input(params), _index(indices, params[number])),
            lambda p, i, axis=number, batch=batch_dims: _gathered(p, i, axis, batch),
            "gather",
            ("unsorted_segment_sum",),
            gradient_units=512,
        )
    rows += [
        Row(
            f"gather-{dtype}",
            flow.gather,
            (Input((7, 3)), _index((5,), 7, dtype)),
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

        inputs = (Input(data), _index(ids, segments))
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
                _integers(inputs),
            ),
        ]
    return [
        *rows,
        Row(
            "unsorted_segment_sum_like",
            lambda x, i, like: flow.math.unsorted_segment_sum_like(x, i, like, axis=1),
            (Input((2, 6)), _index((6,), 4), Input((2, 4), differentiable=False)),
            lambda x, i, like: _summed(x, i, 4, 1),
            ("unsorted_segment_sum",),
            units=6,
            magnitude=lambda x, i, like: _summed(np.abs(x), i, 4, 1),
        ),
        Row(
            "unsorted_batch_segment_sum",
            lambda x, i: flow.math.unsorted_batch_segment_sum(x, i, 4),
            (Input((2, 6, 3)), _index((2, 6), 4)),
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
        rows += _moves(
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
            for suffix, dtypes in (("", FLOATS), ("-integers", _integers(scattered)))
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
            for suffix, dtypes in (("", FLOATS), ("-integers", _integers(scattered)))
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
                _integers(scattered),
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
        rows += _moves(
            f"dim_gather-{label_of(shape, indices)}-{dim}",
            lambda x, i, dim=dim: flow.dim_gather(x, dim, i),
            (Input(shape), _index(indices, shape[dim])),
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
            _integers((Input(shape),)),
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
            rows += _moves(
                f"where-{label_of(c, x, y)}-{dtype}",
                flow.where,
                (Input(c, tied, dtype, differentiable=False), Input(x), Input(y)),
                lambda c, x, y: np.where(c != 0, x, y),
                "where",
                gradient_units=64,
            )
    for mask in [(3, 5), (5,), (3, 1), (1,)]:
        rows += _moves(
            f"masked_fill-{label_of(mask)}",
            lambda x, mask: flow.masked_fill(x, mask, 3),
            (Input((3, 5)), Input(mask, tied, "int32", differentiable=False)),
            lambda x, mask: np.where(mask != 0, x.dtype.type(3), x),
            "where",
        )
    return rows


# --- Order -------------------------------------------------------------------------------------


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
                    _integers((Input(shape),)),
                ),
            ]
            rows += [
                Row(
                    f"argsort-{label}-{draw.__name__}",
                    order_blob,
                    (Input(shape, draw),),
                    order,
                    ("argsort",),
                    FLOATS + _integers((Input(shape),)),
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
                FLOATS + _integers((Input(shape),)),
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
            (_index(shape[:1], shape[1], dtype), Input(shape, tied)),
            lambda t, x, k=k: in_top(t, x, k),
            ("in_top_k",),
            output="int8",
        )
        for shape, k in [((6, 5), 1), ((6, 5), 3), ((1, 1), 1), ((0, 5), 2), ((900, 40), 5)]
        for dtype in ("int32", "int64")
    ]
    return rows


# --- Matrices and images -----------------------------------------------------------------------


def _triangles() -> list[Row]:
    rows = []
    shapes: list[Shape] = [(4, 4), (3, 5), (5, 3), (2, 3, 4), (1, 1), (0, 3), (131, 257)]
    for shape in shapes:
        for diagonal in (0, 2, -1, -9):
            rows += _moves(
                f"tril-{label_of(shape)}-{diagonal}",
                lambda x, diagonal=diagonal: flow.math.tril(x, diagonal),
                (Input(shape),),
                lambda x, diagonal=diagonal: np.tril(x, diagonal),
                "tril",
            )
    rows += _moves(
        "tril-filled",
        lambda x: flow.nn.tril(x, fill_value=7),
        (Input((2, 3, 4)),),
        lambda x: np.where(np.tri(3, 4, dtype=bool), x, x.dtype.type(7)),
        "tril",
    )
    for diagonal in (0, 1, -2):
        rows += _moves(
            f"diag-vector-{diagonal}",
            lambda x, diagonal=diagonal: flow.diag(x, diagonal),
            (Input((4,)),),
            lambda x, diagonal=diagonal: np.diag(x, diagonal),
            "diagonal_matrix",
            ("diagonal",),
        )
        for shape in [(4, 4), (3, 5), (5, 3)]:
            rows += _moves(
                f"diag-{label_of(shape)}-{diagonal}",
                lambda x, diagonal=diagonal: flow.diag(x, diagonal),
                (Input(shape),),
                lambda x, diagonal=diagonal: np.diag(x, diagonal),
                "diagonal",
                ("diagonal_matrix",),
            )
    return rows


def _interpolation(size: int, scale: int) -> Array:
    """The weights of the inputs in each output, along one axis."""
    place = np.maximum((np.arange(size * scale) + 0.5) / scale - 0.5, 0)
    distance = np.abs(place[:, None] - np.arange(size))
    weights = np.maximum(1 - distance, 0)
    weights[place > size - 1] = np.eye(size)[-1]
    return weights


def _upsamples() -> list[Row]:
    rows = []
    cases: list[tuple[Shape, Any, str]] = [
        ((2, 3, 4, 5), (2, 2), "NCHW"),
        ((2, 3, 1, 1), (3, 2), "NCHW"),
        ((1, 1, 3, 2), (1, 1), "NCHW"),
        ((2, 4, 5, 3), (2, 3), "NHWC"),
        ((2, 4, 5, 1), 2, "NHWC"),
        ((2, 5, 17, 31), 2, "NCHW"),
    ]
    for shape, size, form in cases:
        tall, wide = (size, size) if isinstance(size, int) else size
        first = 2 if form == "NCHW" else 1

        def nearest(x: Array, first: int = first, tall: int = tall, wide: int = wide) -> Array:
            return x.repeat(tall, axis=first).repeat(wide, axis=first + 1)

        def bilinear(x: Array, first: int = first, tall: int = tall, wide: int = wide) -> Array:
            for axis, scale in ((first, tall), (first + 1, wide)):
                weights = _interpolation(x.shape[axis], scale)
                x = np.moveaxis(np.tensordot(weights, x, (1, axis)), 0, axis)
            return x

        def enlarged(x: Blob, kind: str = "nearest", size: Any = size, form: str = form) -> Blob:
            return flow.layers.upsample_2d(x, size, form, kind)

        label = f"{label_of(shape)}-{size}-{form}"
        rows += _moves(
            f"upsample-nearest-{label}",
            enlarged,
            (Input(shape),),
            nearest,
            "upsample",
            ("upsample_gradient",),
            gradient_units=16,
        )
        rows.append(
            Row(
                f"upsample-bilinear-{label}",
                lambda x, enlarged=enlarged: enlarged(x, "bilinear"),
                (Input(shape),),
                bilinear,
                ("upsample", "upsample_gradient"),
                units=8,
                magnitude=lambda x, bilinear=bilinear: bilinear(np.abs(x)),
                gradient_units=32,
            )
        )
    return rows


def _pixel_shuffle() -> list[Row]:
    def shuffled(x: Array, rows: int, columns: int) -> Array:
        n, c, h, w = x.shape
        split = x.reshape(n, c // (rows * columns), rows, columns, h, w)
        return split.transpose(0, 1, 4, 2, 5, 3).reshape(n, -1, h * rows, w * columns)

    return [
        *_moves(
            "PixelShuffle",
            lambda x: flow.nn.PixelShuffle(x, 2),
            (Input((2, 12, 3, 5)),),
            lambda x: shuffled(x, 2, 2),
            "transpose",
        ),
        *_moves(
            "PixelShufflev2",
            lambda x: flow.nn.PixelShufflev2(x, 3, 1),
            (Input((2, 6, 3, 5)),),
            lambda x: shuffled(x, 3, 1),
            "transpose",
        ),
    ]


# --- Values ------------------------------------------------------------------------------------


def _assigning(x: Blob) -> Blob:
    dtype = x.dtype
    held = flow.get_variable("held", x.shape, dtype, flow.zeros_initializer(dtype), trainable=False)
    flow.assign(held, x)
    return x


def _values() -> list[Row]:
    constants: list[tuple[str, Function, Reference]] = [
        ("zeros_like", lambda x: x + flow.zeros_like(x), lambda x: x),
        ("ones_like", lambda x: x + flow.ones_like(x), lambda x: x + 1),
        ("constant_like", lambda x: x + flow.constant_like(x, 2), lambda x: x + 2),
        ("constant", lambda x: x + flow.constant(2, x.dtype), lambda x: x + 2),
        ("constant_scalar", lambda x: x + flow.constant_scalar(2, x.dtype), lambda x: x + 2),
        ("zeros", lambda x: x + flow.zeros((3, 1), x.dtype), lambda x: x),
        ("ones", lambda x: x + flow.ones((4,), x.dtype), lambda x: x + 1),
        (
            "range",
            lambda x: x + flow.range(1, 9, 2, dtype=x.dtype),
            lambda x: x + np.arange(1, 9, 2).astype(x.dtype),
        ),
    ]
    rows = []
    for name, function, reference in constants:
        rows += _moves(name, function, (Input((3, 4)),), reference, "add")
    return [
        *rows,
        Row(
            "assign",
            _assigning,
            (Input((3, 4), differentiable=False),),
            lambda x: x,
            ("assign",),
            FLOATS + INTEGERS[:3],
        ),
        Row(
            "identity_n",
            lambda x, y: flow.concat(flow.identity_n([x, y])),
            (Input((3,)), Input((2,))),
            lambda x, y: np.concatenate([x, y]),
            ("identity",),
        ),
    ]


ROWS: list[Row] = [
    *_transpose(),
    *_joins(),
    *_views(),
    *_repeats(),
    *_slices(),
    *_pads(),
    *_gathers(),
    *_segment_sums(),
    *_tuple_rows(),
    *_dim_gather(),
    *_one_hot(),
    *_choices(),
    *_orders(),
    *_triangles(),
    *_upsamples(),
    *_pixel_shuffle(),
    *_values(),
]
