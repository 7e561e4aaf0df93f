//! Cross-entropy losses and their gradients.

use std::fmt;

use crate::parallel::Parts;
use crate::reduce::{Sum, combine_run};
use crate::softmax::{ABREAST, Abreast, SHORT, WORK, distance, softmax_abreast, softmax_lane};
use crate::{Element, Float, Isa, Parallel, for_each_chunk};

/// A label that names no class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabelError {
    /// The position of the label.
    pub index: usize,
    /// The label.
    pub label: i64,
    /// The number of classes.
    pub depth: usize,
}

impl fmt::Display for LabelError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LabelError { index, label, depth } = self;
        write!(formatter, "label {label} at position {index} is outside [0, {depth})")
    }
}

impl std::error::Error for LabelError {}

/// A type of class labels.
pub trait Label: Element {}
impl Label for i8 {}
impl Label for u8 {}
impl Label for i32 {}
impl Label for i64 {}

/// The probability that stands for all smaller ones in a logarithm.
const FLOOR: f64 = 1e-20;

/// For each row of `logits` (`depth` numbers): `probability = softmax(logits)` and
/// `loss = -log(max(probability[label], 1e-20))`. With `dy`, the gradient of each loss, the gradient
/// of the logits is written in place of the probabilities: the one that
/// [`sparse_softmax_cross_entropy_gradient`] gives.
///
/// # Errors
/// If a label is outside `[0, depth)`; nothing is written then.
///
/// # Panics
/// If the sizes do not fit together.
pub fn sparse_softmax_cross_entropy<T: Float, L: Label>(
    isa: Isa,
    parallel: &dyn Parallel,
    depth: usize,
    logits: &[T],
    labels: &[L],
    dy: Option<T>,
    loss: &mut [T],
    probability: &mut [T],
) -> Result<(), LabelError> {
    /// Short rows from so many on take less time abreast.
    const SOME: usize = 4;
    assert_eq!(labels.len(), loss.len(), "labels and losses differ in number");
    for (index, label) in labels.iter().enumerate() {
        let label: i64 = label.cast();
        if !usize::try_from(label).is_ok_and(|label| label < depth) {
            return Err(LabelError { index, label, depth });
        }
    }
    for_each_rows(parallel, depth, logits, loss, probability, |first, x, loss, p| {
        let labels = &labels[first..first + loss.len()];
        if depth <= SHORT && labels.len() >= SOME {
            sparse_short_rows(isa, depth, x, labels, dy, loss, p);
        } else {
            sparse_rows(isa, depth, x, labels, dy, loss, p);
        }
    });
    Ok(())
}

per_isa! {
    /// [`sparse_softmax_cross_entropy`] of some rows, whose labels are classes.
    fn sparse_rows<I, T: Float, L: Label>(
        depth: usize, x: &[T], labels: &[L], dy: Option<T>, loss: &mut [T], p: &mut [T],
    ) {
        let rows = x.chunks_exact(depth).zip(p.chunks_exact_mut(depth));
        for (((x, p), label), loss) in rows.zip(labels).zip(loss) {
            let label = label.cast::<i64>() as usize;
            let (top, sum) = softmax_lane::<I, T>(x, p);
            if let Some(dy) = dy {
                let chosen = dy * (p[label] - T::ONE);
                p.iter_mut().for_each(|p| *p = dy * *p);
                p[label] = chosen;
            }
            *loss = -floored(distance(x[label], top) - sum.ln::<I>());
        }
    }
}

