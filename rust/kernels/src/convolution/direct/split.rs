//! The same convolution with each number as the sum of two bfloat16 numbers, where the CPU multiplies tiles
//! of those: see [`crate::gemm`]. A block's pixels are split once, with their border, and tiles of windows
//! are read from them; the weight is split once for all blocks.

use std::cell::RefCell;

use super::super::ConvolutionShape;
use super::block::{Input, Part};
use super::{Packed, Panel, Place};
use crate::gemm::{
    Buffer, Epilogue, HEADER, Matrix, PANEL, PIECE, Panels, Splitter, Windows, add, finish,
    split_pixels_length, split_tap,
};
use crate::{Float, Isa, Parallel, for_each_chunk};

thread_local! {
    /// Where the weight is split, for all blocks.
    static WEIGHT: RefCell<Buffer> = const { RefCell::new(Buffer::new()) };
    /// Where the pixels of a block are split.
    static PIXELS: RefCell<Buffer> = const { RefCell::new(Buffer::new()) };
}

/// How much longer a pass takes, for as many products, than the direct algorithm over a large shape; fitted to
/// `examples/convolution_bench.rs`.
pub(in super::super) fn cost(shape: &ConvolutionShape) -> f64 {
    /// The products themselves, with full tiles.
    const PRODUCTS: f64 = 0.2;
    /// Splitting a tile of the input, and storing one of the output, in times of a product of tiles.
    const TILE: f64 = 3.0;
    /// Splitting the weight, in times of its products with a pixel.
    const WEIGHT: f64 = 100.0;
    /// A product of tiles of fewer rows waits for the one before.
    const ROWS: f64 = 13.0;
    let width = shape.output[2].max(1);
    let rows = width.div_ceil(width.div_ceil(PIECE)) as f64;
    let tiles = |channels: usize| channels.div_ceil(PANEL) as f64;
    let [inputs, outputs] = [shape.group_inputs(), shape.group_outputs()];
    let empty = tiles(inputs) * tiles(outputs) * (PANEL * PANEL) as f64 / (inputs * outputs) as f64;
    let taps = shape.taps() as f64;
    let inputs_per_output = shape.stride.iter().product::<usize>() as f64;
    let tiles = TILE * (inputs_per_output / (taps * tiles(outputs)) + 1.0 / (taps * tiles(inputs)));
    let pixels = (shape.batch * shape.output_pixels()).max(1) as f64;
    PRODUCTS * empty * (ROWS / rows).max(1.0) * (1.0 + tiles) + WEIGHT / pixels
}

/// The weight's panels, split.
pub(super) struct Weight<'a, T> {
    splitter: Splitter<T>,
    split: &'a [T],
    panel: usize,
}

/// Hands the split weight on, or none where the CPU has no tiles for it. Its packed panels have a row for
/// each tap and channel.
pub(super) fn with_weight<T: Float, R>(
    isa: Isa,
    parallel: &dyn Parallel,
    shape: &ConvolutionShape,
    panels: Panels,
    packed: &Packed<'_, T>,
    then: impl FnOnce(Option<&Weight<'_, T>>) -> R,
) -> R {
    let Some(splitter) = T::splitter(isa).filter(|_| panels.panel(0).2 <= PANEL) else {
        return then(None);
    };
    let (taps, channels) = (shape.taps(), shape.group_inputs());
    let tap_length = split_tap(channels);
    let panel = HEADER + taps * tap_length;
    WEIGHT.with_borrow_mut(|buffer| {
        let split = buffer.take::<T>(panels.count() * panel);
        for_each_chunk(parallel, split, panel, &|index, split| {
            let (column, columns, width) = panels.panel(index);
            let packed = packed.panel(0, (column, width), shape.depth());
            let (header, split) = split.split_at_mut(HEADER);
            let taps =
                packed.chunks_exact(channels * width).zip(split.chunks_exact_mut(tap_length));
            let mut can_be_split = true;
            for (packed, split) in taps {
                let lines = Matrix::new(packed, columns, channels, 1, width);
                can_be_split &= (splitter.panel)(lines, split);
            }
            header[0] = if can_be_split { T::ONE } else { T::ZERO };
        });
        then(Some(&Weight { splitter, split, panel }))
    })
}

/// A block's split pixels, with the weight for them.
pub(super) struct Pixels<'a, T> {
    weight: &'a Weight<'a, T>,
    split: &'a [T],
    count: usize,
}

