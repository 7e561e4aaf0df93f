//! The sum of many values.

use flowrs_kernels::elementwise::{Instruction, Operation};

use super::attributes::Attributes;
use super::elementwise::lower_program;
use super::layout::{self, ChannelsLast};
use super::{Lowering, Op, Work};
use crate::error::Error;
use crate::graph::{Builder, Node, ValueId};
use crate::step::Kernel;
use crate::types::TensorType;

/// Adds two or more values of one type in one pass, from the first to the last.
#[derive(Clone, Debug)]
pub struct AddN;

impl AddN {
    /// Has no attributes.
    pub fn from_attributes(_attributes: &mut Attributes) -> Result<Self, Error> {
        Ok(Self)
    }

    /// What happens to one element of each input: the first sum is of the first two operands, each
    /// further one of the last sum and the next operand.
    pub(crate) fn instructions(inputs: usize) -> Vec<Instruction> {
        let count = inputs as u16;
        let add = |next: u16| Instruction {
            operation: Operation::Add,
            arguments: [if next == 1 { 0 } else { count + next - 2 }, next, 0],
        };
        (1..count).map(add).collect()
    }
}

impl Op for AddN {
    fn name(&self) -> &'static str {
        "add_n"
    }

    fn channels_last(&self, inputs: &[&TensorType], there: &[bool]) -> Option<ChannelsLast> {
        layout::elementwise(inputs, there, self.clone())
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [first, rest @ ..] = inputs else {
            return Err(Error::Argument("takes at least 2 inputs, not 0".into()));
        };
        if rest.is_empty() {
            return Err(Error::Argument("takes at least 2 inputs, not 1".into()));
        }
        match rest.iter().find(|other| *other != first) {
            None => Ok(vec![(*first).clone()]),
            Some(other) => Err(Error::Shape(format!(
                "all inputs must be of one type, not {first} and {other}"
            ))),
        }
    }

    fn gradient(
        &self,
        _g: &mut Builder,
        node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        Ok(vec![dy[0]; node.inputs.len()])
    }

    fn work(&self, _lowering: &Lowering<'_>) -> Work {
        Work::Moves
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        lower_program(lowering, Self::instructions(lowering.inputs.len()))
    }

    fn in_place(&self) -> &'static [usize] {
        &[0]
    }
}
