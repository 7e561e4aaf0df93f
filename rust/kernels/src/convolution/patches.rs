//! The elements under the windows as a matrix, and back.
//!
//! Output pixels are numbered through all images. For some of them and a range of the depth (the
//! products of an output element, in the order of the weight) the matrix has, with channels first,
//! a row per depth and a column per pixel, with channels last the other way round: as the products
//! want it and as neighbours in memory stay neighbours.

use super::ConvolutionShape;
use crate::Float;
use crate::parallel::Parts;
use crate::window::Layout;
use std::ops::Range;

/// Elements that are copied at once; a copy may write that many beyond its end.
pub(super) const CHUNK: usize = 16;

/// The distance between rows of `length` elements and room behind them: an odd number of chunks, so
/// that equal columns do not fall on the same lines of the cache.
pub(super) fn row_stride(length: usize) -> usize {
    ((length + CHUNK).div_ceil(CHUNK) | 1) * CHUNK
}

/// A part of the matrix of all windows of a group.
#[derive(Clone)]
pub(super) struct Patch<'a> {
    pub(super) shape: &'a ConvolutionShape,
    pub(super) group: usize,
    pub(super) pixels: Range<usize>,
    pub(super) depth: Range<usize>,
}

impl Patch<'_> {
    /// The rows of the matrix and their length.
    pub(super) fn size(&self) -> (usize, usize) {
        match self.shape.input_layout {
            Layout::ChannelsFirst => (self.depth.len(), self.pixels.len()),
            Layout::ChannelsLast => (self.pixels.len(), self.depth.len()),
        }
    }
}

per_isa! {
    /// Writes the patch to `matrix`, rows [`row_stride`] apart; padding becomes 0.
    pub(super) fn copy_patch<I, T: Float>(patch: &Patch, input: &[T], matrix: &mut [T]) {
        match patch.shape.input_layout {
            Layout::ChannelsFirst => copy_planes(patch, input, matrix),
            Layout::ChannelsLast => copy_pixels(patch, input, matrix),
        }
    }
}

per_isa! {
    /// Adds the patch, rows [`row_stride`] apart, to the elements of `image` that it came from;
    /// `patch.pixels` lie in the one image whose elements those are.
    pub(super) fn add_patch<I, T: Float>(patch: &Patch, matrix: &[T], image: &mut PatchTarget<T>) {
        match patch.shape.input_layout {
            Layout::ChannelsFirst => add_planes(patch, matrix, image),
            Layout::ChannelsLast => add_pixels(patch, matrix, image),
        }
    }
}

/// Where a patch is added to: a range of the channels of a group in one image.
pub(super) struct PatchTarget<'a, T> {
    parts: &'a Parts<'a, T>,
    image: usize,
    channels: Range<usize>,
}

impl<'a, T: Float> PatchTarget<'a, T> {
    /// A target of some channels of a group, counted within it, in an image of `parts`.
    ///
    /// # Safety
    /// No two targets that are alive at the same time share elements, and nobody else uses them.
    pub(super) unsafe fn new(
        parts: &'a Parts<'a, T>,
        image: usize,
        channels: Range<usize>,
    ) -> Self {
        PatchTarget { parts, image, channels }
    }

    /// Sets all elements to 0.
    pub(super) fn clear(&mut self, shape: &ConvolutionShape, group: usize) {
        let channel = group * shape.group_inputs() + self.channels.start;
        let start = shape.input_offset(self.image, channel, [0; 3]);
        let (pixels, channels) = (shape.input_pixels(), self.channels.len());
        match shape.input_layout {
            Layout::ChannelsFirst => self.run(start, channels * pixels).fill(T::ZERO),
            Layout::ChannelsLast => (0..pixels).for_each(|pixel| {
                self.run(start + pixel * shape.input_channels, channels).fill(T::ZERO);
            }),
        }
    }

