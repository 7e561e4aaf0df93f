//! Functions of float32.
//!
//! Quarter turns are taken from angles, and logarithms multiplied by exponents, in float64, which has
//! digits to spare.

use super::{
    ErfParts, by_parity, double, erf_of, madd, normal_cdf_of, polynomial, turned, zero_apart,
};
use crate::isa::Instructions;

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

/// The power of e of a number from [`LEAST_EXPONENT`] to 89, less 1, and the power of two that it is to
/// be multiplied by.
#[inline(always)]
fn exp_m1_in_parts<I: Instructions>(x: f32) -> (f32, i32) {
    // Adding 1.5 * 2^23 rounds to an integer, which then stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let shifted = madd::<I, _>(x, std::f32::consts::LOG2_E, ROUND);
    let n = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let whole = shifted - ROUND;
    let r = madd::<I, _>(whole, -LN_2_LOW, madd::<I, _>(whole, -LN_2_HIGH, x));
    let tail = polynomial::<I, _, 6>(
        r,
        [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5],
    );
    (madd::<I, _>(r * r, tail, r), n)
}

/// e to the power of `x`.
#[inline(always)]
pub(crate) fn exp<I: Instructions>(x: f32) -> f32 {
    // Beyond these the result is infinite or 0; comparisons this way round keep NaN.
    let x = if x > 89.0 { 89.0 } else { x };
    let (is_zero, x) = zero_apart(x, LEAST_EXPONENT);
    let (value, n) = exp_m1_in_parts::<I>(x);
    // In two steps, since 2^n itself may be too great or too small.
    let half = n >> 1;
    let value = (1.0 + value) * power_of_two(half) * power_of_two(n.wrapping_sub(half));
    if is_zero { 0.0 } else { value }
}

/// [`exp`] of a number that is not positive, or NaN: the same bits in fewer instructions. Of
/// others it is any number.
#[inline(always)]
pub(crate) fn exp_nonpositive<I: Instructions>(x: f32) -> f32 {
    /// 2^-64, which 2^n is too great by at first, or it might be too small.
    const LIFT: f32 = 5.421_011e-20;
    let (is_zero, x) = zero_apart(x, LEAST_EXPONENT);
    let (value, n) = exp_m1_in_parts::<I>(x);
    let value = (1.0 + value) * power_of_two(n.wrapping_add(64)) * LIFT;
    if is_zero { 0.0 } else { value }
}

/// `e^x - 1`.
#[inline(always)]
pub(crate) fn exp_m1<I: Instructions>(x: f32) -> f32 {
    // Beyond these the result is infinite or -1.
    let clamped = if x > 89.0 { 89.0 } else { x };
    let clamped = if clamped < -20.0 { -20.0 } else { clamped };
    let (value, n) = exp_m1_in_parts::<I>(clamped);
    // Half of the power of two, which itself may be too great.
    let half = power_of_two(n.wrapping_sub(1));
    let value = 2.0 * madd::<I, _>(half, value, half - 0.5);
    // So near 0 it is the result, whose half may lose a digit.
    if x.abs() < 1.490_116_1e-8 { x } else { value }
}

/// Natural logarithm.
#[inline(always)]
pub(crate) fn ln<I: Instructions>(x: f32) -> f32 {
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
    let r = z * polynomial::<I, _, 4>(z, [0.242_790_79, 0.284_987_87, 0.400_009_72, 0.666_666_6]);
    let half_square = 0.5 * f * f;
    let low = madd::<I, _>(s, half_square + r, exponent * LN_2_LOW);
    let value = madd::<I, _>(exponent, LN_2_HIGH, f - (half_square - low));
    let value = if x == 0.0 { f32::NEG_INFINITY } else { value };
    let value = if x < 0.0 { f32::NAN } else { value };
    if x < f32::INFINITY { value } else { x }
}

/// Hyperbolic tangent.
#[inline(always)]
pub(crate) fn tanh<I: Instructions>(x: f32) -> f32 {
    let magnitude = x.abs();
    let large = 1.0 - 2.0 / (exp::<I>(2.0 * magnitude) + 1.0);
    let z = x * x;
    let tail = polynomial::<I, _, 5>(
        z,
        [-5.704_988_7e-3, 2.063_909e-2, -5.373_971_6e-2, 1.333_144_2e-1, -3.333_328e-1],
    );
    let small = madd::<I, _>(tail * z, x, x);
    // The small one of -0 would be 0.
    (if magnitude < 0.625 { small } else { large }).copysign(x)
}

