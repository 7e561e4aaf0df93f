//! Pools row by row: a row of the output takes one tap of its windows after the other, so that the
//! inner loops run along memory.
//!
//! An array is seen as planes of `inner` neighbouring channels a pixel: with channels first a plane
//! is one channel of an image and `inner` is 1, with channels last it is a whole image.

use std::ops::Range;

use super::PoolingShape;
use crate::parallel::Parts;
use crate::window::{Axis, Layout};
use crate::{Element, Float, Isa, Parallel, for_each_chunk};

/// Elements of the output that a task makes at least.
const TASK: usize = 8 * 1024;

/// How the planes of an array are pooled.
#[derive(Clone, Copy)]
struct Planes {
    axes: [Axis; 3],
    inner: usize,
}

impl Planes {
    fn new(shape: &PoolingShape) -> Self {
        let inner = match shape.layout {
            Layout::ChannelsFirst => 1,
            Layout::ChannelsLast => shape.channels,
        };
        Self { axes: [0, 1, 2].map(|axis| shape.axis(axis)), inner }
    }

    fn input_elements(&self) -> usize {
        self.axes.iter().map(|axis| axis.input).product::<usize>() * self.inner
    }

    fn output_elements(&self) -> usize {
        self.axes.iter().map(|axis| axis.output).product::<usize>() * self.inner
    }

    fn row_elements(&self) -> usize {
        self.axes[2].output * self.inner
    }

    /// Plane, depth and height of an output row.
    fn row(&self, row: usize) -> (usize, [usize; 2]) {
        let [depth, height, _] = self.axes.map(|axis| axis.output);
        (row / (depth * height), [row / height % depth, row % height])
    }

    /// The taps along depth and height that a row's windows have inside the input.
    fn taps(&self, [depth, height]: [usize; 2]) -> [Range<usize>; 2] {
        [self.axes[0].taps(depth), self.axes[1].taps(height)]
    }

    /// Calls `visit(tap, input line)` for each line of the input that a row's windows cover; the
    /// tap is that of the line's first element in a window.
    #[inline(always)]
    fn for_each_line(&self, row: [usize; 2], mut visit: impl FnMut(usize, usize)) {
        let [depths, heights] = self.taps(row);
        let [depth, height, width] = self.axes;
        for kd in depths {
            for kh in heights.clone() {
                let d = row[0] * depth.stride + kd - depth.padding;
                let h = row[1] * height.stride + kh - height.padding;
                let line = (d * height.input + h) * width.input * self.inner;
                visit((kd * height.window + kh) * width.window, line);
            }
        }
    }

    /// How many elements of the input the window at `width` of a row has.
    #[inline(always)]
    fn count(&self, [depths, heights]: &[Range<usize>; 2], width: usize) -> usize {
        depths.len() * heights.len() * self.axes[2].taps(width).len()
    }
}

/// The outputs of a row whose windows have `tap` inside the input line, and the elements there: calls
/// `take` with neighbouring outputs, their elements, and the distance of these.
#[inline(always)]
fn combine<T>(
    planes: &Planes,
    line: &[T],
    tap: usize,
    mut take: impl FnMut(Range<usize>, &[T], usize),
) {
    let Planes { axes: [_, _, axis], inner } = *planes;
    let range = axis.outputs(tap);
    if range.is_empty() {
        return;
    }
    let start = range.start * axis.stride + tap - axis.padding;
    let line = &line[start * inner..];
    if inner == 1 || axis.stride == 1 {
        return take(range.start * inner..range.end * inner, line, axis.stride);
    }
    for (output, pixel) in range.zip(line.chunks(inner).step_by(axis.stride)) {
        take(output * inner..(output + 1) * inner, pixel, 1);
    }
}

/// Combines outputs with elements that lie `stride` apart.
#[inline(always)]
fn zip_strided<T: Copy, Y>(
    outputs: impl Iterator<Item = Y>,
    line: &[T],
    stride: usize,
    take: impl Fn(Y, T),
) {
    match stride {
        1 => outputs.zip(line).for_each(|(y, x)| take(y, *x)),
        // A constant stride lets the compiler use shuffles.
        2 => outputs.zip(line.chunks(2)).for_each(|(y, x)| take(y, x[0])),
        _ => outputs.zip(line.iter().step_by(stride)).for_each(|(y, x)| take(y, *x)),
    }
}

/// Whether `value` goes before `best` as the maximum; NaN goes before all else.
#[inline(always)]
fn exceeds<T: Float>(value: T, best: T) -> bool {
    value > best || (value.is_nan() && !best.is_nan())
}

