//! The slow, obvious version: the specification that the tests hold the fast one to.

use super::Affine;
use crate::{Element, Float};

/// See [`super::moments`].
pub fn moments<T: Float>(
    [outer, channels, inner]: [usize; 3],
    x: &[T],
    mean: &mut [T],
    variance: &mut [T],
) {
    let count: T = ((outer * inner) as f64).cast();
    for channel in 0..channels {
        let element = |i: usize| x[(i / inner * channels + channel) * inner + i % inner];
        let values = || (0..outer * inner).map(element);
        mean[channel] = values().sum::<T>() / count;
        let deviations = values().map(|value| value - mean[channel]);
        variance[channel] = deviations.map(|deviation| deviation * deviation).sum::<T>() / count;
    }
}

/// See [`super::batch_norm`].
pub fn batch_norm<T: Float>(
    [channels, inner]: [usize; 2],
    x: &[T],
    [mean, variance, gamma, beta]: [&[T]; 4],
    epsilon: T,
    addend: Option<&[T]>,
    relu: bool,
    y: &mut [T],
) {
    for (index, y) in y.iter_mut().enumerate() {
        let c = index / inner % channels;
        let mut value = (x[index] - mean[c]) / (variance[c] + epsilon).sqrt() * gamma[c] + beta[c];
        value += addend.map_or(T::ZERO, |addend| addend[index]);
        *y = if relu && value < T::ZERO { T::ZERO } else { value };
    }
}

/// See [`super::batch_norm_gradient`].
pub fn batch_norm_gradient<T: Float>(
    [channels, inner]: [usize; 2],
    x: &[T],
    dy: &[T],
    [mean, variance, gamma]: [&[T]; 3],
    epsilon: T,
    fixed: bool,
    [dx, dgamma, dbeta]: [&mut [T]; 3],
) {
    let channel = |index: usize| index / inner % channels;
    let normalized = |index: usize| {
        let c = channel(index);
        (x[index] - mean[c]) / (variance[c] + epsilon).sqrt()
    };
    dgamma.fill(T::ZERO);
    dbeta.fill(T::ZERO);
    for (index, &dy) in dy.iter().enumerate() {
        dgamma[channel(index)] += dy * normalized(index);
        dbeta[channel(index)] += dy;
    }
    let count: T = ((x.len() / channels) as f64).cast();
    for (index, dx) in dx.iter_mut().enumerate() {
        let c = channel(index);
        let mean_terms = (dbeta[c] + normalized(index) * dgamma[c]) / count;
        let centred = if fixed { dy[index] } else { dy[index] - mean_terms };
        *dx = gamma[c] / (variance[c] + epsilon).sqrt() * centred;
    }
}

/// See [`super::layer_norm`].
pub fn layer_norm<T: Float>(
    row_length: usize,
    x: &[T],
    affine: Affine<T>,
    epsilon: T,
    y: &mut [T],
    mean: &mut [T],
    inverse_deviation: &mut [T],
) {
    let mut variance = vec![T::ZERO; mean.len()];
    moments([1, mean.len(), row_length], x, mean, &mut variance);
    for (row, &variance) in variance.iter().enumerate() {
        inverse_deviation[row] = T::ONE / (variance + epsilon).sqrt();
    }
    for (index, y) in y.iter_mut().enumerate() {
        let row = index / row_length;
        let normalized = (x[index] - mean[row]) * inverse_deviation[row];
        let parameter = index / affine.repeat % affine.gamma.len();
        *y = normalized * affine.gamma[parameter] + affine.beta[parameter];
    }
}

/// See [`super::layer_norm_gradient`].
pub fn layer_norm_gradient<T: Float>(
    row_length: usize,
    x: &[T],
    dy: &[T],
    [mean, inverse_deviation]: [&[T]; 2],
    gamma: &[T],
    repeat: usize,
    dx: &mut [T],
) {
    let count: T = (row_length as f64).cast();
    for (row, (&mean, &inverse)) in mean.iter().zip(inverse_deviation).enumerate() {
        let elements = row * row_length..(row + 1) * row_length;
        let normalized = |index: usize| (x[index] - mean) * inverse;
        let scaled = |index: usize| dy[index] * gamma[index / repeat % gamma.len()];
        let sum: T = elements.clone().map(scaled).sum();
        let dot: T = elements.clone().map(|index| scaled(index) * normalized(index)).sum();
        for index in elements {
            dx[index] = inverse * (scaled(index) - (sum + normalized(index) * dot) / count);
        }
    }
}

/// See [`super::layer_norm_parameter_gradient`].
pub fn layer_norm_parameter_gradient<T: Float>(
    row_length: usize,
    repeat: usize,
    x: &[T],
    dy: &[T],
    [mean, inverse_deviation]: [&[T]; 2],
    [dgamma, dbeta]: [&mut [T]; 2],
) {
    dgamma.fill(T::ZERO);
    dbeta.fill(T::ZERO);
    for (index, &dy) in dy.iter().enumerate() {
        let (row, parameter) = (index / row_length, index / repeat % dgamma.len());
        dgamma[parameter] += dy * (x[index] - mean[row]) * inverse_deviation[row];
        dbeta[parameter] += dy;
    }
}
