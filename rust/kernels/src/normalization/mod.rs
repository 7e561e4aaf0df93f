//! Moments, batch and layer normalisation, and their gradients.
//!
//! Batch normalisation sees arrays as `outer x channels x inner`: channels first with all of space
//! as `inner`, channels last with an `inner` of 1. Means and variances are computed piece by piece,
//! each about its own mean, so that a large mean costs no digits.

mod batch;
mod channels;
mod layer;
mod moments;
pub mod naive;

pub use batch::{batch_norm, batch_norm_gradient};
pub use layer::{layer_norm, layer_norm_gradient, layer_norm_parameter_gradient};
pub use moments::moments;

/// The length of the working memory of [`moments`] and of the gradients to gamma and beta, for an
/// array seen as `outer x channels x inner`.
pub fn scratch_elements(shape: [usize; 3]) -> usize {
    channels::Channels::new(shape).scratch()
}

/// The scale and the shift that follow a normalisation.
///
/// Element `index` of the array takes parameter `index / repeat % parameters`.
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a, T> {
    /// The scales.
    pub gamma: &'a [T],
    /// The shifts, as many.
    pub beta: &'a [T],
    /// How many neighbouring elements share a parameter.
    pub repeat: usize,
}