    /// `length` elements from an offset on, all of them the target's.
    #[inline(always)]
    fn run(&mut self, offset: usize, length: usize) -> &mut [T] {
        // SAFETY: the elements belong to this target alone (`new`), and `&mut self` allows one run
        // at a time.
        unsafe { self.parts.range(offset, length) }
    }
}

/// Neighbouring pixels of one row of an output image.
#[derive(Clone)]
struct Segment {
    image: usize,
    position: [usize; 2],
    columns: Range<usize>,
    /// Which of the patch's pixels comes first.
    first: usize,
}

/// The pixels row by row.
#[inline(always)]
fn segments(shape: &ConvolutionShape, pixels: &Range<usize>) -> impl Iterator<Item = Segment> {
    let [depth, height, width] = shape.output;
    let (start, end) = (pixels.start, pixels.end);
    let row = start / width;
    let mut column = start % width;
    let mut position = [row / height % depth, row % height];
    let mut image = row / height / depth;
    let mut pixel = start;
    std::iter::from_fn(move || {
        if pixel == end {
            return None;
        }
        let length = (width - column).min(end - pixel);
        let columns = column..column + length;
        let segment = Segment { image, position, columns, first: pixel - start };
        pixel += length;
        column = 0;
        position[1] += 1;
        if position[1] == height {
            position = [position[0] + 1, 0];
            if position[0] == depth {
                position[0] = 0;
                image += 1;
            }
        }
        Some(segment)
    })
}

/// Splits a range of the depth by planes: calls `visit(channel, tap of depth and height, taps of
/// width, first row)`; depth is (channel, depth, height, width).
#[inline(always)]
fn for_each_tap_row(patch: &Patch, mut visit: impl FnMut(usize, [usize; 2], Range<usize>, usize)) {
    let [_, height, width] = patch.shape.kernel;
    let mut index = patch.depth.start;
    while index < patch.depth.end {
        let tap = index % width;
        let row = index / width;
        let taps = tap..width.min(tap + patch.depth.end - index);
        let (tap_height, plane) = (row % height, row / height);
        let tap_depth = plane % patch.shape.kernel[0];
        let channel = plane / patch.shape.kernel[0];
        let first = index - patch.depth.start;
        index += taps.len();
        visit(channel, [tap_depth, tap_height], taps, first);
    }
}

/// The part of `columns` whose windows have `tap` inside the input, and the input column of its
/// first.
#[inline(always)]
fn inside(shape: &ConvolutionShape, columns: &Range<usize>, tap: usize) -> (Range<usize>, usize) {
    let axis = shape.axis(2);
    let outputs = if axis.stride == 1 {
        // The same without divisions, which would cost more than what is copied.
        let shift = tap * axis.dilation;
        let first = axis.padding.saturating_sub(shift);
        first..(axis.input + axis.padding).saturating_sub(shift)
    } else {
        axis.outputs(tap)
    };
    let first = outputs.start.clamp(columns.start, columns.end);
    let end = outputs.end.clamp(first, columns.end);
    let column = (first * axis.stride + tap * axis.dilation).saturating_sub(axis.padding);
    (first..end, column)
}

#[inline(always)]
fn copy_planes<T: Float>(patch: &Patch, input: &[T], matrix: &mut [T]) {
    let shape = patch.shape;
    let stride = row_stride(patch.pixels.len());
    let column_stride = shape.stride[2];
    for_each_tap_row(patch, |channel, [tap_depth, tap_height], taps, first_row| {
        let channel = patch.group * shape.group_inputs() + channel;
        for Segment { image, position, columns, first } in segments(shape, &patch.pixels) {
            let depth = shape.axis(0).position(position[0], tap_depth);
            let height = shape.axis(1).position(position[1], tap_height);
            let (Some(depth), Some(height)) = (depth, height) else {
                for row in first_row..first_row + taps.len() {
                    zeros(matrix, row * stride + first, columns.len());
                }
                continue;
            };
            let source = shape.input_offset(image, channel, [depth, height, 0]);
            for (row, tap) in taps.clone().enumerate() {
                let to = (first_row + row) * stride + first;
                let (covered, column) = inside(shape, &columns, tap);
                let (before, length) = (covered.start - columns.start, covered.len());
                zeros(matrix, to, before);
                if column_stride == 1 {
                    copy(input, source + column, matrix, to + before, length);
                } else if length > 0 {
                    let source = input[source + column..].iter().step_by(column_stride);
                    let target = &mut matrix[to + before..to + before + length];
                    target.iter_mut().zip(source).for_each(|(target, &source)| *target = source);
                }
                zeros(matrix, to + before + length, columns.len() - before - length);
            }
        }
    });
}

