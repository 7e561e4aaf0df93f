//! Functions of float64.
//!
//! Vectors of 64-bit integers have neither arithmetic shifts nor conversions on most CPUs, so exponents are
//! taken from bits and put into them.

use super::{ErfParts, by_parity, erf_of, madd, normal_cdf_of, turned, zero_apart};
use crate::isa::Instructions;

/// Adding it rounds to an integer, which then stands in the lowest bits: 1.5 * 2^52.
const ROUND: f64 = 6_755_399_441_055_744.0;
/// ln 2 in two parts; products of the first with an exponent are exact.
const LN_2_HIGH: f64 = 0.693_147_180_369_123_8;
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
/// Bits of the fraction.
const FRACTION: u32 = f64::MANTISSA_DIGITS - 1;

/// The integer next to a number of at most 2^51, also as one.
#[inline(always)]
fn round<I: Instructions>(x: f64, factor: f64) -> (f64, i64) {
    let shifted = madd::<I, _>(x, factor, ROUND);
    (shifted - ROUND, (shifted.to_bits() as i64).wrapping_sub(ROUND.to_bits() as i64))
}

/// 2 to the power of `n`, for -1022 <= n <= 1023.
#[inline(always)]
fn power_of_two(n: i64) -> f64 {
    f64::from_bits((n.wrapping_add(1023) as u64) << FRACTION)
}

/// Less than the exponent of any power of e that is not rounded to 0.
const LEAST_EXPONENT: f64 = -746.0;

/// The power of e of a number from [`LEAST_EXPONENT`] to 710, less 1, and the power of two that it is to
/// be multiplied by: by the series of `(e^r - 1 - r) / r^2`, which for `|r| <= ln(2) / 2` ends at `r^11`.
#[inline(always)]
fn exp_m1_in_parts<I: Instructions>(x: f64) -> (f64, i64) {
    let (whole, n) = round::<I>(x, std::f64::consts::LOG2_E);
    let r = madd::<I, _>(whole, -LN_2_LOW, madd::<I, _>(whole, -LN_2_HIGH, x));
    let z = r * r;
    let even = [
        1.0 / 479_001_600.0,
        1.0 / 3_628_800.0,
        1.0 / 40_320.0,
        1.0 / 720.0,
        1.0 / 24.0,
        1.0 / 2.0,
    ];
    let odd = [
        1.0 / 6_227_020_800.0,
        1.0 / 39_916_800.0,
        1.0 / 362_880.0,
        1.0 / 5_040.0,
        1.0 / 120.0,
        1.0 / 6.0,
    ];
    (madd::<I, _>(z, by_parity::<I, _, 6, 6>(r, z, even, odd), r), n)
}

/// e to the power of `x`.
#[inline(always)]
pub(crate) fn exp<I: Instructions>(x: f64) -> f64 {
    // Beyond these the result is infinite or 0; comparisons this way round keep NaN.
    let x = if x > 710.0 { 710.0 } else { x };
    let (is_zero, x) = zero_apart(x, LEAST_EXPONENT);
    let (value, n) = exp_m1_in_parts::<I>(x);
    // In two steps, since 2^n itself may be too great or too small.
    let half = (n.wrapping_add(2048) as u64 >> 1) as i64 - 1024;
    let value = (1.0 + value) * power_of_two(half) * power_of_two(n.wrapping_sub(half));
    if is_zero { 0.0 } else { value }
}

/// [`exp`] of a number that is not positive, or NaN: the same bits in fewer instructions. Of
/// others it is any number.
#[inline(always)]
pub(crate) fn exp_nonpositive<I: Instructions>(x: f64) -> f64 {
    /// 2^-64, which 2^n is too great by at first, or it might be too small.
    const LIFT: f64 = 5.421_010_862_427_522e-20;
    let (is_zero, x) = zero_apart(x, LEAST_EXPONENT);
    let (value, n) = exp_m1_in_parts::<I>(x);
    let value = (1.0 + value) * power_of_two(n.wrapping_add(64)) * LIFT;
    if is_zero { 0.0 } else { value }
}

/// `e^x - 1`.
#[inline(always)]
pub(crate) fn exp_m1<I: Instructions>(x: f64) -> f64 {
    // Beyond these the result is infinite or -1.
    let clamped = if x > 710.0 { 710.0 } else { x };
    let clamped = if clamped < -40.0 { -40.0 } else { clamped };
    let (value, n) = exp_m1_in_parts::<I>(clamped);
    // Half of the power of two, which itself may be too great.
    let half = power_of_two(n.wrapping_sub(1));
    let value = 2.0 * madd::<I, _>(half, value, half - 0.5);
    // So near 0 it is the result, whose half may lose a digit.
    if x.abs() < 5.551_115_123_125_783e-17 { x } else { value }
}

