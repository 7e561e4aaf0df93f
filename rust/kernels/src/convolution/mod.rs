//! Convolutions over one to three spatial axes, and their gradients.
//!
//! What is computed is the cross-correlation, as everywhere in machine learning. A pass takes its
//! working memory from the caller: [`scratch_elements`] says how much, by the shape alone.

mod accuracy;
mod depthwise;
mod direct;
mod im2col;
pub mod naive;
mod patches;
mod shape;
mod transpose;
mod units;
pub(crate) mod winograd;

use crate::{Float, Isa, Parallel};

pub use shape::ConvolutionShape;

/// The ways to compute a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Windows are copied to a matrix, block by block, and multiplied by the weight. For any shape
    /// with one layout.
    Im2col,
    /// Every channel by itself, for shapes with one input channel per group.
    Depthwise,
    /// Windows are read where they are, from a copy of the input with channels last and a border of
    /// zeros. Not for the gradient to the input of windows that leave gaps.
    Direct,
    /// One product a frequency for all taps: see [`winograd`]. For kernels of 3 x 3 and 5 x 5 whose
    /// windows lie next to one another.
    Winograd,
}

impl Algorithm {
    /// Whether the algorithm can compute a pass over this shape.
    pub fn supports(self, pass: Pass, shape: &ConvolutionShape) -> bool {
        match self {
            Algorithm::Im2col => shape.common_layout() == Some(shape.weight_layout),
            // One input channel makes the weight's two layouts the same.
            Algorithm::Depthwise => shape.group_inputs() == 1 && shape.common_layout().is_some(),
            Algorithm::Direct => direct::supports(pass, shape),
            Algorithm::Winograd => winograd::supports(pass, shape),
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
pub fn choose<T: Float>(isa: Isa, pass: Pass, shape: &ConvolutionShape) -> Algorithm {
    let _ = isa;
    if shape.groups > 1 && Algorithm::Depthwise.supports(pass, shape) {
        Algorithm::Depthwise
    } else if winograd::supports(pass, shape) && winograd::pays::<T>(shape) {
        Algorithm::Winograd
    } else if direct::supports(pass, shape) {
        Algorithm::Direct
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
    match algorithm {
        Algorithm::Im2col => im2col::scratch_elements::<T>(pass, shape),
        Algorithm::Depthwise => depthwise::scratch_elements(pass, shape),
        Algorithm::Direct => direct::scratch_elements::<T>(isa, pass, shape),
        Algorithm::Winograd => winograd::scratch_elements::<T>(isa, pass, shape),
    }
}

/// Panics if a pass cannot run.
fn check<T: Float>(
    isa: Isa,
    algorithm: Algorithm,
    pass: Pass,
    shape: &ConvolutionShape,
    scratch: &[T],
) {
    assert!(algorithm.supports(pass, shape), "{algorithm:?} does not support {shape:?}");
    let needed = scratch_elements::<T>(isa, algorithm, pass, shape);
    let given = scratch.len();
    assert!(given >= needed, "a working memory of {needed} elements is needed, not {given}");
}

/// `output = convolution of input and weight + bias`, then the greater of that and 0 if `relu`.
///
/// # Panics
/// If the sizes do not fit together, the working memory is too short, or the algorithm does not
/// support the shape.
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
    shape.check(input, weight, output);
    check(isa, algorithm, Pass::Forward, shape, scratch);
    let channels = shape.output_channels;
    assert!(bias.is_none_or(|bias| bias.len() == channels), "a bias has one number per channel");
    let run = match algorithm {
        Algorithm::Im2col => im2col::convolution,
        Algorithm::Depthwise => depthwise::convolution,
        Algorithm::Direct => direct::convolution,
        Algorithm::Winograd => winograd::convolution,
    };
    run(isa, parallel, shape, input, weight, bias, relu, output, scratch);
}

/// The gradient to the input of a convolution.
///
/// # Panics
/// As [`convolution`].
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
    shape.check(input_gradient, weight, output_gradient);
    check(isa, algorithm, Pass::InputGradient, shape, scratch);
    let run = match algorithm {
        Algorithm::Im2col => im2col::input_gradient,
        Algorithm::Depthwise => depthwise::input_gradient,
        Algorithm::Direct => direct::input_gradient,
        Algorithm::Winograd => winograd::input_gradient,
    };
    run(isa, parallel, shape, output_gradient, weight, input_gradient, scratch);
}

/// The gradient to the weight of a convolution.
///
/// # Panics
/// As [`convolution`].
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
    shape.check(input, weight_gradient, output_gradient);
    check(isa, algorithm, Pass::WeightGradient, shape, scratch);
    let run = match algorithm {
        Algorithm::Im2col => im2col::weight_gradient,
        Algorithm::Depthwise => depthwise::weight_gradient,
        Algorithm::Direct => direct::weight_gradient,
        Algorithm::Winograd => winograd::weight_gradient,
    };
    run(isa, parallel, shape, input, output_gradient, weight_gradient, scratch);
}
