//! Special functions.
pub(crate) fn erf_f64(_: f64) -> f64 {
    f64::NAN
}
pub(crate) fn erfc_f64(_: f64) -> f64 {
    f64::NAN
}
pub(crate) fn lgamma_f64(_: f64) -> f64 {
    f64::NAN
}

/// `a - floor(a / b) * b`, with the sign of `b`.
pub(crate) fn floor_mod_f64(a: f64, b: f64) -> f64 {
    let remainder = a % b;
    if remainder != 0.0 && (remainder < 0.0) != (b < 0.0) { remainder + b } else { remainder }
}
