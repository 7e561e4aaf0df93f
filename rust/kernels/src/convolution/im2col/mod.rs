//! Convolution as a product of matrices: the windows of a block of pixels, copied next to one
//! another, times the weight.
//!
//! The matrix of all windows never exists; a block of it stays in the cache between being written
//! and being multiplied. A pass is cut into a bounded number of tasks, each with its own part of the
//! working memory.

mod weight;

use super::patches::{Patch, PatchTarget, add_patch, copy_patch, row_stride};
use super::transpose::{backward_weight, forward_weight};
use super::units::{TASKS, for_each_unit};
use super::{ConvolutionShape, Pass};
use crate::gemm::{Epilogue, GemmAlgorithm, Matrix, MatrixMut, gemm};
use crate::parallel::Parts;
use crate::window::Layout;
use crate::{Float, Isa, Parallel, Serial};
use std::ops::Range;
use weight::WeightCut;

pub(super) use weight::weight_gradient;

/// Bytes of a block of the matrix of windows, and of what is computed from it, at most; of an image that is
/// multiplied as it lies, and of what is made of it, each.
const BLOCK_BYTES: usize = 512 * 1024;
/// The longest part of the depth that is multiplied at once.
const DEPTH: usize = 1024;
/// Pixels of a block are a multiple of this: the width of the widest product kernel.
const PIXELS: usize = 32;
/// Pixels of a block at most, where images are cut into blocks.
const MAX_PIXELS: usize = 1024;
/// Channels of a part of the channels at least.
const CHANNELS: usize = 32;

/// About how much longer a pass over this shape takes, for as many products, than the direct algorithm over
/// a large shape. Where windows leave gaps, what the gradient to the input spends besides the products are
/// the sums of few channels, and the weight, which is read for each image.
pub(super) fn cost(pass: Pass, shape: &ConvolutionShape) -> f64 {
    match pass {
        Pass::WeightGradient => 1.2,
        Pass::InputGradient if shape.turned().is_none() => {
            let pixels = shape.output_pixels().max(1) as f64;
            1.0 + 35.0 / shape.group_outputs() as f64 + 10.0 / pixels
        }
        // Nothing is copied, and nothing turned.
        _ if is_product_by_images(shape) => 0.9,
        _ => 1.6,
    }
}

/// Whether the windows are the input itself: nothing needs to be copied.
fn in_place(shape: &ConvolutionShape) -> bool {
    let pixels = shape.output_pixels();
    // With channels first a block must lie in one image to be read in place; for small images of odd
    // sizes the copy costs less than products of odd widths.
    shape.is_pointwise()
        && (shape.input_layout == Layout::ChannelsLast
            || pixels.is_multiple_of(PIXELS)
            || pixels >= 256)
}