per_isa! {
    fn max_row<I, T: Float>(planes: &Planes, row: [usize; 2], plane: &[T], output: &mut [T]) {
        output.fill(T::LOWEST);
        planes.for_each_line(row, |_, line| {
            let line = &plane[line..line + planes.axes[2].input * planes.inner];
            for tap in 0..planes.axes[2].window {
                combine(planes, line, tap, |range, line, stride| {
                    zip_strided(output[range].iter_mut(), line, stride, |best, value| {
                        *best = if exceeds(value, *best) { value } else { *best };
                    });
                });
            }
        });
    }
}

per_isa! {
    fn argmax_row<I, T: Float>(
        planes: &Planes,
        row: [usize; 2],
        plane: &[T],
        output: &mut [T],
        positions: &mut [u8],
    ) {
        output.fill(T::LOWEST);
        first_taps(planes, row, positions);
        planes.for_each_line(row, |first, line| {
            let line = &plane[line..line + planes.axes[2].input * planes.inner];
            for tap in 0..planes.axes[2].window {
                let position = (first + tap) as u8;
                combine(planes, line, tap, |range, line, stride| {
                    let best = output[range.clone()].iter_mut().zip(&mut positions[range]);
                    zip_strided(best, line, stride, |(best, at), value| {
                        let better = exceeds(value, *best);
                        *best = if better { value } else { *best };
                        *at = if better { position } else { *at };
                    });
                });
            }
        });
    }
}

/// The first position of each window that lies inside the input.
#[inline(always)]
fn first_taps(planes: &Planes, row: [usize; 2], positions: &mut [u8]) {
    let [depths, heights] = planes.taps(row);
    let [_, height, width] = planes.axes;
    let line = (depths.start * height.window + heights.start) * width.window;
    let empty = depths.is_empty() || heights.is_empty();
    for (column, positions) in positions.chunks_exact_mut(planes.inner).enumerate() {
        let taps = width.taps(column);
        let first = if empty || taps.is_empty() { 0 } else { line + taps.start };
        positions.fill(first as u8);
    }
}

/// See [`super::max_pool`].
pub(super) fn max_pool<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    shape: &PoolingShape,
    input: &[T],
    output: &mut [T],
    argmax: Option<&mut [u8]>,
) {
    let planes = Planes::new(shape);
    let (row_elements, plane_elements) = (planes.row_elements(), planes.input_elements());
    let rows_per_task = (TASK / row_elements).max(1);
    let chunk = rows_per_task * row_elements;
    let argmax = argmax.map(Parts::new);
    for_each_chunk(parallel, output, chunk, &|index, output| {
        // SAFETY: chunks of different indices do not overlap, and each index is run once.
        let mut positions =
            argmax.as_ref().map(|parts| unsafe { parts.range(index * chunk, output.len()) });
        for (i, output) in output.chunks_exact_mut(row_elements).enumerate() {
            let (plane, row) = planes.row(index * rows_per_task + i);
            let plane = &input[plane * plane_elements..][..plane_elements];
            let Some(positions) = &mut positions else {
                max_row(isa, &planes, row, plane, output);
                continue;
            };
            let positions = &mut positions[i * row_elements..][..row_elements];
            argmax_row(isa, &planes, row, plane, output, positions);
        }
    });
}

/// See [`super::max_pool_gradient`].
pub(super) fn max_pool_gradient<T: Float>(
    parallel: &dyn Parallel,
    shape: &PoolingShape,
    input: &[T],
    argmax: Option<&[u8]>,
    output_gradient: &[T],
    input_gradient: &mut [T],
) {
    let planes = Planes::new(shape);
    let (inputs, outputs) = (planes.input_elements(), planes.output_elements());
    let row_elements = planes.row_elements();
    for_each_chunk(parallel, input_gradient, inputs, &|plane, dx| {
        dx.fill(T::ZERO);
        let x = &input[plane * inputs..][..inputs];
        let first = plane * outputs;
        for index in 0..outputs / row_elements {
            let (_, row) = planes.row(index);
            let start = first + index * row_elements;
            let dy = &output_gradient[start..start + row_elements];
            let positions = argmax.map(|argmax| &argmax[start..start + row_elements]);
            scatter_row(&planes, row, x, positions, dy, dx);
        }
    });
}

