//! Convolution as a product of matrices: the windows of a block of pixels, copied next to one
//! another, times the weight.
//!
//! The matrix of all windows never exists; a block of it stays in the cache between being written
//! and being multiplied. A pass is cut into a bounded number of tasks, each with its own part of the
//! working memory.

use super::patches::{Patch, PatchTarget, add_patch, copy_patch, row_stride};
use super::transpose::{backward_weight, forward_weight, transposed_sum};
use super::{ConvolutionShape, Pass};
use crate::gemm::{Epilogue, Matrix, MatrixMut, choose, gemm};
use crate::parallel::Parts;
use crate::window::Layout;
use crate::{Float, Isa, Parallel, Serial};
use std::ops::Range;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Tasks of a pass at most: each has working memory of its own.
pub(super) const TASKS: usize = 16;
/// Bytes of a block of the matrix of windows, and of what is computed from it, at most.
const BLOCK_BYTES: usize = 512 * 1024;
/// The longest part of the depth that is multiplied at once.
const DEPTH: usize = 1024;
/// Pixels of a block are a multiple of this: the width of the widest product kernel.
const PIXELS: usize = 32;
/// Pixels of a block at most.
const MAX_PIXELS: usize = 1024;
/// Channels of a part of the channels at least.
const CHANNELS: usize = 32;

/// The length of the working memory that a pass needs.
pub(super) fn scratch_elements<T: Float>(pass: Pass, shape: &ConvolutionShape) -> usize {
    match pass {
        Pass::Forward => {
            let prepared = match shape.input_layout {
                Layout::ChannelsFirst => 0,
                Layout::ChannelsLast => shape.weight_elements(),
            };
            prepared + ForwardCut::new::<T>(shape).scratch(shape)
        }
        Pass::InputGradient => match turned(shape) {
            Some(turned) => {
                shape.weight_elements() + ForwardCut::new::<T>(&turned).scratch(&turned)
            }
            None => ScatterCut::new::<T>(shape).scratch(shape),
        },
        Pass::WeightGradient => WeightCut::new::<T>(shape).scratch(shape),
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
    output: &mut [T],
    scratch: &mut [T],
) {
    let prepared = match shape.input_layout {
        Layout::ChannelsFirst => 0,
        Layout::ChannelsLast => shape.weight_elements(),
    };
    let (prepared, scratch) = scratch.split_at_mut(prepared);
    let weight = forward_weight(isa, parallel, shape, weight, prepared);
    forward(isa, parallel, shape, input, weight, bias, relu, output, scratch);
}

/// See [`super::convolution_input_gradient`].
pub(super) fn input_gradient<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    shape: &ConvolutionShape,
    output_gradient: &[T],
    weight: &[T],
    input_gradient: &mut [T],
    scratch: &mut [T],
) {
    let Some(turned) = turned(shape) else {
        return scatter(isa, parallel, shape, output_gradient, weight, input_gradient, scratch);
    };
    let (prepared, scratch) = scratch.split_at_mut(weight.len());
    backward_weight(parallel, shape, weight, prepared);
    let (x, y) = (output_gradient, input_gradient);
    forward(isa, parallel, &turned, x, prepared, None, false, y, scratch);
}

/// The convolution of the output's gradient that gives the input's, if there is one: where windows
/// lie next to one another.
pub(super) fn turned(shape: &ConvolutionShape) -> Option<ConvolutionShape> {
    let mut padding_before = [0; 3];
    for (axis, padding) in padding_before.iter_mut().enumerate() {
        let reach = (shape.kernel[axis] - 1) * shape.dilation[axis];
        *padding = reach.checked_sub(shape.padding_before[axis])?;
    }
    (shape.stride == [1; 3]).then_some(ConvolutionShape {
        input_channels: shape.output_channels,
        output_channels: shape.input_channels,
        input: shape.output,
        output: shape.input,
        input_layout: shape.output_layout,
        output_layout: shape.input_layout,
        padding_before,
        ..*shape
    })
}