#[inline(always)]
fn add_planes<T: Float>(patch: &Patch, matrix: &[T], target: &mut PatchTarget<T>) {
    let shape = patch.shape;
    let stride = row_stride(patch.pixels.len());
    let column_stride = shape.stride[2];
    for_each_tap_row(patch, |channel, [tap_depth, tap_height], taps, first_row| {
        let channel = patch.group * shape.group_inputs() + channel;
        for Segment { position, columns, first, .. } in segments(shape, &patch.pixels) {
            let depth = shape.axis(0).position(position[0], tap_depth);
            let height = shape.axis(1).position(position[1], tap_height);
            let (Some(depth), Some(height)) = (depth, height) else { continue };
            let row_start = shape.input_offset(target.image, channel, [depth, height, 0]);
            for (row, tap) in taps.clone().enumerate() {
                let (covered, column) = inside(shape, &columns, tap);
                let from = (first_row + row) * stride + first + covered.start - columns.start;
                let source = &matrix[from..from + covered.len()];
                if source.is_empty() {
                    continue;
                }
                let reach = (source.len() - 1) * column_stride + 1;
                let elements = target.run(row_start + column, reach);
                if column_stride == 1 {
                    elements.iter_mut().zip(source).for_each(|(x, &dx)| *x += dx);
                } else {
                    let elements = elements.iter_mut().step_by(column_stride);
                    elements.zip(source).for_each(|(x, &dx)| *x += dx);
                }
            }
        }
    });
}

/// Taps along the width that lie next to one another in an input with channels last.
fn taps_per_run(shape: &ConvolutionShape) -> usize {
    if shape.groups == 1 && shape.dilation[2] == 1 { shape.kernel[2] } else { 1 }
}

#[inline(always)]
fn copy_pixels<T: Float>(patch: &Patch, input: &[T], matrix: &mut [T]) {
    let shape = patch.shape;
    let stride = row_stride(patch.depth.len());
    let inputs = shape.group_inputs();
    let run_taps = taps_per_run(shape);
    let run_length = run_taps * inputs;
    let [_, kernel_height, kernel_width] = shape.kernel;
    let runs_per_row = kernel_width / run_taps;
    let runs = patch.depth.start / run_length..patch.depth.end.div_ceil(run_length);
    let first_row = runs.start / runs_per_row;
    let first_tap = [first_row / kernel_height, first_row % kernel_height];
    for Segment { image, position, columns, first } in segments(shape, &patch.pixels) {
        for (index, column) in columns.enumerate() {
            let row = (first + index) * stride;
            let mut to = row;
            let mut tap = first_tap;
            let mut tap_width = runs.start % runs_per_row * run_taps;
            for run in runs.clone() {
                // The part of the run that belongs to the patch.
                let start = patch.depth.start.saturating_sub(run * run_length);
                let end = run_length.min(patch.depth.end - run * run_length);
                let depth = shape.axis(0).position(position[0], tap[0]);
                let height = shape.axis(1).position(position[1], tap[1]);
                if let (Some(depth), Some(height)) = (depth, height) {
                    // Column of the run's first tap, shifted by the padding.
                    let shifted = column * shape.stride[2] + tap_width * shape.dilation[2];
                    let padding = shape.padding_before[2];
                    let outside = padding.saturating_sub(shifted).min(run_taps);
                    let within = (shape.input[2] + padding).saturating_sub(shifted).min(run_taps);
                    let covered_start = (outside * inputs).clamp(start, end);
                    let covered_end = (within * inputs).clamp(covered_start, end);
                    zeros(matrix, to, covered_start - start);
                    let channel = patch.group * inputs;
                    let line = shape.input_offset(image, channel, [depth, height, 0]);
                    // `shifted - padding` may be negative, the sum with the covered part is not.
                    let source = (line + shifted * shape.input_channels + covered_start)
                        .saturating_sub(padding * shape.input_channels);
                    copy(
                        input,
                        source,
                        matrix,
                        to + covered_start - start,
                        covered_end - covered_start,
                    );
                    zeros(matrix, to + covered_end - start, end - covered_end);
                } else {
                    zeros(matrix, to, end - start);
                }
                to += end - start;
                tap_width += run_taps;
                if tap_width == kernel_width {
                    tap_width = 0;
                    tap[1] += 1;
                    if tap[1] == kernel_height {
                        tap = [tap[0] + 1, 0];
                    }
                }
            }
        }
    }
}