/// Whether a pass over this shape that is no gradient to the weight is a product of the weight and each
/// image as they lie, written where it belongs. There are images enough for all threads, and what is made
/// of one stays in the cache until the bias is added.
pub fn is_product_by_images(shape: &ConvolutionShape) -> bool {
    let pixels = shape.output_pixels();
    let largest = shape.input_channels.max(shape.output_channels) * pixels * size_of::<f32>();
    shape.common_layout() == Some(Layout::ChannelsFirst)
        && in_place(shape)
        && shape.batch >= TASKS
        && (1..=BLOCK_BYTES).contains(&largest)
}

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
        Pass::InputGradient => match shape.turned() {
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
    let Some(turned) = shape.turned() else {
        return scatter(isa, parallel, shape, output_gradient, weight, input_gradient, scratch);
    };
    let (prepared, scratch) = scratch.split_at_mut(weight.len());
    backward_weight(parallel, shape, weight, prepared);
    let (x, y) = (output_gradient, input_gradient);
    forward(isa, parallel, &turned, x, prepared, None, false, y, scratch);
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
    let beta = if accumulate { T::ONE } else { T::ZERO };
    gemm(isa, &Serial, GemmAlgorithm::Blocked, T::ONE, a, b, beta, c, epilogue);
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
    /// See [`in_place`].
    in_place: bool,
    /// See [`is_product_by_images`].
    by_images: bool,
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
        let (in_place, by_images) = (in_place(shape), is_product_by_images(shape));
        let in_image = in_place && shape.input_layout == Layout::ChannelsFirst;
        let (segment, segments) =
            if in_image { (pixels, shape.batch) } else { (pixels * shape.batch, 1) };
        let depth_blocks = shape.depth().div_ceil(DEPTH);
        let per_pixel = longest(depth_blocks, shape.depth()) + shape.group_outputs();
        let fitting = BLOCK_BYTES / size_of::<T>() / per_pixel;
        let even = (pixels * shape.batch).div_ceil(TASKS).max(2 * PIXELS);
        let block = match by_images {
            true => pixels,
            false => fitting.min(even).clamp(PIXELS, MAX_PIXELS) / PIXELS * PIXELS,
        };
        let blocks_per_segment = segment.div_ceil(block);
        let units = (segments * blocks_per_segment * shape.groups).max(1);
        let channel_parts =
            TASKS.div_ceil(units).min(shape.group_outputs().div_ceil(CHANNELS)).max(1);
        ForwardCut {
            in_place,
            by_images,
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
        let writes_output = self.by_images || whole_rows;
        (if self.in_place { 0 } else { matrix }, if writes_output { 0 } else { product })
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
            Layout::ChannelsFirst if cut.by_images => {
                let (start, pixels) = (block.pixels.start, block.pixels.len());
                let start = start * shape.output_channels + first * pixels;
                // SAFETY: units have different images or channels, and each is run once.
                let rows = unsafe { output.range(start, block.channels.len() * pixels) };
                block.channels_first(input, weight, matrix, rows, pixels);
                for (channel, row) in rows.chunks_exact_mut(pixels).enumerate() {
                    add_bias(isa, bias.map(|bias| bias[channel]), relu, row);
                }
            }
            Layout::ChannelsFirst => {
                let stride = row_stride(block.pixels.len());
                block.channels_first(input, weight, matrix, product, stride);
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
        if !self.cut.in_place {
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
        result_stride: usize,
    ) {
        let (shape, pixels) = (self.shape, self.pixels.len());
        let first = self.group * shape.group_outputs() + self.channels.start;
        for block in 0..self.cut.depth_blocks {
            let depth = part(block, self.cut.depth_blocks, shape.depth());
            let a = &weight[first * shape.depth() + depth.start..];
            let a = Matrix::new(a, self.channels.len(), depth.len(), shape.depth(), 1);
            let b = self.windows(depth, input, memory);
            let c = MatrixMut::new(result, self.channels.len(), pixels, result_stride, 1);
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
            let bias = bias.map(|bias| bias[index]);
            let channel = self.group * shape.group_outputs() + channel;
            let mut pixel = self.pixels.start;
            while pixel < self.pixels.end {
                let (image, first) = (pixel / pixels, pixel % pixels);
                let length = (pixels - first).min(self.pixels.end - pixel);
                let start = (image * shape.output_channels + channel) * pixels + first;
                // SAFETY: units have different pixels or channels.
                let target = unsafe { output.range(start, length) };
                let from = index * stride + pixel - self.pixels.start;
                target.copy_from_slice(&product[from..from + length]);
                add_bias(self.isa, bias, relu, target);
                pixel += length;
            }
        }
    }
}

per_isa! {
    /// `values = relu(values + bias)`
    fn add_bias<I, T: Float>(bias: Option<T>, relu: bool, values: &mut [T]) {
        if bias.is_none() && !relu {
            return;
        }
        // What changes no number, nor the sign of a zero.
        let (bias, floor) = (bias.unwrap_or(-T::ZERO), if relu { T::ZERO } else { T::LOWEST });
        for value in values {
            let sum = *value + bias;
            *value = if sum < floor { floor } else { sum };
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