/// One product, on the calling thread.
fn product<T: Float>(
    isa: Isa,
    a: Matrix<T>,
    b: Matrix<T>,
    accumulate: bool,
    c: MatrixMut<T>,
    epilogue: Epilogue<T>,
) {
    let (m, k, n) = (a.rows(), a.columns(), b.columns());
    let algorithm = choose(isa, T::TYPE, m, n, k, a.column_stride() != 1, b.column_stride() != 1);
    let beta = if accumulate { T::ONE } else { T::ZERO };
    gemm(isa, &Serial, algorithm, T::ONE, a, b, beta, c, epilogue);
}

/// Runs `work(unit, working memory)` for each unit, in at most [`TASKS`] tasks.
///
/// A task takes the first working memory that is free: a thread gets the same one again and again, and
/// finds it in its cache.
pub(super) fn for_each_unit<T: Float>(
    parallel: &dyn Parallel,
    units: usize,
    scratch: &mut [T],
    scratch_per_task: usize,
    work: &(dyn Fn(usize, &mut [T]) + Sync),
) {
    let tasks = units.min(TASKS);
    let scratch = Parts::new(scratch);
    let taken = AtomicU32::new(0);
    parallel.for_each(tasks, &|task| {
        let take = |taken: u32| Some(taken | (taken + 1));
        let (Ok(before) | Err(before)) = taken.fetch_update(Acquire, Relaxed, take);
        let place = before.trailing_ones();
        // SAFETY: no more than `tasks` run at once, so one of as many places is free; the place is
        // this task's until it gives it back.
        let memory = unsafe { scratch.range(place as usize * scratch_per_task, scratch_per_task) };
        for unit in task * units / tasks..(task + 1) * units / tasks {
            work(unit, memory);
        }
        taken.fetch_and(!(1 << place), Release);
    });
}

/// Part `index` of `parts` nearly equal ones.
fn part(index: usize, parts: usize, length: usize) -> Range<usize> {
    index * length / parts..(index + 1) * length / parts
}

/// The longest of `parts` nearly equal parts.
fn longest(parts: usize, length: usize) -> usize {
    length.div_ceil(parts)
}

/// How a forward pass is cut: into (block of pixels, group, part of its output channels).
struct ForwardCut {
    /// The windows are the input itself: nothing needs to be copied.
    direct: bool,
    /// Blocks do not cross multiples of this number of pixels.
    segment: usize,
    segments: usize,
    block: usize,
    blocks_per_segment: usize,
    depth_blocks: usize,
    channel_parts: usize,
}

impl ForwardCut {
    fn new<T>(shape: &ConvolutionShape) -> ForwardCut {
        let pixels = shape.output_pixels();
        let pointwise = shape.kernel == [1; 3]
            && shape.stride == [1; 3]
            && shape.padding_before == [0; 3]
            && shape.output == shape.input;
        // With channels first a block must lie in one image to be read in place; for small images
        // of odd sizes the copy costs less than products of odd widths.
        let direct = pointwise
            && (shape.input_layout == Layout::ChannelsLast
                || pixels.is_multiple_of(PIXELS)
                || pixels >= 256);
        let by_image = direct && shape.input_layout == Layout::ChannelsFirst;
        let (segment, segments) =
            if by_image { (pixels, shape.batch) } else { (pixels * shape.batch, 1) };
        let depth_blocks = shape.depth().div_ceil(DEPTH);
        let per_pixel = longest(depth_blocks, shape.depth()) + shape.group_outputs();
        let fitting = BLOCK_BYTES / size_of::<T>() / per_pixel;
        let even = (pixels * shape.batch).div_ceil(TASKS).max(2 * PIXELS);
        let block = fitting.min(even).clamp(PIXELS, MAX_PIXELS) / PIXELS * PIXELS;
        let blocks_per_segment = segment.div_ceil(block);
        let units = (segments * blocks_per_segment * shape.groups).max(1);
        let channel_parts =
            TASKS.div_ceil(units).min(shape.group_outputs().div_ceil(CHANNELS)).max(1);
        ForwardCut {
            direct,
            segment,
            segments,
            block,
            blocks_per_segment,
            depth_blocks,
            channel_parts,
        }
    }

    fn units(&self, shape: &ConvolutionShape) -> usize {
        self.segments * self.blocks_per_segment * shape.groups * self.channel_parts
    }

