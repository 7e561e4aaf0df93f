//! Cross-entropy losses and their gradients.

use std::fmt;

use crate::{Element, Float, Isa, Parallel, naive};

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

/// For each row of `logits` (`depth` numbers): `probability = softmax(logits)` and
/// `loss = -log(max(probability[label], 1e-20))`.
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
    loss: &mut [T],
    probability: &mut [T],
) -> Result<(), LabelError> {
    for (index, label) in labels.iter().enumerate() {
        let label: i64 = label.cast();
        if !usize::try_from(label).is_ok_and(|label| label < depth) {
            return Err(LabelError { index, label, depth });
        }
    }
    let one_hot = one_hot(depth, labels);
    softmax_cross_entropy(isa, parallel, depth, logits, &one_hot, loss, probability);
    Ok(())
}

fn one_hot<T: Float, L: Label>(depth: usize, labels: &[L]) -> Vec<T> {
    let mut dense = vec![T::ZERO; depth * labels.len()];
    for (row, label) in dense.chunks_exact_mut(depth).zip(labels) {
        row[label.cast::<i64>() as usize] = T::ONE;
    }
    dense
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
    let one_hot = one_hot(depth, labels);
    softmax_cross_entropy_gradient(isa, parallel, depth, probability, &one_hot, dy, dlogits);
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
    let _ = (isa, parallel);
    naive::softmax_cross_entropy(depth, logits, labels, loss, probability);
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
    let _ = (isa, parallel);
    for (index, dlogit) in dlogits.iter_mut().enumerate() {
        *dlogit = dy[index / depth] * (probability[index] - labels[index]);
    }
}

/// `output = max(x, 0) - x * label + log(1 + exp(-|x|))` for each logit x.
///
/// # Panics
/// If the slices differ in length.
pub fn sigmoid_cross_entropy<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    logits: &[T],
    labels: &[T],
    output: &mut [T],
) {
    let _ = (isa, parallel);
    naive::sigmoid_cross_entropy(logits, labels, output);
}

/// The gradient of [`sigmoid_cross_entropy`] to the logits: `(sigmoid(x) - label) * dy`.
///
/// # Panics
/// If the slices differ in length.
pub fn sigmoid_cross_entropy_gradient<T: Float>(
    isa: Isa,
    parallel: &dyn Parallel,
    logits: &[T],
    labels: &[T],
    dy: &[T],
    dlogits: &mut [T],
) {
    let _ = (isa, parallel);
    naive::sigmoid_cross_entropy_gradient(logits, labels, dy, dlogits);
}
