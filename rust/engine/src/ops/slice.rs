//! Parts of arrays: reading them, writing them into zeros, and replacing them.

use flowrs_kernels::slice::{Window, copy, copy_window, fill};

use super::attributes::Attributes;
use super::pad::Pad;
use super::{Lowering, Op, expect_inputs, expect_same_dtype, with_element};
use crate::error::Error;
use crate::graph::{Builder, Node, ValueId};
use crate::step::Kernel;
use crate::types::TensorType;

/// Every `steps`-th of `sizes` elements in each dimension, from `starts` on; backwards where a step
/// is negative.
#[derive(Clone, Debug)]
pub struct Slice {
    starts: Vec<usize>,
    sizes: Vec<usize>,
    steps: Vec<isize>,
}

/// An array of zeros of this shape in which `Slice` would find the input: its gradient.
#[derive(Clone, Debug)]
pub struct SliceScatter {
    shape: Vec<usize>,
    starts: Vec<usize>,
    steps: Vec<isize>,
}

/// An array in which `Slice` would find the second input, and which is the first input elsewhere.
#[derive(Clone, Debug)]
pub struct SliceUpdate {
    starts: Vec<usize>,
    steps: Vec<isize>,
}

fn steps(attributes: &mut Attributes) -> Result<Vec<isize>, Error> {
    Ok(attributes.ints("steps")?.into_iter().map(|step| step as isize).collect())
}

impl Slice {
    /// Reads `starts`, `sizes` and `steps`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        let (starts, sizes) = (attributes.sizes("starts")?, attributes.sizes("sizes")?);
        Ok(Self { starts, sizes, steps: steps(attributes)? })
    }

    /// Neighbouring elements.
    pub(crate) fn block(starts: &[usize], sizes: &[usize]) -> Self {
        Self { starts: starts.to_vec(), sizes: sizes.to_vec(), steps: vec![1; starts.len()] }
    }
}

impl SliceUpdate {
    /// Reads `starts` and `steps`.
    pub fn from_attributes(attributes: &mut Attributes) -> Result<Self, Error> {
        Ok(Self { starts: attributes.sizes("starts")?, steps: steps(attributes)? })
    }
}

/// Checks that a part lies inside an array of shape `whole`.
fn check(whole: &[usize], starts: &[usize], sizes: &[usize], steps: &[isize]) -> Result<(), Error> {
    let rank = whole.len();
    if starts.len() != rank || sizes.len() != rank || steps.len() != rank {
        return Err(Error::Shape(format!(
            "a part of {whole:?} needs {rank} starts, sizes and steps, found {starts:?}, {sizes:?} \
             and {steps:?}"
        )));
    }
    for axis in (0..rank).filter(|axis| sizes[*axis] > 0) {
        let (start, count, step) = (starts[axis] as i128, sizes[axis] as i128, steps[axis] as i128);
        let last = start + (count - 1) * step;
        let extent = whole[axis] as i128;
        if step == 0 || start >= extent || !(0..extent).contains(&last) {
            return Err(Error::Shape(format!(
                "{count} elements from {start} on with step {step} do not lie within dimension \
                 {axis} of {whole:?}"
            )));
        }
    }
    Ok(())
}

fn describe(starts: &[usize], steps: &[isize]) -> String {
    match steps.iter().all(|step| *step == 1) {
        true => format!("starts={starts:?}"),
        false => format!("starts={starts:?}, steps={steps:?}"),
    }
}

