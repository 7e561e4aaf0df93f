"""Moving and joining elements, and picking parts of them."""

from __future__ import annotations

from typing import Any

import numpy as np

import flowrs as flow
from flowrs.blob import Blob
from op_rows.draws import LAYOUTS, Array, Shape
from op_rows.moves import Function, Reference, moves
from op_rows.row import FLOATS, INTEGERS, Input, Row, label_of

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
        rows += moves(
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
        rows += moves(
            f"concat-{label_of(*shapes)}-{axis}",
            lambda *blobs, axis=axis: flow.concat(list(blobs), axis),
            tuple(Input(shape) for shape in shapes),
            lambda *arrays, axis=axis: np.concatenate(arrays, axis),
            "concat",
            ("slice",),
        )
    for axis in (0, 1, -1, -3):
        rows += moves(
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
        rows += moves(name, function, (Input(shape),), reference, "reshape")
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
        rows += moves(
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
        rows += moves(
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
        rows += moves(
            f"slice_v2-{label_of(shape)}-{slices}",
            lambda x, slices=slices: flow.slice_v2(x, slices),
            (Input(shape),),
            lambda x, key=key: x[key],
            "slice",
            ("slice_scatter",),
        )
        part = np.zeros(shape, bool)[key].shape
        rows += moves(
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
        rows += moves(
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
        rows += moves(
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
        rows += moves(name, function, (Input(images),), reference, op, gradient)
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
        rows += moves(name, function, (Input((3, 4)),), reference, "add")
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
    *_values(),
]
