//! Copies between parts of arrays: slices with any step, and writes into the middle of an array.

use crate::parallel::Parts;
use crate::shape::{contiguous_strides, element_count};
use crate::{Element, Parallel, for_each_chunk};

/// Elements per task.
const WORK: usize = 16 * 1024;

/// Part of an array: where its first element lies, and how far on the next one is in each
/// dimension (backwards where negative). The shape is named beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Position of the first element.
    pub offset: usize,
    /// Distance of neighbours in each dimension, in elements.
    pub strides: Vec<isize>,
}

impl Window {
    /// All of a C-contiguous array.
    pub fn whole(shape: &[usize]) -> Self {
        let strides = contiguous_strides(shape).into_iter().map(|stride| stride as isize).collect();
        Self { offset: 0, strides }
    }

    /// Every `steps`-th element from `starts` on of a C-contiguous array of this shape.
    ///
    /// # Panics
    /// If there is not one start and one step for each dimension.
    pub fn stepped(shape: &[usize], starts: &[usize], steps: &[isize]) -> Self {
        assert!(starts.len() == shape.len() && steps.len() == shape.len());
        let whole = contiguous_strides(shape);
        let offset = starts.iter().zip(&whole).map(|(start, stride)| start * stride).sum();
        let strides = steps.iter().zip(&whole).map(|(step, &stride)| step * stride as isize);
        Self { offset, strides: strides.collect() }
    }

    /// Checks that a window of this shape lies inside an array of `length` elements.
    fn check(&self, what: &str, shape: &[usize], length: usize) {
        assert_eq!(self.strides.len(), shape.len(), "{what} has another rank");
        let (mut lowest, mut highest) = (self.offset as i128, self.offset as i128);
        for (&size, &stride) in shape.iter().zip(&self.strides) {
            let reach = (size as i128 - 1) * stride as i128;
            lowest += reach.min(0);
            highest += reach.max(0);
        }
        assert!(lowest >= 0 && highest < length as i128, "{what} reaches beyond its array");
    }
}

/// Sets every element of `output`.
pub fn fill<T: Element>(parallel: &dyn Parallel, value: T, output: &mut [T]) {
    for_each_chunk(parallel, output, 4 * WORK, &|_, chunk| chunk.fill(value));
}

/// Copies `input` to `output`, which has its size.
///
/// # Panics
/// If the sizes differ.
pub fn copy<T: Element>(parallel: &dyn Parallel, input: &[T], output: &mut [T]) {
    assert_eq!(input.len(), output.len(), "input and output differ in size");
    for_each_chunk(parallel, output, 2 * WORK, &|index, chunk| {
        let start = index * 2 * WORK;
        chunk.copy_from_slice(&input[start..start + chunk.len()]);
    });
}

/// Copies the window `from` of `input` to the window `to` of `output`; both have this shape. What
/// lies outside the window is left alone.
///
/// # Panics
/// If a window reaches beyond its array, or the elements of `to` may overlap.
pub fn copy_window<T: Element>(
    parallel: &dyn Parallel,
    shape: &[usize],
    input: &[T],
    from: &Window,
    output: &mut [T],
    to: &Window,
) {
    if element_count(shape) == 0 {
        return;
    }
    from.check("the input's window", shape, input.len());
    to.check("the output's window", shape, output.len());
    let plan = Rows::new(shape, from, to);
    let inner = plan.inner;
    // A task has some whole rows, or a piece of a long one.
    let piece = inner.size.min(WORK);
    let pieces = inner.size.div_ceil(piece);
    let rows_per_task = WORK / inner.size.max(1) + 1;
    let rows: usize = plan.outer.iter().map(|axis| axis.size).product();
    let parts = Parts::new(output);
    parallel.for_each(rows.div_ceil(rows_per_task) * pieces, &|task| {
        let first = task / pieces * rows_per_task;
        let start = task % pieces * piece;
        let count = piece.min(inner.size - start);
        plan.for_each_row(first, rows_per_task.min(rows - first), &mut |source, target| {
            let source = source + start as isize * inner.from;
            let target = target + start * inner.to;
            // SAFETY: the window lies inside the output (checked above), its rows do not overlap
            // (checked by `Rows::new`), and each piece of a row belongs to one task; the gaps
            // between the elements of a row are not touched.
            let row = unsafe { parts.range(target, (count - 1) * inner.to + 1) };
            copy_row(input, source as usize, inner.from, row, inner.to);
        });
    });
}

