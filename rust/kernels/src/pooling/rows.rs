//! Pools row by row.

use super::PoolingShape;
use super::cells::{Averages, Maxima, Positions};
use super::planes::Planes;
use crate::cells::for_each_cell;
use crate::parallel::Parts;
use crate::{Float, Isa, Parallel, for_each_chunk};

/// Elements of the output that a task makes at least.
const TASK: usize = 8 * 1024;

/// How many pixels of a row have to be pooled together, for each row takes a while by itself; fewer are
/// enough where the input comes from memory, which goes faster in the order that it lies in.
const SHORTEST_RUN: usize = 48;
const SHORTEST_RUN_FROM_MEMORY: usize = 12;

/// Whether the rows of planes, a channel each, are better pooled as they lie.
pub(super) fn suit(shape: &PoolingShape) -> bool {
    let planes = Planes::new(shape);
    let shortest = if planes.is_large { SHORTEST_RUN_FROM_MEMORY } else { SHORTEST_RUN };
    planes.run.len() >= shortest
}

/// Defines a function that makes an output's rows, from number `first` on, by cells of one kind.
macro_rules! rows_by_cells {
    ($name:ident $cells:ident) => {
        per_isa! {
            fn $name<I, T: Float; const STEP: usize>(
                planes: &Planes,
                first: usize,
                input: &[T],
                output: &mut [T],
            ) {
                for (_, plane, row, output) in planes.rows_of(first, input, output) {
                    for segment in planes.segments(row) {
                        planes.ask_for_next(&segment, plane);
                        let (segment, output) = (&segment, &mut output[segment.outputs.clone()]);
                        let length = output.len();
                        let mut cells = $cells::<T, STEP> { planes, segment, plane, output };
                        // SAFETY: `I` is what this function is compiled for.
                        unsafe { for_each_cell::<I, _>(length, &mut cells) };
                    }
                }
            }
        }
    };
}

rows_by_cells!(max_rows Maxima);
rows_by_cells!(avg_rows Averages);

per_isa! {
    fn argmax_rows<I, T: Float; const STEP: usize>(
        planes: &Planes,
        first: usize,
        input: &[T],
        output: &mut [T],
        positions: &mut [u8],
    ) {
        let elements = planes.row_elements();
        for (number, plane, row, output) in planes.rows_of(first, input, output) {
            let positions = &mut positions[number * elements..(number + 1) * elements];
            for segment in planes.segments(row) {
                planes.ask_for_next(&segment, plane);
                let positions = &mut positions[segment.outputs.clone()];
                let output = &mut output[segment.outputs.clone()];
                let length = output.len();
                let segment = &segment;
                let mut cells = Positions::<T, STEP> { planes, segment, plane, output, positions };
                // SAFETY: `I` is what this function is compiled for.
                unsafe { for_each_cell::<I, _>(length, &mut cells) };
            }
        }
    }
}

/// Calls a function of rows that is compiled for the distance of a segment's inputs.
macro_rules! by_step {
    ($rows:ident($isa:expr, $planes:expr, $($argument:expr),*)) => {
        match $planes.step {
            1 => $rows::<T, 1>($isa, $planes, $($argument),*),
            2 => $rows::<T, 2>($isa, $planes, $($argument),*),
            step => unreachable!("no rows are compiled for a step of {step}"),
        }
    };
}

/// Runs `make(first row, rows of the output)` for all of them.
fn for_each_rows<T: Float>(
    parallel: &dyn Parallel,
    planes: &Planes,
    output: &mut [T],
    make: impl Fn(usize, &mut [T]) + Sync,
) {
    let rows_per_task = (TASK / planes.row_elements()).max(1);
    for_each_chunk(parallel, output, rows_per_task * planes.row_elements(), &|index, output| {
        make(index * rows_per_task, output);
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
    for_each_rows(parallel, planes, output, |first, output| match &argmax {
        None => by_step!(max_rows(isa, planes, first, input, output)),
        Some(argmax) => {
            // SAFETY: rows do not overlap, and each is made once.
            let positions = unsafe { argmax.range(first * elements, output.len()) };
            by_step!(argmax_rows(isa, planes, first, input, output, positions));
        }
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
    for_each_rows(parallel, planes, output, |first, output| {
        by_step!(avg_rows(isa, planes, first, input, output));
    });
}
