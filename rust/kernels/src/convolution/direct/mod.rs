//! Convolution without a matrix of windows: a pixel's channels lie next to one another, so a row of a
//! kernel's window is a stretch of memory, and neighbouring windows are rows of an operand that
//! overlap. The weight is the other operand, in packed panels.

mod block;
mod pack;
mod weight;

use super::ends::{Output, Source, Target};
use super::phases::Phase;
use super::units::{TASKS, for_each_unit};
use super::{ConvolutionShape, Pass};
use crate::gemm::{
    Block, BlockEpilogue, Buffer, Epilogue, Left, Matrix, Panels, Stretches, finish, multiply,
    multiply_by_dots, suits_dots, transpose, transpose_to,
};
use crate::parallel::{Parts, for_each_chunk};
use crate::shape::Sizes;
use crate::window::Layout;
use crate::{Float, Isa, Parallel};
use smallvec::{SmallVec, smallvec};
use std::cell::RefCell;
use std::ops::Range;

pub(super) use block::{Blocks, Input, Part};
pub(super) use pack::Order;
pub(super) use weight::{add_parts, in_order, pack_gradient, weight_gradient};

/// The longest stretch of the depth that is summed before it is added to the output: rounding errors
/// grow with the length of a sum, and so much of a panel stays in the cache.
const DEPTH: usize = 256;
/// Elements that a task sets to zero.
const ZEROS: usize = 64 * 1024;
/// Pixels of a block at most.
const MAX_PIXELS: usize = 1024;
/// Elements of the weight from which on the sums of its gradient leave the cache.
const CACHED_SUMS: f64 = 65536.0;
/// Parts of the working memory begin at multiples of this: at a cache line.
const ALIGNMENT: usize = 16;

thread_local! {
    /// A few columns of a weight, one after another.
    static COLUMNS: RefCell<Buffer> = const { RefCell::new(Buffer::new()) };
}

/// Whether a pass over this shape can be computed so.
pub(super) fn supports(pass: Pass, shape: &ConvolutionShape) -> bool {
    let fits = shape.stride == [1; 3] || shape.input_layout == Layout::ChannelsLast;
    pass != Pass::InputGradient || fits && shape.phases().is_some()
}

/// How much longer a pass over this shape takes, for as many products, than one over a large shape.
///
/// The rows of a product are those of the image, so narrow images fill its tiles badly; and each block
/// of pixels reads and writes the sums of the weight's gradient, which pays if there are many pixels or
/// the sums stay in the cache.
pub(super) fn cost<T: Float>(isa: Isa, pass: Pass, shape: &ConvolutionShape) -> f64 {
    match pass {
        Pass::Forward => narrow(&flat(shape)),
        Pass::InputGradient => match shape.turned() {
            Some(turned) => narrow(&flat(&turned)),
            None => strided_cost::<T>(isa, shape),
        },
        Pass::WeightGradient => {
            let pixels = (shape.batch * shape.output_pixels()).max(1) as f64;
            let out_of_cache = shape.weight_elements() as f64 / CACHED_SUMS;
            1.0 + 250.0 / pixels * out_of_cache.min(1.0)
        }
    }
}

/// The cost of rows of an image's width.
fn narrow(shape: &ConvolutionShape) -> f64 {
    let width = shape.output[2].max(1) as f64;
    1.0 + 4.0 / (width * width)
}

/// The cost of a gradient to the input whose windows leave gaps, phase by phase: narrow rows, columns of the
/// weight's panels that are empty, packing the weight for few pixels, and handing each phase to the threads.
/// Fitted to an AMD Zen 5.
fn strided_cost<T: Float>(isa: Isa, shape: &ConvolutionShape) -> f64 {
    const PHASE_FLOPS: f64 = 300_000.0;
    // The first phase is as wide as any.
    let Some(first) = shape.phases().and_then(|mut phases| phases.next()) else {
        return f64::INFINITY;
    };
    let phases = shape.phases().into_iter().flatten().count() as f64;
    let columns = shape.group_inputs();
    let filled = columns as f64 / Panels::new::<T>(isa, columns).packed_columns() as f64;
    let pixels = (shape.batch * shape.output_pixels()).max(1) as f64;
    let handed = phases * PHASE_FLOPS / shape.flops().max(1) as f64;
    narrow(&first.shape) * (1.0 + 16.0 / pixels) / filled + handed
}

