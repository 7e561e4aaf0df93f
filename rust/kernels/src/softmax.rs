//! Softmax and its logarithm along one dimension, and their gradients.
//!
//! Arrays are seen as `outer x depth x inner`; the kernels work along the middle dimension.

use crate::{Float, Isa, Parallel, naive};

/// `output = exp(input) / sum(exp(input))`.
///
/// # Panics
/// If the sizes do not fit together.
pub fn softmax<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    outer: usize,
    depth: usize,
    inner: usize,
    input: &[T],
    output: &mut [T],
) {
    let _ = (isa, parallel);
    naive::softmax(outer, depth, inner, input, output);
}

/// `output = input - log(sum(exp(input)))`.
///
/// # Panics
/// If the sizes do not fit together.
pub fn log_softmax<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    outer: usize,
    depth: usize,
    inner: usize,
    input: &[T],
    output: &mut [T],
) {
    let _ = (isa, parallel);
    naive::log_softmax(outer, depth, inner, input, output);
}

/// The gradient of a softmax whose result was `y`: `dx = y * (dy - sum(y * dy))`.
///
/// # Panics
/// If the sizes do not fit together.
pub fn softmax_gradient<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    outer: usize,
    depth: usize,
    inner: usize,
    y: &[T],
    dy: &[T],
    dx: &mut [T],
) {
    let _ = (isa, parallel);
    naive::softmax_gradient(outer, depth, inner, y, dy, dx);
}

/// The gradient of a log-softmax whose result was `y`: `dx = dy - exp(y) * sum(dy)`.
///
/// # Panics
/// If the sizes do not fit together.
pub fn log_softmax_gradient<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    outer: usize,
    depth: usize,
    inner: usize,
    y: &[T],
    dy: &[T],
    dx: &mut [T],
) {
    let _ = (isa, parallel);
    naive::log_softmax_gradient(outer, depth, inner, y, dy, dx);
}