/// Hyperbolic tangent: `-t / (2 + t)` with `t = e^(-2 |x|) - 1`.
#[inline(always)]
pub(crate) fn tanh<I: Instructions>(x: f64) -> f64 {
    let t = exp_m1::<I>(-2.0 * x.abs());
    (t / (2.0 + t)).copysign(x)
}

/// Natural logarithm, with the polynomial of `e_log.c` in Sun's fdlibm.
#[inline(always)]
pub(crate) fn ln<I: Instructions>(x: f64) -> f64 {
    /// 2^54.
    const LIFT: f64 = 18_014_398_509_481_984.0;
    const SQRT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
    /// What exponents are greater by until they are floats.
    const BIAS: u64 = 1024;
    /// 2^52: the lowest bits of a number from there on are an integer.
    const INTEGERS: f64 = 4_503_599_627_370_496.0;
    let denormal = x < f64::MIN_POSITIVE;
    let scaled = if denormal { x * LIFT } else { x };
    // scaled = 2^exponent * m with sqrt(1/2) <= m < sqrt(2)
    let bits = scaled.to_bits();
    let exponent = bits.wrapping_sub(SQRT_HALF).wrapping_add(BIAS << FRACTION) >> FRACTION;
    let m = f64::from_bits(bits.wrapping_sub(exponent.wrapping_sub(BIAS) << FRACTION));
    let exponent = f64::from_bits(INTEGERS.to_bits() | exponent) - (INTEGERS + BIAS as f64);
    let exponent = exponent - if denormal { 54.0 } else { 0.0 };
    // log(1 + f) = f - f^2 / 2 + s (f^2 / 2 + R(s^2)) with s = f / (2 + f)
    let f = m - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let odd = [0.153_138_376_992_093_73, 0.222_221_984_321_497_84, 0.399_999_999_994_094_2];
    let even = [
        0.147_981_986_051_165_86,
        0.181_835_721_616_180_5,
        0.285_714_287_436_623_9,
        0.666_666_666_666_673_5,
    ];
    let r = z * by_parity::<I, _, 4, 3>(z, z * z, even, odd);
    let half_square = 0.5 * f * f;
    let low = madd::<I, _>(s, half_square + r, exponent * LN_2_LOW);
    let value = madd::<I, _>(exponent, LN_2_HIGH, f - (half_square - low));
    let value = if x == 0.0 { f64::NEG_INFINITY } else { value };
    let value = if x < 0.0 { f64::NAN } else { value };
    if x < f64::INFINITY { value } else { x }
}

/// `x + x P(x^2)` below 1, and `exp(-x^2) Q((x - 3) / (x + 3))` up to 6. The polynomials are minimax
/// approximations of `erf(x) / x - 1` and of `exp(x^2) erfc(x)`, the second with weight `exp(-x^2)`; their
/// errors are 7e-18 and 1.3e-18.
#[inline(always)]
fn erf_in_parts<I: Instructions>(x: f64) -> ErfParts<f64> {
    let t = x.abs();
    let s = x * x;
    let even = [
        1.372_298_653_432_104_6e-8,
        1.644_751_786_234_979_4e-6,
        1.205_529_532_054_426_2e-4,
        5.223_977_607_422_791e-3,
        1.128_379_167_094_525_2e-1,
        1.283_791_670_955_125_6e-1,
    ];
    let odd = [
        -7.801_211_115_014_895e-10,
        -1.620_917_784_240_147_5e-7,
        -1.492_474_467_186_116_9e-5,
        -8.548_325_989_682_653e-4,
        -2.686_617_064_327_608e-2,
        -3.761_263_890_318_355e-1,
    ];
    let small = madd::<I, _>(by_parity::<I, _, 6, 6>(s, s * s, even, odd), x, x);
    let u = (t - 3.0) / (t + 3.0);
    let even = [
        1.261_695_807_045_811e-6,
        -8.008_815_837_631_508e-6,
        6.406_349_084_713_191e-5,
        -5.970_626_320_981_521e-4,
        4.269_136_366_525_811e-3,
        7.166_583_719_718_65e-2,
        2.456_038_017_123_379_5e-1,
        1.790_011_511_813_899_3e-1,
    ];
    let odd = [
        2.001_738_885_036_939e-6,
        -1.284_158_689_443_1e-5,
        4.525_379_905_441_005e-5,
        7.077_465_003_839_453e-4,
        -2.439_249_931_993_102_6e-2,
        -1.501_159_365_007_652_4e-1,
        -3.262_335_600_430_373e-1,
    ];
    let complement = exp_nonpositive::<I>(-s) * by_parity::<I, _, 8, 7>(u, u * u, even, odd);
    (t < 1.0, small, if t > 6.0 { 0.0 } else { complement })
}

