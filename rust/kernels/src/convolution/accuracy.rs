//! How exact the algorithms are.

use super::{Algorithm, ConvolutionShape, Pass};

/// Products from which on the sums of a weight's gradient are long enough for the rounding of the
/// transforms not to matter beside that of a plain sum.
const LONG_SUM: usize = 2048;
/// Products below which it matters most: a plain sum of so few is nearly exact.
const SHORT_SUM: usize = 128;

impl Algorithm {
    /// How many times the largest error of a plain sum (the float32 products added up one after
    /// another, as [`naive`](super::naive) does) the largest error of this algorithm may be on the
    /// same input. The tests hold each bound.
    pub fn error_ratio(self, pass: Pass, shape: &ConvolutionShape) -> f64 {
        let products = shape.batch * shape.output_pixels();
        match (self, pass) {
            (Algorithm::Im2col | Algorithm::Depthwise | Algorithm::Direct, _) => 2.0,
            (Algorithm::Winograd6, Pass::Forward | Pass::InputGradient) => match shape.kernel[1] {
                5 => 2.5,
                _ => 6.0,
            },
            (Algorithm::Winograd8, Pass::Forward | Pass::InputGradient) => 12.0,
            (Algorithm::Winograd8, Pass::WeightGradient) => match products {
                LONG_SUM.. => 6.0,
                SHORT_SUM.. => 12.0,
                _ => 64.0,
            },
            (Algorithm::Winograd6, Pass::WeightGradient) => match products {
                LONG_SUM.. => 2.5,
                SHORT_SUM.. => 12.0,
                _ => 24.0,
            },
        }
    }
}
