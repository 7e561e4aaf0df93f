//! Softmax and its logarithm along one dimension, and their gradients.
//!
//! Arrays are seen as `outer x depth x inner`; the kernels work along the middle dimension.

use crate::isa::Instructions;
use crate::parallel::Parts;
use crate::reduce::{Combine, Max, Sum, combine_run};
use crate::{Float, Isa, Parallel};

/// Elements per task.
pub(crate) const WORK: usize = 8 * 1024;

/// `output = exp(input) / sum(exp(input))`.
///
/// # Panics
/// If the sizes do not fit together.
pub fn softmax<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    outer: usize,
    depth: usize,
    inner: usize,
    input: &[T],
    output: &mut [T],
) {
    per_isa! {
        fn lane<I, T: Float>(x: &[T], y: &mut [T]) {
            softmax_lane::<I, T>(x, y);
        }
    }
    for_each_lane(parallel, outer, depth, inner, [input], output, |[x], y| lane(isa, x, y));
}

/// The distance of an element of a lane from the greatest, which may be infinite itself: with one
/// infinite logit the softmax is the limit, and with several they are equally likely.
#[inline(always)]
pub(crate) fn distance<T: Float>(x: T, top: T) -> T {
    if x == top { T::ZERO } else { x - top }
}

/// The softmax of a lane; returns its greatest element and the sum of the exponentials, relative to
/// that.
#[inline(always)]
pub(crate) fn softmax_lane<I: Instructions, T: Float>(x: &[T], y: &mut [T]) -> (T, T) {
    let top = combine_run::<T, Max>(x);
    y.copy_from_slice(x);
    apply(y, |x| distance(x, top).exp::<I>());
    let sum = combine_run::<T, Sum>(y);
    apply(y, |y| y / sum);
    (top, sum)
}

/// Applies `f` to each element. The last ones are computed as a whole vector too: lanes are often shorter
/// than one, and the compiler would take their elements one by one.
#[inline(always)]
fn apply<T: Float>(y: &mut [T], f: impl Fn(T) -> T) {
    const TOGETHER: usize = 16;
    let (whole, rest) = y.as_chunks_mut::<TOGETHER>();
    // As one slice: of chunks the compiler would gather the first elements, then the second ones.
    whole.as_flattened_mut().iter_mut().for_each(|y| *y = f(*y));
    if let Some(&first) = rest.first() {
        let mut chunk = [first; TOGETHER];
        chunk[..rest.len()].copy_from_slice(rest);
        chunk.iter_mut().for_each(|y| *y = f(*y));
        rest.copy_from_slice(&chunk[..rest.len()]);
    }
}

/// Rows that are computed abreast, each in a lane of its own, where they are short.
pub(crate) const ABREAST: usize = 16;
/// The longest of short rows. One alone would fill few lanes, and each of its steps waits for the last.
pub(crate) const SHORT: usize = 32;

/// Short rows abreast: `self[column][row]`.
pub(crate) struct Abreast<T>([[T; ABREAST]; SHORT]);

impl<T: Float> Abreast<T> {
    /// One to [`ABREAST`] rows of `depth` elements; the lanes that are left hold the last one too.
    #[inline(always)]
    pub(crate) fn new(depth: usize, rows: &[T]) -> Self {
        let mut columns = [[T::ZERO; ABREAST]; SHORT];
        let last = rows.len() / depth - 1;
        for lane in 0..ABREAST {
            let row = &rows[lane.min(last) * depth..][..depth];
            for (column, &x) in columns.iter_mut().zip(row) {
                column[lane] = x;
            }
        }
        Self(columns)
    }

    /// The columns of rows of `depth` elements.
    #[inline(always)]
    pub(crate) fn columns(&mut self, depth: usize) -> &mut [[T; ABREAST]] {
        &mut self.0[..depth]
    }

    /// Writes the rows.
    #[inline(always)]
    pub(crate) fn write(&self, depth: usize, rows: &mut [T]) {
        for (lane, row) in rows.chunks_exact_mut(depth).enumerate() {
            for (x, column) in row.iter_mut().zip(&self.0) {
                *x = column[lane];
            }
        }
    }
}

/// [`softmax_lane`] of rows abreast, in place.
#[inline(always)]
pub(crate) fn softmax_abreast<I: Instructions, T: Float>(
    columns: &mut [[T; ABREAST]],
) -> ([T; ABREAST], [T; ABREAST]) {
    let mut top = [Max::identity(); ABREAST];
    for column in &*columns {
        for (top, &x) in top.iter_mut().zip(column) {
            *top = Max::combine(*top, x);
        }
    }
    let mut sums = [[T::ZERO; ABREAST]; SHORT];
    for (column, sums) in columns.iter_mut().zip(&mut sums) {
        for ((x, &top), sum) in column.iter_mut().zip(&top).zip(sums) {
            *x = distance(*x, top).exp::<I>();
            *sum = *x;
        }
    }
    // In the order of `combine_run`, so that a row's bits do not depend on how many there are.
    let mut width = columns.len().next_power_of_two();
    while width > 1 {
        width /= 2;
        let (sums, others) = sums.split_at_mut(width);
        for (sums, others) in sums.iter_mut().zip(others) {
            for (sum, &other) in sums.iter_mut().zip(&*others) {
                *sum = sum.plus(other);
            }
        }
    }
    let [sum, ..] = sums;
    for column in columns {
        for (x, &sum) in column.iter_mut().zip(&sum) {
            *x = *x / sum;
        }
    }
    (top, sum)
}

