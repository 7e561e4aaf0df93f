//! Softmax cross-entropy from a distribution over the classes.

use flowrs_kernels::loss as kernels;

use super::attributes::Attributes;
use super::{Lowering, Op, expect_float, expect_inputs, expect_same_dtype, with_float};
use crate::error::Error;
use crate::graph::{Builder, Node, ValueId};
use crate::step::Kernel;
use crate::types::TensorType;

/// `-sum(label * log(max(softmax(logits), 1e-20)))` along the last axis; the inputs are labels and
/// logits, the outputs the loss and the probabilities, which the gradient needs.
#[derive(Clone, Debug)]
pub struct SoftmaxCrossEntropy;

/// `dy * (probability - label)` from labels, probabilities and the loss' gradient.
#[derive(Clone, Debug)]
pub struct SoftmaxCrossEntropyGradient;

impl SoftmaxCrossEntropy {
    /// Has no attributes.
    pub fn from_attributes(_attributes: &mut Attributes) -> Result<Self, Error> {
        Ok(Self)
    }
}

impl Op for SoftmaxCrossEntropy {
    fn name(&self) -> &'static str {
        "softmax_cross_entropy"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [labels, logits] = expect_inputs(inputs)?;
        expect_float(&logits, "logits")?;
        expect_same_dtype(&labels, &logits)?;
        match logits.shape.split_last() {
            Some((&depth, rows)) if labels == logits && depth > 0 && !rows.is_empty() => {
                Ok(vec![logits.with_shape(rows), logits])
            }
            _ => Err(Error::Shape(format!(
                "labels and logits must have the same shape of rank 2 or more, not {:?} and {:?}",
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
        Ok(vec![None, Some(g.derive(SoftmaxCrossEntropyGradient, &inputs)?)])
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let depth = lowering.inputs[1].shape.last().copied().unwrap_or(1);
        let isa = lowering.settings.isa;
        with_float!(lowering.inputs[1].dtype, T => Ok(Box::new(move |step| {
            let (labels, logits) = (step.input::<T>(0), step.input::<T>(1));
            let (loss, probability) = (step.output::<T>(0), step.output::<T>(1));
            let parallel = step.parallel();
            kernels::softmax_cross_entropy(
                isa, parallel, depth, logits, labels, loss, probability,
            );
            Ok(())
        })))
    }
}

impl Op for SoftmaxCrossEntropyGradient {
    fn name(&self) -> &'static str {
        "softmax_cross_entropy_gradient"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [_labels, probability, _dy] = expect_inputs(inputs)?;
        Ok(vec![probability])
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let depth = lowering.inputs[1].shape.last().copied().unwrap_or(1);
        let isa = lowering.settings.isa;
        with_float!(lowering.inputs[1].dtype, T => Ok(Box::new(move |step| {
            let (labels, probability) = (step.input::<T>(0), step.input::<T>(1));
            let (dy, dx) = (step.input::<T>(2), step.output::<T>(0));
            let parallel = step.parallel();
            kernels::softmax_cross_entropy_gradient(
                isa, parallel, depth, probability, labels, dy, dx,
            );
            Ok(())
        })))
    }
}
