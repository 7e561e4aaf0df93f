//! Batch and layer normalisation, their gradients, and moments.
//!
//! Batch normalisation sees arrays as `outer x channels x inner`. Means and variances are computed
//! piece by piece, each about its own mean, so that a large mean costs no digits.

mod batch;
mod channels;
mod layer;
mod moments;
pub mod naive;

use crate::Float;

pub use batch::{
    batch_norm_apply, batch_norm_fixed_gradient, batch_norm_gradient, batch_norm_gradient_scratch,
};
pub use layer::{
    layer_norm, layer_norm_gradient, layer_norm_parameter_gradient,
    layer_norm_parameter_gradient_scratch,
};
pub use moments::{batch_norm_statistics, moments, moments_scratch};


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