    /// The pixels, the group and its output channels of a unit.
    fn unit(&self, shape: &ConvolutionShape, unit: usize) -> (Range<usize>, usize, Range<usize>) {
        let (unit, channels) = (unit / self.channel_parts, unit % self.channel_parts);
        let (block, group) = (unit / shape.groups, unit % shape.groups);
        let start = block / self.blocks_per_segment * self.segment;
        let first = block % self.blocks_per_segment * self.block;
        let end = self.segment.min(first + self.block);
        let channels = part(channels, self.channel_parts, shape.group_outputs());
        (start + first..start + end, group, channels)
    }

    /// Lengths of a task's matrix of windows and of its product.
    fn scratch_parts(&self, shape: &ConvolutionShape) -> (usize, usize) {
        let depth = longest(self.depth_blocks, shape.depth());
        let channels = longest(self.channel_parts, shape.group_outputs());
        let (matrix, product) = match shape.input_layout {
            Layout::ChannelsFirst => {
                (depth * row_stride(self.block), channels * row_stride(self.block))
            }
            Layout::ChannelsLast => {
                (self.block * row_stride(depth), self.block * row_stride(channels))
            }
        };
        let whole_rows = shape.input_layout == Layout::ChannelsLast && self.owns_rows(shape);
        (if self.direct { 0 } else { matrix }, if whole_rows { 0 } else { product })
    }

    /// Units have all output channels of their pixels.
    fn owns_rows(&self, shape: &ConvolutionShape) -> bool {
        shape.groups * self.channel_parts == 1
    }

    fn scratch_per_task(&self, shape: &ConvolutionShape) -> usize {
        let (matrix, product) = self.scratch_parts(shape);
        matrix + product
    }

    fn scratch(&self, shape: &ConvolutionShape) -> usize {
        self.units(shape).min(TASKS) * self.scratch_per_task(shape)
    }
}

/// The convolution with a weight in the order of [`forward_weight`].
fn forward<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    shape: &ConvolutionShape,
    input: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    relu: bool,
    output: &mut [T],
    scratch: &mut [T],
) {
    let cut = ForwardCut::new::<T>(shape);
    let output = Parts::new(output);
    let unit = |unit: usize, scratch: &mut [T]| {
        let (pixels, group, channels) = cut.unit(shape, unit);
        let (matrix, product) = scratch.split_at_mut(cut.scratch_parts(shape).0);
        let first = group * shape.group_outputs() + channels.start;
        let bias = bias.map(|bias| &bias[first..first + channels.len()]);
        let block = ForwardBlock { isa, shape, cut: &cut, pixels, group, channels };
        match shape.input_layout {
            Layout::ChannelsFirst => {
                block.channels_first(input, weight, matrix, product);
                block.finish(product, bias, relu, &output);
            }
            Layout::ChannelsLast if cut.owns_rows(shape) => {
                let channels = shape.output_channels;
                let (start, length) = (block.pixels.start, block.pixels.len());
                // SAFETY: blocks of pixels do not overlap, and each is one unit.
                let rows = unsafe { output.range(start * channels, length * channels) };
                block.channels_last(input, weight, bias, relu, matrix, rows, channels);
            }
            Layout::ChannelsLast => {
                let stride = row_stride(block.channels.len());
                block.channels_last(input, weight, bias, relu, matrix, product, stride);
                for (pixel, row) in block.pixels.clone().zip(product.chunks_exact(stride)) {
                    let start = pixel * shape.output_channels + first;
                    // SAFETY: units have different pixels or channels.
                    let target = unsafe { output.range(start, block.channels.len()) };
                    target.copy_from_slice(&row[..block.channels.len()]);
                }
            }
        }
    };
    for_each_unit(parallel, cut.units(shape), scratch, cut.scratch_per_task(shape), &unit);
}

/// A unit of a forward pass.
struct ForwardBlock<'a> {
    isa: Isa,
    shape: &'a ConvolutionShape,
    cut: &'a ForwardCut,
    pixels: Range<usize>,
    group: usize,
    channels: Range<usize>,
}

