//! Reductions over any set of axes.
//!
//! Neighbouring axes that share their fate are merged first. What then lies innermost decides: runs
//! of elements that become one, or rows that are combined element by element. Both go pairwise, so
//! that the error of a sum grows with the logarithm of its length; long reductions are cut into
//! segments whose results are combined the same way.

use crate::parallel::Parts;
use crate::shape::{Sizes, contiguous_strides, element_count, offset};
use crate::{Element, Isa, Parallel, for_each_chunk};
use smallvec::{SmallVec, smallvec};

/// Partial results per run, combined at its end.
const LANES: usize = 64;
/// Elements of a vector, or of a few.
const VECTOR: usize = 16;
/// Elements of a run that its lanes add up one after another.
const PIECE: usize = 64 * LANES;
/// Columns that one task combines.
const TILE: usize = 256;
/// Rows that are combined one after another.
const LEAF: usize = 16;
/// Elements per task.
const WORK: usize = 32 * 1024;
/// Results of segments that lie on the stack.
const PARTIAL: usize = 2048;

/// How two elements become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// The sum; wraps around for integers.
    Sum,
    /// The greatest element, NaN if there is one.
    Max,
    /// The least element, NaN if there is one.
    Min,
    /// The product; wraps around for integers.
    Product,
}

impl Reduction {
    /// The reduction of nothing.
    pub fn identity<T: Element>(self) -> T {
        match self {
            Reduction::Sum => Sum::identity(),
            Reduction::Max => Max::identity(),
            Reduction::Min => Min::identity(),
            Reduction::Product => Product::identity(),
        }
    }

    /// The reduction of two elements.
    pub fn combine<T: Element>(self, a: T, b: T) -> T {
        match self {
            Reduction::Sum => Sum::combine(a, b),
            Reduction::Max => Max::combine(a, b),
            Reduction::Min => Min::combine(a, b),
            Reduction::Product => Product::combine(a, b),
        }
    }
}

/// A [`Reduction`] known when the kernel is compiled.
pub(crate) trait Combine {
    fn identity<T: Element>() -> T;
    fn combine<T: Element>(a: T, b: T) -> T;
}

macro_rules! combine {
    ($($name:ident: $identity:ident, |$a:ident, $b:ident| $combined:expr;)*) => {$(
        pub(crate) struct $name;
        impl Combine for $name {
            #[inline(always)]
            fn identity<T: Element>() -> T {
                T::$identity
            }
            #[inline(always)]
            fn combine<T: Element>($a: T, $b: T) -> T {
                $combined
            }
        }
    )*};
}

combine! {
    Sum: ZERO, |a, b| a.plus(b);
    Max: LOWEST, |a, b| if a.is_nan() || a > b { a } else { b };
    Min: HIGHEST, |a, b| if a.is_nan() || a < b { a } else { b };
    Product: ONE, |a, b| a.times(b);
}

/// Reduces the marked `axes` of `input`, a C-contiguous array of this shape; the other axes keep
/// their order in `output`.
///
/// # Panics
/// If the sizes do not fit together.
pub fn reduce<T: Element>(
    isa: Isa,
    parallel: &dyn Parallel,
    reduction: Reduction,
    shape: &[usize],
    axes: &[bool],
    input: &[T],
    output: &mut [T],
) {
    assert_eq!(shape.len(), axes.len(), "one mark per axis is needed");
    assert_eq!(input.len(), element_count(shape), "the input does not have the shape's size");
    let kept: usize = shape.iter().zip(axes).filter(|(_, r)| !**r).map(|(size, _)| size).product();
    assert_eq!(output.len(), kept, "the output does not have the kept axes' size");
    match reduction {
        Reduction::Sum => reduce_by::<T, Sum>(isa, parallel, shape, axes, input, output),
        Reduction::Max => reduce_by::<T, Max>(isa, parallel, shape, axes, input, output),
        Reduction::Min => reduce_by::<T, Min>(isa, parallel, shape, axes, input, output),
        Reduction::Product => reduce_by::<T, Product>(isa, parallel, shape, axes, input, output),
    }
}

