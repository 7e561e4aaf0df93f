//! Convolution by Winograd's method: tiles of the input and the kernels are transformed so that one
//! product a frequency takes the place of one a tap. Kernels of 5 x 5 give 2 x 2 outputs a tile of
//! 6 x 6 with 36 products instead of 100, and 4 x 4 outputs a tile of 8 x 8 with 64 instead of 400;
//! kernels of 3 x 3 give 4 x 4 outputs with 36 instead of 144. Larger tiles have larger rounding errors;
//! for 3 x 3 those of 8 x 8 would be too large.

mod large;
mod tiles;
mod transform;
mod weight;

use super::direct::{Blocks, Input, Order, Part};
use super::ends::{Output, Source, Target};
use super::units::{TASKS, for_each_unit};
use super::{ConvolutionShape, Pass};
use crate::gemm::{Block, BlockEpilogue, Left, Panels, Stretches, multiply};
use crate::parallel::Parts;
use crate::window::Layout;
use crate::{Float, Isa, Parallel};
use smallvec::smallvec;
use std::ops::Range;
use tiles::Tiles;
use transform::{CHANNELS, Finish};

pub(crate) use transform::{Kind as TransformKind, Run, dtransform, stransform};
pub(super) use weight::weight_gradient;

/// Parts of the working memory begin at multiples of this: at a cache line. So much is also between
/// frequencies, which would else fall on the same places of the cache.
const ALIGNMENT: usize = 16;
/// Bytes of a block's transformed tiles, before and after the products.
const BLOCK_BYTES: usize = 560 * 1024;
/// Bytes of a transformed weight that stays in the cache beside them.
const WEIGHT_BYTES: usize = 640 * 1024;
/// The same as [`BLOCK_BYTES`] if it does not: more tiles for each time that it is fetched.
const LARGE_BLOCK_BYTES: usize = 2400 * 1024;
/// The tiles whose products take as long as transforming a weight: one that stays in the cache then, one
/// that is transformed where it is needed ([`large`]), and one that is stored.
const CACHED_WEIGHT_TILES: f64 = 20.0;
const LARGE_WEIGHT_TILES: f64 = 3.0;
const STORED_WEIGHT_TILES: f64 = 140.0;

/// Rows of the weight that a task transforms.
const WEIGHT_ROWS: usize = 16;

/// Whether a pass over this shape can be computed so, with tiles of this side.
pub(super) fn supports(side: usize, pass: Pass, shape: &ConvolutionShape) -> bool {
    let [_, height, width] = shape.kernel;
    let channels = [shape.input_channels, shape.output_channels];
    channels.iter().all(|channels| channels.is_multiple_of(CHANNELS))
        && shape.groups == 1
        && shape.stride == [1; 3]
        && shape.dilation == [1; 3]
        && [shape.kernel[0], shape.input[0], shape.output[0]] == [1; 3]
        && height == width
        && (height == 5 || (height == 3 && side == 6))
        && (pass != Pass::InputGradient || shape.turned().is_some())
}

/// About how many products a pass with tiles of this side is worth, over those of the direct way: its
/// own, and the time for transforming the weight.
pub(super) fn products<T, const SIDE: usize>(pass: Pass, shape: &ConvolutionShape) -> f64 {
    let tiles = Tiles::<SIDE>::new(shape).grid.output_pixels();
    let is_large = match pass {
        Pass::Forward => large::suits::<T, SIDE>(shape),
        Pass::InputGradient => shape.turned().is_some_and(|shape| large::suits::<T, SIDE>(&shape)),
        Pass::WeightGradient => large::weight::suits::<T, SIDE>(shape),
    };
    let weight = match is_large {
        true => LARGE_WEIGHT_TILES,
        false if in_cache::<T>(SIDE, shape) => CACHED_WEIGHT_TILES,
        false => STORED_WEIGHT_TILES,
    };
    let frequencies = (SIDE * SIDE) as f64;
    let products = (shape.batch * tiles) as f64 + weight;
    products * frequencies / (shape.batch * shape.output_pixels() * shape.taps()).max(1) as f64
}

/// Whether the transformed weight stays in the cache beside a block's tiles.
fn in_cache<T>(side: usize, shape: &ConvolutionShape) -> bool {
    side * side * shape.input_channels * shape.output_channels * size_of::<T>() <= WEIGHT_BYTES
}

/// Whether a pass that is supported can write to a pool, or read from one.
pub(super) fn pools<T: Float, const SIDE: usize>(
    isa: Isa,
    pass: Pass,
    shape: &ConvolutionShape,
) -> bool {
    match pass {
        Pass::Forward if large::suits::<T, SIDE>(shape) => false,
        Pass::Forward => {
            let cut = Cut::<SIDE>::new::<T>(isa, shape, true);
            cut.panel_parts == 1 && cut.blocks.have_whole_images()
        }
        Pass::InputGradient => shape.turned().is_some_and(|shape| {
            let grid = Tiles::<SIDE>::new(&shape).grid;
            let blocks = match large::suits::<T, SIDE>(&shape) {
                true => Blocks::of_images(&grid, 1),
                false => Cut::<SIDE>::new::<T>(isa, &shape, false).blocks,
            };
            blocks.read_whole_rows(&grid)
        }),
        Pass::WeightGradient => weight::pools::<T, SIDE>(isa, shape),
    }
}

