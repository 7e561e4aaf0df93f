//! The tiles of a convolution: windows of the input, and squares of the output.

use super::super::ConvolutionShape;
use super::super::direct::{Input, Part};
use super::ALIGNMENT;
use super::transform::{Finish, Kind, Strip, transform};
use crate::parallel::Parts;
use crate::{Float, Isa};

/// Tiles of `SIDE` x `SIDE` elements of the input.
#[derive(Clone, Copy)]
pub(super) struct Tiles<const SIDE: usize> {
    /// Elements of the output along one axis.
    pub(super) outputs: usize,
    /// A convolution with the tiles as its windows: one output for each.
    pub(super) grid: ConvolutionShape,
}

impl<const SIDE: usize> Tiles<SIDE> {
    /// Elements of a transformed tile.
    pub(super) const FREQUENCIES: usize = SIDE * SIDE;

    /// The tiles of a convolution with square kernels of fewer elements than a tile's side.
    pub(super) fn new(shape: &ConvolutionShape) -> Self {
        let outputs = SIDE + 1 - shape.kernel[1];
        let [_, height, width] = shape.output;
        let grid = ConvolutionShape {
            kernel: [1, SIDE, SIDE],
            stride: [1, outputs, outputs],
            output: [1, height.div_ceil(outputs), width.div_ceil(outputs)],
            ..*shape
        };
        Tiles { outputs, grid }
    }

    /// Elements of a kernel along one axis.
    pub(super) fn taps(self) -> usize {
        SIDE + 1 - self.outputs
    }

    /// The distance of frequencies of so many tiles' vectors.
    pub(super) fn frequency(tiles: usize, channels: usize) -> usize {
        (tiles * channels).next_multiple_of(ALIGNMENT) + ALIGNMENT
    }

    /// The distances of frequencies along the two axes of a transformed tile.
    pub(super) fn frequencies(frequency: usize) -> [usize; 2] {
        [SIDE * frequency, frequency]
    }

    /// A block's part of the output.
    pub(super) fn pixels(self, shape: &ConvolutionShape, part: &Part) -> Part {
        let mut outputs = part.outputs.clone();
        for (axis, range) in outputs.iter_mut().enumerate().skip(1) {
            *range = range.start * self.outputs..shape.output[axis].min(range.end * self.outputs);
        }
        Part { images: part.images.clone(), outputs }
    }

    /// The rows of an image's tiles in a block whose part of the output is `pixels`: for each the number
    /// of the first tile, the first of its rows of pixels, and how many rows and columns of them it has.
    pub(super) fn rows(
        self,
        part: &Part,
        pixels: &Part,
    ) -> impl Iterator<Item = (usize, usize, [usize; 2])> + use<SIDE> {
        let ([_, rows, columns], [_, height, width]) = (part.sizes(), pixels.sizes());
        (0..rows).map(move |row| {
            let first = row * self.outputs;
            (row * columns, first, [(height - first).min(self.outputs), width])
        })
    }

    /// Transforms the tiles below a block to vectors by frequency, then tile.
    pub(super) fn transform_input<T: Float>(
        self,
        isa: Isa,
        part: &Part,
        input: &Input<T>,
        frequency: usize,
        vectors: &mut [T],
    ) {
        let channels = self.grid.input_channels;
        let [_, rows, columns] = part.sizes();
        let step = [self.outputs * input.strides[2], channels];
        let strips = (0..part.images.len() * rows).map(|row| {
            let from = input.offset(&self.grid, row / rows, [0, row % rows, 0]);
            let start = [from, row * columns * channels];
            Strip { start, step, count: columns, size: [SIDE; 2] }
        });
        let from = (input.data, [input.strides[1], input.strides[2]]);
        let to = (&Parts::new(vectors), Self::frequencies(frequency));
        // SAFETY: `vectors` is borrowed for this call alone.
        unsafe { transform::<T, SIDE>(isa, Kind::Input, channels, from, to, Finish::NONE, strips) };
    }
}
