//! Cross-entropy losses and their gradients.

use std::fmt;
use std::ops::Range;

use crate::isa::Instructions;
use crate::parallel::Parts;
use crate::reduce::Sum;
use crate::rows::{Kernel, LANES, Vectors, VectorsMut, Way, for_each_row, map_in_place};
use crate::softmax::{distance, softmax_rows};
use crate::{Element, Float, Isa, Parallel, for_each_chunk};

/// Elements per task.
const WORK: usize = 8 * 1024;

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

/// For each row of `logits` (`depth` numbers): `probability = softmax(logits)` and `loss =
/// -log(max(probability[label], 1e-20))`. With `dy`, the gradient of each loss, the gradient of the
/// logits is written in place of the probabilities: the one that
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
    assert_eq!(labels.len(), loss.len(), "labels and losses differ in number");
    for (index, label) in labels.iter().enumerate() {
        let label: i64 = label.cast();
        if !usize::try_from(label).is_ok_and(|label| label < depth) {
            return Err(LabelError { index, label, depth });
        }
    }
    let rows = [loss.len(), depth, 1];
    let kernel = Sparse { labels, dy, loss: Parts::new(loss) };
    for_each_row(isa, parallel, rows, [logits], probability, &kernel);
    Ok(())
}

/// See [`sparse_softmax_cross_entropy`]; the labels are classes.
struct Sparse<'a, T, L> {
    labels: &'a [L],
    dy: Option<T>,
    loss: Parts<'a, T>,
}

impl<T: Float, L: Label> Kernel<T, 1> for Sparse<'_, T, L> {
    const PADDING: [T; 1] = [T::LOWEST];

    #[inline(always)]
    fn compute<I: Instructions, W: Way>(
        &self,
        rows: Range<usize>,
        depth: usize,
        [x]: [Vectors<T>; 1],
        mut p: VectorsMut<T>,
    ) {
        // SAFETY: each row is computed once.
        let loss = unsafe { self.loss.range(rows.start, rows.len()) };
        let labels = &self.labels[rows];
        let places = || {
            let labels = labels.iter().map(|label| label.cast::<i64>() as usize).enumerate();
            labels.map(|(row, label)| W::place(row, label))
        };
        // At first the logits of the labels.
        let mut losses = [T::ZERO; LANES];
        for (loss, (vector, lane)) in losses.iter_mut().zip(places()) {
            *loss = x[0].get(vector).unwrap_or_else(|| &x[1][0])[lane];
        }
        let (top, mut log_sum) = softmax_rows::<I, W, T>(depth, x, &mut p);
        W::map_rows(&mut log_sum, |sum| sum.ln::<I>());
        for ((x, &top), &log_sum) in losses.iter_mut().zip(&top).zip(&log_sum) {
            *x = -floored(distance(*x, top) - log_sum);
        }
        loss.copy_from_slice(&losses[..loss.len()]);
        let Some(dy) = self.dy else { return };
        let [whole, end] = &mut p;
        for (vector, lane) in places() {
            whole.get_mut(vector).unwrap_or_else(|| &mut end[0])[lane] -= T::ONE;
        }
        map_in_place([], &mut p, |p, []| dy * p);
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
    if depth == 0 {
        return loss.fill(T::ZERO);
    }
    let rows = [loss.len(), depth, 1];
    let kernel = Dense { loss: Parts::new(loss) };
    for_each_row(isa, parallel, rows, [logits, labels], probability, &kernel);
}

/// See [`softmax_cross_entropy`].
struct Dense<'a, T> {
    loss: Parts<'a, T>,
}

impl<T: Float> Kernel<T, 2> for Dense<'_, T> {
    const PADDING: [T; 2] = [T::LOWEST, T::ZERO];

    #[inline(always)]
    fn compute<I: Instructions, W: Way>(
        &self,
        rows: Range<usize>,
        depth: usize,
        [x, labels]: [Vectors<T>; 2],
        mut p: VectorsMut<T>,
    ) {
        let (top, mut log_sum) = softmax_rows::<I, W, T>(depth, x, &mut p);
        W::map_rows(&mut log_sum, |sum| sum.ln::<I>());
        let negated = W::reduce::<T, Sum, 2, 2>(
            [x, labels],
            [&top, &log_sum],
            |[x, label], [top, log_sum]| label * floored(distance(x, top) - log_sum),
        );
        // SAFETY: each row is computed once.
        let loss = unsafe { self.loss.range(rows.start, rows.len()) };
        loss.iter_mut().zip(negated).for_each(|(loss, negated)| *loss = -negated);
    }
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
