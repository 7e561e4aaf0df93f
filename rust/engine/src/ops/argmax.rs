//! The position of the largest element along an axis.

use flowrs_kernels::reduce::argmax;

use super::attributes::Attributes;
use super::{Lowering, Op, expect_inputs, with_element};
use crate::error::Error;
use crate::graph::{Builder, Node, ValueId};
use crate::step::Kernel;
use crate::types::{DType, TensorType};

/// The int32 index of the first maximum along `axis`, which is dropped.
#[derive(Clone, Debug)]
pub struct Argmax {
    axis: usize,
}

impl Argmax {
    /// Reads `axis`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        let axis = attributes.int("axis")?;
        let axis = usize::try_from(axis)
            .map_err(|_| Error::Argument(format!("axis must not be negative, found {axis}")))?;
        Ok(Self { axis })
    }
}

impl Op for Argmax {
    fn name(&self) -> &'static str {
        "argmax"
    }

    fn attributes(&self) -> String {
        format!("axis={}", self.axis)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [x] = expect_inputs(inputs)?;
        match x.shape.get(self.axis) {
            Some(&extent) if extent > 0 => {}
            _ => {
                let (axis, shape) = (self.axis, &x.shape);
                return Err(Error::Shape(format!("axis {axis} of {shape:?} has no elements")));
            }
        }
        let mut shape = x.shape;
        shape.remove(self.axis);
        if shape.is_empty() {
            shape.push(1);
        }
        Ok(vec![TensorType::new(DType::I32, shape)])
    }

    fn gradient(
        &self,
        _g: &mut Builder,
        _node: &Node,
        _dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        Ok(vec![None])
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let x = lowering.inputs[0];
        let outer: usize = x.shape[..self.axis].iter().product();
        let length = x.shape[self.axis];
        let inner: usize = x.shape[self.axis + 1..].iter().product();
        let isa = lowering.settings.isa;
        with_element!(x.dtype, T => Ok(Box::new(move |step| {
            let (input, output) = (step.input::<T>(0), step.output::<i32>(0));
            argmax(isa, step.parallel(), outer, length, inner, input, output);
            Ok(())
        })))
    }
}