/// A dimension with its strides in the input and in the output.
#[derive(Clone, Copy, Debug)]
struct Axis {
    size: usize,
    from: isize,
    to: usize,
}

/// The rows of a copy: what varies fastest in the output, and the dimensions around it.
#[derive(Debug)]
struct Rows {
    source: isize,
    target: usize,
    outer: Vec<Axis>,
    inner: Axis,
}

impl Rows {
    /// Turns dimensions that the output runs through backwards, sorts them by the output's strides
    /// and merges those that continue one another on both sides.
    fn new(shape: &[usize], from: &Window, to: &Window) -> Self {
        let (mut source, mut target) = (from.offset as isize, to.offset as isize);
        let mut axes: Vec<Axis> = vec![];
        for (axis, &size) in shape.iter().enumerate().filter(|(_, size)| **size != 1) {
            let (mut from, mut to) = (from.strides[axis], to.strides[axis]);
            if to < 0 {
                source += (size as isize - 1) * from;
                target += (size as isize - 1) * to;
                (from, to) = (-from, -to);
            }
            axes.push(Axis { size, from, to: to as usize });
        }
        axes.sort_by_key(|axis| std::cmp::Reverse(axis.to));
        // One step along a dimension leads beyond all that the faster ones reach.
        let mut reach = 0;
        for axis in axes.iter().rev() {
            assert!(axis.to > reach, "the output's elements may overlap");
            reach += (axis.size - 1) * axis.to;
        }
        let mut merged: Vec<Axis> = vec![];
        for axis in axes {
            match merged.last_mut() {
                Some(last)
                    if last.from == axis.from * axis.size as isize
                        && last.to == axis.to * axis.size =>
                {
                    *last = Axis { size: last.size * axis.size, ..axis };
                }
                _ => merged.push(axis),
            }
        }
        let inner = merged.pop().unwrap_or(Axis { size: 1, from: 1, to: 1 });
        Self { source, target: target as usize, outer: merged, inner }
    }

    /// Calls `visit` with the positions of the first elements of `count` rows from `first` on.
    fn for_each_row(&self, first: usize, count: usize, visit: &mut dyn FnMut(isize, usize)) {
        let mut position = vec![0; self.outer.len()];
        let (mut source, mut target) = (self.source, self.target);
        let mut rest = first;
        for (axis, place) in self.outer.iter().zip(&mut position).rev() {
            *place = rest % axis.size;
            rest /= axis.size;
            source += *place as isize * axis.from;
            target += *place * axis.to;
        }
        for _ in 0..count {
            visit(source, target);
            for (axis, place) in self.outer.iter().zip(&mut position).rev() {
                *place += 1;
                source += axis.from;
                target += axis.to;
                if *place < axis.size {
                    break;
                }
                *place = 0;
                source -= axis.size as isize * axis.from;
                target -= axis.size * axis.to;
            }
        }
    }
}

#[inline(always)]
fn copy_row<T: Element>(input: &[T], start: usize, from: isize, target: &mut [T], to: usize) {
    match (from, to) {
        (1, 1) => target.copy_from_slice(&input[start..start + target.len()]),
        (-1, 1) => {
            let source = &input[start + 1 - target.len()..=start];
            for (target, &value) in target.iter_mut().zip(source.iter().rev()) {
                *target = value;
            }
        }
        _ => {
            let mut position = start as isize;
            for target in target.iter_mut().step_by(to) {
                *target = input[position as usize];
                position += from;
            }
        }
    }
}
