//! Elementary and special functions.
//!
//! Those of [`single`], of [`double`] and of this file are free of branches and tables, so that a loop over
//! them is vectorised (but the powers of float64). They are within 3 units in the last place for every
//! argument, denormals included, where they say nothing else.

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

/// The polynomial of `x` whose even and odd powers have these coefficients, by powers of `z = x * x`:
/// in two parts, whose steps do not wait for one another.
#[inline(always)]
fn by_parity<I: Instructions, T: Float, const N: usize, const M: usize>(
    x: T,
    z: T,
    even: [T; N],
    odd: [T; M],
) -> T {
    madd::<I, T>(polynomial::<I, T, M>(z, odd), x, polynomial::<I, T, N>(z, even))
}

/// Whether a power of e is 0, as those of less than `least` are; and a number in place of the exponent then:
/// products that are rounded to 0 take many times as long as others, and masked elements are such.
#[inline(always)]
fn zero_apart<T: Float>(x: T, least: T) -> (bool, T) {
    let is_zero = x < least;
    (is_zero, if is_zero { T::ZERO } else { x })
}

/// `a / b` for many `a`, given `1 / b`: the product, corrected by a fused multiply-add, is rounded as the
/// quotient is (P. Markstein, "Computation of elementary functions on the IBM RISC System/6000 processor",
/// 1990), but for some that are denormal.
#[inline(always)]
pub(crate) fn divide<I: Instructions, T: Float>(a: T, b: T, reciprocal: T) -> T {
    if !I::FUSED {
        return a / b;
    }
    let quotient = a * reciprocal;
    madd::<I, T>(madd::<I, T>(-quotient, b, a), reciprocal, quotient)
}

/// The error function of a number: whether that is near 0, its value if so, and the complement of the
/// magnitude's else.
type ErfParts<T> = (bool, T, T);

/// The error function from its parts.
#[inline(always)]
fn erf_of<T: Float>(x: T, (is_small, small, complement): ErfParts<T>) -> T {
    let large = T::ONE - complement;
    let large = if x < T::ZERO { -large } else { large };
    if is_small { small } else { large }
}

/// `(1 + erf(x / sqrt(2))) / 2` from the parts of `x / sqrt(2)`.
#[inline(always)]
fn normal_cdf_of<T: Float>(x: T, (is_small, small, complement): ErfParts<T>) -> T {
    let half = T::ONE / (T::ONE + T::ONE);
    let tail = half * complement;
    let large = if x < T::ZERO { tail } else { T::ONE - tail };
    if is_small { half + half * small } else { large }
}

/// The sine or, after an odd number of quarter turns, the cosine; after half a turn the negative one.
#[inline(always)]
fn turned<T: Float>(sine: T, cosine: T, is_odd: bool, is_half: bool) -> T {
    let value = if is_odd { cosine } else { sine };
    if is_half { -value } else { value }
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

/// `output[i] = exp(-|x[i]|)`, in a loop of its own: one function at a time leaves the CPU more that it can
/// compute side by side.
#[inline(always)]
fn exp_of_magnitudes<I: Instructions, T: Float>(x: &[T], output: &mut [T]) {
    for (output, &x) in output.iter_mut().zip(x) {
        *output = (-x.abs()).exp_nonpositive::<I>();
    }
}

/// `output[i] = log(1 + exp(x[i]))`.
#[inline(always)]
pub(crate) fn softplus<I: Instructions, T: Float>(x: &[T], output: &mut [T]) {
    exp_of_magnitudes::<I, T>(x, output);
    for (output, &x) in output.iter_mut().zip(x) {
        let positive = if x < T::ZERO { T::ZERO } else { x };
        *output = positive + ln_1p::<I, T>(*output);
    }
}

/// `output[i] = -log(1 + exp(-x[i]))`.
#[inline(always)]
pub(crate) fn log_sigmoid<I: Instructions, T: Float>(x: &[T], output: &mut [T]) {
    exp_of_magnitudes::<I, T>(x, output);
    for (output, &x) in output.iter_mut().zip(x) {
        let negative = if x > T::ZERO { T::ZERO } else { x };
        *output = negative - ln_1p::<I, T>(*output);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Avx2;

    #[test]
    fn corrected_products_are_quotients() {
        let mut state = 1u64;
        for _ in 0..100_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let [a, b] = [state >> 11, state.rotate_left(29) >> 11].map(|bits| bits as f64);
            let (a, b) = (a / (1u64 << 53) as f64, 1.0 + b / (1u64 << 40) as f64);
            assert_eq!(divide::<Avx2, f64>(a, b, 1.0 / b), a / b, "{a:e} / {b:e}");
            let (a, b) = (a as f32, b as f32);
            assert_eq!(divide::<Avx2, f32>(a, b, 1.0 / b), a / b, "{a:e} / {b:e}");
        }
    }
}
