//! Softmax along an axis.

use flowrs_kernels::softmax as kernels;

use super::attributes::Attributes;
use super::{Lowering, Op, expect_float, expect_inputs, with_float};
use crate::error::Error;
use crate::graph::{Builder, Node, ValueId};
use crate::step::Kernel;
use crate::types::TensorType;

/// `exp(x) / sum(exp(x))` along `axis`.
#[derive(Clone, Debug)]
pub struct Softmax {
    axis: usize,
}

/// The gradient of softmax from its result and the result's gradient.
#[derive(Clone, Debug)]
pub struct SoftmaxGradient {
    axis: usize,
}

fn extents(ty: &TensorType, axis: usize) -> (usize, usize, usize) {
    let outer = ty.shape[..axis].iter().product();
    (outer, ty.shape[axis], ty.shape[axis + 1..].iter().product())
}

impl Softmax {
    /// Reads `axis`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        let axis = attributes.int("axis")?;
        let axis = usize::try_from(axis)
            .map_err(|_| Error::Argument(format!("axis must not be negative, found {axis}")))?;
        Ok(Self { axis })
    }
}

impl Op for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn attributes(&self) -> String {
        format!("axis={}", self.axis)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [x] = expect_inputs(inputs)?;
        expect_float(&x, "logits")?;
        match self.axis < x.rank() {
            true => Ok(vec![x]),
            false => Err(Error::Shape(format!("there is no axis {} in {:?}", self.axis, x.shape))),
        }
    }

    fn gradient(
        &self,
        g: &mut Builder,
        node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let Some(dy) = dy[0] else { return Ok(vec![None]) };
        let op = SoftmaxGradient { axis: self.axis };
        Ok(vec![Some(g.derive(op, &[node.outputs[0], dy])?)])
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let (outer, depth, inner) = extents(lowering.inputs[0], self.axis);
        let isa = lowering.settings.isa;
        with_float!(lowering.inputs[0].dtype, T => Ok(Box::new(move |step| {
            let (x, y) = (step.input::<T>(0), step.output::<T>(0));
            kernels::softmax(isa, step.parallel(), outer, depth, inner, x, y);
            Ok(())
        })))
    }
}

impl Op for SoftmaxGradient {
    fn name(&self) -> &'static str {
        "softmax_gradient"
    }

    fn attributes(&self) -> String {
        format!("axis={}", self.axis)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [y, _dy] = expect_inputs(inputs)?;
        Ok(vec![y])
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let (outer, depth, inner) = extents(lowering.inputs[0], self.axis);
        let isa = lowering.settings.isa;
        with_float!(lowering.inputs[0].dtype, T => Ok(Box::new(move |step| {
            let (y, dy, dx) = (step.input::<T>(0), step.input::<T>(1), step.output::<T>(0));
            kernels::softmax_gradient(isa, step.parallel(), outer, depth, inner, y, dy, dx);
            Ok(())
        })))
    }
}
