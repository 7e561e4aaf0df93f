//! Elements along a dimension, each with an index of its own.

use flowrs_kernels::gather::{Elements, gather_elements, scatter_add_elements};

use super::attributes::Attributes;
use super::indexing::{Check, expect_indices, size, with_index};
use super::{Lowering, Op, with_element};
use crate::error::Error;
use crate::graph::{Builder, Node, ValueId};
use crate::step::Kernel;
use crate::types::TensorType;

/// `input` at `indices` along `dim`; the other dimensions of both are the same.
#[derive(Clone, Debug)]
pub struct DimGather {
    dim: usize,
    check: Check,
}

/// The reverse: an array of zeros with `length` elements along `dim`, to which `updates` are added
/// at `indices`.
#[derive(Clone, Debug)]
pub struct DimScatterAdd {
    dim: usize,
    length: usize,
    check: Check,
}

impl DimGather {
    /// Reads `dim`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        Ok(Self { dim: size(attributes, "dim")?, check: Check::Here })
    }
}

impl DimScatterAdd {
    /// A sum at indices that are known to be in range.
    pub(crate) fn of_checked(dim: usize, length: usize) -> Self {
        Self { dim, length, check: Check::Done }
    }
}

fn sizes(dim: usize, table: &TensorType, indices: &TensorType) -> Elements {
    Elements {
        outer: table.shape[..dim].iter().product(),
        length: table.shape[dim],
        count: indices.shape[dim],
        inner: table.shape[dim + 1..].iter().product(),
    }
}

impl Op for DimGather {
    fn name(&self) -> &'static str {
        "dim_gather"
    }

    fn attributes(&self) -> String {
        format!("dim={}", self.dim)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [input, indices] = self.check.inputs(inputs)?;
        expect_indices(&indices)?;
        let fits = |axis: usize| axis == self.dim || input.shape[axis] == indices.shape[axis];
        if input.rank() != indices.rank()
            || self.dim >= input.rank()
            || !(0..input.rank()).all(fits)
        {
            return Err(Error::Shape(format!(
                "indices of shape {:?} do not fit {:?}: they may differ along dimension {} only",
                indices.shape, input.shape, self.dim
            )));
        }
        Ok(self.check.outputs(input.with_shape(indices.shape)))
    }

    fn gradient(
        &self,
        g: &mut Builder,
        node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let Some(dy) = dy[0] else { return Ok(vec![None; node.inputs.len()]) };
        let length = g.ty(node.inputs[0]).shape[self.dim];
        let sum = DimScatterAdd::of_checked(self.dim, length);
        let mut gradients = vec![None; node.inputs.len()];
        gradients[0] = Some(self.check.derive::<2>(g, node, sum, &[dy, node.inputs[1]])?);
        Ok(gradients)
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let (input, indices) = (lowering.inputs[0], lowering.inputs[1]);
        let (sizes, check) = (sizes(self.dim, input, indices), self.check);
        with_element!(input.dtype, T => with_index!(indices.dtype, L => {
            Ok(Box::new(move |step| {
                let (input, indices) = (step.input::<T>(0), step.input::<L>(1));
                let (parallel, output) = (step.parallel(), step.output::<T>(0));
                check.finish(step, gather_elements(parallel, sizes, indices, input, output))
            }))
        }))
    }

    fn can_fail(&self) -> bool {
        self.check == Check::Here
    }
}

impl Op for DimScatterAdd {
    fn name(&self) -> &'static str {
        "dim_scatter_add"
    }

    fn attributes(&self) -> String {
        format!("dim={}, length={}", self.dim, self.length)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [updates, indices] = self.check.inputs(inputs)?;
        expect_indices(&indices)?;
        if updates.shape != indices.shape || self.dim >= updates.rank() {
            let (found, wanted) = (&indices.shape, &updates.shape);
            return Err(Error::Shape(format!("indices of shape {found:?} do not fit {wanted:?}")));
        }
        let mut shape = updates.shape.clone();
        shape[self.dim] = self.length;
        Ok(self.check.outputs(updates.with_shape(shape)))
    }

    fn gradient(
        &self,
        g: &mut Builder,
        node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let Some(dy) = dy[0] else { return Ok(vec![None; node.inputs.len()]) };
        let gather = DimGather { dim: self.dim, check: Check::Done };
        let mut gradients = vec![None; node.inputs.len()];
        gradients[0] = Some(self.check.derive::<2>(g, node, gather, &[dy, node.inputs[1]])?);
        Ok(gradients)
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let (indices, result) = (lowering.inputs[1], lowering.outputs[0]);
        let (sizes, check) = (sizes(self.dim, result, indices), self.check);
        with_element!(result.dtype, T => with_index!(indices.dtype, L => {
            Ok(Box::new(move |step| {
                let (updates, indices) = (step.input::<T>(0), step.input::<L>(1));
                let (parallel, output) = (step.parallel(), step.output::<T>(0));
                check.finish(step, scatter_add_elements(parallel, sizes, indices, updates, output))
            }))
        }))
    }

    fn can_fail(&self) -> bool {
        self.check == Check::Here
    }
}
