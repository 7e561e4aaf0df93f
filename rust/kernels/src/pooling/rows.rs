//! Pools row by row.

use super::PoolingShape;
use super::cells::{Averages, Maxima, Positions};
use super::planes::Planes;
use crate::cells::for_each_cell;
use crate::parallel::Parts;
use crate::{Float, Isa, Parallel, for_each_chunk};

/// Elements of the output that a task makes at least.
const TASK: usize = 8 * 1024;

per_isa! {
    fn max_row<I, T: Float>(
        planes: &Planes,
        row: [usize; 2],
        plane: &[T],
        output: &mut [T],
    ) {
        for segment in planes.segments(row) {
            planes.ask_for_next(&segment, plane);
            let output = &mut output[segment.outputs.clone()];
            let length = output.len();
            let mut cells = Maxima::<T> { planes, segment: &segment, plane, output };
            // SAFETY: `I` is what this function is compiled for.
            unsafe { for_each_cell::<I, _>(length, &mut cells) };
        }
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
        for segment in planes.segments(row) {
            planes.ask_for_next(&segment, plane);
            let positions = &mut positions[segment.outputs.clone()];
            let output = &mut output[segment.outputs.clone()];
            let length = output.len();
            let segment = &segment;
            let mut cells = Positions::<T> { planes, segment, plane, output, positions };
            // SAFETY: `I` is what this function is compiled for.
            unsafe { for_each_cell::<I, _>(length, &mut cells) };
        }
    }
}

per_isa! {
    fn avg_row<I, T: Float>(
        planes: &Planes,
        row: [usize; 2],
        plane: &[T],
        output: &mut [T],
    ) {
        for segment in planes.segments(row) {
            planes.ask_for_next(&segment, plane);
            let output = &mut output[segment.outputs.clone()];
            let length = output.len();
            let mut cells = Averages::<T> { planes, segment: &segment, plane, output };
            // SAFETY: `I` is what this function is compiled for.
            unsafe { for_each_cell::<I, _>(length, &mut cells) };
        }
    }
}

/// Runs `make(number, depth and height, plane of the input, row)` for each row of the output.
fn for_each_output_row<T: Float>(
    parallel: &dyn Parallel,
    planes: &Planes,
    input: &[T],
    output: &mut [T],
    make: impl Fn(usize, [usize; 2], &[T], &mut [T]) + Sync,
) {
    let (elements, plane_elements) = (planes.row_elements(), planes.input_elements());
    let rows_per_task = (TASK / elements).max(1);
    for_each_chunk(parallel, output, rows_per_task * elements, &|index, output| {
        let first = index * rows_per_task;
        let rows = planes.output_rows(first).zip(output.chunks_exact_mut(elements));
        for (index, ((plane, row), output)) in rows.enumerate() {
            let plane = &input[plane * plane_elements..][..plane_elements];
            make(first + index, row, plane, output);
        }
    });
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
    let planes = &Planes::new(shape);
    let elements = planes.row_elements();
    let argmax = argmax.map(Parts::new);
    for_each_output_row(parallel, planes, input, output, |number, row, plane, output| {
        let Some(argmax) = &argmax else { return max_row(isa, planes, row, plane, output) };
        // SAFETY: rows do not overlap, and each is made once.
        let positions = unsafe { argmax.range(number * elements, elements) };
        argmax_row(isa, planes, row, plane, output, positions);
    });
}

/// See [`super::avg_pool`].
pub(super) fn avg_pool<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    shape: &PoolingShape,
    input: &[T],
    output: &mut [T],
) {
    let planes = &Planes::new(shape);
    for_each_output_row(parallel, planes, input, output, |_, row, plane, output| {
        avg_row(isa, planes, row, plane, output);
    });
}