/// Hands the split pixels under a block on, or none if there is no weight for them or they cannot be split.
pub(super) fn with_pixels<T: Float, R>(
    weight: Option<&Weight<'_, T>>,
    shape: &ConvolutionShape,
    part: &Part,
    input: &Input<'_, T>,
    then: impl FnOnce(Option<&Pixels<'_, T>>) -> R,
) -> R {
    let Some(weight) = weight else { return then(None) };
    let channels = shape.group_inputs();
    let last = part.sizes().map(|size| size - 1);
    let windows = input.offset(shape, part.images.len() - 1, last) / channels;
    let reach = (0..3).map(|axis| (shape.kernel[axis] - 1) * distances(shape, input)[axis]);
    let count = windows + reach.sum::<usize>() + 1;
    // A piece that is shorter than a tile has windows beyond the last pixel.
    let with_slack = count + PIECE * shape.stride[2];
    PIXELS.with_borrow_mut(|buffer| {
        let split = buffer.take::<T>(split_pixels_length(with_slack, channels));
        let pixels = &input.data[..count * channels];
        match (weight.splitter.pixels)(pixels, channels, with_slack, split) {
            true => then(Some(&Pixels { weight, split, count: with_slack })),
            false => then(None),
        }
    })
}

/// The distances of a window's taps, in pixels.
fn distances<T>(shape: &ConvolutionShape, input: &Input<'_, T>) -> [usize; 3] {
    [0, 1, 2].map(|axis| shape.dilation[axis] * input.strides[axis] / shape.group_inputs())
}

impl<T: Float> Pixels<'_, T> {
    /// The split panel, if its numbers could be split.
    fn panel(&self, index: usize) -> Option<&[T]> {
        let panel = &self.weight.split[index * self.weight.panel..][..self.weight.panel];
        (panel[0] != T::ZERO).then(|| &panel[HEADER..])
    }

    /// A panel's channels of a block, as [`Panel::multiply`] computes them. Says whether it did.
    pub(super) fn multiply(
        &self,
        isa: Isa,
        shape: &ConvolutionShape,
        part: &Part,
        input: &Input<'_, T>,
        panel: &Panel<'_, T>,
        place: Place<'_, T>,
        epilogue: Epilogue<'_, T>,
    ) -> bool {
        let Some(split) = self.panel(panel.index) else { return false };
        let [depth, height, width] = part.sizes();
        let pieces = width.div_ceil(PIECE);
        let rows = width.div_ceil(pieces);
        // Image, position along the axes, and number of pixels.
        let piece = |index: usize| {
            let (row, piece) = (index / pieces, index % pieces);
            let x = piece * rows;
            let at = [row / height % depth, row % height, x];
            (row / height / depth, at, rows.min(width - x))
        };
        let channels = shape.group_inputs();
        let windows = Windows {
            pixels: self.split,
            count: self.count,
            channels,
            kernel: shape.kernel,
            distances: distances(shape, input),
            stride: shape.stride[2],
            panel: split,
            columns: panel.columns,
            rows,
            pieces: part.images.len() * depth * height * pieces,
            start: &|index| {
                let (image, at, _) = piece(index);
                input.offset(shape, image, at) / channels
            },
        };
        (self.weight.splitter.multiply)(isa, &windows, &mut |index, sums| {
            let (image, at, count) = piece(index);
            // SAFETY: units have different pixels or channels, and each is run once; the pieces of a
            // unit are finished one after another.
            let mut c = unsafe { place.block(image, at, (count, panel.columns)) };
            add(isa, sums, T::ONE, T::ZERO, &mut c);
            finish(isa, &mut c, epilogue.block(0, place.channel, shape.output_channels));
        });
        true
    }
}