impl ForwardBlock<'_> {
    /// The windows at some depth as a matrix: the input itself, or a copy in `memory`.
    fn windows<'a, T: Float>(
        &self,
        depth: Range<usize>,
        input: &'a [T],
        memory: &'a mut [T],
    ) -> Matrix<'a, T> {
        let shape = self.shape;
        let patch =
            Patch { shape, group: self.group, pixels: self.pixels.clone(), depth: depth.clone() };
        let (rows, columns) = patch.size();
        if !self.cut.direct {
            copy_patch(self.isa, &patch, input, memory);
            return Matrix::new(memory, rows, columns, row_stride(columns), 1);
        }
        let channel = self.group * shape.group_inputs() + depth.start;
        let pixels = shape.input_pixels();
        let (start, stride) = match shape.input_layout {
            Layout::ChannelsFirst => {
                let (image, pixel) = (self.pixels.start / pixels, self.pixels.start % pixels);
                ((image * shape.input_channels + channel) * pixels + pixel, pixels)
            }
            Layout::ChannelsLast => {
                (self.pixels.start * shape.input_channels + channel, shape.input_channels)
            }
        };
        Matrix::new(&input[start..], rows, columns, stride, 1)
    }

    /// `product = weight * windows`, a row per output channel.
    fn channels_first<T: Float>(
        &self,
        input: &[T],
        weight: &[T],
        memory: &mut [T],
        result: &mut [T],
    ) {
        let (shape, pixels) = (self.shape, self.pixels.len());
        let first = self.group * shape.group_outputs() + self.channels.start;
        for block in 0..self.cut.depth_blocks {
            let depth = part(block, self.cut.depth_blocks, shape.depth());
            let a = &weight[first * shape.depth() + depth.start..];
            let a = Matrix::new(a, self.channels.len(), depth.len(), shape.depth(), 1);
            let b = self.windows(depth, input, memory);
            let c = MatrixMut::new(result, self.channels.len(), pixels, row_stride(pixels), 1);
            product(self.isa, a, b, block > 0, c, Epilogue::None);
        }
    }

    /// `product = relu(windows * weight + bias)`, a row per pixel.
    fn channels_last<T: Float>(
        &self,
        input: &[T],
        weight: &[T],
        bias: Option<&[T]>,
        relu: bool,
        memory: &mut [T],
        result: &mut [T],
        result_stride: usize,
    ) {
        let (shape, channels) = (self.shape, self.channels.len());
        let outputs = shape.group_outputs();
        let weight = &weight[self.group * shape.depth() * outputs + self.channels.start..];
        for block in 0..self.cut.depth_blocks {
            let depth = part(block, self.cut.depth_blocks, shape.depth());
            let b = &weight[depth.start * outputs..];
            let b = Matrix::new(b, depth.len(), channels, outputs, 1);
            let a = self.windows(depth, input, memory);
            let c = MatrixMut::new(result, self.pixels.len(), channels, result_stride, 1);
            let epilogue = match (bias, relu) {
                _ if block + 1 < self.cut.depth_blocks => Epilogue::None,
                (Some(bias), relu) => Epilogue::Bias { bias, relu },
                (None, true) => Epilogue::Relu,
                (None, false) => Epilogue::None,
            };
            product(self.isa, a, b, block > 0, c, epilogue);
        }
    }

    /// Moves a product with a row per output channel to the output.
    fn finish<T: Float>(&self, product: &[T], bias: Option<&[T]>, relu: bool, output: &Parts<T>) {
        let (shape, pixels) = (self.shape, self.shape.output_pixels());
        let stride = row_stride(self.pixels.len());
        for (index, channel) in self.channels.clone().enumerate() {
            let bias = bias.map_or(T::ZERO, |bias| bias[index]);
            let channel = self.group * shape.group_outputs() + channel;
            let mut pixel = self.pixels.start;
            while pixel < self.pixels.end {
                let (image, first) = (pixel / pixels, pixel % pixels);
                let length = (pixels - first).min(self.pixels.end - pixel);
                let start = (image * shape.output_channels + channel) * pixels + first;
                // SAFETY: units have different pixels or channels.
                let target = unsafe { output.range(start, length) };
                let from = index * stride + pixel - self.pixels.start;
                biased_copy(self.isa, &product[from..from + length], bias, relu, target);
                pixel += length;
            }
        }
    }
}

per_isa! {
    /// `target = relu(source + bias)`
    fn biased_copy<I, T: Float>(source: &[T], bias: T, relu: bool, target: &mut [T]) {
        let values = target.iter_mut().zip(source);
        if relu {
            values.for_each(|(y, &x)| {
                let value = x + bias;
                *y = if value < T::ZERO { T::ZERO } else { value };
            });
        } else {
            values.for_each(|(y, &x)| *y = x + bias);
        }
    }
}

