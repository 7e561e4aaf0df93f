//! Passes with a weight that does not stay in the cache when it is transformed: the transformed tiles of
//! many images lie in memory instead, and a panel of the weight is transformed a few rows at a time,
//! right before its products with all of them.

pub(super) mod weight;

use super::super::ConvolutionShape;
use super::super::direct::{Blocks, Input, Order, Part};
use super::super::ends::{Source, Target};
use super::super::units::{TASKS, for_each_unit};
use super::tiles::Tiles;
use super::transform::Finish;
use super::{ALIGNMENT, in_cache};
use crate::gemm::{Block, BlockEpilogue, Left, Panels, Stretches, multiply};
use crate::parallel::Parts;
use crate::window::Layout;
use crate::{Float, Isa, Parallel};
use smallvec::smallvec;
use std::ops::Range;

/// Input channels of a part of the depth.
const DEPTH: usize = 64;
/// Tiles of a round at most: the products of more with a panel of the weight do not stay in the cache.
const TILES: usize = 128;
/// Units of a round at least, if there are as many panels and images.
const UNITS: usize = TASKS / 2;
/// Tiles up to which two panels' products stay in the cache: tiles are then fetched for both at once.
const FEW_TILES: usize = 64;

/// Whether a forward pass is better computed so.
pub(super) fn suits<T, const SIDE: usize>(shape: &ConvolutionShape) -> bool {
    let tiles = Tiles::<SIDE>::new(shape).grid.output_pixels();
    !in_cache::<T>(SIDE, shape) && (1..=TILES).contains(&tiles)
}

/// The tiles of the images of a round, by (part of the depth, frequency, tile, channel of the part).
#[derive(Clone, Copy)]
struct Vectors<const SIDE: usize> {
    tiles: Tiles<SIDE>,
    /// Images of a round at most.
    images: usize,
}

impl<const SIDE: usize> Vectors<SIDE> {
    /// Of so many images.
    fn new(tiles: Tiles<SIDE>, images: usize) -> Self {
        Vectors { tiles, images }
    }

    /// The number of vectors.
    fn count(self) -> usize {
        self.images * self.tiles.grid.output_pixels()
    }

    /// The parts of the depth.
    fn depth_parts(self) -> impl Iterator<Item = Range<usize>> {
        let channels = self.tiles.grid.input_channels;
        (0..channels).step_by(DEPTH).map(move |first| first..channels.min(first + DEPTH))
    }

    /// Where a part begins, and the distance of its frequencies.
    fn depth_part(self, channels: &Range<usize>) -> (usize, usize) {
        let whole = Tiles::<SIDE>::frequency(self.count(), DEPTH);
        let start = channels.start / DEPTH * Tiles::<SIDE>::FREQUENCIES * whole;
        (start, Tiles::<SIDE>::frequency(self.count(), channels.len()))
    }

    /// The length of their memory.
    fn elements(self) -> usize {
        let ends = self.depth_parts().map(|channels| {
            let (start, frequency) = self.depth_part(&channels);
            start + Tiles::<SIDE>::FREQUENCIES * frequency
        });
        ends.max().unwrap_or(0)
    }

    /// The blocks of tiles that are transformed at once: images, or rows of them where a round has few.
    fn blocks(self) -> Blocks {
        Blocks::of_images(&self.tiles.grid, UNITS.div_ceil(self.images))
    }

    /// The length of a task's memory for [`Vectors::fill`].
    fn scratch_per_task(self) -> usize {
        self.blocks().input_elements(&self.tiles.grid).next_multiple_of(ALIGNMENT)
    }

    /// The length of the memory of all tasks.
    fn scratch(self) -> usize {
        (self.images * self.blocks().per_image()).min(TASKS) * self.scratch_per_task()
    }

    /// Transforms the tiles of some images.
    fn fill<T: Float>(
        self,
        isa: Isa,
        parallel: &dyn Parallel,
        images: Range<usize>,
        input: Source<T>,
        vectors: &mut [T],
        scratch: &mut [T],
    ) {
        let (grid, blocks) = (&self.tiles.grid, self.blocks());
        let vectors = Parts::new(vectors);
        let unit = |unit: usize, memory: &mut [T]| {
            let part = blocks.part(grid, images.start * blocks.per_image() + unit);
            // Blocks have whole rows, which follow one another.
            let row = (part.images.start - images.start) * grid.output[1] + part.outputs[1].start;
            let input = Input::new(isa, grid, 0, &part, input, memory);
            for channels in self.depth_parts() {
                let (start, frequency) = self.depth_part(&channels);
                let start = start + row * grid.output[2] * channels.len();
                let to = (&vectors, start, frequency);
                // SAFETY: units have different tiles, and each is run once.
                unsafe { self.tiles.transform_input(isa, &part, &input, channels, to) };
            }
        };
        let units = images.len() * blocks.per_image();
        for_each_unit(parallel, units, scratch, self.scratch_per_task(), &unit);
    }
}