/// Adds the gradients of a row's maxima to the elements that they came from.
fn scatter_row<T: Float>(
    planes: &Planes,
    row: [usize; 2],
    x: &[T],
    positions: Option<&[u8]>,
    dy: &[T],
    dx: &mut [T],
) {
    let Planes { axes: [depth, height, width], inner } = *planes;
    let [depths, heights] = planes.taps(row);
    if depths.is_empty() || heights.is_empty() {
        return;
    }
    let offset = |tap: usize, column: usize| {
        let (kd, kh) = (tap / width.window / height.window, tap / width.window % height.window);
        let d = row[0] * depth.stride + kd - depth.padding;
        let h = row[1] * height.stride + kh - height.padding;
        let w = column * width.stride + tap % width.window - width.padding;
        ((d * height.input + h) * width.input + w) * inner
    };
    // Windows are small: a table of line offsets saves the divisions by their sizes.
    let mut lines = [0usize; 256];
    let taps = depth.window * height.window * width.window;
    planes.for_each_line(row, |first, line| {
        for tap in first..(first + width.window).min(lines.len()) {
            lines[tap] = line + (tap - first) * inner;
        }
    });
    for (column, dy) in dy.chunks_exact(inner).enumerate() {
        if width.taps(column).is_empty() {
            continue;
        }
        for (channel, dy) in dy.iter().enumerate() {
            let at = match positions {
                Some(positions) => {
                    let tap = usize::from(positions[column * inner + channel]);
                    debug_assert!(tap < taps);
                    lines[tap] + column * width.stride * inner - width.padding * inner
                }
                None => offset(first_maximum(planes, row, x, column, channel), column),
            };
            dx[at + channel] += *dy;
        }
    }
}

/// The position of a window's first greatest element.
fn first_maximum<T: Float>(
    planes: &Planes,
    row: [usize; 2],
    x: &[T],
    column: usize,
    channel: usize,
) -> usize {
    let Planes { axes: [_, _, width], inner } = *planes;
    let mut best: Option<(T, usize)> = None;
    planes.for_each_line(row, |first, line| {
        for tap in width.taps(column) {
            let w = column * width.stride + tap - width.padding;
            let value = x[line + w * inner + channel];
            if best.is_none_or(|(best, _)| exceeds(value, best)) {
                best = Some((value, first + tap));
            }
        }
    });
    best.map_or(0, |(_, position)| position)
}

per_isa! {
    fn avg_row<I, T: Float>(planes: &Planes, row: [usize; 2], plane: &[T], output: &mut [T]) {
        output.fill(T::ZERO);
        planes.for_each_line(row, |_, line| {
            let line = &plane[line..line + planes.axes[2].input * planes.inner];
            for tap in 0..planes.axes[2].window {
                combine(planes, line, tap, |range, line, stride| {
                    zip_strided(output[range].iter_mut(), line, stride, |sum, value| *sum += value);
                });
            }
        });
        let taps = planes.taps(row);
        for (column, sums) in output.chunks_exact_mut(planes.inner).enumerate() {
            let count: T = (planes.count(&taps, column).max(1) as f64).cast();
            sums.iter_mut().for_each(|sum| *sum = *sum / count);
        }
    }
}

/// See [`super::avg_pool`].
pub(super) fn avg_pool<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    shape: &PoolingShape,
    input: &[T],
    output: &mut [T],
) {
    let planes = Planes::new(shape);
    let (row_elements, plane_elements) = (planes.row_elements(), planes.input_elements());
    let rows_per_task = (TASK / row_elements).max(1);
    for_each_chunk(parallel, output, rows_per_task * row_elements, &|index, output| {
        for (i, output) in output.chunks_exact_mut(row_elements).enumerate() {
            let (plane, row) = planes.row(index * rows_per_task + i);
            avg_row(isa, &planes, row, &input[plane * plane_elements..][..plane_elements], output);
        }
    });
}

/// See [`super::avg_pool_gradient`].
pub(super) fn avg_pool_gradient<T: Float>(
    parallel: &dyn Parallel,
    shape: &PoolingShape,
    output_gradient: &[T],
    input_gradient: &mut [T],
) {
    let planes = Planes::new(shape);
    let Planes { axes: [_, _, width], inner } = planes;
    let (inputs, outputs) = (planes.input_elements(), planes.output_elements());
    let row_elements = planes.row_elements();
    for_each_chunk(parallel, input_gradient, inputs, &|plane, dx| {
        dx.fill(T::ZERO);
        let dy = &output_gradient[plane * outputs..][..outputs];
        for (index, dy) in dy.chunks_exact(row_elements).enumerate() {
            let (_, row) = planes.row(index);
            let taps = planes.taps(row);
            planes.for_each_line(row, |_, line| {
                for (column, dy) in dy.chunks_exact(inner).enumerate() {
                    let count: T = (planes.count(&taps, column).max(1) as f64).cast();
                    for tap in width.taps(column) {
                        let at = line + (column * width.stride + tap - width.padding) * inner;
                        for (dx, dy) in dx[at..at + inner].iter_mut().zip(dy) {
                            *dx += *dy / count;
                        }
                    }
                }
            });
        }
    });
}
