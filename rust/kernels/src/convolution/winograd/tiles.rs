//! The tiles of a convolution: windows of the input, and squares of the output.

use super::super::ConvolutionShape;
use super::super::direct::{Grid, Input, Part, Place, pack_gradient, turn};
use super::super::ends::{Gradient, Output};
use super::ALIGNMENT;
use super::transform::{Finish, Kind, Strip, transform};
use crate::gemm::Panels;
use crate::parallel::Parts;
use crate::window::Layout;
use crate::{Float, Isa};
use std::ops::Range;

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

    /// The length of a packed weight.
    pub(super) fn packed_weight(self, panels: Panels) -> usize {
        let rows = self.taps().pow(2) * self.grid.input_channels;
        (rows * panels.packed_columns()).next_multiple_of(ALIGNMENT)
    }

    /// The length of a weight's gradient by tap.
    pub(super) fn gradient_by_tap(self) -> usize {
        let taps = self.taps().pow(2);
        (taps * self.grid.input_channels * self.grid.output_channels).next_multiple_of(ALIGNMENT)
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

    /// Transforms some channels of the tiles below a block to vectors by frequency, then tile; written from
    /// the given element on, with the given distance of frequencies.
    ///
    /// # Safety
    /// Nobody else reads or writes these vectors meanwhile.
    pub(super) unsafe fn transform_input<T: Float>(
        self,
        isa: Isa,
        part: &Part,
        input: &Input<T>,
        channels: Range<usize>,
        (to, start, frequency): (&Parts<T>, usize, usize),
    ) {
        let [_, rows, columns] = part.sizes();
        let step = [self.outputs * input.strides[2], channels.len()];
        let strips = (0..part.images.len() * rows).map(|row| {
            let from = input.offset(&self.grid, row / rows, [0, row % rows, 0]) + channels.start;
            let start = [from, start + row * columns * channels.len()];
            Strip { start, step, count: columns, size: [SIDE; 2] }
        });
        let from = (input.data, [input.strides[1], input.strides[2]]);
        let (to, none) = ((to, Self::frequencies(frequency)), Finish::NONE);
        // SAFETY: the caller's promise.
        unsafe { transform::<T, SIDE>(isa, Kind::Input, channels.len(), from, to, none, strips) };
    }

    /// Transforms some rows of a panel of a packed weight; written from the given element on, with the
    /// given distance of frequencies.
    ///
    /// # Safety
    /// Nobody else reads or writes these rows of the transformed panel meanwhile.
    pub(super) unsafe fn transform_weight<T: Float>(
        self,
        isa: Isa,
        (column, width): (usize, usize),
        rows: Range<usize>,
        packed: &[T],
        (to, start, frequency): (&Parts<T>, usize, usize),
    ) {
        let (all, taps) = (self.grid.input_channels, self.taps());
        let from = column * all * taps * taps + rows.start * width;
        let (count, size) = (rows.len(), [taps, rows.len() * taps]);
        let strip = Strip { start: [from, start], step: [width; 2], count, size };
        let from = (packed, [taps * all * width, all * width]);
        let (to, kind) = ((to, Self::frequencies(frequency)), Kind::Kernel(taps));
        let strips = std::iter::once(strip);
        // SAFETY: the caller's promise.
        unsafe { transform::<T, SIDE>(isa, kind, width, from, to, Finish::NONE, strips) };
    }

    /// Writes some channels of a block's part of the output, from the products of a panel, which come
    /// with the distance of frequencies and the panel's width. `rows` is memory for them where the
    /// channels lie first, and where all channels go before they are pooled.
    ///
    /// # Safety
    /// Nobody else reads or writes these channels of the part meanwhile.
    pub(super) unsafe fn write<T: Float>(
        self,
        isa: Isa,
        shape: &ConvolutionShape,
        part: &Part,
        products: (&[T], usize, usize),
        (channel, columns): (usize, usize),
        finish: Finish<T>,
        (output, rows): (&Output<T>, &mut [T]),
    ) {
        let bias = finish.bias.map(|bias| &bias[channel..]);
        let finish = Finish { bias, ..finish };
        let (pixels, width, all) = (self.pixels(shape, part), products.2, shape.output_channels);
        let line = pixels.sizes()[2];
        let within = |image: usize, [z, y]: [usize; 2]| {
            image * pixels.pixels() + (z * pixels.sizes()[1] + y) * line
        };
        match (output, shape.output_layout) {
            (Output::Array(output), Layout::ChannelsFirst) => {
                let start = |image, row| within(image, row) * width;
                let parts = &Parts::new(&mut *rows);
                let place = Place { rows: parts, start: &start, pixel: width, column: 0, channel };
                // SAFETY: the rows are borrowed for this call alone.
                unsafe {
                    self.inverse(isa, part, products, columns, place, (&pixels, line), finish)
                };
                turn(isa, shape, &pixels, (channel, columns, width), rows, output);
            }
            (Output::Array(rows), Layout::ChannelsLast) => {
                let grid = Grid::whole(shape);
                let start = |image, row| grid.pixel(&pixels, image, row) * all;
                let place = Place { rows, start: &start, pixel: all, column: channel, channel };
                let pixels = (&pixels, shape.output[2]);
                // SAFETY: the caller's promise.
                unsafe { self.inverse(isa, part, products, columns, place, pixels, finish) };
            }
            (Output::Pooled(_), _) => {
                let start = |image, row| within(image, row) * all;
                let rows = &Parts::new(&mut *rows);
                let place = Place { rows, start: &start, pixel: all, column: channel, channel };
                // SAFETY: the rows are borrowed for this call alone.
                unsafe {
                    self.inverse(isa, part, products, columns, place, (&pixels, line), finish)
                };
            }
        }
    }

    /// Writes a panel's pixels of a block from its products, which come with the distances of
    /// frequencies and of tiles; the pixels come with the distance of lines.
    ///
    /// # Safety
    /// Nobody else reads or writes the panel's channels of these pixels meanwhile.
    unsafe fn inverse<T: Float>(
        self,
        isa: Isa,
        part: &Part,
        (products, frequency, width): (&[T], usize, usize),
        columns: usize,
        place: Place<T>,
        (pixels, line): (&Part, usize),
        finish: Finish<T>,
    ) {
        let outputs = self.outputs;
        let strips = (0..part.images.len()).flat_map(|image| {
            let tiles = image * part.pixels();
            let start = (place.start)(image, [0, 0]) + place.column;
            self.rows(part, pixels).map(move |(tile, row, size)| Strip {
                start: [(tiles + tile) * width, start + row * line * place.pixel],
                step: [width, outputs * place.pixel],
                count: part.sizes()[2],
                size,
            })
        });
        let from = (products, Tiles::<SIDE>::frequencies(frequency));
        let to = (place.rows, [line * place.pixel, place.pixel]);
        let kind = Kind::Inverse(outputs);
        // SAFETY: the caller's promise.
        unsafe { transform::<T, SIDE>(isa, kind, columns, from, to, finish, strips) };
    }

    /// Transforms a panel of the output's gradient at a block's tiles; returns the distance of
    /// frequencies. Channels that lie last are read where they are, others are packed in `memory` first.
    pub(super) fn transform_gradient<T: Float>(
        self,
        isa: Isa,
        part: &Part,
        own: &Part,
        (panels, panel): (Panels, usize),
        gradient: &Gradient<T>,
        (memory, gradients): (&mut [T], &mut [T]),
    ) -> usize {
        let (channel, columns, width) = panels.panel(panel);
        let (images, outputs) = (part.images.len(), self.outputs);
        // Where the gradient is read, and the distances of images, lines and pixels there.
        let (from, image_step, line, pixel) = if gradient.channel == 1 {
            (&gradient.data[channel..], gradient.image, gradient.line, gradient.pixel)
        } else {
            pack_gradient(isa, own, panels, (channel, columns), gradient, memory);
            (&*memory, own.pixels() * width, own.sizes()[2] * width, width)
        };
        let frequency = Tiles::<SIDE>::frequency(images * part.pixels(), width);
        let strips = (0..images).flat_map(|image| {
            let (first, tiles) = (image * image_step, image * part.pixels());
            self.rows(part, own).map(move |(tile, row, size)| Strip {
                start: [first + row * line, (tiles + tile) * width],
                step: [outputs * pixel, width],
                count: part.sizes()[2],
                size,
            })
        });
        let parts = Parts::new(gradients);
        let to = (&parts, Tiles::<SIDE>::frequencies(frequency));
        let (kind, from) = (Kind::Kernel(outputs), (from, [line, pixel]));
        // SAFETY: `gradients` is borrowed for this call alone.
        unsafe { transform::<T, SIDE>(isa, kind, width, from, to, Finish::NONE, strips) };
        frequency
    }
}
