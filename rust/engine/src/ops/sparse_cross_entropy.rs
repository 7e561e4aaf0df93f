//! Cross-entropy from integer labels, of logits or of probabilities.

use flowrs_kernels::{Element, loss as kernels};

use super::attributes::Attributes;
use super::{Lowering, Op, expect_float, expect_inputs, with_float};
use crate::error::Error;
use crate::graph::{Builder, Node, ValueId};
use crate::step::Kernel;
use crate::types::{DType, TensorType, dtype_name};

/// `-log(max(softmax(logits)[label], 1e-20))`; the inputs are labels and logits, the outputs the
/// loss and the probabilities, which the gradient needs.
#[derive(Clone, Debug)]
pub struct SparseSoftmaxCrossEntropy {
    /// Where a pass has set it, the gradient of each loss: the second output is then the gradient of
    /// the logits.
    dy: Option<f64>,
}

/// `dy * (probability - one_hot(label))` from labels, probabilities and the loss' gradient.
#[derive(Clone, Debug)]
pub struct SparseSoftmaxCrossEntropyGradient;

/// `-log(max(prediction[label], 1e-20))`; the inputs are labels and probabilities.
#[derive(Clone, Debug)]
pub struct SparseCrossEntropy;

/// `-dy / max(prediction[label], 1e-20)` at the label and 0 elsewhere, from labels, probabilities
/// and the loss' gradient.
#[derive(Clone, Debug)]
pub struct SparseCrossEntropyGradient;

/// The probability that stands for all smaller ones.
const FLOOR: f64 = 1e-20;

/// Runs `$body` with the Rust type of a label dtype bound to `$L`.
macro_rules! with_label {
    ($dtype:expr, $L:ident => $body:expr) => {
        match $dtype {
            DType::I32 => {
                type $L = i32;
                $body
            }
            DType::I64 => {
                type $L = i64;
                $body
            }
            DType::I8 => {
                type $L = i8;
                $body
            }
            DType::U8 => {
                type $L = u8;
                $body
            }
            other => {
                Err(Error::DType(format!("labels must be integers, not {}", dtype_name(other))))
            }
        }
    };
}

/// The types of the losses and of the scores (logits or probabilities) that they are computed from.
fn infer(inputs: &[&TensorType], scores_name: &str) -> Result<(TensorType, TensorType), Error> {
    let [labels, scores] = expect_inputs(inputs)?;
    expect_float(&scores, scores_name)?;
    if labels.dtype.is_float() {
        let found = dtype_name(labels.dtype);
        return Err(Error::DType(format!(
            "labels must be integers, not {found} (labels come first, then {scores_name})"
        )));
    }
    match scores.shape.split_last() {
        Some((&depth, rows)) if rows == labels.shape && depth > 0 && !rows.is_empty() => {
            Ok((scores.with_shape(rows), scores))
        }
        _ => Err(Error::Shape(format!(
            "labels of shape {:?} do not fit {scores_name} of shape {:?}",
            labels.shape, scores.shape
        ))),
    }
}

fn no_class(label: i64, position: usize, depth: usize) -> Error {
    Error::Range(format!(
        "label {label} at position {position} is no class: there are {depth} classes, 0 to {}",
        depth - 1
    ))
}

/// The position of each label's element in rows of `depth`.
fn chosen<L: Element>(labels: &[L], depth: usize) -> impl Iterator<Item = Result<usize, Error>> {
    labels.iter().enumerate().map(move |(row, label)| {
        let label: i64 = label.cast();
        match usize::try_from(label) {
            Ok(class) if class < depth => Ok(row * depth + class),
            _ => Err(no_class(label, row, depth)),
        }
    })
}

impl SparseSoftmaxCrossEntropy {
    /// Has no attributes.
    pub fn from_attributes(_attributes: &mut Attributes) -> Result<Self, Error> {
        Ok(Self { dy: None })
    }

    /// The same loss with the gradient of its logits in place of the probabilities.
    pub(crate) fn with_gradient(&self, dy: f64) -> Self {
        Self { dy: Some(dy) }
    }
}

