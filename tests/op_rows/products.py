"""Matrix products, and what may be fused into them."""

from __future__ import annotations

import numpy as np

import flowrs as flow
from flowrs.blob import Blob
from op_rows.draws import LAYOUTS, Array, Shape, nonzero
from op_rows.row import INTEGERS, Input, Row, label_of


def _matmul_row(
    label: str, a: Input, b: Input, ta: bool = False, tb: bool = False, alpha: float = 1.0
) -> Row:
    def reference(a: Array, b: Array) -> Array:
        left = np.swapaxes(a, -1, -2) if ta else a
        right = np.swapaxes(b, -1, -2) if tb else b
        return alpha * (left @ right)

    depth = a.shape[-2] if ta else a.shape[-1]
    return Row(
        f"matmul-{label}",
        lambda a, b: flow.matmul(a, b, transpose_a=ta, transpose_b=tb, alpha=alpha),
        (a, b),
        reference,
        ("matmul",),
        units=2 + 2 * depth**0.5,
        magnitude=lambda a, b: np.abs(reference(np.abs(a), np.abs(b))),
        gradient_units=64,
    )


def _matmul() -> list[Row]:
    sizes = [(1, 1, 1), (1, 7, 1), (5, 1, 3), (1, 33, 65), (13, 17, 19), (40, 300, 23)]
    rows = []
    for m, k, n in sizes:
        for ta in (False, True):
            for tb in (False, True):
                a = Input((k, m) if ta else (m, k))
                b = Input((n, k) if tb else (k, n))
                mark = ("T" if ta else "") + "x" + ("T" if tb else "")
                rows.append(_matmul_row(f"{m},{k},{n}-{mark}", a, b, ta, tb))
    for shape_a, shape_b, ta, tb in [
        ((3, 4, 5), (3, 5, 2), False, False),
        ((3, 5, 4), (3, 2, 5), True, True),
        ((2, 1, 4, 5), (2, 1, 7, 5), False, True),
        ((2, 1, 3, 5, 4), (2, 1, 3, 5, 6), True, False),
        ((3, 4, 5), (5, 2), False, False),
        ((2, 3, 4, 5), (6, 5), False, True),
        ((0, 4), (4, 3), False, False),
        ((3, 0), (0, 2), False, False),
        ((0, 3, 4), (0, 4, 2), False, False),
        ((20, 33, 40), (20, 40, 31), False, False),
        ((150, 200), (200, 170), False, False),
        ((784, 100), (784, 64), True, False),
    ]:
        mark = ("T" if ta else "") + "x" + ("T" if tb else "")
        label = f"{label_of(shape_a, shape_b)}-{mark}"
        rows.append(_matmul_row(label, Input(shape_a), Input(shape_b), ta, tb))
    for layout in LAYOUTS:
        a, b = Input((6, 5), layout=layout), Input((5, 4), layout=layout)
        rows.append(_matmul_row(layout.__name__, a, b))
    rows.append(_matmul_row("alpha", Input((6, 5)), Input((5, 4)), alpha=-0.25))
    rows.append(_matmul_row("alpha-T", Input((5, 6)), Input((4, 5)), True, True, alpha=3.0))
    return rows


def _layers() -> list[Row]:
    """Products with what may be fused into them, forward and backward."""

    def dense(x: Array, w: Array, b: Array) -> Array:
        return np.maximum(x @ w.T + b, 0)

    def dense_size(x: Array, w: Array, b: Array) -> Array:
        return np.abs(x) @ np.abs(w).T + np.abs(b)

    def dense_gradient(x: Array, w: Array, b: Array, dy: Array) -> list[Array]:
        passed = dy * (x @ w.T + b > 0)
        return [passed @ w, passed.T @ x, passed.sum(axis=0)]

    def dense_blob(x: Blob, w: Blob, b: Blob) -> Blob:
        return flow.nn.relu(flow.nn.bias_add(flow.matmul(x, w, transpose_b=True), b))

    rows = [
        Row(
            f"matmul+bias+relu-{m},{k},{n}",
            dense_blob,
            (Input((m, k)), Input((n, k)), Input((n,))),
            dense,
            ("matmul", "bias_add", "relu", "relu_gradient"),
            units=2 + 2 * k**0.5,
            magnitude=dense_size,
            # Of many results some are so close to the kink that a difference would step over it.
            gradient=dense_gradient if m * n > 1000 else None,
            gradient_units=64,
        )
        for m, k, n in [(1, 3, 1), (5, 7, 3), (33, 65, 18), (100, 150, 64)]
    ]
    both_signs = Input((9, 11), nonzero)
    return [
        *rows,
        Row(
            "matmul+relu",
            lambda x, w: flow.nn.relu(flow.matmul(x, w)),
            (both_signs, Input((11, 6))),
            lambda x, w: np.maximum(x @ w, 0),
            ("matmul", "relu", "relu_gradient"),
            units=16,
            magnitude=lambda x, w: np.abs(x) @ np.abs(w),
        ),
        Row(
            "relu+matmul",
            lambda x, w: flow.matmul(flow.nn.relu(x), w),
            (both_signs, Input((11, 6))),
            lambda x, w: np.maximum(x, 0) @ w,
            ("matmul", "relu", "relu_gradient"),
            units=16,
            magnitude=lambda x, w: np.abs(x) @ np.abs(w),
        ),
        Row(
            "matmul-of-itself",
            lambda x: flow.matmul(x, x, transpose_b=True),
            (Input((7, 5)),),
            lambda x: x @ x.T,
            ("matmul", "add"),
            units=16,
            magnitude=lambda x: np.abs(x) @ np.abs(x).T,
        ),
    ]


def _bias_add() -> list[Row]:
    cases: list[tuple[Shape, str | None]] = [
        ((5, 3), None),
        ((1, 1), None),
        ((2, 3, 4), None),
        ((2, 3, 4), "NCW"),
        ((2, 3, 4), "NWC"),
        ((2, 3, 4, 5), "NCHW"),
        ((2, 3, 4, 5), "NHWC"),
        ((2, 3, 1, 2, 4), "NCDHW"),
        ((2, 3, 1, 2, 4), "NDHWC"),
        ((0, 3), None),
        ((40, 30, 33), "NCW"),
        ((40, 30, 33), "NWC"),
    ]
    rows = []
    for shape, data_format in cases:
        axis = 1 if data_format is None or data_format.startswith("NC") else len(shape) - 1
        along = tuple(-1 if i == axis else 1 for i in range(len(shape)))
        rows.append(
            Row(
                f"bias_add-{label_of(shape)}-{data_format}",
                lambda x, b, form=data_format: flow.nn.bias_add(x, b, data_format=form),
                (Input(shape), Input((shape[axis],))),
                lambda x, b, along=along: x + b.reshape(along),
                ("bias_add",),
                gradient_units=64,
            )
        )
    integers = Row(
        "bias_add-integers",
        flow.nn.bias_add,
        (Input((5, 3)), Input((3,))),
        lambda x, b: x + b,
        ("bias_add",),
        INTEGERS,
    )
    return [*rows, integers]


ROWS: list[Row] = [*_matmul(), *_layers(), *_bias_add()]
