//! Softmax cross-entropy from integer labels.

use flowrs_kernels::loss as kernels;

use super::attributes::Attributes;
use super::{Lowering, Op, expect_float, expect_inputs, with_float};
use crate::error::Error;
use crate::graph::{Builder, Node, ValueId};
use crate::step::Kernel;
use crate::types::{DType, TensorType, dtype_name};

/// `-log(max(softmax(logits)[label], 1e-20))`; the inputs are labels and logits, the outputs the
/// loss and the probabilities, which the gradient needs.
#[derive(Clone, Debug)]
pub struct SparseSoftmaxCrossEntropy;

/// `dy * (probability - one_hot(label))` from labels, probabilities and the loss' gradient.
#[derive(Clone, Debug)]
pub struct SparseSoftmaxCrossEntropyGradient;

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

impl SparseSoftmaxCrossEntropy {
    /// Has no attributes.
    pub fn from_attributes(_attributes: &mut Attributes) -> Result<Self, Error> {
        Ok(Self)
    }
}

impl Op for SparseSoftmaxCrossEntropy {
    fn name(&self) -> &'static str {
        "sparse_softmax_cross_entropy"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [labels, logits] = expect_inputs(inputs)?;
        expect_float(&logits, "logits")?;
        if labels.dtype.is_float() {
            let found = dtype_name(labels.dtype);
            return Err(Error::DType(format!(
                "labels must be integers, not {found} (labels come first, then logits)"
            )));
        }
        match logits.shape.split_last() {
            Some((&depth, rows)) if rows == labels.shape && depth > 0 && !rows.is_empty() => {
                Ok(vec![logits.with_shape(rows), logits])
            }
            _ => Err(Error::Shape(format!(
                "labels of shape {:?} do not fit logits of shape {:?}",
                labels.shape, logits.shape
            ))),
        }
    }

    fn gradient(
        &self,
        g: &mut Builder,
        node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let Some(dy) = dy[0] else { return Ok(vec![None, None]) };
        let inputs = [node.inputs[0], node.outputs[1], dy];
        Ok(vec![None, Some(g.derive(SparseSoftmaxCrossEntropyGradient, &inputs)?)])
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let depth = lowering.inputs[1].shape.last().copied().unwrap_or(1);
        let isa = lowering.settings.isa;
        with_float!(lowering.inputs[1].dtype, T => {
            with_label!(lowering.inputs[0].dtype, L => Ok(Box::new(move |step| {
                let (labels, logits) = (step.input::<L>(0), step.input::<T>(1));
                let (loss, probability) = (step.output::<T>(0), step.output::<T>(1));
                kernels::sparse_softmax_cross_entropy(
                    isa, step.parallel(), depth, logits, labels, loss, probability,
                )
                .map_err(|wrong| Error::Range(format!(
                    "label {} at position {} is no class: there are {} classes, 0 to {}",
                    wrong.label, wrong.index, wrong.depth, wrong.depth - 1
                )))
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