per_isa! {
    /// [`sparse_rows`] of at most [`SHORT`] elements.
    fn sparse_short_rows<I, T: Float, L: Label>(
        depth: usize, x: &[T], labels: &[L], dy: Option<T>, loss: &mut [T], p: &mut [T],
    ) {
        let groups = x.chunks(ABREAST * depth).zip(p.chunks_mut(ABREAST * depth));
        for (((x, p), labels), loss) in
            groups.zip(labels.chunks(ABREAST)).zip(loss.chunks_mut(ABREAST))
        {
            let label = |lane: usize| labels[lane].cast::<i64>() as usize;
            let mut rows = Abreast::new(depth, x);
            let columns = rows.columns(depth);
            // At first the logits of the labels.
            let mut losses = [T::ZERO; ABREAST];
            for (lane, chosen) in losses.iter_mut().enumerate().take(labels.len()) {
                *chosen = columns[label(lane)][lane];
            }
            let (top, sum) = softmax_abreast::<I, T>(columns);
            for ((x, &top), &sum) in losses.iter_mut().zip(&top).zip(&sum) {
                *x = -floored(distance(*x, top) - sum.ln::<I>());
            }
            loss.copy_from_slice(&losses[..loss.len()]);
            if let Some(dy) = dy {
                for lane in 0..labels.len() {
                    let chosen = &mut columns[label(lane)][lane];
                    *chosen -= T::ONE;
                }
                columns.as_flattened_mut().iter_mut().for_each(|p| *p = dy * *p);
            }
            rows.write(depth, p);
        }
    }
}

/// The gradient of [`sparse_softmax_cross_entropy`] to the logits:
/// `dlogits = dy[row] * (probability - (column == label))`.
///
/// # Panics
/// If the sizes do not fit together.
pub fn sparse_softmax_cross_entropy_gradient<T: Float, L: Label>(
    isa: Isa,
    parallel: &dyn Parallel,
    depth: usize,
    probability: &[T],
    labels: &[L],
    dy: &[T],
    dlogits: &mut [T],
) {
    per_isa! {
        fn row<I, T: Float>(label: usize, p: &[T], dy: T, dx: &mut [T]) {
            for (dx, &p) in dx.iter_mut().zip(p) {
                *dx = dy * p;
            }
            if let Some(dx) = dx.get_mut(label) {
                *dx = dy * (p[label] - T::ONE);
            }
        }
    }
    assert_eq!(labels.len(), dy.len(), "labels and gradients differ in number");
    for_each_gradient_row(parallel, depth, [probability], dy, dlogits, |index, [p], dx| {
        let label = usize::try_from(labels[index].cast::<i64>()).unwrap_or(usize::MAX);
        row(isa, label, p, dy[index], dx);
    });
}

/// For each row of `logits` (`depth` numbers): `probability = softmax(logits)` and
/// `loss = -sum(labels * log(max(probability, 1e-20)))`.
///
/// # Panics
/// If the sizes do not fit together.
pub fn softmax_cross_entropy<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    depth: usize,
    logits: &[T],
    labels: &[T],
    loss: &mut [T],
    probability: &mut [T],
) {
    per_isa! {
        fn row<I, T: Float>(labels: &[T], x: &[T], p: &mut [T]) -> T {
            let (top, sum) = softmax_lane::<I, T>(x, p);
            let log_sum = sum.ln::<I>();
            // The terms lie in `p` until they are added up.
            for ((p, &x), &label) in p.iter_mut().zip(x).zip(labels) {
                *p = label * floored(distance(x, top) - log_sum);
            }
            let loss = -combine_run::<T, Sum>(p);
            for (p, &x) in p.iter_mut().zip(x) {
                *p = distance(x, top).exp::<I>() / sum;
            }
            loss
        }
    }
    assert_eq!(labels.len(), logits.len(), "labels and logits differ in number");
    for_each_row(parallel, depth, logits, loss, probability, |index, x, p| {
        row(isa, &labels[index * depth..(index + 1) * depth], x, p)
    });
}

