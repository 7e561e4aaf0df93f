//! The rows of the table.
//!
//! `a`, `b` and `c` are the arguments, `y` the result, `dy` its gradient, and `p(i)` the row's
//! parameters. At a kink the gradient is that of the flatter side, if there is one, as OneFlow has
//! it; where two arguments are equal they share the gradient of their maximum or minimum evenly, as
//! the elements of a reduction do.

use std::f64::consts::PI;

use super::row::{Row, binary, closed, comparison, one_way, ternary, unary};
use super::{Scope, Term};

/// The names of a row and of the programs that compute its gradient.
macro_rules! named {
    ($name:literal) => {
        [$name, concat!($name, "_gradient")]
    };
}

/// All elementwise operations.
pub static TABLE: &[Row] = &[
    // Arithmetic; integers too.
    binary(named!("add"), |s| s.a + s.b, |s| s.dy, |s| s.dy),
    binary(named!("subtract"), |s| s.a - s.b, |s| s.dy, |s| -s.dy),
    binary(named!("multiply"), |s| s.a * s.b, |s| s.dy * s.b, |s| s.dy * s.a),
    binary(named!("divide"), |s| s.a / s.b, |s| s.dy / s.b, |s| -(s.dy / s.b * s.y)),
    binary(
        named!("squared_difference"),
        |s| (s.a - s.b).square(),
        |s| s.dy * 2.0 * (s.a - s.b),
        |s| s.dy * 2.0 * (s.b - s.a),
    ),
    binary(
        named!("maximum"),
        |s| s.a.maximum(s.b),
        |s| share(s, s.a.greater(s.b)),
        |s| share(s, s.b.greater(s.a)),
    ),
    binary(
        named!("minimum"),
        |s| s.a.minimum(s.b),
        |s| share(s, s.a.less(s.b)),
        |s| share(s, s.b.less(s.a)),
    ),
    binary(
        named!("floor_mod"),
        |s| s.a.floor_mod(s.b),
        |s| s.dy,
        |s| -(s.dy * s.a.floor_divide(s.b)),
    ),
    binary(named!("floor_divide"), |s| s.a.floor_divide(s.b), |s| s.zero(), |s| s.zero()),
    unary(named!("negative"), |s| -s.a, |s| -s.dy),
    unary(named!("abs"), |s| s.a.abs(), |s| s.dy * s.a.sign()),
    unary(named!("square"), |s| s.a.square(), |s| s.dy * 2.0 * s.a),
    unary(named!("sign"), |s| s.a.sign(), |s| s.zero()),
    unary(named!("relu"), |s| s.a.relu(), |s| s.y.relu_gradient(s.dy)),
    Row {
        derivatives: [None, Some(|s| s.a.relu_gradient(s.dy)), None],
        ..closed(named!("relu_gradient"), 2, |s| s.a.relu_gradient(s.b))
    },
    // Limits; integers too.
    unary(
        named!("clip"),
        |s| s.a.maximum(s.p(0)).minimum(s.p(1)),
        |s| (s.a.greater_equal(s.p(0)) * s.a.less_equal(s.p(1))).choose(s.dy, s.zero()),
    )
    .with(&["min", "max"]),
    unary(
        named!("clip_min"),
        |s| s.a.maximum(s.p(0)),
        |s| s.a.greater_equal(s.p(0)).choose(s.dy, s.zero()),
    )
    .with(&["min"]),
    unary(
        named!("clip_max"),
        |s| s.a.minimum(s.p(0)),
        |s| s.a.less_equal(s.p(0)).choose(s.dy, s.zero()),
    )
    .with(&["max"]),
    // Conditions: int8 results of 1 and 0, and the choice by them.
    comparison(named!("equal"), |s| s.a.equal(s.b)),
    comparison(named!("not_equal"), |s| s.a.not_equal(s.b)),
    comparison(named!("less"), |s| s.a.less(s.b)),
    comparison(named!("less_equal"), |s| s.a.less_equal(s.b)),
    comparison(named!("greater"), |s| s.a.greater(s.b)),
    comparison(named!("greater_equal"), |s| s.a.greater_equal(s.b)),
    comparison(named!("logical_and"), |s| s.a.logical_and(s.b)),
    Row {
        derivatives: [
            None,
            Some(|s| s.a.choose(s.dy, s.zero())),
            Some(|s| s.a.choose(s.zero(), s.dy)),
        ],
        ..closed(named!("where"), 3, |s| s.a.choose(s.b, s.c)).by_condition()
    },
    // Powers and roots.
    unary(named!("sqrt"), |s| s.a.sqrt(), |s| s.dy * 0.5 / s.y),
    // The square root of a sum of squares or a variance: where it is 0 the gradient is 0 too,
    // which is a subgradient of the norm, and not infinite.
    unary(
        named!("sqrt_no_nan"),
        |s| s.a.sqrt(),
        |s| s.y.is_zero().choose(s.zero(), s.dy * 0.5 / s.y),
    ),
    unary(named!("rsqrt"), |s| s.a.rsqrt(), |s| s.dy * -0.5 * s.y / s.a),
    unary(named!("reciprocal"), |s| s.a.reciprocal(), |s| -(s.dy * s.y.square())),
    unary(named!("reciprocal_no_nan"), |s| s.a.reciprocal_no_nan(), |s| -(s.dy * s.y.square())),
    // Where the base is not positive, there is no slope along the exponent.
    binary(
        named!("pow"),
        |s| s.a.power(s.b),
        |s| s.dy * s.b.times_or_zero(s.a.power(s.b - 1.0)),
        |s| s.a.greater(s.zero()).choose(s.dy * s.y * s.a.log(), s.zero()),
    ),
    unary(
        named!("scalar_pow"),
        |s| power(s.a, s.number(0)),
        |s| match s.number(0) {
            0.0 => s.dy * 0.0,
            1.0 => s.dy,
            exponent => s.dy * exponent * power(s.a, exponent - 1.0),
        },
    )
    .with(&["exponent"]),
    binary(
        named!("xdivy"),
        |s| s.a.times_or_zero(s.b.reciprocal()),
        |s| not_both_zero(s, s.dy / s.b),
        |s| -(s.dy * s.y.times_or_zero(s.b.reciprocal())),
    ),
    binary(
        named!("xlogy"),
        |s| s.a.times_or_zero(s.b.log()),
        |s| not_both_zero(s, s.dy * s.b.log()),
        |s| s.dy * s.a.times_or_zero(s.b.reciprocal()),
    ),
    // Exponentials and logarithms.
    unary(named!("exp"), |s| s.a.exp(), |s| s.dy * s.y),
    unary(named!("expm1"), |s| s.a.expm1(), |s| s.dy * (s.y + 1.0)),
    unary(named!("log"), |s| s.a.log(), |s| s.dy / s.a),
    unary(named!("log1p"), |s| s.a.log1p(), |s| s.dy / (s.a + 1.0)),
    unary(named!("log_sigmoid"), |s| s.a.log_sigmoid(), |s| s.dy * (-s.a).sigmoid()),
    unary(named!("softplus"), |s| s.a.softplus(), |s| s.dy * s.a.sigmoid()),
    one_way(named!("lgamma"), 1, |s| s.a.lgamma()),
    unary(named!("erf"), |s| s.a.erf(), |s| s.dy * bell(s.a)),
    unary(named!("erfc"), |s| s.a.erfc(), |s| -(s.dy * bell(s.a))),
    // Trigonometry.
    unary(named!("sin"), |s| s.a.sin(), |s| s.dy * s.a.cos()),
    unary(named!("cos"), |s| s.a.cos(), |s| -(s.dy * s.a.sin())),
    unary(named!("tan"), |s| s.a.tan(), |s| s.dy * (s.y.square() + 1.0)),
    unary(named!("asin"), |s| s.a.asin(), |s| s.dy * (1.0 - s.a.square()).rsqrt()),
    unary(named!("acos"), |s| s.a.acos(), |s| -(s.dy * (1.0 - s.a.square()).rsqrt())),
    unary(named!("atan"), |s| s.a.atan(), |s| s.dy / (s.a.square() + 1.0)),
    binary(
        named!("atan2"),
        |s| s.a.atan2(s.b),
        |s| s.dy * s.b / (s.a.square() + s.b.square()),
        |s| -(s.dy * s.a / (s.a.square() + s.b.square())),
    ),
    unary(named!("sinh"), |s| s.a.sinh(), |s| s.dy * s.a.cosh()),
    unary(named!("cosh"), |s| s.a.cosh(), |s| s.dy * s.a.sinh()),
    unary(named!("asinh"), |s| s.a.asinh(), |s| s.dy * (s.a.square() + 1.0).rsqrt()),
    unary(named!("acosh"), |s| s.a.acosh(), |s| s.dy * (s.a - 1.0).rsqrt() * (s.a + 1.0).rsqrt()),
    unary(named!("atanh"), |s| s.a.atanh(), |s| s.dy / ((1.0 - s.a) * (1.0 + s.a))),
    // Rounding.
    unary(named!("ceil"), |s| s.a.ceil(), |s| s.zero()),
    unary(named!("floor"), |s| s.a.floor(), |s| s.zero()),
    unary(named!("rint"), |s| s.a.rint(), |s| s.zero()),
    // Activations. A gate of 0 gives 0, which is the limit, even where the argument is infinite.
    unary(named!("sigmoid"), |s| s.a.sigmoid(), |s| s.dy * s.y * (1.0 - s.y)),
    unary(named!("tanh"), |s| s.a.tanh(), |s| s.dy * (1.0 - s.y.square())),
    one_way(named!("sigmoid_grad"), 2, |s| s.b * s.a * (1.0 - s.a)),
    one_way(named!("gelu_grad"), 2, |s| s.b * gelu_slope(s.a)),
    unary(named!("gelu"), |s| s.a.normal_cdf().times_or_zero(s.a), |s| s.dy * gelu_slope(s.a)),
    unary(
        named!("leaky_relu"),
        |s| s.a.greater(s.zero()).choose(s.a, s.a * s.p(0)),
        |s| s.a.greater(s.zero()).choose(s.dy, s.dy * s.p(0)),
    )
    .with(&["alpha"]),
    binary(
        named!("prelu"),
        |s| s.a.greater(s.zero()).choose(s.a, s.a * s.b),
        |s| s.a.greater(s.zero()).choose(s.dy, s.dy * s.b),
        |s| s.a.greater(s.zero()).choose(s.zero(), s.dy * s.a),
    ),
    unary(
        named!("elu"),
        |s| s.a.greater(s.zero()).choose(s.a, s.p(0) * s.a.expm1()),
        |s| s.dy * s.a.greater(s.zero()).choose(s.one(), s.y + s.p(0)),
    )
    .with(&["alpha"]),
    unary(
        named!("relu6"),
        |s| s.a.relu().minimum(s.float(6.0)),
        |s| (s.y.greater(s.zero()) * s.y.less(s.float(6.0))).choose(s.dy, s.zero()),
    ),
    unary(
        named!("hardtanh"),
        |s| s.a.maximum(s.p(0)).minimum(s.p(1)),
        |s| (s.y.greater(s.p(0)) * s.y.less(s.p(1))).choose(s.dy, s.zero()),
    )
    .with(&["min_val", "max_val"]),
    unary(
        named!("hardsigmoid"),
        |s| (s.a / 6.0 + 0.5).maximum(s.zero()).minimum(s.one()),
        |s| (s.y.greater(s.zero()) * s.y.less(s.one())).choose(s.dy / 6.0, s.zero()),
    ),
    unary(
        named!("hardswish"),
        |s| (s.a + 3.0).maximum(s.zero()).minimum(s.float(6.0)).times_or_zero(s.a) / 6.0,
        |s| {
            let inner = s.a.less(s.float(3.0)).choose(s.a / 3.0 + 0.5, s.one());
            s.a.greater(s.float(-3.0)).choose(s.dy * inner, s.zero())
        },
    ),
    unary(
        named!("swish"),
        |s| (s.a * s.p(0)).sigmoid().times_or_zero(s.a),
        |s| {
            let gate = (s.a * s.p(0)).sigmoid();
            s.dy * (gate + (gate * (1.0 - gate)).times_or_zero(s.a * s.p(0)))
        },
    )
    .with(&["beta"]),
    unary(
        named!("mish"),
        |s| s.a.softplus().tanh().times_or_zero(s.a),
        |s| {
            let gate = s.a.softplus().tanh();
            s.dy * (gate + (s.a.sigmoid() * (1.0 - gate.square())).times_or_zero(s.a))
        },
    ),
    // Losses. A term whose factor is 0 is 0, which is its limit, even where the other is infinite.
    binary(
        named!("binary_cross_entropy"),
        |s| -(s.b.times_or_zero(s.a.log()) + (1.0 - s.b).times_or_zero((1.0 - s.a).log())),
        |s| {
            let pull = s.b.times_or_zero(s.a.reciprocal());
            let push = (1.0 - s.b).times_or_zero((1.0 - s.a).reciprocal());
            s.dy * (push - pull)
        },
        |s| s.dy * ((1.0 - s.a).log() - s.a.log()),
    ),
    // No gradient flows to the labels.
    Row {
        derivatives: [Some(|s| s.dy * (s.a.sigmoid() - s.b)), None, None],
        ..closed(named!("sigmoid_cross_entropy"), 2, sigmoid_cross_entropy)
    },
    binary(
        named!("binary_cross_entropy_with_logits"),
        sigmoid_cross_entropy,
        |s| s.dy * (s.a.sigmoid() - s.b),
        |s| -(s.dy * s.a),
    ),
    // As the row above, with a factor for the positive examples.
    ternary(
        named!("weighted_cross_entropy_with_logits"),
        |s| {
            let positive = (s.b * s.c).times_or_zero((-s.a).softplus());
            positive + (1.0 - s.b).times_or_zero(s.a.softplus())
        },
        |s| s.dy * ((1.0 - s.b) * s.a.sigmoid() - s.b * s.c * (-s.a).sigmoid()),
        |s| s.dy * (s.c * (-s.a).softplus() - s.a.softplus()),
        |s| s.dy * s.b.times_or_zero((-s.a).softplus()),
    ),
    binary(
        named!("kl_divergence"),
        |s| s.b.greater(s.zero()).choose(s.b * (s.b.log() - s.a), s.zero()),
        |s| -(s.dy * s.b.relu()),
        |s| s.b.greater(s.zero()).choose(s.dy * (s.b.log() - s.a + 1.0), s.zero()),
    ),
    binary(
        named!("log_kl_divergence"),
        |s| s.b.exp().times_or_zero(s.b - s.a),
        |s| -(s.dy * s.b.exp()),
        |s| s.dy * s.b.exp().times_or_zero(s.b - s.a + 1.0),
    ),
    binary(
        named!("smooth_l1"),
        |s| {
            let distance = (s.a - s.b).abs();
            let near = distance.square() * (0.5 / s.number(0));
            distance.less(s.p(0)).choose(near, distance - 0.5 * s.number(0))
        },
        |s| s.dy * smooth_sign(s),
        |s| -(s.dy * smooth_sign(s)),
    )
    .with(&["beta"]),
    // Training.
    one_way(named!("regularized_gradient"), 2, |s| {
        s.a * s.p(0) + s.b.sign() * s.p(1) + s.b * s.p(2)
    })
    .with(&["scale", "l1", "l2"]),
    // What gradients are multiplied by, from the sum of their squares.
    one_way(named!("clip_factor"), 1, |s| (s.p(0) / s.a.sqrt()).minimum(s.one()))
        .with(&["clip_norm"]),
    // What is subtracted before exponentials are added up: no gradient flows through it.
    closed(named!("finite_or_zero"), 1, |s| {
        s.a.abs().less(s.float(f64::INFINITY)).choose(s.a, s.zero())
    }),
];