/// Whether a pass that is supported can write to a pool, or read from one.
pub(super) fn pools<T: Float>(isa: Isa, pass: Pass, shape: &ConvolutionShape) -> bool {
    let shape = match pass {
        Pass::InputGradient => shape.turned(),
        _ => Some(*shape),
    };
    shape.filter(|shape| flat(shape) == *shape).is_some_and(|shape| match pass {
        Pass::Forward => {
            let cut = Cut::new::<T>(isa, &shape, true);
            cut.panel_parts == 1 && cut.blocks.have_whole_images()
        }
        Pass::InputGradient => Blocks::new::<T>(&shape, MAX_PIXELS).read_whole_rows(&shape),
        Pass::WeightGradient => Blocks::new::<T>(&shape, MAX_PIXELS).have_whole_rows(),
    })
}

/// The length of the working memory that a pass needs.
pub(super) fn scratch_elements<T: Float>(
    isa: Isa,
    pass: Pass,
    shape: &ConvolutionShape,
    pooled: bool,
) -> usize {
    let cut = |shape: &ConvolutionShape, pooled| {
        let cut = Cut::new::<T>(isa, shape, pooled);
        (cut.packed(shape), cut.scratch(shape))
    };
    match pass {
        Pass::Forward => {
            let (packed, scratch) = cut(&flat(shape), pooled);
            packed + scratch
        }
        // Its input is pooled, which takes no other memory.
        Pass::InputGradient => {
            let phases = shape.phases().into_iter().flatten();
            let sizes = phases.map(|phase| cut(&placed(shape, &phase).0, false));
            let (packed, scratch) = sizes
                .fold((0, 0), |(all, most), (packed, scratch)| (all + packed, most.max(scratch)));
            packed + scratch
        }
        Pass::WeightGradient => weight::scratch_elements::<T>(isa, shape, pooled),
    }
}

/// `output = relu(convolution + bias)`; see [`super::convolution`].
pub(super) fn convolution<T: Float>(
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
    let (order, shape) = (Order::forward(shape), &flat(shape));
    let panels = Panels::new::<T>(isa, shape.group_outputs());
    let (weight, scratch) =
        Packed::new(isa, parallel, (weight, order), (panels, shape.groups, shape.depth()), scratch);
    let finish = (Epilogue::of(bias, relu), Grid::whole(shape));
    let (input, output) = (Source::Array(input), output.shared());
    forward(isa, parallel, shape, input, &weight, finish, output, scratch);
}

/// See [`super::convolution_input_gradient`].
pub(super) fn input_gradient<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    shape: &ConvolutionShape,
    output_gradient: Source<T>,
    weight: &[T],
    input_gradient: &mut [T],
    scratch: &mut [T],
) {
    let Some(phases) = shape.phases() else { unreachable!("the shape is not supported") };
    if shape.has_uncovered() {
        for_each_chunk(parallel, input_gradient, ZEROS, &|_, chunk| chunk.fill(T::ZERO));
    }
    let depth = shape.phases().into_iter().flatten().map(|phase| phase.shape.depth()).sum();
    let panels = Panels::new::<T>(isa, shape.group_inputs());
    let weight = (weight, Order::backward(shape));
    let (mut weight, scratch) =
        Packed::new(isa, parallel, weight, (panels, shape.groups, depth), scratch);
    for phase in phases {
        let (phase, grid) = placed(shape, &phase);
        let (x, y) = (output_gradient, Target::Array(&mut *input_gradient).shared());
        let finish = (Epilogue::None, grid);
        forward(isa, parallel, &phase, x, &weight, finish, y, scratch);
        weight.first += phase.depth();
    }
}