/// Error function.
#[inline(always)]
pub(crate) fn erf<I: Instructions>(x: f64) -> f64 {
    erf_of(x, erf_in_parts::<I>(x))
}

/// `(1 + erf(x / sqrt(2))) / 2`, with an absolute error of 1e-15 at most.
#[inline(always)]
pub(crate) fn normal_cdf<I: Instructions>(x: f64) -> f64 {
    normal_cdf_of(x, erf_in_parts::<I>(x * std::f64::consts::FRAC_1_SQRT_2))
}

/// Pi / 2 in four parts; products of the first three with a number of quarter turns are exact, up to 2^20.
/// From `e_rem_pio2.c` in Sun's fdlibm.
const HALF_PI: [f64; 4] = [
    1.570_796_326_734_125_6,
    6.077_100_506_303_966e-11,
    2.022_266_248_711_166_5e-21,
    8.478_427_660_368_9e-32,
];

/// Are quarter turns taken from this number without loss? Not from NaN.
#[inline(always)]
pub(crate) fn is_reducible(x: f64) -> bool {
    x.abs() < 1_000_000.0
}

/// What is left of a number that [`is_reducible`] without whole quarter turns, and their number.
#[inline(always)]
pub(super) fn reduce<I: Instructions>(x: f64) -> (f64, i64) {
    let (turns, n) = round::<I>(x, std::f64::consts::FRAC_2_PI);
    let mut r = x;
    for part in HALF_PI {
        r = madd::<I, _>(turns, -part, r);
    }
    (r, n)
}

/// Sine and cosine of what [`reduce`] leaves, and the number of quarter turns, with the polynomials of
/// `k_sin.c` and `k_cos.c` in Sun's fdlibm.
#[inline(always)]
fn quarter_turn<I: Instructions>(x: f64) -> (f64, f64, i64) {
    let (r, n) = reduce::<I>(x);
    let z = r * r;
    let w = z * z;
    let even =
        [-2.505_076_025_340_686_3e-8, -1.984_126_982_985_795e-4, -1.666_666_666_666_663_2e-1];
    let odd = [1.589_690_995_211_55e-10, 2.755_731_370_707_006_8e-6, 8.333_333_333_322_49e-3];
    let sine = madd::<I, _>(z * r, by_parity::<I, _, 3, 3>(z, w, even, odd), r);
    let even = [2.087_572_321_298_175e-9, 2.480_158_728_947_673e-5, 4.166_666_666_666_66e-2];
    let odd =
        [-1.135_964_755_778_819_5e-11, -2.755_731_435_139_066_3e-7, -1.388_888_888_887_411e-3];
    let tail = w * by_parity::<I, _, 3, 3>(z, w, even, odd);
    let half = 0.5 * z;
    let near = 1.0 - half;
    // What `near` lost by rounding.
    let cosine = near + ((1.0 - near - half) + tail);
    (sine, cosine, n)
}

/// Sine of a number that [`is_reducible`].
#[inline(always)]
pub(crate) fn sin<I: Instructions>(x: f64) -> f64 {
    let (sine, cosine, n) = quarter_turn::<I>(x);
    let value = turned(sine, cosine, n & 1 != 0, n & 2 != 0);
    // The parts of 0 lose its sign.
    if x == 0.0 { x } else { value }
}

/// Cosine of a number that [`is_reducible`].
#[inline(always)]
pub(crate) fn cos<I: Instructions>(x: f64) -> f64 {
    let (sine, cosine, n) = quarter_turn::<I>(x);
    turned(cosine, sine, n & 1 != 0, n.wrapping_add(1) & 2 != 0)
}

/// `output[i] = x[i] ^ y[i]`, by the library: a logarithm of float64 has not the digits it takes.
#[inline(always)]
pub(crate) fn pow<I: Instructions>(x: &[f64], y: &[f64], output: &mut [f64]) {
    for ((output, &x), &y) in output.iter_mut().zip(x).zip(y) {
        *output = x.powf(y);
    }
}