/// The gradient of [`softmax_cross_entropy`] to the logits:
/// `dlogits = dy[row] * (probability - labels)`.
///
/// # Panics
/// If the sizes do not fit together.
pub fn softmax_cross_entropy_gradient<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    depth: usize,
    probability: &[T],
    labels: &[T],
    dy: &[T],
    dlogits: &mut [T],
) {
    per_isa! {
        fn row<I, T: Float>(p: &[T], labels: &[T], dy: T, dx: &mut [T]) {
            for ((dx, &p), &label) in dx.iter_mut().zip(p).zip(labels) {
                *dx = dy * (p - label);
            }
        }
    }
    let inputs = [probability, labels];
    for_each_gradient_row(parallel, depth, inputs, dy, dlogits, |index, [p, labels], dx| {
        row(isa, p, labels, dy[index], dx);
    });
}

/// The logarithm of a probability, but no less than that of [`FLOOR`]; NaN stays NaN.
#[inline(always)]
fn floored<T: Float>(log_probability: T) -> T {
    let floor: T = FLOOR.ln().cast();
    if log_probability < floor { floor } else { log_probability }
}

/// Runs `task(index, logits, probability) -> loss` on each row.
fn for_each_row<T: Float>(
    parallel: &dyn Parallel,
    depth: usize,
    logits: &[T],
    loss: &mut [T],
    probability: &mut [T],
    task: impl Fn(usize, &[T], &mut [T]) -> T + Sync,
) {
    for_each_rows(parallel, depth, logits, loss, probability, |first, x, loss, p| {
        for (position, loss) in loss.iter_mut().enumerate() {
            let row = position * depth..(position + 1) * depth;
            *loss = task(first + position, &x[row.clone()], &mut p[row]);
        }
    });
}

/// Runs `task(first row, logits, loss, probability)` on some rows at a time.
fn for_each_rows<T: Float>(
    parallel: &dyn Parallel,
    depth: usize,
    logits: &[T],
    loss: &mut [T],
    probability: &mut [T],
    task: impl Fn(usize, &[T], &mut [T], &mut [T]) + Sync,
) {
    /// Tasks, where they have fewer than [`WORK`] elements, and the elements that each has at least: their
    /// exponentials take a microsecond.
    const TASKS: usize = 16;
    const LEAST_WORK: usize = 512;
    assert_eq!(logits.len(), loss.len() * depth, "logits do not have `depth` numbers per row");
    assert_eq!(probability.len(), logits.len(), "probabilities and logits differ in number");
    let elements = (logits.len() / TASKS).clamp(LEAST_WORK, WORK);
    let rows_per_task = match elements / depth.max(1) {
        few if few < ABREAST => few.max(1),
        rows => rows - rows % ABREAST,
    };
    let parts = Parts::new(probability);
    for_each_chunk(parallel, loss, rows_per_task, &|chunk, loss| {
        let (first, count) = (chunk * rows_per_task, loss.len());
        // SAFETY: chunks do not overlap, and `Parallel` runs each one once.
        let probability = unsafe { parts.range(first * depth, count * depth) };
        task(first, &logits[first * depth..(first + count) * depth], loss, probability);
    });
}

/// Runs `task(index, inputs, gradient)` on each row.
fn for_each_gradient_row<T: Float, const N: usize>(
    parallel: &dyn Parallel,
    depth: usize,
    inputs: [&[T]; N],
    dy: &[T],
    dlogits: &mut [T],
    task: impl Fn(usize, [&[T]; N], &mut [T]) + Sync,
) {
    for length in inputs.iter().map(|input| input.len()).chain([dlogits.len()]) {
        assert_eq!(length, dy.len() * depth, "an array does not have `depth` numbers per row");
    }
    let rows_per_task = (WORK / depth.max(1)).max(1);
    for_each_chunk(parallel, dlogits, rows_per_task * depth.max(1), &|chunk, dlogits| {
        for (position, dx) in dlogits.chunks_exact_mut(depth).enumerate() {
            let row = chunk * rows_per_task + position;
            task(row, inputs.map(|input| &input[row * depth..(row + 1) * depth]), dx);
        }
    });
}
