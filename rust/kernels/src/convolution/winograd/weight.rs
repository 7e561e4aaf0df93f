//! The gradient to the weight: a kernel's gradient is the convolution of the input with the output's
//! gradient, so the two are transformed as tile and kernel, summed over all tiles by frequency, and
//! taken back once.

use super::super::ConvolutionShape;
use super::super::direct::{Blocks, Input, Part, add_parts, in_order};
use super::super::ends::{Gradient, Source};
use super::super::units::{TASKS, for_each_unit};
use super::tiles::Tiles;
use super::transform::{Finish, Kind, Strip, transform};
use super::{ALIGNMENT, in_cache, large};
use crate::gemm::{Block, BlockEpilogue, Left, Panels, Stretches, multiply};
use crate::parallel::Parts;
use crate::window::Layout;
use crate::{Float, Isa, Parallel};
use smallvec::smallvec;

/// Bytes of a block's transformed tiles: large, since each block reads and writes all sums.
const BLOCK_BYTES: usize = 960 * 1024;
/// The same if the sums do not stay in the cache.
const LARGE_BLOCK_BYTES: usize = 4800 * 1024;

/// Parts of the blocks at most: each has sums of its own, which are added at the end.
const PARTS: usize = TASKS / 2;
/// Bytes of all parts' sums, unless those of two parts are more.
const SUMS_BYTES: usize = 4 * 1024 * 1024;
/// Units of work at least, if there are as many panels: few parts are cut into panels too, though each
/// unit then transforms the input for itself.
const UNITS: usize = 4;

/// Transformed tiles, and the distance of their frequencies.
type ByFrequency<'a, T> = (&'a [T], usize);

/// How the pass is cut: into parts of the blocks, whose sums are added at the end.
struct Cut<const SIDE: usize> {
    tiles: Tiles<SIDE>,
    blocks: Blocks,
    panels: Panels,
    parts: usize,
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
        let channels = shape.input_channels * shape.output_channels;
        let sums = Tiles::<SIDE>::FREQUENCIES * channels * size_of::<T>();
        let parts = (SUMS_BYTES / sums).clamp(2, PARTS).min(blocks.count(&tiles.grid).max(1));
        let panel_parts = UNITS.div_ceil(parts).min(panels.count());
        Cut { tiles, blocks, panels, parts, panel_parts, pooled }
    }

    /// Where the sums of a frequency begin, as a row; one is left between frequencies, which would
    /// else fall on the same places of the cache.
    fn first_row(&self, frequency: usize) -> usize {
        frequency * (self.tiles.grid.input_channels + 1)
    }

    /// Elements of a part's sums.
    fn sums(&self) -> usize {
        self.first_row(Tiles::<SIDE>::FREQUENCIES) * self.tiles.grid.output_channels
    }

    /// Lengths of a task's copy of the input, its transformed tiles, the output's gradient from a pool, a
    /// panel of it, and its transformed tiles.
    fn scratch_parts(&self) -> [usize; 5] {
        let (grid, width) = (&self.tiles.grid, self.panels.panel(0).2);
        let tiles = self.blocks.pixels(grid);
        let pixels = tiles * self.tiles.outputs.pow(2);
        let pooled = if self.pooled { pixels * grid.output_channels } else { 0 };
        let panel = match grid.output_layout {
            Layout::ChannelsFirst => pixels * width,
            Layout::ChannelsLast => 0,
        };
        [
            self.blocks.input_elements(grid).next_multiple_of(ALIGNMENT),
            Tiles::<SIDE>::FREQUENCIES * Tiles::<SIDE>::frequency(tiles, grid.input_channels),
            pooled.next_multiple_of(ALIGNMENT),
            panel.next_multiple_of(ALIGNMENT),
            Tiles::<SIDE>::FREQUENCIES * Tiles::<SIDE>::frequency(tiles, width),
        ]
    }

    fn scratch_per_task(&self) -> usize {
        self.scratch_parts().iter().sum::<usize>().next_multiple_of(ALIGNMENT)
    }
}

/// Whether the output's gradient can be read from a pool: no row of an image's pixels is cut.
pub(super) fn pools<T: Float, const SIDE: usize>(isa: Isa, shape: &ConvolutionShape) -> bool {
    !large::weight::suits::<T, SIDE>(shape)
        && Cut::<SIDE>::new::<T>(isa, shape, true).blocks.have_whole_rows()
}

/// The length of the working memory that the pass needs.
pub(super) fn scratch_elements<T: Float, const SIDE: usize>(
    isa: Isa,
    shape: &ConvolutionShape,
    pooled: bool,
) -> usize {
    if large::weight::suits::<T, SIDE>(shape) {
        return large::weight::scratch_elements::<T, SIDE>(isa, shape);
    }
    let cut = Cut::<SIDE>::new::<T>(isa, shape, pooled);
    cut.tiles.gradient_by_tap()
        + cut.parts * (cut.sums() + cut.panel_parts * cut.scratch_per_task())
}