fn reduce_by<T: Element, C: Combine>(
    isa: Isa,
    parallel: &dyn Parallel,
    shape: &[usize],
    axes: &[bool],
    input: &[T],
    output: &mut [T],
) {
    if input.is_empty() {
        return output.fill(C::identity());
    }
    let view = View::new(shape, axes);
    let segments = view.segments();
    if segments == 1 {
        return view.reduce::<T, C>(isa, parallel, 1, input, output);
    }
    let mut partial: SmallVec<[T; PARTIAL]> = smallvec![C::identity(); segments * output.len()];
    view.reduce::<T, C>(isa, parallel, segments, input, &mut partial);
    reduce_by::<T, C>(isa, parallel, &[segments, output.len()], &[true, false], &partial, output);
}

/// An array's axes, merged and sorted into kept and reduced ones.
struct View {
    /// The kept axes but for an innermost one.
    kept: Axes,
    /// The reduced axes but for an innermost one.
    reduced: Axes,
    /// The innermost axis.
    inner: usize,
    inner_reduced: bool,
}

#[derive(Default)]
struct Axes {
    shape: Sizes,
    strides: Sizes,
}

impl Axes {
    fn count(&self) -> usize {
        element_count(&self.shape)
    }

    fn offset(&self, index: usize) -> usize {
        offset(index, &self.shape, &self.strides)
    }
}

impl View {
    fn new(shape: &[usize], axes: &[bool]) -> View {
        let mut merged: SmallVec<[(usize, bool); 8]> = SmallVec::new();
        for (&size, &reduced) in shape.iter().zip(axes).filter(|(size, _)| **size != 1) {
            match merged.last_mut() {
                Some((last, kind)) if *kind == reduced => *last *= size,
                _ => merged.push((size, reduced)),
            }
        }
        let (inner, inner_reduced) = merged.last().copied().unwrap_or((1, false));
        let sizes: Sizes = merged.iter().map(|(size, _)| *size).collect();
        let strides = contiguous_strides(&sizes);
        let (mut kept, mut reduced) = (Axes::default(), Axes::default());
        for axis in 0..merged.len().saturating_sub(1) {
            let axes = if merged[axis].1 { &mut reduced } else { &mut kept };
            axes.shape.push(sizes[axis]);
            axes.strides.push(strides[axis]);
        }
        View { kept, reduced, inner, inner_reduced }
    }

    /// What is combined for one output element: pieces of runs, or rows.
    fn parts(&self) -> usize {
        self.reduced.count() * if self.inner_reduced { self.inner.div_ceil(PIECE) } else { 1 }
    }

    /// How many parts of the reduction are computed apart, by the shape alone: several only where
    /// there are few outputs and much to reduce.
    fn segments(&self) -> usize {
        let outputs = self.kept.count() * if self.inner_reduced { 1 } else { self.inner };
        let total =
            outputs * self.reduced.count() * if self.inner_reduced { self.inner } else { 1 };
        let tasks = if self.inner_reduced { outputs } else { outputs.div_ceil(TILE) };
        if tasks >= 16 { 1 } else { (total / (tasks * WORK)).clamp(1, self.parts().div_ceil(LEAF)) }
    }

