"""Triangles of matrices, and images of other sizes."""

from __future__ import annotations

from typing import Any

import numpy as np

import flowrs as flow
from flowrs.blob import Blob
from op_rows.draws import Array, Shape
from op_rows.moves import moves
from op_rows.row import Input, Row, label_of


def _triangles() -> list[Row]:
    rows = []
    shapes: list[Shape] = [(4, 4), (3, 5), (5, 3), (2, 3, 4), (1, 1), (0, 3), (131, 257)]
    for shape in shapes:
        for diagonal in (0, 2, -1, -9):
            rows += moves(
                f"tril-{label_of(shape)}-{diagonal}",
                lambda x, diagonal=diagonal: flow.math.tril(x, diagonal),
                (Input(shape),),
                lambda x, diagonal=diagonal: np.tril(x, diagonal),
                "tril",
            )
    rows += moves(
        "tril-filled",
        lambda x: flow.nn.tril(x, fill_value=7),
        (Input((2, 3, 4)),),
        lambda x: np.where(np.tri(3, 4, dtype=bool), x, x.dtype.type(7)),
        "tril",
    )
    for diagonal in (0, 1, -2):
        rows += moves(
            f"diag-vector-{diagonal}",
            lambda x, diagonal=diagonal: flow.diag(x, diagonal),
            (Input((4,)),),
            lambda x, diagonal=diagonal: np.diag(x, diagonal),
            "diagonal_matrix",
            ("diagonal",),
        )
        for shape in [(4, 4), (3, 5), (5, 3)]:
            rows += moves(
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
        rows += moves(
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
        *moves(
            "PixelShuffle",
            lambda x: flow.nn.PixelShuffle(x, 2),
            (Input((2, 12, 3, 5)),),
            lambda x: shuffled(x, 2, 2),
            "transpose",
        ),
        *moves(
            "PixelShufflev2",
            lambda x: flow.nn.PixelShufflev2(x, 3, 1),
            (Input((2, 6, 3, 5)),),
            lambda x: shuffled(x, 3, 1),
            "transpose",
        ),
    ]


ROWS: list[Row] = [
    *_triangles(),
    *_upsamples(),
    *_pixel_shuffle(),
]
