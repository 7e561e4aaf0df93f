//! The gradients of pools.

use super::PoolingShape;
use super::cells::{Gathered, Given, Segment, for_each_tap};
use super::planes::Planes;
use super::select::exceeds;
use crate::cells::for_each_cell;
use crate::{Element, Float, Isa, Parallel, for_each_chunk};

/// Elements of the input's gradient that a task makes at least.
const TASK: usize = 16 * 1024;
/// Channels whose shares of a gradient are kept together.
const BLOCK: usize = 64;

per_isa! {
    /// The gradients to an input row, from the positions of the maxima.
    fn gather_row<I, T: Float>(
        planes: &Planes,
        row: [usize; 2],
        positions: &[u8],
        output_gradient: &[T],
        dx: &mut [T],
    ) {
        let inner = planes.inner;
        let [depths, heights] = [0, 1].map(|axis| planes.axes[axis].covering(row[axis]));
        for (column, widths) in planes.columns() {
            let mut cells = Gathered {
                planes,
                pixel: [row[0], row[1], column],
                outputs: [depths.clone(), heights.clone(), widths],
                positions,
                output_gradient,
                input_gradient: &mut dx[column * inner..(column + 1) * inner],
            };
            // SAFETY: `I` is what this function is compiled for.
            unsafe { for_each_cell::<I, _>(inner, &mut cells) };
        }
    }
}

per_isa! {
    /// The same where no windows share an input pixel.
    fn give_row<I, T: Float>(
        planes: &Planes,
        row: [usize; 2],
        positions: &[u8],
        output_gradient: &[T],
        dx: &mut [T],
    ) {
        let Planes { axes: [depth, height, width], inner, .. } = *planes;
        let (d, h) = (depth.covering(row[0]), height.covering(row[1]));
        if d.is_empty() || h.is_empty() {
            return dx.fill(T::ZERO);
        }
        let tap = (row[0] + depth.padding - d.start * depth.stride) * height.window + row[1]
            + height.padding
            - h.start * height.stride;
        let line = (d.start * height.output + h.start) * width.output;
        let mut given = 0;
        for column in 0..width.output {
            let taps = width.taps(column);
            if taps.is_empty() {
                continue;
            }
            let first = column * width.stride + taps.start - width.padding;
            let end = first + taps.len();
            dx[given * inner..first * inner].fill(T::ZERO);
            let outputs = (line + column) * inner..(line + column + 1) * inner;
            let mut cells = Given {
                inner,
                tap: tap * width.window + taps.start,
                positions: &positions[outputs.clone()],
                output_gradient: &output_gradient[outputs],
                input_gradient: &mut dx[first * inner..end * inner],
            };
            // SAFETY: `I` is what this function is compiled for.
            unsafe { for_each_cell::<I, _>(inner, &mut cells) };
            given = end;
        }
        dx[given * inner..].fill(T::ZERO);
    }
}

/// The gradients to an input row, from the positions of the maxima.
pub(super) fn row<T: Float>(
    isa: Isa,
    planes: &Planes,
    row: [usize; 2],
    positions: &[u8],
    output_gradient: &[T],
    dx: &mut [T],
) {
    let apart = planes.axes.iter().all(|axis| axis.window <= axis.stride);
    let make = if apart { give_row } else { gather_row };
    make(isa, planes, row, positions, output_gradient, dx);
}

/// The gradients to a plane, whose maxima are looked for again.
fn search<T: Float>(planes: &Planes, x: &[T], output_gradient: &[T], dx: &mut [T]) {
    let gradients = output_gradient.chunks_exact(planes.row_elements());
    for ((_, row), dy) in planes.output_rows(0).zip(gradients) {
        for segment in planes.segments(row) {
            for (index, dy) in dy[segment.outputs.clone()].iter().enumerate() {
                let mut best: Option<usize> = None;
                for_each_tap!(&segment, planes, index * planes.step, |_tap, at| {
                    if best.is_none_or(|best| exceeds(x[at], x[best])) {
                        best = Some(at);
                    }
                });
                if let Some(best) = best {
                    dx[best] += *dy;
                }
            }
        }
    }
}