    /// Reduces each of `segments` into its own array of outputs.
    fn reduce<T: Element, C: Combine>(
        &self,
        isa: Isa,
        parallel: &dyn Parallel,
        segments: usize,
        input: &[T],
        output: &mut [T],
    ) {
        let outputs = output.len() / segments;
        let parts = self.parts();
        let segment_parts =
            |segment: usize| segment * parts / segments..(segment + 1) * parts / segments;
        let per_segment = parts.div_ceil(segments);
        if self.inner_reduced {
            let work = per_segment * self.inner.min(PIECE);
            let chunk = (WORK / work.max(1)).clamp(1, outputs);
            let pieces = self.inner.div_ceil(PIECE);
            for_each_part(parallel, output, outputs, chunk, &|segment, first, output| {
                for (position, output) in output.iter_mut().enumerate() {
                    let base = self.kept.offset(first + position);
                    *output = pairwise(
                        segment_parts(segment),
                        &|part| {
                            let start = base + self.reduced.offset(part / pieces);
                            let piece = part % pieces * PIECE;
                            let end = self.inner.min(piece + PIECE);
                            reduce_run::<T, C>(isa, &input[start + piece..start + end])
                        },
                        &C::combine,
                    );
                }
            });
        } else {
            let tile = TILE.min(self.inner);
            let tiles = self.inner.div_ceil(tile);
            let parts = Parts::new(output);
            parallel.for_each(segments * self.kept.count() * tiles, &|task| {
                let (row, column) = (task / tiles, task % tiles * tile);
                let (segment, outer) = (row / self.kept.count(), row % self.kept.count());
                let width = tile.min(self.inner - column);
                // SAFETY: tiles do not overlap, and `Parallel` runs each task once.
                let output = unsafe { parts.range(row * self.inner + column, width) };
                let base = self.kept.offset(outer) + column;
                let start = |part: usize| base + self.reduced.offset(part);
                reduce_rows::<T, C>(isa, input, &start, segment_parts(segment), output);
            });
        }
    }
}

/// Runs `task(segment, first output, outputs)` on chunks that do not cross segments.
fn for_each_part<T: Element>(
    parallel: &dyn Parallel,
    output: &mut [T],
    outputs: usize,
    chunk: usize,
    task: &(dyn Fn(usize, usize, &mut [T]) + Sync),
) {
    let chunks = outputs.div_ceil(chunk);
    let parts = Parts::new(output);
    parallel.for_each(parts.len() / outputs * chunks, &|index| {
        let (segment, first) = (index / chunks, index % chunks * chunk);
        let length = chunk.min(outputs - first);
        // SAFETY: chunks do not overlap, and `Parallel` runs each index once.
        task(segment, first, unsafe { parts.range(segment * outputs + first, length) });
    });
}

/// Combines the values of a range of parts as a balanced tree.
fn pairwise<T: Copy>(
    parts: std::ops::Range<usize>,
    value: &impl Fn(usize) -> T,
    combine: &impl Fn(T, T) -> T,
) -> T {
    if parts.len() == 1 {
        return value(parts.start);
    }
    let middle = parts.start + parts.len() / 2;
    let left = pairwise(parts.start..middle, value, combine);
    combine(left, pairwise(middle..parts.end, value, combine))
}

/// Combines rows of `input` element by element, as a balanced tree of groups of [`LEAF`].
fn reduce_rows<T: Element, C: Combine>(
    isa: Isa,
    input: &[T],
    start: &dyn Fn(usize) -> usize,
    rows: std::ops::Range<usize>,
    output: &mut [T],
) {
    if rows.len() <= LEAF {
        let mut starts = [0; LEAF];
        let starts = &mut starts[..rows.len()];
        starts.iter_mut().zip(rows).for_each(|(to, row)| *to = start(row));
        return combine_rows::<T, C>(isa, input, starts, output);
    }
    let middle = rows.start + rows.len() / 2;
    reduce_rows::<T, C>(isa, input, start, rows.start..middle, output);
    let mut other = [T::ZERO; TILE];
    let other = &mut other[..output.len()];
    reduce_rows::<T, C>(isa, input, start, middle..rows.end, other);
    combine_arrays::<T, C>(isa, output, other);
}

per_isa! {
    /// Combines the rows that begin at `starts`, one after another.
    fn combine_rows<I, T: Element, C: Combine>(input: &[T], starts: &[usize], output: &mut [T]) {
        let Some((&first, others)) = starts.split_first() else {
            return output.fill(C::identity());
        };
        let (wide, rest) = output.as_chunks_mut::<64>();
        let (narrow, rest) = rest.as_chunks_mut::<16>();
        let mut column = 0;
        for output in wide {
            combine_columns::<T, C, 64>(&input[column..], first, others, output);
            column += 64;
        }
        for output in narrow {
            combine_columns::<T, C, 16>(&input[column..], first, others, output);
            column += 16;
        }
        for (output, column) in rest.iter_mut().zip(column..) {
            let values = others.iter().map(|start| input[start + column]);
            *output = values.fold(input[first + column], C::combine);
        }
    }
}

