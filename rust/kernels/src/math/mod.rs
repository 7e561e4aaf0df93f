//! Elementary and special functions.
//!
//! Those of [`single`], of [`double`] and of this file are free of branches and tables, so that a loop over
//! them is vectorised. They are within 3 units in the last place for every argument, denormals included.

pub(crate) mod double;
pub(crate) mod single;
mod special;

use crate::Float;
use crate::isa::Instructions;

pub(crate) use special::{
    acosh_f64, asinh_f64, atanh_f64, erf_f64, erfc_f64, floor_mod_f64, lgamma_f64,
};

/// `a * b + c`, fused where that is one instruction.
#[inline(always)]
fn madd<I: Instructions, T: Float>(a: T, b: T, c: T) -> T {
    if I::FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// The polynomial with these coefficients, the highest power first.
#[inline(always)]
fn polynomial<I: Instructions, T: Float, const N: usize>(x: T, coefficients: [T; N]) -> T {
    let mut value = coefficients[0];
    for &coefficient in &coefficients[1..] {
        value = madd::<I, T>(value, x, coefficient);
    }
    value
}

/// The polynomial of `x` whose even and odd powers have these coefficients, by powers of `z = x * x`: in two
/// parts, whose steps do not wait for one another.
#[inline(always)]
fn by_parity<I: Instructions, T: Float, const N: usize, const M: usize>(
    x: T,
    z: T,
    even: [T; N],
    odd: [T; M],
) -> T {
    madd::<I, T>(polynomial::<I, T, M>(z, odd), x, polynomial::<I, T, N>(z, even))
}

/// Logarithm of `1 + x`.
#[inline(always)]
pub(crate) fn ln_1p<I: Instructions, T: Float>(x: T) -> T {
    let u = T::ONE + x;
    // What the sum lost, as a relative change of `u`.
    let lost = (x - (u - T::ONE)) / u;
    let value = u.ln::<I>() + lost;
    // At -1 and infinity the correction is no number.
    let value = if x > -T::ONE && x < T::HIGHEST { value } else { u.ln::<I>() };
    // A tiny `x` is the result, with its sign.
    if u == T::ONE { x } else { value }
}

/// `1 / (1 + exp(-x))`.
#[inline(always)]
pub(crate) fn sigmoid<I: Instructions, T: Float>(x: T) -> T {
    let e = (-x.abs()).exp_nonpositive::<I>();
    let numerator = if x < T::ZERO { e } else { T::ONE };
    numerator / (T::ONE + e)
}

/// `output[i] = log(1 + exp(x[i]))`.
#[inline(always)]
pub(crate) fn softplus<I: Instructions, T: Float>(x: &[T], output: &mut [T]) {
    // In two loops: one function at a time leaves the CPU more that it can compute side by side.
    for (output, &x) in output.iter_mut().zip(x) {
        *output = (-x.abs()).exp_nonpositive::<I>();
    }
    for (output, &x) in output.iter_mut().zip(x) {
        let positive = if x < T::ZERO { T::ZERO } else { x };
        *output = positive + ln_1p::<I, T>(*output);
    }
}

/// `output[i] = -log(1 + exp(-x[i]))`.
#[inline(always)]
pub(crate) fn log_sigmoid<I: Instructions, T: Float>(x: &[T], output: &mut [T]) {
    for (output, &x) in output.iter_mut().zip(x) {
        *output = (-x.abs()).exp_nonpositive::<I>();
    }
    for (output, &x) in output.iter_mut().zip(x) {
        let negative = if x > T::ZERO { T::ZERO } else { x };
        *output = negative - ln_1p::<I, T>(*output);
    }
}
