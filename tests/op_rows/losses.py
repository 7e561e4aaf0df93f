"""Softmax and the losses made of it."""

from __future__ import annotations

import numpy as np

import flowrs as flow
from op_rows.draws import (
    Array,
    Draw,
    Shape,
    distribution,
    hidden_logits,
    huge_logits,
    labels,
    normal,
)
from op_rows.row import INTEGERS, Input, Row, label_of


def _log_softmax(x: Array, axis: int = -1) -> Array:
    shifted = x - x.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def _softmax(x: Array, axis: int = -1) -> Array:
    return np.exp(_log_softmax(x, axis))


def _softmax_rows() -> list[Row]:
    cases: list[tuple[Shape, int | None, Draw]] = [
        ((1, 1), None, normal),
        ((4, 10), None, normal),
        ((4, 10), 0, normal),
        ((4, 10), -2, normal),
        ((3, 4, 5), 1, normal),
        ((2, 3, 1, 2, 5), -4, normal),
        ((2, 3, 1, 2, 5), 2, normal),
        ((0, 3), None, normal),
        ((101, 257), None, normal),
        ((101, 257), 0, normal),
        ((9, 7), None, huge_logits),
        ((9, 7), None, hidden_logits),
    ]
    return [
        Row(
            f"softmax-{label_of(shape)}-{axis}-{draw.__name__}",
            lambda x, axis=axis: flow.nn.softmax(x, axis=axis),
            (Input(shape, draw, differentiable=draw is normal),),
            lambda x, axis=axis: _softmax(x, -1 if axis is None else axis),
            ("softmax",),
            units=16,
            gradient_units=64,
        )
        for shape, axis, draw in cases
    ]


LOG_FLOOR = float(np.log(1e-20))


def _row_size(x: Array) -> Array:
    finite = np.where(np.isfinite(x), np.abs(x), 0)
    return 1 + finite.max(axis=-1)


def _sparse_loss(label: Array, x: Array) -> Array:
    chosen = np.take_along_axis(_log_softmax(x), label[..., None].astype(np.int64), axis=-1)
    return -np.maximum(chosen[..., 0], LOG_FLOOR)


def _sparse_gradient(label: Array, x: Array, dy: Array) -> list[Array]:
    one_hot = np.arange(x.shape[-1]) == label[..., None]
    return [dy[..., None] * (_softmax(x) - one_hot)]


def _sparse_row(
    label: str, shape: Shape, labels_shape: Shape, dtype: str = "int32", draw: Draw = normal
) -> Row:
    def flat(numbers: Array) -> Array:
        return numbers.reshape(shape[:-1])

    return Row(
        f"sparse_softmax_cross_entropy-{label}",
        flow.nn.sparse_softmax_cross_entropy_with_logits,
        (
            Input(labels_shape, labels(shape[-1]), dtype, differentiable=False),
            Input(shape, draw),
        ),
        lambda numbers, x: _sparse_loss(flat(numbers), x),
        ("sparse_softmax_cross_entropy",),
        units=16,
        magnitude=lambda numbers, x: _row_size(x),
        # The floor of the probability is not differentiated.
        gradient=None
        if draw is normal
        else lambda numbers, x, dy: _sparse_gradient(flat(numbers), x, dy),
        gradient_units=64,
    )


def _dense_loss(label: Array, x: Array) -> Array:
    return -(label * np.maximum(_log_softmax(x), LOG_FLOOR)).sum(axis=-1)


def _losses() -> list[Row]:
    sparse = [_sparse_row(f"labels-{name}", (6, 5), (6,), name) for name in INTEGERS]
    sparse += [
        _sparse_row(label_of(shape, rows), shape, rows)
        for shape, rows in [
            ((1, 1), (1,)),
            ((6, 5), (6, 1)),
            ((2, 3, 5), (2, 3)),
            ((2, 3, 5), (2, 3, 1)),
            ((2, 1, 3, 2, 5), (2, 1, 3, 2)),
            ((0, 5), (0,)),
            ((1100, 10), (1100,)),
            ((7, 1501), (7,)),
        ]
    ]
    sparse += [
        _sparse_row(draw.__name__, (9, 7), (9,), draw=draw) for draw in (huge_logits, hidden_logits)
    ]
    dense = [
        Row(
            f"softmax_cross_entropy-{label_of(shape)}-{draw.__name__}",
            flow.nn.softmax_cross_entropy_with_logits,
            (Input(shape, distribution, differentiable=False), Input(shape, draw)),
            _dense_loss,
            ("softmax_cross_entropy",),
            units=16,
            magnitude=lambda label, x: _row_size(x),
            gradient=None
            if draw is normal
            else lambda label, x, dy: [dy[..., None] * (_softmax(x) - label)],
            gradient_units=64,
        )
        for shape, draw in [
            ((1, 1), normal),
            ((6, 5), normal),
            ((2, 1, 3, 5), normal),
            ((0, 5), normal),
            ((1100, 10), normal),
            ((9, 7), huge_logits),
            ((9, 7), hidden_logits),
        ]
    ]
    return sparse + dense


ROWS: list[Row] = [*_softmax_rows(), *_losses()]