/// `x + x P(x^2)`, and from 0.93 to 4 a minimax polynomial of the complement with an error of 1.2e-9.
#[inline(always)]
fn erf_in_parts<I: Instructions>(x: f32) -> ErfParts<f32> {
    let t = x.abs();
    let small = polynomial::<I, _, 6>(
        x * x,
        [
            -5.967_617e-4,
            4.991_194_2e-3,
            -2.676_813_5e-2,
            1.128_199_25e-1,
            -3.761_253_4e-1,
            1.283_791_7e-1,
        ],
    );
    let small = madd::<I, _>(small, x, x);
    let u = t - 2.5;
    let even = [
        -8.947_263e-7,
        1.575_338_5e-5,
        -8.119_975e-5,
        -2.585_874_2e-4,
        2.797_45e-3,
        8.622_641e-3,
        5.445_684e-3,
        4.069_524_6e-4,
    ];
    let odd = [
        3.178_741e-7,
        -3.188_334_9e-6,
        -8.652_761e-6,
        2.549_071_5e-4,
        -5.458_387e-4,
        -6.116_003_3e-3,
        -8.350_326e-3,
        -2.178_272_2e-3,
    ];
    let complement = by_parity::<I, _, 8, 8>(u, u * u, even, odd);
    (t <= 0.927_734_4, small, if t > 4.0 { 0.0 } else { complement })
}

/// Error function.
#[inline(always)]
pub(crate) fn erf<I: Instructions>(x: f32) -> f32 {
    erf_of(x, erf_in_parts::<I>(x))
}

/// `(1 + erf(x / sqrt(2))) / 2`, with an absolute error of 1e-7 at most.
#[inline(always)]
pub(crate) fn normal_cdf<I: Instructions>(x: f32) -> f32 {
    normal_cdf_of(x, erf_in_parts::<I>(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// Sine and cosine of what is left of a number that [`double::is_reducible`] without whole quarter turns,
/// and their number. The polynomials are the series up to `r^9` and `r^10`.
#[inline(always)]
fn quarter_turn<I: Instructions>(x: f32) -> (f32, f32, i32) {
    let (r, n) = double::reduce::<I>(x.into());
    let r = r as f32;
    let z = r * r;
    let tail = [1.0 / 362_880.0, -1.0 / 5_040.0, 1.0 / 120.0, -1.0 / 6.0];
    let sine = madd::<I, _>(z * r, polynomial::<I, _, 4>(z, tail), r);
    let tail = [-1.0 / 3_628_800.0, 1.0 / 40_320.0, -1.0 / 720.0, 1.0 / 24.0];
    let half = 0.5 * z;
    let near = 1.0 - half;
    // What `near` lost by rounding.
    let lost = 1.0 - near - half;
    let cosine = near + madd::<I, _>(z * z, polynomial::<I, _, 4>(z, tail), lost);
    (sine, cosine, n as i32)
}

/// Sine of a number that [`double::is_reducible`].
#[inline(always)]
pub(crate) fn sin<I: Instructions>(x: f32) -> f32 {
    let (sine, cosine, n) = quarter_turn::<I>(x);
    let value = turned(sine, cosine, n & 1 != 0, n & 2 != 0);
    // The parts of 0 lose its sign.
    if x == 0.0 { x } else { value }
}

/// Cosine of a number that [`double::is_reducible`].
#[inline(always)]
pub(crate) fn cos<I: Instructions>(x: f32) -> f32 {
    let (sine, cosine, n) = quarter_turn::<I>(x);
    turned(cosine, sine, n & 1 != 0, n.wrapping_add(1) & 2 != 0)
}

/// `output[i] = x[i] ^ y[i]`; of negative numbers there are only whole powers.
#[inline(always)]
pub(crate) fn pow<I: Instructions>(x: &[f32], y: &[f32], output: &mut [f32]) {
    /// Elements whose logarithms are computed before the first power: one function at a time leaves the
    /// CPU more that it can compute side by side.
    const TOGETHER: usize = 64;
    let mut exponents = [0.0; TOGETHER];
    let inputs = x.chunks(TOGETHER).zip(y.chunks(TOGETHER));
    for ((x, y), output) in inputs.zip(output.chunks_mut(TOGETHER)) {
        for ((exponent, &x), &y) in exponents.iter_mut().zip(x).zip(y) {
            *exponent = f64::from(y) * double::ln::<I>(x.abs().into());
        }
        for (((output, &exponent), &x), &y) in output.iter_mut().zip(&exponents).zip(x).zip(y) {
            *output = signed_power(x, y, double::exp::<I>(exponent) as f32);
        }
    }
}

/// `x` to the power of `y`, where that of the absolute value is `power`, or NaN.
#[inline(always)]
fn signed_power(x: f32, y: f32, power: f32) -> f32 {
    // The products 0 * inf, and powers of and with NaN that are 1 all the same.
    let power = if y == 0.0 || x.abs() == 1.0 { 1.0 } else { power };
    let is_whole = y.floor() == y;
    // Numbers too great to have halves are even.
    let is_odd = is_whole && (0.5 * y).floor() != 0.5 * y;
    let power = if is_odd { power.copysign(x) } else { power };
    if x < 0.0 && !is_whole && x > f32::NEG_INFINITY { f32::NAN } else { power }
}