/// How a round of a forward pass is cut: into (part of the images, some panels).
struct Cut<const SIDE: usize> {
    vectors: Vectors<SIDE>,
    panels: Panels,
    panels_per_unit: usize,
    image_parts: usize,
}

impl<const SIDE: usize> Cut<SIDE> {
    fn new<T: Float>(isa: Isa, shape: &ConvolutionShape) -> Self {
        let tiles = Tiles::new(shape);
        let per_image = tiles.grid.output_pixels();
        let rounds = shape.batch.div_ceil((TILES / per_image).max(1)).max(1);
        let images = shape.batch.div_ceil(rounds).max(1);
        let panels = Panels::new::<T>(isa, shape.output_channels);
        let few = images * per_image <= FEW_TILES && panels.count() >= 2 * UNITS;
        let panels_per_unit = if few { 2 } else { 1 };
        let units = panels.count().div_ceil(panels_per_unit);
        let image_parts = UNITS.div_ceil(units).clamp(1, images);
        Cut { vectors: Vectors::new(tiles, images), panels, panels_per_unit, image_parts }
    }

    /// Lengths of a task's transformed part of a panel of the weight, the panel's products, and its
    /// part of the output, if it is turned.
    fn scratch_parts(&self) -> [usize; 3] {
        let (grid, width) = (&self.vectors.tiles.grid, self.panels.panel(0).2);
        let images = self.vectors.images.div_ceil(self.image_parts);
        let tiles = images * grid.output_pixels();
        let rows = match grid.output_layout {
            Layout::ChannelsFirst => tiles * self.vectors.tiles.outputs.pow(2) * width,
            Layout::ChannelsLast => 0,
        };
        [
            Tiles::<SIDE>::FREQUENCIES * weight_frequency(width),
            Tiles::<SIDE>::FREQUENCIES * Tiles::<SIDE>::frequency(tiles, width),
            rows,
        ]
    }

    fn scratch_per_task(&self) -> usize {
        let [weight, products, rows] = self.scratch_parts();
        (self.panels_per_unit * (weight + products) + rows).next_multiple_of(ALIGNMENT)
    }

    /// The panels of a unit, and its images of so many.
    fn unit(&self, unit: usize, images: usize) -> (Range<usize>, Range<usize>) {
        let (group, image_part) = (unit / self.image_parts, unit % self.image_parts);
        let panels = group * self.panels_per_unit..(group + 1) * self.panels_per_unit;
        let boundary = |part: usize| part * images / self.image_parts;
        (
            panels.start..panels.end.min(self.panels.count()),
            boundary(image_part)..boundary(image_part + 1),
        )
    }

    fn units(&self) -> usize {
        self.panels.count().div_ceil(self.panels_per_unit) * self.image_parts
    }
}

/// The distance of the frequencies of a transformed part of a panel.
fn weight_frequency(width: usize) -> usize {
    DEPTH * width + ALIGNMENT
}

/// The length of the working memory that a forward pass needs.
pub(super) fn scratch_elements<T: Float, const SIDE: usize>(
    isa: Isa,
    shape: &ConvolutionShape,
) -> usize {
    let cut = Cut::<SIDE>::new::<T>(isa, shape);
    cut.vectors.tiles.packed_weight(cut.panels)
        + cut.vectors.elements().next_multiple_of(ALIGNMENT)
        + cut.vectors.scratch().max(cut.units().min(TASKS) * cut.scratch_per_task())
}

