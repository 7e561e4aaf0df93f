//! Batch and layer normalisation, their gradients, and moments.
//!
//! Batch normalisation sees arrays as `outer x channels x inner`. Means and variances are computed
//! piece by piece, each about its own mean, so that a large mean costs no digits.

pub mod naive;

use crate::{Float, Isa, Parallel};

/// The scale and the shift that follow a normalisation.
///
/// Element `index` of the array takes parameter `index / repeat % parameters`.
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a, T> {
    /// The scales, 1 if absent.
    pub gamma: Option<&'a [T]>,
    /// The shifts, 0 if absent.
    pub beta: Option<&'a [T]>,
    /// How many neighbouring elements share a parameter.
    pub repeat: usize,
}

impl<T: Float> Affine<'_, T> {
    fn gamma_at(&self, index: usize) -> T {
        self.gamma.map_or(T::ONE, |gamma| gamma[index / self.repeat % gamma.len()])
    }

    fn beta_at(&self, index: usize) -> T {
        self.beta.map_or(T::ZERO, |beta| beta[index / self.repeat % beta.len()])
    }
}

/// The length of the working memory of [`moments`] and [`batch_norm_statistics`] (with a `batch` of
/// 1).
pub fn moments_scratch([batch, outer, channels, inner]: [usize; 4]) -> usize {
    let _ = (batch, outer, channels, inner);
    0
}

/// The mean and the biased variance over the second and the fourth dimension of `x`, seen as
/// `batch x outer x channels x inner`.
///
/// # Panics
/// If the sizes do not fit together.
pub fn moments<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    shape: [usize; 4],
    x: &[T],
    mean: &mut [T],
    variance: &mut [T],
    scratch: &mut [T],
) {
    let _ = (isa, parallel, scratch);
    naive::moments(shape, x, mean, variance);
}

/// The mean and the biased variance of each channel.
///
/// # Panics
/// If the sizes do not fit together.
pub fn batch_norm_statistics<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    outer: usize,
    channels: usize,
    inner: usize,
    x: &[T],
    mean: &mut [T],
    variance: &mut [T],
    scratch: &mut [T],
) {
    moments(isa, parallel, [1, outer, channels, inner], x, mean, variance, scratch);
}

/// `y = (x - mean) / sqrt(variance + epsilon) * gamma + beta + addend`, then the greater of that and
/// 0 if `relu`.
///
/// # Panics
/// If the sizes do not fit together.
pub fn batch_norm_apply<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    outer: usize,
    channels: usize,
    inner: usize,
    x: &[T],
    mean: &[T],
    variance: &[T],
    gamma: &[T],
    beta: &[T],
    epsilon: T,
    addend: Option<&[T]>,
    relu: bool,
    y: &mut [T],
) {
    let _ = (isa, parallel, outer);
    let parameters = [mean, variance, gamma, beta];
    naive::batch_norm_apply([channels, inner], x, parameters, epsilon, addend, relu, y);
}

/// The length of the working memory of [`batch_norm_gradient`], [`batch_norm_fixed_gradient`].
pub fn batch_norm_gradient_scratch(outer: usize, channels: usize, inner: usize) -> usize {
    moments_scratch([1, outer, channels, inner])
}

/// The gradient of a batch normalisation whose mean and variance are those of `x`.
///
/// # Panics
/// If the sizes do not fit together.
pub fn batch_norm_gradient<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    outer: usize,
    channels: usize,
    inner: usize,
    x: &[T],
    dy: &[T],
    mean: &[T],
    variance: &[T],
    gamma: &[T],
    epsilon: T,
    dx: &mut [T],
    dgamma: &mut [T],
    dbeta: &mut [T],
    scratch: &mut [T],
) {
    let _ = (isa, parallel, outer, scratch);
    let statistics = [mean, variance, gamma];
    let gradients = [dx, dgamma, dbeta];
    naive::batch_norm_gradient([channels, inner], x, dy, statistics, epsilon, false, gradients);
}

/// The gradient of a batch normalisation whose mean and variance do not depend on `x`.
///
/// # Panics
/// If the sizes do not fit together.
pub fn batch_norm_fixed_gradient<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    outer: usize,
    channels: usize,
    inner: usize,
    x: &[T],
    dy: &[T],
    mean: &[T],
    variance: &[T],
    gamma: &[T],
    epsilon: T,
    dx: &mut [T],
    dgamma: &mut [T],
    dbeta: &mut [T],
    scratch: &mut [T],
) {
    let _ = (isa, parallel, outer, scratch);
    let statistics = [mean, variance, gamma];
    let gradients = [dx, dgamma, dbeta];
    naive::batch_norm_gradient([channels, inner], x, dy, statistics, epsilon, true, gradients);
}

/// `y = (x - mean) * inverse_deviation * gamma + beta` with each row's own mean and
/// `inverse_deviation = 1 / sqrt(variance + epsilon)`, which are results too.
///
/// # Panics
/// If the sizes do not fit together.
pub fn layer_norm<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    rows: usize,
    row_length: usize,
    x: &[T],
    affine: Affine<T>,
    epsilon: T,
    y: &mut [T],
    mean: &mut [T],
    inverse_deviation: &mut [T],
) {
    let _ = (isa, parallel, rows);
    naive::layer_norm(row_length, x, affine, epsilon, y, mean, inverse_deviation);
}

/// The gradient of [`layer_norm`] to `x`; `affine.beta` does not matter.
///
/// # Panics
/// If the sizes do not fit together.
pub fn layer_norm_gradient<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    rows: usize,
    row_length: usize,
    x: &[T],
    dy: &[T],
    mean: &[T],
    inverse_deviation: &[T],
    affine: Affine<T>,
    dx: &mut [T],
) {
    let _ = (isa, parallel, rows);
    naive::layer_norm_gradient(row_length, x, dy, [mean, inverse_deviation], affine, dx);
}

/// The length of the working memory of [`layer_norm_parameter_gradient`].
pub fn layer_norm_parameter_gradient_scratch(
    elements: usize,
    parameters: usize,
    repeat: usize,
) -> usize {
    moments_scratch([1, elements / (parameters * repeat).max(1), parameters, repeat])
}

/// The gradients of [`layer_norm`] to its parameters, which are shared as in [`Affine`].
///
/// # Panics
/// If the sizes do not fit together.
pub fn layer_norm_parameter_gradient<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    rows: usize,
    row_length: usize,
    repeat: usize,
    x: &[T],
    dy: &[T],
    mean: &[T],
    inverse_deviation: &[T],
    dgamma: &mut [T],
    dbeta: &mut [T],
    scratch: &mut [T],
) {
    let _ = (isa, parallel, rows, scratch);
    let statistics = [mean, inverse_deviation];
    naive::layer_norm_parameter_gradient(row_length, repeat, x, dy, statistics, [dgamma, dbeta]);
}
