//! Dimensions in another order.

use flowrs_kernels::permute::transpose;

use super::attributes::Attributes;
use super::{Lowering, Op, expect_inputs, with_element};
use crate::error::Error;
use crate::graph::{Builder, Node, ValueId};
use crate::step::Kernel;
use crate::types::TensorType;

/// Dimension `i` of the result is dimension `permutation[i]` of the input.
#[derive(Clone, Debug)]
pub struct Transpose {
    permutation: Vec<usize>,
}

impl Transpose {
    /// Reads `perm`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        Ok(Self { permutation: attributes.sizes("perm")? })
    }

    /// Reorders the dimensions so.
    pub fn to(permutation: &[usize]) -> Self {
        Self { permutation: permutation.to_vec() }
    }

    fn inverse(&self) -> Self {
        let mut permutation = vec![0; self.permutation.len()];
        for (to, &from) in self.permutation.iter().enumerate() {
            permutation[from] = to;
        }
        Self { permutation }
    }
}

impl Op for Transpose {
    fn name(&self) -> &'static str {
        "transpose"
    }

    fn attributes(&self) -> String {
        format!("perm={:?}", self.permutation)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [x] = expect_inputs(inputs)?;
        let mut sorted = self.permutation.clone();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..x.rank()) {
            let (perm, shape) = (&self.permutation, &x.shape);
            return Err(Error::Argument(format!(
                "perm {perm:?} is no order of the axes of {shape:?}"
            )));
        }
        let shape: Vec<usize> = self.permutation.iter().map(|&axis| x.shape[axis]).collect();
        Ok(vec![x.with_shape(shape)])
    }

    fn gradient(
        &self,
        g: &mut Builder,
        _node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        Ok(vec![dy[0].map(|dy| g.derive(self.inverse(), &[dy])).transpose()?])
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let x = lowering.inputs[0];
        let (shape, permutation) = (x.shape.clone(), self.permutation.clone());
        with_element!(x.dtype, T => Ok(Box::new(move |step| {
            let (input, output) = (step.input::<T>(0), step.output::<T>(0));
            transpose(step.parallel(), &shape, &permutation, input, output);
            Ok(())
        })))
    }
}