/// A phase of a gradient to the input as it is computed, and its pixels.
fn placed(shape: &ConvolutionShape, phase: &Phase) -> (ConvolutionShape, Grid) {
    if shape.stride == [1; 3] {
        let shape = flat(&phase.shape);
        return (shape, Grid::whole(&shape));
    }
    (phase.shape, Grid { size: shape.input, stride: shape.stride, offset: phase.offset })
}

/// A weight in packed panels.
struct Packed<'a, T> {
    panels: Panels,
    data: &'a [T],
    /// Rows of a group's panel, and the first one of this convolution's.
    depth: usize,
    first: usize,
}

impl<'a, T: Float> Packed<'a, T> {
    /// Packs a weight, of so many groups and rows, into the first part of the memory; returns the rest too.
    fn new(
        isa: Isa,
        parallel: &dyn Parallel,
        (weight, order): (&[T], Order),
        (panels, groups, depth): (Panels, usize, usize),
        memory: &'a mut [T],
    ) -> (Self, &'a mut [T]) {
        let (data, rest) = memory.split_at_mut(packed_length(panels, groups, depth));
        order.pack(isa, parallel, panels, weight, data);
        (Packed { panels, data, depth, first: 0 }, rest)
    }

    /// So many rows of a group's panel, which begins at a column.
    fn panel(&self, group: usize, (column, width): (usize, usize), rows: usize) -> &'a [T] {
        let group = group * self.depth * self.panels.packed_columns();
        &self.data[group + column * self.depth + self.first * width..][..rows * width]
    }
}

/// The length of a packed weight.
fn packed_length(panels: Panels, groups: usize, depth: usize) -> usize {
    (groups * depth * panels.packed_columns()).next_multiple_of(ALIGNMENT)
}

/// The same convolution with all pixels in one row, if its windows are single pixels.
fn flat(shape: &ConvolutionShape) -> ConvolutionShape {
    if !shape.is_pointwise() {
        return *shape;
    }
    let (batch, pixels) = match shape.common_layout() {
        Some(Layout::ChannelsLast) => (shape.batch.min(1), shape.batch * shape.input_pixels()),
        _ => (shape.batch, shape.input_pixels()),
    };
    let row = [1, 1, pixels.max(1)];
    ConvolutionShape { batch, input: row, output: row, ..*shape }
}

/// How a forward pass is cut: into (block of the output, group, part of its output channels).
struct Cut {
    blocks: Blocks,
    panels: Panels,
    panel_parts: usize,
    pooled: bool,
}

impl Cut {
    fn new<T: Float>(isa: Isa, shape: &ConvolutionShape, pooled: bool) -> Cut {
        let blocks = Blocks::new::<T>(shape, MAX_PIXELS);
        let panels = Panels::new::<T>(isa, shape.group_outputs());
        let units = (blocks.count(shape) * shape.groups).max(1);
        let panel_parts = (TASKS / 2).div_ceil(units).min(panels.count());
        Cut { blocks, panels, panel_parts, pooled }
    }

    fn units(&self, shape: &ConvolutionShape) -> usize {
        self.blocks.count(shape) * shape.groups * self.panel_parts
    }

    /// The block, the group and its panels of a unit.
    fn unit(&self, shape: &ConvolutionShape, unit: usize) -> (Part, usize, Range<usize>) {
        let (unit, part) = (unit / self.panel_parts, unit % self.panel_parts);
        let boundary = |part: usize| part * self.panels.count() / self.panel_parts;
        let block = self.blocks.part(shape, unit / shape.groups);
        (block, unit % shape.groups, boundary(part)..boundary(part + 1))
    }

