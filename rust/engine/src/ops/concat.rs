//! Arrays joined along an axis.

use flowrs_kernels::slice::{Window, copy_window};

use super::attributes::Attributes;
use super::indexing::size;
use super::layout::{self, ChannelsLast};
use super::slice::Slice;
use super::{Lowering, Op, Work, expect_same_dtype, with_element};
use crate::error::Error;
use crate::graph::{Builder, Node, ValueId};
use crate::step::Kernel;
use crate::types::TensorType;

/// Joins any number of arrays that differ along `axis` only.
#[derive(Clone, Debug)]
pub struct Concat {
    axis: usize,
}

impl Concat {
    /// Reads `axis`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        Ok(Self { axis: size(attributes, "axis")? })
    }
}

impl Op for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn attributes(&self) -> String {
        format!("axis={}", self.axis)
    }

    fn channels_last(&self, inputs: &[&TensorType], there: &[bool]) -> Option<ChannelsLast> {
        let axis = inputs[0].rank() - 1;
        (self.axis == 1).then(|| layout::throughout(there, Self { axis }, 1)).flatten()
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [first, rest @ ..] = inputs else {
            return Err(Error::Argument("needs at least one input".into()));
        };
        let axis = self.axis;
        if axis >= first.rank() {
            return Err(Error::Shape(format!("there is no axis {axis} in {:?}", first.shape)));
        }
        let mut shape = first.shape.clone();
        for other in rest {
            expect_same_dtype(first, other)?;
            let same = |at: usize| at == axis || other.shape[at] == first.shape[at];
            if other.rank() != first.rank() || !(0..first.rank()).all(same) {
                let (a, b) = (&first.shape, &other.shape);
                return Err(Error::Shape(format!(
                    "shapes {a:?} and {b:?} differ not only along axis {axis}"
                )));
            }
            shape[axis] = shape[axis]
                .checked_add(other.shape[axis])
                .ok_or_else(|| Error::Shape(format!("axis {axis} becomes too large")))?;
        }
        Ok(vec![first.with_shape(shape)])
    }

    fn gradient(
        &self,
        g: &mut Builder,
        node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let Some(dy) = dy[0] else { return Ok(vec![None; node.inputs.len()]) };
        let mut starts = vec![0; g.ty(dy).rank()];
        let mut gradients = vec![];
        for &x in &node.inputs {
            let sizes = g.ty(x).shape.clone();
            gradients.push(Some(g.derive(Slice::block(&starts, &sizes), &[dy])?));
            starts[self.axis] += sizes[self.axis];
        }
        Ok(gradients)
    }

    fn work(&self, _lowering: &Lowering<'_>) -> Work {
        Work::Moves
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let result = &lowering.outputs[0].shape;
        let steps = vec![1; result.len()];
        let mut starts = vec![0; result.len()];
        let mut parts: Vec<(Vec<usize>, Window, Window)> = vec![];
        for input in &lowering.inputs {
            let (from, to) =
                (Window::whole(&input.shape), Window::stepped(result, &starts, &steps));
            parts.push((input.shape.clone(), from, to));
            starts[self.axis] += input.shape[self.axis];
        }
        with_element!(lowering.outputs[0].dtype, T => Ok(Box::new(move |step| {
            let output = step.output::<T>(0);
            for (index, (shape, from, to)) in parts.iter().enumerate() {
                copy_window(step.parallel(), shape, step.input::<T>(index), from, output, to);
            }
            Ok(())
        })))
    }
}
