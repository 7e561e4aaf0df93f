"""Other shapes and other dtypes."""

from __future__ import annotations

import numpy as np

import flowrs as flow
from op_rows.draws import nonzero, normal, transposed
from op_rows.row import FLOATS, INTEGERS, Input, Row, label_of


def _shapes() -> list[Row]:
    rows = [
        Row(
            f"reshape-{label_of(shape)}-{wanted}",
            lambda x, wanted=wanted: flow.reshape(x, wanted),
            (Input(shape),),
            lambda x, wanted=wanted: x.reshape(wanted),
            ("reshape",),
            FLOATS,
        )
        for shape, wanted in [
            ((6,), [2, 3]),
            ((2, 3, 4), [4, -1]),
            ((2, 3, 4), (-1,)),
            ((5,), [1, 5, 1]),
            ((2, 1, 3, 1, 2), [12]),
        ]
    ]
    rows += [
        Row(
            f"flatten-{start},{end}",
            lambda x, start=start, end=end: flow.flatten(x, start, end),
            (Input((2, 3, 4, 5)),),
            lambda x, wanted=wanted: x.reshape(wanted),
            ("reshape",),
        )
        for start, end, wanted in [
            (0, -1, (120,)),
            (1, -1, (2, 60)),
            (1, 2, (2, 12, 5)),
            (2, 2, (2, 3, 4, 5)),
        ]
    ]
    both = FLOATS
    return [
        *rows,
        Row(
            "reshape-integers",
            lambda x: flow.reshape(x, [3, 2]),
            (Input((2, 3), layout=transposed),),
            lambda x: x.reshape(3, 2),
            ("reshape",),
            INTEGERS,
        ),
        Row("identity", flow.identity, (Input((3, 4)),), lambda x: x, ("identity",), both),
        Row("identity-empty", flow.identity, (Input((0, 4)),), lambda x: x, ("identity",), both),
        Row(
            "identity-integers", flow.identity, (Input((3,)),), lambda x: x, ("identity",), INTEGERS
        ),
        Row(
            "identity-of-reshape-twice-used",
            lambda x: flow.identity(flow.reshape(x, [4, 3])) + flow.reshape(x, [4, 3]),
            (Input((3, 4)),),
            lambda x: 2 * x.reshape(4, 3),
            ("identity", "reshape", "add"),
        ),
    ]


def _cast() -> list[Row]:
    types = {name: getattr(flow, name) for name in FLOATS + INTEGERS}
    rows = []
    for source in FLOATS + INTEGERS:
        for target in FLOATS + INTEGERS:
            if source != target:
                draw = nonzero if target == "uint8" else normal
                sign = np.abs if target == "uint8" else np.positive
                rows.append(
                    Row(
                        f"cast-{source}-{target}",
                        lambda x, target=target: flow.cast(x, types[target]),
                        (
                            Input(
                                (5, 7),
                                lambda rng, shape, dtype, draw=draw, sign=sign: sign(
                                    (4 * draw(rng, shape, np.dtype("float64"))).astype(dtype)
                                ),
                            ),
                        ),
                        lambda x, target=target: x.astype(target),
                        ("cast",),
                        (source,),
                        output=target,
                    )
                )
    wrapping = [
        Row(
            f"cast-wraps-{source}-{target}",
            lambda x, target=target: flow.cast(x, types[target]),
            (Input((300, 201), lambda rng, shape, dtype: rng.integers(-999, 999, shape, dtype)),),
            lambda x, target=target: x.astype(target),
            ("cast",),
            (source,),
            output=target,
        )
        for source, target in [("int32", "int8"), ("int64", "uint8")]
    ]
    there_and_back = Row(
        "cast-there-and-back",
        lambda x: flow.cast(flow.cast(x, flow.float32), x.dtype),
        (Input((5, 7)),),
        lambda x: x.astype(np.float32).astype(x.dtype),
        ("cast",),
        gradient=lambda x, dy: [dy.astype(np.float32).astype(dy.dtype)],
    )
    same = Row(
        "cast-same", lambda x: flow.cast(x, x.dtype) + 1, (Input((5,)),), lambda x: x + 1, ()
    )
    return [*rows, *wrapping, there_and_back, same]


ROWS: list[Row] = [*_shapes(), *_cast()]