/// How the gradient to the input of a convolution with gaps between windows is cut: into (image,
/// group, part of its input channels).
struct ScatterCut {
    channel_parts: usize,
    block: usize,
}

impl ScatterCut {
    fn new<T>(shape: &ConvolutionShape) -> ScatterCut {
        let (inputs, taps) = (shape.group_inputs(), shape.taps());
        let most = (DEPTH / taps).max(CHANNELS);
        let wanted = TASKS.div_ceil((shape.batch * shape.groups).max(1));
        let channel_parts = inputs.div_ceil(most).max(wanted.min(inputs.div_ceil(CHANNELS)));
        let rows = longest(channel_parts, inputs) * taps;
        let fitting = BLOCK_BYTES / size_of::<T>() / rows / PIXELS * PIXELS;
        let block = fitting.clamp(PIXELS, MAX_PIXELS).min(shape.output_pixels());
        ScatterCut { channel_parts, block }
    }

    fn units(&self, shape: &ConvolutionShape) -> usize {
        shape.batch * shape.groups * self.channel_parts
    }

    fn scratch_per_task(&self, shape: &ConvolutionShape) -> usize {
        let rows = longest(self.channel_parts, shape.group_inputs()) * shape.taps();
        match shape.input_layout {
            Layout::ChannelsFirst => rows * row_stride(self.block),
            Layout::ChannelsLast => self.block * row_stride(rows),
        }
    }

    fn scratch(&self, shape: &ConvolutionShape) -> usize {
        self.units(shape).min(TASKS) * self.scratch_per_task(shape)
    }
}

/// The gradient to the input, by adding each window's gradient to where the window lies.
fn scatter<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    shape: &ConvolutionShape,
    output_gradient: &[T],
    weight: &[T],
    input_gradient: &mut [T],
    scratch: &mut [T],
) {
    let cut = ScatterCut::new::<T>(shape);
    let (inputs, taps, pixels) = (shape.group_inputs(), shape.taps(), shape.output_pixels());
    let parts = Parts::new(input_gradient);
    let unit = |unit: usize, matrix: &mut [T]| {
        let (unit, index) = (unit / cut.channel_parts, unit % cut.channel_parts);
        let (image, group) = (unit / shape.groups, unit % shape.groups);
        let channels = part(index, cut.channel_parts, inputs);
        // SAFETY: units have different images or channels.
        let mut target = unsafe { PatchTarget::new(&parts, image, channels.clone()) };
        target.clear(shape, group);
        for first in (0..pixels).step_by(cut.block) {
            let patch = Patch {
                shape,
                group,
                pixels: image * pixels + first..image * pixels + pixels.min(first + cut.block),
                depth: channels.start * taps..channels.end * taps,
            };
            window_gradients(isa, &patch, &channels, output_gradient, weight, matrix);
            add_patch(isa, &patch, matrix, &mut target);
        }
    };
    for_each_unit(parallel, cut.units(shape), scratch, cut.scratch_per_task(shape), &unit);
}