/// `dy` where this argument alone is the extremum, half of it where both are.
fn share<'a>(s: &Scope<'a>, wins: Term<'a>) -> Term<'a> {
    wins.choose(s.dy, s.a.equal(s.b).choose(s.dy * 0.5, s.zero()))
}

fn not_both_zero<'a>(s: &Scope<'a>, slope: Term<'a>) -> Term<'a> {
    s.a.is_zero().logical_and(s.b.is_zero()).choose(s.zero(), slope)
}

/// `x` to a power known beforehand; the commonest are products.
fn power(x: Term<'_>, exponent: f64) -> Term<'_> {
    match exponent {
        0.0 => x.power(x.float(0.0)),
        1.0 => x,
        2.0 => x.square(),
        3.0 => x * x.square(),
        -1.0 => x.reciprocal(),
        _ => x.power(x.float(exponent)),
    }
}

/// The derivative of the error function.
fn bell(x: Term<'_>) -> Term<'_> {
    (-x.square()).exp() * (2.0 / PI.sqrt())
}

fn gelu_slope(x: Term<'_>) -> Term<'_> {
    let density = (x.square() * -0.5).exp() * (1.0 / (2.0 * PI).sqrt());
    x.normal_cdf() + density.times_or_zero(x)
}

/// `log(1 + exp(-|a|))`, and the logit's size where it has the wrong sign.
fn sigmoid_cross_entropy<'a>(s: &Scope<'a>) -> Term<'a> {
    let distance = s.a.greater(s.zero()).choose(1.0 - s.b, s.b);
    (-s.a.abs()).softplus() + distance.times_or_zero(s.a.abs())
}

fn smooth_sign<'a>(s: &Scope<'a>) -> Term<'a> {
    let difference = s.a - s.b;
    let near = difference * (1.0 / s.number(0));
    difference.abs().less(s.p(0)).choose(near, difference.sign())
}
