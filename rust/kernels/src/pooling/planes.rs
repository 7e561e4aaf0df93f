//! How the windows lie over an array.
//!
//! An array is seen as planes of `inner` neighbouring channels a pixel: with channels first a plane
//! is one channel of an image and `inner` is 1, with channels last it is a whole image.
//!
//! An output row is cut into segments, whose windows have the same taps inside the input: the channels
//! of a pixel, or, if there is only one and the stride is short, the neighbouring pixels whose windows
//! lie inside the input's width.

use std::ops::Range;

use super::PoolingShape;
use super::cells::Segment;
use crate::gemm::{LINE, prefetch};
use crate::window::{Axis, Layout};

/// Inputs of so many elements do not stay in the caches. (The tests compute some of this size.)
const LARGE: usize = 4 << 20;

/// How far the windows of neighbouring pixels may lie apart to be pooled together.
const LONGEST_STRIDE: usize = 2;

/// How the planes of an array are pooled.
pub(super) struct Planes {
    pub(super) axes: [Axis; 3],
    pub(super) inner: usize,
    /// How far apart the inputs of a segment's neighbouring outputs lie.
    pub(super) step: usize,
    /// The output columns that are one segment: their windows lie inside the input's width. Empty where
    /// each column is a segment of its own.
    pub(super) run: Range<usize>,
    /// The input has to come from memory.
    pub(super) is_large: bool,
}

impl Planes {
    pub(super) fn new(shape: &PoolingShape) -> Self {
        let inner = match shape.layout {
            Layout::ChannelsFirst => 1,
            Layout::ChannelsLast => shape.channels,
        };
        let axes = [0, 1, 2].map(|axis| shape.axis(axis));
        let width = axes[2];
        let (step, run) = match inner {
            1 if width.stride <= LONGEST_STRIDE => (width.stride, width.whole_outputs()),
            _ => (1, 0..0),
        };
        Self { axes, inner, step, run, is_large: shape.input_elements() >= LARGE }
    }

    pub(super) fn input_elements(&self) -> usize {
        self.axes.iter().map(|axis| axis.input).product::<usize>() * self.inner
    }

    pub(super) fn output_elements(&self) -> usize {
        self.axes.iter().map(|axis| axis.output).product::<usize>() * self.inner
    }

    /// Elements of a row of the output.
    pub(super) fn row_elements(&self) -> usize {
        self.axes[2].output * self.inner
    }

    /// Elements of a row of the input.
    pub(super) fn input_row_elements(&self) -> usize {
        self.axes[2].input * self.inner
    }

    /// The rows of the output, from number `first` on.
    pub(super) fn output_rows(&self, first: usize) -> Rows {
        Rows::new(self.axes.map(|axis| axis.output), first)
    }

    /// The rows of this part of the output, which begins with row number `first`: of each its number
    /// within the part, its plane of the input, its depth and height, and its elements.
    #[inline(always)]
    pub(super) fn rows_of<'a, T>(
        &self,
        first: usize,
        input: &'a [T],
        output: &'a mut [T],
    ) -> impl Iterator<Item = (usize, &'a [T], [usize; 2], &'a mut [T])> {
        let elements = self.input_elements();
        let rows = self.output_rows(first).zip(output.chunks_exact_mut(self.row_elements()));
        rows.enumerate().map(move |(number, ((plane, row), output))| {
            (number, &input[plane * elements..][..elements], row, output)
        })
    }

    /// The rows of the input, from number `first` on.
    pub(super) fn input_rows(&self, first: usize) -> Rows {
        Rows::new(self.axes.map(|axis| axis.input), first)
    }

    /// The segments of an output row.
    #[inline(always)]
    pub(super) fn segments(&self, row: [usize; 2]) -> Segments<'_> {
        let [depth, height, width] = self.axes;
        let [depths, heights] = [depth.taps(row[0]), height.taps(row[1])];
        let d = (row[0] * depth.stride + depths.start).saturating_sub(depth.padding);
        let h = (row[1] * height.stride + heights.start).saturating_sub(height.padding);
        let line = (d * height.input + h) * width.input * self.inner;
        Segments { planes: self, taps: [depths, heights], line, column: 0 }
    }

    /// Asks, if the input has to come from memory, for what the window below a pixel's has and its
    /// neighbours have not: rows end before the CPU sees how they go on. Planes of one channel are read
    /// line after line, as they lie.
    #[inline(always)]
    pub(super) fn ask_for_next<T>(&self, segment: &Segment, plane: &[T]) {
        if !self.is_large || self.inner == 1 {
            return;
        }
        let [_, height, width] = self.axes;
        let row = width.input * self.inner;
        let below = segment.start + segment.taps[1].len() * row;
        for h in 0..height.stride.min(height.window) {
            let from = plane.as_ptr().wrapping_add(below + h * row);
            let pixels = width.stride.min(width.window);
            for at in (0..pixels * self.inner).step_by(LINE / size_of::<T>()) {
                prefetch(from.wrapping_add(at));
            }
        }
    }

    /// The columns of the input.
    #[inline(always)]
    pub(super) fn columns(&self) -> Columns {
        Columns { axis: self.axes[2], column: 0, outputs: 0..0 }
    }
}

/// The segments of an output row.
pub(super) struct Segments<'a> {
    planes: &'a Planes,
    /// The taps inside the input along depth and height.
    taps: [Range<usize>; 2],
    /// Where the line of the first of them begins.
    line: usize,
    column: usize,
}

impl Iterator for Segments<'_> {
    type Item = Segment;

    #[inline(always)]
    fn next(&mut self) -> Option<Segment> {
        let Planes { axes: [_, _, width], inner, ref run, .. } = *self.planes;
        let column = self.column;
        if column == width.output {
            return None;
        }
        self.column = if run.contains(&column) { run.end } else { column + 1 };
        let widths = width.taps(column);
        let w = (column * width.stride + widths.start).saturating_sub(width.padding);
        let [depths, heights] = self.taps.clone();
        Some(Segment {
            outputs: column * inner..self.column * inner,
            taps: [depths, heights, widths],
            start: self.line + w * inner,
        })
    }
}

/// The columns of the input, each with the columns of the outputs whose windows cover it.
pub(super) struct Columns {
    axis: Axis,
    column: usize,
    outputs: Range<usize>,
}

impl Iterator for Columns {
    type Item = (usize, Range<usize>);

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let (axis, column) = (self.axis, self.column);
        if column == axis.input {
            return None;
        }
        let (shifted, outputs) = (column + axis.padding, &mut self.outputs);
        while outputs.end < axis.output && outputs.end * axis.stride <= shifted {
            outputs.end += 1;
        }
        while outputs.start < outputs.end && outputs.start * axis.stride + axis.window <= shifted {
            outputs.start += 1;
        }
        self.column += 1;
        Some((column, outputs.clone()))
    }
}

/// The rows of all planes, without end: of each the number of its plane, its depth and its height.
pub(super) struct Rows {
    size: [usize; 2],
    next: (usize, [usize; 2]),
}

impl Rows {
    fn new([depth, height, _]: [usize; 3], first: usize) -> Self {
        let next = (first / (depth * height), [first / height % depth, first % height]);
        Self { size: [depth, height], next }
    }
}

impl Iterator for Rows {
    type Item = (usize, [usize; 2]);

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let (plane, [depth, height]) = self.next;
        self.next = if height + 1 < self.size[1] {
            (plane, [depth, height + 1])
        } else if depth + 1 < self.size[0] {
            (plane, [depth + 1, 0])
        } else {
            (plane + 1, [0, 0])
        };
        Some((plane, [depth, height]))
    }
}