/// The gradients of the windows of a patch: the weight times the output's gradient.
fn window_gradients<T: Float>(
    isa: Isa,
    patch: &Patch,
    channels: &Range<usize>,
    output_gradient: &[T],
    weight: &[T],
    matrix: &mut [T],
) {
    let Patch { shape, group, ref pixels, ref depth } = *patch;
    let (inputs, outputs, taps) = (shape.group_inputs(), shape.group_outputs(), shape.taps());
    let weight = &weight[group * outputs * shape.depth()..];
    let row = row_stride(if shape.input_layout == Layout::ChannelsFirst {
        pixels.len()
    } else {
        channels.len() * taps
    });
    match shape.input_layout {
        Layout::ChannelsFirst => {
            let per_image = shape.output_pixels();
            let (image, pixel) = (pixels.start / per_image, pixels.start % per_image);
            let first = image * shape.output_channels + group * outputs;
            let dy = &output_gradient[first * per_image + pixel..];
            let weight = &weight[depth.start..];
            product(
                isa,
                Matrix::new(weight, depth.len(), outputs, 1, shape.depth()),
                Matrix::new(dy, outputs, pixels.len(), per_image, 1),
                false,
                MatrixMut::new(matrix, depth.len(), pixels.len(), row, 1),
                Epilogue::None,
            );
        }
        Layout::ChannelsLast => {
            let dy = &output_gradient[pixels.start * shape.output_channels + group * outputs..];
            let dy = Matrix::new(dy, pixels.len(), outputs, shape.output_channels, 1);
            // All channels of all taps lie next to one another; some channels only tap by tap.
            let (columns, count) =
                if channels.len() == inputs { (taps * inputs, 1) } else { (channels.len(), taps) };
            for tap in 0..count {
                let weight = &weight[tap * inputs + channels.start..];
                product(
                    isa,
                    dy,
                    Matrix::new(weight, outputs, columns, shape.depth(), 1),
                    false,
                    MatrixMut::new(&mut matrix[tap * columns..], pixels.len(), columns, row, 1),
                    Epilogue::None,
                );
            }
        }
    }
}

/// How the gradient to the weight is cut: into (part of the pixels, group, part of the depth). The
/// sums over parts of the pixels are added at the end.
struct WeightCut {
    depth_parts: usize,
    pixel_parts: usize,
    block: usize,
    blocks: usize,
}

impl WeightCut {
    fn new<T>(shape: &ConvolutionShape) -> WeightCut {
        let outputs = shape.group_outputs();
        let elements = BLOCK_BYTES / size_of::<T>();
        // Windows and sums of a unit share the cache.
        let most = (elements / 2 / outputs).clamp(2 * CHANNELS, DEPTH);
        let depth_parts = shape.depth().div_ceil(most);
        let pixels = shape.batch * shape.output_pixels();
        let per_pixel = longest(depth_parts, shape.depth()) + outputs;
        let even = pixels.div_ceil(TASKS).max(4 * PIXELS);
        let block =
            (elements / per_pixel).min(even).clamp(2 * PIXELS, MAX_PIXELS) / PIXELS * PIXELS;
        let blocks = pixels.div_ceil(block);
        let pixel_parts = TASKS.div_ceil(depth_parts * shape.groups).min(blocks).max(1);
        WeightCut { depth_parts, pixel_parts, block, blocks }
    }

    fn units(&self, shape: &ConvolutionShape) -> usize {
        self.pixel_parts * shape.groups * self.depth_parts
    }

    /// Lengths of a task's matrix of windows and of its part of the output's gradient.
    fn scratch_parts(&self, shape: &ConvolutionShape) -> (usize, usize) {
        let depth = longest(self.depth_parts, shape.depth());
        match shape.input_layout {
            Layout::ChannelsFirst => {
                (depth * row_stride(self.block), self.block * row_stride(shape.group_outputs()))
            }
            Layout::ChannelsLast => (self.block * row_stride(depth), 0),
        }
    }

    fn scratch_per_task(&self, shape: &ConvolutionShape) -> usize {
        let (matrix, gradient) = self.scratch_parts(shape);
        matrix + gradient
    }

    fn scratch(&self, shape: &ConvolutionShape) -> usize {
        self.pixel_parts * shape.weight_elements()
            + self.units(shape).min(TASKS) * self.scratch_per_task(shape)
    }
}