    /// The length of the packed weight.
    fn packed(&self, shape: &ConvolutionShape) -> usize {
        packed_length(self.panels, shape.groups, shape.depth())
    }

    /// Lengths of a task's copy of the input, and of a panel's part of the output or, if it is pooled, of
    /// all of it.
    fn scratch_parts(&self, shape: &ConvolutionShape) -> (usize, usize) {
        let width = self.panels.panel(0).2;
        let product = match shape.output_layout {
            _ if self.pooled => self.blocks.pixels(shape) * shape.output_channels,
            Layout::ChannelsFirst => self.blocks.pixels(shape) * width,
            Layout::ChannelsLast => 0,
        };
        (self.blocks.input_elements(shape).next_multiple_of(ALIGNMENT), product)
    }

    fn scratch_per_task(&self, shape: &ConvolutionShape) -> usize {
        let (input, product) = self.scratch_parts(shape);
        (input + product).next_multiple_of(ALIGNMENT)
    }

    fn scratch(&self, shape: &ConvolutionShape) -> usize {
        self.units(shape).min(TASKS) * self.scratch_per_task(shape)
    }
}

/// The convolution, to the pixels of a grid.
fn forward<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    shape: &ConvolutionShape,
    input: Source<T>,
    packed: &Packed<T>,
    (epilogue, grid): (Epilogue<T>, Grid),
    output: Output<T>,
    scratch: &mut [T],
) {
    let cut = Cut::new::<T>(isa, shape, matches!(output, Output::Pooled(_)));
    let unit = |unit: usize, scratch: &mut [T]| {
        let (part, group, panels) = cut.unit(shape, unit);
        let (memory, product) = scratch.split_at_mut(cut.scratch_parts(shape).0);
        let input = &Input::new(isa, shape, group, &part, input, memory);
        let unit = Unit { isa, shape, cut: &cut, grid: &grid, part: &part, group, input };
        unit.run(panels, packed, epilogue, &output, product);
    };
    for_each_unit(parallel, cut.units(shape), scratch, cut.scratch_per_task(shape), &unit);
}

/// A block of the output, in a group.
struct Unit<'a, T> {
    isa: Isa,
    shape: &'a ConvolutionShape,
    cut: &'a Cut,
    grid: &'a Grid,
    part: &'a Part,
    group: usize,
    input: &'a Input<'a, T>,
}

impl<T: Float> Unit<'_, T> {
    /// Computes panels of output channels; `product` is memory for them.
    fn run(
        &self,
        panels: Range<usize>,
        packed: &Packed<'_, T>,
        epilogue: Epilogue<'_, T>,
        output: &Output<'_, T>,
        product: &mut [T],
    ) {
        let Unit { isa, shape, cut, grid, part, group, .. } = *self;
        let depth = Depth::new(shape, self.input.strides);
        for index in panels {
            let (column, columns, width) = cut.panels.panel(index);
            let packed = packed.panel(group, (column, width), shape.depth());
            let panel = Panel { panels: cut.panels, packed, columns, depth: &depth };
            let channel = group * shape.group_outputs() + column;
            let [_, height, width_of_part] = part.sizes();
            let within = |image: usize, [z, y]: [usize; 2]| {
                image * part.pixels() + (z * height + y) * width_of_part
            };
            let all = shape.output_channels;
            match (output, shape.output_layout) {
                (Output::Array(output), Layout::ChannelsFirst) => {
                    let rows = &Parts::new(product);
                    let start = |image, row| within(image, row) * width;
                    let place = Place { rows, start: &start, pixel: width, column: 0, channel };
                    panel.multiply(isa, shape, part, self.input, place, epilogue);
                    turn(isa, shape, part, (channel, columns, width), product, output);
                }
                (Output::Array(rows), Layout::ChannelsLast) => {
                    let start = |image, row| grid.pixel(part, image, row) * all;
                    let pixel = grid.stride[2] * all;
                    let place = Place { rows, start: &start, pixel, column: channel, channel };
                    panel.multiply(isa, shape, part, self.input, place, epilogue);
                }
                (Output::Pooled(_), _) => {
                    let rows = &Parts::new(&mut *product);
                    let start = |image, row| within(image, row) * all;
                    let place = Place { rows, start: &start, pixel: all, column: channel, channel };
                    panel.multiply(isa, shape, part, self.input, place, epilogue);
                }
            }
        }
        if let Output::Pooled(pool) = output {
            // SAFETY: units have different images, and each is run once.
            unsafe { part.pool(isa, shape, pool, product) };
        }
    }
}

