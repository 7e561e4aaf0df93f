//! Dropout with a given mask.

use flowrs_kernels::elementwise::{Instruction, Number, Operation};

use super::attributes::Attributes;
use super::elementwise::lower_program;
use super::{Lowering, Op, expect_float, expect_inputs};
use crate::error::Error;
use crate::graph::{Builder, Node, ValueId};
use crate::step::Kernel;
use crate::types::{DType, TensorType};

/// `x * mask * scale`; the mask is int8.
#[derive(Clone, Debug)]
pub struct Dropout {
    scale: f64,
}

impl Dropout {
    /// Reads `scale`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        Ok(Self { scale: attributes.float("scale")? })
    }
}

impl Op for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn attributes(&self) -> String {
        format!("scale={}", self.scale)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [x, mask] = expect_inputs(inputs)?;
        expect_float(&x, "x")?;
        match mask == TensorType::new(DType::I8, x.shape.clone()) {
            true => Ok(vec![x]),
            false => Err(Error::Shape(format!("the mask must be int8{:?}, not {mask}", x.shape))),
        }
    }

    fn gradient(
        &self,
        g: &mut Builder,
        node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let Some(dy) = dy[0] else { return Ok(vec![None, None]) };
        Ok(vec![Some(g.derive(self.clone(), &[dy, node.inputs[1]])?), None])
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let instruction = |operation, arguments| Instruction { operation, arguments };
        let scale = Operation::Constant(Number::Float(self.scale));
        let program = vec![
            instruction(Operation::Multiply, [0, 1, 0]),
            instruction(scale, [0, 0, 0]),
            instruction(Operation::Multiply, [2, 3, 0]),
        ];
        lower_program(lowering, program)
    }

    fn in_place(&self) -> &'static [usize] {
        &[0]
    }
}
