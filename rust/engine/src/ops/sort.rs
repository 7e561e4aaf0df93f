//! Order along an axis.

use flowrs_kernels::sort::{Direction, Lanes, argsort, in_top_k, sort};

use super::attributes::Attributes;
use super::dim_gather::DimScatterAdd;
use super::indexing::{expect_indices, size, with_index};
use super::{Lowering, Op, expect_inputs, with_element};
use crate::error::Error;
use crate::graph::{Builder, Node, ValueId};
use crate::step::Kernel;
use crate::types::{DType, TensorType};

/// The elements in order; NaN counts as the greatest.
#[derive(Clone, Debug)]
pub struct Sort {
    axis: usize,
    direction: Direction,
}

/// The int32 indices of the elements in order, or of the first `kept` of them.
#[derive(Clone, Debug)]
pub struct Argsort {
    axis: usize,
    direction: Direction,
    kept: Option<usize>,
}

/// Builds selections for the registry.
#[derive(Debug)]
pub struct TopK;

/// Whether fewer than `k` predictions of a row are greater than the target's; the inputs are targets
/// and predictions.
#[derive(Clone, Debug)]
pub struct InTopK {
    k: usize,
}

fn direction(attributes: &mut Attributes) -> Result<Direction, Error> {
    Ok(match attributes.bool("descending")? {
        true => Direction::Descending,
        false => Direction::Ascending,
    })
}

impl Sort {
    /// Reads `axis` and `descending`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        Ok(Self { axis: size(attributes, "axis")?, direction: direction(attributes)? })
    }
}

impl Argsort {
    /// Reads `axis` and `descending`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        let (axis, direction) = (size(attributes, "axis")?, direction(attributes)?);
        Ok(Self { axis, direction, kept: None })
    }
}

impl TopK {
    /// Reads `axis` and `k`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Argsort, Error> {
        let (axis, kept) = (size(attributes, "axis")?, Some(size(attributes, "k")?));
        Ok(Argsort { axis, direction: Direction::Descending, kept })
    }
}

impl InTopK {
    /// Reads `k`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        Ok(Self { k: size(attributes, "k")? })
    }
}

fn lanes(x: &TensorType, axis: usize) -> Lanes {
    Lanes {
        outer: x.shape[..axis].iter().product(),
        length: x.shape[axis],
        inner: x.shape[axis + 1..].iter().product(),
    }
}

fn expect_axis(x: &TensorType, axis: usize) -> Result<usize, Error> {
    let extent = x.shape.get(axis).copied();
    extent.ok_or_else(|| Error::Shape(format!("there is no axis {axis} in {:?}", x.shape)))
}

impl Op for Sort {
    fn name(&self) -> &'static str {
        "sort"
    }

    fn attributes(&self) -> String {
        format!("axis={}, {:?}", self.axis, self.direction)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [x] = expect_inputs(inputs)?;
        expect_axis(&x, self.axis)?;
        Ok(vec![x])
    }

    fn gradient(
        &self,
        g: &mut Builder,
        node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let Some(dy) = dy[0] else { return Ok(vec![None]) };
        let (x, &Self { axis, direction }) = (node.inputs[0], self);
        let length = g.ty(x).shape[axis];
        let order = g.derive(Argsort { axis, direction, kept: None }, &[x])?;
        Ok(vec![Some(g.derive(DimScatterAdd::of_checked(axis, length), &[dy, order])?)])
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let x = lowering.inputs[0];
        let (lanes, direction) = (lanes(x, self.axis), self.direction);
        with_element!(x.dtype, T => Ok(Box::new(move |step| {
            sort(step.parallel(), lanes, direction, step.input::<T>(0), step.output::<T>(0));
            Ok(())
        })))
    }
}

impl Op for Argsort {
    fn name(&self) -> &'static str {
        if self.kept.is_some() { "top_k" } else { "argsort" }
    }

    fn attributes(&self) -> String {
        match self.kept {
            Some(k) => format!("axis={}, k={k}", self.axis),
            None => format!("axis={}, {:?}", self.axis, self.direction),
        }
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [x] = expect_inputs(inputs)?;
        let extent = expect_axis(&x, self.axis)?;
        let kept = self.kept.unwrap_or(extent);
        if kept > extent {
            return Err(Error::Argument(format!(
                "axis {} of {:?} has no {kept} elements",
                self.axis, x.shape
            )));
        }
        if extent > i32::MAX as usize {
            return Err(Error::Shape(format!("an int32 cannot index {extent} elements")));
        }
        let mut shape = x.shape;
        shape[self.axis] = kept;
        Ok(vec![TensorType::new(DType::I32, shape)])
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let x = lowering.inputs[0];
        let (lanes, direction) = (lanes(x, self.axis), self.direction);
        let kept = lowering.outputs[0].shape[self.axis];
        with_element!(x.dtype, T => Ok(Box::new(move |step| {
            let (input, output) = (step.input::<T>(0), step.output::<i32>(0));
            argsort(step.parallel(), lanes, direction, kept, input, output);
            Ok(())
        })))
    }
}

impl Op for InTopK {
    fn name(&self) -> &'static str {
        "in_top_k"
    }

    fn attributes(&self) -> String {
        format!("k={}", self.k)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [targets, predictions] = expect_inputs(inputs)?;
        expect_indices(&targets)?;
        match (targets.shape.as_slice(), predictions.shape.as_slice()) {
            (&[rows], &[lines, _]) if rows == lines => Ok(vec![TensorType::new(DType::I8, [rows])]),
            (targets, predictions) => Err(Error::Shape(format!(
                "targets of shape {targets:?} do not fit predictions of shape {predictions:?}: one \
                 target for each row is needed"
            ))),
        }
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let (targets, predictions) = (lowering.inputs[0], lowering.inputs[1]);
        let (classes, k) = (predictions.shape[1], self.k);
        with_element!(predictions.dtype, T => with_index!(targets.dtype, L => {
            Ok(Box::new(move |step| {
                let (targets, predictions) = (step.input::<L>(0), step.input::<T>(1));
                let output = step.output::<i8>(0);
                in_top_k(step.parallel(), classes, k, targets, predictions, output);
                Ok(())
            }))
        }))
    }
}