/// The pixels of an array that are the output: `offset + stride * position` along each axis.
pub(super) struct Grid {
    size: [usize; 3],
    stride: [usize; 3],
    offset: [usize; 3],
}

impl Grid {
    /// All pixels of an output.
    pub(super) fn whole(shape: &ConvolutionShape) -> Self {
        Grid { size: shape.output, stride: [1; 3], offset: [0; 3] }
    }

    /// The first pixel of a row of a block.
    pub(super) fn pixel(&self, part: &Part, image: usize, [z, y]: [usize; 2]) -> usize {
        let at = [z, y, 0];
        (0..3).fold(part.images.start + image, |pixel, axis| {
            let position = part.outputs[axis].start + at[axis];
            pixel * self.size[axis] + position * self.stride[axis] + self.offset[axis]
        })
    }
}

/// The depth of a convolution in the order in which it is summed: parts, each some stretches of the
/// windows.
struct Depth(SmallVec<[Stretches; 24]>);

impl Depth {
    fn new(shape: &ConvolutionShape, strides: [usize; 3]) -> Self {
        let (offsets, length) = stretches(shape, strides);
        if length > DEPTH {
            let parts = length.div_ceil(DEPTH);
            let boundary = |part: usize| part * length / parts;
            return Depth(
                offsets
                    .iter()
                    .flat_map(|offset| (0..parts).map(move |part| (offset, part)))
                    .map(|(offset, part)| {
                        let start = boundary(part);
                        Stretches::new(smallvec![offset + start], boundary(part + 1) - start)
                    })
                    .collect(),
            );
        }
        let parts = offsets.len().div_ceil(DEPTH / length);
        let per_part = offsets.len().div_ceil(parts);
        let part = |part: &[usize]| Stretches::new(Sizes::from_slice(part), length);
        Depth(offsets.chunks(per_part).map(part).collect())
    }
}

/// Where the stretches of a window begin, and their length.
fn stretches(shape: &ConvolutionShape, strides: [usize; 3]) -> (Sizes, usize) {
    let [depth, height, width] = shape.kernel;
    let channels = shape.group_inputs();
    let (columns, length) = match shape.dilation[2] {
        1 => (1, width * channels),
        _ => (width, channels),
    };
    let step = [0, 1, 2].map(|axis| shape.dilation[axis] * strides[axis]);
    let rows = (0..depth).flat_map(|z| (0..height).map(move |y| z * step[0] + y * step[1]));
    let offsets = rows.flat_map(|row| (0..columns).map(move |x| row + x * step[2]));
    (offsets.collect(), length)
}

/// Where a panel's product goes: a row for each pixel.
#[derive(Clone, Copy)]
pub(super) struct Place<'a, T> {
    pub(super) rows: &'a Parts<'a, T>,
    /// Where the pixels of an image's row begin; both are counted within the block.
    pub(super) start: &'a dyn Fn(usize, [usize; 2]) -> usize,
    /// The distance of a pixel from the one before.
    pub(super) pixel: usize,
    /// Where in a pixel the panel begins.
    pub(super) column: usize,
    /// The first output channel.
    pub(super) channel: usize,
}