/// The length of the working memory that a pass needs.
pub(super) fn scratch_elements<T: Float, const SIDE: usize>(
    isa: Isa,
    pass: Pass,
    shape: &ConvolutionShape,
    pooled: bool,
) -> usize {
    let forward = |shape: &ConvolutionShape, pooled| {
        if large::suits::<T, SIDE>(shape) {
            return large::scratch_elements::<T, SIDE>(isa, shape);
        }
        let cut = Cut::<SIDE>::new::<T>(isa, shape, pooled);
        cut.tiles.packed_weight(cut.panels)
            + cut.transformed()
            + cut.units().min(TASKS) * cut.scratch_per_task()
    };
    match pass {
        Pass::Forward => forward(shape, pooled),
        // Its input is pooled, which takes no other memory.
        Pass::InputGradient => shape.turned().map_or(0, |shape| forward(&shape, false)),
        Pass::WeightGradient => weight::scratch_elements::<T, SIDE>(isa, shape, pooled),
    }
}

/// `output = relu(convolution + bias)`; see [`super::convolution`].
pub(super) fn convolution<T: Float, const SIDE: usize>(
    isa: Isa,
    parallel: &dyn Parallel,
    shape: &ConvolutionShape,
    input: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    relu: bool,
    output: Target<T>,
    scratch: &mut [T],
) {
    let (input, weight) = (Source::Array(input), (weight, Order::forward(shape)));
    let finish = Finish { bias, relu };
    forward::<T, SIDE>(isa, parallel, shape, input, weight, finish, output, scratch);
}

/// See [`super::convolution_input_gradient`].
pub(super) fn input_gradient<T: Float, const SIDE: usize>(
    isa: Isa,
    parallel: &dyn Parallel,
    shape: &ConvolutionShape,
    output_gradient: Source<T>,
    weight: &[T],
    input_gradient: &mut [T],
    scratch: &mut [T],
) {
    let Some(turned) = shape.turned() else { unreachable!("the shape is not supported") };
    let weight = (weight, Order::backward(shape));
    let (x, y) = (output_gradient, Target::Array(input_gradient));
    forward::<T, SIDE>(isa, parallel, &turned, x, weight, Finish::NONE, y, scratch);
}

/// How a forward pass is cut: into (block of tiles, part of the output channels).
struct Cut<const SIDE: usize> {
    tiles: Tiles<SIDE>,
    blocks: Blocks,
    panels: Panels,
    panel_parts: usize,
    pooled: bool,
}

impl<const SIDE: usize> Cut<SIDE> {
    fn new<T: Float>(isa: Isa, shape: &ConvolutionShape, pooled: bool) -> Self {
        let tiles = Tiles::new(shape);
        let panels = Panels::new::<T>(isa, shape.output_channels);
        let per_tile = Tiles::<SIDE>::FREQUENCIES * (shape.input_channels + panels.panel(0).2);
        let bytes = if in_cache::<T>(SIDE, shape) { BLOCK_BYTES } else { LARGE_BLOCK_BYTES };
        let blocks = Blocks::new::<T>(&tiles.grid, bytes / size_of::<T>() / per_tile);
        let units = blocks.count(&tiles.grid).max(1);
        let panel_parts = (TASKS / 2).div_ceil(units).min(panels.count());
        Cut { tiles, blocks, panels, panel_parts, pooled }
    }

    fn units(&self) -> usize {
        self.blocks.count(&self.tiles.grid) * self.panel_parts
    }

    /// The block and the panels of a unit.
    fn unit(&self, unit: usize) -> (Part, Range<usize>) {
        let (block, part) = (unit / self.panel_parts, unit % self.panel_parts);
        let boundary = |part: usize| part * self.panels.count() / self.panel_parts;
        (self.blocks.part(&self.tiles.grid, block), boundary(part)..boundary(part + 1))
    }

    /// The length of the transformed weight.
    fn transformed(&self) -> usize {
        let (start, frequency) = self.transformed_panel(self.panels.count() - 1);
        start + Tiles::<SIDE>::FREQUENCIES * frequency
    }

    /// Where a panel of the transformed weight begins, and the distance of its frequencies.
    fn transformed_panel(&self, panel: usize) -> (usize, usize) {
        let rows = self.tiles.grid.input_channels;
        let (column, _, width) = self.panels.panel(panel);
        let start = Tiles::<SIDE>::FREQUENCIES * (rows * column + panel * ALIGNMENT);
        (start, rows * width + ALIGNMENT)
    }

