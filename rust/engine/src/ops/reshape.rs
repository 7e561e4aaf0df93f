//! The same memory under another shape, or under the same one: no kernel runs.

use super::attributes::Attributes;
use super::{Lowering, Op, expect_inputs};
use crate::error::Error;
use crate::graph::{Builder, Node, ValueId};
use crate::step::Kernel;
use crate::types::TensorType;

/// Gives a value another shape of the same number of elements.
#[derive(Clone, Debug)]
pub struct Reshape {
    shape: Vec<usize>,
}

impl Reshape {
    /// Reads `shape`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        Ok(Self { shape: attributes.sizes("shape")? })
    }

    /// A reshape to the given shape.
    pub fn to(shape: &[usize]) -> Self {
        Self { shape: shape.to_vec() }
    }
}

impl Op for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }

    fn attributes(&self) -> String {
        format!("shape={:?}", self.shape)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [x] = expect_inputs(inputs)?;
        let result = x.with_shape(self.shape.clone());
        let wanted = self.shape.iter().try_fold(1usize, |n, &extent| n.checked_mul(extent));
        if wanted != Some(x.elements()) {
            let (found, shape) = (&x.shape, &self.shape);
            return Err(Error::Shape(format!(
                "cannot give {found:?} ({} elements) the shape {shape:?}",
                x.elements()
            )));
        }
        Ok(vec![result])
    }

    fn gradient(
        &self,
        g: &mut Builder,
        node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let shape = g.ty(node.inputs[0]).shape.clone();
        Ok(vec![dy[0].map(|dy| g.reshape(dy, &shape)).transpose()?])
    }

    fn lower(&self, _lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        Ok(Box::new(|_| Ok(())))
    }

    fn is_view(&self) -> bool {
        true
    }
}

/// The value itself under another name.
#[derive(Clone, Debug)]
pub struct Identity;

impl Identity {
    /// Has no attributes.
    pub fn from_attributes(_attributes: &mut Attributes) -> Result<Self, Error> {
        Ok(Self)
    }
}

impl Op for Identity {
    fn name(&self) -> &'static str {
        "identity"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        Ok(expect_inputs::<1>(inputs)?.to_vec())
    }

    fn gradient(
        &self,
        _g: &mut Builder,
        _node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        Ok(dy.to_vec())
    }

    fn lower(&self, _lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        Ok(Box::new(|_| Ok(())))
    }

    fn is_view(&self) -> bool {
        true
    }
}
