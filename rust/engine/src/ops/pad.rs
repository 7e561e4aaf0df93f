//! A border of one value around an array.

use flowrs_kernels::pad::pad;

use super::attributes::Attributes;
use super::slice::Slice;
use super::{Lowering, Op, expect_inputs, with_element};
use crate::error::Error;
use crate::graph::{Builder, Node, ValueId};
use crate::step::Kernel;
use crate::types::TensorType;

/// Adds `before` and `after` elements of this value in each dimension.
#[derive(Clone, Debug)]
pub struct Pad {
    before: Vec<usize>,
    after: Vec<usize>,
    value: f64,
}

impl Pad {
    /// Reads `before`, `after` and `value`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        let (before, after) = (attributes.sizes("before")?, attributes.sizes("after")?);
        Ok(Self { before, after, value: attributes.float("value")? })
    }

    /// Zeros around a part of these sizes that begins at `starts` in an array of shape `whole`.
    pub(crate) fn around(whole: &[usize], starts: &[usize], sizes: &[usize]) -> Self {
        let behind = |axis: usize| whole[axis] - starts[axis] - sizes[axis];
        let after = (0..whole.len()).map(behind).collect();
        Self { before: starts.to_vec(), after, value: 0.0 }
    }
}

impl Op for Pad {
    fn name(&self) -> &'static str {
        "pad"
    }

    fn attributes(&self) -> String {
        format!("before={:?}, after={:?}, value={}", self.before, self.after, self.value)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [x] = expect_inputs(inputs)?;
        let (rank, shape) = (x.rank(), &x.shape);
        if self.before.len() != rank || self.after.len() != rank {
            let (before, after) = (&self.before, &self.after);
            return Err(Error::Shape(format!(
                "{shape:?} needs {rank} paddings before and after, found {before:?} and {after:?}"
            )));
        }
        let padded = (0..rank).map(|axis| {
            let sum = self.before[axis].checked_add(shape[axis]);
            sum.and_then(|sum| sum.checked_add(self.after[axis])).ok_or_else(|| {
                Error::Shape(format!("dimension {axis} of {shape:?} becomes too large"))
            })
        });
        Ok(vec![x.with_shape(padded.collect::<Result<Vec<usize>, Error>>()?)])
    }

    fn gradient(
        &self,
        g: &mut Builder,
        node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let Some(dy) = dy[0] else { return Ok(vec![None]) };
        let slice = Slice::block(&self.before, &g.ty(node.inputs[0]).shape);
        Ok(vec![Some(g.derive(slice, &[dy])?)])
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let x = lowering.inputs[0];
        let (shape, Self { before, after, value }) = (x.shape.clone(), self.clone());
        with_element!(x.dtype, T => Ok(Box::new(move |step| {
            let (input, output) = (step.input::<T>(0), step.output::<T>(0));
            pad(step.parallel(), &shape, &before, &after, value as T, input, output);
            Ok(())
        })))
    }
}
