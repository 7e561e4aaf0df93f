//! Moving averages of a run's statistics, kept in variables.

use flowrs_kernels::for_each_chunk;

use super::attributes::Attributes;
use super::{Lowering, Op, expect_float, expect_inputs, with_float};
use crate::error::Error;
use crate::step::Kernel;
use crate::types::TensorType;

/// `variable = momentum * variable + (1 - momentum) * value`; inputs variable, value.
#[derive(Clone, Debug)]
pub struct MovingAverage {
    momentum: f64,
}

impl MovingAverage {
    /// Reads `momentum`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        Ok(Self { momentum: attributes.float("momentum")? })
    }
}

impl Op for MovingAverage {
    fn name(&self) -> &'static str {
        "moving_average"
    }

    fn attributes(&self) -> String {
        format!("momentum={}", self.momentum)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [variable, value] = expect_inputs(inputs)?;
        expect_float(&variable, "the variable")?;
        match variable == value {
            true => Ok(vec![]),
            false => Err(Error::Shape(format!("{value} does not fit a variable of {variable}"))),
        }
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        const CHUNK: usize = 4096;
        let momentum = self.momentum;
        with_float!(lowering.inputs[0].dtype, T => Ok(Box::new(move |step| {
            let (kept, taken) = (momentum as T, (1.0 - momentum) as T);
            let value = step.input::<T>(1);
            for_each_chunk(step.parallel(), step.updated::<T>(0), CHUNK, &|index, variable| {
                for (variable, value) in variable.iter_mut().zip(&value[index * CHUNK..]) {
                    *variable = kept * *variable + taken * value;
                }
            });
            Ok(())
        })))
    }

    fn updates(&self) -> &'static [usize] {
        &[0]
    }
}
