//! The gradient to the weight: the windows' elements by pixels, times the output's gradient.

use super::super::ConvolutionShape;
use super::super::ends::{Gradient, Source};
use super::super::units::{TASKS, for_each_unit};
use super::block::{Blocks, Input, Part};
use super::{ALIGNMENT, MAX_PIXELS, flat, stretches};
use crate::gemm::{Block, BlockEpilogue, Left, Matrix, Panels, Stretches, multiply};
use crate::parallel::{Parts, for_each_chunk};
use crate::permute::copy_strided;
use crate::shape::Sizes;
use crate::window::Layout;
use crate::{Float, Isa, Parallel};
use std::ops::Range;

/// Bytes of the partial sums of all parts at most.
const SUMS_BYTES: usize = 16 * 1024 * 1024;
/// Elements that a task adds up over the parts.
const WORK: usize = 4096;

/// How the pass is cut: into (part of the blocks, group, part of the weight). The sums over parts of
/// the blocks are added at the end.
struct Cut {
    blocks: Blocks,
    panels: Panels,
    block_parts: usize,
    /// Stretches of the windows, and their length.
    stretches: usize,
    length: usize,
    weight_parts: usize,
    pooled: bool,
}

impl Cut {
    fn new<T: Float>(isa: Isa, shape: &ConvolutionShape, pooled: bool) -> Cut {
        let blocks = Blocks::new::<T>(shape, MAX_PIXELS);
        let panels = Panels::new::<T>(isa, shape.group_outputs());
        let (offsets, length) = stretches(shape, [0; 3]);
        let most = SUMS_BYTES / size_of::<T>() / shape.weight_elements();
        let block_parts = most.clamp(1, TASKS).min(blocks.count(shape)).max(1);
        let items = panels.count() * offsets.len();
        let weight_parts = TASKS.div_ceil(block_parts * shape.groups).min(items);
        let stretches = offsets.len();
        Cut { blocks, panels, block_parts, stretches, length, weight_parts, pooled }
    }

    fn units(&self, shape: &ConvolutionShape) -> usize {
        self.block_parts * shape.groups * self.weight_parts
    }

    /// The part of the blocks, the group, and the part of the weight of a unit: pairs of a panel and a
    /// stretch.
    fn unit(&self, shape: &ConvolutionShape, unit: usize) -> (usize, usize, Range<usize>) {
        let (unit, weight_part) = (unit / self.weight_parts, unit % self.weight_parts);
        let items = self.panels.count() * self.stretches;
        let boundary = |part: usize| part * items / self.weight_parts;
        let items = boundary(weight_part)..boundary(weight_part + 1);
        (unit / shape.groups, unit % shape.groups, items)
    }

    /// Lengths of a task's copies of the input, of the output's gradient from a pool, and of a panel of it.
    fn scratch_parts(&self, shape: &ConvolutionShape) -> [usize; 3] {
        let pixels = self.blocks.pixels(shape);
        let pooled = if self.pooled { pixels * shape.output_channels } else { 0 };
        let panel = pixels * self.panels.panel(0).2;
        let parts = [self.blocks.input_elements(shape), pooled, panel];
        parts.map(|part| part.next_multiple_of(ALIGNMENT))
    }

    fn scratch_per_task(&self, shape: &ConvolutionShape) -> usize {
        self.scratch_parts(shape).iter().sum()
    }

    fn sums(&self, shape: &ConvolutionShape) -> usize {
        (self.block_parts * shape.weight_elements()).next_multiple_of(ALIGNMENT)
    }
}

/// The length of the working memory that the pass needs.
pub(super) fn scratch_elements<T: Float>(
    isa: Isa,
    shape: &ConvolutionShape,
    pooled: bool,
) -> usize {
    let shape = &flat(shape);
    let cut = Cut::new::<T>(isa, shape, pooled);
    cut.sums(shape) + cut.units(shape).min(TASKS) * cut.scratch_per_task(shape)
}

