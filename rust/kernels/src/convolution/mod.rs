//! Convolutions over one to three spatial axes, and their gradients.
//!
//! What is computed is the cross-correlation, as everywhere in machine learning. A pass takes its
//! working memory from the caller: [`scratch_elements`] says how much, by the shape alone.

mod accuracy;
mod depthwise;
mod direct;
mod ends;
mod im2col;
pub mod naive;
mod patches;
mod phases;
mod shape;
mod transpose;
mod units;
pub(crate) mod winograd;

use crate::window::Layout;
use crate::{Float, Isa, Parallel};

pub use ends::{Source, Target};
pub use im2col::is_product_by_images;
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
    /// zeros. Not for all gradients to the input of windows that leave gaps: its channels must lie last, and
    /// the padding be no longer than a window less its stride.
    Direct,
    /// One product a frequency for all taps, with tiles of 6 x 6: see [`winograd`]. For kernels of
    /// 3 x 3 and 5 x 5 whose windows lie next to one another.
    Winograd6,
    /// The same with tiles of 8 x 8, for 5 x 5: fewer products, larger rounding errors.
    Winograd8,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 5] = [
        Algorithm::Im2col,
        Algorithm::Depthwise,
        Algorithm::Direct,
        Algorithm::Winograd6,
        Algorithm::Winograd8,
    ];

    /// About how much longer the algorithm takes for a pass over a shape, which it supports, than the
    /// direct one for a large shape.
    fn cost<T: Float>(self, isa: Isa, pass: Pass, shape: &ConvolutionShape) -> f64 {
        match (self, pass) {
            (Algorithm::Direct, _) => direct::cost::<T>(isa, pass, shape),
            (Algorithm::Im2col, _) => im2col::cost(pass, shape),
            (Algorithm::Depthwise, _) if shape.groups > 1 => 0.0,
            // One input channel for all outputs, which are summed one by one.
            (Algorithm::Depthwise, Pass::InputGradient) => 50.0,
            (Algorithm::Depthwise, _) => 3.0,
            // A product takes longer, the more so the larger the tile: there are the transforms too.
            (Algorithm::Winograd6, _) => 1.6 * winograd::products::<T, 6>(pass, shape),
            // Double precision is for sharp results, in which equal maxima of a pool stay equal.
            (Algorithm::Winograd8, _) if size_of::<T>() > size_of::<f32>() => f64::INFINITY,
            (Algorithm::Winograd8, _) => 1.9 * winograd::products::<T, 8>(pass, shape),
        }
    }

    /// Whether the algorithm can compute a pass over this shape.
    pub fn supports(self, pass: Pass, shape: &ConvolutionShape) -> bool {
        match self {
            Algorithm::Im2col => shape.common_layout() == Some(shape.weight_layout),
            // One input channel makes the weight's two layouts the same.
            Algorithm::Depthwise => shape.group_inputs() == 1 && shape.common_layout().is_some(),
            Algorithm::Direct => direct::supports(pass, shape),
            Algorithm::Winograd6 => winograd::supports(6, pass, shape),
            Algorithm::Winograd8 => winograd::supports(8, pass, shape),
        }
    }

    /// Whether a pass that the algorithm supports can write to a max pool ([`Target::Pooled`]), or read the
    /// gradient of one ([`Source::Unpooled`]).
    pub fn pools<T: Float>(self, isa: Isa, pass: Pass, shape: &ConvolutionShape) -> bool {
        shape.output_layout == Layout::ChannelsLast
            && shape.groups == 1
            && match self {
                Algorithm::Im2col | Algorithm::Depthwise => false,
                Algorithm::Direct => direct::pools::<T>(isa, pass, shape),
                Algorithm::Winograd6 => winograd::pools::<T, 6>(isa, pass, shape),
                Algorithm::Winograd8 => winograd::pools::<T, 8>(isa, pass, shape),
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

/// The algorithm for a pass over this shape: the fastest one of those that are wanted, or else of all,
/// whose [`Algorithm::error_ratio`] is within the limit.
pub fn choose<T: Float>(
    isa: Isa,
    pass: Pass,
    shape: &ConvolutionShape,
    wanted: &[Algorithm],
    limit: f64,
) -> Algorithm {
    let fits = |algorithm: &Algorithm| {
        algorithm.supports(pass, shape) && algorithm.error_ratio(pass, shape) <= limit
    };
    let fastest = |among: &[Algorithm]| {
        let costs = among.iter().copied().filter(fits).map(|a| (a, a.cost::<T>(isa, pass, shape)));
        costs.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(algorithm, _)| algorithm)
    };
    fastest(wanted).or_else(|| fastest(&Algorithm::ALL)).unwrap_or(Algorithm::Im2col)
}

/// The length of the working memory that a pass needs, which writes to a pool or reads from one if
/// `pooled`.
pub fn scratch_elements<T: Float>(
    isa: Isa,
    algorithm: Algorithm,
    pass: Pass,
    shape: &ConvolutionShape,
    pooled: bool,
) -> usize {
    match algorithm {
        Algorithm::Im2col => im2col::scratch_elements::<T>(pass, shape),
        Algorithm::Depthwise => depthwise::scratch_elements(pass, shape),
        Algorithm::Direct => direct::scratch_elements::<T>(isa, pass, shape, pooled),
        Algorithm::Winograd6 => winograd::scratch_elements::<T, 6>(isa, pass, shape, pooled),
        Algorithm::Winograd8 => winograd::scratch_elements::<T, 8>(isa, pass, shape, pooled),
    }
}

/// Panics if a pass cannot run.
fn check<T: Float>(
    isa: Isa,
    algorithm: Algorithm,
    pass: Pass,
    shape: &ConvolutionShape,
    pooled: bool,
    scratch: &[T],
) {
    assert!(algorithm.supports(pass, shape), "{algorithm:?} does not support {shape:?}");
    let pools = !pooled || algorithm.pools::<T>(isa, pass, shape);
    assert!(pools, "{algorithm:?} does not pool {shape:?}");
    let needed = scratch_elements::<T>(isa, algorithm, pass, shape, pooled);
    let given = scratch.len();
    assert!(given >= needed, "a working memory of {needed} elements is needed, not {given}");
}

/// `output = convolution of input and weight + bias`, then the greater of that and 0 if `relu`.
///
/// # Panics
/// If the sizes do not fit together, the working memory is too short, or the algorithm does not
/// support the shape, or the pool that the output goes to.
pub fn convolution<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    algorithm: Algorithm,
    shape: &ConvolutionShape,
    input: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    relu: bool,
    output: Target<T>,
    scratch: &mut [T],
) {
    shape.check_operands(input, weight);
    output.check(shape);
    check(isa, algorithm, Pass::Forward, shape, output.is_pooled(), scratch);
    let channels = shape.output_channels;
    assert!(bias.is_none_or(|bias| bias.len() == channels), "a bias has one number per channel");
    let by_array = match algorithm {
        Algorithm::Im2col => im2col::convolution,
        Algorithm::Depthwise => depthwise::convolution,
        Algorithm::Direct | Algorithm::Winograd6 | Algorithm::Winograd8 => {
            let run = match algorithm {
                Algorithm::Winograd6 => winograd::convolution::<T, 6>,
                Algorithm::Winograd8 => winograd::convolution::<T, 8>,
                _ => direct::convolution,
            };
            return run(isa, parallel, shape, input, weight, bias, relu, output, scratch);
        }
    };
    let Target::Array(output) = output else { unreachable!("the algorithm does not pool") };
    by_array(isa, parallel, shape, input, weight, bias, relu, output, scratch);
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
    output_gradient: Source<T>,
    weight: &[T],
    input_gradient: &mut [T],
    scratch: &mut [T],
) {
    shape.check_operands(input_gradient, weight);
    output_gradient.check(shape);
    check(isa, algorithm, Pass::InputGradient, shape, output_gradient.is_pooled(), scratch);
    let by_array = match algorithm {
        Algorithm::Im2col => im2col::input_gradient,
        Algorithm::Depthwise => depthwise::input_gradient,
        Algorithm::Direct | Algorithm::Winograd6 | Algorithm::Winograd8 => {
            let run = match algorithm {
                Algorithm::Winograd6 => winograd::input_gradient::<T, 6>,
                Algorithm::Winograd8 => winograd::input_gradient::<T, 8>,
                _ => direct::input_gradient,
            };
            return run(isa, parallel, shape, output_gradient, weight, input_gradient, scratch);
        }
    };
    let Source::Array(dy) = output_gradient else { unreachable!("the algorithm does not pool") };
    by_array(isa, parallel, shape, dy, weight, input_gradient, scratch);
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
    output_gradient: Source<T>,
    weight_gradient: &mut [T],
    scratch: &mut [T],
) {
    shape.check_operands(input, weight_gradient);
    output_gradient.check(shape);
    check(isa, algorithm, Pass::WeightGradient, shape, output_gradient.is_pooled(), scratch);
    let by_array = match algorithm {
        Algorithm::Im2col => im2col::weight_gradient,
        Algorithm::Depthwise => depthwise::weight_gradient,
        Algorithm::Direct | Algorithm::Winograd6 | Algorithm::Winograd8 => {
            let run = match algorithm {
                Algorithm::Winograd6 => winograd::weight_gradient::<T, 6>,
                Algorithm::Winograd8 => winograd::weight_gradient::<T, 8>,
                _ => direct::weight_gradient,
            };
            return run(isa, parallel, shape, input, output_gradient, weight_gradient, scratch);
        }
    };
    let Source::Array(dy) = output_gradient else { unreachable!("the algorithm does not pool") };
    by_array(isa, parallel, shape, input, dy, weight_gradient, scratch);
}
