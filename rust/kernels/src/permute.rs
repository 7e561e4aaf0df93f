//! Moving elements without changing them.

use crate::gemm::{Block, Matrix, transpose_to};
use crate::parallel::Parts;
use crate::shape::{Sizes, contiguous_strides, element_count, extent, offset};
use crate::{Element, Isa, Parallel};
use smallvec::SmallVec;

/// Side of the squares in which a transposition goes: both sides' cache lines are used whole.
const SIDE: usize = 16;
/// Elements per task.
const WORK: usize = 16 * 1024;

/// Copies `input`, of this shape, with its dimensions reordered: dimension `i` of the output is
/// dimension `permutation[i]` of the input.
///
/// # Panics
/// If the sizes do not fit together or `permutation` is none.
pub fn transpose<T: Element>(
    parallel: &dyn Parallel,
    shape: &[usize],
    permutation: &[usize],
    input: &[T],
    output: &mut [T],
) {
    let mut sorted = Sizes::from_slice(permutation);
    sorted.sort_unstable();
    assert!(sorted.into_iter().eq(0..shape.len()), "{permutation:?} is no permutation of the axes");
    let strides = contiguous_strides(shape);
    let input_strides: Sizes = permutation.iter().map(|&axis| strides[axis]).collect();
    let shape: Sizes = permutation.iter().map(|&axis| shape[axis]).collect();
    assert_eq!(input.len(), element_count(&shape), "the input does not have the shape's size");
    assert_eq!(output.len(), input.len(), "input and output differ in size");
    copy_strided(parallel, &shape, input, &input_strides, output, &contiguous_strides(&shape));
}

/// Copies an array of this shape from one layout to another; strides are in elements, and 0 repeats
/// an input.
///
/// # Panics
/// If either layout reaches beyond its slice, or if the output's elements may overlap.
pub fn copy_strided<T: Element>(
    parallel: &dyn Parallel,
    shape: &[usize],
    input: &[T],
    input_strides: &[usize],
    output: &mut [T],
    output_strides: &[usize],
) {
    assert!(shape.len() == input_strides.len() && shape.len() == output_strides.len());
    assert!(extent(shape, input_strides) <= input.len(), "the input's strides reach beyond it");
    assert!(extent(shape, output_strides) <= output.len(), "the output's strides reach beyond it");
    if element_count(shape) == 0 {
        return;
    }
    let axes = merge(shape, input_strides, output_strides);
    // Of the two innermost loops one follows the output's memory and one the input's.
    let Some((&inner, rest)) = axes.split_last() else {
        output[0] = input[0];
        return;
    };
    let across = rest.iter().enumerate().min_by_key(|(_, axis)| (axis.from == 0, axis.from));
    let (across, rest): (Axis, Axes) = match across {
        Some((position, axis)) if inner.from > axis.from && axis.from > 0 => {
            let others = rest.iter().enumerate().filter(|(other, _)| *other != position);
            (*axis, others.map(|(_, axis)| *axis).collect())
        }
        _ => match rest.split_last() {
            Some((axis, others)) => (*axis, Axes::from_slice(others)),
            None => (Axis { size: 1, from: 0, to: 0 }, Axes::new()),
        },
    };
    let outer_shape: Sizes = rest.iter().map(|axis| axis.size).collect();
    let from: Sizes = rest.iter().map(|axis| axis.from).collect();
    let to: Sizes = rest.iter().map(|axis| axis.to).collect();
    // A task has some rows (steps of `across`) of one plane.
    let rows_per_task = (WORK / inner.size).max(1).next_multiple_of(SIDE);
    let tasks_per_plane = across.size.div_ceil(rows_per_task);
    let parts = Parts::new(output);
    parallel.for_each(element_count(&outer_shape) * tasks_per_plane, &|task| {
        let plane = task / tasks_per_plane;
        let first = task % tasks_per_plane * rows_per_task;
        let rows = rows_per_task.min(across.size - first);
        let source = offset(plane, &outer_shape, &from) + first * across.from;
        let target = offset(plane, &outer_shape, &to) + first * across.to;
        let across = Axis { size: rows, ..across };
        copy_plane(&input[source..], across, inner, &parts, target);
    });
}

/// A dimension with its strides in the input and in the output.
#[derive(Clone, Copy)]
struct Axis {
    size: usize,
    from: usize,
    to: usize,
}

type Axes = SmallVec<[Axis; 8]>;

/// The dimensions sorted by the output's strides, the greatest first; those that continue one another
/// in both layouts are merged.
fn merge(shape: &[usize], from: &[usize], to: &[usize]) -> Axes {
    let mut axes: Axes = (0..shape.len())
        .map(|axis| Axis { size: shape[axis], from: from[axis], to: to[axis] })
        .filter(|axis| axis.size != 1)
        .collect();
    axes.sort_by_key(|axis| std::cmp::Reverse(axis.to));
    for pair in axes.windows(2) {
        assert!(pair[0].to >= pair[1].to * pair[1].size, "the output's elements may overlap");
    }
    assert!(axes.last().is_none_or(|axis| axis.to > 0), "the output's elements overlap");
    let mut merged = Axes::new();
    for axis in axes {
        match merged.last_mut() {
            Some(last) if last.from == axis.from * axis.size && last.to == axis.to * axis.size => {
                *last = Axis { size: last.size * axis.size, ..axis };
            }
            _ => merged.push(axis),
        }
    }
    merged
}

/// Copies the plane that `across` and `inner` span; its output begins at `target`.
fn copy_plane<T: Element>(input: &[T], across: Axis, inner: Axis, parts: &Parts<T>, target: usize) {
    if size_of::<T>() == size_of::<f32>() && across.from == 1 && inner.to == 1 {
        // SAFETY: any four bytes are a float, and elements of this size are aligned as one.
        let input = unsafe { std::slice::from_raw_parts(input.as_ptr().cast(), input.len()) };
        let matrix = Matrix::<f32>::new(input, inner.size, across.size, inner.from, 1);
        // SAFETY: as above.
        let parts = unsafe { parts.cast::<f32>() };
        let place = ((0, across.size), (target, inner.size));
        // SAFETY: the output's elements do not overlap (checked by `merge`), so neither do rows, which
        // each belong to one task.
        let mut block = unsafe { Block::new(&parts, across.to, place.0, place.1) };
        // Moved elements are the same with all instructions.
        return transpose_to(Isa::detect(), matrix, &mut block);
    }
    for row in (0..across.size).step_by(SIDE) {
        let rows = SIDE.min(across.size - row);
        // A row that is contiguous on both sides is copied whole.
        let step = if inner.from == 1 && inner.to == 1 { inner.size } else { SIDE };
        for column in (0..inner.size).step_by(step) {
            let columns = step.min(inner.size - column);
            let source = &input[row * across.from + column * inner.from..];
            let target = target + row * across.to + column * inner.to;
            for i in 0..rows {
                // SAFETY: the output's elements do not overlap (checked by `merge`), so neither do
                // rows, which each belong to one task; gaps between elements are not touched.
                let row =
                    unsafe { parts.range(target + i * across.to, (columns - 1) * inner.to + 1) };
                copy_row(&source[i * across.from..], inner.from, row, inner.to);
            }
        }
    }
}

#[inline(always)]
fn copy_row<T: Element>(source: &[T], from: usize, target: &mut [T], to: usize) {
    match (from, to) {
        (1, 1) => target.copy_from_slice(&source[..target.len()]),
        (0, 1) => target.fill(source[0]),
        _ => {
            let mut position = 0;
            for target in target.iter_mut().step_by(to) {
                *target = source[position];
                position += from;
            }
        }
    }
}