    /// Lengths of a task's copy of the input, its transformed tiles, the products of a panel, and the
    /// panel's part of the output or, if it is pooled, all of it.
    fn scratch_parts(&self) -> [usize; 4] {
        let (grid, width) = (&self.tiles.grid, self.panels.panel(0).2);
        let tiles = self.blocks.pixels(grid);
        let pixels = tiles * self.tiles.outputs.pow(2);
        let product = match grid.output_layout {
            _ if self.pooled => pixels * grid.output_channels,
            Layout::ChannelsFirst => pixels * width,
            Layout::ChannelsLast => 0,
        };
        let vectors =
            |channels| Tiles::<SIDE>::FREQUENCIES * Tiles::<SIDE>::frequency(tiles, channels);
        [
            self.blocks.input_elements(grid).next_multiple_of(ALIGNMENT),
            vectors(grid.input_channels),
            vectors(width),
            product,
        ]
    }

    fn scratch_per_task(&self) -> usize {
        self.scratch_parts().iter().sum::<usize>().next_multiple_of(ALIGNMENT)
    }

    /// Transforms a packed weight to panels by frequency.
    fn transform_weight<T: Float>(
        &self,
        isa: Isa,
        parallel: &dyn Parallel,
        packed: &[T],
        transformed: &mut [T],
    ) {
        let rows = self.tiles.grid.input_channels;
        let parts = Parts::new(transformed);
        let row_parts = rows.div_ceil(WEIGHT_ROWS);
        parallel.for_each(self.panels.count() * row_parts, &|task| {
            let (panel, row_part) = (task / row_parts, task % row_parts);
            let first = row_part * WEIGHT_ROWS;
            let (column, _, width) = self.panels.panel(panel);
            let (start, frequency) = self.transformed_panel(panel);
            let to = (&parts, start + first * width, frequency);
            let rows = first..rows.min(first + WEIGHT_ROWS);
            // SAFETY: tasks have different panels or rows, and `Parallel` runs each once.
            unsafe { self.tiles.transform_weight(isa, (column, width), rows, packed, to) };
        });
    }
}

/// The convolution with a weight whose elements lie in the given order.
fn forward<T: Float, const SIDE: usize>(
    isa: Isa,
    parallel: &dyn Parallel,
    shape: &ConvolutionShape,
    input: Source<T>,
    (weight, order): (&[T], Order),
    finish: Finish<T>,
    output: Target<T>,
    scratch: &mut [T],
) {
    if large::suits::<T, SIDE>(shape) {
        return large::forward::<T, SIDE>(
            isa,
            parallel,
            shape,
            input,
            (weight, order),
            finish,
            output,
            scratch,
        );
    }
    let cut = Cut::<SIDE>::new::<T>(isa, shape, output.is_pooled());
    let (packed, scratch) = scratch.split_at_mut(cut.tiles.packed_weight(cut.panels));
    let (transformed, scratch) = scratch.split_at_mut(cut.transformed());
    order.pack(isa, parallel, cut.panels, weight, packed);
    cut.transform_weight(isa, parallel, packed, transformed);
    let transformed = &*transformed;
    let output = output.shared();
    let depth = Stretches::new(smallvec![0], shape.input_channels);
    let unit = |unit: usize, scratch: &mut [T]| {
        let (part, panels) = cut.unit(unit);
        let [memory, vectors, products, _] = cut.scratch_parts();
        let (memory, scratch) = scratch.split_at_mut(memory);
        let (vectors, scratch) = scratch.split_at_mut(vectors);
        let (products, rows) = scratch.split_at_mut(products);
        let input = Input::new(isa, &cut.tiles.grid, 0, &part, input, memory);
        let tiles = part.images.len() * part.pixels();
        let frequency = Tiles::<SIDE>::frequency(tiles, shape.input_channels);
        let to = (&Parts::new(&mut *vectors), 0, frequency);
        // SAFETY: `vectors` is borrowed for this call alone.
        unsafe { cut.tiles.transform_input(isa, &part, &input, 0..shape.input_channels, to) };
        let pixels = cut.tiles.pixels(shape, &part);
        for panel in panels {
            let (channel, columns, width) = cut.panels.panel(panel);
            let size = shape.input_channels * width;
            let (start, distance) = cut.transformed_panel(panel);
            let stride = Tiles::<SIDE>::frequency(tiles, width);
            let parts = Parts::new(&mut *products);
            for index in 0..Tiles::<SIDE>::FREQUENCIES {
                let data = &vectors[index * frequency..];
                let left = Left { data, row: shape.input_channels, step: 1, stretches: &depth };
                let panel = &transformed[start + index * distance..][..size];
                let place = (index * stride, columns);
                // SAFETY: the products are this task's, and computed one after another.
                let mut c = unsafe { Block::new(&parts, width, (0, tiles), place) };
                multiply(isa, cut.panels, left, panel, false, &mut c, BlockEpilogue::NONE);
            }
            let products = (&*products, stride, width);
            let channels = (channel, columns);
            let to = (&output, &mut *rows);
            // SAFETY: units have different pixels or channels, and each is run once.
            unsafe { cut.tiles.write(isa, shape, &part, products, channels, finish, to) };
        }
        if let Output::Pooled(pool) = &output {
            // SAFETY: units have different images, and each is run once.
            unsafe { pixels.pool(isa, shape, pool, rows) };
        }
    };
    for_each_unit(parallel, cut.units(), scratch, cut.scratch_per_task(), &unit);
}
