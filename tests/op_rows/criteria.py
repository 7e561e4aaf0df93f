"""Losses that are reduced to one number unless asked not to, and cross-entropies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import flowrs as flow
from flowrs.blob import Blob
from op_rows.draws import Array, Draw, Shape, distribution, huge_logits, labels, nonzero, normal
from op_rows.elementwise import MIXED, among, sigmoid, softplus, within
from op_rows.row import INTEGERS, Input, Row, label_of

PROBABILITY = within(0.1, 0.9)
SHAPES: list[Shape] = [(7,), (3, 5), (2, 3, 4), (1031,)]


def _mse(x: Array, t: Array) -> Array:
    return np.square(x - t)


def _bce(x: Array, t: Array) -> Array:
    return -(t * np.log(x) + (1 - t) * np.log(1 - x))


def _bce_logits(x: Array, t: Array) -> Array:
    return t * softplus(-x) + (1 - t) * softplus(x)


def _kl(x: Array, t: Array) -> Array:
    return t * (np.log(t) - x)


def _log_kl(x: Array, t: Array) -> Array:
    return np.exp(t) * (t - x)


def _log_target(x: Blob, t: Blob, reduction: str) -> Blob:
    return flow.nn.KLDivLoss(x, t, log_target=True, reduction=reduction)


#: Name, function, elements of the loss, what the two inputs hold, the engine's operation.
LOSSES: list[tuple[str, Callable[..., Blob], Callable[..., Array], Draw, Draw, str]] = [
    ("MSELoss", flow.nn.MSELoss, _mse, normal, normal, "squared_difference"),
    ("L1Loss", flow.nn.L1Loss, lambda x, t: np.abs(x - t), within(2.0, 3.0), normal, "abs"),
    ("BCELoss", flow.nn.BCELoss, _bce, PROBABILITY, PROBABILITY, "binary_cross_entropy"),
    (
        "BCEWithLogitsLoss",
        flow.nn.BCEWithLogitsLoss,
        _bce_logits,
        MIXED,
        PROBABILITY,
        "binary_cross_entropy_with_logits",
    ),
    ("KLDivLoss", flow.nn.KLDivLoss, _kl, normal, PROBABILITY, "kl_divergence"),
    ("KLDivLoss-log", _log_target, _log_kl, normal, normal, "log_kl_divergence"),
]

REDUCTIONS: dict[str, Callable[[Array], Array]] = {
    "none": lambda loss: loss,
    "mean": lambda loss: np.atleast_1d(loss.mean()),
    "sum": lambda loss: np.atleast_1d(loss.sum()),
}


def _reduced_losses() -> list[Row]:
    return [
        Row(
            f"{name}-{reduction}-{label_of(shape)}",
            lambda x, t, function=function, reduction=reduction: function(
                x, t, reduction=reduction
            ),
            (Input(shape, draw_x), Input(shape, draw_t)),
            lambda x, t, elements=elements, reduction=reduction: REDUCTIONS[reduction](
                elements(x, t)
            ),
            (op,),
            units=16,
            magnitude=lambda x, t, elements=elements, reduction=reduction: REDUCTIONS[reduction](
                1 + np.abs(elements(x, t)) + np.abs(x) + np.abs(t)
            ),
            gradient_units=32,
        )
        for name, function, elements, draw_x, draw_t, op in LOSSES
        for reduction in REDUCTIONS
        for shape in SHAPES
    ]


def _weights() -> list[Row]:
    x, t, w = Input((6, 5), PROBABILITY), Input((6, 5), PROBABILITY), Input((5,), within(0.5, 2.0))
    logits = Input((6, 5), MIXED)
    return [
        Row(
            "BCELoss-weight",
            lambda x, t, w: flow.nn.BCELoss(x, t, weight=w, reduction="sum"),
            (x, t, w),
            lambda x, t, w: np.atleast_1d((w * _bce(x, t)).sum()),
            ("binary_cross_entropy", "multiply"),
            units=16,
            gradient_units=32,
        ),
        Row(
            "BCEWithLogitsLoss-weight",
            lambda x, t, w: flow.nn.BCEWithLogitsLoss(x, t, weight=w),
            (logits, t, w),
            lambda x, t, w: np.atleast_1d((w * _bce_logits(x, t)).mean()),
            ("binary_cross_entropy_with_logits", "multiply"),
            units=16,
            gradient_units=32,
        ),
        Row(
            "BCEWithLogitsLoss-pos_weight",
            lambda x, t, w: flow.nn.BCEWithLogitsLoss(x, t, pos_weight=w, reduction="none"),
            (logits, t, w),
            lambda x, t, w: w * t * softplus(-x) + (1 - t) * softplus(x),
            ("weighted_cross_entropy_with_logits",),
            units=16,
            gradient_units=32,
        ),
    ]


def _margins() -> list[Row]:
    a, b = Input((6, 5), within(0.0, 2.0)), Input((6, 5), within(-1.0, 1.0))
    side = Input((6, 5), among(-1.0, 1.0), differentiable=False)
    ranking = [
        Row(
            f"MarginRankingLoss-{margin}-{reduction}",
            lambda a, b, t, margin=margin, reduction=reduction: flow.nn.MarginRankingLoss(
                a, b, t, margin=margin, reduction=reduction
            ),
            (a, b, side),
            lambda a, b, t, margin=margin, reduction=reduction: REDUCTIONS[reduction](
                np.maximum(0, margin - t * (a - b))
            ),
            ("clip_min",),
            units=16,
            magnitude=lambda a, b, t, reduction=reduction: REDUCTIONS[reduction](
                1 + np.abs(a) + np.abs(b)
            ),
            gradient_units=32,
        )
        for margin in (0.0, 0.5)
        for reduction in REDUCTIONS
    ]

    def distance(x: Array, y: Array, p: float) -> Array:
        return np.power(np.power(np.abs(x - y + 1e-6), p).sum(axis=-1), 1 / p)

    triplet = [
        Row(
            f"TripletMarginLoss-{p}-{reduction}",
            lambda a, b, c, p=p, reduction=reduction: flow.nn.TripletMarginLoss(
                a, b, c, margin=0.7, p=p, reduction=reduction
            ),
            (Input((6, 5)), Input((6, 5)), Input((6, 5))),
            lambda a, b, c, p=p, reduction=reduction: REDUCTIONS[reduction](
                np.maximum(0, distance(a, b, p) - distance(a, c, p) + 0.7)
            ),
            ("clip_min", op),
            units=64,
            magnitude=lambda a, b, c, reduction=reduction: REDUCTIONS[reduction](
                1 + np.abs(a).sum(axis=-1) + np.abs(b).sum(axis=-1) + np.abs(c).sum(axis=-1)
            ),
            gradient_units=64,
        )
        for p, op in [(1.0, "abs"), (2.0, "sqrt_no_nan"), (3.0, "scalar_pow")]
        for reduction in REDUCTIONS
    ]
    return ranking + triplet


def _smooth() -> list[Row]:
    def reference(x: Array, t: Array, beta: float) -> Array:
        d = np.abs(x - t)
        near = 0.5 * d * d / beta if beta else d
        return np.where(d < beta, near, d - 0.5 * beta)

    return [
        Row(
            f"smooth_l1_loss-{beta}-{label_of(shape)}",
            lambda x, t, beta=beta: flow.smooth_l1_loss(x, t, beta=beta),
            (Input(shape), Input(shape, nonzero)),
            lambda x, t, beta=beta: reference(x, t, beta),
            ("smooth_l1",),
            units=8,
            magnitude=lambda x, t: 1 + np.abs(x) + np.abs(t),
            gradient_units=32,
        )
        for beta in (1.0, 0.25, 0.0)
        for shape in ((3, 5), (1031,))
    ]


def _cross_entropies() -> list[Row]:
    rows = [
        Row(
            f"sigmoid_cross_entropy-{label_of(shape)}",
            flow.nn.sigmoid_cross_entropy_with_logits,
            (Input(shape, PROBABILITY, differentiable=False), Input(shape, MIXED)),
            lambda t, x: _bce_logits(x, t),
            ("sigmoid_cross_entropy",),
            units=16,
            gradient_units=32,
        )
        for shape in SHAPES
    ]
    rows += [
        Row(
            f"sigmoid_cross_entropy-labels-{dtype}",
            flow.nn.sigmoid_cross_entropy_with_logits,
            (Input((6, 5), labels(2), dtype), Input((6, 5), draw)),
            lambda t, x: _bce_logits(x, t),
            ("sigmoid_cross_entropy", "cast"),
            units=16,
            magnitude=lambda t, x: 1 + np.abs(x),
            gradient=lambda t, x, dy: [dy * (sigmoid(x) - t)],
            gradient_units=32,
        )
        for dtype, draw in [("int32", MIXED), ("int8", MIXED), ("int64", huge_logits)]
    ]
    return rows + _sparse() + _log_softmax()


def _sparse() -> list[Row]:
    def chosen(numbers: Array, p: Array) -> Array:
        flat = numbers.reshape(p.shape[:-1])[..., None].astype(np.int64)
        return np.take_along_axis(p, flat, axis=-1)[..., 0]

    def gradient(numbers: Array, p: Array, dy: Array) -> list[Array]:
        one_hot = np.arange(p.shape[-1]) == numbers.reshape(p.shape[:-1])[..., None]
        return [np.where(one_hot, -dy[..., None] / np.maximum(p, 1e-20), 0.0)]

    cases: list[tuple[str, Shape, Shape, str, Draw]] = [
        *[(f"labels-{name}", (6, 5), (6,), name, distribution) for name in INTEGERS],
        ("last-axis-of-1", (6, 5), (6, 1), "int32", distribution),
        ("stacked", (2, 3, 5), (2, 3), "int32", distribution),
        ("empty", (0, 5), (0,), "int32", distribution),
        ("many", (1100, 10), (1100,), "int32", distribution),
    ]
    rows = [
        Row(
            f"sparse_cross_entropy-{name}",
            flow.nn.sparse_cross_entropy,
            (Input(rows, labels(5), dtype), Input(shape, draw)),
            lambda numbers, p: -np.log(chosen(numbers, p)),
            ("sparse_cross_entropy",),
            units=8,
            magnitude=lambda numbers, p: 1 - np.log(chosen(numbers, p)),
            gradient=gradient,
        )
        for name, shape, rows, dtype, draw in cases
    ]
    impossible = Row(
        "sparse_cross_entropy-impossible",
        flow.nn.sparse_cross_entropy,
        (Input((6,), labels(5), "int32"), Input((6, 5), among(0.0), differentiable=False)),
        lambda numbers, p: -np.log(np.full(len(p), 1e-20)),
        ("sparse_cross_entropy",),
        units=8,
    )
    return [*rows, impossible]


def _log_softmax() -> list[Row]:
    def reference(x: Array, axis: int) -> Array:
        shifted = x - x.max(axis=axis, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))

    cases: list[tuple[Shape, int | None, Any]] = [
        ((1, 1), None, normal),
        ((4, 10), None, normal),
        ((4, 10), 0, normal),
        ((3, 4, 5), 1, normal),
        ((0, 3), None, normal),
        ((101, 257), None, normal),
        ((9, 7), None, huge_logits),
    ]

    def gradient(axis: int) -> Callable[..., Sequence[Array]]:
        def of(x: Array, dy: Array) -> list[Array]:
            return [dy - np.exp(reference(x, axis)) * dy.sum(axis=axis, keepdims=True)]

        return of

    return [
        Row(
            f"logsoftmax-{label_of(shape)}-{axis}-{draw.__name__}",
            lambda x, axis=axis: flow.nn.logsoftmax(x, axis=axis),
            (Input(shape, draw),),
            lambda x, axis=axis: reference(x, -1 if axis is None else axis),
            ("log_softmax",),
            units=16,
            magnitude=lambda x: 1 + np.abs(x).max(axis=-1, keepdims=True, initial=0) + 0 * x,
            gradient=gradient(-1 if axis is None else axis) if draw is huge_logits else None,
            gradient_units=64,
        )
        for shape, axis, draw in cases
    ]


ROWS: list[Row] = [
    *_reduced_losses(),
    *_weights(),
    *_margins(),
    *_smooth(),
    *_cross_entropies(),
]
