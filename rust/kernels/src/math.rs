//! Elementary and special functions.
//!
//! The `f32` functions are free of branches and tables, so that a loop over them is vectorised.
//! They are within 3 units in the last place for every argument, denormals included.

use crate::isa::Instructions;

/// `a * b + c`, fused where that is one instruction.
#[inline(always)]
fn madd<I: Instructions>(a: f32, b: f32, c: f32) -> f32 {
    if I::FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// The polynomial with these coefficients, the highest power first.
#[inline(always)]
fn polynomial<I: Instructions, const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut value = coefficients[0];
    for &coefficient in &coefficients[1..] {
        value = madd::<I>(value, x, coefficient);
    }
    value
}

/// ln 2 in two parts; products of the first with an exponent are exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// 2 to the power of `n`, for -126 <= n <= 127.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// Less than the exponent of any power of e that is not rounded to 0.
const LEAST_EXPONENT: f32 = -104.0;

/// The power of e of a number from [`LEAST_EXPONENT`] to 89, as a number near 1 and the power of
/// two that it is to be multiplied by.
#[inline(always)]
fn exp_in_parts<I: Instructions>(x: f32) -> (f32, i32) {
    // Adding 1.5 * 2^23 rounds to an integer, which then stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let shifted = madd::<I>(x, std::f32::consts::LOG2_E, ROUND);
    let n = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let whole = shifted - ROUND;
    let r = madd::<I>(whole, -LN_2_LOW, madd::<I>(whole, -LN_2_HIGH, x));
    let tail = polynomial::<I, 6>(
        r,
        [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5],
    );
    (1.0 + madd::<I>(r * r, tail, r), n)
}

/// Whether the power of e is 0; and a number in place of the exponent then: products that are
/// rounded to 0 take many times as long as others, and masked elements are such.
#[inline(always)]
fn zero_apart(x: f32) -> (bool, f32) {
    let is_zero = x < LEAST_EXPONENT;
    (is_zero, if is_zero { 0.0 } else { x })
}

/// e to the power of `x`.
#[inline(always)]
pub(crate) fn exp_f32<I: Instructions>(x: f32) -> f32 {
    // Beyond these the result is infinite or 0; comparisons this way round keep NaN.
    let x = if x > 89.0 { 89.0 } else { x };
    let (is_zero, x) = zero_apart(x);
    let (value, n) = exp_in_parts::<I>(x);
    // In two steps, since 2^n itself may be too great or too small.
    let half = n >> 1;
    let value = value * power_of_two(half) * power_of_two(n.wrapping_sub(half));
    if is_zero { 0.0 } else { value }
}

/// [`exp_f32`] of a number that is not positive, or NaN: the same bits in fewer instructions. Of
/// others it is any number.
#[inline(always)]
pub(crate) fn exp_nonpositive_f32<I: Instructions>(x: f32) -> f32 {
    /// 2^-64, which 2^n is too great by at first, or it might be too small.
    const LIFT: f32 = 5.421_011e-20;
    let (is_zero, x) = zero_apart(x);
    let (value, n) = exp_in_parts::<I>(x);
    let value = value * power_of_two(n.wrapping_add(64)) * LIFT;
    if is_zero { 0.0 } else { value }
}

/// Natural logarithm.
#[inline(always)]
pub(crate) fn ln_f32<I: Instructions>(x: f32) -> f32 {
    const SMALLEST_NORMAL: f32 = f32::MIN_POSITIVE;
    let denormal = x < SMALLEST_NORMAL;
    let scaled = if denormal { x * 8_388_608.0 } else { x };
    // scaled = 2^exponent * m with sqrt(1/2) <= m < sqrt(2)
    const SQRT_HALF: i32 = 0x3f35_04f3;
    let bits = scaled.to_bits() as i32;
    let exponent = bits.wrapping_sub(SQRT_HALF) >> 23;
    let m = f32::from_bits(bits.wrapping_sub(exponent << 23) as u32);
    let exponent = exponent as f32 - if denormal { 23.0 } else { 0.0 };
    // log(1 + f) = f - f^2 / 2 + s (f^2 / 2 + R(s^2)) with s = f / (2 + f)
    let f = m - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let r = z * polynomial::<I, 4>(z, [0.242_790_79, 0.284_987_87, 0.400_009_72, 0.666_666_6]);
    let half_square = 0.5 * f * f;
    let low = madd::<I>(s, half_square + r, exponent * LN_2_LOW);
    let value = madd::<I>(exponent, LN_2_HIGH, f - (half_square - low));
    let value = if x == 0.0 { f32::NEG_INFINITY } else { value };
    let value = if x < 0.0 { f32::NAN } else { value };
    if x < f32::INFINITY { value } else { x }
}

