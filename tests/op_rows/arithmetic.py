"""Arithmetic with broadcasting, and what one element at a time becomes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import flowrs as flow
from flowrs.blob import Blob
from op_rows.draws import LAYOUTS, Array, Shape, extreme, nonzero, normal, zeros_among
from op_rows.row import INTEGERS, Input, Row, label_of

BROADCASTS: list[tuple[Shape, Shape]] = [
    ((7,), (7,)),
    ((1,), (1,)),
    ((3, 5), (5,)),
    ((5,), (3, 5)),
    ((3, 5), (1,)),
    ((3, 1), (1, 5)),
    ((2, 3, 4), (3, 1)),
    ((2, 1, 4, 1), (3, 1, 5)),
    ((2, 3, 1, 2, 3), (2, 1, 4, 1, 3)),
    ((0, 3), (1, 3)),
    ((3, 0), (3, 1)),
    ((131, 257), (257,)),
    ((131, 1), (131, 257)),
]


def _truncated(a: Array, b: Array) -> Array:
    """Division towards zero for integers, in which dividing by 0 gives 0; true for floats."""
    if a.dtype.kind == "f":
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return a / b
    divisor = np.where(b == 0, 1, b)
    quotient = np.sign(a) * np.sign(divisor) * (np.abs(a) // np.abs(divisor))
    return np.where(b == 0, 0, quotient).astype(a.dtype)


def _arithmetic() -> list[Row]:
    functions: list[tuple[str, Callable[..., Blob], Callable[..., Array]]] = [
        ("add", flow.math.add, np.add),
        ("subtract", flow.math.subtract, np.subtract),
        ("multiply", flow.math.multiply, np.multiply),
        ("divide", flow.math.divide, _truncated),
    ]
    rows = []
    for name, function, reference in functions:
        divisor = nonzero if name == "divide" else normal
        for a, b in BROADCASTS:
            label = f"{name}-{label_of(a, b)}"
            inputs = (Input(a), Input(b, divisor))
            # A float32 gradient sums over the repeated axes: up to 257 terms here.
            rows.append(Row(label, function, inputs, reference, (name,), gradient_units=64))
        for layout in LAYOUTS:
            inputs = (Input((6, 5), layout=layout), Input((6, 5), divisor, layout=layout))
            rows.append(Row(f"{name}-{layout.__name__}", function, inputs, reference, (name,)))
        for a, b in [((7,), (7,)), ((3, 5), (5,)), ((300, 201), (1, 201))]:
            divisor = zeros_among if name == "divide" else normal
            inputs = (Input(a), Input(b, divisor))
            label = f"{name}-integers-{label_of(a, b)}"
            rows.append(Row(label, function, inputs, reference, (name,), INTEGERS))
        inputs = (
            Input((40, 11), extreme, differentiable=False),
            Input((40, 11), extreme, differentiable=False),
        )
        rows.append(Row(f"{name}-extreme", function, inputs, reference, (name,)))
    same = Row(
        "multiply-by-itself",
        lambda x: flow.math.multiply(x, x),
        (Input((3, 4)),),
        lambda x: x * x,
        ("multiply",),
    )
    return [*rows, same]


def _scalars() -> list[Row]:
    x, divisor = (Input((3, 5)),), (Input((3, 5), nonzero),)
    floats = [
        Row("blob+number", lambda x: x + 0.5, x, lambda x: x + 0.5, ("add",)),
        Row("number+blob", lambda x: 3 + x, x, lambda x: 3 + x, ("add",)),
        Row("blob-number", lambda x: x - 2, x, lambda x: x - 2, ("subtract",)),
        Row("number-blob", lambda x: 0.5 - x, x, lambda x: 0.5 - x, ("subtract",)),
        Row("blob*number", lambda x: x * 3, x, lambda x: x * 3, ("multiply",)),
        Row("number*blob", lambda x: -0.5 * x, x, lambda x: -0.5 * x, ("multiply",)),
        Row("blob/number", lambda x: x / 3, x, lambda x: x / 3, ("multiply",), units=1.5),
        Row(
            "number/blob",
            lambda x: 3 / x,
            divisor,
            lambda x: 3 / x,
            ("reciprocal_no_nan", "multiply"),
            units=1.5,
        ),
        Row(
            "number/blob-with-zeros",
            lambda x: 3 / x,
            (Input((3, 5), zeros_among),),
            lambda x: np.divide(3.0, x, out=np.zeros_like(x), where=x != 0),
            ("reciprocal_no_nan",),
            units=1.5,
            gradient=lambda x, dy: [
                dy * np.divide(-3.0, x * x, out=np.zeros_like(x), where=x != 0)
            ],
        ),
        Row("blob/zero", lambda x: x / 0, x, lambda x: x * 0, ("multiply",)),
        Row("zero/blob", lambda x: 0 / x, divisor, lambda x: x * 0, ("reciprocal_no_nan",)),
    ]
    integers = [
        Row("integers+2", lambda x: x + 2, x, lambda x: x + x.dtype.type(2), ("add",), INTEGERS),
        Row(
            "2*integers", lambda x: 2 * x, x, lambda x: x * x.dtype.type(2), ("multiply",), INTEGERS
        ),
        Row(
            "integers/2",
            lambda x: x / 2,
            x,
            lambda x: _truncated(x, np.full_like(x, 2)),
            ("divide",),
            INTEGERS,
        ),
        Row(
            "20/integers",
            lambda x: 20 / x,
            divisor,
            lambda x: _truncated(np.full_like(x, 20), x),
            ("divide",),
            INTEGERS,
        ),
    ]
    return floats + integers


def _relu() -> list[Row]:
    covers = ("relu", "relu_gradient")

    def relu(x: Array) -> Array:
        return np.where(x < 0, x.dtype.type(0), x)

    shapes: list[Shape] = [(1,), (17,), (3, 5), (2, 3, 4), (2, 1, 3, 2), (2, 1, 3, 1, 2), (0, 4)]
    rows = [
        Row(f"relu-{label_of(shape)}", flow.nn.relu, (Input(shape, nonzero),), relu, covers)
        for shape in [*shapes, (70, 513)]
    ]
    x = Input((3, 5))
    return [
        *rows,
        Row("math.relu", flow.math.relu, (Input((3, 5), nonzero),), relu, covers),
        Row("relu-integers", flow.nn.relu, (x,), relu, ("relu",), INTEGERS[:3]),
        Row(
            "relu-extreme",
            flow.nn.relu,
            (Input((40, 11), extreme, differentiable=False),),
            relu,
            ("relu",),
        ),
        Row(
            "relu-at-zero",
            flow.nn.relu,
            (Input((3, 5), zeros_among),),
            relu,
            covers,
            gradient=lambda x, dy: [dy * (x > 0)],
        ),
        Row(
            "negative-in-the-gradient",
            lambda a, b: flow.nn.relu(a) - b,
            (Input((3, 5), nonzero), Input((5,))),
            lambda a, b: relu(a) - b,
            ("subtract", "negative"),
        ),
    ]


ROWS: list[Row] = [*_arithmetic(), *_scalars(), *_relu()]