/// See [`super::max_pool_gradient`].
pub(super) fn max_pool_gradient<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    shape: &PoolingShape,
    argmax: &[u8],
    output_gradient: &[T],
    input_gradient: &mut [T],
) {
    let planes = &Planes::new(shape);
    let outputs = planes.output_elements();
    for_each_input_row(parallel, planes, input_gradient, |number, at, dx| {
        let plane = number * outputs..(number + 1) * outputs;
        row(isa, planes, at, &argmax[plane.clone()], &output_gradient[plane], dx);
    });
}

/// The same without the positions of the maxima.
pub(super) fn max_pool_gradient_by_search<T: Float>(
    parallel: &dyn Parallel,
    shape: &PoolingShape,
    input: &[T],
    output_gradient: &[T],
    input_gradient: &mut [T],
) {
    let planes = &Planes::new(shape);
    let (inputs, outputs) = (planes.input_elements(), planes.output_elements());
    for_each_chunk(parallel, input_gradient, inputs, &|number, dx| {
        dx.fill(T::ZERO);
        let (x, dy) = (&input[number * inputs..][..inputs], &output_gradient[number * outputs..]);
        search(planes, x, &dy[..outputs], dx);
    });
}

/// Runs `make(plane, depth and height, row)` for each row of the input's gradient.
fn for_each_input_row<T: Float>(
    parallel: &dyn Parallel,
    planes: &Planes,
    input_gradient: &mut [T],
    make: impl Fn(usize, [usize; 2], &mut [T]) + Sync,
) {
    let elements = planes.input_row_elements();
    let rows_per_task = (TASK / elements).max(1);
    for_each_chunk(parallel, input_gradient, rows_per_task * elements, &|index, dx| {
        let rows = planes.input_rows(index * rows_per_task);
        for ((plane, row), dx) in rows.zip(dx.chunks_exact_mut(elements)) {
            make(plane, row, dx);
        }
    });
}

per_isa! {
    /// The gradients to an input row, from those of the averages.
    fn spread_row<I, T: Float>(
        planes: &Planes,
        row: [usize; 2],
        output_gradient: &[T],
        dx: &mut [T],
    ) {
        let Planes { axes: [depth, height, width], inner, .. } = *planes;
        dx.fill(T::ZERO);
        for d in depth.covering(row[0]) {
            for h in height.covering(row[1]) {
                let lines = depth.taps(d).len() * height.taps(h).len();
                let dy = &output_gradient[(d * height.output + h) * width.output * inner..];
                for (column, dy) in dy.chunks_exact(inner).take(width.output).enumerate() {
                    let taps = width.taps(column);
                    if taps.is_empty() {
                        continue;
                    }
                    let count: T = ((lines * taps.len()) as f64).cast();
                    let first = column * width.stride + taps.start - width.padding;
                    for (block, dy) in dy.chunks(BLOCK).enumerate() {
                        let mut shares = [T::ZERO; BLOCK];
                        shares.iter_mut().zip(dy).for_each(|(share, dy)| *share = *dy / count);
                        for tap in 0..taps.len() {
                            let start = (first + tap) * inner + block * BLOCK;
                            let dx = &mut dx[start..start + dy.len()];
                            dx.iter_mut().zip(&shares).for_each(|(dx, share)| *dx += *share);
                        }
                    }
                }
            }
        }
    }
}

/// See [`super::avg_pool_gradient`].
pub(super) fn avg_pool_gradient<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    shape: &PoolingShape,
    output_gradient: &[T],
    input_gradient: &mut [T],
) {
    let planes = &Planes::new(shape);
    let outputs = planes.output_elements();
    for_each_input_row(parallel, planes, input_gradient, |plane, row, dx| {
        let dy = &output_gradient[plane * outputs..(plane + 1) * outputs];
        spread_row(isa, planes, row, dy, dx);
    });
}
