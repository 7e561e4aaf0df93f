"""The elementwise operations: unary, binary and ternary functions, activations, comparisons."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import flowrs as flow
from flowrs.blob import Blob
from flowrs.trace import current_trace
from op_rows.draws import (
    Array,
    Draw,
    Shape,
    backwards,
    big_endian,
    extreme,
    nonzero,
    normal,
    tied,
    transposed,
    zeros_among,
)
from op_rows.row import FLOATS, INTEGERS, Input, Row, label_of

Reference = Callable[..., Array]


def within(low: float, high: float) -> Draw:
    """Numbers between two others."""

    def draw(rng: np.random.Generator, shape: Shape, dtype: np.dtype[Any]) -> Array:
        return rng.uniform(low, high, size=shape).astype(dtype)

    return draw


def among(*values: float) -> Draw:
    """Some of these numbers."""

    def draw(rng: np.random.Generator, shape: Shape, dtype: np.dtype[Any]) -> Array:
        return rng.choice(np.array(values, dtype), size=shape)

    return draw


def by_element(function: Callable[[float], float]) -> Reference:
    """A function of the standard library on arrays."""
    return np.vectorize(function, otypes=[np.float64])


erf, erfc, lgamma = by_element(math.erf), by_element(math.erfc), by_element(math.lgamma)

POSITIVE = within(0.3, 3.0)
UNIT = within(-0.9, 0.9)
MIXED = within(-4.0, 4.0)

#: One element, a size that fills no vector, more than a block of the kernel, four axes, nothing.
SHAPES: list[Shape] = [(1,), (3, 5), (1031,), (2, 1, 3, 2), (0, 4)]


# --- Functions of one blob ---------------------------------------------------------------------


def sigmoid(x: Array) -> Array:
    return np.exp(-np.logaddexp(0, -x))


def softplus(x: Array) -> Array:
    return np.logaddexp(0, x)


UNARY: list[tuple[str, Callable[..., Blob], Reference, Draw]] = [
    ("abs", flow.math.abs, np.abs, nonzero),
    ("acos", flow.math.acos, np.arccos, UNIT),
    ("acosh", flow.math.acosh, np.arccosh, within(1.2, 5.0)),
    ("asin", flow.math.asin, np.arcsin, UNIT),
    ("asinh", flow.math.asinh, np.arcsinh, MIXED),
    ("atan", flow.math.atan, np.arctan, MIXED),
    ("atanh", flow.math.atanh, np.arctanh, UNIT),
    ("ceil", flow.math.ceil, np.ceil, within(0.1, 0.9)),
    ("cos", flow.math.cos, np.cos, MIXED),
    ("cosh", flow.math.cosh, np.cosh, MIXED),
    ("erf", flow.math.erf, erf, MIXED),
    ("erfc", flow.math.erfc, erfc, MIXED),
    ("exp", flow.math.exp, np.exp, MIXED),
    ("expm1", flow.math.expm1, np.expm1, MIXED),
    ("floor", flow.math.floor, np.floor, within(1.1, 1.9)),
    ("log", flow.math.log, np.log, POSITIVE),
    ("log1p", flow.math.log1p, np.log1p, within(-0.7, 3.0)),
    ("log_sigmoid", flow.math.log_sigmoid, lambda x: -softplus(-x), MIXED),
    ("negative", flow.math.negative, np.negative, normal),
    ("reciprocal", flow.math.reciprocal, np.reciprocal, nonzero),
    ("reciprocal_no_nan", flow.math.reciprocal_no_nan, np.reciprocal, nonzero),
    ("rint", flow.math.rint, np.rint, within(0.6, 1.4)),
    ("round", flow.math.round, np.rint, within(-1.4, -0.6)),
    ("rsqrt", flow.math.rsqrt, lambda x: 1 / np.sqrt(x), POSITIVE),
    ("sigmoid", flow.math.sigmoid, sigmoid, MIXED),
    ("sigmoid_v2", flow.math.sigmoid_v2, sigmoid, MIXED),
    ("sign", flow.math.sign, np.sign, nonzero),
    ("sin", flow.math.sin, np.sin, MIXED),
    ("sinh", flow.math.sinh, np.sinh, MIXED),
    ("softplus", flow.math.softplus, softplus, MIXED),
    ("sqrt", flow.math.sqrt, np.sqrt, POSITIVE),
    ("square", flow.math.square, np.square, normal),
    ("tan", flow.math.tan, np.tan, within(-1.2, 1.2)),
    ("tanh", flow.math.tanh, np.tanh, MIXED),
    ("tanh_v2", flow.math.tanh_v2, np.tanh, within(-1.5, 1.5)),
]

#: The engine's names of functions that have others in the API.
NAMES = {"round": "rint", "sigmoid_v2": "sigmoid", "tanh_v2": "tanh"}


def _unary() -> list[Row]:
    rows = [
        Row(
            f"{name}-{label_of(shape)}",
            function,
            (Input(shape, draw),),
            reference,
            (NAMES.get(name, name),),
            units=8 if name in ("erf", "erfc") else 4,
            gradient_units=16,
        )
        for name, function, reference, draw in UNARY
        for shape in SHAPES
    ]
    rows += [
        Row(
            f"{name}-{layout.__name__}",
            function,
            (Input((6, 5), draw, layout=layout),),
            reference,
            (name,),
            units=4,
            gradient_units=16,
        )
        for name, function, reference, draw in UNARY
        if name in ("exp", "tanh")
        for layout in (transposed, backwards, big_endian)
    ]
    integers = [
        Row(f"{name}-integers", function, (Input((5, 7)),), reference, (name,), INTEGERS)
        for name, function, reference, _ in UNARY
        if name in ("abs", "negative", "sign", "square")
    ]
    special: list[tuple[str, Callable[..., Blob], Reference, Reference]] = [
        ("abs", flow.math.abs, np.abs, np.sign),
        ("sign", flow.math.sign, np.sign, np.zeros_like),
        ("floor", flow.math.floor, np.floor, np.zeros_like),
        ("ceil", flow.math.ceil, np.ceil, np.zeros_like),
        ("rint", flow.math.rint, np.rint, np.zeros_like),
    ]
    at_kinks = [
        Row(
            f"{name}-at-kinks",
            function,
            (Input((4, 11), among(-2.0, -1.5, -0.5, -0.0, 0.0, 0.5, 1.5, 2.5, 3.0)),),
            reference,
            (name,),
            gradient=lambda x, dy, slope=slope: [dy * slope(x)],
        )
        for name, function, reference, slope in special
    ]
    gamma = Row(
        "lgamma",
        flow.math.lgamma,
        (Input((40, 11), within(0.2, 9.0), differentiable=False),),
        lgamma,
        ("lgamma",),
        units=32,
        magnitude=lambda x: 1 + np.abs(lgamma(x)),
    )
    return [*rows, *integers, *at_kinks, gamma, *_given_gradients()]


def gelu(x: Array) -> Array:
    return x * 0.5 * (1 + erf(x / math.sqrt(2)))


def gelu_slope(x: Array) -> Array:
    density = np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return 0.5 * (1 + erf(x / math.sqrt(2))) + x * density


def _given_gradients() -> list[Row]:
    dy = Input((37,), differentiable=False)
    return [
        Row(
            "sigmoid_grad",
            flow.math.sigmoid_grad,
            (Input((37,), within(0.01, 0.99), differentiable=False), dy),
            lambda y, dy: dy * y * (1 - y),
            ("sigmoid_grad",),
            units=4,
        ),
        Row(
            "gelu_grad",
            flow.math.gelu_grad,
            (Input((37,), MIXED, differentiable=False), dy),
            lambda x, dy: dy * gelu_slope(x),
            ("gelu_grad",),
            units=8,
            magnitude=lambda x, dy: np.abs(dy),
        ),
    ]


# --- Activations -------------------------------------------------------------------------------


def hardtanh(x: Array, low: float, high: float) -> Array:
    return np.minimum(np.maximum(x, low), high)


def mish(x: Array) -> Array:
    return x * np.tanh(softplus(x))


#: The draws stay clear of kinks.
ACTIVATIONS: list[tuple[str, Callable[..., Blob], Reference, Draw]] = [
    ("gelu", flow.math.gelu, gelu, MIXED),
    ("leaky_relu", flow.nn.leaky_relu, lambda x: np.where(x > 0, x, 0.2 * x), nonzero),
    (
        "leaky_relu",
        lambda x: flow.nn.leaky_relu(x, alpha=-0.5),
        lambda x: np.where(x > 0, x, -0.5 * x),
        nonzero,
    ),
    ("elu", flow.nn.elu, lambda x: np.where(x > 0, x, np.expm1(x)), nonzero),
    (
        "elu",
        lambda x: flow.nn.elu(x, alpha=0.3),
        lambda x: np.where(x > 0, x, 0.3 * np.expm1(x)),
        nonzero,
    ),
    ("elu", flow.nn.elu, lambda x: np.where(x > 0, x, np.expm1(x)), within(-1e-3, -1e-5)),
    ("relu6", flow.nn.relu6, lambda x: hardtanh(x, 0, 6), within(-3.0, 9.0)),
    ("hardtanh", flow.nn.hardtanh, lambda x: hardtanh(x, -1, 1), MIXED),
    (
        "hardtanh",
        lambda x: flow.nn.hardtanh(x, -0.5, 2),
        lambda x: hardtanh(x, -0.5, 2),
        MIXED,
    ),
    ("hardsigmoid", flow.nn.hardsigmoid, lambda x: hardtanh(x / 6 + 0.5, 0, 1), MIXED),
    ("hardswish", flow.nn.hardswish, lambda x: x * hardtanh(x + 3, 0, 6) / 6, MIXED),
    ("swish", flow.nn.swish, lambda x: x * sigmoid(x), MIXED),
    ("swish", lambda x: flow.nn.swish(x, beta=1.5), lambda x: x * sigmoid(1.5 * x), MIXED),
    ("mish", flow.nn.mish, mish, MIXED),
]

#: Where each has kinks: the slope there, by the value of x.
AT_KINKS: list[tuple[str, Callable[..., Blob], Reference, dict[float, float]]] = [
    ("leaky_relu", flow.nn.leaky_relu, ACTIVATIONS[1][2], {-1: 0.2, 0: 0.2, 1: 1}),
    ("relu6", flow.nn.relu6, lambda x: hardtanh(x, 0, 6), {-1: 0, 0: 0, 3: 1, 6: 0, 7: 0}),
    ("hardtanh", flow.nn.hardtanh, lambda x: hardtanh(x, -1, 1), {-2: 0, -1: 0, 0: 1, 1: 0}),
    (
        "hardsigmoid",
        flow.nn.hardsigmoid,
        lambda x: hardtanh(x / 6 + 0.5, 0, 1),
        {-4: 0, -3: 0, 0: 1 / 6, 3: 0, 4: 0},
    ),
    (
        "hardswish",
        flow.nn.hardswish,
        lambda x: x * hardtanh(x + 3, 0, 6) / 6,
        {-4: 0, -3: 0, 0: 0.5, 3: 1, 4: 1},
    ),
    (
        "clip",
        lambda x: flow.clip(x, -1, 2.5),
        lambda x: np.clip(x, -1, 2.5),
        {-2: 0, -1: 1, 0: 1, 2.5: 1, 3: 0},
    ),
    ("clip_min", lambda x: flow.clamp(x, 0.5), lambda x: np.maximum(x, 0.5), {0: 0, 0.5: 1, 1: 1}),
    (
        "clip_max",
        lambda x: flow.clip_by_scalar(x, max_value=0.5),
        lambda x: np.minimum(x, 0.5),
        {0: 1, 0.5: 1, 1: 0},
    ),
]


def _slopes(table: dict[float, float]) -> Callable[..., Sequence[Array]]:
    return lambda x, dy: [dy * np.vectorize(lambda value: float(table[value]))(x)]


def _activations() -> list[Row]:
    rows = [
        Row(
            f"{name}-{number}-{label_of(shape)}",
            function,
            (Input(shape, draw),),
            reference,
            (name,),
            units=16,
            # Where 1 + erf and the like cancel, the error is one of the argument's size.
            magnitude=lambda x, reference=reference: np.abs(reference(x)) + 0.1 * np.abs(x),
            gradient_units=16,
        )
        for number, (name, function, reference, draw) in enumerate(ACTIVATIONS)
        for shape in ((3, 5), (1031,))
    ]
    kinks = [
        Row(
            f"{name}-at-kinks",
            function,
            (Input((4, 11), among(*slopes)),),
            reference,
            (name,),
            units=2,
            gradient=_slopes(slopes),
        )
        for name, function, reference, slopes in AT_KINKS
    ]
    prelu = [
        Row(
            f"prelu-{label_of(shape, alpha)}",
            _prelu,
            (Input(shape, nonzero), Input(alpha)),
            lambda x, alpha: np.where(x > 0, x, alpha * x),
            ("prelu",),
            gradient_units=64,
        )
        for shape, alpha in [((4, 5), (5,)), ((2, 3, 4, 5), (3, 1, 1)), ((7, 3), (1,))]
    ]
    clips = [
        Row(
            f"clip-integers-{low}-{high}",
            lambda x, low=low, high=high: flow.clip_by_value(x, low, high),
            (Input((5, 7)),),
            lambda x, low=low, high=high: np.clip(x, low, high),
            (op,),
            INTEGERS,
        )
        for low, high, op in [(2, 5, "clip"), (3, None, "clip_min"), (None, 4.0, "clip_max")]
    ]
    return [*rows, *kinks, *prelu, *clips]


def _prelu(x: Blob, alpha: Blob) -> Blob:
    return current_trace("layers.prelu").apply("prelu", [x, alpha], prefix="PRelu")[0]


# --- Functions of two blobs --------------------------------------------------------------------

PAIRS: list[tuple[Shape, Shape]] = [
    ((7,), (7,)),
    ((3, 5), (5,)),
    ((3, 1), (1, 5)),
    ((2, 3, 4), (3, 1)),
    ((0, 3), (1, 3)),
    ((131, 257), (257,)),
]

BINARY: list[tuple[str, Callable[..., Blob], Reference, Draw, Draw]] = [
    ("maximum", flow.math.maximum, np.maximum, normal, normal),
    ("minimum", flow.math.minimum, np.minimum, normal, normal),
    (
        "squared_difference",
        flow.math.squared_difference,
        lambda a, b: np.square(a - b),
        normal,
        normal,
    ),
    ("pow", flow.math.pow, np.power, POSITIVE, within(-2.0, 3.0)),
    ("atan2", flow.math.atan2, np.arctan2, nonzero, nonzero),
    ("xdivy", flow.math.xdivy, np.divide, normal, nonzero),
    ("xlogy", flow.math.xlogy, lambda a, b: a * np.log(b), normal, POSITIVE),
]

COMPARISONS: list[tuple[str, Callable[..., Blob], Reference]] = [
    ("equal", flow.math.equal, np.equal),
    ("not_equal", flow.math.not_equal, np.not_equal),
    ("less", flow.math.less, np.less),
    ("less_equal", flow.math.less_equal, np.less_equal),
    ("greater", flow.math.greater, np.greater),
    ("greater_equal", flow.math.greater_equal, np.greater_equal),
    ("logical_and", flow.math.logical_and, np.logical_and),
]


def _floor_by_zero(function: Reference) -> Reference:
    """Integers give 0 where they are divided by 0."""

    def reference(a: Array, b: Array) -> Array:
        return np.where(b == 0, 0, function(a, np.where(b == 0, 1, b))).astype(a.dtype)

    return reference


def _binary() -> list[Row]:
    rows = [
        Row(
            f"{name}-{label_of(a, b)}",
            function,
            (Input(a, draw_a), Input(b, draw_b)),
            reference,
            (name,),
            units=4,
            gradient_units=128,
        )
        for name, function, reference, draw_a, draw_b in BINARY
        for a, b in PAIRS
    ]
    integers = [
        Row(
            f"{name}-integers-{draw.__name__}",
            function,
            (Input((5, 7)), Input((7,), draw)),
            reference,
            (op,),
            INTEGERS,
        )
        for name, op, function, reference, draw in [
            ("maximum", "maximum", flow.math.maximum, np.maximum, normal),
            ("minimum", "minimum", flow.math.minimum, np.minimum, normal),
            (
                "squared_difference",
                "squared_difference",
                flow.math.squared_difference,
                lambda a, b: (a - b) * (a - b),
                normal,
            ),
            ("mod", "floor_mod", flow.math.mod, _floor_by_zero(np.mod), zeros_among),
            ("mod", "floor_mod", lambda a, b: a % b, _floor_by_zero(np.mod), nonzero),
            (
                "floordiv",
                "floor_divide",
                flow.math.floordiv,
                _floor_by_zero(np.floor_divide),
                zeros_among,
            ),
        ]
    ]
    a, b = Input((37,), MIXED), Input((37,), nonzero)
    floors = [
        Row("mod-floats", flow.math.mod, (a, b), np.mod, ("floor_mod",), units=8),
        Row(
            "mod-number", lambda a: a % 1.5, (a,), lambda a: np.mod(a, 1.5), ("floor_mod",), units=8
        ),
        Row(
            "floordiv-floats",
            flow.math.floordiv,
            (a, b),
            lambda a, b: np.floor(a / b),
            ("floor_divide",),
        ),
    ]
    return [*rows, *integers, *floors, *_ties(), *_powers(), *_zero_factors()]


def _ties() -> list[Row]:
    """Equal arguments share the gradient."""

    def shares(wins: Reference) -> Callable[..., Sequence[Array]]:
        def gradient(a: Array, b: Array, dy: Array) -> list[Array]:
            half = 0.5 * (a == b)
            return [dy * (wins(a, b) + half), dy * (wins(b, a) + half)]

        return gradient

    inputs = (Input((9, 8), tied), Input((9, 8), tied))
    return [
        Row(f"{name}-ties", function, inputs, reference, (name,), gradient=shares(wins))
        for name, function, reference, wins in [
            ("maximum", flow.math.maximum, np.maximum, np.greater),
            ("minimum", flow.math.minimum, np.minimum, np.less),
        ]
    ]


def _powers() -> list[Row]:
    rows = [
        Row(
            f"pow-{exponent}",
            lambda x, exponent=exponent: flow.math.pow(x, exponent),
            (Input((37,), nonzero if exponent == int(exponent) else POSITIVE),),
            lambda x, exponent=exponent: np.power(x, float(exponent)),
            ("square" if exponent == 2 else "scalar_pow",),
            units=4,
            gradient_units=16,
        )
        for exponent in (-1, -0.5, 0, 0.5, 1, 2, 3, 4, 2.5)
    ]
    at_zero = Row(
        "pow-at-zero",
        flow.math.pow,
        (Input((9, 8), among(0.0, 2.0, -2.0)), Input((9, 8), among(0.0, 1.0, 2.0))),
        np.power,
        ("pow",),
        units=4,
        gradient=lambda a, b, dy: [
            dy * np.where(b == 0, 0, b * np.power(a, np.maximum(b - 1, 0))),
            dy * np.where(a > 0, np.power(a, b) * np.log(np.where(a > 0, a, 1)), 0),
        ],
    )
    return [*rows, at_zero]


def _zero_factors() -> list[Row]:
    inputs = (Input((9, 8), among(0.0, 2.0)), Input((9, 8), among(0.0, 1.0, 3.0)))

    def quiet(function: Reference) -> Reference:
        def reference(*arrays: Array) -> Array:
            with np.errstate(all="ignore"):
                return function(*arrays)

        return reference

    return [
        Row(
            "xdivy-zeros",
            flow.math.xdivy,
            tuple(Input(item.shape, item.draw, differentiable=False) for item in inputs),
            quiet(lambda a, b: np.where(a == 0, 0, a / b)),
            ("xdivy",),
        ),
        Row(
            "xlogy-zeros",
            flow.math.xlogy,
            (inputs[0], Input((9, 8), among(1.0, math.e))),
            lambda a, b: a * np.log(b),
            ("xlogy",),
            units=4,
            magnitude=lambda a, b: 1 + a,
        ),
    ]


def _comparisons() -> list[Row]:
    rows = []
    for name, function, reference in COMPARISONS:
        for dtypes, draw in ((FLOATS, tied), (INTEGERS, tied), (FLOATS, extreme)):
            kind = "integers" if dtypes is INTEGERS else draw.__name__
            for a, b in [((9, 8), (9, 8)), ((3, 1), (1, 5)), ((600,), (1,))]:
                inputs = (Input(a, draw), Input(b, draw))
                label = f"{name}-{kind}-{label_of(a, b)}"
                rows.append(Row(label, function, inputs, reference, (name,), dtypes, "int8"))
    operators: list[tuple[str, Callable[..., Blob], Reference]] = [
        ("equal", lambda a, b: a == b, np.equal),
        ("not_equal", lambda a, b: a != b, np.not_equal),
        ("less", lambda a, b: a < b, np.less),
        ("less_equal", lambda a, b: a <= b, np.less_equal),
        ("greater", lambda a, b: a > b, np.greater),
        ("greater_equal", lambda a, b: a >= b, np.greater_equal),
    ]
    pair = (Input((9, 8), tied), Input((9, 8), tied))
    rows += [
        Row(f"operator-{name}", function, pair, reference, (name,), FLOATS, "int8")
        for name, function, reference in operators
    ]
    number = Row(
        "blob>number",
        lambda x: x > 1,
        (Input((9, 8), tied),),
        lambda x: x > 1,
        ("greater",),
        FLOATS,
        "int8",
    )
    return [*rows, number]


# --- Of many, and of the parts of training -----------------------------------------------------


def _many() -> list[Row]:
    rows = [
        Row(
            f"add_n-{count}-{label_of(shape)}",
            lambda *blobs: flow.math.add_n(list(blobs)),
            tuple(Input(shape) for _ in range(count)),
            lambda *arrays: sum(arrays[1:], arrays[0]),
            ("add_n",),
            units=8,
            magnitude=lambda *arrays: sum(np.abs(array) for array in arrays),
        )
        for count, shape in [(2, (3, 5)), (3, (1031,)), (7, (2, 3, 4)), (3, (0, 2))]
    ]
    integers = Row(
        "add_n-integers",
        lambda *blobs: flow.math.add_n(list(blobs)),
        (Input((5, 7)), Input((5, 7)), Input((5, 7))),
        lambda a, b, c: a + b + c,
        ("add_n",),
        INTEGERS,
    )
    polynomial = Row(
        "polyval",
        lambda x, c: flow.math.polyval([2, c, -0.5, 1], x),
        (Input((3, 5)), Input((5,))),
        lambda x, c: 2 * x**3 + c * x**2 - 0.5 * x + 1,
        ("multiply", "add"),
        units=8,
        magnitude=lambda x, c: 1 + np.abs(2 * x**3) + np.abs(c * x**2) + np.abs(x),
        gradient_units=64,
    )
    return [*rows, integers, polynomial]


def _training() -> list[Row]:
    def apply(op: str, **attributes: float) -> Callable[..., Blob]:
        return lambda *blobs: current_trace(op).apply(op, blobs, attributes, prefix=op)[0]

    gradient, weight = Input((37,), differentiable=False), Input((37,), tied, differentiable=False)
    square = Input((1,), POSITIVE, differentiable=False)
    return [
        Row(
            "regularized_gradient",
            apply("regularized_gradient", scale=0.25, l1=0.1, l2=0.5),
            (gradient, weight),
            lambda g, w: 0.25 * g + 0.1 * np.sign(w) + 0.5 * w,
            ("regularized_gradient",),
            units=4,
            magnitude=lambda g, w: np.abs(g) + np.abs(w),
        ),
        Row(
            "clip_factor-of-long",
            apply("clip_factor", clip_norm=0.5),
            (square,),
            lambda total: 0.5 / np.sqrt(total),
            ("clip_factor",),
            units=4,
        ),
        Row(
            "clip_factor-of-short",
            apply("clip_factor", clip_norm=2.0),
            (square,),
            np.ones_like,
            ("clip_factor",),
        ),
    ]


ROWS: list[Row] = [
    *_unary(),
    *_activations(),
    *_binary(),
    *_comparisons(),
    *_many(),
    *_training(),
]