impl Op for Slice {
    fn name(&self) -> &'static str {
        "slice"
    }

    fn attributes(&self) -> String {
        format!("{}, sizes={:?}", describe(&self.starts, &self.steps), self.sizes)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [x] = expect_inputs(inputs)?;
        check(&x.shape, &self.starts, &self.sizes, &self.steps)?;
        Ok(vec![x.with_shape(self.sizes.clone())])
    }

    fn gradient(
        &self,
        g: &mut Builder,
        node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let Some(dy) = dy[0] else { return Ok(vec![None]) };
        let shape = g.ty(node.inputs[0]).shape.clone();
        let (starts, steps) = (self.starts.clone(), self.steps.clone());
        let dx = match steps.iter().all(|step| *step == 1) && !self.sizes.contains(&0) {
            true => g.derive(Pad::around(&shape, &starts, &self.sizes), &[dy])?,
            false => g.derive(SliceScatter { shape, starts, steps }, &[dy])?,
        };
        Ok(vec![Some(dx)])
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let x = lowering.inputs[0];
        let from = Window::stepped(&x.shape, &self.starts, &self.steps);
        let (sizes, to) = (self.sizes.clone(), Window::whole(&self.sizes));
        with_element!(x.dtype, T => Ok(Box::new(move |step| {
            let (input, output) = (step.input::<T>(0), step.output::<T>(0));
            copy_window(step.parallel(), &sizes, input, &from, output, &to);
            Ok(())
        })))
    }
}

impl Op for SliceScatter {
    fn name(&self) -> &'static str {
        "slice_scatter"
    }

    fn attributes(&self) -> String {
        format!("{}, shape={:?}", describe(&self.starts, &self.steps), self.shape)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [part] = expect_inputs(inputs)?;
        check(&self.shape, &self.starts, &part.shape, &self.steps)?;
        Ok(vec![part.with_shape(self.shape.clone())])
    }

    fn gradient(
        &self,
        g: &mut Builder,
        node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let Some(dy) = dy[0] else { return Ok(vec![None]) };
        let sizes = g.ty(node.inputs[0]).shape.clone();
        let slice = Slice { starts: self.starts.clone(), sizes, steps: self.steps.clone() };
        Ok(vec![Some(g.derive(slice, &[dy])?)])
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let part = lowering.inputs[0];
        let (sizes, from) = (part.shape.clone(), Window::whole(&part.shape));
        let to = Window::stepped(&self.shape, &self.starts, &self.steps);
        with_element!(part.dtype, T => Ok(Box::new(move |step| {
            let (input, output) = (step.input::<T>(0), step.output::<T>(0));
            fill(step.parallel(), T::default(), output);
            copy_window(step.parallel(), &sizes, input, &from, output, &to);
            Ok(())
        })))
    }
}

impl Op for SliceUpdate {
    fn name(&self) -> &'static str {
        "slice_update"
    }

    fn attributes(&self) -> String {
        describe(&self.starts, &self.steps)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [x, update] = expect_inputs(inputs)?;
        expect_same_dtype(&x, &update)?;
        check(&x.shape, &self.starts, &update.shape, &self.steps)?;
        Ok(vec![x])
    }

    fn gradient(
        &self,
        g: &mut Builder,
        node: &Node,
        dy: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, Error> {
        let Some(dy) = dy[0] else { return Ok(vec![None, None]) };
        let update = g.ty(node.inputs[1]).clone();
        let (starts, steps) = (self.starts.clone(), self.steps.clone());
        let slice = Slice { starts, sizes: update.shape.clone(), steps };
        let nothing = g.fill(update, 0.0)?;
        let dx = g.derive(self.clone(), &[dy, nothing])?;
        Ok(vec![Some(dx), Some(g.derive(slice, &[dy])?)])
    }

    fn lower(&self, lowering: &Lowering<'_>) -> Result<Kernel, Error> {
        let (x, update) = (lowering.inputs[0], lowering.inputs[1]);
        let keep = lowering.in_place == Some(0);
        let (sizes, from) = (update.shape.clone(), Window::whole(&update.shape));
        let to = Window::stepped(&x.shape, &self.starts, &self.steps);
        with_element!(x.dtype, T => Ok(Box::new(move |step| {
            let (update, output) = (step.input::<T>(1), step.output::<T>(0));
            if !keep {
                copy(step.parallel(), step.input::<T>(0), output);
            }
            copy_window(step.parallel(), &sizes, update, &from, output, &to);
            Ok(())
        })))
    }

    fn in_place(&self) -> &'static [usize] {
        &[0]
    }
}
