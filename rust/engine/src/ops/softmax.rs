//! Softmax and its logarithm along an axis.

use flowrs_kernels::softmax as kernels;

use super::attributes::Attributes;
use super::{Lowering, Op, expect_float, expect_inputs, with_float};
use crate::error::Error;
use crate::graph::{Builder, Node, ValueId};
use crate::step::Kernel;
use crate::types::TensorType;

/// What is computed along the axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `exp(x) / sum(exp(x))`
    Probability,
    /// Its logarithm, which is finite where the probability is too small for its type.
    Logarithm,
}

/// Softmax, or its logarithm, along `axis`.
#[derive(Clone, Debug)]
pub struct Softmax {
    kind: Kind,
    axis: usize,
}

/// Builds the logarithm for the registry.
#[derive(Debug)]
pub struct LogSoftmax;

/// The gradient from the result and the result's gradient.
#[derive(Clone, Debug)]
pub struct SoftmaxGradient {
    kind: Kind,
    axis: usize,
}

fn extents(ty: &TensorType, axis: usize) -> (usize, usize, usize) {
    let outer = ty.shape[..axis].iter().product();
    (outer, ty.shape[axis], ty.shape[axis + 1..].iter().product())
}

fn axis_from(attributes: &mut Attributes) -> Result<usize, Error> {
    let axis = attributes.int("axis")?;
    usize::try_from(axis)
        .map_err(|_| Error::Argument(format!("axis must not be negative, found {axis}")))
}

impl Softmax {
    /// Reads `axis`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        Ok(Self { kind: Kind::Probability, axis: axis_from(attributes)? })
    }
}

impl LogSoftmax {
    /// Reads `axis`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Softmax, Error> {
        Ok(Softmax { kind: Kind::Logarithm, axis: axis_from(attributes)? })
    }
}

impl Op for Softmax {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Probability => "softmax",
            Kind::Logarithm => "log_softmax",
        }
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
        let op = SoftmaxGradient { kind: self.kind, axis: self.axis };
        Ok(vec![Some(g.derive(op, &[node.outputs[0], dy])?)])
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let (outer, depth, inner) = extents(lowering.inputs[0], self.axis);
        let (isa, kind) = (lowering.settings.isa, self.kind);
        with_float!(lowering.inputs[0].dtype, T => Ok(Box::new(move |step| {
            let (x, y) = (step.input::<T>(0), step.output::<T>(0));
            let run = match kind {
                Kind::Probability => kernels::softmax::<T>,
                Kind::Logarithm => kernels::log_softmax::<T>,
            };
            run(isa, step.parallel(), outer, depth, inner, x, y);
            Ok(())
        })))
    }
}

impl Op for SoftmaxGradient {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Probability => "softmax_gradient",
            Kind::Logarithm => "log_softmax_gradient",
        }
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
        let (isa, kind) = (lowering.settings.isa, self.kind);
        with_float!(lowering.inputs[0].dtype, T => Ok(Box::new(move |step| {
            let (y, dy, dx) = (step.input::<T>(0), step.input::<T>(1), step.output::<T>(0));
            let run = match kind {
                Kind::Probability => kernels::softmax_gradient::<T>,
                Kind::Logarithm => kernels::log_softmax_gradient::<T>,
            };
            run(isa, step.parallel(), outer, depth, inner, y, dy, dx);
            Ok(())
        })))
    }
}
