//! Conversion to another element type.

use flowrs_kernels::elementwise::{Instruction, Operation};

use super::attributes::Attributes;
use super::elementwise::lower_program;
use super::{Lowering, Op, expect_inputs};
use crate::error::Error;
use crate::graph::{Builder, Node, ValueId};
use crate::step::Kernel;
use crate::types::{DType, TensorType, dtype_name};

/// Converts each element; floats are cut towards zero where they become integers.
#[derive(Clone, Debug)]
pub struct Cast {
    dtype: DType,
}

impl Cast {
    /// Reads `dtype`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        Ok(Self { dtype: attributes.dtype("dtype")? })
    }

    /// A cast to the given type.
    pub fn to(dtype: DType) -> Self {
        Self { dtype }
    }
}

impl Op for Cast {
    fn name(&self) -> &'static str {
        "cast"
    }

    fn attributes(&self) -> String {
        format!("dtype={}", dtype_name(self.dtype))
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [x] = expect_inputs(inputs)?;
        Ok(vec![TensorType::new(self.dtype, x.shape)])
    }

    fn gradient(
        &self,
        g: &mut Builder,
        node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let source = g.ty(node.inputs[0]).dtype;
        match dy[0] {
            Some(dy) if source.is_float() => Ok(vec![Some(g.derive(Self::to(source), &[dy])?)]),
            _ => Ok(vec![None]),
        }
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let copy = Instruction { operation: Operation::Copy, arguments: [0, 0, 0] };
        lower_program(lowering, vec![copy])
    }
}