/// Logarithm of `1 + x`.
#[inline(always)]
pub(crate) fn ln_1p_f32<I: Instructions>(x: f32) -> f32 {
    let u = 1.0 + x;
    // What the sum lost, as a relative change of `u`.
    let lost = (x - (u - 1.0)) / u;
    let value = ln_f32::<I>(u) + lost;
    // A tiny `x` is the result; at -1 and infinity the correction is no number.
    let value = if x > -1.0 && x < f32::INFINITY { value } else { ln_f32::<I>(u) };
    if x.abs() < 1e-8 { x } else { value }
}

/// `1 / (1 + exp(-x))`.
#[inline(always)]
pub(crate) fn sigmoid_f32<I: Instructions>(x: f32) -> f32 {
    let e = exp_f32::<I>(-x.abs());
    let numerator = if x < 0.0 { e } else { 1.0 };
    numerator / (1.0 + e)
}

/// Hyperbolic tangent.
#[inline(always)]
pub(crate) fn tanh_f32<I: Instructions>(x: f32) -> f32 {
    let magnitude = x.abs();
    let large = 1.0 - 2.0 / (exp_f32::<I>(2.0 * magnitude) + 1.0);
    let z = x * x;
    let tail = polynomial::<I, 5>(
        z,
        [-5.704_988_7e-3, 2.063_909e-2, -5.373_971_6e-2, 1.333_144_2e-1, -3.333_328e-1],
    );
    let small = madd::<I>(tail * z, x, x);
    if magnitude < 0.625 { small } else { large.copysign(x) }
}

/// `log(1 + exp(x))`.
#[inline(always)]
pub(crate) fn softplus_f32<I: Instructions>(x: f32) -> f32 {
    let positive = if x < 0.0 { 0.0 } else { x };
    positive + ln_1p_f32::<I>(exp_f32::<I>(-x.abs()))
}

/// Error function.
#[inline(always)]
pub(crate) fn erf_f32<I: Instructions>(x: f32) -> f32 {
    let t = x.abs();
    let s = x * x;
    let small = polynomial::<I, 6>(
        s,
        [
            -5.967_617e-4,
            4.991_194_2e-3,
            -2.676_813_5e-2,
            1.128_199_25e-1,
            -3.761_253_4e-1,
            1.283_791_7e-1,
        ],
    );
    let small = madd::<I>(small, x, x);
    let large = polynomial::<I, 7>(
        t,
        [
            -1.728_534_7e-5,
            3.831_971_3e-4,
            -3.883_964_4e-3,
            2.425_462_2e-2,
            -1.067_778_8e-1,
            -6.348_467e-1,
            -1.287_175_1e-1,
        ],
    );
    let large = 1.0 - exp_f32::<I>(madd::<I>(large, t, -t));
    // Beyond 4 the result is 1 and the polynomial is of no use.
    let large = if t > 4.0 { 1.0 } else { large };
    if t > 0.927_734_4 { large.copysign(x) } else { small }
}