/// See [`super::super::convolution_weight_gradient`].
pub(in super::super) fn weight_gradient<T: Float, const SIDE: usize>(
    isa: Isa,
    parallel: &dyn Parallel,
    shape: &ConvolutionShape,
    input: &[T],
    output_gradient: Source<T>,
    weight_gradient: &mut [T],
    scratch: &mut [T],
) {
    if shape.output_elements() == 0 {
        return weight_gradient.fill(T::ZERO);
    }
    if large::weight::suits::<T, SIDE>(shape) {
        return large::weight::weight_gradient::<T, SIDE>(
            isa,
            parallel,
            shape,
            input,
            output_gradient,
            weight_gradient,
            scratch,
        );
    }
    let cut = Cut::<SIDE>::new::<T>(isa, shape, output_gradient.is_pooled());
    let (grid, blocks) = (&cut.tiles.grid, cut.blocks.count(&cut.tiles.grid));
    let (by_tap, scratch) = scratch.split_at_mut(cut.tiles.gradient_by_tap());
    let (sums, scratch) = scratch.split_at_mut(cut.parts * cut.sums());
    let parts = Parts::new(sums);
    let unit = |unit: usize, scratch: &mut [T]| {
        let [memory, vectors, pooled, panels, _] = cut.scratch_parts();
        let (memory, scratch) = scratch.split_at_mut(memory);
        let (vectors, scratch) = scratch.split_at_mut(vectors);
        let (pooled, scratch) = scratch.split_at_mut(pooled);
        let (pixels, gradients) = scratch.split_at_mut(panels);
        let (own, panel_part) = (unit / cut.panel_parts, unit % cut.panel_parts);
        let panel = |part: usize| part * cut.panels.count() / cut.panel_parts;
        let boundary = |part: usize| part * blocks / cut.parts;
        for block in boundary(own)..boundary(own + 1) {
            let part = cut.blocks.part(grid, block);
            let input = Input::new(isa, grid, 0, &part, Source::Array(input), memory);
            let own_pixels = cut.tiles.pixels(shape, &part);
            let gradient = Gradient::new(isa, shape, &own_pixels, output_gradient, pooled);
            let frequency =
                Tiles::<SIDE>::frequency(part.images.len() * part.pixels(), grid.input_channels);
            let to = (&Parts::new(&mut *vectors), 0, frequency);
            // SAFETY: `vectors` is borrowed for this call alone.
            unsafe { cut.tiles.transform_input(isa, &part, &input, 0..grid.input_channels, to) };
            for panel in panel(panel_part)..panel(panel_part + 1) {
                let memory = (&mut *pixels, &mut *gradients);
                let panel_of = (cut.panels, panel);
                let stride = cut.tiles.transform_gradient(
                    isa,
                    &part,
                    &own_pixels,
                    panel_of,
                    &gradient,
                    memory,
                );
                let accumulate = block > boundary(own);
                let operands = [(&*vectors, frequency), (&*gradients, stride)];
                let sums = (&parts, own * cut.sums());
                // SAFETY: units have different parts or panels, and each is run once.
                unsafe { cut.multiply(isa, &part, panel, operands, accumulate, sums) };
            }
        }
    };
    let units = cut.parts * cut.panel_parts;
    for_each_unit(parallel, units, scratch, cut.scratch_per_task(), &unit);
    let sums = add_parts(isa, parallel, sums, cut.sums());
    cut.inverse(isa, parallel, sums, by_tap);
    in_order(parallel, shape, by_tap, weight_gradient);
}

impl<const SIDE: usize> Cut<SIDE> {
    /// Adds the products of a block to a panel of the sums, which begin at the given element.
    ///
    /// # Safety
    /// Nobody else reads or writes the panel's columns of these sums meanwhile.
    unsafe fn multiply<T: Float>(
        &self,
        isa: Isa,
        part: &Part,
        panel: usize,
        [(vectors, frequency), (gradients, stride)]: [ByFrequency<T>; 2],
        accumulate: bool,
        (sums, start): (&Parts<T>, usize),
    ) {
        let grid = &self.tiles.grid;
        let (inputs, outputs) = (grid.input_channels, grid.output_channels);
        let (column, columns, width) = self.panels.panel(panel);
        let tiles = part.images.len() * part.pixels();
        let depth = Stretches::new(smallvec![0], tiles);
        for index in 0..Tiles::<SIDE>::FREQUENCIES {
            let gradients = &gradients[index * stride..][..tiles * width];
            let data = &vectors[index * frequency..];
            let left = Left { data, row: 1, step: inputs, stretches: &depth };
            let (rows, columns) = ((self.first_row(index), inputs), (start + column, columns));
            // SAFETY: the blocks are computed one after another, and the caller promises the rest.
            let mut c = unsafe { Block::new(sums, outputs, rows, columns) };
            multiply(isa, self.panels, left, gradients, accumulate, &mut c, BlockEpilogue::NONE);
        }
    }

    /// The sums by tap.
    fn inverse<T: Float>(&self, isa: Isa, parallel: &dyn Parallel, sums: &[T], by_tap: &mut [T]) {
        let grid = &self.tiles.grid;
        let (inputs, outputs) = (grid.input_channels, grid.output_channels);
        let (taps, distance) = (self.tiles.taps(), inputs * outputs);
        let parts = Parts::new(by_tap);
        parallel.for_each(inputs, &|row| {
            let start = [row * outputs; 2];
            let strip = Strip { start, step: [0; 2], count: 1, size: [taps; 2] };
            let from = (sums, Tiles::<SIDE>::frequencies(self.first_row(1) * outputs));
            let to = (&parts, [taps * distance, distance]);
            let (kind, strips) = (Kind::Inverse(taps), std::iter::once(strip));
            // SAFETY: tasks have different rows, and `Parallel` runs each once.
            unsafe { transform::<T, SIDE>(isa, kind, outputs, from, to, Finish::NONE, strips) };
        });
    }
}
