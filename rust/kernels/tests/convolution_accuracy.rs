//! How exact each algorithm for convolutions is: its largest error in float32, compared with that of
//! a plain sum on the same input.

mod common;

use common::Numbers;
use flowrs_kernels::convolution::{
    Algorithm, ConvolutionShape, Pass, Source, Target, convolution, convolution_input_gradient,
    convolution_weight_gradient, naive, scratch_elements,
};
use flowrs_kernels::{Element, Float, Isa, Layout, Serial};

/// A convolution over square images that keeps their size.
fn square(batch: usize, channels: [usize; 2], size: usize, kernel: usize) -> ConvolutionShape {
    let plane = |size| [1, size, size];
    let channels = [channels[0], channels[1], 1];
    let padding = [0, kernel / 2, kernel / 2];
    let (one, size, kernel) = ([1; 3], plane(size), plane(kernel));
    let last = Layout::ChannelsLast;
    ConvolutionShape::new(batch, channels, size, kernel, one, one, padding, size, last)
        .expect("sizes that fit together")
}

/// The same with every second window.
fn by_two(shape: ConvolutionShape) -> ConvolutionShape {
    let [depth, height, width] = shape.output;
    let output = [depth, height.div_ceil(2), width.div_ceil(2)];
    ConvolutionShape { stride: [1, 2, 2], output, ..shape }
}

/// The operands of a convolution.
struct Case {
    shape: ConvolutionShape,
    input: Vec<f32>,
    weight: Vec<f32>,
    output_gradient: Vec<f32>,
}

impl Case {
    fn new(shape: ConvolutionShape, seed: u64) -> Self {
        let mut numbers = Numbers::new(seed);
        let input = numbers.f32s(shape.input_elements());
        let weight = numbers.f32s(shape.weight_elements());
        let output_gradient = numbers.f32s(shape.output_elements());
        Self { shape, input, weight, output_gradient }
    }

    /// What the naive twin gives, computed in `T`.
    fn naive<T: Float>(&self, pass: Pass) -> Vec<T> {
        let cast = |values: &[f32]| -> Vec<T> { values.iter().map(|x| x.cast()).collect() };
        let (x, w) = (cast(&self.input), cast(&self.weight));
        let dy = cast(&self.output_gradient);
        let mut result = vec![T::ZERO; self.length(pass)];
        match pass {
            Pass::Forward => naive::convolution(&self.shape, &x, &w, None, false, &mut result),
            Pass::InputGradient => {
                naive::convolution_input_gradient(&self.shape, &dy, &w, &mut result);
            }
            Pass::WeightGradient => {
                naive::convolution_weight_gradient(&self.shape, &x, &dy, &mut result);
            }
        }
        result
    }

    fn length(&self, pass: Pass) -> usize {
        match pass {
            Pass::Forward => self.output_gradient.len(),
            Pass::InputGradient => self.input.len(),
            Pass::WeightGradient => self.weight.len(),
        }
    }

    fn run(&self, isa: Isa, algorithm: Algorithm, pass: Pass) -> Vec<f32> {
        let (shape, parallel) = (&self.shape, &Serial);
        let (x, w, dy) = (&self.input, &self.weight, &self.output_gradient);
        let scratch = &mut vec![0.0; scratch_elements::<f32>(isa, algorithm, pass, shape, false)];
        let mut result = vec![0.0; self.length(pass)];
        let (to, dy) = (&mut result[..], Source::Array(dy));
        match pass {
            Pass::Forward => {
                let to = Target::Array(to);
                convolution(isa, parallel, algorithm, shape, x, w, None, false, to, scratch);
            }
            Pass::InputGradient => {
                convolution_input_gradient(isa, parallel, algorithm, shape, dy, w, to, scratch);
            }
            Pass::WeightGradient => {
                convolution_weight_gradient(isa, parallel, algorithm, shape, x, dy, to, scratch);
            }
        }
        result
    }
}

/// The largest error, as a part of the largest element.
fn largest_error(got: &[f32], exact: &[f64]) -> f64 {
    let largest = exact.iter().fold(0f64, |largest, exact| largest.max(exact.abs()));
    let errors = got.iter().zip(exact).map(|(got, exact)| (f64::from(*got) - exact).abs());
    errors.fold(0f64, f64::max) / largest
}

/// Short and long sums, few and many channels.
fn shapes(kernel: usize) -> Vec<ConvolutionShape> {
    vec![
        square(1, [16, 16], 5, kernel),
        square(2, [32, 64], 14, kernel),
        square(3, [16, 32], 8, kernel),
        square(1, [128, 32], 8, kernel),
        square(11, [16, 16], 14, kernel),
        square(9, [96, 128], 4, kernel),
        square(2, [96, 2], 14, kernel),
        by_two(square(2, [32, 64], 14, kernel)),
        by_two(square(1, [64, 16], 8, kernel)),
    ]
}

const ALGORITHMS: [Algorithm; 4] =
    [Algorithm::Im2col, Algorithm::Direct, Algorithm::Winograd6, Algorithm::Winograd8];

#[test]
fn every_algorithm_keeps_its_error_ratio() {
    for shape in [3, 5].into_iter().flat_map(shapes) {
        let case = &Case::new(shape, 7);
        for pass in [Pass::Forward, Pass::InputGradient, Pass::WeightGradient] {
            let exact = case.naive::<f64>(pass);
            let plain = largest_error(&case.naive::<f32>(pass), &exact);
            for isa in Isa::available() {
                for algorithm in ALGORITHMS {
                    if !algorithm.supports(pass, &shape) {
                        continue;
                    }
                    let error = largest_error(&case.run(isa, algorithm, pass), &exact);
                    let (ratio, bound) = (error / plain, algorithm.error_ratio(pass, &shape));
                    let what = format!("{isa:?} {algorithm:?} {pass:?} {shape:?}");
                    assert!(ratio <= bound, "{what}: {ratio} times the error of a plain sum");
                    assert!(error < 1e-5, "{what}: {error} of the largest element");
                }
            }
        }
    }
}