/// Error function, by the series `2 / sqrt(pi) * exp(-x^2) * x * sum((2 x^2)^n / (2n + 1)!!)`,
/// whose terms all have one sign; by its complement where that is small.
pub(crate) fn erf_f64(x: f64) -> f64 {
    if x.is_nan() || x == 0.0 {
        return x;
    }
    if x.abs() > 2.0 {
        return (1.0 - erfc_f64(x.abs())).copysign(x);
    }
    let (mut term, mut sum, mut odd) = (x, x, 1.0);
    while term.abs() > sum.abs() * 1e-18 {
        odd += 2.0;
        term *= 2.0 * x * x / odd;
        sum += term;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

/// `1 - erf(x)`, by a continued fraction where that is small.
pub(crate) fn erfc_f64(x: f64) -> f64 {
    if x.is_nan() || x < 1.0 {
        return 1.0 - erf_f64(x);
    }
    if x > 28.0 {
        return 0.0;
    }
    // x + (1/2) / (x + 1 / (x + (3/2) / (x + ..))), evaluated from its far end
    let terms = 20 + (160.0 / (x * x)) as u32;
    let fraction = (1..=terms).rev().fold(x, |tail, n| x + 0.5 * f64::from(n) / tail);
    exp_minus_square(x) / (fraction * std::f64::consts::PI.sqrt())
}

/// `exp(-x * x)`, without the error that rounding the square would bring.
fn exp_minus_square(x: f64) -> f64 {
    let high = f64::from(x as f32);
    let low = x - high;
    // high * high is exact.
    (-high * high).exp() * (-low * (x + high)).exp()
}

/// Logarithm of the absolute value of the gamma function.
pub(crate) fn lgamma_f64(x: f64) -> f64 {
    use std::f64::consts::PI;
    if x.is_nan() || x.is_infinite() {
        return x.abs();
    }
    if x < 0.5 {
        let distance = x - x.round();
        return (PI / (PI * distance).sin().abs()).ln() - lgamma_f64(1.0 - x);
    }
    // Gamma(x) = Gamma(x + n) / (x (x + 1) .. (x + n - 1)); Stirling's series serves from 10 on.
    let (mut x, mut product) = (x, 1.0);
    while x < 10.0 {
        product *= x;
        x += 1.0;
    }
    let z = 1.0 / (x * x);
    let series = [
        43_867.0 / 244_188.0,
        -3_617.0 / 122_400.0,
        1.0 / 156.0,
        -691.0 / 360_360.0,
        1.0 / 1_188.0,
        -1.0 / 1_680.0,
        1.0 / 1_260.0,
        -1.0 / 360.0,
        1.0 / 12.0,
    ]
    .into_iter()
    .fold(0.0, |sum, coefficient| sum * z + coefficient);
    let half_ln_two_pi = 0.918_938_533_204_672_7;
    (x - 0.5) * x.ln() - x + half_ln_two_pi + series / x - f64::ln(product)
}

/// `1 / (1 + exp(-x))`.
pub(crate) fn sigmoid_f64(x: f64) -> f64 {
    let e = (-x.abs()).exp();
    if x < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) }
}

/// `log(1 + exp(x))`.
pub(crate) fn softplus_f64(x: f64) -> f64 {
    let positive = if x < 0.0 { 0.0 } else { x };
    positive + (-x.abs()).exp().ln_1p()
}

/// Inverse hyperbolic sine.
pub(crate) fn asinh_f64(x: f64) -> f64 {
    let t = x.abs();
    let value = if t > 1e100 {
        t.ln() + std::f64::consts::LN_2
    } else {
        (t + t * t / (1.0 + (t * t + 1.0).sqrt())).ln_1p()
    };
    value.copysign(x)
}

/// Inverse hyperbolic cosine.
pub(crate) fn acosh_f64(x: f64) -> f64 {
    if x > 1e100 {
        return x.ln() + std::f64::consts::LN_2;
    }
    if x < 1.0 {
        return f64::NAN;
    }
    let t = x - 1.0;
    (t + (2.0 * t + t * t).sqrt()).ln_1p()
}

/// Inverse hyperbolic tangent.
pub(crate) fn atanh_f64(x: f64) -> f64 {
    0.5 * (2.0 * x / (1.0 - x)).ln_1p()
}

/// What the floored division leaves, with the sign of `b`.
pub(crate) fn floor_mod_f64(a: f64, b: f64) -> f64 {
    let remainder = a % b;
    if remainder != 0.0 && (remainder < 0.0) != (b < 0.0) { remainder + b } else { remainder }
}
