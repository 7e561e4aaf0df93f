//! Functions of float64 that need loops or branches, one argument at a time.

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
    std::f64::consts::FRAC_2_SQRT_PI * exp_minus_square(x) * sum
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