/// A panel of the weight.
struct Panel<'a, T> {
    panels: Panels,
    packed: &'a [T],
    columns: usize,
    depth: &'a Depth,
}

impl<T> Place<'_, T> {
    /// The panel's channels of the pixels of an image's row.
    ///
    /// # Safety
    /// Nobody else reads or writes them meanwhile.
    unsafe fn block(
        &self,
        image: usize,
        row: [usize; 2],
        (pixels, columns): (usize, usize),
    ) -> Block<'_, T> {
        let start = (self.start)(image, row) + self.column;
        // SAFETY: the caller's promise.
        unsafe { Block::new(self.rows, self.pixel, (0, pixels), (start, columns)) }
    }
}

impl<T: Float> Panel<'_, T> {
    /// The panel's channels of a block.
    fn multiply(
        &self,
        isa: Isa,
        shape: &ConvolutionShape,
        part: &Part,
        input: &Input<T>,
        place: Place<T>,
        epilogue: Epilogue<T>,
    ) {
        let mut panel = self.packed;
        for (index, stretches) in self.depth.0.iter().enumerate() {
            let (steps, width) = (stretches.columns(), self.panels.width(self.columns));
            let (these, rest) = panel.split_at(steps * width);
            let epilogue = if index + 1 == self.depth.0.len() {
                epilogue.block(0, place.channel, shape.output_channels)
            } else {
                BlockEpilogue::NONE
            };
            let each = |multiply: &dyn Fn(Left<T>, &mut Block<T>)| {
                self.for_each_row(shape, part, input, place, stretches, multiply);
            };
            if suits_dots(self.columns, stretches) {
                COLUMNS.with_borrow_mut(|columns| {
                    let columns = columns.take(steps * self.columns);
                    let weight = Matrix::new(these, steps, self.columns, width, 1);
                    transpose(isa, weight, steps, columns);
                    let weight = Matrix::row_major(columns, self.columns, steps);
                    each(&|left, c| {
                        multiply_by_dots(isa, left, weight, index > 0, c);
                        finish(isa, c, epilogue);
                    });
                });
            } else {
                each(&|left, c| multiply(isa, self.panels, left, these, index > 0, c, epilogue));
            }
            panel = rest;
        }
    }

    /// Runs `task` for the pixels of each row of a block, and the windows that they come from.
    fn for_each_row(
        &self,
        shape: &ConvolutionShape,
        part: &Part,
        input: &Input<T>,
        place: Place<T>,
        stretches: &Stretches,
        task: impl Fn(Left<T>, &mut Block<T>),
    ) {
        let width = part.sizes()[2];
        let row = shape.stride[2] * input.strides[2];
        for (image, [z, y]) in part.rows() {
            let data = &input.data[input.offset(shape, image, [z, y, 0])..];
            // SAFETY: units have different pixels or channels, and each is run once; the rows of a unit
            // are computed one after another.
            let mut c = unsafe { place.block(image, [z, y], (width, self.columns)) };
            task(Left { data, row, step: 1, stretches }, &mut c);
        }
    }
}

/// Writes a panel's rows, one for each pixel of the block, to the planes of its channels.
pub(super) fn turn<T: Float>(
    isa: Isa,
    shape: &ConvolutionShape,
    part: &Part,
    (channel, columns, width): (usize, usize, usize),
    product: &[T],
    output: &Parts<T>,
) {
    let (pixels, plane) = (part.pixels(), shape.output_pixels());
    for image in 0..part.images.len() {
        let rows = Matrix::new(&product[image * pixels * width..], pixels, columns, width, 1);
        let number = part.images.start + image;
        let first = part.first_pixel(shape, image) - number * plane;
        let planes = (number * shape.output_channels + channel, columns);
        // SAFETY: units have different pixels or channels, and each is run once.
        let mut block = unsafe { Block::new(output, plane, planes, (first, pixels)) };
        transpose_to(isa, rows, &mut block);
    }
}
