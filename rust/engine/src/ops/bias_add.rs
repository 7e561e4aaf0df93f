//! Adding a vector along one axis.

use flowrs_kernels::elementwise::{Instruction, Operation};

use super::attributes::Attributes;
use super::elementwise::lower_strided;
use super::layout::{self, ChannelsLast};
use super::reduce::Reduce;
use super::{Lowering, Op, Work, expect_inputs, expect_same_dtype};
use crate::error::Error;
use crate::graph::{Builder, Node, ValueId};
use crate::step::Kernel;
use crate::types::{TensorType, contiguous_strides};

/// `y[.., i, ..] = x[.., i, ..] + bias[i]` with `i` on `axis`.
#[derive(Clone, Debug)]
pub struct BiasAdd {
    /// The axis that the bias runs along.
    pub axis: usize,
}

impl BiasAdd {
    /// Reads `axis`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        let axis = attributes.int("axis")?;
        let axis = usize::try_from(axis)
            .map_err(|_| Error::Argument(format!("axis must not be negative, found {axis}")))?;
        Ok(Self { axis })
    }
}

impl Op for BiasAdd {
    fn name(&self) -> &'static str {
        "bias_add"
    }

    fn attributes(&self) -> String {
        format!("axis={}", self.axis)
    }

    fn channels_last(&self, inputs: &[&TensorType], there: &[bool]) -> Option<ChannelsLast> {
        let axis = inputs[0].rank() - 1;
        (self.axis == 1).then(|| layout::first_only(there, Self { axis }, 1)).flatten()
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [x, bias] = expect_inputs(inputs)?;
        expect_same_dtype(&x, &bias)?;
        match x.shape.get(self.axis) {
            Some(&extent) if bias.shape == [extent] => Ok(vec![x]),
            _ => Err(Error::Shape(format!(
                "a bias of shape {:?} does not fit axis {} of {:?}",
                bias.shape, self.axis, x.shape
            ))),
        }
    }

    fn gradient(
        &self,
        g: &mut Builder,
        node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let Some(dy) = dy[0] else { return Ok(vec![None, None]) };
        let rank = g.ty(node.inputs[0]).rank();
        let others: Vec<usize> = (0..rank).filter(|axis| *axis != self.axis).collect();
        let bias = g.derive(Reduce::sum(&others), &[dy])?;
        Ok(vec![Some(dy), Some(bias)])
    }

    fn work(&self, _lowering: &Lowering<'_>) -> Work {
        Work::Moves
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let shape = lowering.outputs[0].shape.clone();
        let mut bias = vec![0; shape.len()];
        bias[self.axis] = 1;
        let instruction = Instruction { operation: Operation::Add, arguments: [0, 1, 0] };
        lower_strided(lowering, vec![instruction], vec![contiguous_strides(&shape), bias], shape)
    }

    fn in_place(&self) -> &'static [usize] {
        &[0]
    }
}