/// See [`super::super::convolution_weight_gradient`].
pub(in super::super) fn weight_gradient<T: Float>(
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
    let shape = &flat(shape);
    let cut = Cut::new::<T>(isa, shape, output_gradient.is_pooled());
    let (elements, blocks) = (shape.weight_elements(), cut.blocks.count(shape));
    // Sums by (part of the blocks, group, tap, input channel, output channel).
    let (sums, scratch) = scratch.split_at_mut(cut.sums(shape));
    let parts = Parts::new(sums);
    let unit = |unit: usize, scratch: &mut [T]| {
        let (block_part, group, items) = cut.unit(shape, unit);
        let [memory, pooled, _] = cut.scratch_parts(shape);
        let (memory, scratch) = scratch.split_at_mut(memory);
        let (pooled, panel) = scratch.split_at_mut(pooled);
        let blocks =
            block_part * blocks / cut.block_parts..(block_part + 1) * blocks / cut.block_parts;
        // Room for the rows of nearly all blocks, which have at most MAX_PIXELS pixels.
        let mut pixels = Stretches::new(Sizes::with_capacity(MAX_PIXELS / 8), 0);
        for block in blocks.clone() {
            let part = cut.blocks.part(shape, block);
            let input = Input::new(isa, shape, group, &part, Source::Array(input), memory);
            let gradient = Gradient::new(isa, shape, &part, output_gradient, pooled);
            // The block's pixels are the steps of the product.
            let rows = part.rows().map(|(image, [z, y])| input.offset(shape, image, [z, y, 0]));
            pixels.refill(rows, part.sizes()[2]);
            let (offsets, _) = stretches(shape, input.strides);
            let mut packed = None;
            for item in items.clone() {
                let (index, stretch) = (item / cut.stretches, item % cut.stretches);
                let (column, columns, width) = cut.panels.panel(index);
                let in_place = gradient.is_panel(&part, (columns, width));
                if in_place.is_none() && packed.replace(index) != Some(index) {
                    let channel = group * shape.group_outputs() + column;
                    pack_gradient(isa, &part, cut.panels, (channel, columns), &gradient, panel);
                }
                let panel = in_place.unwrap_or(panel);
                let data = &input.data[offsets[stretch]..];
                let step = shape.stride[2] * input.strides[2];
                let left = Left { data, row: 1, step, stretches: &pixels };
                let outputs = shape.group_outputs();
                let start = block_part * elements / outputs + group * shape.depth();
                let rows = (start + stretch * cut.length, cut.length);
                // SAFETY: units have different parts, groups, panels or stretches, and each is run
                // once; the stretches of a unit are computed one after another.
                let mut c = unsafe { Block::new(&parts, outputs, rows, (column, columns)) };
                multiply(
                    isa,
                    cut.panels,
                    left,
                    panel,
                    block > blocks.start,
                    &mut c,
                    BlockEpilogue::NONE,
                );
            }
        }
    };
    for_each_unit(parallel, cut.units(shape), scratch, cut.scratch_per_task(shape), &unit);
    let sum = add_parts(isa, parallel, &mut sums[..cut.block_parts * elements], elements);
    in_order(parallel, shape, sum, weight_gradient);
}

/// The sum of parts of so many elements, in order.
pub(in super::super) fn add_parts<'a, T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    parts: &'a mut [T],
    elements: usize,
) -> &'a [T] {
    let (sum, others) = parts.split_at_mut(elements);
    let others = &*others;
    for_each_chunk(parallel, sum, WORK, &|index, sum| {
        add(isa, others, elements, index * WORK, sum);
    });
    sum
}

/// Packs the output's gradient at a block's pixels, for some channels.
pub(in super::super) fn pack_gradient<T: Float>(
    isa: Isa,
    part: &Part,
    panels: Panels,
    (channel, columns): (usize, usize),
    gradient: &Gradient<T>,
    panel: &mut [T],
) {
    let (pixels, width) = (part.pixels(), panels.width(columns));
    for image in 0..part.images.len() {
        let data = &gradient.data[image * gradient.image + channel * gradient.channel..];
        let rows = Matrix::new(data, pixels, columns, gradient.pixel, gradient.channel);
        panels.pack(isa, rows, &mut panel[image * pixels * width..][..pixels * width]);
    }
}

per_isa! {
    /// Adds to `sum`, which begins at `start` of the first part, the same elements of the others.
    fn add<I, T: Float>(others: &[T], distance: usize, start: usize, sum: &mut [T]) {
        for other in others.chunks_exact(distance) {
            let other = &other[start..start + sum.len()];
            sum.iter_mut().zip(other).for_each(|(sum, &other)| *sum += other);
        }
    }
}

/// Writes sums by (group, tap, input channel, output channel) in the weight's order.
pub(in super::super) fn in_order<T: Float>(
    parallel: &dyn Parallel,
    shape: &ConvolutionShape,
    sum: &[T],
    weight_gradient: &mut [T],
) {
    let (taps, inputs, outputs) = (shape.taps(), shape.group_inputs(), shape.group_outputs());
    let size = [shape.groups, outputs, inputs, taps];
    let (input, tap) = match shape.weight_layout {
        Layout::ChannelsFirst => (taps, 1),
        Layout::ChannelsLast => (1, inputs),
    };
    let depth = shape.depth();
    let from = [depth * outputs, 1, outputs, inputs * outputs];
    let to = [depth * outputs, depth, input, tap];
    copy_strided(parallel, &size, sum, &from, weight_gradient, &to);
}
