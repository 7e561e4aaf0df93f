//! Counting the steps of a train job.

use super::attributes::Attributes;
use super::{Lowering, Op, Work, expect_inputs};
use crate::error::Error;
use crate::step::Kernel;
use crate::types::{DType, TensorType};

/// Adds one to the step variable.
#[derive(Clone, Debug)]
pub struct StepIncrement;

impl StepIncrement {
    /// Has no attributes.
    pub fn from_attributes(_attributes: &mut Attributes) -> Result<Self, Error> {
        Ok(Self)
    }
}

impl Op for StepIncrement {
    fn name(&self) -> &'static str {
        "step_increment"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [step] = expect_inputs(inputs)?;
        match step.dtype == DType::I64 {
            true => Ok(vec![]),
            false => Err(Error::DType(format!("the step must be int64, not {step}"))),
        }
    }

    fn work(&self, _lowering: &Lowering<'_>) -> Work {
        Work::Moves
    }

    fn lower(&self, _lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        Ok(Box::new(|step| {
            for count in step.updated::<i64>(0) {
                *count = count.wrapping_add(1);
            }
            Ok(())
        }))
    }

    fn updates(&self) -> &'static [usize] {
        &[0]
    }
}
