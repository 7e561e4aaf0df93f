//! Convolutions over one to three spatial axes, and their gradients.
//!
//! What is computed is the cross-correlation, as everywhere in machine learning. A pass takes its
//! working memory from the caller: [`scratch_elements`] says how much, by the shape alone.

pub mod naive;
mod shape;

use crate::{Float, Isa, Parallel};

pub use shape::ConvolutionShape;

/// The ways to compute a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Windows are copied to a matrix, block by block, and multiplied by the weight. For any shape.
    Im2col,
    /// Every channel by itself, for shapes with one input channel per group.
    Depthwise,
}

impl Algorithm {
    /// Whether the algorithm can compute convolutions of this shape.
    pub fn supports(self, shape: &ConvolutionShape) -> bool {
        match self {
            Algorithm::Im2col => true,
            Algorithm::Depthwise => shape.group_inputs() == 1,
        }
    }
}

/// What is computed of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pass {
    /// The output.
    Forward,
    /// The gradient to the input.
    InputGradient,
    /// The gradient to the weight.
    WeightGradient,
}

/// The fastest algorithm for a pass over this shape.
pub fn choose(isa: Isa, pass: Pass, shape: &ConvolutionShape) -> Algorithm {
    let _ = (isa, pass);
    if shape.group_inputs() == 1 && shape.groups > 1 {
        Algorithm::Depthwise
    } else {
        Algorithm::Im2col
    }
}

/// The length of the working memory that a pass needs.
pub fn scratch_elements<T: Float>(
    isa: Isa,
    algorithm: Algorithm,
    pass: Pass,
    shape: &ConvolutionShape,
) -> usize {
    let _ = (isa, algorithm, pass, shape);
    0
}

/// `output = convolution of input and weight + bias`, then the greater of that and 0 if `relu`.
///
/// # Panics
/// If the sizes do not fit together, or the algorithm does not support the shape.
pub fn convolution<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    algorithm: Algorithm,
    shape: &ConvolutionShape,
    input: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    relu: bool,
    output: &mut [T],
    scratch: &mut [T],
) {
    let _ = (isa, parallel, algorithm, scratch);
    naive::convolution(shape, input, weight, bias, relu, output);
}

/// The gradient to the input of a convolution.
///
/// # Panics
/// If the sizes do not fit together, or the algorithm does not support the shape.
pub fn convolution_input_gradient<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    algorithm: Algorithm,
    shape: &ConvolutionShape,
    output_gradient: &[T],
    weight: &[T],
    input_gradient: &mut [T],
    scratch: &mut [T],
) {
    let _ = (isa, parallel, algorithm, scratch);
    naive::convolution_input_gradient(shape, output_gradient, weight, input_gradient);
}

/// The gradient to the weight of a convolution.
///
/// # Panics
/// If the sizes do not fit together, or the algorithm does not support the shape.
pub fn convolution_weight_gradient<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    algorithm: Algorithm,
    shape: &ConvolutionShape,
    input: &[T],
    output_gradient: &[T],
    weight_gradient: &mut [T],
    scratch: &mut [T],
) {
    let _ = (isa, parallel, algorithm, scratch);
    naive::convolution_weight_gradient(shape, input, output_gradient, weight_gradient);
}