/// [`combine_rows`] of so many columns, which stay in registers.
#[inline(always)]
fn combine_columns<T: Element, C: Combine, const COLUMNS: usize>(
    input: &[T],
    first: usize,
    others: &[usize],
    output: &mut [T; COLUMNS],
) {
    let mut sums = [T::ZERO; COLUMNS];
    sums.copy_from_slice(&input[first..][..COLUMNS]);
    for &start in others {
        for (sum, &value) in sums.iter_mut().zip(&input[start..][..COLUMNS]) {
            *sum = C::combine(*sum, value);
        }
    }
    *output = sums;
}

per_isa! {
    fn combine_arrays<I, T: Element, C: Combine>(output: &mut [T], other: &[T]) {
        for (output, &value) in output.iter_mut().zip(other) {
            *output = C::combine(*output, value);
        }
    }
}

per_isa! {
    fn reduce_run<I, T: Element, C: Combine>(run: &[T]) -> T {
        combine_run::<T, C>(run)
    }
}

/// Reduces a run of elements in [`LANES`] lanes.
#[inline(always)]
pub(crate) fn combine_run<T: Element, C: Combine>(run: &[T]) -> T {
    let (blocks, rest) = run.as_chunks::<LANES>();
    let mut lanes = [C::identity(); LANES];
    for block in blocks {
        for (lane, &value) in lanes.iter_mut().zip(block) {
            *lane = C::combine(*lane, value);
        }
    }
    // In vectors too, so far as they go: the compiler would take the rest one by one.
    let (vectors, rest) = rest.as_chunks::<VECTOR>();
    for (lanes, vector) in lanes.chunks_exact_mut(VECTOR).zip(vectors) {
        for (lane, &value) in lanes.iter_mut().zip(vector) {
            *lane = C::combine(*lane, value);
        }
    }
    for (lane, &value) in lanes[vectors.len() * VECTOR..].iter_mut().zip(rest) {
        *lane = C::combine(*lane, value);
    }
    let mut width = if run.len() < LANES { run.len().next_power_of_two() } else { LANES };
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            lanes[lane] = C::combine(lanes[lane], lanes[lane + width]);
        }
    }
    lanes[0]
}

/// The position of the first greatest element along the middle dimension of `input`, seen as
/// `outer x length x inner`; NaN counts as greatest.
///
/// # Panics
/// If the sizes do not fit together, or if there are lanes of length 0.
pub fn argmax<T: Element>(
    isa: Isa,
    parallel: &dyn Parallel,
    outer: usize,
    length: usize,
    inner: usize,
    input: &[T],
    output: &mut [i32],
) {
    assert_eq!(input.len(), outer * length * inner, "the input does not have the given size");
    assert_eq!(output.len(), outer * inner, "the output does not have the given size");
    assert!(length > 0 || output.is_empty(), "nothing has no greatest element");
    let chunk = (WORK / length.max(1)).max(1);
    for_each_chunk(parallel, output, chunk, &|index, output| {
        argmax_of_lanes(isa, input, length, inner, index * chunk, output);
    });
}

per_isa! {
    fn argmax_of_lanes<I, T: Element>(
        input: &[T], length: usize, inner: usize, first: usize, output: &mut [i32],
    ) {
        for (position, output) in output.iter_mut().enumerate() {
            let (outer, column) = ((first + position) / inner, (first + position) % inner);
            let lane = input[outer * length * inner + column..].iter().step_by(inner).take(length);
            let (mut best, mut greatest) = (0, T::LOWEST);
            for (index, &value) in lane.enumerate() {
                let greater = value > greatest || index == 0;
                if (greater || value.is_nan()) && !(greatest.is_nan()) {
                    (best, greatest) = (index, value);
                }
            }
            *output = best as i32;
        }
    }
}