/// The columns of the matrix are (tap, channel) over the target's channels only.
#[inline(always)]
fn add_pixels<T: Float>(patch: &Patch, matrix: &[T], target: &mut PatchTarget<T>) {
    let shape = patch.shape;
    let width = target.channels.len();
    let stride = row_stride(shape.taps() * width);
    let channel = patch.group * shape.group_inputs() + target.channels.start;
    let axes = [0, 1, 2].map(|axis| shape.axis(axis));
    for Segment { position, columns, first, .. } in segments(shape, &patch.pixels) {
        let taps = [axes[0].taps(position[0]), axes[1].taps(position[1])];
        for (index, column) in columns.enumerate() {
            let row = &matrix[(first + index) * stride..][..shape.taps() * width];
            for tap_depth in taps[0].clone() {
                for tap_height in taps[1].clone() {
                    for tap_width in 0..shape.kernel[2] {
                        let Some(w) = axes[2].position(column, tap_width) else { continue };
                        let d = position[0] * shape.stride[0] + tap_depth * shape.dilation[0];
                        let h = position[1] * shape.stride[1] + tap_height * shape.dilation[1];
                        let at = [d - shape.padding_before[0], h - shape.padding_before[1], w];
                        let tap = (tap_depth * shape.kernel[1] + tap_height) * shape.kernel[2]
                            + tap_width;
                        let source = &row[tap * width..(tap + 1) * width];
                        let offset = shape.input_offset(target.image, channel, at);
                        let elements = target.run(offset, width);
                        elements.iter_mut().zip(source).for_each(|(x, &dx)| *x += dx);
                    }
                }
            }
        }
    }
}

/// Puts zeros at `to` and perhaps a few after them.
#[inline(always)]
fn zeros<T: Float>(matrix: &mut [T], mut to: usize, length: usize) {
    let end = to + length;
    while to < end {
        matrix[to..to + CHUNK].copy_from_slice(&[T::ZERO; CHUNK]);
        to += CHUNK;
    }
}

/// Copies `length` elements and perhaps a few more.
#[inline(always)]
fn copy<T: Float>(source: &[T], mut from: usize, matrix: &mut [T], mut to: usize, length: usize) {
    if length == 0 {
        return;
    }
    if from + length + CHUNK > source.len() {
        return matrix[to..to + length].copy_from_slice(&source[from..from + length]);
    }
    let end = to + length;
    while to < end {
        matrix[to..to + CHUNK].copy_from_slice(&source[from..from + CHUNK]);
        to += CHUNK;
        from += CHUNK;
    }
}