/// `output = input - log(sum(exp(input)))`.
///
/// # Panics
/// If the sizes do not fit together.
pub fn log_softmax<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    outer: usize,
    depth: usize,
    inner: usize,
    input: &[T],
    output: &mut [T],
) {
    per_isa! {
        fn lane<I, T: Float>(x: &[T], y: &mut [T]) {
            let (top, sum) = softmax_lane::<I, T>(x, y);
            let log_sum = sum.ln::<I>();
            for (y, &x) in y.iter_mut().zip(x) {
                *y = distance(x, top) - log_sum;
            }
        }
    }
    for_each_lane(parallel, outer, depth, inner, [input], output, |[x], y| lane(isa, x, y));
}

/// The gradient of a softmax whose result was `y`: `dx = y * (dy - sum(y * dy))`.
///
/// # Panics
/// If the sizes do not fit together.
pub fn softmax_gradient<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    outer: usize,
    depth: usize,
    inner: usize,
    y: &[T],
    dy: &[T],
    dx: &mut [T],
) {
    per_isa! {
        fn lane<I, T: Float>(y: &[T], dy: &[T], dx: &mut [T]) {
            for ((dx, &y), &dy) in dx.iter_mut().zip(y).zip(dy) {
                *dx = y * dy;
            }
            let dot = combine_run::<T, Sum>(dx);
            for ((dx, &y), &dy) in dx.iter_mut().zip(y).zip(dy) {
                *dx = y * (dy - dot);
            }
        }
    }
    for_each_lane(parallel, outer, depth, inner, [y, dy], dx, |[y, dy], dx| lane(isa, y, dy, dx));
}

/// The gradient of a log-softmax whose result was `y`: `dx = dy - exp(y) * sum(dy)`.
///
/// # Panics
/// If the sizes do not fit together.
pub fn log_softmax_gradient<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    outer: usize,
    depth: usize,
    inner: usize,
    y: &[T],
    dy: &[T],
    dx: &mut [T],
) {
    per_isa! {
        fn lane<I, T: Float>(y: &[T], dy: &[T], dx: &mut [T]) {
            let sum = combine_run::<T, Sum>(dy);
            for ((dx, &y), &dy) in dx.iter_mut().zip(y).zip(dy) {
                *dx = dy - y.exp::<I>() * sum;
            }
        }
    }
    for_each_lane(parallel, outer, depth, inner, [y, dy], dx, |[y, dy], dx| lane(isa, y, dy, dx));
}

/// Runs `task` on each lane of the inputs and the output. Lanes with gaps are copied to memory
/// without.
fn for_each_lane<T: Float, const N: usize>(
    parallel: &dyn Parallel,
    outer: usize,
    depth: usize,
    inner: usize,
    inputs: [&[T]; N],
    output: &mut [T],
    task: impl Fn([&[T]; N], &mut [T]) + Sync,
) {
    for length in inputs.iter().map(|input| input.len()).chain([output.len()]) {
        assert_eq!(length, outer * depth * inner, "an array does not have the given size");
    }
    if output.is_empty() {
        return;
    }
    let outer_per_task = (WORK / (depth * inner)).max(1);
    let parts = Parts::new(output);
    parallel.for_each(outer.div_ceil(outer_per_task), &|index| {
        let first = index * outer_per_task;
        let mut lanes = vec![T::ZERO; if inner == 1 { 0 } else { depth * (N + 1) }];
        for start in (first..outer.min(first + outer_per_task)).map(|row| row * depth * inner) {
            // SAFETY: rows do not overlap, and `Parallel` runs each index once.
            let output = unsafe { parts.range(start, depth * inner) };
            let inputs = inputs.map(|input| &input[start..start + depth * inner]);
            if inner == 1 {
                task(inputs, output);
                continue;
            }
            let (lane_inputs, lane_output) = lanes.split_at_mut(N * depth);
            for column in 0..inner {
                for (lane, input) in lane_inputs.chunks_exact_mut(depth).zip(inputs) {
                    for (value, &x) in lane.iter_mut().zip(input[column..].iter().step_by(inner)) {
                        *value = x;
                    }
                }
                task(
                    std::array::from_fn(|i| &lane_inputs[i * depth..(i + 1) * depth]),
                    lane_output,
                );
                for (y, &value) in output[column..].iter_mut().step_by(inner).zip(&*lane_output) {
                    *y = value;
                }
            }
        }
    });
}
