//! A new value for a variable.

use flowrs_kernels::slice::copy;

use super::attributes::Attributes;
use super::{Lowering, Op, expect_inputs, with_element};
use crate::error::Error;
use crate::step::Kernel;
use crate::types::TensorType;

/// Sets the variable that is the first input to the value of the second one.
#[derive(Clone, Debug)]
pub struct Assign;

impl Assign {
    /// Has no attributes.
    pub fn from_attributes(_attributes: &mut Attributes) -> Result<Self, Error> {
        Ok(Self)
    }
}

impl Op for Assign {
    fn name(&self) -> &'static str {
        "assign"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [variable, value] = expect_inputs(inputs)?;
        match variable == value {
            true => Ok(vec![]),
            false => {
                Err(Error::Shape(format!("a variable that is {variable} cannot become {value}")))
            }
        }
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        with_element!(lowering.inputs[0].dtype, T => Ok(Box::new(|step| {
            copy(step.parallel(), step.input::<T>(1), step.updated::<T>(0));
            Ok(())
        })))
    }

    fn updates(&self) -> &'static [usize] {
        &[0]
    }
}