/// The convolution with a weight whose elements lie in the given order.
pub(super) fn forward<T: Float, const SIDE: usize>(
    isa: Isa,
    parallel: &dyn Parallel,
    shape: &ConvolutionShape,
    input: Source<T>,
    (weight, order): (&[T], Order),
    finish: Finish<T>,
    output: Target<T>,
    scratch: &mut [T],
) {
    let cut = Cut::<SIDE>::new::<T>(isa, shape);
    let (packed, scratch) = scratch.split_at_mut(cut.vectors.tiles.packed_weight(cut.panels));
    let elements = cut.vectors.elements().next_multiple_of(ALIGNMENT);
    let (vectors, scratch) = scratch.split_at_mut(elements);
    order.pack(isa, parallel, cut.panels, weight, packed);
    let (packed, output) = (&*packed, output.shared());
    for first in (0..shape.batch).step_by(cut.vectors.images) {
        let images = first..shape.batch.min(first + cut.vectors.images);
        cut.vectors.fill(isa, parallel, images.clone(), input, vectors, scratch);
        let vectors = &*vectors;
        let unit = |unit: usize, scratch: &mut [T]| {
            let (panels, own) = cut.unit(unit, images.len());
            if own.is_empty() {
                return;
            }
            let [weights, products, _] = cut.scratch_parts().map(|length| length * panels.len());
            let (weights, scratch) = scratch.split_at_mut(weights);
            let (products, rows) = scratch.split_at_mut(products);
            let operands = (packed, vectors);
            let stride =
                cut.multiply(isa, panels.clone(), own.clone(), operands, weights, products);
            let grid = &cut.vectors.tiles.grid;
            let part = Part::of_images(grid, first + own.start..first + own.end);
            for (panel, products) in panels.zip(products.chunks_exact(cut.scratch_parts()[1])) {
                let (channel, columns, width) = cut.panels.panel(panel);
                let (products, channels) = ((products, stride, width), (channel, columns));
                let (tiles, to) = (cut.vectors.tiles, (&output, &mut *rows));
                // SAFETY: units have different images or channels, and each is run once.
                unsafe { tiles.write(isa, shape, &part, products, channels, finish, to) };
            }
        };
        for_each_unit(parallel, cut.units(), scratch, cut.scratch_per_task(), &unit);
    }
}

impl<const SIDE: usize> Cut<SIDE> {
    /// The products of some panels with the tiles of some images, which count from the round's first;
    /// returns the distance of their frequencies.
    fn multiply<T: Float>(
        &self,
        isa: Isa,
        panels: Range<usize>,
        images: Range<usize>,
        (packed, vectors): (&[T], &[T]),
        weights: &mut [T],
        products: &mut [T],
    ) -> usize {
        let per_image = self.vectors.tiles.grid.output_pixels();
        let (first, tiles) = (images.start * per_image, images.len() * per_image);
        let [weight_length, products_length, _] = self.scratch_parts();
        let stride = Tiles::<SIDE>::frequency(tiles, self.panels.panel(0).2);
        for channels in self.vectors.depth_parts() {
            let (start, frequency) = self.vectors.depth_part(&channels);
            let depth = channels.len();
            let stretches = Stretches::new(smallvec![0], depth);
            for (panel, weight) in panels.clone().zip(weights.chunks_exact_mut(weight_length)) {
                self.transform_weight(isa, panel, channels.clone(), packed, weight);
            }
            let products = Parts::new(&mut *products);
            for index in 0..Tiles::<SIDE>::FREQUENCIES {
                let data = &vectors[start + index * frequency + first * depth..];
                let left = Left { data, row: depth, step: 1, stretches: &stretches };
                for (place, panel) in panels.clone().enumerate() {
                    let (_, columns, width) = self.panels.panel(panel);
                    let weight = place * weight_length + index * weight_frequency(width);
                    let weight = &weights[weight..][..depth * width];
                    let columns = (place * products_length + index * stride, columns);
                    // SAFETY: the products are borrowed, and computed one after another.
                    let mut c = unsafe { Block::new(&products, width, (0, tiles), columns) };
                    let accumulate = channels.start > 0;
                    multiply(
                        isa,
                        self.panels,
                        left,
                        weight,
                        accumulate,
                        &mut c,
                        BlockEpilogue::NONE,
                    );
                }
            }
        }
        stride
    }

    /// Transforms some rows of a panel of the packed weight.
    fn transform_weight<T: Float>(
        &self,
        isa: Isa,
        panel: usize,
        rows: Range<usize>,
        packed: &[T],
        transformed: &mut [T],
    ) {
        let (column, _, width) = self.panels.panel(panel);
        let to = (&Parts::new(transformed), 0, weight_frequency(width));
        let tiles = self.vectors.tiles;
        // SAFETY: `transformed` is borrowed for this call alone.
        unsafe { tiles.transform_weight(isa, (column, width), rows, packed, to) };
    }
}