impl Op for SparseSoftmaxCrossEntropy {
    fn name(&self) -> &'static str {
        "sparse_softmax_cross_entropy"
    }

    fn attributes(&self) -> String {
        self.dy.map_or(String::new(), |dy| format!("+gradient of {dy}"))
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let (rows, logits) = infer(inputs, "logits")?;
        Ok(vec![rows, logits])
    }

    fn gradient(
        &self,
        g: &mut Builder,
        node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let Some(dy) = dy[0] else { return Ok(vec![None, None]) };
        debug_assert_eq!(self.dy, None, "fusion comes after differentiation");
        let inputs = [node.inputs[0], node.outputs[1], dy];
        Ok(vec![None, Some(g.derive(SparseSoftmaxCrossEntropyGradient, &inputs)?)])
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let depth = lowering.inputs[1].shape.last().copied().unwrap_or(1);
        let (isa, dy) = (lowering.settings.isa, self.dy);
        with_float!(lowering.inputs[1].dtype, T => {
            with_label!(lowering.inputs[0].dtype, L => Ok(Box::new(move |step| {
                let (labels, logits) = (step.input::<L>(0), step.input::<T>(1));
                let (loss, second) = (step.output::<T>(0), step.output::<T>(1));
                let dy = dy.map(|dy| dy as T);
                kernels::sparse_softmax_cross_entropy(
                    isa, step.parallel(), depth, logits, labels, dy, loss, second,
                )
                .map_err(|wrong| no_class(wrong.label, wrong.index, wrong.depth))
            })))
        })
    }

    fn can_fail(&self) -> bool {
        true
    }
}

impl Op for SparseSoftmaxCrossEntropyGradient {
    fn name(&self) -> &'static str {
        "sparse_softmax_cross_entropy_gradient"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [_labels, probability, _dy] = expect_inputs(inputs)?;
        Ok(vec![probability])
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let depth = lowering.inputs[1].shape.last().copied().unwrap_or(1);
        let isa = lowering.settings.isa;
        with_float!(lowering.inputs[1].dtype, T => {
            with_label!(lowering.inputs[0].dtype, L => Ok(Box::new(move |step| {
                let (labels, probability) = (step.input::<L>(0), step.input::<T>(1));
                let (dy, dx) = (step.input::<T>(2), step.output::<T>(0));
                kernels::sparse_softmax_cross_entropy_gradient(
                    isa, step.parallel(), depth, probability, labels, dy, dx,
                );
                Ok(())
            })))
        })
    }
}

impl SparseCrossEntropy {
    /// Has no attributes.
    pub fn from_attributes(_attributes: &mut Attributes) -> Result<Self, Error> {
        Ok(Self)
    }
}

impl Op for SparseCrossEntropy {
    fn name(&self) -> &'static str {
        "sparse_cross_entropy"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let (rows, _) = infer(inputs, "prediction")?;
        Ok(vec![rows])
    }

    fn gradient(
        &self,
        g: &mut Builder,
        node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let Some(dy) = dy[0] else { return Ok(vec![None, None]) };
        let inputs = [node.inputs[0], node.inputs[1], dy];
        Ok(vec![None, Some(g.derive(SparseCrossEntropyGradient, &inputs)?)])
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let depth = lowering.inputs[1].shape.last().copied().unwrap_or(1);
        with_float!(lowering.inputs[1].dtype, T => {
            with_label!(lowering.inputs[0].dtype, L => Ok(Box::new(move |step| {
                let (labels, prediction) = (step.input::<L>(0), step.input::<T>(1));
                for (loss, at) in step.output::<T>(0).iter_mut().zip(chosen(labels, depth)) {
                    *loss = -prediction[at?].max(FLOOR as T).ln();
                }
                Ok(())
            })))
        })
    }

    fn can_fail(&self) -> bool {
        true
    }
}

impl Op for SparseCrossEntropyGradient {
    fn name(&self) -> &'static str {
        "sparse_cross_entropy_gradient"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [_labels, prediction, _dy] = expect_inputs(inputs)?;
        Ok(vec![prediction])
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let depth = lowering.inputs[1].shape.last().copied().unwrap_or(1);
        with_float!(lowering.inputs[1].dtype, T => {
            with_label!(lowering.inputs[0].dtype, L => Ok(Box::new(move |step| {
                let (labels, prediction) = (step.input::<L>(0), step.input::<T>(1));
                let (dy, dx) = (step.input::<T>(2), step.output::<T>(0));
                dx.fill(0.0);
                for (dy, at) in dy.iter().zip(chosen(labels, depth)) {
                    let at = at?;
                    dx[at] = -dy / prediction[at].max(FLOOR as T);
                }
                Ok(())
            })))
        })
    }

    fn can_fail(&self) -> bool {
        true
    }
}