/// See [`super::convolution_weight_gradient`].
pub(super) fn weight_gradient<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    shape: &ConvolutionShape,
    input: &[T],
    output_gradient: &[T],
    weight_gradient: &mut [T],
    scratch: &mut [T],
) {
    let cut = WeightCut::new::<T>(shape);
    let (outputs, elements) = (shape.group_outputs(), shape.weight_elements());
    if output_gradient.is_empty() {
        return weight_gradient.fill(T::ZERO);
    }
    // Sums by (part of the pixels, group, depth, output channel).
    let (sums, scratch) = scratch.split_at_mut(cut.pixel_parts * elements);
    let parts = Parts::new(sums);
    let unit = |unit: usize, scratch: &mut [T]| {
        let (unit, depth_part) = (unit / cut.depth_parts, unit % cut.depth_parts);
        let (pixel_part, group) = (unit / shape.groups, unit % shape.groups);
        let depth = part(depth_part, cut.depth_parts, shape.depth());
        let start = pixel_part * elements + (group * shape.depth() + depth.start) * outputs;
        // SAFETY: units have different sums.
        let sums = unsafe { parts.range(start, depth.len() * outputs) };
        let (matrix, gradient) = scratch.split_at_mut(cut.scratch_parts(shape).0);
        let blocks = part(pixel_part, cut.pixel_parts, cut.blocks);
        for block in blocks.clone() {
            let end = (shape.batch * shape.output_pixels()).min((block + 1) * cut.block);
            let pixels = block * cut.block..end;
            let patch = Patch { shape, group, pixels, depth: depth.clone() };
            copy_patch(isa, &patch, input, matrix);
            let (rows, columns) = patch.size();
            let windows = Matrix::new(matrix, rows, columns, row_stride(columns), 1);
            let dy = gradient_rows(isa, &patch, output_gradient, gradient);
            let windows = match shape.input_layout {
                Layout::ChannelsFirst => windows,
                Layout::ChannelsLast => windows.transposed(),
            };
            let c = MatrixMut::row_major(sums, depth.len(), outputs);
            product(isa, windows, dy, block > blocks.start, c, Epilogue::None);
        }
    };
    for_each_unit(parallel, cut.units(shape), scratch, cut.scratch_per_task(shape), &unit);
    let depth = shape.depth();
    for (group, gradient) in weight_gradient.chunks_exact_mut(depth * outputs).enumerate() {
        let sums = &sums[group * depth * outputs..];
        let parts = (cut.pixel_parts, elements);
        transposed_sum(isa, parallel, sums, parts, (depth, outputs), gradient);
    }
}

/// The output's gradient at a patch's pixels, a row per pixel: itself, or a copy in `memory`.
fn gradient_rows<'a, T: Float>(
    isa: Isa,
    patch: &Patch,
    output_gradient: &'a [T],
    memory: &'a mut [T],
) -> Matrix<'a, T> {
    let Patch { shape, group, ref pixels, .. } = *patch;
    let (outputs, channels) = (shape.group_outputs(), shape.output_channels);
    if shape.input_layout == Layout::ChannelsLast {
        let rows = &output_gradient[pixels.start * channels + group * outputs..];
        return Matrix::new(rows, pixels.len(), outputs, channels, 1);
    }
    let per_image = shape.output_pixels();
    let stride = row_stride(outputs);
    let mut pixel = pixels.start;
    while pixel < pixels.end {
        let (image, first) = (pixel / per_image, pixel % per_image);
        let length = (per_image - first).min(pixels.end - pixel);
        let planes = &output_gradient[(image * channels + group * outputs) * per_image + first..];
        let rows = &mut memory[(pixel - pixels.start) * stride..];
        transpose_rows(isa, planes, per_image, outputs, length, rows, stride);
        pixel += length;
    }
    Matrix::new(memory, pixels.len(), outputs, stride, 1)
}

per_isa! {
    /// `to[j * to_stride + i] = from[i * from_stride + j]` for `i < rows` and `j < columns`
    fn transpose_rows<I, T: Float>(
        from: &[T], from_stride: usize, rows: usize, columns: usize, to: &mut [T], to_stride: usize,
    ) {
        const SIDE: usize = 8;
        for row in (0..rows).step_by(SIDE) {
            for column in (0..columns).step_by(SIDE) {
                if row + SIDE <= rows && column + SIDE <= columns {
                    let square: [[T; SIDE]; SIDE] = std::array::from_fn(|i| {
                        let start = (row + i) * from_stride + column;
                        let mut line = [T::ZERO; SIDE];
                        line.copy_from_slice(&from[start..start + SIDE]);
                        line
                    });
                    let turned: [[T; SIDE]; SIDE] =
                        std::array::from_fn(|j| std::array::from_fn(|i| square[i][j]));
                    for (j, line) in turned.iter().enumerate() {
                        let start = (column + j) * to_stride + row;
                        to[start..start + SIDE].copy_from_slice(line);
                    }
                } else {
                    for j in column..columns.min(column + SIDE) {
                        for i in row..rows.min(row + SIDE) {
                            to[j * to_stride + i] = from[i * from_stride + j];
                        }
                    }
                }
            }
        }
    }
}
