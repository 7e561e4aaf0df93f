//! Repeating a value along axes.

use flowrs_kernels::elementwise::{Instruction, Operation};

use super::attributes::Attributes;
use super::elementwise::lower_program;
use super::{Lowering, Op, expect_inputs};
use crate::error::Error;
use crate::graph::{Builder, Node, ValueId};
use crate::step::Kernel;
use crate::types::{TensorType, broadcast_shapes};

/// Repeats a value as NumPy's `broadcast_to` does.
#[derive(Clone, Debug)]
pub struct BroadcastTo {
    shape: Vec<usize>,
}

impl BroadcastTo {
    /// Reads `shape`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        Ok(Self { shape: attributes.sizes("shape")? })
    }

    /// Broadcasting to the given shape.
    pub fn to(shape: &[usize]) -> Self {
        Self { shape: shape.to_vec() }
    }
}

impl Op for BroadcastTo {
    fn name(&self) -> &'static str {
        "broadcast_to"
    }

    fn attributes(&self) -> String {
        format!("shape={:?}", self.shape)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [x] = expect_inputs(inputs)?;
        if broadcast_shapes(&x.shape, &self.shape).as_ref() != Some(&self.shape) {
            let (found, shape) = (&x.shape, &self.shape);
            return Err(Error::Shape(format!("{found:?} cannot be broadcast to {shape:?}")));
        }
        Ok(vec![x.with_shape(self.shape.clone())])
    }

    fn gradient(
        &self,
        _g: &mut Builder,
        _node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        // The reduction to the input's shape is done where gradients are added up.
        Ok(dy.to_vec())
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let copy = Instruction { operation: Operation::Copy, arguments: [0, 0, 0] };
        lower_program(lowering, vec![copy])
    }
}
