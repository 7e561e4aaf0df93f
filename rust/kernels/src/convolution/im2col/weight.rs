//! The gradient to the weight: windows by pixels, times the output's gradient.

use super::super::ConvolutionShape;
use super::super::patches::{Patch, copy_patch, row_stride};
use super::super::transpose::transposed_sum;
use super::super::units::{TASKS, for_each_unit};
use super::{BLOCK_BYTES, CHANNELS, DEPTH, MAX_PIXELS, PIXELS, longest, part, product};
use crate::gemm::{Epilogue, Matrix, MatrixMut, transpose};
use crate::parallel::Parts;
use crate::window::Layout;
use crate::{Float, Isa, Parallel};

/// How the gradient to the weight is cut: into (part of the pixels, group, part of the depth). The
/// sums over parts of the pixels are added at the end.
pub(super) struct WeightCut {
    depth_parts: usize,
    pixel_parts: usize,
    block: usize,
    blocks: usize,
}

impl WeightCut {
    pub(super) fn new<T>(shape: &ConvolutionShape) -> WeightCut {
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

    pub(super) fn scratch(&self, shape: &ConvolutionShape) -> usize {
        self.pixel_parts * shape.weight_elements()
            + self.units(shape).min(TASKS) * self.scratch_per_task(shape)
    }
}

/// See [`super::super::convolution_weight_gradient`].
pub(in super::super) fn weight_gradient<T: Float>(
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
        transpose(isa, Matrix::new(planes, outputs, length, per_image, 1), stride, rows);
        pixel += length;
    }
    Matrix::new(memory, pixels.len(), outputs, stride, 1)
}
